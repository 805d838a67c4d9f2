//! The kernels of the demonstration's models and of a bootstrap at N = 2^16, assembled for each architecture: every launch
//! finds its function, and none in which a program spends its time spills registers.
//!
//! Without an assembler these tests say so and do nothing; `.ci/cuda-tools.sh` installs it. A program has hundreds of functions,
//! whose code takes minutes to make: all but the smallest program run only with `--run-ignored all`.

use ceria_lowering::kernel_to_nvvm::tools::Tool;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A device of each architecture, that of the tables first.
const DEVICES: [&str; 4] = ["h100", "a100", "b200", "rtx5090"];

/// A function with more than this part of a program's time is hot.
const HOT: f64 = 0.01;

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
fn check(bundle: &Path, devices: &[&str]) {
    for device in devices {
        let bundle = bundle.to_str().unwrap();
        let text = ceria(&["inspect", "--kernels", "--json", "--device", device, bundle]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let total = report["predicted_ms"].as_f64().unwrap();
        let functions = report["functions"].as_array().unwrap();
        assert!(!functions.is_empty() && total > 0.0, "{bundle} on {device}");
        for function in functions {
            let symbol = &function["symbol"];
            assert!(function["blocks"].as_u64().unwrap() > 0, "{bundle}: no block of {symbol} fits {device}");
            let hot = function["total_ms"].as_f64().unwrap() > HOT * total;
            let spills = function["spills"].as_array().unwrap();
            let spills: u64 = spills.iter().filter_map(Value::as_u64).sum();
            assert!(!hot || spills == 0, "{bundle}: {symbol} spills {spills} bytes on {device}");
        }
    }
}

fn model(name: &str, devices: &[&str]) {
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
    check(&bundle, devices);
}

#[test]
#[ignore = "takes minutes"]
fn ptxas_logistic_regression() {
    model("logreg", &DEVICES[..1]);
}

#[test]
#[ignore = "takes minutes"]
fn ptxas_perceptron() {
    model("mlp", &DEVICES);
}

#[test]
fn ptxas_perceptron_with_squares() {
    model("mlp_square", &DEVICES[..1]);
}

#[test]
#[ignore = "takes minutes"]
fn ptxas_convolutions() {
    model("cnn", &DEVICES[..1]);
}

#[test]
#[ignore = "takes minutes"]
fn ptxas_bootstrap() {
    if !tools() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    ceria(&["bench", "bundles", output, "--target", "cuda", "--only", "nothing else", "--bootstrap"]);
    check(&folder.path().join("bootstrap.ceria"), &DEVICES);
}
