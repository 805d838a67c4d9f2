#!/usr/bin/env python3
"""Writes the 128 x 128 matrix-vector product of tenseal_bench.py as a network for Ceria, with inputs.

Usage: matvec.py FOLDER
"""

import pathlib
import sys

import numpy as np

SIZE = 128


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "matvec").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(SIZE, SIZE)) / 16).astype(np.float32)
    rows = ", ".join("[" + ", ".join(f"{x:.8f}" for x in row) + "]" for row in matrix)
    text = f"""func.func @main(%x: !fhe.tensor<1x{SIZE}> {{fhe.name = "x", fhe.range = array<f64: -4.0, 4.0>}})
    -> (!fhe.tensor<1x{SIZE}> {{fhe.name = "y"}}) {{
  %w = arith.constant dense<[{rows}]> : tensor<{SIZE}x{SIZE}xf32>
  %0 = fhe.matmul %x, %w : !fhe.tensor<1x{SIZE}>, tensor<{SIZE}x{SIZE}xf32>
  return %0 : !fhe.tensor<1x{SIZE}>
}}
"""
    (folder / "matvec.mlir").write_text(text)
    samples = np.clip(rng.normal(size=(10, 1, SIZE)), -4, 4).astype(np.float32)
    np.savez(folder / "matvec" / "inputs.npz", x=samples)


if __name__ == "__main__":
    main()
