//! The functions of `fhe.activation` on real numbers and on intervals.

use crate::bridge::generated::fhe::Function;

/// The function at `x`. `parameters` are those of the op.
pub fn evaluate(function: Function, parameters: &[f64], x: f64) -> f64 {
    let parameter = |index: usize| parameters.get(index).copied().unwrap_or(0.0);
    match function {
        Function::Relu => x.max(0.0),
        Function::LeakyRelu => {
            if x < 0.0 {
                parameter(0) * x
            } else {
                x
            }
        }
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::Clip => x.max(parameter(0)).min(parameter(1)),
        Function::Exp => x.exp(),
        Function::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Function::Silu => x / (1.0 + (-x).exp()),
        Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Function::Reciprocal => 1.0 / x,
        Function::Sqrt => x.sqrt(),
        Function::Rsqrt => 1.0 / x.sqrt(),
    }
}

/// Whether the function is defined on the whole interval.
pub fn defined_on(function: Function, [lower, upper]: [f64; 2]) -> bool {
    match function {
        Function::Reciprocal => lower > 0.0 || upper < 0.0,
        Function::Rsqrt => lower > 0.0,
        Function::Sqrt => lower >= 0.0,
        _ => true,
    }
}

/// The smallest interval that holds the function's values on an interval on which it is defined.
pub fn image(function: Function, parameters: &[f64], [lower, upper]: [f64; 2]) -> [f64; 2] {
    let mut values = vec![evaluate(function, parameters, lower), evaluate(function, parameters, upper)];
    // All are monotone or have one minimum; a leaky relu of negative slope has its minimum at 0.
    let minimum = match function {
        Function::Gelu => Some(-0.751_791_524_693_564_5),
        Function::Silu => Some(-1.278_464_542_761_074),
        Function::LeakyRelu => Some(0.0),
        _ => None,
    };
    if let Some(at) = minimum.filter(|at| lower < *at && *at < upper) {
        values.push(evaluate(function, parameters, at));
    }
    let fold = |f: fn(f64, f64) -> f64, from: f64| values.iter().copied().fold(from, f);
    [fold(f64::min, f64::INFINITY), fold(f64::max, f64::NEG_INFINITY)]
}

/// The error function: its Taylor series near 0, the continued fraction of its complement elsewhere.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > sum.abs() * 1e-18 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
            if sum == 0.0 {
                return 0.0;
            }
        }
        return (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x);
    }
    let fraction = (1..60).rev().fold(a, |below, k| a + f64::from(k) / 2.0 / below);
    (1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * fraction)).copysign(x)
}

/// `sum c_k T_k(t)` by Clenshaw's recurrence.
pub fn chebyshev(coefficients: &[f64], t: f64) -> f64 {
    let (mut next, mut after) = (0.0, 0.0);
    for c in coefficients.iter().skip(1).rev() {
        (next, after) = (c + 2.0 * t * next - after, next);
    }
    coefficients.first().copied().unwrap_or(0.0) + t * next - after
}

/// A polynomial of `x` in either basis; the Chebyshev basis maps the domain to [-1, 1].
pub fn polynomial(power: bool, coefficients: &[f64], domain: [f64; 2], x: f64) -> f64 {
    if power {
        return coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    }
    chebyshev(coefficients, (2.0 * x - domain[0] - domain[1]) / (domain[1] - domain[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_has_its_known_values() {
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.4, 0.999_311_486_103_355_1),
            (2.6, 0.999_763_965_583_470_7),
            (-1.0, -0.842_700_792_949_714_9),
        ] {
            assert!((erf(x) - y).abs() < 1e-12, "erf({x}) = {}", erf(x));
        }
    }

    #[test]
    fn images_hold_samples() {
        for function in [Function::Gelu, Function::Silu, Function::Relu, Function::Tanh, Function::Softplus] {
            for range in [[-4.0, 3.0], [-1.0, -0.5], [-0.9, 2.0]] {
                let [low, high] = image(function, &[], range);
                for i in 0..=1000 {
                    let y = evaluate(function, &[], range[0] + (range[1] - range[0]) * f64::from(i) / 1000.0);
                    assert!(y >= low - 1e-12 && y <= high + 1e-12, "{function:?} on {range:?}: {y}");
                }
            }
        }
    }

    #[test]
    fn chebyshev_is_a_cosine() {
        for i in 0..20 {
            let angle = 0.15 * f64::from(i);
            let value = chebyshev(&[0.5, 0.0, 0.0, 2.0], angle.cos());
            assert!((value - 0.5 - 2.0 * (3.0 * angle).cos()).abs() < 1e-12);
        }
    }
}
