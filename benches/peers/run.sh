#!/bin/sh
# Installs the peers into a virtual environment outside of the checkout, and runs peers.py in it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/lanner/peers/venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
if [ "${1:-}" = multivector ]; then
    shift
    # One core, and the kernels that the processor allows.
    exec env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        "$venv/bin/python" "$here/multivector.py" "$@"
fi
if [ "${1:-}" = text ]; then
    shift
    # With the Python package of this checkout: .ci/python wheel makes it.
    exec "$venv/bin/python" "$here/text.py" "$@"
fi
if [ "${1:-}" = sparse ]; then
    shift
    # With the Python package of this checkout: .ci/python wheel makes it.
    exec "$venv/bin/python" "$here/sparse.py" "$@"
fi
exec "$venv/bin/python" "$here/peers.py" "$@"
