//! Polynomials in place of functions that CKKS cannot compute.
//!
//! A function on a range `[low, high]` becomes a sum of Chebyshev polynomials of the normalised variable
//! `t = scale * x + shift`, which lies in `[-1, 1]`:
//!
//! ```text
//! f(x) ~ sum_k c_k T_k(t)
//! ```
//!
//! The coefficients are those of interpolation at the Chebyshev nodes, improved by Remez exchanges when that
//! lowers the largest error. The degree is the smallest that reaches the wanted error, or the largest allowed.
//! What holds of every [`Approximation`]: the range is finite and not empty, coefficients are finite, the last
//! one is not zero (unless it is the only one), coefficients that vanish by symmetry are exactly zero, and
//! `error` is the largest error found on a dense grid that contains the ends and the function's kinks.
//!
//! The normalisation is kept apart ([`Approximation::normalisation`]) so that it can be merged into the linear
//! operator that computes `x`.

use thiserror::Error;

/// Why a function cannot be approximated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ApproximationError {
    /// The range is empty or not finite.
    #[error("cannot approximate a function on the range [{low}, {high}]")]
    Range {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// The function has no finite value somewhere in the range.
    #[error("the function has no finite value at {0}, which is inside its range")]
    NotFinite(f64),
    /// The name or the parameters of a function are unknown.
    #[error("{0}")]
    Function(String),
}

/// The functions that networks apply to each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, `slope * x` elsewhere.
    LeakyRelu {
        /// The slope of the negative half.
        slope: f64,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` limited to `[low, high]`.
    Clip {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
    },
    /// The exponential.
    Exp,
    /// `x * Phi(x)` with the normal distribution function.
    Gelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `1 / x`.
    Reciprocal,
    /// The square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `x` to a whole power.
    Power {
        /// The exponent.
        exponent: u32,
    },
}

impl Function {
    /// The function of a name as the `fhe` dialect spells it, with its parameters.
    pub fn named(name: &str, parameters: &[f64]) -> Result<Self, ApproximationError> {
        let function = match (name, parameters) {
            ("relu", []) => Self::Relu,
            ("leaky_relu", [slope]) => Self::LeakyRelu { slope: *slope },
            ("sigmoid", []) => Self::Sigmoid,
            ("tanh", []) => Self::Tanh,
            ("clip", [low, high]) => Self::Clip { low: *low, high: *high },
            ("exp", []) => Self::Exp,
            ("gelu", []) => Self::Gelu,
            ("silu", []) => Self::Silu,
            ("softplus", []) => Self::Softplus,
            ("reciprocal", []) => Self::Reciprocal,
            ("sqrt", []) => Self::Sqrt,
            ("rsqrt", []) => Self::Rsqrt,
            _ => {
                return Err(ApproximationError::Function(format!(
                    "no function `{name}` with {} parameters is known",
                    parameters.len()
                )));
            }
        };
        Ok(function)
    }

    /// The function's value.
    pub fn eval(&self, x: f64) -> f64 {
        match *self {
            Self::Relu => x.max(0.0),
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Clip { low, high } => x.max(low).min(high),
            Self::Exp => x.exp(),
            Self::Gelu => x * normal_distribution(x),
            Self::Silu => x * sigmoid(x),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Reciprocal => 1.0 / x,
            Self::Sqrt => x.sqrt(),
            Self::Rsqrt => 1.0 / x.sqrt(),
            Self::Power { exponent } => x.powi(exponent as i32),
        }
    }

    /// The points where the function is not smooth.
    pub fn kinks(&self) -> Vec<f64> {
        match *self {
            Self::Relu | Self::LeakyRelu { .. } => vec![0.0],
            Self::Clip { low, high } => vec![low, high],
            _ => Vec::new(),
        }
    }

    /// Whether the function is even plus a linear one, or odd plus a constant, so that on a symmetric range about
    /// half of the coefficients vanish.
    pub fn is_symmetric(&self) -> bool {
        match *self {
            Self::Relu | Self::LeakyRelu { .. } | Self::Sigmoid | Self::Tanh | Self::Gelu | Self::Silu => {
                true
            }
            Self::Softplus | Self::Power { .. } => true,
            Self::Clip { low, high } => low == -high,
            Self::Exp | Self::Reciprocal | Self::Sqrt | Self::Rsqrt => false,
        }
    }

    /// The polynomial that approximates the function on a range.
    pub fn approximate(
        &self,
        low: f64,
        high: f64,
        target: Target,
    ) -> Result<Approximation, ApproximationError> {
        approximate(|x| self.eval(x), &self.kinks(), low, high, target)
    }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// The normal distribution function, by its series near zero and a continued fraction in the tails.
fn normal_distribution(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 4.0 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let a = x.abs();
    let fraction = (1..60).rev().fold(a, |f, k| a + f64::from(k) / f);
    let tail = density / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// How good an approximation has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The largest absolute error that is wanted.
    pub error: f64,
    /// The largest degree that is allowed; it wins over the error.
    pub max_degree: usize,
}

impl Target {
    /// An absolute error of `2^-bits`.
    pub fn bits(bits: f64, max_degree: usize) -> Self {
        Self { error: (-bits).exp2(), max_degree }
    }
}

/// Symmetry of a polynomial in the normalised variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// Only even powers.
    Even,
    /// Only odd powers and perhaps a constant.
    Odd,
    /// Neither.
    None,
}

/// `t = scale * x + shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// The factor.
    pub scale: f64,
    /// The constant.
    pub shift: f64,
}

/// A polynomial in the Chebyshev basis that stands for a function on a range; see the
/// [module documentation](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Approximation {
    /// The lower end of the range.
    pub low: f64,
    /// The upper end of the range.
    pub high: f64,
    /// The coefficients of `T_0, T_1, ..` of the normalised variable.
    pub coefficients: Vec<f64>,
    /// The largest absolute error on the range.
    pub error: f64,
}

impl Approximation {
    /// The degree.
    pub fn degree(&self) -> usize {
        self.coefficients.len() - 1
    }

    /// The multiplicative depth of evaluating it: the smallest `d` with `degree < 2^d`.
    pub fn depth(&self) -> u32 {
        usize::BITS - self.degree().leading_zeros()
    }

    /// What maps the range to `[-1, 1]`.
    pub fn normalisation(&self) -> Normalisation {
        let scale = 2.0 / (self.high - self.low);
        Normalisation { scale, shift: -scale * 0.5 * (self.low + self.high) }
    }

    /// The symmetry of the polynomial.
    pub fn parity(&self) -> Parity {
        let zero = |first: usize| self.coefficients.iter().skip(first).step_by(2).all(|c| *c == 0.0);
        match (zero(1), zero(2)) {
            (true, _) => Parity::Even,
            (false, true) => Parity::Odd,
            (false, false) => Parity::None,
        }
    }

    /// The polynomial's value at a point of the range.
    pub fn eval(&self, x: f64) -> f64 {
        let Normalisation { scale, shift } = self.normalisation();
        clenshaw(&self.coefficients, scale * x + shift)
    }
}

/// The sum of Chebyshev polynomials at a point, by Clenshaw's recurrence.
pub fn clenshaw(coefficients: &[f64], t: f64) -> f64 {
    let Some((constant, rest)) = coefficients.split_first() else {
        return 0.0;
    };
    let (mut b1, mut b2) = (0.0, 0.0);
    for c in rest.iter().rev() {
        (b1, b2) = (c + 2.0 * t * b1 - b2, b1);
    }
    constant + t * b1 - b2
}

/// The polynomial of the smallest degree that reaches the target, or of the largest degree allowed, for any
/// function. `kinks` are points where the error is to be looked at in any case.
pub fn approximate(
    f: impl Fn(f64) -> f64,
    kinks: &[f64],
    low: f64,
    high: f64,
    target: Target,
) -> Result<Approximation, ApproximationError> {
    if !(low < high && low.is_finite() && high.is_finite() && (high - low).is_finite()) {
        return Err(ApproximationError::Range { low, high });
    }
    let middle = 0.5 * (low + high);
    let half = 0.5 * (high - low);
    let on_unit = |t: f64| f((middle + half * t).clamp(low, high));
    let grid = Grid::new(&on_unit, kinks.iter().map(|k| (k - middle) / half), target.max_degree);
    if let Some(at) = grid.values.iter().position(|v| !v.is_finite()) {
        return Err(ApproximationError::NotFinite(middle + half * grid.points[at]));
    }
    let symmetry = Symmetry::of(&on_unit);
    let attempt = |degree: usize| {
        let mut coefficients = interpolate(&on_unit, degree);
        symmetry.enforce(&mut coefficients);
        let error = grid.error(&coefficients);
        if error > target.error
            && let Some(mut exchanged) = remez(&grid, degree)
        {
            symmetry.enforce(&mut exchanged);
            let better = grid.error(&exchanged);
            if better < error {
                return (exchanged, better);
            }
        }
        (coefficients, error)
    };
    // The error need not fall with every degree, but it does so in the large: double, then bisect.
    let mut enough = 1usize;
    while enough < target.max_degree && attempt(enough).1 > target.error {
        enough = (2 * enough + 1).min(target.max_degree);
    }
    let enough = enough.min(target.max_degree);
    let (mut below, mut degree) = (0, enough);
    let mut best = attempt(enough);
    if best.1 <= target.error {
        while below < degree {
            let middle = (below + degree) / 2;
            let candidate = attempt(middle);
            if candidate.1 <= target.error {
                degree = middle;
                best = candidate;
            } else {
                below = middle + 1;
            }
        }
    }
    let (mut coefficients, error) = best;
    while coefficients.len() > 1 && coefficients.last() == Some(&0.0) {
        coefficients.pop();
    }
    Ok(Approximation { low, high, coefficients, error })
}

/// Which coefficients vanish by symmetry.
struct Symmetry {
    /// The even part is constant: even coefficients from 2 on vanish.
    even_is_constant: bool,
    /// The odd part is linear: odd coefficients from 3 on vanish.
    odd_is_linear: bool,
    /// The odd part is zero.
    odd_is_zero: bool,
}

impl Symmetry {
    fn of(f: &impl Fn(f64) -> f64) -> Self {
        let points: Vec<f64> = (1..=64).map(|i| f64::from(i) / 64.0).collect();
        let largest = points.iter().fold(0.0f64, |m, t| m.max(f(*t).abs()).max(f(-t).abs()));
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-13 * largest;
        let even = |t: f64| 0.5 * (f(t) + f(-t));
        let odd = |t: f64| 0.5 * (f(t) - f(-t));
        Self {
            even_is_constant: points.iter().all(|t| same(even(*t), even(1.0))) && same(f(0.0), even(1.0)),
            odd_is_linear: points.iter().all(|t| same(odd(*t), t * odd(1.0))),
            odd_is_zero: points.iter().all(|t| same(odd(*t), 0.0)),
        }
    }

    /// Sets the coefficients that vanish to zero, which never makes the largest error worse, and those that are
    /// rounding errors.
    fn enforce(&self, coefficients: &mut [f64]) {
        let largest = coefficients.iter().fold(0.0f64, |m, c| m.max(c.abs()));
        for (k, c) in coefficients.iter_mut().enumerate() {
            let vanishes = match k {
                0 => false,
                1 => self.odd_is_zero,
                k if k % 2 == 0 => self.even_is_constant,
                _ => self.odd_is_linear,
            };
            if vanishes || c.abs() <= 4e-15 * largest {
                *c = 0.0;
            }
        }
    }
}

/// The polynomial of a degree that agrees with a function on `[-1, 1]` at the Chebyshev nodes.
fn interpolate(f: &impl Fn(f64) -> f64, degree: usize) -> Vec<f64> {
    let count = degree + 1;
    let angle = |j: usize| std::f64::consts::PI * (j as f64 + 0.5) / count as f64;
    let values: Vec<f64> = (0..count).map(|j| f(angle(j).cos())).collect();
    (0..count)
        .map(|k| {
            let sum: f64 = values.iter().enumerate().map(|(j, v)| v * (k as f64 * angle(j)).cos()).sum();
            sum * if k == 0 { 1.0 } else { 2.0 } / count as f64
        })
        .collect()
}

/// Points of `[-1, 1]` in ascending order with the function's values.
struct Grid {
    points: Vec<f64>,
    values: Vec<f64>,
}

impl Grid {
    fn new(f: &impl Fn(f64) -> f64, kinks: impl Iterator<Item = f64>, max_degree: usize) -> Self {
        let count = 4096.max(16 * (max_degree + 1));
        let mut points: Vec<f64> = (0..=count)
            .flat_map(|i| {
                let part = i as f64 / count as f64;
                [2.0 * part - 1.0, -(std::f64::consts::PI * part).cos()]
            })
            .chain(kinks.filter(|t| (-1.0..=1.0).contains(t)))
            .collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        let values = points.iter().map(|t| f(*t)).collect();
        Self { points, values }
    }

    fn error(&self, coefficients: &[f64]) -> f64 {
        let pairs = self.points.iter().zip(&self.values);
        pairs.fold(0.0, |worst, (t, v)| f64::max(worst, (clenshaw(coefficients, *t) - v).abs()))
    }
}

/// Rounds of the exchange.
const EXCHANGES: usize = 30;

/// The polynomial of a degree with the smallest largest error on the grid, by Remez exchanges. `None` when the
/// exchange breaks down, as it may for functions that are even or odd.
fn remez(grid: &Grid, degree: usize) -> Option<Vec<f64>> {
    let wanted = degree + 2;
    let nearest = |t: f64| grid.points.partition_point(|p| *p < t).min(grid.points.len() - 1);
    let mut reference: Vec<usize> = (0..wanted)
        .map(|j| nearest(-(std::f64::consts::PI * j as f64 / (wanted - 1) as f64).cos()))
        .collect();
    let mut best: Option<(Vec<f64>, f64)> = None;
    for _ in 0..EXCHANGES {
        reference.dedup();
        if reference.len() != wanted {
            break;
        }
        let Some((coefficients, levelled)) = levelled_fit(grid, &reference, degree) else {
            break;
        };
        let errors: Vec<f64> =
            grid.points.iter().zip(&grid.values).map(|(t, v)| v - clenshaw(&coefficients, *t)).collect();
        let worst = errors.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
        if best.as_ref().is_none_or(|(_, least)| worst < *least) {
            best = Some((coefficients, worst));
        }
        if worst <= levelled.abs() * 1.001 {
            break;
        }
        match exchange(&errors, wanted) {
            Some(next) => reference = next,
            None => break,
        }
    }
    best.map(|(coefficients, _)| coefficients)
}

/// Alternating extrema of the error: one in each run of equal sign, the smallest dropped until the number fits.
fn exchange(errors: &[f64], wanted: usize) -> Option<Vec<usize>> {
    let mut extrema: Vec<usize> = Vec::new();
    for (i, e) in errors.iter().enumerate().filter(|(_, e)| **e != 0.0) {
        match extrema.last_mut() {
            Some(last) if (errors[*last] > 0.0) == (*e > 0.0) => {
                if e.abs() > errors[*last].abs() {
                    *last = i;
                }
            }
            _ => extrema.push(i),
        }
    }
    while extrema.len() > wanted {
        let size = |i: usize| errors[extrema[i]].abs();
        let last = extrema.len() - 1;
        if extrema.len() == wanted + 1 {
            // Dropping an end keeps the signs alternating.
            extrema.remove(if size(0) < size(last) { 0 } else { last });
            break;
        }
        let weakest =
            (0..last).min_by(|a, b| size(*a).max(size(a + 1)).total_cmp(&size(*b).max(size(b + 1))))?;
        extrema.drain(weakest..weakest + 2);
    }
    (extrema.len() == wanted).then_some(extrema)
}

/// The polynomial whose errors at the reference points are `+h, -h, +h, ..`, and `h`.
fn levelled_fit(grid: &Grid, reference: &[usize], degree: usize) -> Option<(Vec<f64>, f64)> {
    let size = degree + 2;
    let mut rows: Vec<Vec<f64>> = reference
        .iter()
        .enumerate()
        .map(|(j, &at)| {
            let t = grid.points[at];
            let mut row = Vec::with_capacity(size + 1);
            let (mut previous, mut current) = (t, 1.0);
            for _ in 0..=degree {
                row.push(current);
                (previous, current) = (current, 2.0 * t * current - previous);
            }
            row.push(if j % 2 == 0 { 1.0 } else { -1.0 });
            row.push(grid.values[at]);
            row
        })
        .collect();
    for column in 0..size {
        let pivot =
            (column..size).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-13 {
            return None;
        }
        rows.swap(column, pivot);
        let (above, below) = rows.split_at_mut(column + 1);
        let lead = &above[column];
        for row in below {
            let factor = row[column] / lead[column];
            if factor != 0.0 {
                for k in column..=size {
                    row[k] -= factor * lead[k];
                }
            }
        }
    }
    let mut solution = vec![0.0; size];
    for r in (0..size).rev() {
        let known: f64 = (r + 1..size).map(|k| rows[r][k] * solution[k]).sum();
        solution[r] = (rows[r][size] - known) / rows[r][r];
    }
    let level = solution.pop()?;
    solution.iter().all(|c| c.is_finite()).then_some((solution, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(function: Function, low: f64, high: f64, target: Target) -> Approximation {
        function.approximate(low, high, target).unwrap()
    }

    /// The error on points that the grid does not contain.
    fn independent_error(function: Function, a: &Approximation) -> f64 {
        (0..=5003).fold(0.0, |worst, i| {
            let x = a.low + (a.high - a.low) * f64::from(i) / 5003.0;
            let value: f64 = a
                .coefficients
                .iter()
                .enumerate()
                .map(|(k, c)| {
                    let t = ((2.0 * x - a.low - a.high) / (a.high - a.low)).clamp(-1.0, 1.0);
                    c * (k as f64 * t.acos()).cos()
                })
                .sum();
            f64::max(worst, (value - function.eval(x)).abs())
        })
    }

    #[test]
    fn reaches_the_error_with_the_smallest_degree() {
        for (function, low, high) in [
            (Function::Sigmoid, -8.0, 8.0),
            (Function::Tanh, -3.0, 5.0),
            (Function::Exp, -4.0, 1.0),
            (Function::Gelu, -6.0, 6.0),
            (Function::Silu, -5.0, 7.0),
            (Function::Softplus, -6.0, 6.0),
            (Function::Rsqrt, 0.1, 2.0),
        ] {
            let target = Target::bits(12.0, 200);
            let a = fit(function, low, high, target);
            assert!(a.error <= target.error, "{function:?}");
            assert!(independent_error(function, &a) <= 1.01 * a.error + 1e-12, "{function:?}");
            let below = fit(function, low, high, Target { error: target.error, max_degree: a.degree() - 2 });
            assert!(below.error > target.error, "{function:?} of degree {}", a.degree());
            assert_eq!(below.degree(), a.degree() - 2);
        }
    }

    #[test]
    fn degree_limit_wins() {
        let a = fit(Function::Relu, -1.0, 1.0, Target::bits(30.0, 14));
        assert_eq!(a.degree(), 14);
        // The best error of |x| is about 0.28 / degree, half of it for relu.
        assert!(a.error < 0.5 * 0.29 / 14.0 * 1.1, "{}", a.error);
        assert!(a.error > 0.5 * 0.27 / 15.0, "{}", a.error);
    }

    #[test]
    fn remez_comes_to_known_minima() {
        // The best line for exp on [-1, 1] has slope sinh(1) and error (e - slope * (1 + ln slope)...) = 0.2788.
        let a = fit(Function::Exp, -1.0, 1.0, Target { error: 0.0, max_degree: 1 });
        assert!((a.coefficients[1] - 1f64.sinh()).abs() < 1e-3, "{:?}", a.coefficients);
        assert!((a.error - 0.2788).abs() < 1e-3, "{}", a.error);
    }

    #[test]
    fn powers_are_exact_and_ranges_are_split_off() {
        let a = fit(Function::Power { exponent: 3 }, -2.0, 6.0, Target::bits(20.0, 60));
        assert_eq!(a.degree(), 3);
        assert!(a.error < 1e-10);
        assert_eq!(a.normalisation(), Normalisation { scale: 0.25, shift: -0.5 });
        assert!((a.eval(5.0) - 125.0).abs() < 1e-9);
        assert_eq!(a.depth(), 2);
    }

    #[test]
    fn symmetry_shows_in_the_coefficients() {
        let target = Target::bits(14.0, 100);
        assert_eq!(fit(Function::Sigmoid, -6.0, 6.0, target).parity(), Parity::Odd);
        assert_eq!(fit(Function::Power { exponent: 2 }, -6.0, 6.0, target).parity(), Parity::Even);
        assert_eq!(fit(Function::Sigmoid, -6.0, 5.0, target).parity(), Parity::None);
        // Relu is half of x plus half of |x|.
        let relu = fit(Function::Relu, -3.0, 3.0, Target::bits(14.0, 30));
        assert!((relu.coefficients[1] - 1.5).abs() < 1e-12);
        assert!(relu.coefficients.iter().skip(3).step_by(2).all(|c| *c == 0.0));
    }

    #[test]
    fn constants_have_degree_zero() {
        let a = fit(Function::Power { exponent: 0 }, 1.0, 2.0, Target::bits(10.0, 50));
        assert_eq!((a.coefficients.as_slice(), a.depth()), (&[1.0][..], 0));
    }

    #[test]
    fn bad_ranges_are_errors() {
        let target = Target::bits(10.0, 20);
        assert!(matches!(
            Function::Relu.approximate(1.0, 1.0, target),
            Err(ApproximationError::Range { .. })
        ));
        assert!(Function::Relu.approximate(f64::NAN, 1.0, target).is_err());
        assert!(Function::Relu.approximate(-1.0, f64::INFINITY, target).is_err());
        assert_eq!(
            Function::Reciprocal.approximate(-1.0, 1.0, target),
            Err(ApproximationError::NotFinite(0.0))
        );
        assert!(Function::Sqrt.approximate(-1.0, 1.0, target).is_err());
    }

    #[test]
    fn names_are_those_of_the_dialect() {
        assert_eq!(Function::named("clip", &[0.0, 6.0]), Ok(Function::Clip { low: 0.0, high: 6.0 }));
        let error = Function::named("relu", &[1.0]).unwrap_err().to_string();
        assert_eq!(error, "no function `relu` with 1 parameters is known");
    }

    #[test]
    fn normal_distribution_has_tabulated_values() {
        for (x, p) in
            [(0.0, 0.5), (1.0, 0.841344746068543), (-2.5, 0.006209665325776), (4.5, 0.999996602326875)]
        {
            assert!((normal_distribution(x) - p).abs() < 1e-14, "{x}");
        }
        assert!((normal_distribution(3.999999) - normal_distribution(4.000001)).abs() < 1e-9);
    }
}
