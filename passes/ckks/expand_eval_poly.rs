//! `ckks-expand-eval-poly`: polynomials in the Chebyshev basis become products and sums.
//!
//! Before: `ckks.eval_poly` on unplaced ciphertexts. After: none; a polynomial of degree d is at most
//! ceil(log2(d + 1)) products deep, the products with coefficients included.
//!
//! The method is Paterson and Stockmeyer's in the Chebyshev basis. With the giant step T_g, g a power of two,
//! `p = q T_g + r`, where `T_(g+i) = 2 T_g T_i - T_(g-i)` gives `q_0 = c_g`, `q_i = 2 c_(g+i)`, `r_(g-i) -= c_(g+i)`.
//! A part is written out as `sum c_i T_i` when its degree is below the baby bound and the depth left
//! allows for T_i and one more product; on the path that decides the depth parts are split further, down to
//! `c_0 + c_1 T_1`. Parts are functions of depth left and coefficients only, so every intermediate T_i is made once,
//! as shallow as possible: `T_m = 2 T_ceil(m/2) T_floor(m/2) - T_(m mod 2)`.

use super::ir::{erase, insert_before, name_of, ops_below, replace_uses};
use ceria_dialects::{
    bridge::pass::{OptionValues, PassDescriptor, PassError, PassOption},
    ckks::{attributes::floats, build::Build},
};
use melior::ir::{OperationRef, Value, ValueLike, operation::OperationLike};
use std::collections::BTreeMap;

/// The pass.
pub static PASS: PassDescriptor = PassDescriptor {
    argument: "ckks-expand-eval-poly",
    summary: "Write Chebyshev polynomials out as products and sums of least depth",
    description: "Replaces each `ckks.eval_poly` of degree d by baby and giant steps (Paterson and Stockmeyer in the \
        Chebyshev basis) that are ceil(log2(d + 1)) products deep. Coefficients below `drop-below` are left out.\n\n\
        ```mlir\n\
        %1 = ckks.eval_poly %0 [0.5, 0.25, 0.125] : !ckks.ct<?>\n\
        ```\n\
        becomes\n\
        ```mlir\n\
        %1 = ckks.square %0 : !ckks.ct<?>\n\
        %2 = ckks.mul_int %1, 2 : !ckks.ct<?, 3>\n\
        %3 = ckks.add_const %2, -1.0 : !ckks.ct<?, 3>\n\
        ...\n\
        ```",
    dependent_dialects: &["ckks"],
    options: &[PassOption::float("drop-below", 1e-12, "leave out coefficients whose size is below this")],
    create: || Box::new(run),
    ..PassDescriptor::FUNCTION
};

fn run(function: OperationRef<'_, '_>, options: &OptionValues) -> Result<(), PassError> {
    let drop_below = options.float("drop-below");
    for op in ops_below(function) {
        if name_of(op) == "ckks.eval_poly" {
            let mut coefficients = floats(op, "coefficients").map_err(|m| PassError::op(&op, m))?;
            for c in coefficients.iter_mut().skip(1).filter(|c| c.abs() < drop_below) {
                *c = 0.0;
            }
            let plan = Plan::cheapest(&coefficients);
            let mut value = Emitter::new(op)?.polynomial(&plan)?;
            // Users expect the operation's own type; the sums inside stay unrelinearised.
            if value.r#type() != op.result(0)?.r#type() {
                value = insert_before(op, Build::at(op.location()).op("ckks.relinearize", &[value], &[]))?;
            }
            replace_uses(op.result(0)?.into(), value);
            erase(op);
        }
    }
    Ok(())
}

/// The depth of a polynomial of this degree, products with coefficients included.
pub fn depth_of_degree(degree: usize) -> u32 {
    (degree + 1).next_power_of_two().trailing_zeros()
}

/// The depth of T_m.
fn depth_of_basis(m: usize) -> u32 {
    m.next_power_of_two().trailing_zeros()
}

/// How a polynomial is evaluated.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// `sum c_i T_i`; the first coefficient is the constant.
    Leaf(Vec<f64>),
    /// `quotient T_giant + rest`
    Split { giant: usize, quotient: Box<Plan>, rest: Box<Plan> },
}

fn degree(coefficients: &[f64]) -> usize {
    coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0)
}

impl Plan {
    /// The plan of least depth with the fewest products of ciphertexts, by trying every baby bound.
    fn cheapest(coefficients: &[f64]) -> Self {
        let degree = degree(coefficients);
        let depth = depth_of_degree(degree);
        let bounds = (1..=depth).map(|bits| 1usize << bits);
        let plans = bounds.map(|babies| Self::new(&coefficients[..=degree], depth, babies));
        let best = plans.min_by_key(|plan| (plan.products(), plan.terms()));
        best.unwrap_or_else(|| Plan::Leaf(coefficients[..1].to_vec()))
    }

    fn new(coefficients: &[f64], depth: u32, babies: usize) -> Self {
        let degree = degree(coefficients);
        let coefficients = &coefficients[..=degree];
        let used = |i: &usize| coefficients[*i] != 0.0;
        let basis = (1..=degree).filter(used).map(depth_of_basis).max().unwrap_or(0);
        if degree < 2 || (degree < babies && basis < depth) {
            return Plan::Leaf(coefficients.to_vec());
        }
        let giant = (degree + 1).next_power_of_two() / 2;
        let mut quotient = vec![0.0; degree - giant + 1];
        let mut rest = coefficients[..giant].to_vec();
        quotient[0] = coefficients[giant];
        for i in 1..=degree - giant {
            quotient[i] = 2.0 * coefficients[giant + i];
            rest[giant - i] -= coefficients[giant + i];
        }
        Plan::Split {
            giant,
            quotient: Box::new(Self::new(&quotient, depth - 1, babies)),
            rest: Box::new(Self::new(&rest, depth, babies)),
        }
    }

    /// The basis polynomials that the plan uses.
    fn basis(&self, used: &mut BTreeMap<usize, ()>) {
        match self {
            Plan::Leaf(coefficients) => {
                (1..coefficients.len()).filter(|i| coefficients[*i] != 0.0).for_each(|i| need(i, used))
            }
            Plan::Split { giant, quotient, rest } => {
                need(*giant, used);
                quotient.basis(used);
                rest.basis(used);
            }
        }
    }

    fn splits(&self) -> usize {
        match self {
            Plan::Leaf(_) => 0,
            // A constant quotient is a product with a number.
            Plan::Split { quotient, rest, .. } => {
                usize::from(!matches!(&**quotient, Plan::Leaf(c) if c.len() == 1))
                    + quotient.splits()
                    + rest.splits()
            }
        }
    }

    fn terms(&self) -> usize {
        match self {
            Plan::Leaf(coefficients) => coefficients.iter().filter(|c| **c != 0.0).count(),
            Plan::Split { quotient, rest, .. } => quotient.terms() + rest.terms(),
        }
    }

    /// The number of products of ciphertexts.
    fn products(&self) -> usize {
        let mut used = BTreeMap::new();
        self.basis(&mut used);
        used.keys().filter(|m| **m > 1).count() + self.splits()
    }
}

fn need(m: usize, used: &mut BTreeMap<usize, ()>) {
    if m > 0 && used.insert(m, ()).is_none() && m > 1 {
        need(m.div_ceil(2), used);
        need(m / 2, used);
    }
}

/// Emits the ops of a plan before the op that it replaces.
struct Emitter<'c, 'a> {
    op: OperationRef<'c, 'a>,
    build: Build<'c>,
    basis: BTreeMap<usize, Value<'c, 'a>>,
}

/// A part of a sum: perhaps a ciphertext, and a constant.
struct Part<'c, 'a> {
    value: Option<Value<'c, 'a>>,
    constant: f64,
}

impl<'c, 'a> Emitter<'c, 'a> {
    fn new(op: OperationRef<'c, 'a>) -> Result<Self, PassError> {
        let x = op.operand(0)?;
        Ok(Self { op, build: Build::at(op.location()), basis: BTreeMap::from([(1, x)]) })
    }

    fn emit(&self, name: &str, operands: &[Value<'c, 'a>]) -> Result<Value<'c, 'a>, PassError> {
        insert_before(self.op, self.build.op(name, operands, &[]))
    }

    fn polynomial(&mut self, plan: &Plan) -> Result<Value<'c, 'a>, PassError> {
        let part = self.part(plan)?;
        let value = match part.value {
            Some(value) => value,
            // A constant polynomial: zero times x.
            None => insert_before(self.op, self.build.mul_const(self.basis[&1], 0.0, None))?,
        };
        self.add_constant(value, part.constant)
    }

    fn add_constant(&self, value: Value<'c, 'a>, constant: f64) -> Result<Value<'c, 'a>, PassError> {
        if constant == 0.0 {
            return Ok(value);
        }
        insert_before(self.op, self.build.add_const(value, constant))
    }

    fn part(&mut self, plan: &Plan) -> Result<Part<'c, 'a>, PassError> {
        match plan {
            Plan::Leaf(coefficients) => {
                let mut sum = None;
                for (i, &c) in coefficients.iter().enumerate().skip(1).filter(|(_, c)| **c != 0.0) {
                    let t = self.basis(i)?;
                    let term = insert_before(self.op, self.build.mul_const(t, c, None))?;
                    sum = Some(self.sum(sum, term)?);
                }
                Ok(Part { value: sum, constant: coefficients[0] })
            }
            Plan::Split { giant, quotient, rest } => {
                let t = self.basis(*giant)?;
                let quotient = self.part(quotient)?;
                let product = match quotient.value {
                    None => insert_before(self.op, self.build.mul_const(t, quotient.constant, None))?,
                    Some(value) => {
                        let quotient = self.add_constant(value, quotient.constant)?;
                        self.emit("ckks.mul", &[quotient, t])?
                    }
                };
                let rest = self.part(rest)?;
                Ok(Part { value: Some(self.sum(rest.value, product)?), constant: rest.constant })
            }
        }
    }

    fn sum(&self, left: Option<Value<'c, 'a>>, right: Value<'c, 'a>) -> Result<Value<'c, 'a>, PassError> {
        match left {
            Some(left) => self.emit("ckks.add", &[left, right]),
            None => Ok(right),
        }
    }

    /// T_m of the operand.
    fn basis(&mut self, m: usize) -> Result<Value<'c, 'a>, PassError> {
        if let Some(&known) = self.basis.get(&m) {
            return Ok(known);
        }
        let (high, low) = (m.div_ceil(2), m / 2);
        let a = self.basis(high)?;
        let product = if high == low {
            self.emit("ckks.square", &[a])?
        } else {
            let b = self.basis(low)?;
            self.emit("ckks.mul", &[a, b])?
        };
        let doubled = insert_before(self.op, self.build.mul_int(product, 2))?;
        let value = if high == low {
            self.add_constant(doubled, -1.0)?
        } else {
            self.emit("ckks.sub", &[doubled, self.basis[&1]])?
        };
        self.basis.insert(m, value);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number and its depth.
    type Deep = (f64, u32);

    fn basis(m: usize, x: f64) -> Deep {
        ((m as f64 * x.acos()).cos(), depth_of_basis(m))
    }

    fn evaluate(plan: &Plan, x: f64) -> Deep {
        match plan {
            Plan::Leaf(c) => c.iter().enumerate().fold((0.0, 0), |(sum, depth), (i, c)| {
                let (t, d) = basis(i, x);
                (sum + c * t, if i > 0 && *c != 0.0 { depth.max(d + 1) } else { depth })
            }),
            Plan::Split { giant, quotient, rest } => {
                let (q, dq) = evaluate(quotient, x);
                let (t, dt) = basis(*giant, x);
                let (r, dr) = evaluate(rest, x);
                (q * t + r, (dq.max(dt) + 1).max(dr))
            }
        }
    }

    #[test]
    fn plans_are_right_and_of_least_depth() {
        for degree in 1..70 {
            let c: Vec<f64> = (0..=degree).map(|i| ((i * 37 + 11) % 19) as f64 / 19.0 - 0.45).collect();
            let plan = Plan::cheapest(&c);
            for x in [-0.93, -0.2, 0.0, 0.51, 1.0] {
                let (value, depth) = evaluate(&plan, x);
                let direct: f64 = c.iter().enumerate().map(|(i, c)| c * basis(i, x).0).sum();
                assert!((value - direct).abs() < 1e-9, "degree {degree} at {x}: {value} {direct}");
                assert!(depth <= depth_of_degree(degree), "degree {degree}: depth {depth}");
            }
        }
    }

    #[test]
    fn products_are_few() {
        let products = |degree: usize| Plan::cheapest(&vec![0.3; degree + 1]).products();
        // RECIPES' figure for degree 15: nine products and three squarings would do; three giants, T_3 and splits do better.
        assert!(products(15) <= 8, "{}", products(15));
        assert!(products(31) <= 13, "{}", products(31));
        assert_eq!(products(2), 1);
        assert_eq!(products(3), 2);
    }

    #[test]
    fn odd_and_even_polynomials_skip_what_is_zero() {
        let odd: Vec<f64> = (0..8).map(|i| if i % 2 == 1 { 0.1 } else { 0.0 }).collect();
        let dense = Plan::cheapest(&[0.1; 8]);
        assert!(Plan::cheapest(&odd).terms() < dense.terms());
    }
}
