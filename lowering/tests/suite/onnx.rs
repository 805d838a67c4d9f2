//! The importer and the clear model against ONNX's own results.
//!
//! The models' expected outputs are those of ONNX's reference evaluator (`models/expected.py`). The operator tests
//! of the `onnx` package are those of `test/onnx-backend/cases.zip`, or, with their large ones, of the folder that
//! `CERIA_ONNX_CASES` names; `test/onnx-backend/export.py` writes both.

use ceria_dialects::{
    fhe::interpret::{Fhe, array, datum},
    interpret::Interpreter,
};
use ceria_lowering::onnx::{self, Graph};
use ceria_runtime::format::arrays::{self, NumericArray};
use indexmap::IndexMap;
use melior::ir::operation::OperationRef;
use ndarray::{ArrayD, ArrayViewD};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn run(graph: &Graph, inputs: &IndexMap<String, ArrayD<f64>>) -> IndexMap<String, ArrayD<f64>> {
    onnx::evaluate(graph, inputs).expect("the inputs fit")
}

fn largest_difference(left: ArrayViewD<'_, f64>, right: ArrayViewD<'_, f64>) -> f64 {
    assert_eq!(left.shape(), right.shape());
    left.iter().zip(&right).map(|(l, r)| (l - r).abs()).fold(0.0, f64::max)
}

/// The largest difference between the `fhe` module of a network, interpreted, and the clear model, before
/// post-processing.
fn module_difference(graph: &Graph, inputs: &IndexMap<String, ArrayD<f64>>) -> Result<f64, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let context = ceria_dialects::context();
    let module = onnx::to_module(graph, &context, directory.path()).map_err(|error| error.to_string())?;
    // SAFETY: the module outlives the interpreter.
    let root = unsafe { OperationRef::from_raw(module.as_operation().to_raw()) };
    let arguments = graph.inputs.iter().map(|&id| datum(inputs[&graph.value(id).name].clone())).collect();
    let results =
        Interpreter::new(root).with(Fhe).call("main", arguments).map_err(|error| error.to_string())?;
    let values = onnx::evaluate_all(graph, inputs).map_err(|error| error.to_string())?;
    let mut difference = 0.0f64;
    for (output, result) in graph.outputs.iter().zip(&results) {
        let clear = values[output.value.index()].as_ref().ok_or("an output has no value")?;
        let largest = clear.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
        difference = difference.max(largest_difference(array(result)?.view(), clear.view()) / largest);
    }
    Ok(difference)
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

#[test]
fn models_agree_with_the_reference_evaluator() {
    for name in ["logreg", "mlp", "mlp_square", "cnn"] {
        let folder = models().join(name);
        let graph = onnx::load(&folder.join("model.onnx")).expect("it is supported");
        let input = graph.value(graph.inputs[0]).name.clone();
        let samples = arrays::read(&folder.join("inputs.npz")).expect("inputs")[&input].to_f64();
        let expected = arrays::read(&folder.join("expected.npz")).expect("outputs");
        let (output, expected) = expected.first_key_value().expect("one output");
        let first = samples.outer_iter().next().expect("a sample").to_owned();
        let difference = module_difference(&graph, &IndexMap::from([(input.clone(), first)]));
        assert!(difference.clone().is_ok_and(|difference| difference < 1e-6), "{name}: {difference:?}");
        for (sample, expected) in samples.outer_iter().zip(expected.to_f64().outer_iter()).take(20) {
            let result = run(&graph, &IndexMap::from([(input.clone(), sample.to_owned())]));
            // The evaluator computes in f32.
            let difference = largest_difference(result[output].view(), expected);
            assert!(difference < 1e-4, "{name}: {difference}");
        }
    }
}

#[test]
fn most_digits_are_recognised() {
    let folder = models().join("mlp");
    let graph = onnx::load(&folder.join("model.onnx")).expect("it is supported");
    let inputs = arrays::read(&folder.join("inputs.npz")).expect("inputs");
    let right = inputs["image"]
        .to_f64()
        .outer_iter()
        .zip(inputs["label"].to_f64().iter())
        .filter(|(image, label)| {
            let logits =
                run(&graph, &IndexMap::from([("image".to_owned(), image.to_owned())]))["logits"].clone();
            let logits: Vec<f64> = logits.iter().copied().collect();
            let best = (0..10).max_by(|&l, &r| logits[l].total_cmp(&logits[r])).expect("ten logits");
            best as f64 == **label
        })
        .count();
    assert!(right >= 90, "{right} of 100");
}

/// The operator of a case and what it is compared within.
fn description(case: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(case.join("case.json")).expect("case.json");
    serde_json::from_str(&text).expect("JSON")
}

fn run_case(case: &Path) -> Result<(), String> {
    let graph = onnx::load(&case.join("model.onnx")).map_err(|error| error.to_string())?;
    let read = |file: &str| arrays::read(&case.join(file)).map_err(|error| error.to_string());
    let to_f64 = |arrays: BTreeMap<String, NumericArray>| -> IndexMap<String, ArrayD<f64>> {
        arrays.into_iter().map(|(name, array)| (name, array.to_f64())).collect()
    };
    let inputs = to_f64(read("input.npz")?);
    let results = onnx::evaluate(&graph, &inputs).map_err(|error| error.to_string())?;
    let description = description(case);
    let tolerance = |name: &str| description[name].as_f64().expect("a number");
    let (rtol, atol) = (tolerance("rtol"), tolerance("atol"));
    for (name, expected) in to_f64(read("output.npz")?) {
        let result = results.get(&name).ok_or(format!("no output {name}"))?;
        if result.shape() != expected.shape() {
            return Err(format!("shape {:?}, expected {:?}", result.shape(), expected.shape()));
        }
        for (l, r) in result.iter().zip(&expected) {
            if (l - r).abs() > atol + rtol * r.abs() || l.is_nan() {
                return Err(format!("{l}, expected {r}"));
            }
        }
    }
    // Constants that the module computes, such as reciprocals, are f32.
    match module_difference(&graph, &inputs)? {
        difference if difference < 1e-6 => Ok(()),
        difference => Err(format!("the module differs by {difference:e}")),
    }
}

/// Cases that are refused, with a part of the message.
const REFUSED: [(&str, &str); 9] = [
    ("test_batchnorm_epsilon_training_mode", "training mode"),
    ("test_batchnorm_example_training_mode", "training mode"),
    ("test_pow", "different exponents"),
    ("test_pow_bcast_array", "different exponents"),
    ("test_pow_example", "different exponents"),
    ("test_pow_types_float32_int32", "different exponents"),
    ("test_pow_types_float32_int64", "different exponents"),
    ("test_pow_types_float32_uint32", "its elements are uint32"),
    ("test_pow_types_float32_uint64", "its elements are uint64"),
];

#[test]
fn backend_operator_tests_pass() {
    let unpacked = tempfile::tempdir().expect("a folder");
    let folder = std::env::var_os("CERIA_ONNX_CASES").map(PathBuf::from).unwrap_or_else(|| {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/onnx-backend/cases.zip");
        let archive = std::fs::File::open(archive).expect("the archive");
        let mut archive = zip::ZipArchive::new(archive).expect("an archive");
        archive.extract(unpacked.path()).expect("it is whole");
        unpacked.path().to_path_buf()
    });
    let mut failures = Vec::new();
    let mut cases = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let case = entry.expect("an entry").path();
        if !case.is_dir() {
            continue;
        }
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refusal = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, message)| *message);
        let outcome = run_case(&case);
        match (&outcome, refusal) {
            (Ok(()), None) => {}
            (Err(message), Some(part)) if message.contains(part) => {}
            (Ok(()), Some(_)) => failures.push(format!("{name}: passes, but is listed as refused")),
            (Err(message), _) => failures.push(format!("{name}: {message}")),
        }
        cases.insert(name);
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    for (name, _) in REFUSED {
        assert!(cases.contains(name), "there is no case {name}");
    }
    assert!(cases.len() > 180, "only {} cases", cases.len());
}
