#!/usr/bin/env bash
# Installs TenSEAL in a virtual environment of its own and times it. Arguments go to tenseal_bench.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${CERIA_PEERS_VENV:-$here/../../target/peers-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet tenseal==0.3.18 numpy
fi
exec "$venv/bin/python" "$here/tenseal_bench.py" "$@"
