//! Bootstraps, compiled and run on encrypted slots; what the code computes is what the interpreter of `poly` does, bit
//! for bit.

use ceria_dialects::{
    bridge::pass::run_pipeline,
    ckks::matrix::Matrix,
    context,
    interpret::{Datum, Interpreter, symbol},
    poly::{
        Form, TableKind,
        interpret::{Material, PolyEvaluator},
        ops::Table,
        ring::{Ring, RnsPoly, inv_mod, mul_mod},
    },
};
use ceria_lowering::bundle::{BundleInput, CpuLevel, write};
use ceria_runtime::{
    client::{
        Ciphertext, Context, KeyKind, KeySpec, PublicKey, SecretKey,
        files::{Ciphertexts, EvalKeys, Model, read_eval_keys, write_eval_keys},
    },
    device::{Bundle, LoadOptions, Program},
    format::{
        basis::Basis, bootstrap::BootstrapOptions, layout::Layout, manifest::Prediction, params::Params,
        scale::Scale, text::TextParam,
    },
};
use melior::ir::{Module, OperationRef};
use num_complex::Complex64;
use std::collections::BTreeMap;

const POLYNOMIALS: &str = "ckks-to-poly,canonicalize,cse,poly-merge-mod-down";
const KERNELS: &str = "poly-expand-keyswitch,canonicalize,cse,poly-to-kernel,canonicalize,cse";

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
        let slots = params.slots();
        let layout = Layout::row_major(&[slots], slots).unwrap();
        let port = |name: &str| {
            format!(
                "ckks.name = \"{name}\", ckks.shape = array<i64: {slots}>, ckks.layout = #ckks.layout<{layout}>, \
                 ckks.part = 0 : i64"
            )
        };
        format!(
            "module attributes {{ckks.params = #ckks.params<{params}>}} {{
               func.func @main(%x: !ckks.ct<{level}, S({level})> {{{}, ckks.input = 0 : i64}})
                   -> (!ckks.ct<{target}, S({target})> {{{}, ckks.output = 0 : i64}}) {{
                 %y = ckks.bootstrap %x {{target_level = {target} : i64{attributes}}}
                   : !ckks.ct<{level}, S({level})> to !ckks.ct<{target}, S({target})>
                 return %y : !ckks.ct<{target}, S({target})>
               }}
             }}",
            port("x"),
            port("y")
        )
    }

    /// Compiles, encrypts, runs and decrypts; the interpreter repeats the first run.
    fn run(&self, inputs: &[Vec<Complex64>]) -> Vec<Vec<Complex64>> {
        const EXPAND: &str = "ckks-expand-bootstrap,func.func(ckks-expand-adjust),canonicalize,cse";
        let params = &self.params;
        let mlir = context();
        ceria_lowering::register().unwrap();
        let text = self.text();
        let ckks = Module::parse(&mlir, &text).expect("the program parses");
        run_pipeline(&ckks.as_operation(), EXPAND).unwrap_or_else(|e| panic!("{e}"));
        let expanded = ckks.as_operation().to_string();
        let kernel = Module::parse(&mlir, &expanded).expect("the expanded program parses");
        run_pipeline(&kernel.as_operation(), POLYNOMIALS).unwrap_or_else(|e| panic!("{e}"));
        let polynomials = kernel.as_operation().to_string();
        run_pipeline(&kernel.as_operation(), KERNELS).unwrap_or_else(|e| panic!("{e}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.ceria");
        let machine = CpuLevel::of_this_machine();
        let level = if machine.contains(&CpuLevel::V3) { CpuLevel::V3 } else { CpuLevel::V2 };
        let input = BundleInput {
            name: "bootstrap",
            ckks: ckks.as_operation(),
            kernel: kernel.as_operation(),
            weights: &BTreeMap::new(),
            ir: &[],
            prediction: Prediction::default(),
            op_counts: BTreeMap::new(),
            levels: &[level],
        };
        write(&path, &input).unwrap_or_else(|e| panic!("{e}"));

        let bundle = Bundle::open(&path).unwrap();
        let client = Context::new(params.clone()).unwrap();
        let model = Model::new(&client, bundle.hash);
        let secret = SecretKey::generate(&client).unwrap();
        let public = PublicKey::generate(&client, &secret).unwrap();
        let specs = KeySpec::all(&bundle.manifest.keys);
        let file = folder.path().join("eval.keys");
        write_eval_keys(&file, model, &secret, &specs, &mut |_| {}).unwrap();
        let server = Context::new(params.clone()).unwrap();
        let read = || read_eval_keys(&file, Model::new(&client, bundle.hash), None).unwrap();
        let mut program = Program::load(&bundle, server, read(), LoadOptions { threads: Some(2) }, |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        let keys = read();
        let port = &bundle.manifest.inputs[0];
        let run = |(index, slots): (usize, &Vec<Complex64>)| {
            let encrypted = public.encrypt_slots(&client, &slots[..], &port.scale, port.level).unwrap();
            let inputs =
                Ciphertexts { key_pair: secret.id(), tensors: vec![("x".into(), vec![encrypted.clone()])] };
            let (outputs, _) = program.run(&inputs).unwrap();
            let result = &outputs.get("y").unwrap()[0];
            if index == 0 {
                let module = Module::parse(&mlir, &polynomials).expect("the polynomials parse");
                let op: OperationRef<'_, '_> =
                    unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
                let material = Server { context: &client, keys: &keys, specs: &specs, module: op };
                assert!(interpret(params, op, material, &encrypted) == result.words, "other residues");
            }
            let plain = secret.decrypt(&client, result).unwrap();
            client.decode(&plain, result.scale.value(params)).unwrap()
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
        let all = Matrix::read(matrix)?.values(&|_| Err("there are no weights".into()))?;
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
