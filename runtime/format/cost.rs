//! What arithmetic on ciphertexts costs before there are kernels, from the parameters alone.
//!
//! An op is a [`Tally`] of steps: polynomials raised to the basis of keys, inner products with a key, divisions, products.
//! [`Params::prices`] says what each kind of step costs at a level, as a tally too; the cost of the op is the sum of
//! counts times prices ([`Tally::at`]). The unit is a modular multiplication:
//!
//! * the NTT of a limb is N/2 log2(N) butterflies of 1.5;
//! * a base conversion is half a multiplication for each coefficient and pair of a limb from and a limb to;
//! * a word of a key or plaintext costs two to read besides the product.
//!
//! Everything that chooses before there are kernels compares these numbers: parameters, bootstraps, what bootstraps
//! consist of. Times on a device are predicted later, from kernels.

use std::collections::BTreeSet;
use std::ops::{Add, AddAssign, Mul};

use super::linear::chain::signed;
use super::linear::{Chain, SlotMatrix, Walk};
use super::params::Params;

/// How often an op does what costs, in polynomials; or what each costs ([`Params::prices`]).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Raised digit by digit to the level's primes and the special primes.
    pub raised: f64,
    /// Multiplied with a key: digits in, two polynomials out.
    pub switched: f64,
    /// Divided by the special primes.
    pub lowered: f64,
    /// More for each that is divided by the primes of a rescale in the same step.
    pub merged: f64,
    /// Divided by the primes of a rescale alone.
    pub rescaled: f64,
    /// Transformed modulo the level's primes.
    pub transformed: f64,
    /// Multiplied modulo the level's primes.
    pub products: f64,
    /// Multiplied modulo the level's primes and the special primes.
    pub weighted: f64,
    /// Plaintexts modulo the level's primes and the special primes that are read; those that repeat count in part.
    pub plaintexts: f64,
}

/// A key switch of its own: a rotation, a conjugation, a relinearisation.
pub const KEY_SWITCH: Tally = Tally { raised: 1.0, switched: 1.0, lowered: 2.0, ..Tally::NONE };

impl Tally {
    /// Nothing.
    pub const NONE: Self = Self {
        raised: 0.0,
        switched: 0.0,
        lowered: 0.0,
        merged: 0.0,
        rescaled: 0.0,
        transformed: 0.0,
        products: 0.0,
        weighted: 0.0,
        plaintexts: 0.0,
    };

    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            raised: f(self.raised, other.raised),
            switched: f(self.switched, other.switched),
            lowered: f(self.lowered, other.lowered),
            merged: f(self.merged, other.merged),
            rescaled: f(self.rescaled, other.rescaled),
            transformed: f(self.transformed, other.transformed),
            products: f(self.products, other.products),
            weighted: f(self.weighted, other.weighted),
            plaintexts: f(self.plaintexts, other.plaintexts),
        }
    }

    /// What this costs at a level that has these prices.
    pub fn at(&self, prices: &Self) -> f64 {
        self.raised * prices.raised
            + self.switched * prices.switched
            + self.lowered * prices.lowered
            + self.merged * prices.merged
            + self.rescaled * prices.rescaled
            + self.transformed * prices.transformed
            + self.products * prices.products
            + self.weighted * prices.weighted
            + self.plaintexts * prices.plaintexts
    }

    /// Several rotations of one ciphertext that share its raised digits.
    pub fn hoisted(rotations: usize) -> Self {
        let rotations = rotations as f64;
        Self { raised: 1.0, switched: rotations, lowered: 2.0 * rotations, ..Self::NONE }
    }

    /// A matrix applied to ciphertexts of `slots` slots: baby steps stay over the basis of keys, giant steps divide and
    /// raise one polynomial each, and each output is divided once.
    pub fn of_matrix(matrix: &SlotMatrix, slots: usize) -> Self {
        let turns = |walks: Vec<Walk>| walks.iter().map(|walk| walk.turns as f64).sum::<f64>();
        let steps = matrix.steps();
        // Equal steps modulo the number of slots are one rotation, or none.
        let moved = |(place, step): &(usize, i64)| (*place, signed(*step, matrix.slots));
        let count = |steps: &BTreeSet<(usize, i64)>| -> BTreeSet<(usize, i64)> {
            steps.iter().map(moved).filter(|(_, step)| *step != 0).collect()
        };
        let mut tally = Self { lowered: 2.0 * matrix.outputs as f64, ..Self::NONE };
        match matrix.chain {
            Chain::All => {
                for input in 0..matrix.inputs {
                    tally += KEY_SWITCH * turns(matrix.baby_walks(input));
                }
            }
            _ => {
                let babies = count(&steps.babies);
                let raised = babies.iter().map(|(input, _)| input).collect::<BTreeSet<_>>().len() as f64;
                tally += Self { raised, switched: babies.len() as f64, ..Self::NONE };
            }
        }
        let giants = match matrix.chain {
            Chain::None => count(&steps.giants).len() as f64,
            _ => (0..matrix.outputs).map(|output| turns(matrix.giant_walks(output))).sum(),
        };
        tally += Self { raised: giants, switched: giants, lowered: giants, ..Self::NONE };
        let diagonals = matrix.diagonals() as f64;
        let part = matrix.period as f64 / slots.max(1) as f64;
        tally + Self { weighted: 2.0 * diagonals, plaintexts: diagonals * part.min(1.0), ..Self::NONE }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Tally {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        self.zip(self, |a, _| a * factor)
    }
}

/// What a butterfly costs.
const BUTTERFLY: f64 = 1.5;
/// What a coefficient costs in a base conversion, for each limb from and to.
const CONVERSION: f64 = 0.5;
/// What reading a word of a key or plaintext costs.
const READ: f64 = 2.0;

impl Params {
    /// What each step costs at a level, in modular multiplications. Levels that do not exist cost as the highest.
    pub fn prices(&self, level: u32) -> Tally {
        let level = level.min(self.max_level());
        let basis = self.level_basis(level);
        let n = self.n() as f64;
        let transform = n / 2.0 * f64::from(self.log_n) * BUTTERFLY;
        let conversion = n * CONVERSION;
        let (limbs, special) = (basis.len() as f64, self.p.len() as f64);
        let digits = self.digits(basis);
        let wide = limbs + special;
        let pairs: f64 = digits.iter().map(|digit| digit.len() as f64 * (wide - digit.len() as f64)).sum();
        // Of one polynomial, by some primes, to some others.
        let division =
            |dropped: f64, kept: f64| transform * (dropped + kept) + conversion * dropped * kept + n * kept;
        let (dropped, kept) = match self.rescale_primes(level) {
            Some((dropped, _)) => (dropped.len() as f64, self.level_basis(level - 1).len() as f64),
            None => (0.0, limbs),
        };
        // By several primes in two steps, the last of them alone.
        let rescaled = match self.rescale_primes(level) {
            None => 0.0,
            Some(_) if dropped > 1.0 => division(dropped - 1.0, kept + 1.0) + division(1.0, kept),
            Some(_) => division(dropped, kept),
        };
        let lowered = division(special, limbs);
        Tally {
            raised: transform * digits.len() as f64 * wide + conversion * pairs,
            switched: n * 2.0 * digits.len() as f64 * wide * (1.0 + READ),
            lowered,
            merged: if dropped > 0.0 { division(special + dropped, kept) - lowered } else { 0.0 },
            rescaled,
            transformed: transform * limbs,
            products: n * limbs,
            weighted: n * wide,
            plaintexts: n * wide * READ,
        }
    }

    /// The prices of all levels.
    pub fn price_table(&self) -> Vec<Tally> {
        (0..=self.max_level()).map(|level| self.prices(level)).collect()
    }

    /// The cost of one rotation at the highest level.
    pub fn key_switch_cost(&self) -> f64 {
        KEY_SWITCH.at(&self.prices(self.max_level()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::bootstrap::BootstrapOptions;
    use crate::format::linear::{Direction, FourierFactor};

    fn large() -> Params {
        Params::bootstrapping(&BootstrapOptions::new(16, 13)).unwrap()
    }

    #[test]
    fn a_key_switch_has_the_transforms_of_the_recipe() {
        // beta (l + alpha) + 2 alpha + 2 l of 47, 12 and 4.
        let params = large();
        let prices = params.prices(params.max_level());
        let transform = prices.transformed / 47.0;
        let transforms = 4.0 * 59.0 + 24.0 + 94.0;
        let cost = params.key_switch_cost() / transform;
        assert!(cost > transforms && cost < 2.0 * transforms, "{cost}");
        // A level below costs less.
        assert!((1..=params.max_level()).all(|level| {
            let at = |level| KEY_SWITCH.at(&params.prices(level));
            at(level - 1) < at(level) * 1.05
        }));
    }

    #[test]
    fn merged_divisions_cost_less_than_two() {
        let params = large();
        for level in 1..=params.max_level() {
            let prices = params.prices(level);
            assert!(prices.merged < prices.rescaled, "level {level}");
            assert!(prices.lowered + prices.merged > 0.0);
        }
    }

    #[test]
    fn a_factor_of_a_transform_is_cheaper_than_its_rotations() {
        let params = large();
        let prices = params.prices(28);
        let matrix = FourierFactor::new(Direction::ToSlots, 0, 5).unwrap().matrix(1 << 15);
        let tally = Tally::of_matrix(&matrix, params.slots());
        // 63 diagonals: 7 baby steps, 7 giant ones.
        assert_eq!((tally.switched, tally.raised, tally.weighted), (14.0, 8.0, 126.0));
        assert!(tally.at(&prices) < 14.0 * KEY_SWITCH.at(&prices));
        // The short diagonals of the first stages are read in no time.
        assert!(tally.plaintexts < 0.1);
    }
}
