//! Random legal programs of the dialect, for tests that compare two meanings of one program.
//!
//! A program is text: tables of every kind, and one function `@main` of dense and sparse polynomials, with straight code of
//! all ops and loops over the tables. It is for parameters of at least [`PRIMES`] primes `q` in digits of two, and of two
//! special primes. The same seed gives the same program.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// Primes `q` that programs use.
pub const PRIMES: u32 = 4;

/// A value's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Type {
    /// Its primes `q`, as a range.
    q: (u32, u32),
    /// Its special primes.
    p: u32,
    eval: bool,
    /// 0 for dense polynomials.
    period: u32,
}

impl Type {
    const LEVEL: Type = Type { q: (0, PRIMES), p: 0, eval: true, period: 0 };
    const KEY: Type = Type { p: 2, ..Type::LEVEL };

    fn limbs(self) -> u32 {
        self.q.1 - self.q.0 + self.p
    }

    fn text(self) -> String {
        let q = (self.q.0 < self.q.1).then(|| format!("q[{}:{}]", self.q.0, self.q.1));
        let p = (self.p > 0).then(|| format!("p[0:{}]", self.p));
        let basis = [q, p].into_iter().flatten().collect::<Vec<_>>().join("+");
        let form = if self.eval { "eval" } else { "coeff" };
        match self.period {
            0 => format!("!poly.rns<{basis}, {form}>"),
            period => format!("!poly.rns<{basis}, {form}, period = {period}>"),
        }
    }

    /// Dense, in evaluation form, with the primes of a whole level.
    fn is_level(self) -> bool {
        self == Type { q: (0, self.q.1), p: 0, eval: true, period: 0 }
    }
}

#[derive(Clone, Debug)]
struct Value {
    name: String,
    ty: Type,
}

/// What programs look like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The ring degree, at least 16.
    pub n: usize,
    /// The number of ops outside loops.
    pub ops: usize,
    /// The number of loops.
    pub loops: usize,
}

/// The text of a random program.
pub fn program(seed: u64, shape: Shape) -> String {
    let random = ChaCha8Rng::seed_from_u64(seed);
    Generator { random, shape, text: String::new(), values: Vec::new(), next: 0 }.program()
}

struct Generator {
    random: ChaCha8Rng,
    shape: Shape,
    text: String,
    values: Vec<Value>,
    next: usize,
}

impl Generator {
    fn program(mut self) -> String {
        let (level, key) = (Type::LEVEL.text(), Type::KEY.text());
        let (short, whole) = (self.shape.n as u32 / 4, self.shape.n as u32 / 2);
        let sparse = |period| Type { period, ..Type::LEVEL }.text();
        let element = |g: &mut Self| 2 * g.random.random_range(0..g.shape.n) + 1;
        let elements: Vec<String> = (0..3).map(|_| element(&mut self).to_string()).collect();
        let elements = elements.join(", ");
        let mut module = format!(
            "poly.table galois @steps [{elements}] : index\n\
             poly.table index @order [2, 0, 1] : index\n\
             poly.table index @choice [0, 1, 1, 0, 1] : index\n\
             poly.table galois_key @keys [{elements}] : tensor<2x2x{key}>\n\
             poly.table relin_key @relin [] : tensor<2x2x{key}>\n\
             poly.table plaintext @mask [0, 1, 2] from @source scale \"S(1)\" : {}\n\
             poly.table diagonals @diagonals [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0] from @source scale \
             \"S(1)\" : {}\n",
            sparse(short),
            Type { period: whole, ..Type::KEY }.text(),
        );
        for (name, ty) in [
            ("%a", level.clone()),
            ("%b", level.clone()),
            ("%k", key.clone()),
            ("%s", sparse(short)),
            ("%t", sparse(whole)),
        ] {
            let period = if name == "%s" {
                short
            } else if name == "%t" {
                whole
            } else {
                0
            };
            let own = Type { period, ..if ty == key { Type::KEY } else { Type::LEVEL } };
            self.values.push(Value { name: name.into(), ty: own });
        }
        let _ = writeln!(self.text, "  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index");
        let _ = writeln!(self.text, "  %c3 = arith.constant 3 : index\n  %c5 = arith.constant 5 : index");
        let every = self.shape.ops / (self.shape.loops + 1) + 1;
        for op in 1..=self.shape.ops {
            self.op();
            if op % every == 0 {
                self.repeat();
            }
        }
        let dense: Vec<Value> =
            self.values.iter().rev().filter(|v| v.ty.period == 0).take(5).cloned().collect();
        let types = dense.iter().map(|v| v.ty.text()).collect::<Vec<_>>().join(", ");
        let names = dense.iter().map(|v| v.name.clone()).collect::<Vec<_>>().join(", ");
        let (s, t) = (sparse(short), sparse(whole));
        let _ = write!(
            module,
            "func.func @main(%a: {level}, %b: {level}, %k: {key}, %s: {s}, %t: {t}) -> ({types}) {{\n{}",
            self.text
        );
        let _ = writeln!(module, "  return {names} : {types}\n}}");
        module
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    /// A new value that an op defines.
    fn define(&mut self, ty: Type, op: &str) -> Value {
        let value = Value { name: self.fresh(), ty };
        let _ = writeln!(self.text, "  {} = {op}", value.name);
        self.values.push(value.clone());
        value
    }

    /// A value of such a type, later ones more often.
    fn pick(&mut self, fits: impl Fn(Type) -> bool) -> Option<Value> {
        let fit: Vec<Value> = self.values.iter().filter(|v| fits(v.ty)).cloned().collect();
        let recent = if self.random.random_bool(0.6) { fit.len().saturating_sub(5) } else { 0 };
        fit[recent..].choose(&mut self.random).cloned()
    }

    fn constants(&mut self, ty: Type) -> String {
        let all: Vec<String> =
            (0..ty.limbs()).map(|_| self.random.random_range(0..1_000_000u32).to_string()).collect();
        all.join(", ")
    }

    fn op(&mut self) {
        let made = match self.random.random_range(0..21) {
            0..=2 => self.binary("add", false),
            3 => self.binary("sub", false),
            4..=6 => self.binary("mul", true),
            7 => self.mac(),
            8 => self.unary("neg", |ty| ty.period == 0),
            9 => self.with_constants("mul_const", |_| true),
            10 => self.with_constants("add_const", |ty| ty.eval),
            11 => self.transform(),
            12 => self.automorphism(),
            13 => self.extract(),
            14 => self.bconv(),
            15 => self.change("scale_up", |ty| ty.is_level(), |_, ty| Type { p: 2, ..ty }),
            16 => self.change(
                "mod_down",
                |ty| ty.p == 2 && ty.q.0 == 0 && ty.q.1 > 0,
                |_, ty| Type { p: 0, ..ty },
            ),
            17 => self.change(
                "rescale",
                |ty| ty.p == 0 && ty.q.1 > ty.q.0 + 1,
                |_, ty| Type { q: (ty.q.0, ty.q.1 - 1), ..ty },
            ),
            18 => self.switch(),
            19 => Some(self.define(Type::LEVEL, &format!("poly.zero : {}", Type::LEVEL.text()))),
            _ => self.weighted_sum(),
        };
        // Where no value fits there is always a sum.
        if made.is_none() {
            self.binary("add", false);
        }
    }

    fn binary(&mut self, op: &str, eval: bool) -> Option<Value> {
        let a = self.pick(|ty| ty.eval || !eval)?;
        let same = |ty: Type| Type { period: 0, ..ty } == Type { period: 0, ..a.ty };
        let b = self.pick(same)?;
        let wider =
            if a.ty.period == 0 || (b.ty.period != 0 && a.ty.period >= b.ty.period) { a.ty } else { b.ty };
        let text = format!("poly.{op} {}, {} : {}, {}", a.name, b.name, a.ty.text(), b.ty.text());
        Some(self.define(wider, &text))
    }

    fn mac(&mut self) -> Option<Value> {
        let sum = self.pick(|ty| ty.eval && ty.period == 0)?;
        let same = |ty: Type| Type { period: 0, ..ty } == sum.ty;
        let (a, b) = (self.pick(same)?, self.pick(same)?);
        let types = format!("{}, {}, {}", sum.ty.text(), a.ty.text(), b.ty.text());
        let text = format!("poly.mac {}, {}, {} : {types}", sum.name, a.name, b.name);
        Some(self.define(sum.ty, &text))
    }

    fn unary(&mut self, op: &str, fits: impl Fn(Type) -> bool) -> Option<Value> {
        let a = self.pick(fits)?;
        Some(self.define(a.ty, &format!("poly.{op} {} : {}", a.name, a.ty.text())))
    }

    fn with_constants(&mut self, op: &str, fits: impl Fn(Type) -> bool) -> Option<Value> {
        let a = self.pick(|ty| ty.period == 0 && fits(ty))?;
        let constants = self.constants(a.ty);
        Some(self.define(a.ty, &format!("poly.{op} {} [{constants}] : {}", a.name, a.ty.text())))
    }

    fn transform(&mut self) -> Option<Value> {
        let a = self.pick(|ty| ty.period == 0)?;
        let op = if a.ty.eval { "intt" } else { "ntt" };
        let ty = Type { eval: !a.ty.eval, ..a.ty };
        Some(self.define(ty, &format!("poly.{op} {} : {}", a.name, a.ty.text())))
    }

    fn automorphism(&mut self) -> Option<Value> {
        let a = self.pick(|ty| ty.period == 0 && ty.eval)?;
        let g = self.fresh();
        let place = ["%c0", "%c1"].choose(&mut self.random)?;
        let _ = writeln!(self.text, "  {g} = poly.at @steps[{place}] : index");
        Some(self.define(a.ty, &format!("poly.automorphism {}, {g} : {}", a.name, a.ty.text())))
    }

    fn change(
        &mut self,
        op: &str,
        fits: impl Fn(Type) -> bool,
        to: impl Fn(&mut Self, Type) -> Type,
    ) -> Option<Value> {
        let a = self.pick(|ty| ty.period == 0 && ty.eval && fits(ty))?;
        let ty = to(self, a.ty);
        Some(self.define(ty, &format!("poly.{op} {} : {} -> {}", a.name, a.ty.text(), ty.text())))
    }

    fn extract(&mut self) -> Option<Value> {
        let part = |g: &mut Self, ty: Type| {
            let from = g.random.random_range(ty.q.0..ty.q.1);
            Type { q: (from, g.random.random_range(from + 1..=ty.q.1)), p: 0, ..ty }
        };
        self.change("extract_limbs", |ty| ty.q.1 > ty.q.0 + 1, part)
    }

    /// A conversion to the special primes, and the limbs of both together.
    fn bconv(&mut self) -> Option<Value> {
        let a = self.pick(|ty| !ty.eval && ty.period == 0 && ty.p == 0)?;
        let to = Type { q: (0, 0), p: 2, ..a.ty };
        let prescaled = if self.random.random_bool(0.3) { "prescaled " } else { "" };
        let text = format!("poly.bconv {prescaled}{} : {} -> {}", a.name, a.ty.text(), to.text());
        let b = self.define(to, &text);
        let both = Type { p: 2, ..a.ty };
        let text = format!("poly.concat_limbs {}, {} : {}, {}", a.name, b.name, a.ty.text(), to.text());
        Some(self.define(both, &text))
    }

    /// The raised digits of a polynomial, as a tensor.
    fn digits(&mut self) -> Option<String> {
        let a = self.pick(|ty| ty == Type::LEVEL)?;
        let (d, tensor) = (self.fresh(), self.fresh());
        let digit = |q| Type { q, ..Type::LEVEL }.text();
        let (first, second, key) = (digit((0, 2)), digit((2, 4)), Type::KEY.text());
        let _ =
            writeln!(self.text, "  {d}:2 = poly.decompose {} : {} -> {first}, {second}", a.name, a.ty.text());
        let mut raised = Vec::new();
        for (place, ty) in [first, second].iter().enumerate() {
            raised.push(self.define(Type::KEY, &format!("poly.mod_up {d}#{place} : {ty} -> {key}")).name);
        }
        let _ =
            writeln!(self.text, "  {tensor} = tensor.from_elements {} : tensor<2x{key}>", raised.join(", "));
        Some(tensor)
    }

    /// A key switch up to its mod-down.
    fn switch(&mut self) -> Option<Value> {
        let digits = self.digits()?;
        let (at, pair, key) = (self.fresh(), self.fresh(), Type::KEY.text());
        let table = if self.random.random_bool(0.5) { "@relin[%c0]" } else { "@keys[%c1]" };
        let _ = writeln!(self.text, "  {at} = poly.at {table} : tensor<2x2x{key}>");
        let _ = writeln!(
            self.text,
            "  {pair}:2 = poly.inner_product {digits}, {at} : tensor<2x{key}>, tensor<2x2x{key}>"
        );
        let down = |part| format!("poly.mod_down {pair}#{part} : {key} -> {}", Type::LEVEL.text());
        self.values.push(Value { name: format!("{pair}#0"), ty: Type::KEY });
        Some(self.define(Type::LEVEL, &down(1)))
    }

    fn weighted_sum(&mut self) -> Option<Value> {
        let four: Vec<String> =
            (0..4).filter_map(|_| self.pick(|ty| ty == Type::KEY)).map(|v| v.name).collect();
        let (values, sums, key) = (self.fresh(), self.fresh(), Type::KEY.text());
        let (low, high) = [("%c0", "%c5"), ("%c1", "%c3"), ("%c3", "%c3")].choose(&mut self.random)?;
        let _ =
            writeln!(self.text, "  {values} = tensor.from_elements {} : tensor<2x2x{key}>", four.join(", "));
        let _ = writeln!(
            self.text,
            "  {sums}:2 = poly.weighted_sum {values}, @diagonals[{low} to {high}] by @choice : tensor<2x2x{key}>"
        );
        self.values.push(Value { name: format!("{sums}#0"), ty: Type::KEY });
        let value = Value { name: format!("{sums}#1"), ty: Type::KEY };
        self.values.push(value.clone());
        Some(value)
    }

    /// A loop over the tables: rotations of a polynomial's digits times keys and masks, summed, with values that swap places.
    fn repeat(&mut self) -> Option<()> {
        let digits = self.digits()?;
        let (a, b) = (self.pick(|ty| ty == Type::LEVEL)?.name, self.pick(|ty| ty == Type::LEVEL)?.name);
        let (level, key) = (Type::LEVEL.text(), Type::KEY.text());
        let mask = Type { period: self.shape.n as u32 / 4, ..Type::LEVEL }.text();
        let (result, i) = (self.fresh(), self.next);
        let swap = self.random.random_bool(0.5);
        let (first, second) = if swap { ("q", "p") } else { ("p", "q") };
        let _ = write!(
            self.text,
            "  {result}:2 = scf.for %i{i} = %c0 to %c3 step %c1 iter_args(%p{i} = {a}, %q{i} = {b}) -> ({level}, {level}) {{
    %o{i} = poly.at @order[%i{i}] : index
    %g{i} = poly.at @steps[%o{i}] : index
    %key{i} = poly.at @keys[%o{i}] : tensor<2x2x{key}>
    %mask{i} = poly.at @mask[%i{i}] : {mask}
    %d{i} = poly.automorphism {digits}, %g{i} : tensor<2x{key}>
    %x{i}:2 = poly.inner_product %d{i}, %key{i} : tensor<2x{key}>, tensor<2x2x{key}>
    %y{i} = poly.mod_down %x{i}#0 : {key} -> {level}
    %z{i} = poly.mod_down %x{i}#1 : {key} -> {level}
    %r{i} = poly.automorphism %p{i}, %g{i} : {level}
    %m{i} = poly.mac %r{i}, %y{i}, %mask{i} : {level}, {level}, {mask}
    %n{i} = poly.sub %q{i}, %z{i} : {level}, {level}
    %e0{i} = poly.add %{first}{i}, %m{i} : {level}, {level}
    %e1{i} = poly.mul %{second}{i}, %n{i} : {level}, {level}
    scf.yield %e0{i}, %e1{i} : {level}, {level}
  }}
"
        );
        for part in 0..2 {
            self.values.push(Value { name: format!("{result}#{part}"), ty: Type::LEVEL });
        }
        Some(())
    }
}
