"""Times OpenFHE on the operations of `ceria bench ops`, or with --bootstrap on that of `ceria bench bootstrap`, and prints
JSON: medians in milliseconds.

Operations: same ring, threads (OMP_NUM_THREADS) and security table as the sets there, modulus within five per cent, and the
same digits at 2^16. Bootstrap: same ring, slots, secret and security table; it leaves 7 levels of 54 bits, all that fit,
where Ceria's leaves 13 of 40.
"""

import argparse
import json
import math
import random
import statistics
import time

import openfhe as fhe

# log N: (multiplicative depth, bits of a level, bits of the first level, digits)
SETS = {14: (4, 50, 60, 3), 15: (10, 50, 60, 3), 16: (25, 50, 60, 4)}
# Digits of the bootstrap's keys: the fewest for which 128 bits of security hold.
BOOTSTRAP_DIGITS = 10


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


def bootstrap(runs):
    """One bootstrap of 2^15 complex slots at N = 2^16: time, and bits of the mean and worst slot."""
    log_n, levels, scale, budget = 16, 7, 54, [3, 3]
    slots = 1 << (log_n - 1)
    depth = levels + fhe.CryptoContext.GetBootstrapDepth(budget, fhe.UNIFORM_TERNARY)
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetSecretKeyDist(fhe.UNIFORM_TERNARY)
    parameters.SetSecurityLevel(fhe.HEStd_128_classic)
    parameters.SetRingDim(1 << log_n)
    parameters.SetScalingModSize(scale)
    parameters.SetFirstModSize(60)
    parameters.SetCKKSDataType(fhe.COMPLEX)
    parameters.SetScalingTechnique(fhe.FLEXIBLEAUTO)
    parameters.SetNumLargeDigits(BOOTSTRAP_DIGITS)
    parameters.SetMultiplicativeDepth(depth)
    context = fhe.GenCryptoContext(parameters)
    for feature in (fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE, fhe.ADVANCEDSHE, fhe.FHE):
        context.Enable(feature)
    context.EvalBootstrapSetup(budget, [0, 0], slots)
    keys = context.KeyGen()
    context.EvalMultKeyGen(keys.secretKey)
    context.EvalBootstrapKeyGen(keys.secretKey, slots)
    values = [complex(random.uniform(-0.7, 0.7), random.uniform(-0.7, 0.7)) for _ in range(slots)]
    plain = context.MakeCKKSPackedPlaintext(values, 1, depth - 1, None, slots)
    x = context.Encrypt(keys.publicKey, plain)
    time_ms = median_ms(lambda: context.EvalBootstrap(x), runs)
    # Of all threads: tells on a busy machine how far the time above is from an idle one's.
    start = time.process_time()
    y = context.EvalBootstrap(x)
    cpu_ms = 1000 * (time.process_time() - start)
    result = context.Decrypt(y, keys.secretKey)
    result.SetLength(slots)
    errors = [abs(a - b) for a, b in zip(result.GetCKKSPackedValue(), values)]
    return {
        "log_n": log_n,
        "levels_left": depth - y.GetLevel() - (y.GetNoiseScaleDeg() - 1),
        "bits_a_level": scale,
        "bootstrap": time_ms,
        "bootstrap_cpu": cpu_ms,
        "mean_bits": -math.log2(sum(errors) / slots),
        "worst_bits": -math.log2(max(errors)),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--log-n", type=int, nargs="*", default=[14, 15, 16], choices=sorted(SETS))
    options.add_argument("--runs", type=int, default=9)
    options.add_argument("--bootstrap", action="store_true", help="time a bootstrap; needs 13 GB")
    arguments = options.parse_args()
    results = {"library": "openfhe 1.6.1.0.22.4"}
    if arguments.bootstrap:
        results["bootstrap"] = bootstrap(arguments.runs)
    else:
        results["ops"] = [measure(n, arguments.runs) for n in arguments.log_n]
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
