//! `ckks-report-ops`: how many ops of each kind a function has.
//!
//! Before: any function. After: the same function, and a remark at it.

use std::collections::BTreeMap;

use ceria_dialects::bridge::diagnostic::emit_remark;
use ceria_dialects::bridge::hooks::{OperationLike, OperationRef};
use ceria_dialects::bridge::pass::{OptionValues, PassDescriptor, PassError, PassOption};
use ceria_dialects::bridge::rewrite::find_ops;

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-report-ops",
    summary: "Report how many ops of each kind a function has",
    description: r#"
Counts the ops of one dialect in a function, those in loops once, and gives a remark with the counts in alphabetical order.

```mlir
func.func @f(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
  %0 = ckks.negate %x : !ckks.ct<1, S(1)>
  %1 = ckks.add %0, %x : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %1 : !ckks.ct<1, S(1)>
}
```

gives the remark `1 ckks.add, 1 ckks.negate`.
"#,
    options: &[PassOption::text("dialect", "ckks", "the dialect whose ops are counted")],
    create: || Box::new(run),
    ..PassDescriptor::FUNCTION
};

/// The numbers of a dialect's ops below `op`, by name; ops in loops count once.
pub fn count_ops(op: OperationRef, dialect: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for op in find_ops(&op, &[]) {
        let name = op.name();
        let name = name.as_string_ref().as_str().unwrap_or_default();
        if name.split_once('.').is_some_and(|(prefix, _)| prefix == dialect) {
            *counts.entry(name.to_string()).or_default() += 1;
        }
    }
    counts
}

fn run(op: OperationRef, options: &OptionValues) -> Result<(), PassError> {
    let dialect = options.text("dialect");
    let counts: Vec<_> =
        count_ops(op, dialect).into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    let text = if counts.is_empty() { format!("no {dialect} ops") } else { counts.join(", ") };
    emit_remark(op.location(), &text);
    Ok(())
}
