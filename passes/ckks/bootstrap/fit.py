#!/usr/bin/env python3
"""Fits the polynomial of the modular reduction; prints the constants of eval_mod.rs.

    python3 -m venv venv && venv/bin/pip install mpmath && venv/bin/python fit.py

y(u) = sum c_k T_k(u), u = T_2(t), t = x / 16 - 1 / 64, stands for s cos(4 pi t); three double angles make it
sin(2 pi x) / (2 pi). x is an integer I in -15..16 plus a small d. What counts is the error after the double
angles, for the I that occur: least squares with the root of their probability times the derivative of the
double angles as weight, in 200-bit arithmetic.
"""

from mpmath import mp, mpf, cos, sin, pi, sqrt, factorial, binomial, matrix, lu_solve, log

mp.prec = 200
DEGREE, RATIO, TERMS = 15, 16, 33
S = (1 / (2 * pi)) ** (mpf(1) / 8)


def below(x):
    """Probability that the sum of TERMS uniforms on (-1/2, 1/2) is below x."""
    x = x + mpf(TERMS) / 2
    total = mpf(0)
    for k in range(TERMS + 1):
        if x > k:
            total += (-1) ** k * binomial(TERMS, k) * (x - k) ** TERMS
    return total / factorial(TERMS)


def probability(i):
    return below(mpf(i) + mpf(1) / 2) - below(mpf(i) - mpf(1) / 2)


def chebyshev(u):
    values = [mpf(1), u]
    while len(values) <= DEGREE:
        values.append(2 * u * values[-1] - values[-2])
    return values


def main():
    rows, targets, weights, used = [], [], [], []
    for i in range(-15, 17):
        for d in (0, mpf(2) ** -7, -mpf(2) ** -7, mpf(2) ** -6, -mpf(2) ** -6):
            x = mpf(i) + d
            t = x / RATIO - mpf(1) / (4 * RATIO)
            a = 2 * pi * (x - mpf(1) / 4)
            gain = 64 * S**7 * abs(cos(a / 8) * cos(a / 4) * cos(a / 2))
            rows.append(chebyshev(2 * t * t - 1))
            targets.append(S * cos(4 * pi * t))
            weights.append(sqrt(probability(i) + mpf(2) ** -60) * (gain + mpf("0.05")))
            used.append((i, x))
    n = DEGREE + 1
    normal, right = matrix(n, n), matrix(n, 1)
    for row, target, weight in zip(rows, targets, weights):
        for j in range(n):
            right[j] += weight**2 * row[j] * target
            for k in range(n):
                normal[j, k] += weight**2 * row[j] * row[k]
    c = lu_solve(normal, right)
    square = mpf(0)
    for row, (i, x) in zip(rows, used):
        y = sum(c[k] * row[k] for k in range(n))
        for step in range(3):
            y = 2 * y * y - S ** (2 ** (step + 1))
        square += probability(i) * (y - sin(2 * pi * x) / (2 * pi)) ** 2 / 5
    print(f"// rms error after the double angles: 2^{mp.nstr(log(sqrt(square), 2), 5)}")
    for k in range(n):
        print(f"    {mp.nstr(c[k], 20)},")


if __name__ == "__main__":
    main()
