//! The named pipelines, and the whole way from a network to code.
//!
//! Each pipeline is a text of passes that `ceria-opt` runs under a name; [`compile`] runs the same passes and chooses
//! the number of slots on the way.

pub mod compile;
pub mod evaluate;
mod weights;

use ceria_dialects::bridge::pass::{OptionValues, PassError, PassOption, PipelineDescriptor};
use ceria_runtime::format::search::SearchOptions;

/// The named pipelines, in the order of the documentation.
pub const PIPELINES: &[&PipelineDescriptor] =
    &[&PREPARE, &TO_CKKS, &PLACE, &PLACE_WITH_BOOTSTRAPS, &TO_KERNEL, &crate::kernel_to_nvvm::ptx::PIPELINE];

/// Folds a network to linear operators and polynomials.
pub static PREPARE: PipelineDescriptor = PipelineDescriptor {
    argument: "fhe-prepare",
    summary: "Fold linear operators, bound values, and replace nonlinear functions by polynomials",
    options: PREPARE_OPTIONS,
    text: |options| Ok(prepare(options)),
};

const PREPARE_OPTIONS: &[PassOption] = &[
    PassOption::text("calibrate", "", "npz file of samples for the ranges of activations"),
    PassOption::float(
        "margin",
        0.1,
        "by which part of its width a calibrated range is widened on both sides",
    ),
    PassOption::float("precision", 8.0, "bits of absolute precision of polynomials"),
    PassOption::int("max-degree", 31, "largest degree of a polynomial"),
];

/// From a network to unplaced ciphertexts.
pub static TO_CKKS: PipelineDescriptor = PipelineDescriptor {
    argument: "fhe-to-ckks-pipeline",
    summary: "fhe-prepare, layouts and fhe-to-ckks",
    options: &[
        PassOption::text("calibrate", "", "npz file of samples for the ranges of activations"),
        PassOption::float(
            "margin",
            0.1,
            "by which part of its width a calibrated range is widened on both sides",
        ),
        PassOption::float("precision", 8.0, "bits of absolute precision of polynomials"),
        PassOption::int("max-degree", 31, "largest degree of a polynomial"),
        PassOption::int("slots", 4096, "slots of a ciphertext: half the ring degree"),
    ],
    text: |options| Ok(format!("{},{}", prepare(options), to_ckks(options.int("slots")))),
};

/// Levels, scales and parameters of unplaced ciphertexts.
pub static PLACE: PipelineDescriptor = PipelineDescriptor {
    argument: "ckks-place",
    summary: "Expand polynomials, place relinearisations and rescales, select parameters, find keys",
    options: &[
        PassOption::float("precision", 14.0, "bits of precision of each result"),
        PassOption::int("min-log-n", 12, "the smallest log2 of the ring degree"),
        KEY_MEMORY,
    ],
    text: place_options,
};

/// The same for programs that are too deep for any parameters.
pub static PLACE_WITH_BOOTSTRAPS: PipelineDescriptor = PipelineDescriptor {
    argument: "ckks-place-with-bootstraps",
    summary: "As ckks-place, with bootstraps where levels end, written out",
    options: &[
        PassOption::int("levels", 0, "the highest level that a bootstrap reaches; 0 is any"),
        PassOption::text("variant", "auto", "the variant of all bootstraps; `auto` chooses for each"),
        PassOption::float("precision", 12.0, "bits after the binary point that a bootstrap has to keep"),
        PassOption::text("strategy", "cheapest", "`cheapest` or `greedy`"),
        PassOption::int("min-log-n", 12, "the smallest log2 of the ring degree"),
        PassOption::bool("insecure", false, "take min-log-n whatever the security; for tests only"),
        KEY_MEMORY,
    ],
    text: |options| {
        let (min_log_n, insecure) = (options.int("min-log-n"), options.bool("insecure"));
        Ok(format!(
            "{RESCALED},\
             ckks-place-bootstraps{{levels={} variant={} precision={} strategy={} min-log-n={min_log_n} insecure={insecure} \
             report=true}},{},ckks-annotate-bootstraps,{}",
            options.int("levels"),
            options.text("variant"),
            options.float("precision"),
            options.text("strategy"),
            leveled(0, min_log_n, insecure),
            expand_bootstraps(key_memory(options))
        ))
    },
};

/// From placed ciphertexts to kernels.
pub static TO_KERNEL: PipelineDescriptor = PipelineDescriptor {
    argument: "ckks-to-kernel",
    summary: "Lower placed ciphertexts to polynomials and those to kernels",
    options: &[],
    text: |_| Ok(TO_KERNEL_TEXT.into()),
};

/// The passes from placed ciphertexts to kernels.
const TO_KERNEL_TEXT: &str =
    "ckks-to-poly,canonicalize,cse,poly-merge-mod-down,poly-expand-keyswitch,canonicalize,cse,poly-to-kernel";

/// The text of an option's value: quoted, as paths may hold anything but quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', ""))
}

fn prepare(options: &OptionValues) -> String {
    prepare_text(
        options.text("calibrate"),
        options.float("margin"),
        options.float("precision"),
        options.int("max-degree"),
    )
}

pub(crate) fn prepare_text(calibrate: &str, margin: f64, precision: f64, max_degree: i64) -> String {
    let calibrate =
        if calibrate.is_empty() { String::new() } else { format!("calibrate={} ", quoted(calibrate)) };
    format!(
        "canonicalize,cse,fhe-fold-linear,fhe-infer-ranges{{{calibrate}margin={margin}}},\
         fhe-approximate-activations{{precision={precision} max-degree={max_degree}}},fhe-fold-linear,canonicalize,cse"
    )
}

pub(crate) fn to_ckks(slots: i64) -> String {
    format!("fhe-assign-layouts{{slots={slots}}},fhe-to-ckks,canonicalize,cse")
}

fn place_options(options: &OptionValues) -> Result<String, PassError> {
    let smallest = u32::try_from(options.int("min-log-n")).unwrap_or(0);
    let rings = [smallest, SearchOptions::default().max_log_n];
    Ok(place(options.float("precision"), rings, 1.0, 3, key_memory(options)))
}

const KEY_MEMORY: PassOption =
    PassOption::int("key-memory", 0, "MiB that evaluation keys may take in memory; 0 is any number");

fn key_memory(options: &OptionValues) -> u64 {
    u64::try_from(options.int("key-memory")).unwrap_or(0)
}

/// Keys are chosen after levels and scales: fewer of them first, then their levels. `key_memory` is in MiB, 0 any number.
fn keys(key_memory: u64) -> String {
    format!(
        "ckks-chain-rotations{{key-memory={key_memory} report=true}},ckks-minimize-rotation-keys,ckks-annotate-keys"
    )
}

/// Places a program without bootstraps, in a ring from one log2 N to another.
pub(crate) fn place(
    precision: f64,
    [smallest, largest]: [u32; 2],
    size: f64,
    margin: u32,
    key_memory: u64,
) -> String {
    let keys = keys(key_memory);
    format!(
        "{RESCALED},ckks-infer-levels,\
         ckks-select-params{{precision={precision} min-log-n={smallest} max-log-n={largest} size={size} margin={margin} \
         report=true}},{ADJUSTED},{keys},ckks-estimate-noise{{size={size}}},ckks-verify-scale"
    )
}

/// From a network's ciphertexts to ones whose products are relinearised and rescaled.
pub(crate) const RESCALED: &str =
    "func.func(ckks-expand-eval-poly),canonicalize,cse,ckks-lazy-relin,ckks-place-rescale";
/// After levels and parameters are there.
const ADJUSTED: &str = "func.func(ckks-expand-adjust),canonicalize,cse";

/// Levels, scales and what is left of the parameters of a program whose bootstraps are placed.
pub(crate) fn leveled(last_level: u32, min_log_n: i64, insecure: bool) -> String {
    format!(
        "ckks-infer-levels{{last-level={last_level}}},\
         ckks-select-params{{min-log-n={min_log_n} insecure={insecure} report=true}},{ADJUSTED}"
    )
}

/// Passes that write bootstraps out and finish a placed program whose keys may take `key_memory` MiB, 0 any number.
pub fn expand_bootstraps(key_memory: u64) -> String {
    format!("ckks-expand-bootstrap,{ADJUSTED},{},ckks-verify-scale", keys(key_memory))
}
