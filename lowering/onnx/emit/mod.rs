//! From a typed graph to a module of the `fhe` dialect.
//!
//! The module has one function `@main` with the network's inputs as arguments and what the client decrypts as
//! results, and a `fhe.weights` symbol for each constant. Constants are in one safetensors file beside it, under
//! the names of the symbols. Every op's location carries the name of its ONNX node.

mod nodes;

use super::{
    error::OnnxError,
    graph::{Graph, Post, ValueId},
};
use ceria_dialects::fhe::{access::tensor_type, signature, weights::DIRECTORY};
use ceria_runtime::format::arrays::write_atomically;
use melior::{
    Context,
    ir::{
        Attribute, Block, BlockLike, Identifier, Location, Module, Region, RegionLike, Type,
        attribute::{IntegerAttribute, StringAttribute, TypeAttribute},
        operation::{OperationBuilder, OperationLike, OperationMutLike},
        r#type::{FunctionType, IntegerType, RankedTensorType},
    },
};
use ndarray::ArrayD;
use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;

/// The name of the file of weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// A constant on its way to the file.
struct Weights {
    /// Its symbol, and its name in the file.
    symbol: String,
    /// Its elements.
    values: ArrayD<f32>,
}

/// Builds the `fhe` module of a network and writes its weights to [`WEIGHTS_FILE`] in `directory`.
///
/// # Errors
/// An operator has a form that the dialect cannot express, or the file cannot be written.
pub fn to_module<'c>(graph: &Graph, context: &'c Context, directory: &Path) -> Result<Module<'c>, OnnxError> {
    let build = |reason: String| OnnxError::Build(reason);
    let unknown = Location::unknown(context);
    let encrypted = |id: ValueId| tensor_type(context, &graph.value(id).shape, None).map_err(build);
    let arguments = graph.inputs.iter().map(|&id| encrypted(id)).collect::<Result<Vec<_>, _>>()?;
    let results = graph.outputs.iter().map(|out| encrypted(out.value)).collect::<Result<Vec<_>, _>>()?;
    let block = Block::new(&arguments.iter().map(|&r#type| (r#type, unknown)).collect::<Vec<_>>());
    let weights = nodes::emit_body(graph, context, &block)?;
    write_weights(&weights, directory)?;

    let mut module = Module::new(unknown);
    let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let absolute = StringAttribute::new(context, &absolute.to_string_lossy());
    module.as_operation_mut().set_attribute(DIRECTORY, absolute.into());
    for tensor in &weights {
        module.body().append_operation(weights_op(context, tensor)?);
    }
    let region = Region::new();
    region.append_block(block);
    let function_type = FunctionType::new(context, &arguments, &results);
    let function = OperationBuilder::new("func.func", Location::name(context, &graph.name, unknown))
        .add_attributes(&[
            attribute(context, "sym_name", StringAttribute::new(context, "main").into()),
            attribute(context, "function_type", TypeAttribute::new(function_type.into()).into()),
        ])
        .add_regions([region])
        .build()
        .map_err(|error| build(error.to_string()))?;
    let function = module.body().append_operation(function);
    for (index, &id) in graph.inputs.iter().enumerate() {
        let name = StringAttribute::new(context, &graph.value(id).name);
        signature::set(function, signature::Side::Arguments, index, &[(signature::NAME, name.into())]);
    }
    for (index, output) in graph.outputs.iter().enumerate() {
        let name = StringAttribute::new(context, &output.name);
        let mut attributes = vec![(signature::NAME, name.into())];
        if let Some((post, _)) = &output.post {
            let (kind, axis) = match *post {
                Post::Softmax { axis } => ("softmax", axis),
                Post::LogSoftmax { axis } => ("log_softmax", axis),
                Post::ArgMax { axis, .. } => ("argmax", axis),
            };
            attributes.push((signature::POST, StringAttribute::new(context, kind).into()));
            let axis = IntegerAttribute::new(IntegerType::new(context, 64).into(), axis as i64);
            attributes.push((signature::POST_AXIS, axis.into()));
        }
        signature::set(function, signature::Side::Results, index, &attributes);
    }
    if module.as_operation().verify() { Ok(module) } else { Err(build("it is not valid".to_owned())) }
}

fn attribute<'c>(context: &'c Context, name: &str, value: Attribute<'c>) -> (Identifier<'c>, Attribute<'c>) {
    (Identifier::new(context, name), value)
}

/// The type of a clear tensor.
fn clear_type<'c>(context: &'c Context, shape: &[usize]) -> Type<'c> {
    let extents: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    RankedTensorType::new(&extents, Type::float32(context), None).into()
}

fn weights_op<'c>(context: &'c Context, tensor: &Weights) -> Result<melior::ir::Operation<'c>, OnnxError> {
    let text = |value: &str| StringAttribute::new(context, value).into();
    let location = Location::name(context, &tensor.symbol, Location::unknown(context));
    OperationBuilder::new("fhe.weights", location)
        .add_attributes(&[
            attribute(context, "sym_name", text(&tensor.symbol)),
            attribute(context, "type", TypeAttribute::new(clear_type(context, tensor.values.shape())).into()),
            attribute(context, "file", text(WEIGHTS_FILE)),
            attribute(context, "key", text(&tensor.symbol)),
        ])
        .build()
        .map_err(|error| OnnxError::Build(error.to_string()))
}

fn write_weights(weights: &[Weights], directory: &Path) -> Result<(), OnnxError> {
    let path = directory.join(WEIGHTS_FILE);
    let failed = |reason: String| OnnxError::Write { path: path.clone(), reason };
    let bytes: Vec<Vec<u8>> = weights
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = weights
        .iter()
        .zip(&bytes)
        .map(|(tensor, bytes)| {
            let view = TensorView::new(Dtype::F32, tensor.values.shape().to_vec(), bytes);
            view.map(|view| (tensor.symbol.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let file = safetensors::serialize(views, None).map_err(|error| failed(error.to_string()))?;
    write_atomically(&path, &file).map_err(|error| failed(error.to_string()))
}
