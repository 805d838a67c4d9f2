//! What a bootstrap costs, from the plan that it is written out by, and with how many bits it can be trusted.
//!
//! The counts are those of the ops that `ckks-expand-bootstrap` writes; a test beside it compares them.

use super::{
    eval_mod, lowest_within,
    plan::{Message, Outline, Placed, Plan},
};
use crate::ckks::tally::RAISE;
use ceria_dialects::ckks::bootstrap::{ITERATED, MOD_RAISE_FIRST, SLOTS_TO_COEFFICIENTS_FIRST, start_level};
use ceria_runtime::format::{
    cost::{KEY_SWITCH, Tally},
    linear::FourierFactor,
    params::Params,
};
use std::{cell::RefCell, collections::HashMap};

/// Costs of bootstraps under parameters.
pub struct Costs<'p> {
    params: &'p Params,
    prices: Vec<Tally>,
    /// Matrices by factor and log2 of the slots.
    factors: RefCell<HashMap<(FourierFactor, u32), Tally>>,
}

/// The butterfly stages that a matrix has at most: each more doubles its diagonals.
const MOST_STAGES: u32 = 8;

/// The polynomials of a ciphertext, multiplied by a number or i, or added.
const PRODUCT: Tally = Tally { products: 2.0, ..Tally::NONE };
/// The polynomials of a ciphertext, rescaled by themselves.
const RESCALE: Tally = Tally { rescaled: 2.0, ..Tally::NONE };
/// The polynomials of a ciphertext, rescaled where a key switch ends.
const MERGED: Tally = Tally { merged: 2.0, ..Tally::NONE };

impl<'p> Costs<'p> {
    /// Those under these parameters.
    pub fn new(params: &'p Params) -> Self {
        Self { params, prices: params.price_table(), factors: RefCell::default() }
    }

    /// What steps cost at each level.
    pub fn prices(&self) -> &[Tally] {
        &self.prices
    }

    /// What a tally costs at a level.
    pub fn price(&self, (level, tally): (u32, Tally)) -> f64 {
        self.prices.get(level as usize).map_or(f64::INFINITY, |prices| tally.at(prices))
    }

    /// The cost of a bootstrap of slots of period 2^`log_slots` to a level; an error says why there is none.
    pub fn of(&self, variant: &str, log_slots: u32, target: u32) -> Result<f64, String> {
        Ok(self.tallies(variant, log_slots, target)?.into_iter().map(|part| self.price(part)).sum())
    }

    /// What a bootstrap does, by level.
    pub fn tallies(&self, variant: &str, log_slots: u32, target: u32) -> Result<Vec<(u32, Tally)>, String> {
        let large = |outline: &Outline| {
            let stages = outline.to_slots.iter().map(|(_, part)| part.end - part.first).max()?;
            (stages > MOST_STAGES).then(|| {
                format!("a bootstrap to level {target} would have {stages} butterfly stages in one matrix")
            })
        };
        match variant {
            MOD_RAISE_FIRST => {
                let outline = Outline::mod_raise_first(self.params, log_slots, target)?;
                if let Some(message) = large(&outline) {
                    return Err(message);
                }
                let mut parts = self.reduced(&outline, log_slots, 2);
                let base = outline.reduction[0];
                parts.push((base, PRODUCT * 2.0));
                self.sink(&mut parts, base, outline.to_slots.first().map_or(target, |first| first.0));
                self.transform(&mut parts, &outline.to_slots, log_slots);
                parts.extend(outline.to_slots.last().map(|last| (last.0, MERGED)));
                Ok(parts)
            }
            SLOTS_TO_COEFFICIENTS_FIRST => {
                let outline = Outline::slots_to_coefficients_first(self.params, log_slots, target)?;
                let mut parts = Vec::new();
                self.transform(&mut parts, &outline.to_slots, log_slots);
                parts.extend(outline.to_slots.last().map(|last| (last.0, MERGED)));
                parts.extend(self.reduced(&outline, log_slots, 1));
                self.adjust(&mut parts, outline.reduction[0], target);
                Ok(parts)
            }
            ITERATED => {
                let mut parts = self.tallies(MOD_RAISE_FIRST, log_slots, target + 1)?;
                parts.extend(parts.clone());
                self.adjust(&mut parts, target + 1, 0);
                self.adjust(&mut parts, target + 1, target);
                self.adjust(&mut parts, target + 1, target);
                Ok(parts)
            }
            other => Err(format!("there is no variant \"{other}\"")),
        }
    }

    /// From a ciphertext of level 0 to its coefficients modulo 1: of both parts, or of the real one.
    fn reduced(&self, outline: &Outline, log_slots: u32, parts: u32) -> Vec<(u32, Tally)> {
        let (top, reduction) = (outline.top, outline.reduction[1]);
        let mut found = vec![(0, PRODUCT), (0, KEY_SWITCH), (top, RAISE), (top, KEY_SWITCH)];
        let trace = (self.params.log_n - 1).saturating_sub(log_slots);
        found.push((top, (KEY_SWITCH + PRODUCT) * f64::from(trace)));
        self.transform(&mut found, &outline.to_coefficients, log_slots);
        found.push((reduction + 1, KEY_SWITCH));
        // The conjugate that only one part takes is divided with that part.
        let rescale = if parts == 1 { MERGED } else { RESCALE };
        for part in 0..parts {
            // The imaginary part is multiplied by i besides.
            found.push((reduction + 1, PRODUCT * f64::from(part + 1) + rescale));
            found.extend(eval_mod::tallies(reduction));
            found.push((outline.reduction[0], PRODUCT));
        }
        found
    }

    /// Factors with rescales between them.
    fn transform(&self, parts: &mut Vec<(u32, Tally)>, factors: &[Placed], log_slots: u32) {
        for (index, &(level, part)) in factors.iter().enumerate() {
            let mut known = self.factors.borrow_mut();
            let tally = *known
                .entry((part, log_slots))
                .or_insert_with(|| Tally::of_matrix(&part.matrix(1 << log_slots), self.params.slots()));
            parts.push((level, tally));
            if index + 1 < factors.len() {
                parts.push((level, MERGED));
            }
        }
    }

    /// Down to a level, the scale unchanged.
    fn sink(&self, parts: &mut Vec<(u32, Tally)>, mut at: u32, level: u32) {
        while at > level {
            at = lowest_within(self.params, at, level).unwrap_or_else(|| {
                parts.push((at, PRODUCT + RESCALE));
                at - 1
            });
        }
    }

    /// Down to a level and its scale.
    fn adjust(&self, parts: &mut Vec<(u32, Tally)>, at: u32, level: u32) {
        self.sink(parts, at, level + 1);
        parts.push((level + 1, PRODUCT + RESCALE));
    }
}

/// The bits after the binary point that the worst slot keeps: in slots of sizes up to 2^`bound`, all as large and
/// all the same, so that one coefficient is as large as they are. The sine's cubic term limits them, `(2 pi)^2 / 6` times
/// the square of the coefficient over the modulus, and the rounding of one rescale, five standard deviations of it.
pub fn precision(params: &Params, variant: &str, message: &Message) -> Result<f64, String> {
    let start = start_level(variant);
    let ratio = match variant {
        SLOTS_TO_COEFFICIENTS_FIRST => Plan::slots_to_coefficients_first(params, message, (start, 1))?.ratio,
        _ => Plan::mod_raise_first(params, message, 1)?.ratio,
    };
    let sine = 4.0 * std::f64::consts::PI.powi(2) / 6.0 * (-2.0 * ratio).exp2() * message.bound.exp2();
    let n = params.n() as f64;
    let rounding = (n * (1.0 + 2.0 * n / 3.0) / 24.0).sqrt() / params.scale0 as f64;
    // Iterated, the second bootstrap takes the error of the first for its message.
    let sine = if variant == ITERATED { sine.min(rounding) } else { sine };
    Ok(-(sine + 5.0 * rounding).log2())
}
