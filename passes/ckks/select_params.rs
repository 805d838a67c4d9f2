//! `ckks-select-params`: the cheapest secure parameters that a placed program fits.
//!
//! Before: a placed program. After: the module has `ckks.params`, with every level the program uses, at least as many slots
//! as its matrices and layouts have, room for its largest message and the precision asked for. Depth that no ring
//! holds is an error: it needs bootstrapping. A program that bootstraps gets a set with room for it.

use super::{
    estimate_noise,
    ir::{arguments, body, functions, name_of, ops_below, results, set_attribute},
    noise::Trace,
};
use ceria_dialects::{
    PARAMS,
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{LayoutAttr, bootstrap, effects::slots_of, types::ct},
    fhe::signature,
    params_attribute, params_of,
};
use ceria_runtime::format::{
    bootstrap::BootstrapOptions,
    params::Params,
    search::{SearchError, SearchOptions},
};
use melior::ir::{OperationRef, operation::OperationLike};

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-select-params",
    summary: "Select the cheapest parameters of 128 bits that a placed program fits",
    description: "The depth is the highest level of the program. The scale has `scale-bits` bits, or, if that is 0, as \
        few as give the results `precision` bits by the noise model of `ckks-estimate-noise`. Level 0 is \
        larger than the scale by the largest message seen in a run in the clear, and `margin` bits. A program with \
        bootstraps gets the set for bootstrapping with as many levels as it needs; its scales are fixed. Parameters \
        that the module has already are kept.\n\n\
        ```mlir\n\
        module attributes {ckks.params = #ckks.params<log_n = 13, ...>}\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[
        PassOption::int("scale-bits", 0, "bits of the scale of each level; 0 finds them by the precision"),
        PassOption::float("precision", 14.0, "bits of precision of each result when scale-bits is 0"),
        PassOption::float("size", 1.0, "the largest size of an input"),
        PassOption::int("margin", 3, "bits kept between the largest message seen and the modulus of level 0"),
        PassOption::int("min-log-n", 12, "the smallest log2 of the ring degree"),
        PassOption::int("max-log-n", 17, "the largest log2 of the ring degree"),
        PassOption::int("digit", 0, "primes a key-switching digit; 0 finds the cheapest"),
        PassOption::bool("insecure", false, "take min-log-n whatever the security; for tests only"),
        PassOption::text(
            "entry",
            "",
            "the function whose precision counts; by default main, or the only function",
        ),
        PassOption::bool("report", false, "emit a remark with what was selected"),
    ],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let depth = depth(module)?;
    if let Some(known) = params_of(module) {
        if known.max_level() >= depth {
            return Ok(());
        }
        return Err(PassError::op(
            &module,
            format!("needs {depth} levels, its parameters have {}", known.max_level()),
        ));
    }
    let slots = slots(module);
    let smallest = u32::try_from(options.int("min-log-n")).unwrap_or(0).max(slots.ilog2() + 1);
    let search = SearchOptions {
        min_log_n: smallest,
        max_log_n: u32::try_from(options.int("max-log-n")).unwrap_or(0).max(smallest),
        digit: u32::try_from(options.int("digit")).ok().filter(|d| *d > 0),
        test_only_insecure: options.bool("insecure"),
        ..SearchOptions::default()
    };
    let context = context_of(module);
    if let Some(levels) = message_levels(module, depth) {
        let params = bootstrapping(levels, &search).map_err(|error| PassError::op(&module, error))?;
        set_attribute(module, PARAMS, params_attribute(context, &params)?);
        if options.bool("report") {
            emit_remark(module.location(), &describe(&params));
        }
        return Ok(());
    }
    let entry = estimate_noise::entry(module, options.text("entry"))?;
    let trace = estimate_noise::trace(module, entry, slots, options.float("size"))?;
    let selector = Selector { module, trace, depth, search, margin: options.int("margin") as f64 };
    let params = match u32::try_from(options.int("scale-bits")).unwrap_or(0) {
        0 => selector.by_precision(options.float("precision"))?,
        bits => selector.with_scale(bits)?,
    };
    set_attribute(module, PARAMS, params_attribute(context, &params)?);
    if options.bool("report") {
        let bits = estimate_noise::precision_bits(selector.error(&params));
        emit_remark(module.location(), &format!("{}, predicted precision {bits:.1} bits", describe(&params)));
    }
    Ok(())
}

/// The sizes of a level that are tried.
const SCALE_BITS: std::ops::RangeInclusive<u32> = 20..=60;

/// The highest level of a placed module.
fn depth(module: OperationRef<'_, '_>) -> Result<u32, PassError> {
    let mut depth = 0;
    for function in functions(module) {
        let inner = ops_below(function).into_iter().flat_map(results);
        let values = body(function).map(arguments).unwrap_or_default().into_iter().chain(inner);
        for ty in values.filter_map(|v| ct(v).ok()) {
            let placement = ty.placement().ok_or_else(|| {
                PassError::op(&function, "has unplaced values (run ckks-infer-levels before)")
            })?;
            depth = depth.max(placement.level);
        }
    }
    Ok(depth)
}

/// The slots that matrices and the layouts of arguments ask for.
pub fn slots(module: OperationRef<'_, '_>) -> usize {
    let matrices = ops_below(module).into_iter().filter_map(slots_of);
    let layouts = functions(module).into_iter().flat_map(|f| {
        let count = signature::count(f, signature::Side::Arguments);
        (0..count).filter_map(move |i| {
            let attribute = signature::get(f, signature::Side::Arguments, i, "ckks.layout")?;
            Some(LayoutAttr::try_from(attribute).ok()?.layout().slots())
        })
    });
    matrices.chain(layouts).max().unwrap_or(1).next_power_of_two()
}

struct Selector<'c, 'a> {
    module: OperationRef<'c, 'a>,
    trace: Trace,
    depth: u32,
    search: SearchOptions,
    margin: f64,
}

impl Selector<'_, '_> {
    /// Parameters whose levels have this many bits.
    fn with_scale(&self, bits: u32) -> Result<Params, PassError> {
        let message = self.trace.largest.max(1.0).log2().ceil() + self.margin;
        let first = bits + message.max(1.0) as u32;
        Params::search(self.depth, bits, first, &self.search).map_err(|error| match error {
            SearchError::TooDeep { .. } => PassError::op(&self.module, error),
            other => PassError::new(other.to_string()),
        })
    }

    /// The cheapest parameters that give every result this precision: the smallest ring, and in it the size of levels
    /// for which a key switch costs least.
    fn by_precision(&self, precision: f64) -> Result<Params, PassError> {
        let mut last = None;
        let mut best: Option<Params> = None;
        let order = |params: &Params| (params.log_n, params.key_switch_cost());
        for bits in SCALE_BITS {
            let params = match self.with_scale(bits) {
                Ok(params) => params,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            };
            if best.as_ref().is_some_and(|best| order(best) <= order(&params)) {
                continue;
            }
            if estimate_noise::precision_bits(self.error(&params)) >= precision {
                best = Some(params);
            }
        }
        best.ok_or_else(|| {
            last.unwrap_or_else(|| {
                PassError::op(
                    &self.module,
                    format!("cannot have {precision} bits of precision with scales up to 2^60"),
                )
            })
        })
    }

    /// The largest error of a result.
    fn error(&self, params: &Params) -> f64 {
        self.trace.errors(params).into_iter().fold(0.0, f64::max)
    }
}

/// A line about parameters.
pub fn describe(params: &Params) -> String {
    format!(
        "N = 2^{}, {} levels of {:.1} bits, log2(QP) = {:.0}, {:.0} bits of security, digits of {}",
        params.log_n,
        params.bootstrap.map_or(params.max_level(), |bootstrap| bootstrap.level),
        (params.scale0 as f64).log2(),
        params.log_qp(),
        params.security_bits(),
        params.digit
    )
}

/// The levels of messages that the bootstraps of a program of this depth need; none if it has no bootstrap.
fn message_levels(module: OperationRef<'_, '_>, depth: u32) -> Option<u32> {
    let needed = |op: OperationRef<'_, '_>| match bootstrap::variant(op).as_str() {
        // The reduction lies above the result, where the other variants have the factors towards slots.
        bootstrap::SLOTS_TO_COEFFICIENTS_FIRST => (depth + 1).saturating_sub(bootstrap::TO_SLOTS),
        bootstrap::MOD_RAISE_FIRST => depth,
        _ => depth + 1,
    };
    let bootstraps = ops_below(module).into_iter().filter(|op| name_of(*op) == "ckks.bootstrap");
    bootstraps.map(needed).max().map(|levels| levels.max(1))
}

/// The set for bootstrapping with these message levels, in the smallest ring that holds it.
fn bootstrapping(message_levels: u32, search: &SearchOptions) -> Result<Params, SearchError> {
    let of = |log_n| {
        let options = BootstrapOptions::new(log_n, message_levels);
        let digit = search.digit.unwrap_or(options.digit);
        let test_only_insecure = search.test_only_insecure;
        Params::bootstrapping(&BootstrapOptions { digit, test_only_insecure, ..options })
    };
    let mut found = of(search.min_log_n);
    for log_n in search.min_log_n + 1..=search.max_log_n {
        if found.is_ok() {
            break;
        }
        found = of(log_n);
    }
    found
}
