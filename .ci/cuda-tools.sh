#!/bin/sh
# Installs NVIDIA's assembler and disassembler for GPU code, which run on machines without a GPU, from PyPI into a
# virtual environment under target/. What is there already is left alone. A machine that cannot reach PyPI is told so and
# does without: what needs the assembler is then skipped, and says so.
set -eu

version=13.2.78
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
folder=$target/cuda-tools
stamp=$folder/version

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$version" ]; then
    exit 0
fi

notice() {
    echo "notice: no assembler for GPU code ($1); its tests will be skipped" >&2
    exit 0
}

mkdir -p "$target"
log=$target/cuda-tools.log
: >"$log"
rm -rf "$folder"
# Debian keeps ensurepip apart from Python; pip can then come from outside the environment.
python3 -m venv "$folder" >>"$log" 2>&1 || {
    rm -rf "$folder"
    python3 -m venv --without-pip "$folder" >>"$log" 2>&1 || notice "python3 makes no virtual environment"
}
if [ -x "$folder/bin/pip" ]; then
    pip="$folder/bin/pip"
else
    pip="python3 -m pip --python $folder/bin/python"
fi
# The compiler of CUDA C++, a dependency of the assembler's package that is 300 MB, is not needed.
$pip install --quiet --disable-pip-version-check --no-deps \
    "nvidia-cuda-nvcc==$version" "nvidia-cuda-cuobjdump==$version" "nvidia-cuda-nvdisasm==$version" >>"$log" 2>&1 ||
    notice "PyPI cannot be reached; see $log"

for tool in ptxas nvdisasm cuobjdump; do
    found=$(find "$folder/lib" -path '*/bin/*' -name "$tool" -type f | head -n 1)
    [ -n "$found" ] || notice "the packages have no $tool"
    chmod +x "$found"
    ln -sf "$found" "$folder/bin/$tool"
done
"$folder/bin/ptxas" --version >/dev/null 2>&1 || notice "ptxas does not start"
echo "$version" >"$stamp"
