//! Networks and ciphertext programs evaluated in the clear, on tensors.

use super::compile::CompileError;
use crate::{fhe_to_ckks::signature::tensors, interpret};
use ceria_dialects::{
    bridge::hooks::*,
    ckks::interpret::Slots,
    fhe::{
        access::Attributes,
        interpret::{Fhe, array, datum},
        signature::{self, Side},
        weights::Weights,
    },
    interpret::Interpreter,
    params_of,
};
use ceria_passes::ckks::{ir::Id, noise::Trace, slots};
use ndarray::ArrayD;
use std::collections::HashMap;

fn internal(error: impl ToString) -> CompileError {
    CompileError::Internal(error.to_string())
}

fn entry<'c, 'a>(module: OperationRef<'c, 'a>) -> Result<(OperationRef<'c, 'a>, &'c str), CompileError> {
    let function = signature::network(module).map_err(internal)?;
    let name = Attributes::text(&function, "sym_name").ok_or_else(|| internal("the function has no name"))?;
    Ok((function, name))
}

/// The outputs of a network of `fhe`, on real numbers.
pub fn network(
    module: OperationRef<'_, '_>,
    inputs: &[ArrayD<f64>],
) -> Result<Vec<ArrayD<f64>>, CompileError> {
    let (_, name) = entry(module)?;
    let inputs = inputs.iter().cloned().map(datum).collect();
    let results = Interpreter::new(module).with(Fhe).call(name, inputs).map_err(internal)?;
    results.iter().map(|r| array(r).map_err(internal)).collect()
}

/// The slots of the arguments of a function of `ckks` that records its tensors.
fn packed(function: OperationRef<'_, '_>, inputs: &[ArrayD<f64>]) -> Result<Vec<Slots>, CompileError> {
    let mut arguments = Vec::new();
    for (tensor, input) in tensors(function, Side::Arguments).map_err(internal)?.iter().zip(inputs) {
        let packed = tensor.layout.pack(&input.view()).map_err(internal)?;
        arguments.extend(packed.iter().map(|slots| Slots::real(slots)));
    }
    Ok(arguments)
}

/// The error of encryption in a program's outputs.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    /// The largest standard deviation.
    pub deviation: f64,
    /// The op that makes most of it.
    pub source: String,
}

/// The error of encryption in the outputs of a placed program on these inputs.
pub fn noise(module: OperationRef<'_, '_>, inputs: &[ArrayD<f64>]) -> Result<Noise, CompileError> {
    let (function, name) = entry(module)?;
    let params = params_of(module).ok_or_else(|| internal("the program has no parameters"))?;
    let weights = Weights::of(module);
    let read = |name: &str| weights.get(name).map_err(|e| e.to_string());
    let trace = Trace::on(module, name, &read, packed(function, inputs)?)?;
    let source = trace.loudest(&params).map_or_else(String::new, |(source, _)| source.into());
    Ok(Noise { deviation: trace.errors(&params).into_iter().fold(0.0, f64::max), source })
}

/// The largest slots of what the ops of a ciphertext program use, in runs on these inputs, by value.
pub fn sizes(
    module: OperationRef<'_, '_>,
    runs: &[Vec<ArrayD<f64>>],
) -> Result<HashMap<Id, f64>, CompileError> {
    let (function, name) = entry(module)?;
    let weights = Weights::of(module);
    let read = |name: &str| weights.get(name).map_err(|e| e.to_string());
    let runs = runs.iter().map(|inputs| packed(function, inputs)).collect::<Result<Vec<_>, _>>()?;
    Ok(slots::sizes(module, name, &read, runs)?)
}

/// The outputs of a program of `ckks` on slots: exact, or with the errors of encryption drawn from a seed.
pub fn ciphertexts(
    module: OperationRef<'_, '_>,
    inputs: &[ArrayD<f64>],
    noise: Option<u64>,
) -> Result<Vec<ArrayD<f64>>, CompileError> {
    let (function, name) = entry(module)?;
    let weights = Weights::of(module);
    let read = |name: &str| weights.get(name).map_err(|e| e.to_string());
    let arguments = packed(function, inputs)?;
    let results = interpret::ciphertexts((module, name), arguments, noise, &read).map_err(internal)?;
    let slots: Vec<Vec<f64>> = results.iter().map(Slots::to_real).collect();
    let mut rest = slots.as_slice();
    let mut outputs = Vec::new();
    for tensor in tensors(function, Side::Results).map_err(internal)? {
        let parts = rest.split_at_checked(tensor.layout.ciphertexts());
        let (own, after) = parts.ok_or_else(|| internal("the program has too few results"))?;
        outputs.push(tensor.layout.unpack(&tensor.shape, own).map_err(internal)?);
        rest = after;
    }
    Ok(outputs)
}
