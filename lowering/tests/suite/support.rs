//! What the tests share: modules, bundles made of them, and a client that has made its keys for one.

use ceria_dialects::bridge::pass::run_pipeline;
use ceria_lowering::bundle::{BundleInput, CpuLevel, write};
use ceria_runtime::{
    client::{
        Ciphertext, Context, KeySpec, PublicKey, SecretKey, SlotValues,
        files::{Ciphertexts, EvalKeys, Model, read_eval_keys, write_eval_keys},
    },
    device::{Bundle, LoadOptions, Program},
    format::{layout::Layout, manifest::Prediction, params::Params},
};
use melior::ir::Module;
use num_complex::Complex64;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// From ciphertexts to polynomials.
pub const POLYNOMIALS: &str = "ckks-to-poly,canonicalize,cse,poly-merge-mod-down";
/// From polynomials to kernels.
pub const KERNELS: &str = "poly-expand-keyswitch,canonicalize,cse,poly-to-kernel,canonicalize,cse";

/// An MLIR context with every dialect, pass and pipeline.
pub fn mlir() -> melior::Context {
    ceria_lowering::register().unwrap();
    ceria_dialects::context()
}

/// The module of a text after a pipeline.
pub fn lowered<'c>(mlir: &'c melior::Context, text: &str, pipeline: &str) -> Module<'c> {
    let module = Module::parse(mlir, text).unwrap_or_else(|| panic!("does not parse:\n{text}"));
    run_pipeline(&module.as_operation(), pipeline).unwrap_or_else(|e| panic!("{e}\n{text}"));
    module
}

/// The weights of programs without.
pub fn no_weights(name: &str) -> Result<ndarray::ArrayD<f32>, String> {
    Err(format!("there are no weights @{name}"))
}

/// The attributes of an argument or result of one ciphertext with all slots; `side` is `input` or `output`.
pub fn port(name: &str, side: &str, params: &Params) -> String {
    let slots = params.slots();
    let layout = Layout::row_major(&[slots], slots).unwrap();
    format!(
        "{{ckks.name = \"{name}\", ckks.shape = array<i64: {slots}>, ckks.layout = #ckks.layout<{layout}>, \
         ckks.part = 0 : i64, ckks.{side} = 0 : i64}}"
    )
}

/// Makes a bundle without weights, and opens it.
pub fn write_bundle(path: &Path, ckks: &Module<'_>, kernel: &Module<'_>, levels: &[CpuLevel]) -> Bundle {
    let input = BundleInput {
        name: "test",
        ckks: ckks.as_operation(),
        kernel: kernel.as_operation(),
        levels,
        weights: &BTreeMap::new(),
        ir: &[("ir/kernel.mlir".into(), kernel.as_operation().to_string())],
        prediction: Prediction::default(),
        op_counts: BTreeMap::new(),
    };
    write(path, &input).unwrap_or_else(|e| panic!("{e}"));
    Bundle::open(path).unwrap()
}

/// A client of a bundle whose input is `x` and whose output is `y`, one ciphertext each.
pub struct Client<'b> {
    bundle: &'b Bundle,
    /// Its side of the parameters.
    pub context: Context,
    secret: SecretKey,
    public: PublicKey,
    /// The evaluation keys that the bundle wants.
    pub specs: Vec<KeySpec>,
    file: PathBuf,
}

impl<'b> Client<'b> {
    /// Makes all keys, and writes what a server needs into a folder.
    pub fn new(bundle: &'b Bundle, folder: &Path) -> Self {
        let context = Context::new(bundle.manifest.params.clone()).unwrap();
        let secret = SecretKey::generate(&context).unwrap();
        let public = PublicKey::generate(&context, &secret).unwrap();
        let specs = KeySpec::all(&bundle.manifest.keys);
        let file = folder.join("eval.keys");
        write_eval_keys(&file, Model::new(&context, bundle.hash), &secret, &specs, &mut |_| {}).unwrap();
        Self { bundle, context, secret, public, specs, file }
    }

    /// The evaluation keys as the server reads them.
    pub fn keys(&self) -> EvalKeys {
        read_eval_keys(&self.file, Model::new(&self.context, self.bundle.hash), None).unwrap()
    }

    /// The program as a server loads it.
    pub fn program(&self, threads: usize) -> Program {
        let server = Context::new(self.bundle.manifest.params.clone()).unwrap();
        let options = LoadOptions { threads: Some(threads), ..LoadOptions::default() };
        Program::load(self.bundle, server, self.keys(), &options, |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The input with these slots.
    pub fn encrypt<'s>(&self, slots: impl Into<SlotValues<'s>>) -> Ciphertexts {
        let port = &self.bundle.manifest.inputs[0];
        let encrypted = self.public.encrypt_slots(&self.context, slots, &port.scale, port.level).unwrap();
        Ciphertexts { key_pair: self.secret.id(), tensors: vec![("x".into(), vec![encrypted])] }
    }

    /// The slots of a ciphertext.
    pub fn decrypt(&self, result: &Ciphertext) -> Vec<Complex64> {
        let plain = self.secret.decrypt(&self.context, result).unwrap();
        self.context.decode(&plain, result.scale.value(self.context.params())).unwrap()
    }
}
