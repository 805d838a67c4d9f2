//! `ceria interpret`: a function of an MLIR file, run on arrays.
//!
//! Arguments are found in the input by their name (`fhe.name`, `ckks.name`) or as `arg0`, `arg1`, ... Tensors of `fhe`
//! are real arrays, ciphertexts of `ckks` slot vectors, polynomials of `poly` and buffers of `kernel` residues.

use super::network;
use anyhow::{Context as _, Result, anyhow, bail};
use ceria_dialects::{
    ckks::interpret::{Ckks, Slots, slot_count},
    fhe::{
        interpret::Fhe,
        signature::{self, Side},
        weights::Weights,
    },
    interpret::{Datum, Interpreter, symbol},
};
use ceria_lowering::pipelines::compile::root;
use ceria_runtime::format::arrays::{self, NumericArray};
use melior::ir::{OperationRef, TypeLike, attribute::StringAttribute};
use ndarray::{ArrayD, IxDyn};
use std::{collections::BTreeMap, path::PathBuf};

/// Run a function of an MLIR file of any of the four dialects.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file.
    file: PathBuf,
    /// The function.
    #[arg(long, value_name = "NAME", default_value = "main")]
    entry: String,
    /// The arguments: an .npz file with one array an argument.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the results go, .npz or .npy; printed if absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `ceria interpret`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let context = ceria_dialects::context();
    let module = network::read(&context, &arguments.file)?;
    let function = symbol(root(&module), &arguments.entry)
        .with_context(|| format!("{} has no function @{}", arguments.file.display(), arguments.entry))?;
    let given = match &arguments.input {
        Some(path) => arrays::read(path)?,
        None => BTreeMap::new(),
    };
    let data = (0..signature::count(function, Side::Arguments))
        .map(|index| {
            let name = name(function, Side::Arguments, index, "arg");
            let array = given.get(&name).or(given.get(&format!("arg{index}"))).with_context(|| {
                let names: Vec<_> = given.keys().map(|n| format!("'{n}'")).collect();
                format!("the input has no array '{name}' for argument {index}; it has {}", names.join(", "))
            })?;
            argument(function, index, array).with_context(|| format!("argument {index} ('{name}')"))
        })
        .collect::<Result<Vec<_>>>()?;
    let weights = Weights::of(root(&module));
    let read = |name: &str| weights.get(name).map_err(|e| e.to_string());
    let interpreter = Interpreter::new(root(&module)).with(Fhe).with(Ckks::exact(&read));
    let results = interpreter.call(&arguments.entry, data)?;
    let mut named = BTreeMap::new();
    for (index, result) in results.iter().enumerate() {
        named.insert(name(function, Side::Results, index, "result"), to_array(result)?);
    }
    match &arguments.output {
        Some(path) => arrays::write(path, &named)?,
        None => {
            for (name, array) in &named {
                match array {
                    NumericArray::Int(a) => println!("{name} = {a}"),
                    other => println!("{name} = {}", other.to_f64()),
                }
            }
        }
    }
    Ok(())
}

/// The name of an argument or result; parts of one tensor are numbered.
fn name(function: OperationRef<'_, '_>, side: Side, index: usize, stem: &str) -> String {
    let text = |name: &str| {
        let attribute = signature::get(function, side, index, name)?;
        Some(StringAttribute::try_from(attribute).ok()?.value().to_string())
    };
    if let Some(name) = text(signature::NAME) {
        return name;
    }
    let part = signature::get(function, side, index, "ckks.part")
        .and_then(|a| melior::ir::attribute::IntegerAttribute::try_from(a).ok())
        .map(|a| a.value());
    match (text("ckks.name"), part) {
        (Some(name), Some(part)) => format!("{name}.{part}"),
        (Some(name), None) => name,
        _ => format!("{stem}{index}"),
    }
}

/// An array as the value of an argument.
fn argument(function: OperationRef<'_, '_>, index: usize, array: &NumericArray) -> Result<Datum> {
    let ty = signature::type_of(function, Side::Arguments, index).context("has no type")?;
    if let Some(expected) = ceria_dialects::fhe::access::shape_of(ty) {
        if array.shape() != expected {
            bail!("has shape {:?}, the function takes {expected:?}", array.shape());
        }
        return Ok(ceria_dialects::fhe::interpret::datum(array.to_f64()));
    }
    if ceria_dialects::ckks::types::is_ct(ty) {
        let slots: Vec<f64> = array.to_f64().iter().copied().collect();
        let count = slot_count(function).unwrap_or(slots.len());
        if slots.is_empty() || !count.is_multiple_of(slots.len()) {
            bail!("has {} elements, which do not fill {count} slots evenly", slots.len());
        }
        // A short vector is repeated over the slots.
        let filled: Vec<f64> = slots.iter().copied().cycle().take(count).collect();
        return Ok(Datum::object(Slots::real(&filled)));
    }
    if ty.is_index() || ty.is_integer() {
        return Ok(Datum::Int(array.to_f64().iter().next().copied().unwrap_or(0.0) as i64));
    }
    bail!("has the type {ty}, which no array can give a value to")
}

/// A result as an array.
fn to_array(datum: &Datum) -> Result<NumericArray> {
    let wrong = |e: String| anyhow!(e);
    Ok(match datum {
        Datum::Int(value) => NumericArray::Int(ArrayD::from_elem(IxDyn(&[]), *value)),
        Datum::Float(value) => NumericArray::F64(ArrayD::from_elem(IxDyn(&[]), *value)),
        Datum::Tensor(_) => NumericArray::F64(ceria_dialects::fhe::interpret::array(datum).map_err(wrong)?),
        Datum::Object(_) => {
            let slots = datum.get::<Slots>().map_err(wrong)?.to_real();
            NumericArray::F64(ArrayD::from_shape_vec(IxDyn(&[slots.len()]), slots)?)
        }
        Datum::List(list) => {
            let items = list.items.iter().map(Datum::int).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            NumericArray::Int(ArrayD::from_shape_vec(IxDyn(&list.shape), items)?)
        }
    })
}
