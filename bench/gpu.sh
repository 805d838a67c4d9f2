#!/bin/bash
# Runs what bench/gpu-pack.sh made on this machine's GPU. It needs a driver and nothing else.
#
#   bench/gpu.sh FOLDER
#
# Each bundle is run on several inputs, and its results must be the CPU's bit for bit; then it is timed. A table is
# printed, and written as JSON to FOLDER/gpu-NAME-OF-THE-DEVICE.json. Settings: DEVICE (0), RUNS of each input (10).
set -euo pipefail

if [ $# -ne 1 ] || [ ! -x "$1/ceria-run" ]; then
    echo "usage: bench/gpu.sh FOLDER, as bench/gpu-pack.sh made it" >&2
    exit 2
fi
folder=$(cd "$1" && pwd)
number=${DEVICE:-0}
devices=$("$folder/ceria-run" --list-devices)
device=$(sed -n "$((number + 1))p" <<<"$devices")
if [ -z "$device" ]; then
    echo "error: there is no device $number; the machine has:" >&2
    echo "$devices" >&2
    exit 1
fi
slug=$(tr '[:upper:]' '[:lower:]' <<<"$device" | tr -cs 'a-z0-9' '-' | sed 's/^-//; s/-$//')
seeds=$(cat "$folder/seeds")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "$device, medians of ${RUNS:-10} runs on each of the inputs $seeds, by CUDA events"
printf '%-36s %11s %11s %11s %9s  %s\n' operation "median ms" "least ms" "with I/O" launches results
failed=0
reports=()
for bundle in "$folder"/bundles/*.ceria; do
    name=$(basename "$bundle" .ceria)
    if "$folder/ceria-run" "$bundle" --device "$number" --test-data "$seeds" --benchmark "${RUNS:-10}" \
        --expect-results "$folder/expected/$name.json" --report "$work/$name.json" 2>"$work/errors"; then
        reports+=("$work/$name.json")
    else
        failed=$((failed + 1))
        printf '%-36s %s\n' "$name" "$(grep '^error: ' "$work/errors" || echo "error: ceria-run ended early")"
    fi
done

json=$folder/gpu-$slug.json
{
    printf '{"device": "%s", "failed": %d, "bundles": [\n' "$device" "$failed"
    first=yes
    for report in "${reports[@]}"; do
        [ "$first" = yes ] || printf ',\n'
        first=no
        cat "$report"
    done
    printf ']}\n'
} >"$work/all.json"
mv "$work/all.json" "$json"
echo "written to $json"
if [ "$failed" -gt 0 ]; then
    echo "error: $failed bundles failed" >&2
    exit 1
fi
