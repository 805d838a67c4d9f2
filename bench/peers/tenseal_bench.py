#!/usr/bin/env python3
"""Times TenSEAL (SEAL) on the work that `ceria bench model` times, for a comparison on one machine in one run.

Each case is what a TenSEAL user would write: one `CKKSVector`, `matmul` with a clear matrix, `square` or a
polynomial. Encryption and decryption are not counted. Prints one JSON object a line:
{"case", "median_ms", "runs", "n", "log_qp", "max_error"}.

Usage: tenseal_bench.py [--runs R] [--case NAME ...]
"""

import argparse
import json
import statistics
import time

import numpy as np
import tenseal as ts


def context(n, bits):
    """A context with rotation keys for every power of two, which `matmul` needs."""
    made = ts.context(ts.SCHEME_TYPE.CKKS, poly_modulus_degree=n, coeff_mod_bit_sizes=bits)
    made.global_scale = 2 ** bits[1]
    made.generate_galois_keys()
    return made


def measure(work, runs):
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), result


def matrix_vector(rng):
    """128 x 128 matrix times an encrypted vector."""
    bits = [60, 40, 60]
    ctx = context(8192, bits)
    matrix, vector = rng.normal(size=(128, 128)) / 16, rng.normal(size=128)
    encrypted = ts.ckks_vector(ctx, vector.tolist())
    rows = matrix.tolist()
    return ctx, bits, lambda: encrypted.matmul(rows), vector @ matrix


def logistic_regression(rng):
    """One sample of 30 features; the sigmoid as a polynomial of degree 3 (TenSEAL's documented choice)."""
    bits = [50, 35, 35, 35, 50]
    ctx = context(8192, bits)
    weights, bias, sample = rng.normal(size=30) / 4, 0.1, rng.normal(size=30)
    encrypted = ts.ckks_vector(ctx, sample.tolist())
    clear = weights.tolist()
    polynomial = [0.5, 0.197, 0.0, -0.004]
    z = float(sample @ weights + bias)
    expected = np.array([np.polyval(polynomial[::-1], z)])
    return ctx, bits, lambda: (encrypted.dot(clear) + bias).polyval(polynomial), expected


def mlp_square(rng):
    """784-128-10 with a square between."""
    bits = [50, 35, 35, 35, 50]
    ctx = context(8192, bits)
    first, second = rng.normal(size=(784, 128)) / 28, rng.normal(size=(128, 10)) / 11
    image = rng.random(784)
    encrypted = ts.ckks_vector(ctx, image.tolist())
    a, b = first.tolist(), second.tolist()
    return ctx, bits, lambda: encrypted.matmul(a).square().matmul(b), ((image @ first) ** 2) @ second


CASES = {"matvec-128": matrix_vector, "logreg": logistic_regression, "mlp_square": mlp_square}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--case", nargs="*", choices=sorted(CASES), default=sorted(CASES))
    arguments = parser.parse_args()
    for name in arguments.case:
        rng = np.random.default_rng(1)
        _, bits, work, expected = CASES[name](rng)
        median, result = measure(work, arguments.runs)
        error = float(np.max(np.abs(np.array(result.decrypt())[: expected.size] - expected)))
        print(json.dumps({"peer": "tenseal", "case": name, "median_ms": round(median, 2), "runs": arguments.runs,
                          "n": 8192, "log_qp": sum(bits), "max_error": error}), flush=True)


if __name__ == "__main__":
    main()
