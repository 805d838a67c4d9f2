#!/bin/bash
# Predicts the times of operations and of bootstraps on a GPU from their machine code, beside the limits that follow from
# counting operations. Needs NVIDIA's assembler (.ci/cuda-tools.sh), and no GPU.
#
#   bench/gpu-predict.sh OUT.json [DEVICE]
#
# Settings: BOOTSTRAP (yes), BIN (the folder of built tools; built here if empty), BUNDLES (a folder of bundles made before).
set -euo pipefail

if [ $# -lt 1 ]; then
    echo "usage: bench/gpu-predict.sh OUT.json [DEVICE]" >&2
    exit 2
fi
out=$1
device=${2:-h100}
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-}
if [ -z "$bin" ]; then
    (cd "$root" && cargo build --release -p ceria)
    bin=$root/target/release
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundles=${BUNDLES:-}
if [ -z "$bundles" ]; then
    bundles=$work
    "$bin/ceria" bench bundles "$bundles" --target cuda --only "multiply, relinearise and rescale"
    "$bin/ceria" bench bundles "$bundles" --target cuda --only rotate
    if [ "${BOOTSTRAP:-yes}" = yes ]; then
        for variant in mod-raise-first stc-first; do
            "$bin/ceria" bench bundles "$bundles" --target cuda --only "nothing else" --bootstrap --variant "$variant"
            mv "$bundles/bootstrap.ceria" "$bundles/bootstrap-$variant.ceria"
        done
    fi
fi
mkdir -p "$work/reports"
for bundle in "$bundles"/*.ceria; do
    "$bin/ceria" inspect --kernels --json --device "$device" "$bundle" >"$work/reports/$(basename "$bundle" .ceria).json"
done

python3 - "$work/reports" "$out" <<'PYTHON'
import glob
import json
import os
import sys

# Milliseconds on an H100 at N = 2^16: what to reach, and what follows from counting operations.
LIMITS = {
    "multiply-relinearise-and-rescale": (0.40, "0.13 to 0.18"),
    "rotate": (0.40, "0.17"),
    "bootstrap-mod-raise-first": (20, "5.3 to 6.9"),
    "bootstrap-stc-first": (20, ""),
}
folder, out = sys.argv[1:]
programs = {}
for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
    name = os.path.basename(path)[: -len(".json")]
    report = json.load(open(path))
    device = report["device"]
    reach, limit = LIMITS.get(name, ("", ""))
    spilling = [f["symbol"] for f in report["functions"] if any(f["spills"])]
    print(f"{name:36} predicted {report['predicted_ms']:8.3f} ms on {device}; to reach {reach}, limit on an H100 {limit}")
    programs[name] = {
        **{k: v for k, v in report.items() if k not in ("name", "device", "functions")},
        "spilling_functions": spilling,
        "to_reach_ms": reach,
        "derived_limit_ms": limit,
        "functions": [
            {k: f[k] for k in (
                "symbol", "grid", "block", "registers", "spills", "shared", "occupancy", "executed", "launches",
                "launch_us", "total_ms", "bound", "cache_bytes", "buffer_bytes", "table_bytes",
            )}
            for f in report["functions"]
        ],
    }
with open(out, "w") as file:
    json.dump({"device": device, "predicted": True, "programs": programs}, file, indent=1)
    file.write("\n")
PYTHON
