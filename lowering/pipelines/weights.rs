//! Collecting the values of all weights of a module, which a bundle keeps in one file.

use ceria_dialects::{
    bridge::{hooks::*, pass::PassError},
    fhe::{
        access::{Attributes, name_of, set_attribute},
        weights::{DIRECTORY, Weights},
    },
};
use ceria_passes::fhe::edit::top_level;
use melior::ir::{
    attribute::StringAttribute,
    operation::{OperationMutLike, OperationRefMut},
};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Values by the name of their symbol.
pub type Values = BTreeMap<String, ArrayD<f32>>;

/// Adds the values of a module's weights to `values`, and makes the symbols refer to `file`,
/// beside which the module will be.
pub fn externalize(module: OperationRef<'_, '_>, file: &str, values: &mut Values) -> Result<(), PassError> {
    let weights = Weights::of(module);
    let context = context_of(module);
    for op in top_level(module).into_iter().filter(|op| name_of(op) == "fhe.weights") {
        let name = op.text("sym_name").unwrap_or_default().to_string();
        let array = weights.read(op).map_err(|e| PassError::op(&op, e))?;
        values.insert(name.clone(), array);
        // SAFETY: the op is valid and nobody else changes it.
        let mut changed = unsafe { OperationRefMut::from_raw(op.to_raw()) };
        if op.has("value") {
            changed.remove_attribute("value")?;
        }
        set_attribute(op, "file", StringAttribute::new(context, file).into());
        set_attribute(op, "key", StringAttribute::new(context, &name).into());
    }
    if module.has(DIRECTORY) {
        // SAFETY: as above.
        unsafe { OperationRefMut::from_raw(module.to_raw()) }.remove_attribute(DIRECTORY)?;
    }
    Ok(())
}
