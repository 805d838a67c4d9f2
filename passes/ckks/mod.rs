//! Passes of the `ckks` dialect, in the order in which a pipeline runs them: polynomials are written out, products
//! relinearised, rescaled and placed; parameters are selected; keys, noise and scales are reported and checked; [`report_ops`] counts.

pub mod annotate_bootstraps;
pub mod annotate_keys;
pub mod bootstrap;
pub mod chain_rotations;
pub mod estimate_noise;
pub mod expand_adjust;
pub mod expand_bootstrap;
pub mod expand_eval_poly;
pub mod infer_levels;
pub mod ir;
pub mod lazy_relin;
pub mod levels;
pub mod minimize_rotation_keys;
pub mod noise;
pub mod place_bootstraps;
pub mod place_rescale;
pub mod placement;
pub mod report_ops;
pub mod select_params;
pub mod slots;
pub mod tally;
pub mod verify_scale;

use ceria_dialects::bridge::pass::PassDescriptor;

/// The passes, in the order of the documentation.
pub const PASSES: &[&PassDescriptor] = &[
    &expand_eval_poly::PASS,
    &lazy_relin::PASS,
    &place_rescale::PASS,
    &place_bootstraps::PASS,
    &infer_levels::PASS,
    &select_params::PASS,
    &annotate_bootstraps::PASS,
    &expand_bootstrap::PASS,
    &expand_adjust::PASS,
    &minimize_rotation_keys::PASS,
    &annotate_keys::PASS,
    &chain_rotations::PASS,
    &estimate_noise::PASS,
    &verify_scale::PASS,
    &report_ops::PASS,
];
