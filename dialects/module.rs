//! Contexts with Ceria's dialects, and what a module says about its whole contents.

use crate::{
    bridge::generated::{self, ckks::ParamsAttr},
    bridge::hooks::{Attribute, OperationLike, OperationRef},
};
use ceria_runtime::format::params::Params;
use melior::{Context, dialect::DialectRegistry, utility::register_all_dialects};

/// The name of the module attribute that holds the parameters.
pub const PARAMS: &str = "ckks.params";

/// A registry with MLIR's own dialects and Ceria's.
pub fn registry() -> DialectRegistry {
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    generated::register_all(&registry);
    registry
}

/// A context in which every dialect is loaded. Diagnostics go to the handlers that its user attaches.
pub fn context() -> Context {
    let context = Context::new_with_registry(&registry(), true);
    for dialect in ["fhe", "ckks", "poly", "kernel", "func", "scf", "arith", "tensor"] {
        context.get_or_load_dialect(dialect);
    }
    context
}

/// The parameters of the module around `op`: those of the innermost enclosing op that has some.
pub fn params_of(op: OperationRef<'_, '_>) -> Option<Params> {
    let mut at = op.to_raw();
    while !at.ptr.is_null() {
        let here = unsafe { OperationRef::from_raw(at) };
        if let Ok(attribute) = here.attribute(PARAMS) {
            return params_from(attribute);
        }
        at = unsafe { mlir_sys::mlirOperationGetParentOperation(at) };
    }
    None
}

/// The parameters in a `#ckks.params` attribute.
pub fn params_from(attribute: Attribute<'_>) -> Option<Params> {
    Some(ParamsAttr::try_from(attribute).ok()?.params())
}

/// The `ckks.params` attribute for these parameters.
pub fn params_attribute<'c>(context: &'c Context, params: &Params) -> Result<Attribute<'c>, String> {
    Ok(ParamsAttr::new(context, params)?.into())
}
