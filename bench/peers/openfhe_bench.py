"""Times OpenFHE on the operations of `ceria bench ops` and prints JSON: medians in milliseconds.

Same ring, modulus within five per cent, digits, threads (OMP_NUM_THREADS) and security table as the sets there.
"""

import argparse
import json
import statistics
import time

import openfhe as fhe

# log N: (multiplicative depth, bits of a level, bits of the first level, digits)
SETS = {14: (4, 50, 60, 3), 15: (10, 50, 60, 3), 16: (25, 50, 60, 4)}


def median_ms(work, runs):
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(log_n, runs):
    depth, scale, first, digits = SETS[log_n]
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetSecretKeyDist(fhe.UNIFORM_TERNARY)
    parameters.SetSecurityLevel(fhe.HEStd_128_classic)
    parameters.SetRingDim(1 << log_n)
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingModSize(scale)
    parameters.SetFirstModSize(first)
    parameters.SetKeySwitchTechnique(fhe.HYBRID)
    parameters.SetNumLargeDigits(digits)
    parameters.SetScalingTechnique(fhe.FIXEDMANUAL)
    parameters.SetBatchSize(1 << (log_n - 1))
    context = fhe.GenCryptoContext(parameters)
    for feature in (fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE):
        context.Enable(feature)
    keys = context.KeyGen()
    context.EvalMultKeyGen(keys.secretKey)
    steps = list(range(1, 9))
    context.EvalRotateKeyGen(keys.secretKey, steps)
    slots = 1 << (log_n - 1)
    plain = context.MakeCKKSPackedPlaintext([0.5 / (1 + i % 7) for i in range(slots)])
    x, y = context.Encrypt(keys.publicKey, plain), context.Encrypt(keys.publicKey, plain)

    def hoisted():
        precomputed = context.EvalFastRotationPrecompute(x)
        for step in steps:
            context.EvalFastRotation(x, step, 2 << log_n, precomputed)

    def rotations():
        for step in steps:
            context.EvalRotate(x, step)

    product = context.EvalMult(x, y)
    return {
        "log_n": log_n,
        "log_q": first + depth * scale,
        "add": median_ms(lambda: context.EvalAdd(x, y), runs),
        "multiply_plain": median_ms(lambda: context.EvalMult(x, plain), runs),
        "multiply_relinearize_rescale": median_ms(lambda: context.Rescale(context.EvalMult(x, y)), runs),
        "rescale": median_ms(lambda: context.Rescale(product), runs),
        "rotate": median_ms(lambda: context.EvalRotate(x, 3), runs),
        "rotations_8": median_ms(rotations, max(2, runs // 4)),
        "hoisted_8": median_ms(hoisted, max(2, runs // 4)),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--log-n", type=int, nargs="*", default=[14, 15, 16], choices=sorted(SETS))
    options.add_argument("--runs", type=int, default=9)
    arguments = options.parse_args()
    print(json.dumps({"library": "openfhe 1.6.1.0.22.4", "ops": [measure(n, arguments.runs) for n in arguments.log_n]}, indent=1))


if __name__ == "__main__":
    main()
