//! Each operator's attributes, operands and shape, from any version of the operator set to one [`Operator`].
//!
//! A resolver reads a [`Call`] and gives a [`Resolved`]; it looks at shapes and at constant operands, never at
//! what is encrypted. Which operators exist is one table, [`resolve`].

mod arithmetic;
mod shape;
mod window;

use super::{
    error::OnnxError,
    graph::{Constant, Operator, Value, ValueId, element_count},
    proto::{AttributeProto, NodeProto, TensorProto, attribute_type},
};

/// A node whose operands are known.
pub(super) struct Call<'a> {
    /// The node.
    pub node: &'a NodeProto,
    /// Its name or a description of its place.
    pub name: &'a str,
    /// The version of the standard operator set.
    pub opset: i64,
    /// Every value so far.
    pub values: &'a [Value],
    /// The number of elements that a constant result may have.
    pub budget: usize,
    /// The operands; nothing for optional ones that are absent.
    pub inputs: Vec<Option<ValueId>>,
}

/// What a node means.
pub(super) struct Resolved {
    /// The operator.
    pub operator: Operator,
    /// The operands that the operator still takes; others went into its attributes.
    pub inputs: Vec<ValueId>,
    /// The shape of the result.
    pub shape: Vec<usize>,
}

/// The meaning of a node, or an error that names it.
pub(super) fn resolve(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    let resolved = match call.node.op_type.as_str() {
        "Add" => arithmetic::elementwise(call, Operator::Add),
        "Sub" => arithmetic::elementwise(call, Operator::Sub),
        "Mul" => arithmetic::elementwise(call, Operator::Mul),
        "Div" => arithmetic::div(call),
        "Neg" => arithmetic::unary(call, Operator::Neg),
        "Relu" => arithmetic::unary(call, Operator::Relu),
        "Sigmoid" => arithmetic::unary(call, Operator::Sigmoid),
        "Tanh" => arithmetic::unary(call, Operator::Tanh),
        "Clip" => arithmetic::clip(call),
        "Pow" => arithmetic::pow(call),
        "Cast" => arithmetic::cast(call),
        "Identity" => arithmetic::unary(call, Operator::Identity),
        "MatMul" => arithmetic::matmul(call),
        "Gemm" => arithmetic::gemm(call),
        "BatchNormalization" => arithmetic::batch_normalization(call),
        "Softmax" | "LogSoftmax" => arithmetic::softmax(call),
        "ArgMax" => arithmetic::arg_max(call),
        "Conv" => window::conv(call),
        "AveragePool" => window::average_pool(call),
        "GlobalAveragePool" => window::global_average_pool(call),
        "ReduceSum" | "ReduceMean" => shape::reduce(call),
        "Reshape" => shape::reshape(call),
        "Flatten" => shape::flatten(call),
        "Squeeze" => shape::squeeze(call),
        "Unsqueeze" => shape::unsqueeze(call),
        "Transpose" => shape::transpose(call),
        "Slice" => shape::slice(call),
        "Concat" => shape::concat(call),
        "Pad" => shape::pad(call),
        "Expand" => shape::expand(call),
        _ => Err(call.unknown()),
    }?;
    match element_count(&resolved.shape) {
        None => Err(call.unsupported(format!("its result {:?} has too many elements", resolved.shape))),
        Some(0) => Err(call.unsupported(format!("its result {:?} has no elements", resolved.shape))),
        Some(_) => Ok(resolved),
    }
}

impl Call<'_> {
    /// The error for an operator that is not supported at all.
    pub fn unknown(&self) -> OnnxError {
        let node = self.node;
        let domain = node.domain.as_str();
        let op = if domain.is_empty() { node.op_type.clone() } else { format!("{domain}.{}", node.op_type) };
        OnnxError::UnsupportedOperator { op, node: self.name.to_owned(), reason: None }
    }

    /// The error for a use of the operator that is not supported.
    pub fn unsupported(&self, reason: impl Into<String>) -> OnnxError {
        let (op, node) = (self.node.op_type.clone(), self.name.to_owned());
        OnnxError::UnsupportedOperator { op, node, reason: Some(reason.into()) }
    }

    /// The error for a node that contradicts its operator's definition.
    pub fn invalid(&self, reason: impl Into<String>) -> OnnxError {
        let (op, node) = (self.node.op_type.clone(), self.name.to_owned());
        OnnxError::InvalidNode { op, node, reason: reason.into() }
    }

    /// Checks the number of operands.
    pub fn expect_inputs(&self, least: usize, most: usize) -> Result<(), OnnxError> {
        let count = self.inputs.len();
        if count < least || count > most {
            return Err(self.invalid(format!("it has {count} operands")));
        }
        Ok(())
    }

    /// Operand `index`, which must be there.
    pub fn input(&self, index: usize) -> Result<ValueId, OnnxError> {
        self.optional_input(index).ok_or_else(|| self.invalid(format!("operand {index} is missing")))
    }

    /// Operand `index`, if it is there.
    pub fn optional_input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The shape of operand `index`.
    pub fn shape(&self, index: usize) -> Result<&[usize], OnnxError> {
        Ok(&self.values[self.input(index)?.index()].shape)
    }

    /// The elements of operand `index`, if it is there and constant.
    pub fn constant(&self, index: usize) -> Option<&Constant> {
        self.values[self.optional_input(index)?.index()].constant.as_ref()
    }

    /// The elements of operand `index`, which must be constant if it is there.
    pub fn optional_constant(&self, index: usize, what: &str) -> Result<Option<&Constant>, OnnxError> {
        if self.optional_input(index).is_none() {
            return Ok(None);
        }
        match self.constant(index) {
            Some(constant) => Ok(Some(constant)),
            None => Err(self.unsupported(format!("its {what} is not constant"))),
        }
    }

    /// The elements of the integer operand `index`, if it is there.
    pub fn integers(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, OnnxError> {
        match self.optional_constant(index, what)? {
            None => Ok(None),
            Some(Constant::Integer(values)) if values.ndim() <= 1 => {
                Ok(Some(values.iter().copied().collect()))
            }
            Some(_) => Err(self.invalid(format!("its {what} is not a list of integers"))),
        }
    }

    /// The one element of the real operand `index`, if it is there.
    pub fn number(&self, index: usize, what: &str) -> Result<Option<f64>, OnnxError> {
        let Some(constant) = self.optional_constant(index, what)? else { return Ok(None) };
        let values = constant.to_f64();
        match values.iter().next() {
            Some(&value) if values.len() == 1 => Ok(Some(value)),
            _ => Err(self.invalid(format!("its {what} is not one number"))),
        }
    }

    /// An attribute by name, checked to have the type.
    fn attribute(&self, name: &str, r#type: i32) -> Result<Option<&AttributeProto>, OnnxError> {
        let Some(found) = self.node.attribute.iter().find(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        if found.r#type != r#type {
            return Err(self.invalid(format!("attribute `{name}` has the wrong type")));
        }
        Ok(Some(found))
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Result<Option<i64>, OnnxError> {
        Ok(self.attribute(name, attribute_type::INT)?.map(|attribute| attribute.i))
    }

    /// An integer attribute that says yes or no.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, OnnxError> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// A number attribute.
    pub fn float(&self, name: &str) -> Result<Option<f64>, OnnxError> {
        Ok(self.attribute(name, attribute_type::FLOAT)?.map(|attribute| f64::from(attribute.f)))
    }

    /// An attribute that is a list of integers.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>, OnnxError> {
        Ok(self.attribute(name, attribute_type::INTS)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// An attribute that is a list of numbers.
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>, OnnxError> {
        Ok(self.attribute(name, attribute_type::FLOATS)?.map(|attribute| attribute.floats.as_slice()))
    }

    /// An attribute that is text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, OnnxError> {
        match self.attribute(name, attribute_type::STRING)? {
            None => Ok(None),
            Some(attribute) => match std::str::from_utf8(&attribute.s) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.invalid(format!("attribute `{name}` is not text"))),
            },
        }
    }

    /// An attribute that is a tensor.
    pub fn tensor(&self, name: &str) -> Result<Option<&TensorProto>, OnnxError> {
        Ok(self.attribute(name, attribute_type::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// An axis that may be counted from the end, as one counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, OnnxError> {
        let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        match from_front.and_then(|axis| usize::try_from(axis).ok()) {
            Some(axis) if axis < rank => Ok(axis),
            _ => Err(self.invalid(format!("axis {axis} of a tensor of rank {rank}"))),
        }
    }

    /// Distinct axes, ascending.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, OnnxError> {
        let mut result = axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
        result.sort_unstable();
        if result.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.invalid("an axis is listed twice"));
        }
        Ok(result)
    }
}
