#!/usr/bin/env bash
# Installs OpenFHE in a virtual environment of its own and times it. Arguments go to openfhe_bench.py. The wheel needs
# CPython 3.10, and tcmalloc to be loaded before it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${CERIA_OPENFHE_VENV:-$here/../../target/openfhe-venv}
python=${PYTHON310:-python3.10}
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet openfhe==1.6.1.0.22.4
fi
tcmalloc=$(ls /usr/lib/x86_64-linux-gnu/libtcmalloc.so.4 2>/dev/null || true)
if [ -z "$tcmalloc" ]; then
    echo "error: libtcmalloc.so.4 is missing (Debian: apt-get install libgoogle-perftools4)" >&2
    exit 1
fi
LD_PRELOAD=$tcmalloc exec "$venv/bin/python" "$here/openfhe_bench.py" "$@"
