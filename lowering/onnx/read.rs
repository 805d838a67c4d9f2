//! From the file's messages to the typed [`Graph`].
//!
//! Names become numbers, nodes that no output needs are dropped, constants are folded, every other node is
//! resolved to its [`Operator`], and a trailing `Softmax`, `LogSoftmax` or `ArgMax` goes to the outputs.

use super::{
    constant,
    error::OnnxError,
    fold::fold,
    graph::{Constant, Graph, Node, Operator, Output, Post, ShapedPost, Value, ValueId, element_count},
    operators::{Call, resolve},
    proto::{DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type},
};
use prost::Message;
use std::collections::{HashMap, HashSet};

/// The oldest version of the standard operators that is read; before it broadcasting was an attribute.
const OLDEST_OPSET: i64 = 7;

/// All constants computed at import have at most this number of elements and one more a byte of the model.
const FOLDED_ELEMENTS: usize = 1 << 22;

/// Reads a model from the bytes of its file.
///
/// The first axis of an input may be symbolic; it is the batch, and becomes 1.
///
/// # Errors
/// The bytes are not an ONNX model, or the model is not one that is supported; the message names the node.
pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
    let model = ModelProto::decode(bytes).map_err(|error| OnnxError::Malformed(error.to_string()))?;
    let opset = opset(&model)?;
    let Some(graph) = model.graph else { return Err(OnnxError::Malformed("it has no graph".to_owned())) };
    // Enough for every weight to be computed a few times.
    let budget = FOLDED_ELEMENTS + bytes.len();
    Reader { opset, budget, ..Reader::default() }.read(&graph)
}

fn opset(model: &ModelProto) -> Result<i64, OnnxError> {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let found = model.opset_import.iter().find(|set| standard(&set.domain)).map(|set| set.version);
    match found {
        None => Err(OnnxError::Malformed("it imports no standard operator set".to_owned())),
        Some(version) if version < OLDEST_OPSET => Err(OnnxError::Unsupported(format!(
            "it uses operator set {version}; the oldest that is read is {OLDEST_OPSET}"
        ))),
        Some(version) => Ok(version),
    }
}

#[derive(Default)]
struct Reader {
    opset: i64,
    values: Vec<Value>,
    by_name: HashMap<String, ValueId>,
    nodes: Vec<Node>,
    budget: usize,
}

impl Reader {
    fn read(mut self, graph: &GraphProto) -> Result<Graph, OnnxError> {
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |values| &values.name);
            return Err(OnnxError::Unsupported(format!("initialiser `{name}` is sparse")));
        }
        let needed = needed_values(graph);
        for tensor in &graph.initializer {
            self.initialiser(tensor, needed.contains(tensor.name.as_str()))?;
        }
        let initialisers: HashSet<&str> =
            graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let mut inputs = Vec::new();
        for input in &graph.input {
            // Old files declare initialisers as inputs too.
            if !initialisers.contains(input.name.as_str()) {
                inputs.push(self.input(input)?);
            }
        }
        if inputs.is_empty() {
            return Err(OnnxError::Unsupported("it has no input".to_owned()));
        }
        for (position, node) in graph.node.iter().enumerate() {
            if node.output.iter().any(|name| needed.contains(name.as_str())) {
                self.node(node, position, &needed)?;
            }
        }
        let outputs = self.outputs(graph)?;
        self.finish(graph.name.clone(), inputs, outputs)
    }

    fn define(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        constant: Option<Constant>,
    ) -> Result<ValueId, OnnxError> {
        let id = u32::try_from(self.values.len())
            .map(ValueId)
            .map_err(|_| OnnxError::Unsupported("it has too many values".to_owned()))?;
        if name.is_empty() {
            return Err(OnnxError::Malformed("a value has no name".to_owned()));
        }
        if self.by_name.insert(name.to_owned(), id).is_some() {
            return Err(OnnxError::Malformed(format!("value `{name}` is defined twice")));
        }
        self.values.push(Value { name: name.to_owned(), shape, constant });
        Ok(id)
    }

    fn initialiser(&mut self, tensor: &TensorProto, needed: bool) -> Result<(), OnnxError> {
        let name = &tensor.name;
        // What no output needs is still a name, but its data may be of any type.
        let constant = match constant::decode(tensor) {
            Ok(constant) => Some(constant),
            Err(_) if !needed => None,
            Err(reason) => return Err(OnnxError::Unsupported(format!("initialiser `{name}`: {reason}"))),
        };
        let shape = constant.as_ref().map_or(Vec::new(), |constant| constant.shape().to_vec());
        self.define(name, shape, constant).map(|_| ())
    }

    fn input(&mut self, info: &ValueInfoProto) -> Result<ValueId, OnnxError> {
        let name = &info.name;
        let unsupported = |reason: String| OnnxError::Unsupported(format!("input `{name}`: {reason}"));
        let tensor = info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| unsupported("it is not a tensor".to_owned()))?;
        if ![data_type::FLOAT, data_type::DOUBLE, data_type::FLOAT16, data_type::BFLOAT16]
            .contains(&tensor.elem_type)
        {
            let found = data_type::name(tensor.elem_type);
            return Err(unsupported(format!("its elements are {found}; only floats can be encrypted")));
        }
        let shape = tensor.shape.as_ref().ok_or_else(|| unsupported("it has no shape".to_owned()))?;
        let extents = shape.dim.iter().enumerate().map(|(axis, dimension)| match &dimension.value {
            Some(DimensionValue::Number(extent)) if *extent > 0 => {
                usize::try_from(*extent).map_err(|_| unsupported(format!("axis {axis} has extent {extent}")))
            }
            Some(DimensionValue::Number(extent)) => {
                Err(unsupported(format!("axis {axis} has extent {extent}")))
            }
            // A symbolic batch is one sample.
            _ if axis == 0 && shape.dim.len() > 1 => Ok(1),
            Some(DimensionValue::Name(symbol)) => Err(unsupported(format!(
                "axis {axis} has the symbolic extent `{symbol}`; shapes must be static"
            ))),
            None => Err(unsupported(format!("axis {axis} has no extent; shapes must be static"))),
        });
        let extents = extents.collect::<Result<Vec<_>, _>>()?;
        if element_count(&extents).is_none() {
            return Err(unsupported(format!("its shape {extents:?} is too large")));
        }
        self.define(name, extents, None)
    }

    fn node(&mut self, node: &NodeProto, position: usize, needed: &HashSet<&str>) -> Result<(), OnnxError> {
        let name = node_name(node, position);
        let (opset, budget) = (self.opset, self.budget);
        let call = Call { node, name: &name, opset, budget, values: &self.values, inputs: Vec::new() };
        if !(node.domain.is_empty() || node.domain == "ai.onnx") {
            return Err(call.unknown());
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for operand in &node.input {
            inputs.push(match (operand.as_str(), self.by_name.get(operand)) {
                ("", _) => None,
                (_, Some(&id)) => Some(id),
                _ => return Err(call.invalid(format!("operand `{operand}` is not defined before it"))),
            });
        }
        let call = Call { inputs, ..call };
        let extra = node.output.iter().skip(1).find(|output| needed.contains(output.as_str()));
        if let Some(extra) = extra {
            // Every operator that is supported has one result.
            return Err(match resolve(&call) {
                Err(error) => error,
                Ok(_) => call.unsupported(format!("its additional result `{extra}` is used")),
            });
        }
        let output = node.output.first().map_or("", String::as_str);
        if let Some(constant) = fold(&call)? {
            self.budget = self.budget.saturating_sub(constant.shape().iter().product());
            return self.define(output, constant.shape().to_vec(), Some(constant)).map(|_| ());
        }
        let resolved = resolve(&call)?;
        for &operand in &resolved.inputs {
            self.check_operand(&call, operand)?;
        }
        let output = self.define(output, resolved.shape, None)?;
        let (operator, inputs) = (resolved.operator, resolved.inputs);
        self.nodes.push(Node { name, op_type: node.op_type.clone(), operator, inputs, output });
        Ok(())
    }

    /// Constants that meet encrypted values are finite reals; what the client computes is not computed on.
    fn check_operand(&self, call: &Call<'_>, operand: ValueId) -> Result<(), OnnxError> {
        let value = &self.values[operand.index()];
        match &value.constant {
            Some(Constant::Real(elements)) if elements.iter().any(|element| !element.is_finite()) => {
                Err(call.invalid(format!("constant `{}` has elements that are not finite", value.name)))
            }
            Some(Constant::Integer(_)) => {
                Err(call.invalid(format!("constant `{}` has integer elements", value.name)))
            }
            _ => Ok(()),
        }
    }

    /// Follows each output back through what the client computes.
    fn outputs(&mut self, graph: &GraphProto) -> Result<Vec<Output>, OnnxError> {
        if graph.output.is_empty() {
            return Err(OnnxError::Malformed("it has no output".to_owned()));
        }
        let mut names = HashSet::new();
        let mut outputs = Vec::with_capacity(graph.output.len());
        for declared in &graph.output {
            let name = &declared.name;
            let Some(&id) = self.by_name.get(name) else {
                return Err(OnnxError::Malformed(format!("output `{name}` is not defined")));
            };
            if !names.insert(name) {
                return Err(OnnxError::Malformed(format!("output `{name}` is listed twice")));
            }
            if self.values[id.index()].constant.is_some() {
                return Err(OnnxError::Unsupported(format!("output `{name}` does not depend on an input")));
            }
            self.check_output_shape(declared, &self.values[id.index()].shape)?;
            let (value, post) = self.post(id)?;
            outputs.push(Output { name: name.clone(), value, post });
        }
        Ok(outputs)
    }

    /// What the client computes to get value `id`, and from which encrypted value.
    fn post(&self, id: ValueId) -> Result<(ValueId, Option<ShapedPost>), OnnxError> {
        let (mut value, mut post): (_, Option<ShapedPost>) = (id, None);
        while let Some(node) = self.nodes.iter().find(|node| node.output == value)
            && let Operator::Post(operation) = &node.operator
        {
            match (&post, operation) {
                (None, _) => post = Some((operation.clone(), self.values[value.index()].shape.clone())),
                // The largest element stays where it is.
                (
                    Some((Post::ArgMax { axis, .. }, _)),
                    Post::Softmax { axis: of } | Post::LogSoftmax { axis: of },
                ) if axis == of => {}
                _ => return Err(not_at_the_end(node)),
            }
            value = node.inputs[0];
        }
        Ok((value, post))
    }

    fn check_output_shape(&self, declared: &ValueInfoProto, shape: &[usize]) -> Result<(), OnnxError> {
        let tensor = declared.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
        let Some(expected) = tensor.and_then(|tensor| tensor.shape.as_ref()) else { return Ok(()) };
        let fits = expected.dim.len() == shape.len()
            && expected.dim.iter().zip(shape).all(|(dimension, &extent)| match &dimension.value {
                Some(DimensionValue::Number(number)) => *number == extent as i64,
                _ => true,
            });
        if fits {
            return Ok(());
        }
        let name = &declared.name;
        Err(OnnxError::Malformed(format!(
            "output `{name}` has shape {shape:?}, not the one that is declared"
        )))
    }

    /// Drops what only led to post-processing, and refuses what follows it.
    fn finish(
        mut self,
        name: String,
        inputs: Vec<ValueId>,
        outputs: Vec<Output>,
    ) -> Result<Graph, OnnxError> {
        let mut live: HashSet<ValueId> = outputs.iter().map(|output| output.value).collect();
        for node in self.nodes.iter().rev() {
            if live.contains(&node.output) {
                if matches!(node.operator, Operator::Post(_)) {
                    return Err(not_at_the_end(node));
                }
                live.extend(&node.inputs);
            }
        }
        self.nodes.retain(|node| live.contains(&node.output));
        // Constants that were folded away or went into attributes need no memory any more.
        for (index, value) in self.values.iter_mut().enumerate() {
            if !live.contains(&ValueId(index as u32)) {
                value.constant = None;
            }
        }
        Ok(Graph { name, values: self.values, nodes: self.nodes, inputs, outputs })
    }
}

/// The names that lead to outputs.
fn needed_values(graph: &GraphProto) -> HashSet<&str> {
    let mut needed: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| needed.contains(name.as_str())) {
            needed.extend(node.input.iter().map(String::as_str));
        }
    }
    needed.remove("");
    needed
}

fn not_at_the_end(node: &Node) -> OnnxError {
    let (op, node) = (node.op_type.clone(), node.name.clone());
    OnnxError::UnsupportedOperator {
        op,
        node,
        reason: Some("it is only supported at the end of a network".into()),
    }
}

/// A node's name, or where it is.
fn node_name(node: &NodeProto, position: usize) -> String {
    match node.output.first() {
        _ if !node.name.is_empty() => node.name.clone(),
        Some(output) => format!("#{position}, output {output}"),
        None => format!("#{position}"),
    }
}
