//! Rewrites from passes: sets of Rust patterns applied greedily, and walks.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use melior::ir::OperationRef;
use melior::ir::operation::{OperationLike, WalkOrder, WalkResult};
use mlir_sys::{MlirOperation, MlirRewritePatternSet};

use super::hooks::PatternSet;
use super::pass::PassError;

/// How the greedy driver works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteOptions {
    /// Fold ops, remove dead ones and share constants on the way.
    pub fold: bool,
    /// Visit ops in the order of the text first, instead of users before definitions.
    pub top_down: bool,
    /// Merge blocks and remove those that are not reached.
    pub simplify_regions: bool,
}

impl Default for RewriteOptions {
    fn default() -> Self {
        Self { fold: true, top_down: true, simplify_regions: true }
    }
}

/// Applies patterns to everything below an op until none applies.
///
/// ```ignore
/// rewrite_greedily(op, RewriteOptions::default(), |set| set.add("ckks.rotate", 1, fold_rotations))?;
/// ```
pub fn rewrite_greedily<'c, F: FnOnce(&mut PatternSet<'c>)>(
    op: OperationRef<'c, '_>,
    options: RewriteOptions,
    add: F,
) -> Result<(), PassError> {
    let mut add = Add { add: Some(add), op };
    // SAFETY: the op is valid, and `add` is used during the call only.
    let done = unsafe {
        ceria_rewrite_greedily(
            op.to_raw(),
            options.fold,
            options.top_down,
            options.simplify_regions,
            (&raw mut add).cast(),
            add_patterns::<F>,
        )
    };
    if done { Ok(()) } else { Err(PassError::op(&op, "has patterns that rewrite it without end")) }
}

/// What makes the patterns of [`rewrite_greedily`].
struct Add<'c, 'a, F> {
    add: Option<F>,
    op: OperationRef<'c, 'a>,
}

unsafe extern "C" fn add_patterns<'c, F: FnOnce(&mut PatternSet<'c>)>(
    data: *mut c_void,
    raw: MlirRewritePatternSet,
) {
    // SAFETY: `data` is the `Add` of the call, and the set lives during it.
    let (data, mut set) = unsafe {
        let data = &mut *data.cast::<Add<'c, '_, F>>();
        let context = data.op.context().to_ref().to_raw();
        (data, PatternSet::from_raw(raw, context))
    };
    if let Some(add) = data.add.take()
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| add(&mut set)))
    {
        PassError::panic(payload).emit(data.op.location());
    }
}

unsafe extern "C" {
    fn ceria_rewrite_greedily(
        op: MlirOperation,
        fold: bool,
        top_down: bool,
        simplify_regions: bool,
        data: *mut c_void,
        add: unsafe extern "C" fn(*mut c_void, MlirRewritePatternSet),
    ) -> bool;
}

/// All ops below `op`, itself included, whose name is one of `names`, in the order of the text (outer ops first).
/// All ops if `names` is empty.
pub fn find_ops<'c: 'a, 'a>(op: &impl OperationLike<'c, 'a>, names: &[&str]) -> Vec<OperationRef<'c, 'a>> {
    let mut found = Vec::new();
    op.walk(WalkOrder::PreOrder, |op| {
        let name = op.name();
        if names.is_empty() || names.contains(&name.as_string_ref().as_str().unwrap_or("")) {
            // SAFETY: an op below `op` lives as long as it.
            found.push(unsafe { OperationRef::from_raw(op.to_raw()) });
        }
        WalkResult::Advance
    });
    found
}
