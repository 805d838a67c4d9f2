//! `kernel-plan-memory`: gives every allocation a place in its function's arena.
//!
//! Before: `kernel.alloc` and `kernel.free` in the same block, frees optional. After: each alloc has an offset, each
//! call of a function of the module the offset of the callee's arena inside its own, and each function the size of its
//! arena. Buffers whose lives overlap do not overlap in memory.
//!
//! A buffer lives from its alloc to its free, or to the end of the block without one; a buffer allocated inside a loop
//! lives within one round. Largest buffers are placed first, each at the lowest offset that is free during its life.

use ceria_dialects::{
    bridge::{
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike, ValueLike, context_of},
        pass::{OptionValues, PassDescriptor, PassError},
    },
    interpret::name_of,
    kernel::{BufType, verify::symbol},
};
use melior::ir::{
    Attribute, BlockRef, Type,
    attribute::{IntegerAttribute, StringAttribute},
    operation::{OperationMutLike, OperationRefMut},
};
use std::collections::BTreeMap;

/// Attribute of a function: the bytes of its arena.
pub const FRAME_BYTES: &str = "kernel.frame_bytes";

/// Attribute of a call: where the callee's arena is in the caller's, in bytes.
pub const CALL_OFFSET: &str = "kernel.frame_offset";

/// Offsets are multiples of this: a cache line, and any vector.
const ALIGNMENT: u64 = 64;

/// The pass `kernel-plan-memory`.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "kernel-plan-memory",
    summary: "Give every buffer a place in a static arena",
    description: r#"
Buffers whose lives do not overlap share memory.

```mlir
func.func @f() {
  %a = kernel.alloc : !kernel.buf<2x16>
  kernel.free %a : !kernel.buf<2x16>
  %b = kernel.alloc : !kernel.buf<2x16>
  return
}
```
becomes
```mlir
func.func @f() attributes {kernel.frame_bytes = 128 : i64} {
  %a = kernel.alloc at 0 : !kernel.buf<2x16>
  kernel.free %a : !kernel.buf<2x16>
  %b = kernel.alloc at 0 : !kernel.buf<2x16>
  return
}
```
"#,
    dependent_dialects: &["kernel"],
    create: || Box::new(run),
    ..PassDescriptor::MODULE
};

/// Plans the memory of all functions of a module.
pub fn run(module: OperationRef<'_, '_>, _: &OptionValues) -> Result<(), PassError> {
    let mut functions = BTreeMap::new();
    let mut next = module.region(0)?.first_block().and_then(|block| block.first_operation());
    while let Some(op) = next {
        if name_of(op) == "func.func" {
            let name = StringAttribute::try_from(op.attribute("sym_name")?)?.value().to_string();
            functions.insert(name, op);
        }
        next = op.next_in_block();
    }
    let mut planned = BTreeMap::new();
    for name in functions.keys() {
        plan_function(name, &functions, &mut planned)?;
    }
    Ok(())
}

/// A function that is being planned, or its arena's size.
enum Plan {
    Running,
    Done(u64),
}

fn plan_function<'c, 'a>(
    name: &str,
    functions: &BTreeMap<String, OperationRef<'c, 'a>>,
    planned: &mut BTreeMap<String, Plan>,
) -> Result<u64, PassError> {
    let Some(&func) = functions.get(name) else {
        return Err(PassError::new(format!("a call refers to @{name}, which is missing")));
    };
    match planned.get(name) {
        Some(Plan::Done(bytes)) => return Ok(*bytes),
        Some(Plan::Running) => {
            return Err(PassError::op(&func, "calls itself, which a static arena cannot hold"));
        }
        None => {}
    }
    planned.insert(name.into(), Plan::Running);
    let mut lives = Lives { clock: 0, all: Vec::new() };
    if let Some(block) = func.region(0)?.first_block() {
        lives.block(block, &mut |callee| plan_function(callee, functions, planned))?;
    }
    let offsets = place(&lives.all);
    let mut frame = 0;
    for (life, offset) in lives.all.iter().zip(offsets) {
        frame = frame.max(offset + life.bytes);
        set_integer(life.op, if life.is_call { CALL_OFFSET } else { "offset" }, offset);
    }
    set_integer(func, FRAME_BYTES, frame);
    planned.insert(name.into(), Plan::Done(frame));
    Ok(frame)
}

/// The life of a buffer, or of a callee's arena, in positions of the function's text.
struct Life<'c, 'a> {
    op: OperationRef<'c, 'a>,
    is_call: bool,
    bytes: u64,
    start: usize,
    end: usize,
}

struct Lives<'c, 'a> {
    clock: usize,
    all: Vec<Life<'c, 'a>>,
}

impl<'c, 'a> Lives<'c, 'a> {
    fn block(
        &mut self,
        block: BlockRef<'c, 'a>,
        frame_of: &mut dyn FnMut(&str) -> Result<u64, PassError>,
    ) -> Result<(), PassError> {
        let mut open: Vec<usize> = Vec::new();
        let mut next = block.first_operation();
        while let Some(op) = next {
            self.clock += 1;
            match name_of(op).as_str() {
                "kernel.alloc" => {
                    let shape = BufType::try_from(op.result(0)?.r#type()).map_err(PassError::new)?;
                    let words: i64 = shape.shape().iter().product();
                    open.push(self.all.len());
                    self.all.push(Life {
                        op,
                        is_call: false,
                        bytes: (words as u64 * 4).next_multiple_of(ALIGNMENT),
                        start: self.clock,
                        end: usize::MAX,
                    });
                }
                "kernel.free" => {
                    let freed = op.operand(0)?.to_raw().ptr;
                    let is_freed = |life: usize| {
                        self.all[life].op.result(0).is_ok_and(|result| result.to_raw().ptr == freed)
                    };
                    let Some(place) = open.iter().position(|&life| is_freed(life)) else {
                        return Err(PassError::op(
                            &op,
                            "frees what its block did not allocate, or what is free",
                        ));
                    };
                    let life = open.remove(place);
                    self.all[life].end = self.clock;
                }
                "func.call" => {
                    let bytes = frame_of(symbol(op, "callee").map_err(PassError::new)?)?;
                    self.all.push(Life { op, is_call: true, bytes, start: self.clock, end: self.clock });
                }
                _ => {
                    for region in op.regions() {
                        if let Some(inner) = region.first_block() {
                            self.block(inner, frame_of)?;
                        }
                    }
                }
            }
            next = op.next_in_block();
        }
        self.clock += 1;
        for life in open {
            self.all[life].end = self.clock;
        }
        Ok(())
    }
}

/// An offset for each life.
fn place(lives: &[Life<'_, '_>]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].bytes), lives[i].start));
    let mut offsets = vec![0; lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let overlaps = |&&j: &&usize| lives[j].start <= lives[i].end && lives[i].start <= lives[j].end;
        let mut taken: Vec<(u64, u64)> =
            placed.iter().filter(overlaps).map(|&j| (offsets[j], offsets[j] + lives[j].bytes)).collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (from, to) in taken {
            if offset + lives[i].bytes <= from {
                break;
            }
            offset = offset.max(to);
        }
        offsets[i] = offset;
        placed.push(i);
    }
    offsets
}

fn set_integer(op: OperationRef<'_, '_>, name: &str, value: u64) {
    let context = context_of(op);
    let ty: Type<'_> = melior::ir::r#type::IntegerType::new(context, 64).into();
    let attribute: Attribute<'_> = IntegerAttribute::new(ty, value as i64).into();
    // SAFETY: the op is valid; a pass on the module may change what is below it.
    let mut op = unsafe { OperationRefMut::from_raw(op.to_raw()) };
    op.set_attribute(name, attribute);
}
