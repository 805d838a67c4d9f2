#!/bin/bash
# Makes the folder that bench/gpu.sh takes to a machine with a GPU: ceria-run, bundles for CUDA, and what the CPU
# computes with the same test data. Keys and inputs are not in it: ceria-run makes them in place from seeds.
#
#   bench/gpu-pack.sh FOLDER
#
# Settings, for trying it out: LOG_N (16), SEEDS (1,2,3), MODELS ("mlp cnn"; "mlp cnn resnet helr" takes long and 16 GB),
# BOOTSTRAP (yes), ONLY (operations whose name contains this), BIN (the folder of built tools; built here if empty).
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: bench/gpu-pack.sh FOLDER" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
log_n=${LOG_N:-16}
seeds=${SEEDS:-1,2,3}
limit=$((60 << 20))

bin=${BIN:-}
if [ -z "$bin" ]; then
    (cd "$root" && cargo build --release -p ceria -p ceria-run)
    bin=$root/target/release
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$folder/bundles" "$folder/expected"
mkdir -p "$folder/bundles" "$folder/expected"
cp "$bin/ceria-run" "$root/bench/gpu.sh" "$folder/"
strip "$folder/ceria-run" 2>/dev/null || true
echo "$seeds" >"$folder/seeds"

# Operations and bootstrap, once for each.
for target in cpu cuda; do
    to=$work/cpu
    [ "$target" = cuda ] && to=$folder/bundles
    "$bin/ceria" bench bundles "$to" --target "$target" --log-n "$log_n" --only "${ONLY:-}" \
        $([ "${BOOTSTRAP:-yes}" = yes ] && echo --bootstrap)
    for model in ${MODELS-mlp cnn}; do
        source=$root/models/$model
        file=$source/model.onnx
        [ -e "$file" ] || file=$source/train.mlir
        calibrate=()
        [ -e "$source/calibrate.npz" ] && calibrate=(--calibrate "$source/calibrate.npz")
        "$bin/ceria" compile "$file" -o "$to/model-$model.ceria" --target "$target" "${calibrate[@]}" --quiet
    done
done

for bundle in "$work"/cpu/*.ceria; do
    name=$(basename "$bundle" .ceria)
    echo "what the CPU computes: $name"
    "$bin/ceria-run" "$bundle" --test-data "$seeds" --report "$folder/expected/$name.json" --quiet 2>/dev/null
done

bytes=$(du -sb "$folder" | cut -f1)
echo "$folder: $((bytes >> 20)) MiB"
if [ "$bytes" -gt "$limit" ]; then
    echo "error: the folder is larger than $((limit >> 20)) MiB" >&2
    exit 1
fi
