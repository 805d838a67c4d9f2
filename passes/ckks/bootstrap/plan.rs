//! Levels and scales of a bootstrap, from the parameters.

use super::eval_mod::RANGE;
use ceria_dialects::ckks::bootstrap::TO_SLOTS;
use ceria_runtime::format::{
    bootstrap::REDUCTION_DEPTH,
    linear::{Direction, FourierFactor},
    params::Params,
    scale::Scale,
};

/// One factor of a transform: a matrix, the level it is applied at and the scale of its diagonals.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// The butterfly stages.
    pub part: FourierFactor,
    /// What every entry is multiplied by.
    pub factor: f64,
    /// The level of its operand.
    pub level: u32,
    /// The scale of its diagonals.
    pub scale: Scale,
}

/// How many stages each factor has, in the order of application: as even as possible, the first and the last ones
/// larger, whose diagonals are fewest or shortest.
fn shares(stages: u32, factors: u32) -> Vec<u32> {
    let (each, more) = (stages / factors, stages % factors);
    let larger = |i: u32| (more > 0 && i == 0) || i >= factors - more.saturating_sub(1).min(factors);
    (0..factors).map(|i| each + u32::from(larger(i))).collect()
}

/// A factor and the level of its operand.
pub type Placed = (u32, FourierFactor);

/// The factors of a transform of 2^`stages` slots at the levels `top`, `top - 1`, ..
fn factors(direction: Direction, stages: u32, (top, factors): (u32, u32)) -> Result<Vec<Placed>, String> {
    if factors == 0 || factors > stages || factors > top {
        return Err(format!("{factors} levels below {top} cannot hold {stages} butterfly stages"));
    }
    let mut done = 0;
    let place = |(index, share)| {
        let part = match direction {
            Direction::ToSlots => FourierFactor::new(direction, done, done + share),
            Direction::ToCoefficients => FourierFactor::new(direction, stages - done - share, stages - done),
        };
        done += share;
        Ok((top - index, part.ok_or("a factor has no stage")?))
    };
    (0..factors).zip(shares(stages, factors)).map(place).collect()
}

/// Factors with the product of their constants `constant`, from one scale at the first one's level to another at the level
/// below the last.
pub fn transform(
    params: &Params,
    placed: &[Placed],
    constant: f64,
    (from, to): (&Scale, &Scale),
) -> Result<Vec<Factor>, String> {
    let (start, end) = (from.log2(params), to.log2(params));
    let each = constant.powf(1.0 / placed.len().max(1) as f64);
    let mut scale = from.clone();
    let mut found = Vec::new();
    for (index, &(level, part)) in placed.iter().enumerate() {
        // Scales go evenly from the first to the last, which alone has to be exact.
        let dropped = Scale::dropped(level);
        let encoded = if index + 1 == placed.len() {
            &(to * &dropped) / &scale
        } else {
            let wanted = start + (end - start) * (index + 1) as f64 / placed.len() as f64;
            Scale::power_of_two((wanted + dropped.log2(params) - scale.log2(params)).round() as i64)
        };
        let bits = encoded.log2(params);
        if bits.is_nan() || bits < 16.0 {
            return Err(format!("the diagonals at level {level} would have {bits:.1} bits"));
        }
        scale = (&scale * &encoded).rescaled(level);
        found.push(Factor { part, factor: each, level, scale: encoded });
    }
    Ok(found)
}

/// The levels of a bootstrap, without scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// The level to which the modulus is raised.
    pub top: u32,
    /// From slots to coefficients, at the top.
    pub to_coefficients: Vec<Placed>,
    /// From coefficients to slots.
    pub to_slots: Vec<Placed>,
    /// The levels at which the modular reduction ends and begins.
    pub reduction: [u32; 2],
}

impl Outline {
    fn new(
        params: &Params,
        log_slots: u32,
        target: u32,
        to_slots: impl FnOnce(u32) -> (u32, u32),
    ) -> Result<Self, String> {
        let [base, reduction] = reduction(params, target)?;
        let count = log_slots.min(params.max_level() - reduction);
        let top = reduction + count;
        Ok(Self {
            top,
            to_coefficients: factors(Direction::ToCoefficients, log_slots, (top, count))?,
            to_slots: factors(Direction::ToSlots, log_slots, to_slots(base))?,
            reduction: [base, reduction],
        })
    }

    /// Of the bootstrap whose modulus is raised first: the transform to slots ends at the target.
    pub fn mod_raise_first(params: &Params, log_slots: u32, target: u32) -> Result<Self, String> {
        Self::new(params, log_slots, target, |base| {
            let count = log_slots.min(TO_SLOTS).min(base - target);
            (target + count, count)
        })
    }

    /// Of the bootstrap that starts with the transform to slots, which ends at level 0.
    pub fn slots_to_coefficients_first(params: &Params, log_slots: u32, target: u32) -> Result<Self, String> {
        let count = log_slots.min(TO_SLOTS);
        Self::new(params, log_slots, target, |_| (count, count))
    }

    /// From the modulus raised to the top of the reduction.
    fn coefficients(&self, params: &Params) -> Result<Vec<Factor>, String> {
        // 1 / slots and the conjugation's 1/2, the range of the sine, and what a trace to fewer slots multiplies by.
        let constant = 1.0 / (params.n() as f64 * RANGE);
        let scales = (&Scale::q0(), &Scale::reduction(self.reduction[1]));
        transform(params, &self.to_coefficients, constant, scales)
    }
}

/// A bootstrap's levels, factors and scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// log2 of the integer that the message is multiplied by before the modulus is raised.
    pub shift: u32,
    /// log2 of level 0's modulus over a coefficient as large as the largest slot.
    pub ratio: f64,
    /// The level to which the modulus is raised.
    pub top: u32,
    /// From slots to coefficients, at the top.
    pub to_coefficients: Vec<Factor>,
    /// From coefficients to slots.
    pub to_slots: Vec<Factor>,
    /// The scale at which the result of the modular reduction is read.
    pub reduced: Scale,
}

/// What a bootstrap is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// log2 of the period of the slots.
    pub log_slots: u32,
    /// log2 of the largest size of a slot.
    pub bound: f64,
    /// log2 of level 0's modulus over the largest coefficient of a message; none chooses by the ring degree.
    pub ratio: Option<f64>,
}

impl Message {
    /// Slots of this period and of sizes up to 1.
    pub fn new(log_slots: u32) -> Self {
        Self { log_slots, bound: 0.0, ratio: None }
    }
}

/// log2 of level 0's modulus over the largest coefficient of a message of 2^`log_slots` complex slots.
///
/// The sine's cubic term wants it large, the reduction's rounding errors small: with 2^15 random slots 6 at a scale of
/// 2^58. Errors of rounding grow with N^1.5, the cubic term falls with the number of slots.
pub fn message_ratio(params: &Params, log_slots: u32) -> f64 {
    let full = f64::from(params.log_n - 1);
    6.0 + (15.0 - full) * 5.0 / 6.0 + (full - f64::from(log_slots)) / 2.0 + extra_bits(params) / 3.0
}

/// The same where coefficients are as large as slots: 13 at N = 2^16, where errors of rounding grow with N.
pub fn slot_ratio(params: &Params) -> f64 {
    13.0 + (16.0 - f64::from(params.log_n)) / 3.0 + extra_bits(params) / 3.0
}

/// log2 of the reduction's scale beyond 2^58.
fn extra_bits(params: &Params) -> f64 {
    params.bootstrap.map_or(0.0, |bootstrap| (bootstrap.scale as f64).log2() - 58.0)
}

/// Bits by which the message ratio may be missed for want of room in level 0: each makes the cubic term four times as large.
const MOST_OVER: f64 = 0.5;

/// The levels of the modular reduction, its base and its top, which lie above a bootstrap's result.
fn reduction(params: &Params, target: u32) -> Result<[u32; 2], String> {
    let base = params.bootstrap.ok_or("needs parameters with `bootstrap`")?.level;
    let top = base + REDUCTION_DEPTH;
    if target >= base || top >= params.max_level() {
        return Err(format!(
            "the parameters have levels up to {}, a bootstrap to level {target} needs {top} and more above level {base}",
            params.max_level()
        ));
    }
    Ok([base, top])
}

impl Plan {
    /// The bootstrap of complex slots whose modulus is raised first.
    pub fn mod_raise_first(params: &Params, message: &Message, target: u32) -> Result<Self, String> {
        let log_slots = message.log_slots;
        let outline = Outline::mod_raise_first(params, log_slots, target)?;
        let ratio = message.ratio.unwrap_or_else(|| message_ratio(params, log_slots));
        let room = Scale::q0().log2(params) - Scale::level(0).log2(params);
        if !(0.0..=40.0).contains(&room) {
            return Err(format!("level 0 has {room:.1} bits more than a message, which is not enough"));
        }
        if message.bound > (room - ratio).max(0.0) + MOST_OVER {
            return Err(format!(
                "level 0 has {room:.1} bits more than a message, which is too few for slots of size 2^{:.1}",
                message.bound
            ));
        }
        let shift = (room - ratio - message.bound).round().max(0.0) as u32;
        let ratio = room - f64::from(shift) - message.bound;
        // The reduction gives message * 2^shift * S(0) / Q0.
        let message = &Scale::level(0) * &Scale::power_of_two(i64::from(shift));
        let reduced = &(&Scale::reduction(outline.reduction[0]) * &message) / &Scale::q0();
        let to_slots = transform(params, &outline.to_slots, 1.0, (&reduced, &Scale::level(target)))?;
        let to_coefficients = outline.coefficients(params)?;
        Ok(Self { shift, ratio, top: outline.top, to_coefficients, to_slots, reduced })
    }

    /// The bootstrap of real slots, or of two such vectors as real and imaginary parts, that become
    /// coefficients first. The operand is at `level`, where the transform starts unless it is higher than needed.
    pub fn slots_to_coefficients_first(
        params: &Params,
        message: &Message,
        (level, target): (u32, u32),
    ) -> Result<Self, String> {
        let outline = Outline::slots_to_coefficients_first(params, message.log_slots, target)?;
        let start = outline.to_slots.first().map_or(0, |placed| placed.0);
        if level < start {
            return Err(format!(
                "its operand is at level {level}, the transform to coefficients needs {start}"
            ));
        }
        let ratio = message.bound + message.ratio.unwrap_or_else(|| slot_ratio(params));
        let bits = ratio.round() as i64;
        let ratio = bits as f64 - message.bound;
        let message = Scale::power_of_two(-bits);
        let scales = (&Scale::level(start), &(&Scale::q0() * &message));
        let to_slots = transform(params, &outline.to_slots, 1.0, scales)?;
        let to_coefficients = outline.coefficients(params)?;
        let reduced = &Scale::reduction(outline.reduction[0]) * &message;
        Ok(Self { shift: 0, ratio, top: outline.top, to_coefficients, to_slots, reduced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ceria_runtime::format::bootstrap::BootstrapOptions;

    #[test]
    fn stages_are_shared_as_in_the_recipe() {
        assert_eq!(shares(15, 4), [4, 3, 4, 4]);
        assert_eq!(shares(15, 3), [5, 5, 5]);
        assert_eq!(shares(4, 4), [1, 1, 1, 1]);
        assert_eq!(shares(5, 3), [2, 1, 2]);
        for (stages, factors) in [(5, 2), (7, 3), (10, 4), (14, 3), (9, 4)] {
            assert_eq!(shares(stages, factors).iter().sum::<u32>(), stages);
        }
    }

    #[test]
    fn the_large_plan_is_that_of_the_recipe() {
        let params = Params::bootstrapping(&BootstrapOptions::new(16, 13)).unwrap();
        let plan = Plan::mod_raise_first(&params, &Message::new(15), 13).unwrap();
        assert_eq!((plan.shift, plan.top), (3, 28));
        let levels = |factors: &[Factor]| factors.iter().map(|f| f.level).collect::<Vec<_>>();
        assert_eq!(levels(&plan.to_coefficients), [28, 27, 26, 25]);
        assert_eq!(levels(&plan.to_slots), [16, 15, 14]);
        assert!(plan.to_coefficients.iter().chain(&plan.to_slots).all(|f| f.scale.log2(&params) > 30.0));
        let product: f64 = plan.to_coefficients.iter().map(|f| f.factor).product();
        assert!((product * 2f64.powi(20) - 1.0).abs() < 1e-12);
        assert!(Plan::mod_raise_first(&params, &Message::new(15), 16).is_err());
        let real = Plan::slots_to_coefficients_first(&params, &Message::new(15), (3, 15)).unwrap();
        assert_eq!(levels(&real.to_slots), [3, 2, 1]);
        assert_eq!(real.reduced.to_string(), "E(16)*2**-14");
        assert!(Plan::slots_to_coefficients_first(&params, &Message::new(15), (2, 15)).is_err());
        // Larger slots have fewer bits left, in the first variant too few.
        let large = Message { bound: 4.0, ..Message::new(15) };
        let real = Plan::slots_to_coefficients_first(&params, &large, (3, 15)).unwrap();
        assert_eq!(real.reduced.to_string(), "E(16)*2**-18");
        assert!(Plan::mod_raise_first(&params, &large, 13).unwrap_err().contains("2^4.0"));
        // Few slots need fewer factors, and so the modulus is raised less.
        let few = Plan::mod_raise_first(&params, &Message::new(2), 13).unwrap();
        assert_eq!((levels(&few.to_coefficients), levels(&few.to_slots)), (vec![26, 25], vec![15, 14]));
    }
}
