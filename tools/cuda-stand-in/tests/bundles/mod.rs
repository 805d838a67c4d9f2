//! A small program as a bundle for the CPU and as one for GPUs, with keys and an input.

use ceria_dialects::bridge::pass::run_pipeline;
use ceria_lowering::{
    bundle::{
        BundleInput, CpuLevel,
        device::{self, DeviceFiles},
        write,
    },
    host::Lowered,
    kernel_to_nvvm::schedule::Schedule,
};
use ceria_runtime::{
    client::{
        Context, KeySpec, PublicKey, SecretKey,
        files::{Ciphertexts, Model, write_ciphertexts, write_eval_keys},
    },
    device::Bundle,
    format::{
        layout::Layout,
        manifest::{self, Launch, Prediction, TableContent},
        params::Params,
    },
};
use melior::ir::Module;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

/// The bundle for the CPU.
pub const CPU: &str = "cpu.ceria";
/// The bundle for GPUs whose code the stand-in emulates.
pub const CUDA: &str = "cuda.ceria";
/// The bundle for GPUs with the signatures of its functions as PTX; the stand-in looks at its launches only.
pub const PTX: &str = "ptx.ceria";

const PIPELINE: &str = "ckks-to-poly,canonicalize,cse,poly-merge-mod-down,poly-expand-keyswitch,canonicalize,cse,poly-to-kernel,canonicalize,cse";

/// The square of a ciphertext and a rotation of it, added.
fn program(params: &Params) -> String {
    let slots = params.slots();
    let layout = Layout::row_major(&[slots], slots).unwrap();
    let port = |name: &str, side: &str| {
        format!(
            "{{ckks.name = \"{name}\", ckks.shape = array<i64: {slots}>, ckks.layout = #ckks.layout<{layout}>, \
             ckks.part = 0 : i64, ckks.{side} = 0 : i64}}"
        )
    };
    format!(
        "module attributes {{ckks.params = #ckks.params<{params}>}} {{
func.func @main(%x: !ckks.ct<2, S(2)> {}) -> (!ckks.ct<1, S(1)> {}) {{
  %0 = ckks.mul %x, %x : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
  %1 = ckks.relinearize %0 : !ckks.ct<2, S(1)*D(2), 3>
  %2 = ckks.rescale %1 : !ckks.ct<2, S(1)*D(2)>
  %3 = ckks.rotate %2 {{step = 3}} : !ckks.ct<1, S(1)>
  %4 = ckks.add %2, %3 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %4 : !ckks.ct<1, S(1)>
}}
}}",
        port("x", "input"),
        port("y", "output")
    )
}

/// A folder with both bundles, keys and an input, and the stand-in in the driver's place.
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// Makes everything.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        ceria_lowering::register().unwrap();
        let mlir = ceria_dialects::context();
        let params = Params::toy(6, 2, 1);
        let text = program(&params);
        let ckks = Module::parse(&mlir, &text).unwrap_or_else(|| panic!("does not parse:\n{text}"));
        let kernel = Module::parse(&mlir, &text).unwrap();
        run_pipeline(&kernel.as_operation(), PIPELINE).unwrap_or_else(|e| panic!("{e}"));
        let input = BundleInput {
            name: "test",
            ckks: ckks.as_operation(),
            kernel: kernel.as_operation(),
            levels: &[CpuLevel::V2],
            weights: &BTreeMap::new(),
            ir: &[],
            prediction: Prediction::default(),
            op_counts: BTreeMap::new(),
        };
        write(&site.path(CPU), &input).unwrap_or_else(|e| panic!("{e}"));
        let (module, lowered) = device::lowered(kernel.as_operation(), &Schedule::default(), "main")
            .unwrap_or_else(|e| panic!("{e}"));
        let text = module.as_operation().to_string().into_bytes();
        let host = device::host_code(module.as_operation()).unwrap_or_else(|e| panic!("{e}"));
        for (bundle, kernels) in [(PTX, signatures(&lowered)), (CUDA, text)] {
            let files = DeviceFiles { host: host.clone(), kernels, ..DeviceFiles::default() };
            device::write_code(&site.path(bundle), &input, lowered.clone(), files)
                .unwrap_or_else(|e| panic!("{e}"));
        }
        site.add_client(PTX, "eval.keys", "x.ct");
        site.add_client(CUDA, "cuda.keys", "cuda.ct");
        fs::create_dir(site.path("driver")).unwrap();
        for name in ["libcuda.so.1", "libcuda.so"] {
            std::os::unix::fs::symlink(built("libcuda_stand_in.so"), site.path("driver").join(name)).unwrap();
        }
        site
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the kernels.
    pub fn kernels(&self) -> Vec<String> {
        let bundle = Bundle::open(&self.path(PTX)).unwrap();
        bundle.manifest.kernels.iter().map(|kernel| kernel.name.clone()).collect()
    }

    /// Bytes that the program needs on a device.
    pub fn device_bytes(&self) -> u64 {
        let manifest = Bundle::open(&self.path(CUDA)).unwrap().manifest;
        let polynomials = |ports: &[manifest::Port]| -> u64 {
            ports.iter().map(|p| p.polynomials() as u64 * p.polynomial_words(&manifest.params) * 4).sum()
        };
        let scratch = manifest.device.as_ref().unwrap().scratch_bytes;
        let ports = polynomials(&manifest.inputs) + polynomials(&manifest.outputs);
        manifest.table_bytes().unwrap() + manifest.memory.arena_bytes + scratch + ports
    }

    /// Bytes of the largest table of keys.
    pub fn largest_key(&self) -> u64 {
        let manifest = Bundle::open(&self.path(CUDA)).unwrap().manifest;
        let keys = manifest.tables.iter().filter(|table| {
            matches!(table.content, TableContent::RelinKey { .. } | TableContent::GaloisKey { .. })
        });
        keys.map(|table| table.bytes().unwrap()).max().unwrap()
    }

    /// Makes keys for a bundle and encrypts an input.
    fn add_client(&self, bundle: &str, keys: &str, input: &str) {
        let bundle = Bundle::open(&self.path(bundle)).unwrap();
        let context = Context::new(bundle.manifest.params.clone()).unwrap();
        let model = Model::new(&context, bundle.hash);
        let secret = SecretKey::generate(&context).unwrap();
        let public = PublicKey::generate(&context, &secret).unwrap();
        let specs = KeySpec::all(&bundle.manifest.keys);
        write_eval_keys(&self.path(keys), model, &secret, &specs, &mut |_| {}).unwrap();
        let port = &bundle.manifest.inputs[0];
        let slots = vec![0.5; context.params().slots()];
        let part = public.encrypt_slots(&context, &slots[..], &port.scale, port.level).unwrap();
        let inputs = Ciphertexts { key_pair: secret.id(), tensors: vec![(port.name.clone(), vec![part])] };
        write_ciphertexts(&self.path(input), model, &inputs).unwrap();
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(built(program));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// `ceria` with the stand-in.
    pub fn ceria(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("ceria", arguments);
        command.env("LD_LIBRARY_PATH", self.path("driver")).output().expect("ceria starts")
    }

    /// `ceria-run` with the stand-in.
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command("ceria-run", arguments);
        command.env("LD_LIBRARY_PATH", self.path("driver")).envs(variables.iter().copied());
        command.output().expect("ceria-run starts")
    }

    /// `bench/gpu.sh` with the stand-in.
    pub fn bench(&self, folder: &std::path::Path, runs: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/gpu.sh");
        let mut command = Command::new("bash");
        command.arg(script).arg(folder).env("RUNS", runs).env("LD_LIBRARY_PATH", self.path("driver"));
        command.output().expect("bash starts")
    }

    /// `ceria-run` without it.
    pub fn run_without_driver(&self, arguments: &[&str]) -> Output {
        self.command("ceria-run", arguments).output().expect("ceria-run starts")
    }
}

/// A file that the build of the workspace makes.
pub fn built(name: &str) -> PathBuf {
    // Tests lie in a folder of their own below the binaries, and with them the libraries that they were built with.
    let test = std::env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; build the workspace"))
}

/// PTX with functions that do nothing.
fn signatures(lowered: &Lowered) -> Vec<u8> {
    let mut text = String::from(".version 8.0\n.target sm_80\n.address_size 64\n");
    let launches = lowered.kernels.iter().flat_map(|kernel| &kernel.launches);
    let functions: BTreeMap<&str, &Launch> =
        launches.map(|launch| (launch.symbol.as_str(), launch)).collect();
    for (symbol, launch) in functions {
        let parameters: Vec<String> =
            (0..launch.arguments.len()).map(|i| format!(".param .u64 .ptr .global p{i}")).collect();
        let _ = write!(
            text,
            ".visible .entry {symbol}(\n  {}\n)\n.reqntid {}, 1, 1\n{{\n  ret;\n}}\n",
            parameters.join(",\n  "),
            launch.block
        );
    }
    text.into_bytes()
}
