//! Random legal programs of the dialect, for tests that compare two meanings of one program.
//!
//! A program is text: unplaced, one function `@main`, values that stay of moderate size, every op of the
//! unplaced dialect but `eval_poly` of high degree. The same seed gives the same program.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// What programs look like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The number of slots of matrices.
    pub slots: usize,
    /// The number of arguments.
    pub inputs: usize,
    /// The number of ops.
    pub ops: usize,
    /// The largest number of products on a path.
    pub depth: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { slots: 8, inputs: 2, ops: 14, depth: 6 }
    }
}

/// A ciphertext of the program.
#[derive(Clone)]
struct Ct {
    name: String,
    size: u32,
    depth: u32,
}

impl Ct {
    fn ty(&self) -> String {
        if self.size == 2 { "!ckks.ct<?>".into() } else { format!("!ckks.ct<?, {}>", self.size) }
    }
}

/// The text of a random unplaced program.
pub fn program(seed: u64, shape: Shape) -> String {
    Generator {
        random: ChaCha8Rng::seed_from_u64(seed),
        shape,
        text: String::new(),
        values: Vec::new(),
        next: 0,
    }
    .program()
}

struct Generator {
    random: ChaCha8Rng,
    shape: Shape,
    text: String,
    values: Vec<Ct>,
    next: usize,
}

impl Generator {
    fn program(mut self) -> String {
        let mut module = self.symbols();
        let arguments: Vec<String> = (0..self.shape.inputs).map(|i| format!("%x{i}: !ckks.ct<?>")).collect();
        for i in 0..self.shape.inputs {
            self.values.push(Ct { name: format!("%x{i}"), size: 2, depth: 0 });
        }
        for _ in 0..self.shape.ops {
            self.op();
        }
        // The last values are returned, so that most of the program is alive.
        let results: Vec<Ct> = self.values.iter().rev().take(3).cloned().collect();
        let types: Vec<String> = results.iter().map(Ct::ty).collect();
        let names: Vec<&str> = results.iter().map(|r| r.name.as_str()).collect();
        let types = types.join(", ");
        let _ = writeln!(module, "func.func @main({}) -> ({types}) {{", arguments.join(", "));
        module += &self.text;
        let _ = writeln!(module, "  return {} : {types}\n}}", names.join(", "));
        module
    }

    fn number(&mut self) -> f64 {
        f64::from(self.random.random_range(-64..=64)) / 64.0
    }

    fn symbols(&mut self) -> String {
        let slots = self.shape.slots;
        let mut list = |count: usize| {
            let numbers: Vec<String> = (0..count).map(|_| format!("{:?}", self.number() / 2.0)).collect();
            format!("array<f64: {}>", numbers.join(", "))
        };
        let period = slots / 2;
        let (a, b, c) = (list(period), list(period), list(period));
        let (d, e, f) = (list(slots), list(slots), list(1));
        format!(
            "ckks.matrix @one {{slots = {slots}, inputs = 1, outputs = 1, period = {period}, \
             split = array<i64: 2, 0>, diagonals = [array<i64: -1, 0, 3>], values = [{a}, {b}, {c}]}}\n\
             ckks.matrix @two {{slots = {slots}, inputs = 2, outputs = 2, period = {slots}, \
             diagonals = [array<i64: 0>, array<i64>, array<i64>, array<i64: 1>], values = [{d}, {e}]}}\n\
             ckks.vector @v {{parts = 2, values = [{d}, {f}]}}\n"
        )
    }

    /// A value of at most this depth, later ones more often.
    fn pick(&mut self, depth: u32) -> Ct {
        let fit: Vec<&Ct> = self.values.iter().filter(|v| v.depth <= depth).collect();
        let recent = fit.len().saturating_sub(4);
        let from = if self.random.random_bool(0.7) { &fit[recent..] } else { &fit[..] };
        from.choose(&mut self.random).map_or_else(|| self.values[0].clone(), |v| (**v).clone())
    }

    fn define(&mut self, size: u32, depth: u32, op: &str, ty: &str) {
        let name = format!("%v{}", self.next);
        self.next += 1;
        let _ = writeln!(self.text, "  {name} = {op} : {ty}");
        self.values.push(Ct { name, size, depth });
    }

    fn op(&mut self) {
        let product = self.shape.depth - 1;
        match self.random.random_range(0..14) {
            0 | 1 => self.sum("ckks.add"),
            2 => self.sum("ckks.sub"),
            3 | 4 => {
                let (a, b) = (self.pick(product), self.pick(product));
                let types = format!("{}, {}", a.ty(), b.ty());
                self.define(3, a.depth.max(b.depth) + 1, &format!("ckks.mul {}, {}", a.name, b.name), &types);
            }
            5 => {
                let a = self.pick(product);
                self.define(3, a.depth + 1, &format!("ckks.square {}", a.name), &a.ty());
            }
            6 | 7 => {
                let (a, c) = (self.pick(product), self.number());
                self.define(a.size, a.depth + 1, &format!("ckks.mul_const {}, {c:?}", a.name), &a.ty());
            }
            8 => {
                let (a, c) = (self.pick(u32::MAX), self.number());
                self.define(a.size, a.depth, &format!("ckks.add_const {}, {c:?}", a.name), &a.ty());
            }
            9 => {
                let (a, step) = (self.pick(u32::MAX), self.random.random_range(1..4));
                self.define(2, a.depth, &format!("ckks.rotate {} {{step = {step}}}", a.name), &a.ty());
            }
            10 => {
                let a = self.pick(u32::MAX);
                let op = if self.random.random_bool(0.5) { "ckks.negate" } else { "ckks.mul_int" };
                let op = if op == "ckks.negate" {
                    format!("{op} {}", a.name)
                } else {
                    format!("{op} {}, -1", a.name)
                };
                self.define(a.size, a.depth, &op, &a.ty());
            }
            11 => self.plain(),
            12 => {
                let a = self.pick(product);
                let ty = format!("({}) -> !ckks.ct<?>", a.ty());
                self.define(2, a.depth + 1, &format!("ckks.linear_transform @one({})", a.name), &ty);
            }
            _ => self.large(product),
        }
    }

    fn sum(&mut self, op: &str) {
        let (a, b) = (self.pick(u32::MAX), self.pick(u32::MAX));
        let types = format!("{}, {}", a.ty(), b.ty());
        let op = format!("{op} {}, {}", a.name, b.name);
        self.define(a.size.max(b.size), a.depth.max(b.depth), &op, &types);
    }

    fn plain(&mut self) {
        let multiply = self.random.random_bool(0.5);
        let a = self.pick(if multiply { self.shape.depth - 1 } else { u32::MAX });
        let plain = format!("%p{}", self.next);
        let part = self.random.random_range(0..2);
        let _ = writeln!(self.text, "  {plain} = ckks.encode @v[{part}] : !ckks.pt<?>");
        let op = if multiply { "ckks.mul_plain" } else { "ckks.add_plain" };
        let ty = format!("{}, !ckks.pt<?>", a.ty());
        self.define(a.size, a.depth + u32::from(multiply), &format!("{op} {}, {plain}", a.name), &ty);
    }

    /// Ops of several results or operands.
    fn large(&mut self, product: u32) {
        let name = format!("%v{}", self.next);
        self.next += 1;
        let (depth, op) = if self.random.random_bool(0.5) {
            let a = self.pick(u32::MAX);
            (a.depth, format!("ckks.hoisted_rotate {} [1, 2] : {}", a.name, a.ty()))
        } else {
            let (a, b) = (self.pick(product), self.pick(product));
            let types = format!("({}, {}) -> (!ckks.ct<?>, !ckks.ct<?>)", a.ty(), b.ty());
            let op = format!("ckks.linear_transform @two({}, {}) : {types}", a.name, b.name);
            (a.depth.max(b.depth) + 1, op)
        };
        let _ = writeln!(self.text, "  {name}:2 = {op}");
        for part in 0..2 {
            self.values.push(Ct { name: format!("{name}#{part}"), size: 2, depth });
        }
    }
}
