//! The ways to bootstrap each value, under parameters.
//!
//! Real slots can be bootstrapped by every variant, complex ones only by those that raise the modulus first. In these the
//! sine's cubic term is large where one coefficient is: a constant vector, or one of a short period, has 12 bits. Nothing
//! is known of a value's coefficients, so these are what real slots are taken to keep; where more is asked for, their slots become
//! coefficients first.

use super::{Level, Model, Variant};
use crate::ckks::{
    bootstrap::{
        cost::{Costs, precision},
        plan::Message,
    },
    ir::Id,
    slots,
};
use ceria_dialects::ckks::bootstrap::{MOD_RAISE_FIRST, SLOTS_TO_COEFFICIENTS_FIRST, VARIANTS, start_level};
use ceria_runtime::format::params::Params;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

/// What a user asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The variant of all bootstraps; none chooses.
    pub variant: Option<&'static str>,
    /// Bits after the binary point that a bootstrap has to keep.
    pub precision: f64,
    /// The highest level that a bootstrap may reach; none leaves that to the parameters.
    pub levels: Option<Level>,
}

impl Wanted {
    /// The variant of a name; `auto` chooses.
    pub fn variant(name: &str) -> Result<Option<&'static str>, String> {
        if name == AUTO {
            return Ok(None);
        }
        let known = VARIANTS.into_iter().find(|variant| *variant == name);
        known
            .map(Some)
            .ok_or_else(|| format!("there is no variant `{name}`, only {AUTO}, {}", VARIANTS.join(", ")))
    }
}

/// The name of the choice of a variant for each bootstrap.
pub const AUTO: &str = "auto";

/// What is known of the values of a program.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// With which period slots repeat.
    pub periods: HashMap<Id, usize>,
    /// Values whose slots need not be real.
    pub complex: HashSet<Id>,
    /// How large slots get; those of values that are not there are taken to be at most 1.
    pub sizes: HashMap<Id, f64>,
}

impl Facts {
    /// log2 of the period of a value's slots in a ring; one slot alone would leave no butterfly stage.
    fn log_slots(&self, value: Id, params: &Params) -> u32 {
        let period = self.periods.get(&value).copied().unwrap_or(params.slots());
        period.min(params.slots()).max(2).ilog2()
    }

    /// log2 of what bounds a value's slots.
    fn bound(&self, value: Id) -> f64 {
        self.sizes.get(&value).map_or(0.0, |size| slots::bound(*size).log2())
    }
}

/// Bits of precision by period and bound.
type Bits = HashMap<(&'static str, u32, i64), Result<f64, String>>;

/// The ways to bootstrap.
pub struct Ways<'f> {
    facts: &'f Facts,
    wanted: Wanted,
    /// The variants, in the order of the model.
    pub names: Vec<&'static str>,
    /// What they cost.
    pub model: Model,
    params: Params,
    bits: RefCell<Bits>,
}

impl<'f> Ways<'f> {
    /// Those under some parameters; an error says why there are none.
    pub fn new(params: &Params, facts: &'f Facts, wanted: Wanted) -> Result<Self, String> {
        let names = match wanted.variant {
            Some(variant) => vec![variant],
            None => vec![MOD_RAISE_FIRST, SLOTS_TO_COEFFICIENTS_FIRST],
        };
        let costs = Costs::new(params);
        let Some(bootstrap) = params.bootstrap else {
            // Levels without a way to get more of them.
            let levels = params.max_level().min(wanted.levels.unwrap_or(Level::MAX));
            let model = Model { levels, variants: Vec::new(), prices: costs.prices().to_vec() };
            let names = Vec::new();
            return Ok(Self {
                facts,
                wanted,
                names,
                model,
                params: params.clone(),
                bits: RefCell::default(),
            });
        };
        let highest = bootstrap.level.saturating_sub(1).min(wanted.levels.unwrap_or(Level::MAX));
        let all = params.slots().ilog2();
        let periods = facts.periods.values().map(|period| (*period).clamp(2, params.slots()).ilog2());
        let periods: BTreeSet<u32> = periods.chain([all]).collect();
        let mut model = Model { levels: 0, variants: Vec::new(), prices: costs.prices().to_vec() };
        let mut failure = None;
        for name in &names {
            let mut variant = Variant { start: start_level(name), costs: vec![Vec::new(); all as usize + 1] };
            for &period in &periods {
                let mut cost = |target: Level| match costs.of(name, period, target.max(1)) {
                    Ok(cost) => cost,
                    Err(error) => {
                        failure.get_or_insert(error);
                        f64::INFINITY
                    }
                };
                variant.costs[period as usize] = (0..=highest).map(&mut cost).collect();
            }
            let reach = (0..=highest).rev().find(|level| variant.cost(all, *level).is_finite());
            if let Some(reach) = reach.filter(|reach| *reach > variant.start) {
                model.levels = model.levels.max(reach);
            }
            model.variants.push(variant);
        }
        if model.levels == 0 {
            return Err(
                failure.unwrap_or_else(|| "a bootstrap has to reach more levels than it starts with".into())
            );
        }
        Ok(Self { facts, wanted, names, model, params: params.clone(), bits: RefCell::default() })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The variants by which a value can be bootstrapped, a bit each, and log2 of the period of its slots.
    pub fn value(&self, value: Id) -> (u8, u32) {
        let log_slots = self.facts.log_slots(value, &self.params);
        let allowed = |name: &&'static str| self.refusal(name, value).is_none();
        let bits = self.names.iter().enumerate().filter(|(_, name)| allowed(name));
        (bits.fold(0, |all, (choice, _)| all | 1 << choice), log_slots)
    }

    /// The period of a value's slots, if it is less than their number.
    pub fn period(&self, value: Id) -> Option<usize> {
        let period = 1 << self.facts.log_slots(value, &self.params);
        (period < self.params.slots()).then_some(period)
    }

    /// The bound of a value's slots, if it is known.
    pub fn bound(&self, value: Id) -> Option<f64> {
        self.facts.sizes.get(&value).map(|size| slots::bound(*size))
    }

    /// Why a variant is not for a value.
    pub fn refusal(&self, name: &'static str, value: Id) -> Option<String> {
        if self.wanted.variant.is_some() {
            return None;
        }
        let complex = self.facts.complex.contains(&value);
        match name {
            SLOTS_TO_COEFFICIENTS_FIRST => complex.then(|| "is for real slots".to_string()),
            _ if complex => None,
            _ => match self.bits(name, value) {
                Ok(bits) if bits >= self.wanted.precision => None,
                Ok(bits) => Some(format!(
                    "keeps {bits:.1} bits of slots that are all the same, {:.1} are asked for",
                    self.wanted.precision
                )),
                Err(error) => Some(error),
            },
        }
    }

    fn bits(&self, name: &'static str, value: Id) -> Result<f64, String> {
        let (log_slots, bound) = (self.facts.log_slots(value, &self.params), self.facts.bound(value));
        let mut known = self.bits.borrow_mut();
        let compute = || precision(&self.params, name, &Message { bound, ..Message::new(log_slots) });
        known.entry((name, log_slots, bound as i64)).or_insert_with(compute).clone()
    }

    /// A sentence on what the variants that were not chosen would cost.
    pub fn alternatives(&self, value: Id, chosen: usize, level: Level, unit: f64) -> String {
        let log_slots = self.facts.log_slots(value, &self.params);
        let others = self.names.iter().enumerate().filter(|(choice, _)| *choice != chosen);
        let told: BTreeMap<usize, String> = others
            .map(|(choice, name)| {
                let cost = self.model.variants[choice].cost(log_slots, level);
                let (cost, but) = if cost.is_finite() {
                    (format!("{name} would cost {:.1}", cost / unit), "but")
                } else {
                    (format!("{name} does not reach that level"), "and")
                };
                let refusal = self.refusal(name, value).map_or(String::new(), |why| format!(" {but} {why}"));
                (choice, format!("; {cost}{refusal}"))
            })
            .collect();
        told.into_values().collect()
    }
}
