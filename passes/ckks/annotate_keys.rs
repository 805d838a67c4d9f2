//! `ckks-annotate-keys`: the exact set of evaluation keys a placed program needs.
//!
//! Each key is generated once, at the highest level at which it is used. The module attribute `ckks.keys` holds one
//! dictionary a key, ascending by kind and step.

use super::ir::{functions, ops_below, set_attribute};
use ceria_dialects::{
    bridge::{
        diagnostic::emit_remark,
        hooks::context_of,
        pass::{OptionValues, PassDescriptor, PassError, PassOption},
    },
    ckks::{UsesKeys, attributes::make_int, effects::Key},
    params_of,
};
use ceria_runtime::format::params::Params;
use melior::ir::{
    Attribute, AttributeLike, OperationRef,
    attribute::{ArrayAttribute, StringAttribute},
    operation::OperationLike,
};
use std::collections::BTreeMap;

/// The name of the module attribute that holds the keys.
pub const KEYS: &str = "ckks.keys";

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-annotate-keys",
    summary: "Find the evaluation keys that a program uses, with the highest level of each",
    description: "Sets `ckks.keys` on a module with parameters: every relinearisation, conjugation and rotation key \
        with the highest level of its uses. With `report=true` the number of keys and their bytes are a remark.\n\n\
        ```mlir\n\
        module attributes {ckks.keys = [{kind = \"relinearization\", level = 3 : i64},\n\
                                        {kind = \"rotation\", level = 5 : i64, step = 1 : i64}]}\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[PassOption::bool("report", false, "emit a remark with the number and the size of the keys")],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

fn run(module: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let params = params_of(module)
        .ok_or_else(|| PassError::op(&module, "has no parameters (run ckks-select-params before)"))?;
    let keys = key_set(module, &params)?;
    let context = context_of(module);
    let entries: Vec<Attribute<'_>> = keys.iter().map(|(key, level)| entry(context, *key, *level)).collect();
    set_attribute(module, KEYS, ArrayAttribute::new(context, &entries).into());
    if options.bool("report") {
        let bytes: u64 = keys.iter().map(|(key, level)| key_bytes(&params, *key, *level)).sum();
        let rotations = keys.keys().filter(|k| matches!(k, Key::Rotation(_))).count();
        let text = format!(
            "{} evaluation keys, {rotations} of them rotations, {:.1} MiB in memory, half of it in files",
            keys.len(),
            bytes as f64 / f64::from(1 << 20)
        );
        emit_remark(module.location(), &text);
    }
    Ok(())
}

/// The keys of a placed module, each with the highest level of its uses.
pub fn key_set(module: OperationRef<'_, '_>, params: &Params) -> Result<BTreeMap<Key, u32>, PassError> {
    let mut set = BTreeMap::new();
    for op in functions(module).into_iter().flat_map(ops_below) {
        let Some(uses) = UsesKeys::of(op) else { continue };
        let used = uses.keys(&params.slots()).map_err(|m| PassError::op(&op, m))?;
        if used.is_empty() {
            continue;
        }
        let level = uses.level().ok_or_else(|| {
            PassError::op(&op, "uses a key but is not placed (run ckks-infer-levels before)")
        })?;
        for key in used {
            let highest = set.entry(key).or_insert(level);
            *highest = level.max(*highest);
        }
    }
    Ok(set)
}

/// The bytes of one key in memory: two polynomials a digit over [`Params::key_span`]. In a
/// file the uniform half is a seed.
pub fn key_bytes(params: &Params, key: Key, level: u32) -> u64 {
    let basis = match key {
        Key::ToSparse => params.sparse_key_basis().unwrap_or_default(),
        _ => params.key_span(level),
    };
    let digits = params.digits(&basis).len() as u64;
    digits * 2 * basis.len() as u64 * params.n() as u64 * 4
}

fn entry<'c>(context: &'c melior::Context, key: Key, level: u32) -> Attribute<'c> {
    let kind = match key {
        Key::Relinearization => "relinearization",
        Key::Conjugation => "conjugation",
        Key::Rotation(_) => "rotation",
        Key::ToSparse => "to_sparse",
        Key::FromSparse => "from_sparse",
    };
    let mut fields: Vec<(&str, Attribute<'c>)> = vec![
        ("kind", StringAttribute::new(context, kind).into()),
        ("level", make_int(context, level.into())),
    ];
    if let Key::Rotation(step) = key {
        fields.push(("step", make_int(context, step)));
    }
    dictionary(context, &fields)
}

fn dictionary<'c>(context: &'c melior::Context, fields: &[(&str, Attribute<'c>)]) -> Attribute<'c> {
    let named: Vec<_> = fields
        .iter()
        .map(|(name, value)| unsafe {
            mlir_sys::mlirNamedAttributeGet(
                mlir_sys::mlirIdentifierGet(context.to_raw(), melior::StringRef::new(name).to_raw()),
                value.to_raw(),
            )
        })
        .collect();
    unsafe {
        Attribute::from_raw(mlir_sys::mlirDictionaryAttrGet(
            context.to_raw(),
            named.len() as isize,
            named.as_ptr(),
        ))
    }
}
