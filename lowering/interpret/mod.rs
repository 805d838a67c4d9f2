//! Running one function of any level on named arrays: interpreted, or lowered and compiled for this machine.
//!
//! [`run`] is what `ceria interpret` does. The arrays are, by level:
//!
//! * `fhe`: real tensors ([`inputs`]).
//! * `ckks`: slots ([`slots`]), as tensors where the function records their layouts.
//! * `poly` and `kernel`: residues ([`words`]). Tables of keys and plaintexts ([`material`]) are arrays too, named
//!   `@table`: `[entries, limbs, N]` for plaintexts and `[entries, digits, 2, limbs, N]` for keys, in evaluation form.
//!
//! With the `ckks` program that a `poly` or `kernel` function was lowered from, a [`client`] stands between: slots are
//! encrypted as that program's arguments, keys are real, results are decrypted. Compiled functions of `fhe` and `ckks`
//! always run that way ([`native`]).

pub mod client;
pub mod inputs;
pub mod material;
pub mod native;
pub mod slots;
pub mod words;

use crate::{
    bundle::BundleError,
    pipelines::{
        PLACE, TO_KERNEL,
        compile::{self, CompileError, clone, root},
    },
};
use ceria_dialects::{
    bridge::{
        hooks::{OperationRef, Type},
        pass::{OptionValues, PipelineError, run_pipeline},
    },
    ckks::{
        interpret::{Ckks, Slots},
        matrix::Weights as Read,
        types::is_ct,
    },
    fhe::{
        self, access,
        interpret::Fhe,
        signature::{self, Side},
        weights::Weights,
    },
    interpret::{Datum, InterpretError, Interpreter, name_of, symbol},
    kernel::{BufType, interpret::KernelEvaluator},
    params_of,
    poly::{
        RnsType, infer,
        interpret::{Material, PolyEvaluator},
    },
};
use ceria_runtime::{
    client::ClientError,
    device::DeviceError,
    format::{arrays::NumericArray, params::Params},
};
use client::{Client, ClientMaterial};
use inputs::{Arrays, Inputs, Wanted};
use material::ArrayMaterial;
use melior::ir::Module;
use native::{Machine, Native};
use ndarray::{ArrayD, IxDyn};
use words::{Ports, Value};

/// Why a function gave no results.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The module has no such function.
    #[error("there is no function @{0}")]
    Missing(String),
    /// The function cannot be run this way.
    #[error("the function {0}")]
    Function(String),
    /// An array does not fit.
    #[error("'{name}' {problem}")]
    Input {
        /// The argument or table.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// An op failed.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
    /// A network cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A lowering failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// There is no code.
    #[error(transparent)]
    Code(#[from] BundleError),
    /// The code cannot be run.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Encryption failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What to run and how.
pub struct Request<'c, 'a> {
    /// The module.
    pub module: &'a Module<'c>,
    /// The function.
    pub entry: &'a str,
    /// Arrays of its arguments and tables.
    pub inputs: Inputs<'a>,
    /// Draw the errors of encryption from this seed; for functions of `ckks` that are interpreted.
    pub noise: Option<u64>,
    /// Lower the function to code for a machine and run that, instead of interpreting it.
    pub machine: Option<Machine>,
    /// The placed `ckks` program that a function of `poly` or `kernel` was lowered from.
    pub client: Option<&'a Module<'c>>,
}

/// A level of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Tensors.
    Fhe,
    /// Ciphertexts.
    Ckks,
    /// Polynomials.
    Poly,
    /// Buffers.
    Kernel,
}

impl Level {
    /// The level of a function, by its signature.
    pub fn of(function: OperationRef<'_, '_>) -> Self {
        let of = |ty: Type<'_>| match ty {
            ty if is_ct(ty) => Some(Level::Ckks),
            ty if RnsType::try_from(ty).is_ok() || infer::rns_tensor(ty).is_ok() => Some(Level::Poly),
            ty if BufType::try_from(ty).is_ok() => Some(Level::Kernel),
            _ => None,
        };
        let side = |side| {
            (0..signature::count(function, side)).filter_map(move |i| signature::type_of(function, side, i))
        };
        side(Side::Arguments).chain(side(Side::Results)).find_map(of).unwrap_or(Level::Fhe)
    }
}

/// Runs a function; its results by name.
pub fn run(request: &Request<'_, '_>) -> Result<Arrays, RunError> {
    let function = function(request.module, request.entry)?;
    let level = Level::of(function);
    let wrong = |what: &str| Err(RunError::Function(what.into()));
    match level {
        Level::Fhe | Level::Ckks if request.client.is_some() => {
            return wrong("is not one of polynomials or buffers: it needs no program to encrypt for");
        }
        Level::Ckks if request.machine.is_none() => {}
        _ if request.noise.is_some() => {
            return wrong("is not interpreted on slots: only functions of ckks have noise to draw");
        }
        _ => {}
    }
    match (level, &request.machine) {
        (Level::Fhe, None) => tensors(request, function),
        (Level::Fhe, Some(machine)) => {
            let placed =
                compile::to_placed(clone(request.module)?, &compile::Options::default(), &mut |_| {})?;
            let read = |name: &str| {
                placed.weights.get(name).cloned().ok_or_else(|| format!("there are no weights @{name}"))
            };
            encrypted((&placed.module, request.entry), machine, &request.inputs, &read)
        }
        (Level::Ckks, None) => slot_vectors(request, function),
        (Level::Ckks, Some(machine)) => with_weights(request.module, |read| {
            let placed = place(request.module)?;
            encrypted((&placed, request.entry), machine, &request.inputs, read)
        }),
        (Level::Poly | Level::Kernel, _) => {
            with_weights(request.module, |read| residues(request, function, read))
        }
    }
}

/// A function of a module.
fn function<'c, 'a>(module: &'a Module<'c>, name: &str) -> Result<OperationRef<'c, 'a>, RunError> {
    let op = symbol(root(module), name).ok_or_else(|| RunError::Missing(name.into()))?;
    match name_of(op).as_str() {
        "func.func" => Ok(op),
        "kernel.func" => Err(RunError::Function(format!("@{name} is a kernel; run one that launches it"))),
        other => Err(RunError::Function(format!("@{name} is a {other}"))),
    }
}

fn with_weights<T>(module: &Module<'_>, f: impl FnOnce(&Read<'_>) -> T) -> T {
    let weights = Weights::of(root(module));
    f(&|name: &str| weights.get(name).map_err(|e| e.to_string()))
}

/// A function of `fhe`, interpreted.
fn tensors(request: &Request<'_, '_>, function: OperationRef<'_, '_>) -> Result<Arrays, RunError> {
    let count = signature::count(function, Side::Arguments);
    let mut arguments = Vec::with_capacity(count);
    for index in 0..count {
        let name = slots::name(function, Side::Arguments, index);
        let wanted = Wanted { name: &name, index, count };
        let ty = signature::type_of(function, Side::Arguments, index);
        let ty = ty.ok_or_else(|| wanted.error("has no type"))?;
        let Some(shape) = access::shape_of(ty) else {
            arguments.push(Datum::Int(request.inputs.integer(&wanted)?));
            continue;
        };
        let range =
            signature::get(function, Side::Arguments, index, signature::RANGE).and_then(access::f64_array);
        let range =
            range.and_then(|range| <[f64; 2]>::try_from(range).ok()).filter(|[low, high]| low <= high);
        let value = request.inputs.reals(&wanted, &shape, range.unwrap_or([-1.0, 1.0]))?;
        if value.shape() != shape {
            return Err(wanted.error(format!("has shape {:?}, the function takes {shape:?}", value.shape())));
        }
        arguments.push(fhe::interpret::datum(value));
    }
    let results = Interpreter::new(root(request.module)).with(Fhe).call(request.entry, arguments)?;
    let array = |(index, datum): (usize, &Datum)| {
        let array = match datum {
            Datum::Int(value) => NumericArray::Int(ArrayD::from_elem(IxDyn(&[]), *value)),
            Datum::Float(value) => NumericArray::F64(ArrayD::from_elem(IxDyn(&[]), *value)),
            other => NumericArray::F64(fhe::interpret::array(other).map_err(RunError::Function)?),
        };
        Ok((slots::name(function, Side::Results, index), array))
    };
    results.iter().enumerate().map(array).collect()
}

/// A function of `ckks`, interpreted, exactly or with noise.
fn slot_vectors(request: &Request<'_, '_>, function: OperationRef<'_, '_>) -> Result<Arrays, RunError> {
    let module = root(request.module);
    let arguments = slots::arguments(function, &request.inputs)?;
    with_weights(request.module, |read| {
        let results = ciphertexts((module, request.entry), arguments, request.noise, read)?;
        slots::results(function, &results)
    })
}

/// The results of a function of `ckks` on slots; with a seed, with the errors that the scheme makes.
pub fn ciphertexts(
    (module, entry): (OperationRef<'_, '_>, &str),
    arguments: Vec<Slots>,
    noise: Option<u64>,
    weights: &Read<'_>,
) -> Result<Vec<Slots>, RunError> {
    let function = symbol(module, entry).ok_or_else(|| RunError::Missing(entry.into()))?;
    let (evaluator, arguments) = match noise {
        None => (Ckks::exact(weights), arguments),
        Some(seed) => {
            let lacks =
                |what: &str| RunError::Function(format!("has no noise, as {what}; run ckks-place before"));
            let params = params_of(module).ok_or_else(|| lacks("the module has no parameters"))?;
            let places = slots::placements(function, Side::Arguments);
            let places = places.ok_or_else(|| lacks("its ciphertexts are at no level"))?;
            let evaluator = Ckks::noisy(weights, &params, seed);
            let fresh =
                arguments.into_iter().zip(places).map(|(slots, (at, _))| evaluator.encrypted(slots, at));
            let fresh = fresh.collect();
            (evaluator, fresh)
        }
    };
    let arguments = arguments.into_iter().map(Datum::object).collect();
    let results = Interpreter::new(module).with(evaluator).call(entry, arguments)?;
    results.iter().map(|result| result.get::<Slots>().cloned().map_err(RunError::Function)).collect()
}

/// A copy of a `ckks` module with levels, scales and parameters, and nothing that has to be expanded.
fn place<'c>(module: &Module<'c>) -> Result<Module<'c>, RunError> {
    let placed = clone(module)?;
    if params_of(root(module)).is_none() {
        let text = (PLACE.text)(&OptionValues::defaults(PLACE.options)).map_err(CompileError::Pass)?;
        run_pipeline(&placed.as_operation(), &text)?;
    }
    run_pipeline(&placed.as_operation(), "func.func(ckks-expand-adjust)")?;
    Ok(placed)
}

/// A placed program of `ckks`, compiled and run on what a client encrypts.
fn encrypted(
    (ckks, entry): (&Module<'_>, &str),
    machine: &Machine,
    inputs: &Inputs<'_>,
    weights: &Read<'_>,
) -> Result<Arrays, RunError> {
    let lowered = clone(ckks)?;
    let text = (TO_KERNEL.text)(&OptionValues::defaults(TO_KERNEL.options)).map_err(CompileError::Pass)?;
    run_pipeline(&lowered.as_operation(), &text)?;
    for_client((ckks, entry), root(&lowered), inputs, weights, |material, arguments, _| {
        Native::compile(machine, root(&lowered), entry, material)?.run(&arguments)
    })
}

/// Encrypts slots as the arguments of a `ckks` program, lets `run` compute on their words with a client's tables, and
/// decrypts.
fn for_client(
    (ckks, entry): (&Module<'_>, &str),
    lowered: OperationRef<'_, '_>,
    inputs: &Inputs<'_>,
    weights: &Read<'_>,
    run: impl FnOnce(&dyn Material, Vec<Vec<u32>>, &Params) -> Result<Vec<Vec<u32>>, RunError>,
) -> Result<Arrays, RunError> {
    let function = function(ckks, entry)?;
    let lacks = |what: &str| RunError::Function(format!("@{entry} of the ckks program {what}"));
    let params = params_of(root(ckks)).ok_or_else(|| lacks("has no parameters"))?;
    if params_of(lowered).as_ref() != Some(&params) {
        return Err(lacks("has other parameters than what was lowered from it"));
    }
    let placed = |side| slots::placements(function, side).ok_or_else(|| lacks("has ciphertexts at no level"));
    let (takes, gives) = (placed(Side::Arguments)?, placed(Side::Results)?);
    let client = Client::new(&params)?;
    let mut words = Vec::new();
    for (slots, (at, size)) in slots::arguments(function, inputs)?.iter().zip(&takes) {
        let fresh = client.encrypt(slots, at)?;
        if fresh.len() != *size {
            return Err(lacks("takes ciphertexts that are not fresh ones of two components"));
        }
        words.extend(fresh);
    }
    let material = ClientMaterial { client: &client, module: lowered, weights };
    let mut results = run(&material, words, &params)?.into_iter();
    let mut found = Vec::new();
    for (at, size) in &gives {
        let polynomials: Vec<_> = results.by_ref().take(*size).collect();
        found.push(client.decrypt(&polynomials, at)?);
    }
    if results.next().is_some() {
        return Err(lacks("has fewer results than what was lowered from it"));
    }
    slots::results(function, &found)
}

/// A function of `poly` or `kernel`, interpreted or compiled, on residues or for a client.
fn residues(
    request: &Request<'_, '_>,
    function: OperationRef<'_, '_>,
    weights: &Read<'_>,
) -> Result<Arrays, RunError> {
    let module = root(request.module);
    let params = params_of(module)
        .ok_or_else(|| RunError::Function("needs parameters: ckks.params on the module".into()))?;
    let ports = Ports::of(function, &params)?;
    if let Some(ckks) = request.client {
        return for_client(
            (ckks, request.entry),
            module,
            &request.inputs,
            weights,
            |material, words, params| {
                let values = words.into_iter().map(Value::Words).collect();
                let results = execute(request, &ports, values, material, params)?;
                let words = |value| match value {
                    Value::Words(words) => Ok(words),
                    Value::Number(_) => {
                        Err(RunError::Function("returns a number, which is no ciphertext".into()))
                    }
                };
                results.into_iter().map(words).collect()
            },
        );
    }
    let material = ArrayMaterial::new(request.inputs, module, weights);
    let arguments = ports.arguments(&request.inputs, &params)?;
    ports.results(execute(request, &ports, arguments, &material, &params)?)
}

/// The results of a function of `poly` or `kernel`.
fn execute(
    request: &Request<'_, '_>,
    ports: &Ports,
    arguments: Vec<Value>,
    material: &dyn Material,
    params: &Params,
) -> Result<Vec<Value>, RunError> {
    if arguments.len() != ports.inputs.len() {
        let (takes, got) = (ports.inputs.len(), arguments.len());
        return Err(RunError::Function(format!("takes {takes} polynomials, the ciphertexts have {got}")));
    }
    if let Some(machine) = &request.machine {
        return compiled(request, machine, arguments, material);
    }
    let module = root(request.module);
    let mut data = Vec::new();
    for (port, value) in ports.inputs.iter().zip(&arguments) {
        data.push(port.datum(value, params)?);
    }
    let filled: Vec<Datum> = ports
        .outputs
        .iter()
        .filter(|port| port.is_buffer())
        .map(|port| Datum::object(port.undefined()))
        .collect();
    data.extend(filled.iter().cloned());
    let poly = PolyEvaluator::new(params, material).map_err(RunError::Function)?;
    let kernel = KernelEvaluator::new(params, material);
    let results = Interpreter::new(module).with(poly).with(kernel).call(request.entry, data)?;
    let results = if filled.is_empty() { results } else { filled };
    ports.outputs.iter().zip(&results).map(|(port, datum)| port.value(datum, params)).collect()
}

/// The same, lowered to kernels where it is not, and compiled.
fn compiled(
    request: &Request<'_, '_>,
    machine: &Machine,
    arguments: Vec<Value>,
    material: &dyn Material,
) -> Result<Vec<Value>, RunError> {
    let mut words = Vec::new();
    for argument in arguments {
        match argument {
            Value::Words(argument) => words.push(argument),
            Value::Number(_) => {
                return Err(RunError::Function("takes a number, which compiled functions cannot".into()));
            }
        }
    }
    let lowered = clone(request.module)?;
    if Level::of(function(request.module, request.entry)?) == Level::Poly {
        run_pipeline(&lowered.as_operation(), "poly-expand-keyswitch,canonicalize,cse,poly-to-kernel")?;
    }
    let results = Native::compile(machine, root(&lowered), request.entry, material)?.run(&words)?;
    Ok(results.into_iter().map(Value::Words).collect())
}
