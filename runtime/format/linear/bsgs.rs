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
    /// mod-up, which a hoisted one does not repeat.
    fn default() -> Self {
        Self { baby: 0.4, giant: 1.0, product: 0.03, key: 0.05 }
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
        let hoisted = Self::hoisted(slots);
        let mut best = (hoisted, hoisted.steps(blocks.iter().copied()).cost(cost));
        let mut modulus = 1i64;
        while modulus <= slots as i64 {
            for first in [0, -modulus / 2] {
                let split = Self { modulus, first };
                let price = split.steps(blocks.iter().copied()).cost(cost);
                if price < best.1 - 1e-9 {
                    best = (split, price);
                }
            }
            modulus *= 2;
        }
        best
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
