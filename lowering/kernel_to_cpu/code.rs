//! Writes functions whose bodies are `scf`, `arith`, `vector` and `llvm` operations, as text: `llvm.func` for a CPU,
//! `gpu.func` for a device.
//!
//! A [`Code`] is one function under construction: each method appends an operation and returns its value, so that
//! generators read like the arithmetic they generate. Vectors of 32-bit words have as many lanes as the writer says;
//! wide vectors have half as many lanes of 64 bits, the same number of bits.

use std::fmt::{self, Write};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A truth value.
    Bit,
    /// A 32-bit word.
    Word,
    /// A 64-bit integer, also every count and index.
    Long,
    /// An address.
    Pointer,
    /// An address in a device's memory.
    Global,
    /// An address in the memory that the threads of a block share.
    Shared,
    /// A vector of this many 32-bit words.
    Words(usize),
    /// A vector of this many 64-bit integers.
    Longs(usize),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit => f.write_str("i1"),
            Self::Word => f.write_str("i32"),
            Self::Long => f.write_str("i64"),
            Self::Pointer => f.write_str("!llvm.ptr"),
            Self::Global => f.write_str("!llvm.ptr<1>"),
            Self::Shared => f.write_str("!llvm.ptr<3>"),
            Self::Words(lanes) => write!(f, "vector<{lanes}xi32>"),
            Self::Longs(lanes) => write!(f, "vector<{lanes}xi64>"),
        }
    }
}

/// A value of the code under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    id: u32,
    /// Its type.
    pub ty: Type,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.id)
    }
}

/// A function under construction.
pub struct Code {
    /// What comes before the text: numbers that are known when the rest is written.
    head: String,
    text: String,
    next: u32,
    indent: usize,
    location: String,
    /// Numbers of the parameters that a device function has taken so far, their values and their attributes.
    parameters: Vec<(usize, Value, &'static str)>,
}

/// A function that a device runs in each thread, without its name. Functions that do the same for different arguments
/// have the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFunction {
    /// The numbers of the parameters that it takes, in the order in which it takes them.
    pub parameters: Vec<usize>,
    signature: String,
    body: String,
}

impl DeviceFunction {
    /// The function with a name, and attributes as text.
    pub fn define(&self, name: &str, attributes: &str) -> String {
        let Self { signature, body, .. } = self;
        format!(
            "gpu.func @{name}({signature}) kernel attributes {{{attributes}}} {{\n{body}  gpu.return\n}}\n"
        )
    }

    /// What tells it from functions that do something else: all but the locations of its operations.
    pub fn key(&self) -> String {
        let lines = self.body.lines().map(|line| line.split_once(" loc(").map_or(line, |(op, _)| op));
        std::iter::once(self.signature.as_str()).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

impl Code {
    /// Writes a function without results. `linkage` is `internal` or `external`.
    pub fn function(
        name: &str,
        linkage: &str,
        arguments: &[Type],
        body: impl FnOnce(&mut Code, &[Value]),
    ) -> String {
        let (mut code, values) = Self::with_arguments(arguments);
        let list: Vec<String> = values.iter().map(|v| format!("{v}: {}", v.ty)).collect();
        body(&mut code, &values);
        format!("llvm.func {linkage} @{name}({}) {{\n{}  llvm.return\n}}\n", list.join(", "), code.text)
    }

    /// Writes a function that a device runs in each thread. What the body returns is returned too.
    pub fn device_function<R>(body: impl FnOnce(&mut Code) -> R) -> (DeviceFunction, R) {
        let (mut code, _) = Self::with_arguments(&[]);
        let result = body(&mut code);
        let signature = code.parameters.iter().map(|(_, value, attributes)| match *attributes {
            "" => format!("{value}: {}", value.ty),
            attributes => format!("{value}: {} {{{attributes}}}", value.ty),
        });
        let signature = signature.collect::<Vec<_>>().join(", ");
        let parameters = code.parameters.iter().map(|(number, ..)| *number).collect();
        (DeviceFunction { parameters, signature, body: code.head + &code.text }, result)
    }

    fn with_arguments(types: &[Type]) -> (Self, Vec<Value>) {
        let mut code = Code {
            head: String::new(),
            text: String::new(),
            next: 0,
            indent: 1,
            location: String::new(),
            parameters: Vec::new(),
        };
        let values = types.iter().map(|&ty| code.fresh(ty)).collect();
        (code, values)
    }

    /// The parameter of a device function with this number. It takes those that are asked for.
    pub fn parameter(&mut self, number: usize, ty: Type, attributes: &'static str) -> Value {
        if let Some((_, value, _)) = self.parameters.iter().find(|(known, ..)| *known == number) {
            return *value;
        }
        let value = self.fresh(ty);
        self.parameters.push((number, value, attributes));
        value
    }

    /// A 64-bit number that is [defined](Self::define) later.
    pub fn promise(&mut self) -> Value {
        self.fresh(Type::Long)
    }

    /// Says what a promised number is.
    pub fn define(&mut self, promised: Value, number: i64) {
        let _ = writeln!(self.head, "  {promised} = arith.constant {number} : i64");
    }

    /// Gives what is written from now on a location: its text `loc(...)`, or nothing. Returns the one before.
    pub fn locate(&mut self, location: &str) -> String {
        std::mem::replace(&mut self.location, location.to_string())
    }

    fn fresh(&mut self, ty: Type) -> Value {
        let id = self.next;
        self.next += 1;
        Value { id, ty }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        for _ in 0..self.indent {
            self.text.push_str("  ");
        }
        let _ = self.text.write_fmt(text);
        self.text.push('\n');
    }

    fn op(&mut self, ty: Type, text: fmt::Arguments<'_>) -> Value {
        let value = self.fresh(ty);
        self.located(format_args!("{value} = {text}"));
        value
    }

    /// A line that is one operation.
    fn located(&mut self, text: fmt::Arguments<'_>) {
        if self.location.is_empty() {
            self.line(text);
        } else {
            let location = std::mem::take(&mut self.location);
            self.line(format_args!("{text} {location}"));
            self.location = location;
        }
    }

    fn binary(&mut self, op: &str, a: Value, b: Value) -> Value {
        debug_assert_eq!(a.ty, b.ty, "operands of {op}");
        self.op(a.ty, format_args!("arith.{op} {a}, {b} : {}", a.ty))
    }

    /// An integer, or a vector with this integer in each lane.
    pub fn constant(&mut self, ty: Type, value: i64) -> Value {
        match ty {
            Type::Words(_) | Type::Longs(_) => {
                self.op(ty, format_args!("arith.constant dense<{value}> : {ty}"))
            }
            _ => self.op(ty, format_args!("arith.constant {value} : {ty}")),
        }
    }

    /// a + b, wrapping.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.binary("addi", a, b)
    }

    /// a - b, wrapping.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.binary("subi", a, b)
    }

    /// a * b, wrapping.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary("muli", a, b)
    }

    /// The smaller as unsigned numbers.
    pub fn min(&mut self, a: Value, b: Value) -> Value {
        self.binary("minui", a, b)
    }

    /// Bitwise and.
    pub fn and(&mut self, a: Value, b: Value) -> Value {
        self.binary("andi", a, b)
    }

    /// Bitwise or.
    pub fn or(&mut self, a: Value, b: Value) -> Value {
        self.binary("ori", a, b)
    }

    /// a / b, unsigned.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.binary("divui", a, b)
    }

    /// a mod b, unsigned.
    pub fn rem(&mut self, a: Value, b: Value) -> Value {
        self.binary("remui", a, b)
    }

    /// Shifts right by a constant, filling with zeros.
    pub fn shift_right(&mut self, a: Value, by: i64) -> Value {
        let by = self.constant(a.ty, by);
        self.binary("shrui", a, by)
    }

    /// Shifts left by a constant.
    pub fn shift_left(&mut self, a: Value, by: i64) -> Value {
        let by = self.constant(a.ty, by);
        self.binary("shli", a, by)
    }

    /// Shifts right by a constant, filling with the sign.
    pub fn shift_right_signed(&mut self, a: Value, by: i64) -> Value {
        let by = self.constant(a.ty, by);
        self.binary("shrsi", a, by)
    }

    /// a < b as unsigned numbers.
    pub fn less(&mut self, a: Value, b: Value) -> Value {
        self.op(Type::Bit, format_args!("arith.cmpi ult, {a}, {b} : {}", a.ty))
    }

    /// In each lane, or of one word, `then` where a > b as signed numbers, else `otherwise`.
    pub fn select_above(&mut self, a: Value, b: Value, then: Value, otherwise: Value) -> Value {
        let above = self.fresh(a.ty);
        self.located(format_args!("{above} = arith.cmpi sgt, {a}, {b} : {}", a.ty));
        let condition = match a.ty {
            Type::Words(lanes) => format!("vector<{lanes}xi1>, "),
            _ => String::new(),
        };
        self.op(then.ty, format_args!("arith.select {above}, {then}, {otherwise} : {condition}{}", then.ty))
    }

    /// A word as a 64-bit integer, sign-extended.
    pub fn extend_signed(&mut self, a: Value) -> Value {
        self.op(Type::Long, format_args!("arith.extsi {a} : i32 to i64"))
    }

    /// a word as a 64-bit integer.
    pub fn extend(&mut self, a: Value) -> Value {
        self.op(Type::Long, format_args!("arith.extui {a} : i32 to i64"))
    }

    /// The low word of a 64-bit integer.
    pub fn truncate(&mut self, a: Value) -> Value {
        self.op(Type::Word, format_args!("arith.trunci {a} : i64 to i32"))
    }

    /// A vector with this scalar in each lane.
    pub fn broadcast(&mut self, a: Value, lanes: usize) -> Value {
        let ty = if a.ty == Type::Long { Type::Longs(lanes) } else { Type::Words(lanes) };
        self.op(ty, format_args!("vector.broadcast {a} : {} to {ty}", a.ty))
    }

    /// The same bits as another vector type.
    pub fn bitcast(&mut self, a: Value, ty: Type) -> Value {
        if a.ty == ty { a } else { self.op(ty, format_args!("vector.bitcast {a} : {} to {ty}", a.ty)) }
    }

    /// Lanes of the concatenation of two vectors.
    pub fn shuffle(&mut self, a: Value, b: Value, lanes: &[usize]) -> Value {
        let ty = match a.ty {
            Type::Longs(_) => Type::Longs(lanes.len()),
            _ => Type::Words(lanes.len()),
        };
        self.op(ty, format_args!("vector.shuffle {a}, {b} {lanes:?} : {}, {}", a.ty, b.ty))
    }

    /// One lane.
    pub fn extract(&mut self, a: Value, lane: usize) -> Value {
        let ty = if matches!(a.ty, Type::Longs(_)) { Type::Long } else { Type::Word };
        self.op(ty, format_args!("vector.extract {a}[{lane}] : {ty} from {}", a.ty))
    }

    /// Lane `i` of the result is the lane of `a` whose number is lane `i` of `places`; one instruction where there is
    /// one.
    pub fn exchange_lanes(&mut self, a: Value, places: Value) -> Value {
        let Type::Words(lanes) = a.ty else { unreachable!("lanes of words are exchanged") };
        let mut result = self.constant(a.ty, 0);
        for lane in 0..lanes {
            let place = self.extract(places, lane);
            let word = self.op(Type::Word, format_args!("llvm.extractelement {a}[{place} : i32] : {}", a.ty));
            result = self.insert(word, result, lane);
        }
        result
    }

    /// The lanes of several vectors of words, a power of two of them, one vector after the other.
    pub fn concatenate(&mut self, parts: &[Value]) -> Value {
        match parts {
            [one] => *one,
            _ => {
                let (low, high) = parts.split_at(parts.len() / 2);
                let (low, high) = (self.concatenate(low), self.concatenate(high));
                let Type::Words(lanes) = low.ty else { unreachable!("vectors of words are concatenated") };
                let all: Vec<usize> = (0..2 * lanes).collect();
                self.shuffle(low, high, &all)
            }
        }
    }

    /// A vector with one lane replaced.
    fn insert(&mut self, scalar: Value, into: Value, lane: usize) -> Value {
        self.op(
            into.ty,
            format_args!("vector.insert {scalar}, {into} [{lane}] : {} into {}", scalar.ty, into.ty),
        )
    }

    /// The address of word `index` of `base`.
    pub fn word_at(&mut self, base: Value, index: Value) -> Value {
        let ty = base.ty;
        self.op(ty, format_args!("llvm.getelementptr {base}[{index}] : ({ty}, {}) -> {ty}, i32", index.ty))
    }

    /// The address of word `offset` of `base`.
    pub fn word_after(&mut self, base: Value, offset: usize) -> Value {
        if offset == 0 {
            return base;
        }
        let ty = base.ty;
        self.op(ty, format_args!("llvm.getelementptr inbounds {base}[{offset}] : ({ty}) -> {ty}, i32"))
    }

    /// The address of the 64-bit integer `index` of `base`.
    pub fn long_at(&mut self, base: Value, index: Value) -> Value {
        self.op(
            Type::Pointer,
            format_args!("llvm.getelementptr {base}[{index}] : (!llvm.ptr, i64) -> !llvm.ptr, i64"),
        )
    }

    /// The address of a global; the type says of which memory.
    pub fn global(&mut self, name: &str, ty: Type) -> Value {
        self.op(ty, format_args!("llvm.mlir.addressof @{name} : {ty}"))
    }

    /// Reads a value of this type. On a CPU vectors may lie at any multiple of a word, on a device at multiples of
    /// their size.
    pub fn load(&mut self, pointer: Value, ty: Type) -> Value {
        let (alignment, from) = (alignment(ty, pointer.ty), pointer.ty);
        self.op(ty, format_args!("llvm.load {pointer} {{alignment = {alignment} : i64}} : {from} -> {ty}"))
    }

    /// The same from memory that does not change while the function runs.
    pub fn load_constant(&mut self, pointer: Value, ty: Type) -> Value {
        let (alignment, from) = (alignment(ty, pointer.ty), pointer.ty);
        self.op(
            ty,
            format_args!("llvm.load {pointer} invariant {{alignment = {alignment} : i64}} : {from} -> {ty}"),
        )
    }

    /// Writes a value, see [`Code::load`].
    pub fn store(&mut self, value: Value, pointer: Value) {
        let (alignment, ty, to) = (alignment(value.ty, pointer.ty), value.ty, pointer.ty);
        self.located(format_args!(
            "llvm.store {value}, {pointer} {{alignment = {alignment} : i64}} : {ty}, {to}"
        ));
    }

    /// A vector of words, or the only word.
    pub fn pack(&mut self, words: &[Value]) -> Value {
        match words {
            [one] => *one,
            _ => {
                let ty = Type::Words(words.len());
                let list: Vec<String> = words.iter().map(Value::to_string).collect();
                self.op(ty, format_args!("vector.from_elements {} : {ty}", list.join(", ")))
            }
        }
    }

    /// The words of a vector, or the only word.
    pub fn unpack(&mut self, words: Value) -> Vec<Value> {
        match words.ty {
            Type::Words(lanes) => (0..lanes).map(|lane| self.extract(words, lane)).collect(),
            _ => vec![words],
        }
    }

    /// The number of the thread in its block.
    pub fn thread(&mut self) -> Value {
        self.number("thread_id x")
    }

    /// The number of the block in a direction: x, y or z.
    pub fn block(&mut self, direction: char) -> Value {
        match direction {
            'x' => self.number("block_id x"),
            'y' => self.number("block_id y"),
            _ => self.number("block_id z"),
        }
    }

    fn number(&mut self, what: &str) -> Value {
        let id = self.fresh(Type::Long);
        self.line(format_args!("{id} = gpu.{what}"));
        self.op(Type::Word, format_args!("arith.index_cast {id} : index to i32"))
    }

    /// Waits for all threads of the block.
    pub fn barrier(&mut self) {
        self.located(format_args!("gpu.barrier"));
    }

    /// Calls a function without results.
    pub fn call(&mut self, name: &str, arguments: &[Value]) {
        let values: Vec<String> = arguments.iter().map(Value::to_string).collect();
        let types: Vec<String> = arguments.iter().map(|v| v.ty.to_string()).collect();
        self.line(format_args!("llvm.call @{name}({}) : ({}) -> ()", values.join(", "), types.join(", ")));
    }

    /// A loop over `from, from + step ..` below `to`.
    pub fn repeat(&mut self, from: Value, to: Value, step: i64, body: impl FnOnce(&mut Code, Value)) {
        self.repeat_with(from, to, step, &[], |code, index, _| {
            body(code, index);
            Vec::new()
        });
    }

    /// A loop that carries values from one round to the next; returns the last ones.
    pub fn repeat_with(
        &mut self,
        from: Value,
        to: Value,
        step: i64,
        initial: &[Value],
        body: impl FnOnce(&mut Code, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let step = self.constant(Type::Long, step);
        let results: Vec<Value> = initial.iter().map(|v| self.fresh(v.ty)).collect();
        let index = self.fresh(Type::Long);
        let carried: Vec<Value> = initial.iter().map(|v| self.fresh(v.ty)).collect();
        let types: Vec<String> = initial.iter().map(|v| v.ty.to_string()).collect();
        if initial.is_empty() {
            self.line(format_args!("scf.for {index} = {from} to {to} step {step} : i64 {{"));
        } else {
            // Results of one operation are named one by one through a group.
            let names: Vec<String> = results.iter().map(Value::to_string).collect();
            let starts: Vec<String> =
                carried.iter().zip(initial).map(|(c, i)| format!("{c} = {i}")).collect();
            self.line(format_args!(
                "{} = scf.for {index} = {from} to {to} step {step} iter_args({}) -> ({}) : i64 {{",
                names.join(", "),
                starts.join(", "),
                types.join(", ")
            ));
        }
        self.indent += 1;
        let next = body(self, index, &carried);
        if !initial.is_empty() {
            let names: Vec<String> = next.iter().map(Value::to_string).collect();
            self.line(format_args!("scf.yield {} : {}", names.join(", "), types.join(", ")));
        }
        self.indent -= 1;
        self.line(format_args!("}}"));
        results
    }

    /// Runs one of two blocks.
    pub fn branch(&mut self, on: Value, then: impl FnOnce(&mut Code), otherwise: impl FnOnce(&mut Code)) {
        self.line(format_args!("scf.if {on} {{"));
        self.indent += 1;
        then(self);
        self.indent -= 1;
        self.line(format_args!("}} else {{"));
        self.indent += 1;
        otherwise(self);
        self.indent -= 1;
        self.line(format_args!("}}"));
    }
}

fn alignment(ty: Type, memory: Type) -> usize {
    match ty {
        Type::Bit => 1,
        Type::Words(lanes) if memory != Type::Pointer => 4 * lanes,
        Type::Word | Type::Words(_) => 4,
        _ => 8,
    }
}
