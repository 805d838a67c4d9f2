//! Bootstraps, compiled and run on encrypted slots; what the code computes is what the interpreter of `poly` does, bit
//! for bit.

use super::support::{Client, KERNELS, POLYNOMIALS, lowered, mlir, no_weights, port, write_bundle};
use ceria_dialects::{
    ckks::matrix::Matrix,
    interpret::{Datum, Interpreter, symbol},
    poly::{
        Form, TableKind,
        interpret::{Material, PolyEvaluator},
        ops::Table,
        ring::{Ring, RnsPoly, inv_mod, mul_mod},
    },
};
use ceria_lowering::{bundle::CpuLevel, pipelines::compile::root};
use ceria_runtime::{
    client::{Ciphertext, Context, KeyKind, KeySpec, files::EvalKeys},
    format::{basis::Basis, bootstrap::BootstrapOptions, params::Params, scale::Scale, text::TextParam},
};
use melior::ir::OperationRef;
use num_complex::Complex64;

/// What expands bootstraps.
pub const EXPAND: &str = "ckks-expand-bootstrap,func.func(ckks-expand-adjust),canonicalize,cse";

/// A program that bootstraps from level 0 to level 1.
pub fn text(params: &Params) -> String {
    Case { params: params.clone(), target: 1, attributes: "", level: 0 }.text()
}

/// A bootstrap with attributes, from a ciphertext of this type.
struct Case<'t> {
    params: Params,
    target: u32,
    attributes: &'t str,
    /// The level of the input, at its canonical scale.
    level: u32,
}

impl Case<'_> {
    fn text(&self) -> String {
        let Self { params, target, attributes, level, .. } = self;
        format!(
            "module attributes {{ckks.params = #ckks.params<{params}>}} {{
               func.func @main(%x: !ckks.ct<{level}, S({level})> {})
                   -> (!ckks.ct<{target}, S({target})> {}) {{
                 %y = ckks.bootstrap %x {{target_level = {target} : i64{attributes}}}
                   : !ckks.ct<{level}, S({level})> to !ckks.ct<{target}, S({target})>
                 return %y : !ckks.ct<{target}, S({target})>
               }}
             }}",
            port("x", "input", params),
            port("y", "output", params)
        )
    }

    /// Compiles, encrypts, runs and decrypts; the interpreter repeats the first run.
    fn run(&self, inputs: &[Vec<Complex64>]) -> Vec<Vec<Complex64>> {
        let params = &self.params;
        let mlir = mlir();
        let ckks = lowered(&mlir, &self.text(), EXPAND);
        let polynomials = lowered(&mlir, &ckks.as_operation().to_string(), POLYNOMIALS);
        let kernel = lowered(&mlir, &polynomials.as_operation().to_string(), KERNELS);
        let folder = tempfile::tempdir().unwrap();
        let machine = CpuLevel::of_this_machine();
        let level = if machine.contains(&CpuLevel::V3) { CpuLevel::V3 } else { CpuLevel::V2 };
        let bundle = write_bundle(&folder.path().join("bootstrap.ceria"), &ckks, &kernel, &[level]);
        let client = Client::new(&bundle, folder.path());
        let mut program = client.program(2);
        let keys = client.keys();
        let run = |(index, slots): (usize, &Vec<Complex64>)| {
            let inputs = client.encrypt(&slots[..]);
            let (outputs, _) = program.run(&inputs).unwrap();
            let result = &outputs.get("y").unwrap()[0];
            if index == 0 {
                let op = root(&polynomials);
                let material =
                    Server { context: &client.context, keys: &keys, specs: &client.specs, module: op };
                let input = &inputs.get("x").unwrap()[0];
                assert!(interpret(params, op, material, input) == result.words, "other residues");
            }
            client.decrypt(result)
        };
        inputs.iter().enumerate().map(run).collect()
    }
}

/// What a server has: a client's keys, and the matrices of the program.
struct Server<'s> {
    context: &'s Context,
    keys: &'s EvalKeys,
    specs: &'s [KeySpec],
    module: OperationRef<'s, 's>,
}

fn from_words(basis: &Basis, words: &[u32], n: usize) -> RnsPoly {
    let limbs = words.chunks_exact(n).map(<[u32]>::to_vec).collect();
    RnsPoly { basis: basis.clone(), form: Form::Eval, limbs }
}

impl Material for Server<'_> {
    fn plaintext(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        basis: &Basis,
    ) -> Result<RnsPoly, String> {
        let matrix =
            symbol(self.module, table.source.as_deref().unwrap_or_default()).ok_or("no such matrix")?;
        let all = Matrix::read(matrix)?.values(&no_weights)?;
        let diagonal =
            all.iter().find(|d| d.diagonal == table.values[4 * entry + 2]).ok_or("no such diagonal")?;
        let values = diagonal.complex_before_giant(table.values[4 * entry + 3]);
        let scale = Scale::parse(table.scale.as_deref().unwrap_or("1"))?.value(ring.params());
        let encoded = self.context.encode(&values[..], scale, basis).map_err(|e| e.to_string())?;
        Ok(from_words(basis, &encoded.words, ring.n()))
    }

    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String> {
        let kind = match table.kind {
            TableKind::RelinKey => KeyKind::Relinearize,
            TableKind::SparseKey => KeyKind::ToSparse,
            TableKind::DenseKey => KeyKind::FromSparse,
            _ => KeyKind::Galois(table.values[entry] as u32),
        };
        let spec = self.specs.iter().find(|spec| spec.kind == kind).ok_or("no such key")?;
        let part = basis.len() * ring.n();
        let mut words = vec![0; digits * 2 * part];
        let key = self.keys.get(*spec).ok_or("no such key")?;
        key.expand_montgomery(self.context, basis, &mut words).map_err(|e| e.to_string())?;
        let plain = |words: &[u32]| {
            let mut poly = from_words(basis, words, ring.n());
            for (limb, prime) in poly.limbs.iter_mut().zip(basis.iter()) {
                let q = u64::from(ring.params().prime(prime));
                let back = inv_mod((1 << 32) % q, q);
                limb.iter_mut().for_each(|x| *x = mul_mod(u64::from(*x), back, q) as u32);
            }
            poly
        };
        let digit = |words: &[u32]| [plain(&words[..part]), plain(&words[part..])];
        Ok(words.chunks_exact(2 * part).map(digit).collect())
    }
}

/// The words of the result by the interpreter of `poly`.
fn interpret(
    params: &Params,
    op: OperationRef<'_, '_>,
    material: Server<'_>,
    input: &Ciphertext,
) -> Vec<u32> {
    let basis = params.level_basis(input.level);
    let parts = input.words.chunks_exact(basis.len() * params.n());
    let arguments = parts.map(|words| Datum::object(from_words(basis, words, params.n()))).collect();
    let evaluator = PolyEvaluator::new(params, material).unwrap();
    let results = Interpreter::new(op).with(evaluator).call("main", arguments).unwrap();
    results.iter().flat_map(|part| part.get::<RnsPoly>().unwrap().limbs.concat()).collect()
}

/// Numbers in [-1, 1] that look random and are the same in every run.
fn number(seed: usize) -> f64 {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 27;
    }
    (state % (1 << 30)) as f64 / f64::from(1 << 29) - 1.0
}

fn random(slots: usize) -> Vec<Complex64> {
    (0..slots).map(|i| Complex64::new(number(2 * i), number(2 * i + 1)) * 0.7).collect()
}

/// Bits of precision of the mean and of the worst slot.
fn precision(got: &[Complex64], expected: &[Complex64]) -> [f64; 2] {
    let errors: Vec<f64> = got.iter().zip(expected).map(|(a, b)| (a - b).norm()).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    [mean, errors.iter().copied().fold(0.0, f64::max)].map(|error| -error.log2())
}

/// Random numbers, signs, one number alone, and the same number everywhere.
fn vectors(slots: usize) -> [Vec<Complex64>; 4] {
    let mut hot = vec![Complex64::default(); slots];
    hot[slots / 3] = Complex64::new(1.0, 0.0);
    let signs = (0..slots).map(|i| Complex64::new(number(i).signum(), 0.0)).collect();
    [random(slots), signs, hot, vec![Complex64::new(0.8, 0.0); slots]]
}

#[test]
fn a_bootstrap_of_complex_slots_runs() {
    let params = Params::bootstrapping(&BootstrapOptions::new(6, 1).insecure()).unwrap();
    let inputs = vectors(params.slots());
    let case = Case { params, target: 1, attributes: "", level: 0 };
    for (index, (slots, input)) in case.run(&inputs).iter().zip(&inputs).enumerate() {
        let [mean, worst] = precision(slots, input);
        println!("input {index}: mean {mean:.1}, worst {worst:.1} bits");
        // The cubic term of the sine at a message ratio of 2^10; constants are the worst.
        assert!(
            worst > if index == 3 { 17.5 } else { 19.0 },
            "input {index}: {worst:.1} bits in the worst slot"
        );
    }
}

#[test]
fn a_bootstrap_of_real_slots_runs() {
    let params = Params::bootstrapping(&BootstrapOptions::new(6, 1).insecure()).unwrap();
    let period = 16;
    let inputs = vectors(period).map(|part| {
        let real = part.iter().map(|z| Complex64::new(z.re, 0.0));
        real.cycle().take(params.slots()).collect::<Vec<_>>()
    });
    let attributes = ", slots = 16 : i64, variant = \"stc-first\"";
    let case = Case { params, target: 3, attributes, level: 3 };
    for (index, (slots, input)) in case.run(&inputs).iter().zip(&inputs).enumerate() {
        let [mean, worst] = precision(slots, input);
        println!("input {index}: mean {mean:.1}, worst {worst:.1} bits");
        assert!(worst > 22.0, "input {index}: {worst:.1} bits in the worst slot");
    }
}
