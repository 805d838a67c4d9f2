#!/bin/sh
# Installs what a fresh Debian 12 machine with Rust lacks: Debian's LLVM and MLIR 22, clang, and, with the argument
# `test`, cargo-nextest and an assembler for GPU code. Needs root or sudo only where something is missing.
set -eu

packages="build-essential
    libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools libpolly-22-dev
    clang-22 libclang-22-dev lld-22
    zlib1g-dev libzstd-dev libxml2-dev
    python3"
if [ "${1:-}" = test ]; then
    packages="$packages clang-format-22 python3-venv"
fi

missing=""
for package in $packages; do
    status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done

if [ -n "$missing" ]; then
    echo "Installing:$missing"
    if [ "$(id -u)" = 0 ]; then
        root=""
    elif command -v sudo >/dev/null; then
        root=sudo
    else
        echo "error: run this once as root, or install by hand:$missing" >&2
        exit 1
    fi
    $root apt-get update
    # shellcheck disable=SC2086  # the list is meant to be split
    $root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
fi

if ! command -v cargo >/dev/null; then
    echo "error: cargo is not on PATH; install Rust (https://rustup.rs), then run this again" >&2
    exit 1
fi
if [ "${1:-}" = test ] && ! cargo nextest --version >/dev/null 2>&1; then
    cargo install --locked cargo-nextest
fi
if [ "${1:-}" = test ]; then
    "$(dirname "$0")/cuda-tools.sh"
fi
