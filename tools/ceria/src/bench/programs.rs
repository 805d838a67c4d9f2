//! The programs that `ceria bench` measures, as text.
//!
//! Homomorphic operations are `ckks` functions at the top level, which the compiler lowers as it lowers any other.
//! Their parts (transforms, base conversion, products) are `kernel` functions with one kernel over the limbs of a
//! ciphertext; around them stands an identity of `ckks`, which says what goes in and out.

use anyhow::{Context as _, Result};
use ceria_runtime::format::{
    basis::{Basis, Prime},
    layout::Layout,
    params::{Params, Secret},
    primes::{ntt_primes_below, ntt_primes_near},
    scale::Scale,
};

/// Steps of the rotations that share a mod-up.
const HOISTED: [i64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// A program to measure.
pub struct Program {
    /// What is measured.
    pub name: &'static str,
    /// The function at the level of ciphertexts.
    pub ckks: String,
    /// The program as kernels, where it is not what the function is lowered to.
    pub kernel: Option<String>,
    /// What a run's time is divided by for the second figure.
    pub unit: Option<Unit>,
}

/// A part of a program that is counted.
pub struct Unit {
    /// Its name.
    pub name: &'static str,
    /// How many of it there are.
    pub count: f64,
}

/// A secure set for a ring: pairs of primes a level, four digits, as many primes as 128 bits of security allow at
/// 2^13 to 2^15 and 46 (1370 bits) at 2^16.
pub fn parameters(log_n: u32) -> Result<Params> {
    let (count, special) = match log_n {
        16 => (46, 12),
        15 => (22, 6),
        14 => (10, 3),
        13 => (4, 2),
        _ => anyhow::bail!("rings of 2^13 to 2^16 are measured, not 2^{log_n}"),
    };
    let q: Vec<u32> = ntt_primes_near(f64::powf(2.0, 29.8), 1 << 30, log_n).take(count as usize).collect();
    let p: Vec<u32> = ntt_primes_below(1 << 31, log_n).take(special).collect();
    let levels = (2..=count).step_by(2).map(|end| Basis::from_primes((0..end).map(Prime::Q))).collect();
    let params = Params {
        log_n,
        q,
        p,
        levels,
        digit: special as u32,
        scale0: 1 << 59,
        bootstrap: None,
        secret: Secret::Ternary,
        test_only_insecure: false,
    };
    params.validate()?;
    params.check_security()?;
    Ok(params)
}

/// Writes programs for a parameter set.
pub struct Writer<'p> {
    params: &'p Params,
    layout: Layout,
}

impl<'p> Writer<'p> {
    /// For a parameter set.
    pub fn new(params: &'p Params) -> Result<Self> {
        let slots = params.slots();
        let layout = Layout::row_major(&[slots], slots).context("the slots have no layout")?;
        Ok(Self { params, layout })
    }

    fn top(&self) -> u32 {
        self.params.max_level()
    }

    fn scale(&self) -> Scale {
        Scale::level(self.top())
    }

    fn ciphertext(&self) -> String {
        format!("!ckks.ct<{}, {}>", self.top(), self.scale())
    }

    fn port(&self, list: &str, number: usize) -> String {
        format!(
            "{{ckks.name = \"{list}{number}\", ckks.shape = array<i64: {}>, ckks.layout = #ckks.layout<{}>, \
             ckks.{list} = {number} : i64, ckks.part = 0 : i64}}",
            self.params.slots(),
            self.layout
        )
    }

    fn module(&self, body: &str) -> String {
        format!("module attributes {{ckks.params = #ckks.params<{}>}} {{\n{body}\n}}\n", self.params)
    }

    /// A function of ciphertexts at the top level whose body ends in values of these types.
    fn function(&self, inputs: usize, body: &str, results: &[(&str, String)]) -> String {
        let ct = self.ciphertext();
        let arguments: Vec<String> =
            (0..inputs).map(|i| format!("%x{i}: {ct} {}", self.port("input", i))).collect();
        let types: Vec<String> = results
            .iter()
            .enumerate()
            .map(|(i, (_, ty))| format!("{ty} {}", self.port("output", i)))
            .collect();
        let values: Vec<&str> = results.iter().map(|(value, _)| *value).collect();
        let plain: Vec<&str> = results.iter().map(|(_, ty)| ty.as_str()).collect();
        self.module(&format!(
            "ckks.vector @weights {{parts = 1, values = [array<f64: 0.5, -0.25, 1.0, 0.125>]}}\n\
             func.func @main({}) -> ({}) {{\n{body}\n  return {} : {}\n}}",
            arguments.join(", "),
            types.join(", "),
            values.join(", "),
            plain.join(", ")
        ))
    }

    /// A function of one ciphertext; `body` writes the operation that its result comes from, given the operand and the
    /// result's type.
    pub fn unary(&self, [from, to]: &[String; 2], body: impl FnOnce(&str, &str) -> String) -> String {
        self.module(&format!(
            "func.func @main(%x: {from} {}) -> ({to} {}) {{\n  %y = {}\n  return %y : {to}\n}}",
            self.port("input", 0),
            self.port("output", 0),
            body("%x", to)
        ))
    }

    fn lowered(&self, name: &'static str, inputs: usize, body: &str, results: &[(&str, String)]) -> Program {
        Program { name, ckks: self.function(inputs, body, results), kernel: None, unit: None }
    }

    /// A kernel on the two polynomials of a ciphertext. `primes` are those of its tiles, all of which it stores.
    fn part(&self, name: &'static str, primes: &Basis, body: &str, unit: Unit) -> Program {
        let limbs = self.params.level_basis(self.top()).len();
        let buffer = format!("!kernel.buf<{limbs}x{}>", self.params.n());
        let text = format!(
            "kernel.func @part moduli<{primes}> (%a: {buffer}, %b: {buffer}) {{\n{body}\n}}\n\
             func.func @main(%a: {buffer}, %b: {buffer}, %c: {buffer} {{kernel.output}}, %d: {buffer} {{kernel.output}}) {{\n\
             kernel.launch @part(%a, %c) : {buffer}, {buffer}\n\
             kernel.launch @part(%b, %d) : {buffer}, {buffer}\n  return\n}}"
        );
        let ckks = self.function(1, "", &[("%x0", self.ciphertext())]);
        Program { name, ckks, kernel: Some(self.module(&text.replace("BUFFER", &buffer))), unit: Some(unit) }
    }

    /// All programs.
    pub fn programs(&self) -> Vec<Program> {
        let (ct, scale, top) = (self.ciphertext(), self.scale(), self.top());
        let squared = &scale * &scale;
        let raised = |size: &str| format!("!ckks.ct<{top}, {squared}{size}>");
        let lower = format!("!ckks.ct<{}, {}>", top - 1, Scale::level(top - 1));
        let pt = format!("!ckks.pt<{top}, {scale}>");
        let all = self.params.level_basis(top);
        let limbs = all.len();
        let n = self.params.n() as f64;
        let alpha = self.params.digit as usize;
        let digit = Basis::from_primes(all.iter().take(alpha));
        let others = Basis::from_primes(all.iter().skip(alpha));
        let from: Vec<String> = (0..alpha).map(|i| i.to_string()).collect();
        let to: Vec<String> = (alpha..limbs).map(|i| i.to_string()).collect();
        let steps: Vec<String> = HOISTED.iter().map(i64::to_string).collect();
        let rotated: Vec<String> = (0..HOISTED.len()).map(|i| format!("%r#{i}")).collect();
        let rotated: Vec<(&str, String)> = rotated.iter().map(|r| (r.as_str(), ct.clone())).collect();
        let transforms = || Unit { name: "limb", count: 2.0 * limbs as f64 };
        vec![
            self.part(
                "ntt",
                all,
                "  %0 = kernel.load %a : BUFFER\n  %1 = kernel.ntt %0\n  kernel.store %1, %b : BUFFER",
                transforms(),
            ),
            self.part(
                "inverse ntt",
                all,
                "  %0 = kernel.load %a : BUFFER\n  %1 = kernel.intt %0\n  kernel.store %1, %b : BUFFER",
                transforms(),
            ),
            self.part(
                "base conversion",
                &others,
                &format!(
                    "  %0 = kernel.bconv_tile %a from<{digit}> limbs [{}] : BUFFER\n  kernel.store %0, %b limbs [{}] : BUFFER",
                    from.join(", "),
                    to.join(", ")
                ),
                Unit { name: "multiply-add", count: 2.0 * (alpha * (limbs - alpha)) as f64 * n },
            ),
            self.lowered(
                "add",
                2,
                &format!("  %r = ckks.add %x0, %x1 : {ct}, {ct}"),
                &[("%r", ct.clone())],
            ),
            self.lowered(
                "multiply by a plaintext",
                1,
                &format!(
                    "  %p = ckks.encode @weights[0] : {pt}\n  %r = ckks.mul_plain %x0, %p : {ct}, {pt}"
                ),
                &[("%r", raised(""))],
            ),
            self.lowered(
                "multiply by a plaintext and rescale",
                1,
                &format!(
                    "  %p = ckks.encode @weights[0] : {pt}\n  %m = ckks.mul_plain %x0, %p : {ct}, {pt}\n  \
                     %r = ckks.rescale %m : {}",
                    raised("")
                ),
                &[("%r", lower.clone())],
            ),
            self.lowered(
                "multiply, relinearise and rescale",
                2,
                &format!(
                    "  %m = ckks.mul %x0, %x1 : {ct}, {ct}\n  %l = ckks.relinearize %m : {}\n  %r = ckks.rescale %l : {}",
                    raised(", 3"),
                    raised("")
                ),
                &[("%r", lower)],
            ),
            self.lowered(
                "rotate",
                1,
                &format!("  %r = ckks.rotate %x0 {{step = 1}} : {ct}"),
                &[("%r", ct.clone())],
            ),
            self.lowered(
                "8 hoisted rotations",
                1,
                &format!("  %r:8 = ckks.hoisted_rotate %x0 [{}] : {ct}", steps.join(", ")),
                &rotated,
            ),
        ]
    }
}
