//! The kernels of the demonstration's models and of a bootstrap at N = 2^16, assembled for each architecture: every launch
//! finds its function, and none in which a program spends its time spills registers.
//!
//! Without an assembler these tests say so and do nothing; `.ci/cuda-tools.sh` installs it. They are the longest of all: a program
//! has hundreds of functions.

use ceria_lowering::kernel_to_nvvm::{assemble::assemble, tools::Tool};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The device whose report says which functions are hot, and the architectures that are assembled besides its own.
const DEVICE: &str = "h100";
const OTHERS: [u32; 3] = [80, 100, 120];

/// A function with more than this part of a program's time is hot.
const HOT: f64 = 0.01;

/// Registers of a multiprocessor.
const REGISTERS: u64 = 1 << 16;

/// Whether there are tools; says so if not.
fn tools() -> bool {
    let missing = [Tool::Ptxas, Tool::Nvdisasm].into_iter().find_map(|tool| tool.find().err());
    if let Some(error) = &missing {
        eprintln!("skipped: {error}");
    }
    missing.is_none()
}

fn ceria(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ceria")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Assembles a bundle's kernels and looks for spills.
fn check(bundle: &Path) {
    let name = bundle.to_str().unwrap();
    let text = ceria(&["inspect", "--kernels", "--json", "--device", DEVICE, name]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let total = report["predicted_ms"].as_f64().unwrap();
    let functions = report["functions"].as_array().unwrap();
    assert!(!functions.is_empty() && total > 0.0, "{name}");
    let mut hot = Vec::new();
    for function in functions {
        let symbol = function["symbol"].as_str().unwrap();
        assert!(function["blocks"].as_u64().unwrap() > 0, "{name}: no block of {symbol} fits {DEVICE}");
        if function["total_ms"].as_f64().unwrap() > HOT * total {
            let spills = function["spills"].as_array().unwrap();
            assert!(spills.iter().all(|bytes| bytes == 0), "{name}: {symbol} spills {spills:?} on {DEVICE}");
            hot.push(symbol);
        }
    }
    let ptx = std::fs::read_to_string(bundle.join("kernels.ptx")).unwrap();
    for architecture in OTHERS {
        let assembled = assemble(&ptx, architecture).unwrap();
        for function in functions {
            let symbol = function["symbol"].as_str().unwrap();
            let usage = assembled.functions[symbol];
            let registers = u64::from(usage.registers) * function["block"].as_u64().unwrap();
            assert!(registers <= REGISTERS, "{name}: no block of {symbol} fits sm_{architecture}");
            assert!(
                !hot.contains(&symbol) || !usage.spills(),
                "{name}: {symbol} spills on sm_{architecture}"
            );
        }
    }
}

fn model(name: &str) {
    if !tools() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name);
    let bundle: PathBuf = folder.path().join(format!("{name}.ceria"));
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let (network, samples) = (path(&source.join("model.onnx")), path(&source.join("calibrate.npz")));
    let output = path(&bundle);
    ceria(&["compile", &network, "--calibrate", &samples, "--target", "cuda", "--quiet", "-o", &output]);
    check(&bundle);
}

#[test]
fn ptxas_logistic_regression() {
    model("logreg");
}

#[test]
fn ptxas_perceptron() {
    model("mlp");
}

#[test]
fn ptxas_perceptron_with_squares() {
    model("mlp_square");
}

#[test]
fn ptxas_convolutions() {
    model("cnn");
}

#[test]
fn ptxas_bootstrap() {
    if !tools() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    ceria(&["bench", "bundles", output, "--target", "cuda", "--only", "nothing else", "--bootstrap"]);
    check(&folder.path().join("bootstrap.ceria"));
}
