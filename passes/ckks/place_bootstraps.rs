//! `ckks-place-bootstraps`: where a program that is too deep is bootstrapped, how, and under which parameters.
//!
//! Before: an unplaced program with its relinearisations and rescales. After: no value is needed above the level that a
//! bootstrap reaches; each `ckks.bootstrap` names the level that its users need and its variant. A module that has no
//! parameters gets those under which program and bootstraps together cost least, unless it needs no bootstrap.
//!
//! The problem itself is solved in [`super::placement`], for each set of parameters by itself; costs are those of
//! [`ceria_runtime::format::cost`].

use super::{
    bootstrap::search::{Ring, rings},
    infer_levels::is_unplaced,
    ir::{Id, definition, id, insert_after, set_attribute, set_operand, uses},
    placement::{
        Level,
        program::{Chosen, Plan, Program},
        ways::{AUTO, Facts, Wanted, Ways},
    },
    select_params::{describe, slots},
};
use ceria_dialects::{
    PARAMS,
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{
        CtType,
        attributes::{make_float, make_int},
        bootstrap,
    },
    params_attribute, params_of,
};
use ceria_runtime::format::params::Params;
use melior::ir::{
    Identifier, Location, OperationRef,
    attribute::StringAttribute,
    operation::{OperationBuilder, OperationLike},
};
use std::{collections::HashMap, ops::RangeInclusive};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-place-bootstraps",
    summary: "Bootstrap where a program is deeper than its levels",
    description: "Programs that need no more levels than a bootstrap reaches stay as they are. `strategy=cheapest` takes \
        shortest paths between positions where one value is alive and minimum cuts inside residual branches; \
        `strategy=greedy` bootstraps a value as soon as it has no level left, to compare with.\n\n\
        Each bootstrap has the variant that costs least where it is: `stc-first` is for real slots and starts at level 3, \
        `mod-raise-first` starts at level 0 and has as few bits as a constant vector keeps, so real slots have it only \
        where `precision` permits. `variant` fixes one for all. Real are the slots of arguments with a layout.\n\n\
        A module without parameters gets those of all rings, levels and digits of key switching under which it costs \
        least with its bootstraps. Run `ckks-lazy-relin` and `ckks-place-rescale` before.\n\n\
        ```mlir\n\
        %3 = ckks.rescale %2 : !ckks.ct<?>\n\
        %4 = ckks.bootstrap %3 {target_level = 2 : i64} : !ckks.ct<?> to !ckks.ct<?>\n\
        %5 = ckks.square %4 : !ckks.ct<?>\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::int("levels", 0, "the highest level that a bootstrap reaches; 0 is any"),
        PassOption::text("variant", AUTO, "the variant of all bootstraps; `auto` chooses for each"),
        PassOption::float("precision", 12.0, "bits after the binary point that a bootstrap has to keep"),
        PassOption::int("last-level", 0, "the level at which results end"),
        PassOption::text("strategy", "cheapest", "`cheapest` or `greedy`"),
        PassOption::int("min-log-n", 12, "the smallest log2 of the ring degree"),
        PassOption::int("max-log-n", 17, "the largest log2 of the ring degree"),
        PassOption::bool("insecure", false, "take min-log-n whatever the security; for tests only"),
        PassOption::bool("report", false, "emit remarks with what was chosen and why"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// What is asked of a placement.
#[derive(Clone, Debug)]
pub struct Request {
    /// Variant, precision and levels of bootstraps.
    pub wanted: Wanted,
    /// The level at which results end.
    pub last_level: Level,
    /// Whether values are bootstrapped as soon as they have no level left.
    pub greedy: bool,
    /// log2 of the ring degrees that are permitted.
    pub rings: RangeInclusive<u32>,
    /// Takes the smallest ring whatever the security. For tests only.
    pub insecure: bool,
}

/// What was placed.
#[derive(Clone, Debug)]
pub struct Outcome<'c> {
    /// The number of bootstraps.
    pub bootstraps: usize,
    /// The parameters that the placement is for.
    pub params: Params,
    /// The cost of the program with them, in modular multiplications.
    pub cost: f64,
    /// What was chosen and why, with what it is about.
    pub report: Vec<(Location<'c>, String)>,
}

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    if !is_unplaced(module) {
        return Ok(());
    }
    let level = |name: &str| {
        Level::try_from(options.int(name)).map_err(|_| PassError::new(format!("{name} must not be negative")))
    };
    let greedy = match options.text("strategy") {
        "cheapest" => false,
        "greedy" => true,
        other => {
            return Err(PassError::new(format!("there is no strategy `{other}`, only cheapest and greedy")));
        }
    };
    let request = Request {
        wanted: Wanted {
            variant: Wanted::variant(options.text("variant")).map_err(PassError::new)?,
            precision: options.float("precision"),
            levels: Some(level("levels")?).filter(|levels| *levels > 0),
        },
        last_level: level("last-level")?,
        greedy,
        rings: level("min-log-n")?..=level("max-log-n")?,
        insecure: options.bool("insecure"),
    };
    let outcome = place(module, &request, HashMap::new())?;
    if options.bool("report") {
        outcome.report.iter().for_each(|(location, text)| emit_remark(*location, text));
    }
    Ok(())
}

/// Bootstraps a module; `sizes` are those of the largest slots of its values, where they are known.
pub fn place<'c>(
    module: OperationRef<'c, '_>,
    request: &Request,
    sizes: HashMap<Id, f64>,
) -> Result<Outcome<'c>, PassError> {
    let program = Program::new(module)?;
    let facts = program.facts(sizes)?;
    let known = params_of(module);
    let rings = match &known {
        Some(params) => vec![Ring { log_n: params.log_n, sets: Ok(vec![(*params).clone()]) }],
        None => permitted(module, request),
    };
    let search = Search { program: &program, facts: &facts, request };
    let tried: Vec<Tried<'_, '_, '_>> = search.all(rings);
    let best = tried.iter().filter_map(|ring| ring.found.as_ref().ok());
    let Some((ways, plan)) = best.min_by(|a, b| a.1.cost.total_cmp(&b.1.cost)) else {
        return Err(match tried.into_iter().next_back().map(|ring| (ring.log_n, ring.found)) {
            Some((_, Err(Failure::Pass(error)))) => error,
            Some((log_n, Err(Failure::Ring(reason)))) => {
                PassError::op(&module, format!("cannot be bootstrapped up to N = 2^{log_n}: {reason}"))
            }
            _ => PassError::op(&module, "has no ring degree to choose from"),
        });
    };
    let report = report(module, ways, plan, &tried);
    for choice in &plan.chosen {
        insert(choice, ways)?;
    }
    if known.is_none() && !plan.chosen.is_empty() {
        set_attribute(module, PARAMS, params_attribute(context_of(module), ways.params())?);
    }
    Ok(Outcome { bootstraps: plan.chosen.len(), params: ways.params().clone(), cost: plan.cost, report })
}

/// The sets of the rings that a request permits; rings of fewer slots than a module's are refused.
fn permitted(module: OperationRef<'_, '_>, request: &Request) -> Vec<Ring> {
    let slots = slots(module).ilog2();
    let smallest = *request.rings.start();
    let range = if request.insecure {
        let only = smallest.max(slots + 1);
        only..=only
    } else {
        smallest..=(*request.rings.end()).max(slots + 1)
    };
    let mut found = rings(range, request.wanted.levels, request.insecure);
    for ring in found.iter_mut().filter(|ring| ring.log_n <= slots && ring.sets.is_ok()) {
        ring.sets = Err(format!("the program has layouts of 2^{slots} slots"));
    }
    found
}

/// Why a ring has no placement.
enum Failure {
    /// There are no parameters.
    Ring(String),
    /// The program does not fit them.
    Pass(PassError),
}

/// The best of a ring.
struct Tried<'f, 'c, 'a> {
    log_n: u32,
    found: Result<(Ways<'f>, Plan<'c, 'a>), Failure>,
}

struct Search<'s, 'c, 'a> {
    program: &'s Program<'c, 'a>,
    facts: &'s Facts,
    request: &'s Request,
}

/// How many ops are placed in all, over the sets of parameters that are tried.
const EFFORT: usize = 400_000;
/// The sets of a ring that are tried of the largest programs.
const LEAST_SETS: usize = 2;

impl<'s, 'c, 'a> Search<'s, 'c, 'a> {
    fn all(&self, rings: Vec<Ring>) -> Vec<Tried<'s, 'c, 'a>> {
        let usable = rings.iter().filter(|ring| ring.sets.is_ok()).count().max(1);
        let most = (EFFORT / self.program.ops().max(1) / usable).max(LEAST_SETS);
        let of = |Ring { log_n, sets }| {
            let found = sets.map_err(Failure::Ring).and_then(|sets| self.ring(&sets, most));
            Tried { log_n, found }
        };
        rings.into_iter().map(of).collect()
    }

    /// The cheapest set of a ring, of which so many are tried: the largest, and smaller ones evenly.
    fn ring(&self, sets: &[Params], most: usize) -> Result<(Ways<'s>, Plan<'c, 'a>), Failure> {
        let step = sets.len().div_ceil(most).max(1);
        let mut best: Option<(Ways<'s>, Plan<'c, 'a>)> = None;
        let mut failure = None;
        for params in sets.iter().rev().step_by(step) {
            let found =
                Ways::new(params, self.facts, self.request.wanted).map_err(Failure::Ring).and_then(|ways| {
                    let Request { greedy, last_level, .. } = *self.request;
                    let plan = self.program.plan(&ways, greedy, last_level).map_err(Failure::Pass)?;
                    Ok((ways, plan))
                });
            match found {
                // Of equal ones the one with fewer levels.
                Ok(found) if best.as_ref().is_none_or(|best| found.1.cost <= best.1.cost) => {
                    best = Some(found)
                }
                Ok(_) => {}
                // The set with most levels says most.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        best.ok_or_else(|| failure.unwrap_or_else(|| Failure::Ring("it has no parameters".into())))
    }
}

/// Bootstraps a value for all its users.
fn insert(chosen: &Chosen<'_, '_>, ways: &Ways<'_>) -> Result<(), PassError> {
    let value = chosen.value;
    let users = uses(value);
    let Some((first, _)) = users.first() else { return Ok(()) };
    let location = definition(value).unwrap_or(*first).location();
    let context = context_of(*first);
    let mut attributes = vec![("target_level", make_int(context, chosen.level.max(1).into()))];
    let variant = ways.names[chosen.choice];
    if variant != bootstrap::MOD_RAISE_FIRST {
        attributes.push(("variant", StringAttribute::new(context, variant).into()));
    }
    if let Some(period) = ways.period(id(value)) {
        attributes.push(("slots", make_int(context, period as i64)));
    }
    if let Some(bound) = ways.bound(id(value)) {
        attributes.push(("bound", make_float(context, bound)));
    }
    let attributes: Vec<_> =
        attributes.into_iter().map(|(name, value)| (Identifier::new(context, name), value)).collect();
    let op = OperationBuilder::new("ckks.bootstrap", location)
        .add_operands(&[value])
        .add_attributes(&attributes)
        .add_results(&[CtType::of(context, None, 2)?.into()])
        .build()
        .map_err(|error| error.to_string());
    let fresh = insert_after(value, op)?;
    for (user, index) in users {
        set_operand(user, index, fresh);
    }
    Ok(())
}

/// Remarks on each bootstrap, and on the rings. Costs are in rotations at the highest level.
fn report<'c>(
    module: OperationRef<'c, '_>,
    ways: &Ways<'_>,
    plan: &Plan<'c, '_>,
    tried: &[Tried<'_, '_, '_>],
) -> Vec<(Location<'c>, String)> {
    let mut remarks = Vec::new();
    let unit = ways.params().key_switch_cost();
    for &Chosen { value, level, choice, width } in &plan.chosen {
        let location = definition(value).unwrap_or(module).location();
        let beside = match width {
            0 => "the only value alive here".to_string(),
            1 => "one other value is alive here and keeps its levels".to_string(),
            more => format!("{more} other values are alive here and keep their levels"),
        };
        let (_, log_slots) = ways.value(id(value));
        let cost = ways.model.variants[choice].cost(log_slots, level) / unit;
        let others = ways.alternatives(id(value), choice, level, unit);
        let text = format!(
            "bootstrapped to level {level}: {beside}; {} of {} slots at the cost of {cost:.1} rotations{others}",
            ways.names[choice],
            1u64 << log_slots
        );
        remarks.push((location, text));
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let count = plan.chosen.len();
    let text = format!(
        "{count} bootstrap{}, of up to {} levels; with them {:.0} rotations at the highest level of {}",
        plural(count),
        ways.model.levels,
        plan.cost / unit,
        describe(ways.params())
    );
    remarks.push((module.location(), text));
    let refusal = |ring: &Tried<'_, '_, '_>| match &ring.found {
        Ok(_) => None,
        Err(Failure::Ring(reason)) => Some(reason.clone()),
        Err(Failure::Pass(error)) => Some(error.to_string()),
    };
    for (index, ring) in tried.iter().enumerate() {
        let log_n = ring.log_n;
        let text = match &ring.found {
            Ok(_) if log_n == ways.params().log_n => continue,
            Ok((other, there)) => format!(
                "N = 2^{log_n} would cost {:.2} times as much, with {} bootstrap{} of up to {} levels",
                there.cost / plan.cost,
                there.chosen.len(),
                plural(there.chosen.len()),
                other.model.levels
            ),
            // What is wrong with a ring is more so with smaller ones.
            Err(_) if tried.get(index + 1).is_some_and(|next| refusal(next).is_some()) => continue,
            Err(_) => format!("N = 2^{log_n} is refused: {}", refusal(ring).unwrap_or_default()),
        };
        remarks.push((module.location(), text));
    }
    remarks
}
