//! Factors of the canonical embedding as slot matrices.
//!
//! Slot j of a polynomial m of degree below 2n is m(zeta^(5^j)). With the pairs c_k = m_k + i m_(n+k) in bit-reversed
//! order, the n slots are c under log2(n) butterfly stages: stage s works on blocks of 2h, h = 2^s,
//!
//! ```text
//! (x_j, x_(j+h))  ->  (x_j + r_j x_(j+h), x_j - r_j x_(j+h))        r_j = exp(2 pi i 5^j / 8h), j < h
//! ```
//!
//! A [`FourierFactor`] is the product of a range of stages, towards the slots or back (then each stage is twice its
//! inverse). As a slot matrix its diagonals are multiples of 2^(first stage), and have period 2^(end of the range): both
//! follow from the range alone, and the numbers from the formula, so nothing is stored.

use std::f64::consts::PI;
use std::fmt;

use num_complex::Complex64;

use super::bsgs::Bsgs;
use super::chain::Chain;
use super::diagonals::{Block, DiagonalValues, SlotMatrix};
use crate::format::text::Scanner;

/// Which way a factor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From coefficients, in bit-reversed order, towards slots.
    ToSlots,
    /// From slots towards coefficients in bit-reversed order, each stage doubled.
    ToCoefficients,
}

/// The product of the stages `first..end`; see the [module documentation](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourierFactor {
    /// The direction.
    pub direction: Direction,
    /// The first stage of the range.
    pub first: u32,
    /// The end of the range.
    pub end: u32,
}

/// Diagonals under construction, by number; one period of values each.
type Diagonals = std::collections::BTreeMap<i64, Vec<Complex64>>;

impl FourierFactor {
    /// A factor of at least one stage.
    pub fn new(direction: Direction, first: u32, end: u32) -> Option<Self> {
        (first < end && end <= 30).then_some(Self { direction, first, end })
    }

    /// Parses the text, `to_slots 0:5`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner::new("fourier", text);
        let direction = match scanner.identifier()? {
            "to_slots" => Direction::ToSlots,
            "to_coefficients" => Direction::ToCoefficients,
            other => return Err(format!("fourier: there is no direction `{other}`")),
        };
        let first = scanner.u32()?;
        scanner.expect(":")?;
        let end = scanner.u32()?;
        scanner.finish()?;
        Self::new(direction, first, end)
            .ok_or_else(|| format!("fourier: {first}:{end} is no range of stages"))
    }

    /// The period of the diagonals.
    pub fn period(&self) -> usize {
        1 << self.end
    }

    /// The diagonals for a transform of `slots` slots, ascending: multiples of the smallest stride. Where the largest
    /// butterflies wrap around the slots, the two diagonals that meet are one, between -slots/2 and slots/2.
    pub fn diagonals(&self, slots: usize) -> Vec<i64> {
        let stride = 1i64 << self.first;
        let reach = 1i64 << (self.end - self.first);
        let range = if self.period() == slots { -reach / 2..reach / 2 } else { 1 - reach..reach };
        range.map(|k| k * stride).collect()
    }

    /// The matrix for a transform of `slots` slots, a power of two that is at least the period. Baby steps are not
    /// negative and giant steps start below zero, so that both counts are powers of two.
    pub fn matrix(&self, slots: usize) -> SlotMatrix {
        let diagonals = self.diagonals(slots);
        let babies = (diagonals.len() as f64).sqrt().ceil() as i64;
        let modulus = (babies as u64).next_power_of_two() as i64 * (1i64 << self.first);
        SlotMatrix {
            slots,
            inputs: 1,
            outputs: 1,
            period: self.period(),
            folds: vec![],
            blocks: vec![Block { output: 0, input: 0, diagonals }],
            bsgs: Bsgs { modulus, first: 0 },
            chain: Chain::None,
        }
    }

    /// The values of all diagonals of [`FourierFactor::matrix`], in order, times `factor`.
    pub fn values(&self, slots: usize, factor: f64) -> Vec<DiagonalValues> {
        let period = self.period();
        let mut product = Diagonals::from([(0, vec![Complex64::new(factor, 0.0); period])]);
        let stages = self.first..self.end;
        match self.direction {
            Direction::ToSlots => stages.for_each(|stage| product = self.after(stage, &product)),
            Direction::ToCoefficients => {
                stages.rev().for_each(|stage| product = self.after(stage, &product));
            }
        }
        let slots = slots as i64;
        self.diagonals(slots as usize)
            .into_iter()
            .map(|diagonal| {
                // At most two numbers are the same diagonal modulo the number of slots.
                let mut sum = vec![Complex64::default(); period];
                for (_, values) in product.iter().filter(|(d, _)| (*d - diagonal).rem_euclid(slots) == 0) {
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                DiagonalValues {
                    output: 0,
                    input: 0,
                    diagonal,
                    values: sum.iter().map(|value| value.re).collect(),
                    imaginary: sum.iter().map(|value| value.im).collect(),
                }
            })
            .collect()
    }

    /// A stage applied after a product of others.
    fn after(&self, stage: u32, before: &Diagonals) -> Diagonals {
        let period = self.period();
        let half = 1usize << stage;
        let mut product = Diagonals::new();
        for (number, values) in butterfly(self.direction, stage) {
            for (d, other) in before {
                let sum = product.entry(number + d).or_insert_with(|| vec![Complex64::default(); period]);
                for (row, sum) in sum.iter_mut().enumerate() {
                    let column = (row as i64 + number).rem_euclid(period as i64) as usize;
                    *sum += values[row % (2 * half)] * other[column];
                }
            }
        }
        product
    }
}

/// The three diagonals of a stage, one period each.
fn butterfly(direction: Direction, stage: u32) -> [(i64, Vec<Complex64>); 3] {
    let half = 1usize << stage;
    let order = 8 * half;
    let mut power = 1usize;
    let roots: Vec<Complex64> = (0..half)
        .map(|_| {
            let root = Complex64::from_polar(1.0, 2.0 * PI * power as f64 / order as f64);
            power = power * 5 % order;
            root
        })
        .collect();
    let (one, zero) = (Complex64::new(1.0, 0.0), Complex64::default());
    let rows = |low: &dyn Fn(usize) -> Complex64, high: &dyn Fn(usize) -> Complex64| {
        (0..half).map(low).chain((0..half).map(high)).collect::<Vec<_>>()
    };
    let step = half as i64;
    match direction {
        Direction::ToSlots => [
            (0, rows(&|_| one, &|j| -roots[j])),
            (step, rows(&|j| roots[j], &|_| zero)),
            (-step, rows(&|_| zero, &|_| one)),
        ],
        Direction::ToCoefficients => [
            (0, rows(&|_| one, &|j| -roots[j].conj())),
            (step, rows(&|_| one, &|_| zero)),
            (-step, rows(&|_| zero, &|j| roots[j].conj())),
        ],
    }
}

impl fmt::Display for FourierFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::ToSlots => "to_slots",
            Direction::ToCoefficients => "to_coefficients",
        };
        write!(f, "{direction} {}:{}", self.first, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::primes::bit_reverse;

    fn apply(factor: &FourierFactor, slots: usize, x: &[Complex64]) -> Vec<Complex64> {
        let values = factor.values(slots, 1.0);
        let matrix = factor.matrix(slots);
        assert!(values.iter().map(|v| v.diagonal).eq(matrix.blocks[0].diagonals.iter().copied()));
        (0..slots)
            .map(|row| {
                let entry = |v: &DiagonalValues| {
                    let column = (row as i64 + v.diagonal).rem_euclid(slots as i64) as usize;
                    v.at(row) * x[column]
                };
                values.iter().map(entry).sum()
            })
            .collect()
    }

    fn inputs(slots: usize) -> Vec<Complex64> {
        (0..slots)
            .map(|k| Complex64::new((k * 7 % 11) as f64 - 5.0, (k * 5 % 13) as f64 / 4.0 - 1.5))
            .collect()
    }

    /// Slots by the definition, from pairs in bit-reversed order.
    fn dense(pairs: &[Complex64]) -> Vec<Complex64> {
        let n = pairs.len();
        let mut power = 1usize;
        (0..n)
            .map(|_| {
                let root = |k: usize| {
                    Complex64::from_polar(1.0, PI * ((power * k) % (4 * n)) as f64 / (2 * n) as f64)
                };
                let term = |k: usize| {
                    let pair = pairs[bit_reverse(k, n.ilog2())];
                    pair.re * root(k) + pair.im * root(k + n)
                };
                let value = (0..n).map(term).sum();
                power = power * 5 % (4 * n);
                value
            })
            .collect()
    }

    fn close(a: &[Complex64], b: &[Complex64]) {
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).norm() < 1e-9, "{x} {y}");
        }
    }

    #[test]
    fn products_are_the_embedding() {
        for (slots, cuts) in
            [(16, vec![0, 4]), (16, vec![0, 1, 2, 4]), (64, vec![0, 2, 5, 6]), (2, vec![0, 1])]
        {
            let x = inputs(slots);
            let factor = |direction, pair: &[u32]| FourierFactor::new(direction, pair[0], pair[1]).unwrap();
            let mut y = x.clone();
            for pair in cuts.windows(2) {
                y = apply(&factor(Direction::ToSlots, pair), slots, &y);
            }
            close(&y, &dense(&x));
            for pair in cuts.windows(2).rev() {
                y = apply(&factor(Direction::ToCoefficients, pair), slots, &y);
            }
            let scaled: Vec<_> = x.iter().map(|x| x * slots as f64).collect();
            close(&y, &scaled);
        }
    }

    #[test]
    fn steps_are_those_of_the_recipe() {
        let count = |first, end| {
            let matrix = FourierFactor::new(Direction::ToSlots, first, end).unwrap().matrix(1 << 15);
            let steps = matrix.steps();
            (matrix.diagonals(), steps.babies.len(), steps.giants.len())
        };
        assert_eq!(count(11, 15), (16, 4, 4));
        assert_eq!(count(8, 11), (15, 4, 4));
        assert_eq!(count(4, 8), (31, 8, 4));
        assert_eq!(count(5, 10), (63, 8, 8));
        assert_eq!(count(10, 15), (32, 8, 4));
    }

    #[test]
    fn text_gives_it_back() {
        for text in ["to_slots 0:5", "to_coefficients 11:15"] {
            assert_eq!(FourierFactor::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "to_slots", "to_slots 3:3", "to_slots 3:1", "up 0:1", "to_slots 0:40", "to_slots 0:1 x"]
        {
            assert!(FourierFactor::parse(text).is_err(), "{text}");
        }
    }
}
