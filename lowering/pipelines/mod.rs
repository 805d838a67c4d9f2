//! The named pipelines, and the whole way from a network to code.
//!
//! Each pipeline is a text of passes that `ceria-opt` runs under a name; [`compile`] runs the same passes and chooses
//! the number of slots on the way.

pub mod compile;
pub mod evaluate;
mod weights;

use ceria_dialects::bridge::pass::{OptionValues, PassError, PassOption, PipelineDescriptor};

/// The named pipelines, in the order of the documentation.
pub const PIPELINES: &[&PipelineDescriptor] = &[&PREPARE, &TO_CKKS, &PLACE, &TO_KERNEL];

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
    ],
    text: place_options,
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
    Ok(place(options.float("precision"), options.int("min-log-n"), 1.0, 3))
}

pub(crate) fn place(precision: f64, min_log_n: i64, size: f64, margin: u32) -> String {
    format!(
        "func.func(ckks-expand-eval-poly),canonicalize,cse,ckks-lazy-relin,ckks-place-rescale,ckks-infer-levels,\
         ckks-select-params{{precision={precision} min-log-n={min_log_n} size={size} margin={margin} report=true}},func.func(ckks-expand-adjust),\
         canonicalize,cse,ckks-minimize-rotation-keys,ckks-annotate-keys,ckks-estimate-noise{{size={size}}},ckks-verify-scale"
    )
}
