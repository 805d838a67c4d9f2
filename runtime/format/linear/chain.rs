//! Rotations in chains: one step again and again, so that one key serves many steps.
//!
//! The giant steps of one sign are a sum by Horner's rule,
//!
//! ```text
//! sum_k rot(v_k, k s) = rot(v_1 + rot(v_2 + rot(v_3 + .., s), s), s)
//! ```
//!
//! which has as many rotations as there are giant steps if those are all multiples of `s` up to the last; each multiple
//! that is missing costs one more. Baby steps in a chain share no mod-up, so that each costs a whole rotation.

use super::diagonals::SlotMatrix;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which rotations of a matrix are chains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// None: each step has a key.
    #[default]
    None,
    /// Those by giant steps.
    Giants,
    /// All.
    All,
}

impl Chain {
    /// From the text of the attribute.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Giants, Self::All].into_iter().find(|chain| chain.name() == text)
    }

    /// The text of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Giants => "giants",
            Self::All => "all",
        }
    }
}

/// Steps of one sign: `stride`, `2 stride` .. `turns * stride`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// The step that is repeated, not 0.
    pub stride: i64,
    /// How often at most.
    pub turns: i64,
}

impl Walk {
    /// The steps of the walk, nearest first.
    pub fn steps(self) -> impl DoubleEndedIterator<Item = i64> {
        (1..=self.turns).map(move |turn| turn * self.stride)
    }

    /// The walks to the left and to the right that pass all steps whose strides are given.
    fn over(strides: [i64; 2], steps: &BTreeSet<i64>) -> Vec<Self> {
        let far = [steps.first().copied().unwrap_or(0).min(0), steps.last().copied().unwrap_or(0).max(0)];
        let walk = |(stride, far): (i64, i64)| (far != 0).then(|| Self { stride, turns: far / stride });
        strides.into_iter().zip(far).filter_map(walk).collect()
    }
}

/// A step between minus half the slots and half the slots.
pub fn signed(step: i64, slots: usize) -> i64 {
    let (step, slots) = (step.rem_euclid(slots as i64), slots as i64);
    if step > slots / 2 { step - slots } else { step }
}

/// The greatest step that divides all of one sign; 0 if there are none.
fn stride(steps: impl Iterator<Item = i64>) -> i64 {
    let gcd = |mut a: i64, mut b: i64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    steps.fold(0, |all, step| gcd(all, step.abs()))
}

fn strides(steps: &BTreeSet<i64>) -> [i64; 2] {
    [-stride(steps.range(..0).copied()), stride(steps.range(1..).copied())]
}

impl SlotMatrix {
    /// The giant steps of an output, or all giant steps, between minus half the slots and half the slots.
    pub fn giants(&self, output: Option<usize>) -> BTreeSet<i64> {
        self.signed_steps(&self.steps().giants, output)
    }

    /// The baby steps of an input, or all baby steps.
    pub fn babies(&self, input: Option<usize>) -> BTreeSet<i64> {
        self.signed_steps(&self.steps().babies, input)
    }

    fn signed_steps(&self, steps: &BTreeSet<(usize, i64)>, of: Option<usize>) -> BTreeSet<i64> {
        let own = steps.iter().filter(|(place, _)| of.is_none_or(|of| of == *place));
        own.map(|(_, step)| signed(*step, self.slots)).collect()
    }

    /// The chains of an output's giant steps. Their strides are the same for all outputs.
    pub fn giant_walks(&self, output: usize) -> Vec<Walk> {
        Walk::over(strides(&self.giants(None)), &self.giants(Some(output)))
    }

    /// The chains of an input's baby steps. Their strides are the same for all inputs.
    pub fn baby_walks(&self, input: usize) -> Vec<Walk> {
        Walk::over(strides(&self.babies(None)), &self.babies(Some(input)))
    }

    /// The steps that rotations are by, 0 left out, if `chain` of them are chains: each needs a key.
    pub fn key_steps(&self, chain: Chain) -> BTreeSet<i64> {
        let keys = |steps: BTreeSet<i64>, chained: bool| {
            if chained { strides(&steps).into_iter().collect() } else { steps }
        };
        let mut all: BTreeSet<i64> = keys(self.giants(None), chain >= Chain::Giants);
        all.extend(keys(self.babies(None), chain >= Chain::All));
        all.remove(&0);
        all
    }

    /// How many rotations the input of a diagonal has gone through before it is multiplied.
    pub fn baby_turns(&self, diagonal: i64) -> i64 {
        let step = signed(self.bsgs.baby(diagonal), self.slots);
        match self.chain {
            Chain::All if step != 0 => {
                let [left, right] = strides(&self.babies(None));
                step / if step < 0 { left } else { right }
            }
            _ => i64::from(step != 0),
        }
    }

    /// Rotations by giant steps that chains do only to get to the next.
    pub fn giant_detours(&self) -> usize {
        let detours = |output| {
            let turns: i64 = self.giant_walks(output).iter().map(|walk| walk.turns).sum();
            turns as usize - self.giants(Some(output)).iter().filter(|step| **step != 0).count()
        };
        (0..self.outputs).map(detours).sum()
    }

    /// The cost of a chain of all baby steps beyond that of hoisted ones, in whole rotations, if a hoisted one costs `hoisted`.
    pub fn baby_chain_cost(&self, hoisted: f64) -> f64 {
        let cost = |input| {
            let turns: i64 = self.baby_walks(input).iter().map(|walk| walk.turns).sum();
            let steps = self.babies(Some(input)).iter().filter(|step| **step != 0).count();
            turns as f64 - hoisted * steps as f64
        };
        (0..self.inputs).map(cost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::linear::{bsgs::Bsgs, diagonals::Block};

    fn matrix(diagonals: Vec<i64>, modulus: i64, first: i64) -> SlotMatrix {
        SlotMatrix {
            slots: 64,
            inputs: 1,
            outputs: 1,
            period: 64,
            folds: Vec::new(),
            blocks: vec![Block { output: 0, input: 0, diagonals }],
            bsgs: Bsgs { modulus, first },
            chain: Chain::None,
        }
    }

    #[test]
    fn dense_giant_steps_are_chains_without_detours() {
        let dense = matrix((-16..16).collect(), 4, 0);
        assert_eq!(dense.giant_walks(0), [Walk { stride: -4, turns: 4 }, Walk { stride: 4, turns: 3 }]);
        assert_eq!(dense.giant_detours(), 0);
        assert_eq!(dense.key_steps(Chain::None), BTreeSet::from([-16, -12, -8, -4, 1, 2, 3, 4, 8, 12]));
        assert_eq!(dense.key_steps(Chain::Giants), BTreeSet::from([-4, 1, 2, 3, 4]));
        assert_eq!(dense.key_steps(Chain::All), BTreeSet::from([-4, 1, 4]));
        assert!((dense.baby_chain_cost(0.4) - 1.8).abs() < 1e-9);
    }

    #[test]
    fn missing_steps_are_detours() {
        let gaps = matrix(vec![0, 1, 8, 9, 24, 25], 8, 0);
        assert_eq!(gaps.giant_walks(0), [Walk { stride: 8, turns: 3 }]);
        assert_eq!(gaps.giant_detours(), 1);
        assert_eq!(gaps.giant_walks(0)[0].steps().collect::<Vec<_>>(), [8, 16, 24]);
    }

    #[test]
    fn steps_are_signed() {
        assert_eq!([signed(63, 64), signed(32, 64), signed(-40, 64)], [-1, 32, 24]);
    }
}
