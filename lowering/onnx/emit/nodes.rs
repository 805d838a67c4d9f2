//! The ops of each node.

use super::{
    super::{
        clear::{inner_places, padded_places},
        error::OnnxError,
        graph::{Constant, Graph, Node, Operator, ValueId, Windows},
    },
    Weights, attribute, clear_type,
};
use ceria_dialects::{
    bridge::generated::fhe::FunctionAttr,
    fhe::{
        Function,
        access::{f64_array_attribute, tensor_type, value_shape},
    },
};
use melior::{
    Context,
    ir::{
        Attribute, Block, BlockLike, Identifier, Location, Type, Value,
        attribute::{DenseI64ArrayAttribute, FlatSymbolRefAttribute, FloatAttribute, IntegerAttribute},
        operation::OperationBuilder,
        r#type::IntegerType,
    },
};
use ndarray::{ArrayD, Dimension, IxDyn};
use std::collections::{HashMap, HashSet};

/// Fills the body of `@main`, whose block has the arguments, and gives the weights that it refers to.
pub(super) fn emit_body<'c>(
    graph: &Graph,
    context: &'c Context,
    block: &Block<'c>,
) -> Result<Vec<Weights>, OnnxError> {
    let mut emitter = Emitter {
        graph,
        context,
        block,
        location: Location::unknown(context),
        encrypted: HashMap::new(),
        weights: Vec::new(),
        symbols: HashSet::from(["main".to_owned()]),
        shared: HashMap::new(),
    };
    for (index, &id) in graph.inputs.iter().enumerate() {
        let argument = block.argument(index).map_err(|error| OnnxError::Build(error.to_string()))?;
        emitter.encrypted.insert(id, argument.into());
    }
    for node in &graph.nodes {
        emitter.location = Location::name(context, &node.name, Location::unknown(context));
        let value = emitter.node(node)?;
        emitter.encrypted.insert(node.output, value);
    }
    emitter.location = Location::unknown(context);
    let results =
        graph.outputs.iter().map(|output| emitter.value(output.value)).collect::<Result<Vec<_>, _>>()?;
    block.append_operation(melior::dialect::func::r#return(&results, emitter.location));
    Ok(emitter.weights)
}

/// In what form a constant of the graph is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// As it is.
    Plain,
    /// One over each element.
    Reciprocal,
    /// Times a number, given by its bits.
    Scaled(u64),
    /// With so many axes of extent 1 behind, so that it broadcasts along channels.
    Column(usize),
    /// A kernel with one axis that gets a second one of extent 1 in front of it.
    Widened,
}

struct Emitter<'c, 'b, 'g> {
    graph: &'g Graph,
    context: &'c Context,
    block: &'b Block<'c>,
    location: Location<'c>,
    encrypted: HashMap<ValueId, Value<'c, 'b>>,
    weights: Vec<Weights>,
    symbols: HashSet<String>,
    shared: HashMap<(ValueId, Form), Value<'c, 'b>>,
}

impl<'c, 'b> Emitter<'c, 'b, '_> {
    fn value(&self, id: ValueId) -> Result<Value<'c, 'b>, OnnxError> {
        let missing = || OnnxError::Build(format!("value `{}` is not there", self.graph.value(id).name));
        self.encrypted.get(&id).copied().ok_or_else(missing)
    }

    fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph.value(id).shape
    }

    fn real(&self, id: ValueId) -> Option<&ArrayD<f32>> {
        match &self.graph.value(id).constant {
            Some(Constant::Real(values)) => Some(values),
            _ => None,
        }
    }

    /// An encrypted value, or the constant in this form.
    fn operand(&mut self, id: ValueId, form: Form) -> Result<Value<'c, 'b>, OnnxError> {
        let Some(values) = self.real(id) else { return self.value(id) };
        if let Some(&value) = self.shared.get(&(id, form)) {
            return Ok(value);
        }
        let (suffix, values) = match form {
            Form::Plain => ("", values.clone()),
            Form::Reciprocal => (".reciprocal", values.mapv(|v| (1.0 / f64::from(v)) as f32)),
            Form::Scaled(factor) => {
                (".scaled", values.mapv(|v| (f64::from(v) * f64::from_bits(factor)) as f32))
            }
            Form::Column(axes) => (".column", reshaped(values, &[values.shape(), &vec![1; axes]].concat())),
            Form::Widened => {
                let shape = values.shape();
                (".widened", reshaped(values, &[&shape[..2], &[1], &shape[2..]].concat()))
            }
        };
        let name = format!("{}{suffix}", self.graph.value(id).name);
        let value = self.constant(&name, values)?;
        self.shared.insert((id, form), value);
        Ok(value)
    }

    /// A new `fhe.weights` and its value.
    fn constant(&mut self, name: &str, values: ArrayD<f32>) -> Result<Value<'c, 'b>, OnnxError> {
        let mut symbol = name.to_owned();
        let mut count = 1;
        while !self.symbols.insert(symbol.clone()) {
            count += 1;
            symbol = format!("{name}.{count}");
        }
        let reference = FlatSymbolRefAttribute::new(self.context, &symbol);
        let r#type = clear_type(self.context, values.shape());
        self.weights.push(Weights { symbol, values });
        self.build("fhe.get_weights", &[], &[("weights", reference.into())], Some(r#type))
    }

    /// Appends an op; without a type its result's is inferred.
    fn build(
        &self,
        name: &str,
        operands: &[Value<'c, 'b>],
        attributes: &[(&str, Attribute<'c>)],
        r#type: Option<Type<'c>>,
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let failed = |error: melior::Error| OnnxError::Build(format!("{name}: {error}"));
        let attributes: Vec<(Identifier<'c>, Attribute<'c>)> =
            attributes.iter().map(|&(key, value)| attribute(self.context, key, value)).collect();
        let builder =
            OperationBuilder::new(name, self.location).add_operands(operands).add_attributes(&attributes);
        let builder = match r#type {
            Some(r#type) => builder.add_results(&[r#type]),
            None => builder.enable_result_type_inference(),
        };
        let op = self.block.append_operation(builder.build().map_err(failed)?);
        Ok(op.result(0).map_err(failed)?.into())
    }

    fn i64s(&self, values: impl IntoIterator<Item = i64>) -> Attribute<'c> {
        DenseI64ArrayAttribute::new(self.context, &values.into_iter().collect::<Vec<_>>()).into()
    }

    fn extents(&self, values: &[usize]) -> Attribute<'c> {
        self.i64s(values.iter().map(|&value| value as i64))
    }

    fn i64(&self, value: i64) -> Attribute<'c> {
        IntegerAttribute::new(IntegerType::new(self.context, 64).into(), value).into()
    }

    fn f64(&self, value: f64) -> Attribute<'c> {
        FloatAttribute::new(self.context, Type::float64(self.context), value).into()
    }

    fn encrypted_type(&self, shape: &[usize]) -> Result<Type<'c>, OnnxError> {
        tensor_type(self.context, shape, None).map_err(OnnxError::Build)
    }

    fn same_type(
        &self,
        name: &str,
        operand: Value<'c, 'b>,
        attributes: &[(&str, Attribute<'c>)],
    ) -> Result<Value<'c, 'b>, OnnxError> {
        self.build(name, &[operand], attributes, Some(melior::ir::ValueLike::r#type(&operand)))
    }

    fn scale(&self, operand: Value<'c, 'b>, factor: f64) -> Result<Value<'c, 'b>, OnnxError> {
        if factor == 1.0 {
            Ok(operand)
        } else {
            self.same_type("fhe.scale", operand, &[("factor", self.f64(factor))])
        }
    }

    fn activation(
        &self,
        function: Function,
        operand: Value<'c, 'b>,
        parameters: &[f64],
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let function = FunctionAttr::new(self.context, function).map_err(OnnxError::Build)?;
        let mut attributes = vec![("function", function.into())];
        if !parameters.is_empty() {
            attributes.push(("parameters", f64_array_attribute(self.context, parameters)));
        }
        self.same_type("fhe.activation", operand, &attributes)
    }

    /// The operand in another shape.
    fn reshape(&self, operand: Value<'c, 'b>, shape: &[usize]) -> Result<Value<'c, 'b>, OnnxError> {
        if value_shape(operand).map_err(OnnxError::Build)? == shape {
            return Ok(operand);
        }
        self.build("fhe.reshape", &[operand], &[], Some(self.encrypted_type(shape)?))
    }

    fn node(&mut self, node: &Node) -> Result<Value<'c, 'b>, OnnxError> {
        let shape = self.shape(node.output).to_vec();
        match &node.operator {
            Operator::Add => self.binary("fhe.add", node),
            Operator::Sub => self.binary("fhe.sub", node),
            Operator::Mul | Operator::Div => self.product(node),
            Operator::MatMul => self.binary("fhe.matmul", node),
            Operator::Gemm { alpha, beta, transpose_a, transpose_b } => {
                self.gemm(node, [*alpha, *beta], [*transpose_a, *transpose_b])
            }
            Operator::Conv { windows, groups } => self.conv(node, windows, *groups),
            Operator::AveragePool { windows, count_pads } => self.average_pool(node, windows, *count_pads),
            Operator::GlobalAveragePool => {
                let axes: Vec<usize> = (2..shape.len()).collect();
                self.reduce("fhe.reduce_mean", node, &axes, true)
            }
            Operator::BatchNormalization { epsilon } => {
                let operands = node.inputs.iter().map(|&id| self.operand(id, Form::Plain));
                let operands = operands.collect::<Result<Vec<_>, _>>()?;
                let r#type = self.encrypted_type(&shape)?;
                self.build("fhe.batch_norm", &operands, &[("epsilon", self.f64(*epsilon))], Some(r#type))
            }
            Operator::ReduceSum { axes, keep_dims } => self.reduce("fhe.reduce_sum", node, axes, *keep_dims),
            Operator::ReduceMean { axes, keep_dims } => {
                self.reduce("fhe.reduce_mean", node, axes, *keep_dims)
            }
            Operator::Concat { axis } => {
                if let Some(&constant) = node.inputs.iter().find(|&&id| self.real(id).is_some()) {
                    let name = &self.graph.value(constant).name;
                    return Err(unsupported(node, format!("its operand `{name}` is constant")));
                }
                let operands = node.inputs.iter().map(|&id| self.value(id)).collect::<Result<Vec<_>, _>>()?;
                self.build("fhe.concat", &operands, &[("dim", self.i64(*axis as i64))], None)
            }
            unary => {
                let x = self.value(node.inputs[0])?;
                self.unary(unary, x, &shape)
            }
        }
    }

    /// Operators with one encrypted operand and no other.
    fn unary(
        &mut self,
        operator: &Operator,
        x: Value<'c, 'b>,
        shape: &[usize],
    ) -> Result<Value<'c, 'b>, OnnxError> {
        match operator {
            Operator::Neg => self.same_type("fhe.neg", x, &[]),
            Operator::Relu => self.activation(Function::Relu, x, &[]),
            Operator::Sigmoid => self.activation(Function::Sigmoid, x, &[]),
            Operator::Tanh => self.activation(Function::Tanh, x, &[]),
            Operator::Clip { low, high } => self.clip(x, *low, *high),
            Operator::Pow { exponent: 1 } => Ok(x),
            Operator::Pow { exponent: 2 } => self.same_type("fhe.square", x, &[]),
            Operator::Pow { exponent } => {
                self.same_type("fhe.pow", x, &[("exponent", self.i64(i64::from(*exponent)))])
            }
            Operator::Reshape => self.reshape(x, shape),
            Operator::Transpose { permutation } => {
                self.build("fhe.transpose", &[x], &[("permutation", self.extents(permutation))], None)
            }
            Operator::Slice { starts, steps } => self.slice(x, starts, shape, steps),
            Operator::Pad { low, high, value } => self.pad(x, low, high, *value),
            Operator::Expand => {
                if value_shape(x).map_err(OnnxError::Build)? == shape {
                    return Ok(x);
                }
                self.build("fhe.expand", &[x], &[], Some(self.encrypted_type(shape)?))
            }
            _ => Ok(x),
        }
    }

    fn binary(&mut self, name: &str, node: &Node) -> Result<Value<'c, 'b>, OnnxError> {
        let operands =
            [self.operand(node.inputs[0], Form::Plain)?, self.operand(node.inputs[1], Form::Plain)?];
        self.build(name, &operands, &[], None)
    }

    /// A product or a quotient: by one number it is a scale, otherwise by weights.
    fn product(&mut self, node: &Node) -> Result<Value<'c, 'b>, OnnxError> {
        let divide = node.operator == Operator::Div;
        let [left, right] = [node.inputs[0], node.inputs[1]];
        for (factor, other) in [(right, left), (left, right)] {
            let number =
                self.real(factor).filter(|values| values.len() == 1).and_then(|values| values.first());
            if let Some(&number) = number
                && self.shape(other) == self.shape(node.output)
            {
                let number = f64::from(number);
                return self.scale(self.value(other)?, if divide { 1.0 / number } else { number });
            }
        }
        let form = if divide { Form::Reciprocal } else { Form::Plain };
        let operands = [self.operand(left, Form::Plain)?, self.operand(right, form)?];
        self.build("fhe.mul", &operands, &[], None)
    }

    fn gemm(
        &mut self,
        node: &Node,
        [alpha, beta]: [f64; 2],
        transposed: [bool; 2],
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let operands =
            [self.operand(node.inputs[0], Form::Plain)?, self.operand(node.inputs[1], Form::Plain)?];
        let mut attributes = Vec::new();
        for (name, set) in ["transpose_lhs", "transpose_rhs"].into_iter().zip(transposed) {
            if set {
                attributes.push((name, Attribute::unit(self.context)));
            }
        }
        let product = self.build("fhe.matmul", &operands, &attributes, None)?;
        let product = self.scale(product, alpha)?;
        let Some(&bias) = node.inputs.get(2).filter(|_| beta != 0.0) else { return Ok(product) };
        let bias = if self.real(bias).is_some() {
            self.operand(bias, if beta == 1.0 { Form::Plain } else { Form::Scaled(beta.to_bits()) })?
        } else {
            self.scale(self.value(bias)?, beta)?
        };
        self.build("fhe.add", &[product, bias], &[], None)
    }

    /// Two-dimensional windows: one axis gets another of extent 1 in front. Gives the operand to use.
    fn planar(
        &self,
        node: &Node,
        windows: &Windows,
    ) -> Result<(Value<'c, 'b>, Windows, Vec<usize>), OnnxError> {
        let x = self.value(node.inputs[0])?;
        let (input, output) = (self.shape(node.inputs[0]), self.shape(node.output));
        match windows.kernel.len() {
            2 => Ok((x, windows.clone(), output.to_vec())),
            1 => {
                let front = |first: usize, rest: &[usize]| [&[first], rest].concat();
                let wide = |shape: &[usize]| [&shape[..2], &[1], &shape[2..]].concat();
                let planar = Windows {
                    kernel: front(1, &windows.kernel),
                    strides: front(1, &windows.strides),
                    dilations: front(1, &windows.dilations),
                    low: front(0, &windows.low),
                    high: front(0, &windows.high),
                };
                Ok((self.reshape(x, &wide(input))?, planar, wide(output)))
            }
            rank => Err(unsupported(node, format!("its windows have {rank} axes; 1 and 2 are supported"))),
        }
    }

    fn conv2d(
        &self,
        operands: [Value<'c, 'b>; 2],
        windows: &Windows,
        groups: usize,
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let attributes = [
            ("strides", self.extents(&windows.strides)),
            ("pads", self.extents(&[&windows.low[..], &windows.high[..]].concat())),
            ("dilations", self.extents(&windows.dilations)),
            ("groups", self.i64(groups as i64)),
        ];
        self.build("fhe.conv2d", &operands, &attributes, None)
    }

    fn conv(&mut self, node: &Node, windows: &Windows, groups: usize) -> Result<Value<'c, 'b>, OnnxError> {
        let (x, planar, _) = self.planar(node, windows)?;
        let form = if windows.kernel.len() == 1 { Form::Widened } else { Form::Plain };
        let kernel = self.operand(node.inputs[1], form)?;
        let mut y = self.conv2d([x, kernel], &planar, groups)?;
        if let Some(&bias) = node.inputs.get(2) {
            let bias = self.operand(bias, Form::Column(2))?;
            y = self.build("fhe.add", &[y, bias], &[], None)?;
        }
        self.reshape(y, self.shape(node.output))
    }

    fn average_pool(
        &mut self,
        node: &Node,
        windows: &Windows,
        count_pads: bool,
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let input = self.shape(node.inputs[0]).to_vec();
        let output = self.shape(node.output).to_vec();
        // Rounding up may take windows past the declared padding.
        let mut reached = windows.clone();
        for (d, high) in reached.high.iter_mut().enumerate() {
            let reach = (windows.kernel[d] - 1) * windows.dilations[d] + 1;
            let end = (output[d + 2] - 1) * windows.strides[d] + reach;
            *high = (*high).max(end.saturating_sub(input[d + 2] + windows.low[d]));
        }
        let dense = windows.dilations.iter().all(|&dilation| dilation == 1);
        if windows.kernel.len() <= 2 && dense && (!count_pads || reached == *windows) {
            let (x, planar, _) = self.planar(node, &reached)?;
            let mut attributes = vec![
                ("window", self.extents(&planar.kernel)),
                ("strides", self.extents(&planar.strides)),
                ("pads", self.extents(&[&planar.low[..], &planar.high[..]].concat())),
            ];
            if count_pads {
                attributes.push(("count_pads", Attribute::unit(self.context)));
            }
            let y = self.build("fhe.avg_pool", &[x], &attributes, None)?;
            return self.reshape(y, &output);
        }
        // Sums, each divided by its number of terms.
        let sums = self.window_sums(node, &reached)?;
        let parts = ArrayD::from_shape_fn(IxDyn(&output[2..]), |at| {
            let at: Vec<usize> = (0..at.ndim()).map(|d| at[d]).collect();
            let count = if count_pads { padded_places } else { inner_places };
            1.0 / count(windows, &at, &input[2..]).max(1) as f32
        });
        let parts = self.constant(&format!("{}.terms", node.name), parts)?;
        self.build("fhe.mul", &[sums, parts], &[], None)
    }

    /// Sums over windows, one axis after the other by convolutions with ones.
    fn window_sums(&mut self, node: &Node, windows: &Windows) -> Result<Value<'c, 'b>, OnnxError> {
        let output = self.shape(node.output).to_vec();
        let mut shape = self.shape(node.inputs[0]).to_vec();
        let mut x = self.value(node.inputs[0])?;
        for d in 0..windows.kernel.len() {
            // Everything before the axis is channels, everything behind it columns.
            let channels: usize = shape[1..d + 2].iter().product();
            let columns: usize = shape[d + 3..].iter().product();
            x = self.reshape(x, &[shape[0], channels, shape[d + 2], columns])?;
            let ones = ArrayD::from_elem(vec![channels, 1, windows.kernel[d], 1], 1.0);
            let kernel = self.constant(&format!("{}.window", node.name), ones)?;
            let line = Windows {
                kernel: vec![windows.kernel[d], 1],
                strides: vec![windows.strides[d], 1],
                dilations: vec![windows.dilations[d], 1],
                low: vec![windows.low[d], 0],
                high: vec![windows.high[d], 0],
            };
            x = self.conv2d([x, kernel], &line, channels)?;
            shape[d + 2] = output[d + 2];
        }
        self.reshape(x, &output)
    }

    fn reduce(
        &self,
        name: &str,
        node: &Node,
        axes: &[usize],
        keep_dims: bool,
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let x = self.value(node.inputs[0])?;
        if axes.is_empty() {
            return Ok(x);
        }
        let mut attributes = vec![("dims", self.extents(axes))];
        if keep_dims {
            attributes.push(("keep_dims", Attribute::unit(self.context)));
        }
        self.build(name, &[x], &attributes, None)
    }

    fn slice(
        &self,
        x: Value<'c, 'b>,
        starts: &[usize],
        sizes: &[usize],
        steps: &[i64],
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let attributes = [
            ("offsets", self.extents(starts)),
            ("sizes", self.extents(sizes)),
            ("steps", self.i64s(steps.iter().copied())),
        ];
        self.build("fhe.slice", &[x], &attributes, None)
    }

    /// Negative extents cut first.
    fn pad(
        &self,
        x: Value<'c, 'b>,
        low: &[i64],
        high: &[i64],
        value: f64,
    ) -> Result<Value<'c, 'b>, OnnxError> {
        let mut x = x;
        let cut = |pad: i64| (-pad).max(0) as usize;
        if low.iter().chain(high).any(|&pad| pad < 0) {
            let extents = value_shape(x).map_err(OnnxError::Build)?;
            let starts: Vec<usize> = low.iter().map(|&pad| cut(pad)).collect();
            let sizes: Vec<usize> =
                (0..low.len()).map(|d| extents[d].saturating_sub(cut(low[d]) + cut(high[d]))).collect();
            x = self.slice(x, &starts, &sizes, &vec![1; low.len()])?;
        }
        if low.iter().chain(high).all(|&pad| pad <= 0) {
            return Ok(x);
        }
        let grow = |pads: &[i64]| self.i64s(pads.iter().map(|&pad| pad.max(0)));
        self.build(
            "fhe.pad",
            &[x],
            &[("low", grow(low)), ("high", grow(high)), ("value", self.f64(value))],
            None,
        )
    }

    /// One bound alone is a shifted ReLU.
    fn clip(&mut self, x: Value<'c, 'b>, low: f64, high: f64) -> Result<Value<'c, 'b>, OnnxError> {
        match (low.is_finite(), high.is_finite()) {
            (false, false) => Ok(x),
            // Bounds in the wrong order give the upper one.
            (true, true) => self.activation(Function::Clip, x, &[low.min(high), high]),
            (true, false) if low == 0.0 => self.activation(Function::Relu, x, &[]),
            (true, false) => {
                let below = self.number("clip.low", -low)?;
                let shifted = self.build("fhe.add", &[x, below], &[], None)?;
                let positive = self.activation(Function::Relu, shifted, &[])?;
                let back = self.number("clip.low", low)?;
                self.build("fhe.add", &[positive, back], &[], None)
            }
            (false, true) => {
                let bound = self.number("clip.high", high)?;
                let shifted = self.build("fhe.sub", &[bound, x], &[], None)?;
                let positive = self.activation(Function::Relu, shifted, &[])?;
                self.build("fhe.sub", &[bound, positive], &[], None)
            }
        }
    }

    fn number(&mut self, name: &str, value: f64) -> Result<Value<'c, 'b>, OnnxError> {
        self.constant(name, ndarray::arr0(value as f32).into_dyn())
    }
}

fn reshaped(values: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let mut elements = values.iter();
    ArrayD::from_shape_simple_fn(IxDyn(shape), || elements.next().copied().unwrap_or_default())
}

fn unsupported(node: &Node, reason: String) -> OnnxError {
    OnnxError::UnsupportedOperator { op: node.op_type.clone(), node: node.name.clone(), reason: Some(reason) }
}
