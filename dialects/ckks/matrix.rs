//! The symbols `ckks.matrix` and `ckks.vector` as Rust structures: read from ops, checked, built, and evaluated to
//! slot values once weights are known.

use super::{
    LayoutAttr,
    attributes::{
        elements, float, int, ints, make_float, make_floats, make_int, make_ints, optional, text, to_floats,
        to_ints,
    },
};
use ceria_runtime::format::{
    layout::Layout,
    linear::{Bsgs, Chain, DiagonalValues, FourierFactor, LinearOp, SlotMatrix, diagonals::Block},
};
use melior::{
    Context,
    ir::{
        Attribute, Identifier, Location, Operation, OperationRef,
        attribute::{ArrayAttribute, FlatSymbolRefAttribute, StringAttribute},
        operation::OperationBuilder,
    },
};
use ndarray::{ArrayD, ArrayViewD};

/// The attribute that says which rotations are chains.
pub const CHAIN: &str = "chain";

/// Where the values of clear weights come from: a function of the symbol's name.
pub type Weights<'w> = dyn Fn(&str) -> Result<ArrayD<f32>, String> + 'w;

/// Numbers described by a linear operator on tensors and weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearSource {
    /// The operator.
    pub op: LinearOp,
    /// The symbols of its weights.
    pub weights: Vec<String>,
    /// The layout of its input.
    pub input: Layout,
    /// The layout of its output.
    pub output: Layout,
    /// What every entry is multiplied by.
    pub factor: f64,
}

/// Where a matrix's numbers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum MatrixSource {
    /// A linear operator.
    Linear(Box<LinearSource>),
    /// One period of each diagonal, in the order of the blocks.
    Values(Vec<Vec<f64>>),
    /// A part of the canonical embedding, and what every entry is multiplied by.
    Fourier(FourierFactor, f64),
}

/// A `ckks.matrix`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Blocks, diagonals and their split into baby and giant steps. The folds are those that ops after the transform
    /// do: values depend on them.
    pub slots: SlotMatrix,
    /// Its numbers.
    pub source: MatrixSource,
}

/// Where a vector's numbers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum VectorSource {
    /// A tensor in a layout.
    Tensor {
        /// The symbol of the tensor.
        tensor: String,
        /// What is applied to it, if anything, and the symbols of that operator's weights.
        linear: Option<(LinearOp, Vec<String>)>,
        /// Where the result's elements go.
        layout: Box<Layout>,
        /// What every element is multiplied by.
        factor: f64,
    },
    /// One vector a part, repeated over the slots.
    Values(Vec<Vec<f64>>),
}

/// A `ckks.vector`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// The number of plaintexts.
    pub parts: usize,
    /// Its numbers.
    pub source: VectorSource,
}

fn extent(op: OperationRef<'_, '_>, name: &str, most: i64) -> Result<usize, String> {
    match int(op, name)? {
        value if (1..=most).contains(&value) => Ok(value as usize),
        value => Err(format!("has {name} = {value}, which is not in 1 to {most}")),
    }
}

fn power_of_two(op: OperationRef<'_, '_>, name: &str) -> Result<usize, String> {
    match extent(op, name, 1 << 30)? {
        value if value.is_power_of_two() => Ok(value),
        value => Err(format!("has {name} = {value}, which is no power of two")),
    }
}

fn layout(op: OperationRef<'_, '_>, name: &str) -> Option<Layout> {
    Some(LayoutAttr::try_from(optional(op, name)?).ok()?.layout())
}

fn names(op: OperationRef<'_, '_>) -> Result<Vec<String>, String> {
    let Some(attribute) = optional(op, "weights") else { return Ok(Vec::new()) };
    elements(attribute)
        .and_then(|list| {
            list.into_iter()
                .map(|a| FlatSymbolRefAttribute::try_from(a).ok().map(|s| s.value().to_string()))
                .collect()
        })
        .ok_or_else(|| "has weights that are no symbols".into())
}

fn factor(op: OperationRef<'_, '_>) -> Result<f64, String> {
    let factor = if optional(op, "factor").is_some() { float(op, "factor")? } else { 1.0 };
    if factor.is_finite() { Ok(factor) } else { Err(format!("has the factor {factor}")) }
}

fn values(op: OperationRef<'_, '_>) -> Result<Option<Vec<Vec<f64>>>, String> {
    let Some(attribute) = optional(op, "values") else { return Ok(None) };
    let vectors: Vec<Vec<f64>> = elements(attribute)
        .and_then(|list| list.into_iter().map(to_floats).collect())
        .ok_or("has values that are no lists of numbers")?;
    if vectors.iter().flatten().any(|v| !v.is_finite()) {
        return Err("has a value that is not finite".into());
    }
    Ok(Some(vectors))
}

impl Matrix {
    /// Reads and checks a `ckks.matrix`.
    pub fn read(op: OperationRef<'_, '_>) -> Result<Self, String> {
        let slots = power_of_two(op, "slots")?;
        let (inputs, outputs) = (extent(op, "inputs", 1 << 20)?, extent(op, "outputs", 1 << 20)?);
        let period = power_of_two(op, "period")?;
        if period > slots {
            return Err(format!("has period {period}, more than its {slots} slots"));
        }
        let bsgs = match optional(op, "split") {
            None => Bsgs::hoisted(slots),
            Some(_) => match ints(op, "split")?[..] {
                [modulus, first] if modulus > 0 => Bsgs { modulus, first },
                _ => return Err("has a split that is not a positive modulus and a first step".into()),
            },
        };
        let blocks = Self::read_blocks(op, slots, inputs, outputs)?;
        let folds = if optional(op, "folds").is_some() { ints(op, "folds")? } else { Vec::new() };
        if let Some(fold) = folds.iter().find(|fold| !(1..slots as i64).contains(*fold)) {
            return Err(format!("has the fold {fold}, which is not in 1 to {}", slots - 1));
        }
        let chain = match text(op, "chain") {
            None => Chain::None,
            Some(name) => {
                Chain::parse(&name).ok_or_else(|| format!("has chains of {name:?}, not of giants or all"))?
            }
        };
        let slots = SlotMatrix { slots, inputs, outputs, period, folds, blocks, bsgs, chain };
        let source = match (values(op)?, text(op, "linear"), text(op, "fourier")) {
            (Some(values), None, None) => MatrixSource::Values(values),
            (None, Some(json), None) => MatrixSource::Linear(Box::new(Self::read_linear(op, &json)?)),
            (None, None, Some(part)) => MatrixSource::Fourier(FourierFactor::parse(&part)?, factor(op)?),
            _ => return Err("needs one of 'linear', 'values' and 'fourier'".into()),
        };
        let matrix = Self { slots, source };
        matrix.check()?;
        Ok(matrix)
    }

    fn read_blocks(
        op: OperationRef<'_, '_>,
        slots: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<Vec<Block>, String> {
        let lists: Vec<Vec<i64>> = optional(op, "diagonals")
            .and_then(elements)
            .and_then(|list| list.into_iter().map(to_ints).collect())
            .ok_or("has diagonals that are no lists of integers")?;
        if lists.len() != inputs * outputs {
            return Err(format!(
                "has {} lists of diagonals, {outputs} times {inputs} blocks need {}",
                lists.len(),
                inputs * outputs
            ));
        }
        let slots = slots as i64;
        for list in &lists {
            if let Some(bad) = list.iter().find(|d| d.abs() >= slots) {
                return Err(format!("has diagonal {bad}, which is not between -{slots} and {slots}"));
            }
            if let Some(pair) = list.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("has diagonal {} before {}", pair[0], pair[1]));
            }
        }
        let blocks = lists.into_iter().enumerate().map(|(index, diagonals)| Block {
            output: index / inputs,
            input: index % inputs,
            diagonals,
        });
        Ok(blocks.filter(|b| !b.diagonals.is_empty()).collect())
    }

    fn read_linear(op: OperationRef<'_, '_>, json: &str) -> Result<LinearSource, String> {
        Ok(LinearSource {
            op: LinearOp::from_json(json).map_err(|e| e.to_string())?,
            weights: names(op)?,
            input: layout(op, "input_layout").ok_or("has no input_layout")?,
            output: layout(op, "output_layout").ok_or("has no output_layout")?,
            factor: factor(op)?,
        })
    }

    fn check(&self) -> Result<(), String> {
        let SlotMatrix { slots, inputs, outputs, period, .. } = self.slots;
        match &self.source {
            MatrixSource::Fourier(part, _) => {
                if part.period() > slots {
                    return Err(format!("has the stages {part}, which {slots} slots do not have"));
                }
                let SlotMatrix { bsgs, chain, .. } = self.slots;
                let expected = SlotMatrix { bsgs, chain, ..part.matrix(slots) };
                if expected == self.slots { Ok(()) } else { Err(format!("has not the diagonals of {part}")) }
            }
            MatrixSource::Values(values) => {
                if values.len() != self.slots.diagonals() {
                    return Err(format!("lists {} of {} diagonals", values.len(), self.slots.diagonals()));
                }
                match values.iter().find(|v| v.len() != period) {
                    Some(bad) => Err(format!("lists {} values of a diagonal of period {period}", bad.len())),
                    None => Ok(()),
                }
            }
            MatrixSource::Linear(linear) => {
                let LinearSource { op, weights, input, output, .. } = &**linear;
                if weights.len() != op.weights().len() {
                    return Err(format!("names {} weights of {}", weights.len(), op.weights().len()));
                }
                for (layout, count, shape) in
                    [(input, inputs, op.input_shape()), (output, outputs, op.output_shape())]
                {
                    layout.verify_slots(slots).map_err(|e| e.to_string())?;
                    layout.verify_shape(shape).map_err(|e| e.to_string())?;
                    if layout.ciphertexts() != count {
                        return Err(format!(
                            "has a layout of {} ciphertexts where there are {count}",
                            layout.ciphertexts()
                        ));
                    }
                }
                Ok(())
            }
        }
    }

    /// The values of all diagonals, in the order of the blocks.
    pub fn values(&self, weights: &Weights<'_>) -> Result<Vec<DiagonalValues>, String> {
        match &self.source {
            MatrixSource::Fourier(part, factor) => Ok(part.values(self.slots.slots, *factor)),
            MatrixSource::Values(values) => {
                let numbers = self
                    .slots
                    .blocks
                    .iter()
                    .flat_map(|b| b.diagonals.iter().map(|&diagonal| (b.output, b.input, diagonal)));
                let diagonal = |((output, input, diagonal), values): (_, &Vec<f64>)| DiagonalValues {
                    output,
                    input,
                    diagonal,
                    values: values.clone(),
                    imaginary: Vec::new(),
                };
                Ok(numbers.zip(values).map(diagonal).collect())
            }
            MatrixSource::Linear(linear) => {
                let LinearSource { op, weights: names, input, output, factor } = &**linear;
                let tensors = names.iter().map(|n| weights(n)).collect::<Result<Vec<_>, _>>()?;
                let views: Vec<ArrayViewD<'_, f32>> = tensors.iter().map(|t| t.view()).collect();
                let mut values = self.slots.values(op, &views, input, output).map_err(|e| e.to_string())?;
                for value in values.iter_mut().flat_map(|d| &mut d.values) {
                    *value *= factor;
                }
                Ok(values)
            }
        }
    }

    /// The op that defines it under this name.
    pub fn build<'c>(
        &self,
        context: &'c Context,
        location: Location<'c>,
        name: &str,
    ) -> Result<Operation<'c>, String> {
        let SlotMatrix { slots, inputs, outputs, period, folds, blocks, bsgs, chain } = &self.slots;
        let mut lists = vec![Vec::new(); inputs * outputs];
        for block in blocks {
            lists[block.output * inputs + block.input].clone_from(&block.diagonals);
        }
        let lists: Vec<_> = lists.iter().map(|d| make_ints(context, d)).collect();
        let mut attributes = vec![
            ("sym_name", StringAttribute::new(context, name).into()),
            ("slots", make_int(context, *slots as i64)),
            ("inputs", make_int(context, *inputs as i64)),
            ("outputs", make_int(context, *outputs as i64)),
            ("period", make_int(context, *period as i64)),
            ("diagonals", ArrayAttribute::new(context, &lists).into()),
            ("split", make_ints(context, &[bsgs.modulus, bsgs.first])),
        ];
        if *chain != Chain::None {
            attributes.push((CHAIN, StringAttribute::new(context, chain.name()).into()));
        }
        if !folds.is_empty() {
            attributes.push(("folds", make_ints(context, folds)));
        }
        match &self.source {
            MatrixSource::Values(values) => attributes.push(("values", make_vectors(context, values))),
            MatrixSource::Fourier(part, factor) => {
                attributes.push(("fourier", StringAttribute::new(context, &part.to_string()).into()));
                attributes.push(("factor", make_float(context, *factor)));
            }
            MatrixSource::Linear(linear) => {
                let LinearSource { op, weights, input, output, factor } = &**linear;
                let json = op.to_json().map_err(|e| e.to_string())?;
                attributes.push(("linear", StringAttribute::new(context, &json).into()));
                attributes.push(("weights", make_names(context, weights)));
                attributes.push(("input_layout", LayoutAttr::new(context, input)?.into()));
                attributes.push(("output_layout", LayoutAttr::new(context, output)?.into()));
                attributes.push(("factor", make_float(context, *factor)));
            }
        }
        define(context, location, "ckks.matrix", attributes)
    }
}

impl Vector {
    /// Reads and checks a `ckks.vector`.
    pub fn read(op: OperationRef<'_, '_>) -> Result<Self, String> {
        let parts = extent(op, "parts", 1 << 20)?;
        let source = match (values(op)?, layout(op, "layout")) {
            (Some(values), None) => {
                if values.len() != parts {
                    return Err(format!("lists {} of {parts} parts", values.len()));
                }
                if let Some(bad) = values.iter().find(|v| !v.len().is_power_of_two()) {
                    return Err(format!("lists {} values, which is no power of two", bad.len()));
                }
                VectorSource::Values(values)
            }
            (None, Some(layout)) => {
                if layout.ciphertexts() != parts {
                    return Err(format!("has {parts} parts and a layout of {}", layout.ciphertexts()));
                }
                let mut weights = names(op)?;
                if weights.is_empty() {
                    return Err("names no tensor in 'weights'".into());
                }
                let tensor = weights.remove(0);
                let linear = match text(op, "linear") {
                    Some(json) => Some((LinearOp::from_json(&json).map_err(|e| e.to_string())?, weights)),
                    None if weights.is_empty() => None,
                    None => return Err("names weights besides the tensor but no 'linear'".into()),
                };
                VectorSource::Tensor { tensor, linear, layout: Box::new(layout), factor: factor(op)? }
            }
            _ => return Err("needs either 'layout' or 'values'".into()),
        };
        Ok(Self { parts, source })
    }

    /// The slots of every part, each of a length that divides the number of slots.
    pub fn values(&self, weights: &Weights<'_>) -> Result<Vec<Vec<f64>>, String> {
        match &self.source {
            VectorSource::Values(values) => Ok(values.clone()),
            VectorSource::Tensor { tensor, linear, layout, factor } => {
                let mut values = weights(tensor)?.mapv(f64::from);
                if let Some((op, names)) = linear {
                    let tensors = names.iter().map(|n| weights(n)).collect::<Result<Vec<_>, _>>()?;
                    let views: Vec<ArrayViewD<'_, f32>> = tensors.iter().map(|t| t.view()).collect();
                    values = op.apply(&values, &views).map_err(|e| e.to_string())?;
                }
                values.mapv_inplace(|v| v * factor);
                layout.pack(&values.view()).map_err(|e| e.to_string())
            }
        }
    }

    /// The op that defines it under this name.
    pub fn build<'c>(
        &self,
        context: &'c Context,
        location: Location<'c>,
        name: &str,
    ) -> Result<Operation<'c>, String> {
        let mut attributes = vec![
            ("sym_name", StringAttribute::new(context, name).into()),
            ("parts", make_int(context, self.parts as i64)),
        ];
        match &self.source {
            VectorSource::Values(values) => attributes.push(("values", make_vectors(context, values))),
            VectorSource::Tensor { tensor, linear, layout, factor } => {
                let mut weights = vec![tensor.clone()];
                if let Some((op, names)) = linear {
                    let json = op.to_json().map_err(|e| e.to_string())?;
                    attributes.push(("linear", StringAttribute::new(context, &json).into()));
                    weights.extend(names.iter().cloned());
                }
                attributes.push(("weights", make_names(context, &weights)));
                attributes.push(("layout", LayoutAttr::new(context, layout)?.into()));
                attributes.push(("factor", make_float(context, *factor)));
            }
        }
        define(context, location, "ckks.vector", attributes)
    }
}

fn make_vectors<'c>(context: &'c Context, vectors: &[Vec<f64>]) -> Attribute<'c> {
    let vectors: Vec<_> = vectors.iter().map(|v| make_floats(context, v)).collect();
    ArrayAttribute::new(context, &vectors).into()
}

fn make_names<'c>(context: &'c Context, names: &[String]) -> Attribute<'c> {
    let names: Vec<_> = names.iter().map(|n| FlatSymbolRefAttribute::new(context, n).into()).collect();
    ArrayAttribute::new(context, &names).into()
}

fn define<'c>(
    context: &'c Context,
    location: Location<'c>,
    op: &str,
    attributes: Vec<(&str, Attribute<'c>)>,
) -> Result<Operation<'c>, String> {
    let attributes: Vec<_> = attributes.into_iter().map(|(n, a)| (Identifier::new(context, n), a)).collect();
    OperationBuilder::new(op, location).add_attributes(&attributes).build().map_err(|e| e.to_string())
}
