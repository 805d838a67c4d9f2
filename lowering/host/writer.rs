//! Writes the functions of a host program.

use super::Callee;
use ceria_dialects::{
    bridge::{
        hooks::{BlockLike, OperationLike, OperationRef, RegionLike, TypeLike, Value, ValueLike},
        pass::PassError,
    },
    interpret::name_of,
    kernel::{BufType, decode::integer, model::Kernel, verify::symbol},
};
use ceria_passes::kernel::plan_memory::{CALL_OFFSET, FRAME_BYTES};
use melior::ir::{BlockRef, RegionRef, attribute::StringAttribute};
use std::{
    collections::HashMap,
    fmt::{self, Write},
};

/// Places of functions in [`Runtime`](ceria_runtime::format::abi::Runtime), in pointers.
const LAUNCH: usize = 1;
const COPY: usize = 2;
const READ: usize = 3;

/// Prefix of the host's functions.
const HOST_PREFIX: &str = "host_";

/// Writes the functions of a host program.
pub struct HostWriter<'n> {
    kernels: &'n [Kernel],
    tables: &'n [String],
    callee: &'n Callee,
    text: String,
    indent: usize,
    next: usize,
    names: HashMap<*const std::ffi::c_void, String>,
}

impl<'n> HostWriter<'n> {
    /// For a module with these kernels and tables. The table of twiddles comes after the others, on a device that of
    /// constants after it.
    pub fn new(kernels: &'n [Kernel], tables: &'n [String], callee: &'n Callee) -> Self {
        Self { kernels, tables, callee, text: String::new(), indent: 0, next: 0, names: HashMap::new() }
    }

    /// The text of all functions written.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        for _ in 0..self.indent {
            self.text.push_str("  ");
        }
        let _ = self.text.write_fmt(text);
        self.text.push('\n');
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    /// Writes an operation with one new value.
    fn value(&mut self, text: fmt::Arguments<'_>) -> String {
        let name = self.fresh();
        self.line(format_args!("{name} = {text}"));
        name
    }

    fn name(&self, value: Value<'_, '_>) -> Result<String, PassError> {
        let known = self.names.get(&(value.to_raw().ptr as *const _)).cloned();
        known.ok_or_else(|| PassError::new(format!("a value has no counterpart: {value}")))
    }

    fn bind(&mut self, value: Value<'_, '_>, name: String) {
        self.names.insert(value.to_raw().ptr as *const _, name);
    }

    fn operand(&self, op: OperationRef<'_, '_>, index: usize) -> Result<String, PassError> {
        self.name(op.operand(index)?)
    }

    fn bind_result(&mut self, op: OperationRef<'_, '_>, name: String) -> Result<(), PassError> {
        self.bind(op.result(0)?.into(), name);
        Ok(())
    }

    fn constant(&mut self, number: i64) -> String {
        self.value(format_args!("arith.constant {number} : i64"))
    }

    /// An index as a 64-bit integer.
    fn long(&mut self, index: &str) -> String {
        self.value(format_args!("arith.index_cast {index} : index to i64"))
    }

    /// Writes a function. Buffers are addresses, indices 64-bit integers in its signature.
    pub fn function(&mut self, func: OperationRef<'_, '_>) -> Result<(), PassError> {
        let name = text(func, "sym_name")?;
        let Some(block) = func.region(0)?.first_block() else {
            return Err(PassError::op(&func, "has no body"));
        };
        self.names.clear();
        let mut arguments =
            vec!["%rt: !llvm.ptr".to_string(), "%tables: !llvm.ptr".into(), "%arena: !llvm.ptr".into()];
        let mut casts = Vec::new();
        for i in 0..block.argument_count() {
            let argument = block.argument(i)?;
            let name = self.fresh();
            if BufType::try_from(argument.r#type()).is_ok() {
                arguments.push(format!("{name}: !llvm.ptr"));
                self.bind(argument.into(), name);
            } else if argument.r#type().is_index() {
                arguments.push(format!("{name}: i64"));
                casts.push((argument, name));
            } else {
                return Err(PassError::op(&func, format!("has an argument of type {}", argument.r#type())));
            }
        }
        self.line(format_args!("llvm.func internal @{HOST_PREFIX}{name}({}) {{", arguments.join(", ")));
        self.indent += 1;
        let longest = self.kernels.iter().map(|k| k.arguments.len() + 2).max().unwrap_or(1);
        let count = self.constant(longest as i64);
        self.line(format_args!("%arguments = llvm.alloca {count} x i64 : (i64) -> !llvm.ptr"));
        for (argument, name) in casts {
            let index = self.value(format_args!("arith.index_cast {name} : i64 to index"));
            self.bind(argument.into(), index);
        }
        self.block(block)?;
        self.indent -= 1;
        self.line(format_args!("}}"));
        Ok(())
    }

    /// The exported function: takes the addresses of inputs and outputs apart and calls the program's main function.
    pub fn entry(
        &mut self,
        main: OperationRef<'_, '_>,
        inputs: usize,
        outputs: usize,
    ) -> Result<(), PassError> {
        let name = text(main, "sym_name")?;
        let symbol = ceria_runtime::format::abi::ENTRY;
        self.line(format_args!(
            "llvm.func @{symbol}(%rt: !llvm.ptr, %tables: !llvm.ptr, %inputs: !llvm.ptr, %outputs: !llvm.ptr, %arena: !llvm.ptr) -> i32 {{"
        ));
        self.indent += 1;
        let mut arguments = vec!["%rt".to_string(), "%tables".into(), "%arena".into()];
        for (list, count) in [("%inputs", inputs), ("%outputs", outputs)] {
            for i in 0..count {
                arguments.push(self.pointer_in(list, i));
            }
        }
        let types = vec!["!llvm.ptr"; arguments.len()].join(", ");
        self.line(format_args!("llvm.call @{HOST_PREFIX}{name}({}) : ({types}) -> ()", arguments.join(", ")));
        self.line(format_args!("%zero = llvm.mlir.constant(0 : i32) : i32"));
        self.line(format_args!("llvm.return %zero : i32"));
        self.indent -= 1;
        self.line(format_args!("}}"));
        Ok(())
    }

    /// Pointer number `index` of a list of pointers.
    fn pointer_in(&mut self, list: &str, index: usize) -> String {
        let at = self
            .value(format_args!("llvm.getelementptr {list}[{index}] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr"));
        self.value(format_args!("llvm.load {at} : !llvm.ptr -> !llvm.ptr"))
    }

    fn block(&mut self, block: BlockRef<'_, '_>) -> Result<(), PassError> {
        let mut next = block.first_operation();
        while let Some(op) = next {
            self.operation(op)?;
            next = op.next_in_block();
        }
        Ok(())
    }

    fn operation(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        match name_of(op).as_str() {
            "kernel.alloc" => {
                let offset = integer(op, "offset").ok_or_else(|| {
                    PassError::op(&op, "has no place in the arena; run kernel-plan-memory before")
                })?;
                let at = self.place(offset);
                self.bind_result(op, at)
            }
            "kernel.free" => Ok(()),
            "kernel.copy" => {
                let words: i64 = shape(op.operand(0)?)?.iter().product();
                let bytes = self.constant(words * 4);
                let (from, to) = (self.operand(op, 0)?, self.operand(op, 1)?);
                match self.callee {
                    Callee::Cpu { .. } => self.line(format_args!(
                        "\"llvm.intr.memcpy\"({to}, {from}, {bytes}) <{{isVolatile = false}}> : (!llvm.ptr, !llvm.ptr, i64) -> ()"
                    )),
                    Callee::Device => {
                        let copy = self.pointer_in("%rt", COPY);
                        self.line(format_args!(
                            "llvm.call {copy}(%rt, {to}, {from}, {bytes}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> ()"
                        ));
                    }
                }
                Ok(())
            }
            "kernel.subview" => self.subview(op),
            "kernel.read" => {
                let (buffer, index) = (self.operand(op, 0)?, self.operand(op, 1)?);
                let index = self.long(&index);
                let at = self.word_at(&buffer, &index);
                let word = match self.callee {
                    Callee::Cpu { .. } => self.value(format_args!("llvm.load {at} : !llvm.ptr -> i32")),
                    Callee::Device => {
                        let read = self.pointer_in("%rt", READ);
                        self.value(format_args!(
                            "llvm.call {read}(%rt, {at}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr) -> i32"
                        ))
                    }
                };
                let index = self.value(format_args!("arith.index_castui {word} : i32 to index"));
                self.bind_result(op, index)
            }
            "kernel.get_table" => {
                let name = symbol(op, "table").map_err(PassError::new)?;
                let number = self.tables.iter().position(|table| table == name);
                let number = number
                    .ok_or_else(|| PassError::op(&op, format!("refers to @{name}, which is missing")))?;
                let pointer = self.pointer_in("%tables", number);
                self.bind_result(op, pointer)
            }
            "kernel.launch" => self.launch(op),
            "func.call" => self.call(op),
            "func.return" => {
                self.line(format_args!("llvm.return"));
                Ok(())
            }
            "scf.for" => self.for_loop(op),
            "scf.if" => self.condition(op),
            "scf.yield" => {
                if op.operand_count() > 0 {
                    let (names, types) = self.operands(op)?;
                    self.line(format_args!("scf.yield {names} : {types}"));
                }
                Ok(())
            }
            name if name.starts_with("arith.") && op.region_count() == 0 => self.as_it_is(op, name),
            _ => Err(self.callee.refuse(op)),
        }
    }

    /// The address of a byte of the arena.
    fn place(&mut self, offset: i64) -> String {
        let offset = self.constant(offset);
        self.value(format_args!("llvm.getelementptr %arena[{offset}] : (!llvm.ptr, i64) -> !llvm.ptr, i8"))
    }

    fn word_at(&mut self, base: &str, index: &str) -> String {
        self.value(format_args!("llvm.getelementptr {base}[{index}] : (!llvm.ptr, i64) -> !llvm.ptr, i32"))
    }

    fn subview(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        let extents = shape(op.operand(0)?)?;
        let buffer = self.operand(op, 0)?;
        let mut offset = self.constant(0);
        for i in 1..op.operand_count() {
            let words: i64 = extents[i..].iter().product();
            let index = self.operand(op, i)?;
            let index = self.long(&index);
            let words = self.constant(words);
            let part = self.value(format_args!("arith.muli {index}, {words} : i64"));
            offset = self.value(format_args!("arith.addi {offset}, {part} : i64"));
        }
        let at = self.word_at(&buffer, &offset);
        self.bind_result(op, at)
    }

    fn launch(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        let name = symbol(op, "kernel").map_err(PassError::new)?;
        let kernels = self.kernels;
        let (number, kernel) = kernels
            .iter()
            .enumerate()
            .find(|(_, kernel)| kernel.name == name)
            .ok_or_else(|| PassError::op(&op, format!("launches @{name}, which is missing")))?;
        let mut slots = Vec::new();
        for i in 0..op.operand_count() {
            let value = self.operand(op, i)?;
            slots.push(if op.operand(i)?.r#type().is_index() {
                (self.long(&value), "i64")
            } else {
                (value, "!llvm.ptr")
            });
        }
        slots.push((self.pointer_in("%tables", self.tables.len()), "!llvm.ptr"));
        if matches!(self.callee, Callee::Device) {
            slots.push((self.pointer_in("%tables", self.tables.len() + 1), "!llvm.ptr"));
        }
        let count = slots.len();
        for (i, (value, ty)) in slots.into_iter().enumerate() {
            let at = self
                .value(format_args!("llvm.getelementptr %arguments[{i}] : (!llvm.ptr) -> !llvm.ptr, i64"));
            self.line(format_args!("llvm.store {value}, {at} : {ty}, !llvm.ptr"));
        }
        match self.callee {
            Callee::Cpu { prefix, calls } => {
                let parallel_for = self.value(format_args!("llvm.load %rt : !llvm.ptr -> !llvm.ptr"));
                let function = self.value(format_args!("llvm.mlir.addressof @{prefix}{name} : !llvm.ptr"));
                let tiles = self.constant(calls(kernel) as i64);
                let number = self.constant(number as i64);
                self.line(format_args!(
                    "llvm.call {parallel_for}(%rt, {function}, %arguments, {tiles}, {number}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64, i64) -> ()"
                ));
            }
            Callee::Device => {
                let launch = self.pointer_in("%rt", LAUNCH);
                let count = self.constant(count as i64);
                let number = self.constant(number as i64);
                self.line(format_args!(
                    "llvm.call {launch}(%rt, %arguments, {count}, {number}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64, i64) -> ()"
                ));
            }
        }
        Ok(())
    }

    fn call(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        if op.result_count() > 0 {
            return Err(PassError::op(&op, "returns values, but results of host functions are buffers"));
        }
        let callee = symbol(op, "callee").map_err(PassError::new)?;
        let offset = integer(op, CALL_OFFSET)
            .ok_or_else(|| PassError::op(&op, "has no place in the arena; run kernel-plan-memory before"))?;
        let frame = self.place(offset);
        let mut arguments = vec!["%rt".to_string(), "%tables".into(), frame];
        let mut types = vec!["!llvm.ptr"; 3];
        for i in 0..op.operand_count() {
            let value = self.operand(op, i)?;
            if op.operand(i)?.r#type().is_index() {
                arguments.push(self.long(&value));
                types.push("i64");
            } else {
                arguments.push(value);
                types.push("!llvm.ptr");
            }
        }
        self.line(format_args!(
            "llvm.call @{HOST_PREFIX}{callee}({}) : ({}) -> ()",
            arguments.join(", "),
            types.join(", ")
        ));
        Ok(())
    }

    fn for_loop(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        let block = op.region(0)?.first_block().ok_or_else(|| PassError::op(&op, "has no body"))?;
        let (from, to, step) = (self.operand(op, 0)?, self.operand(op, 1)?, self.operand(op, 2)?);
        let index = self.fresh();
        self.bind(block.argument(0)?.into(), index.clone());
        let mut starts = Vec::new();
        for i in 3..op.operand_count() {
            let start = self.operand(op, i)?;
            let carried = self.fresh();
            starts.push(format!("{carried} = {start}"));
            self.bind(block.argument(i - 2)?.into(), carried);
        }
        let ty = lowered(op.operand(0)?);
        let head = format!("scf.for {index} = {from} to {to} step {step}");
        let suffix = if ty == "index" { String::new() } else { format!(" : {ty}") };
        if starts.is_empty() {
            self.line(format_args!("{head}{suffix} {{"));
        } else {
            let (names, types) = self.new_results(op)?;
            self.line(format_args!(
                "{names} = {head} iter_args({}) -> ({types}){suffix} {{",
                starts.join(", ")
            ));
        }
        self.nested(op.region(0)?)?;
        self.line(format_args!("}}"));
        Ok(())
    }

    fn condition(&mut self, op: OperationRef<'_, '_>) -> Result<(), PassError> {
        let on = self.operand(op, 0)?;
        if op.result_count() == 0 {
            self.line(format_args!("scf.if {on} {{"));
        } else {
            let (names, types) = self.new_results(op)?;
            self.line(format_args!("{names} = scf.if {on} -> ({types}) {{"));
        }
        self.nested(op.region(0)?)?;
        if op.region(1)?.first_block().is_some() {
            self.line(format_args!("}} else {{"));
            self.nested(op.region(1)?)?;
        }
        self.line(format_args!("}}"));
        Ok(())
    }

    fn nested(&mut self, region: RegionRef<'_, '_>) -> Result<(), PassError> {
        self.indent += 1;
        if let Some(block) = region.first_block() {
            self.block(block)?;
        }
        self.indent -= 1;
        Ok(())
    }

    /// An operation whose operands and results keep their types, or are addresses now.
    fn as_it_is(&mut self, op: OperationRef<'_, '_>, name: &str) -> Result<(), PassError> {
        let (operands, operand_types) = self.operands(op)?;
        let attributes: Vec<String> = op
            .attributes()
            .map(|(key, value)| format!("{} = {value}", key.as_string_ref().as_str().unwrap_or_default()))
            .collect();
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" {{{}}}", attributes.join(", ")) };
        let (results, result_types) = self.new_results(op)?;
        self.line(format_args!(
            "{results} = \"{name}\"({operands}){attributes} : ({operand_types}) -> ({result_types})"
        ));
        Ok(())
    }

    /// The operands and their types, as lists.
    fn operands(&self, op: OperationRef<'_, '_>) -> Result<(String, String), PassError> {
        let names = op.operands().map(|v| self.name(v)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<String> = op.operands().map(lowered).collect();
        Ok((names.join(", "), types.join(", ")))
    }

    /// New names for the results, and their types, as lists.
    fn new_results(&mut self, op: OperationRef<'_, '_>) -> Result<(String, String), PassError> {
        let mut names = Vec::new();
        let mut types = Vec::new();
        for i in 0..op.result_count() {
            let result = op.result(i)?.into();
            let name = self.fresh();
            names.push(name.clone());
            types.push(lowered(result));
            self.bind(result, name);
        }
        Ok((names.join(", "), types.join(", ")))
    }
}

/// The type of a value's counterpart.
fn lowered(value: Value<'_, '_>) -> String {
    match BufType::try_from(value.r#type()) {
        Ok(_) => "!llvm.ptr".into(),
        Err(_) => value.r#type().to_string(),
    }
}

fn shape(value: Value<'_, '_>) -> Result<Vec<i64>, PassError> {
    Ok(BufType::try_from(value.r#type()).map_err(PassError::new)?.shape().to_vec())
}

fn text(op: OperationRef<'_, '_>, name: &str) -> Result<String, PassError> {
    let attribute = op.attribute(name)?;
    Ok(StringAttribute::try_from(attribute)?.value().to_string())
}

/// The bytes of a function's part of the arena, itself and the functions that it calls.
pub fn frame_bytes(func: OperationRef<'_, '_>) -> Option<u64> {
    integer(func, FRAME_BYTES).and_then(|bytes| u64::try_from(bytes).ok())
}
