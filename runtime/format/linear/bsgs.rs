//! Baby and giant steps: which rotations make a set of diagonals.
//!
//! With `d = baby(d) + giant(d)` a matrix times a vector is
//!
//! ```text
//! y = sum_d diag_d * rot(x, d)
//!   = sum_g rot( sum_b rot(diag_{g+b}, -g) * rot(x, b), g )
//! ```
//!
//! so each input ciphertext is rotated once by each baby step (hoisted: the rotations share one mod-up), and
//! each output ciphertext once by each giant step. A split is a modulus `m` and a first baby step `f`:
//! `baby(d)` is the number congruent to `d` modulo `m` in `[f, f + m)`. Diagonals of convolutions lie in
//! clusters around multiples of a power of two, with negative offsets; `f = -m/2` keeps a cluster together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What rotations and products cost, in units of one rotation that shares nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RotationCost {
    /// A rotation that shares its mod-up with others of the same ciphertext.
    pub baby: f64,
    /// A rotation of its own.
    pub giant: f64,
    /// A product with a plaintext, and the addition of the result.
    pub product: f64,
    /// One more rotation key.
    pub key: f64,
}

impl Default for RotationCost {
    /// Ratios for about ten limbs in three digits: a full rotation is dominated by the transforms of its
    /// mod-up, which a hoisted one does not repeat. Products and keys count more than their arithmetic because
    /// they take most of the memory.
    fn default() -> Self {
        Self { baby: 0.4, giant: 1.0, product: 0.05, key: 0.15 }
    }
}

impl RotationCost {
    /// The part of a product's cost that its arithmetic is; the rest is reading the plaintext, of which those with a
    /// smaller period have less.
    const ARITHMETIC: f64 = 0.25;

    /// The costs where plaintexts repeat with this period.
    pub fn of_period(&self, period: usize, slots: usize) -> Self {
        let part = period as f64 / slots.max(1) as f64;
        Self { product: self.product * (Self::ARITHMETIC + (1.0 - Self::ARITHMETIC) * part), ..*self }
    }
}

/// A split of diagonals into baby and giant steps; see the [module documentation](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bsgs {
    /// The baby steps are distinct modulo this number.
    pub modulus: i64,
    /// The first number of the range of baby steps.
    pub first: i64,
}

impl Bsgs {
    /// The split in which every diagonal is a baby step.
    pub fn hoisted(slots: usize) -> Self {
        let slots = slots as i64;
        Self { modulus: 2 * slots, first: -slots }
    }

    /// The baby step of a diagonal.
    pub fn baby(&self, diagonal: i64) -> i64 {
        (diagonal - self.first).rem_euclid(self.modulus) + self.first
    }

    /// The giant step of a diagonal.
    pub fn giant(&self, diagonal: i64) -> i64 {
        diagonal - self.baby(diagonal)
    }

    /// The rotations that this split of some blocks of diagonals needs.
    pub fn steps<'a>(&self, blocks: impl IntoIterator<Item = (usize, usize, &'a [i64])>) -> Steps {
        let mut steps = Steps::default();
        for (output, input, diagonals) in blocks {
            for &d in diagonals {
                steps.babies.insert((input, self.baby(d)));
                steps.giants.insert((output, self.giant(d)));
                steps.products += 1;
            }
        }
        steps
    }

    /// The cheapest split of some blocks `(output, input, diagonals)`, and its cost.
    pub fn cheapest(blocks: &[(usize, usize, &[i64])], slots: usize, cost: &RotationCost) -> (Self, f64) {
        let mut scratch = Scratch::default();
        let hoisted = Self::hoisted(slots);
        let mut best = (hoisted, scratch.price(hoisted, blocks, cost));
        // With many diagonals only balanced splits can be cheap.
        let most = blocks.iter().map(|(_, _, diagonals)| diagonals.len()).max().unwrap_or(0);
        let mut modulus = if most > 1024 { 16 } else { 1i64 };
        while modulus <= if most > 1024 { 512 } else { slots as i64 } {
            for first in [0, -modulus / 2] {
                let split = Self { modulus, first };
                let price = scratch.price(split, blocks, cost);
                if price < best.1 - 1e-9 {
                    best = (split, price);
                }
            }
            modulus *= 2;
        }
        best
    }
}

/// Buffers of [`Bsgs::cheapest`], which prices many splits.
#[derive(Default)]
struct Scratch {
    babies: Vec<(usize, i64)>,
    giants: Vec<(usize, i64)>,
    keys: Vec<i64>,
}

impl Scratch {
    /// The same as `split.steps(blocks).cost(cost)`.
    fn price(&mut self, split: Bsgs, blocks: &[(usize, usize, &[i64])], cost: &RotationCost) -> f64 {
        self.babies.clear();
        self.giants.clear();
        let mut products = 0;
        for &(output, input, diagonals) in blocks {
            products += diagonals.len();
            for &d in diagonals {
                let baby = split.baby(d);
                self.babies.push((input, baby));
                self.giants.push((output, d - baby));
            }
        }
        for steps in [&mut self.babies, &mut self.giants] {
            steps.retain(|(_, step)| *step != 0);
            steps.sort_unstable();
            steps.dedup();
        }
        self.keys.clear();
        self.keys.extend(self.babies.iter().chain(&self.giants).map(|(_, step)| *step));
        self.keys.sort_unstable();
        self.keys.dedup();
        self.babies.len() as f64 * cost.baby
            + self.giants.len() as f64 * cost.giant
            + products as f64 * cost.product
            + self.keys.len() as f64 * cost.key
    }
}

/// The rotations and products of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Baby steps, each with its input ciphertext.
    pub babies: BTreeSet<(usize, i64)>,
    /// Giant steps, each with its output ciphertext.
    pub giants: BTreeSet<(usize, i64)>,
    /// The number of products with plaintexts.
    pub products: usize,
}

impl Steps {
    /// The number of baby rotations, step 0 left out.
    pub fn baby_rotations(&self) -> usize {
        self.babies.iter().filter(|(_, step)| *step != 0).count()
    }

    /// The number of giant rotations, step 0 left out.
    pub fn giant_rotations(&self) -> usize {
        self.giants.iter().filter(|(_, step)| *step != 0).count()
    }

    /// The distinct rotation steps, 0 left out.
    pub fn distinct(&self) -> BTreeSet<i64> {
        let all = self.babies.iter().chain(&self.giants);
        all.map(|(_, step)| *step).filter(|step| *step != 0).collect()
    }

    /// What the steps cost.
    pub fn cost(&self, cost: &RotationCost) -> f64 {
        self.baby_rotations() as f64 * cost.baby
            + self.giant_rotations() as f64 * cost.giant
            + self.products as f64 * cost.product
            + self.distinct().len() as f64 * cost.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheapest_is_no_dearer_than_any_split_and_priced_right() {
        let cost = RotationCost::default();
        let first: Vec<i64> = (-3..=3).flat_map(|y| (-2..=2).map(move |x| 32 * y + x)).collect();
        let second: Vec<i64> = (0..40).map(|d| 3 * d - 50).collect();
        let blocks = [(0, 0, &first[..]), (0, 1, &second[..]), (1, 1, &first[..])];
        let (split, price) = Bsgs::cheapest(&blocks, 1024, &cost);
        assert!((split.steps(blocks).cost(&cost) - price).abs() < 1e-9);
        for log in 0..=10 {
            for first in [0, -(1i64 << log) / 2] {
                let other = Bsgs { modulus: 1 << log, first };
                assert!(price <= other.steps(blocks).cost(&cost) + 1e-9);
            }
        }
        assert!(price <= Bsgs::hoisted(1024).steps(blocks).cost(&cost) + 1e-9);
    }

    #[test]
    fn offsets_keep_clusters_together() {
        // A 5x5 stencil with rows of 32: five baby and five giant steps, the middle ones free.
        let stencil: Vec<i64> = (-2..=2).flat_map(|y| (-2..=2).map(move |x| 32 * y + x)).collect();
        let split = Bsgs { modulus: 32, first: -16 };
        let steps = split.steps([(0, 0, &stencil[..])]);
        assert_eq!((steps.baby_rotations(), steps.giant_rotations(), steps.products), (4, 4, 25));
        assert!(stencil.iter().all(|d| split.baby(*d) + split.giant(*d) == *d));
        assert_eq!(steps.distinct().into_iter().collect::<Vec<_>>(), [-64, -32, -2, -1, 1, 2, 32, 64]);
    }
}
