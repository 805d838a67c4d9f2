//! The description of a linear operator: a chain of steps from one tensor to one tensor.
//!
//! A [`LinearOp`] that exists is well formed: every step suits the shape that reaches it, every weight has the
//! shape its step needs. The steps mean what the ONNX operators of the same name mean.
//!
//! ```
//! use ceria_runtime::format::linear::{LinearOp, Step};
//!
//! let mut op = LinearOp::identity(&[1, 784]).unwrap();
//! let w = op.add_weight(&[784, 128]).unwrap();
//! op.push(Step::MatMul { weight: w, weight_first: false, transposed: false }).unwrap();
//! op.push(Step::Factor { factor: 0.5 }).unwrap();
//! assert_eq!(op.output_shape(), [1, 128]);
//! ```

use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::matrix::SparseMatrix;
use super::{naive, steps};

/// The largest number of elements of a tensor; element numbers are 32-bit.
const MAX_ELEMENTS: usize = 1 << 31;

/// What is wrong with a linear operator or with the data given to it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LinearError {
    /// A step does not suit its input.
    #[error("{step}: {reason}")]
    Step {
        /// The kind of step.
        step: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A step refers to a weight that does not exist.
    #[error("step refers to weight {index}, but the operator has {count} weights")]
    NoWeight {
        /// The number that the step gives.
        index: usize,
        /// The number of weights.
        count: usize,
    },
    /// A bound weight does not have the shape the operator says.
    #[error("weight {index} has shape {found:?}, but the operator needs {expected:?}")]
    WeightShape {
        /// The weight's number.
        index: usize,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the operator states.
        expected: Vec<usize>,
    },
    /// A different number of weights than the operator has.
    #[error("{found} weights are given, but the operator has {expected}")]
    WeightCount {
        /// The weights that are given.
        found: usize,
        /// The weights that the operator has.
        expected: usize,
    },
    /// The input tensor, or the input of a composed operator, has another shape.
    #[error("the input has shape {found:?}, but the operator takes {expected:?}")]
    InputShape {
        /// The shape of the input.
        found: Vec<usize>,
        /// The shape that the operator takes.
        expected: Vec<usize>,
    },
    /// A tensor with more elements than can be numbered.
    #[error("a tensor of shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// A layout does not suit the operator.
    #[error(transparent)]
    Layout(#[from] crate::format::layout::LayoutError),
    /// The slots of a slot matrix do not match the operator or its layouts.
    #[error("{0}")]
    Slots(String),
    /// The JSON of an operator cannot be read.
    #[error("malformed linear operator: {0}")]
    Json(String),
}

/// One step of a linear operator. Weights are given by their number in the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// `x @ w`, or `w @ x`, with numpy's rules for vectors and leading dimensions.
    MatMul {
        /// The weight.
        weight: usize,
        /// Whether the weight is the left factor.
        #[serde(default, skip_serializing_if = "is_false")]
        weight_first: bool,
        /// Whether the last two dimensions of the stored weight are exchanged before use.
        #[serde(default, skip_serializing_if = "is_false")]
        transposed: bool,
    },
    /// A convolution of `[batch, channels, spatial..]` by a weight `[out, channels / groups, kernel..]`.
    Conv {
        /// The weight.
        weight: usize,
        /// The step of the window in each spatial dimension.
        strides: Vec<usize>,
        /// Zero padding: the beginnings of all spatial dimensions, then the ends.
        pads: Vec<usize>,
        /// The distance of the kernel's taps in each spatial dimension.
        dilations: Vec<usize>,
        /// The number of groups that channels are divided into.
        groups: usize,
    },
    /// The mean over windows of the spatial dimensions of `[batch, channels, spatial..]`.
    AveragePool {
        /// The window.
        kernel: Vec<usize>,
        /// The step of the window.
        strides: Vec<usize>,
        /// Padding: the beginnings of all spatial dimensions, then the ends.
        pads: Vec<usize>,
        /// The distance of the window's taps.
        dilations: Vec<usize>,
        /// Whether the last window may reach beyond the padding.
        ceil_mode: bool,
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// The sum or mean over some dimensions.
    Reduce {
        /// The dimensions that are reduced.
        axes: Vec<usize>,
        /// Whether the sum is divided by the number of its terms.
        mean: bool,
        /// Whether reduced dimensions stay, with size 1.
        keep_dims: bool,
    },
    /// The same elements in row-major order under another shape.
    Reshape {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Dimension `i` of the result is dimension `permutation[i]` of the input.
    Transpose {
        /// The permutation.
        permutation: Vec<usize>,
    },
    /// Coordinate `c` of dimension `i` of the result is `starts[i] + c * steps[i]` of the input.
    Slice {
        /// The coordinates of the first element.
        starts: Vec<usize>,
        /// The distance of neighbours; negative to go backwards.
        steps: Vec<i64>,
        /// The shape of the result.
        shape: Vec<usize>,
    },
    /// Zeros around the tensor. A part of a concatenation is its part, padded to the whole.
    Pad {
        /// Zeros before the first coordinate of each dimension.
        before: Vec<usize>,
        /// Zeros after the last coordinate of each dimension.
        after: Vec<usize>,
    },
    /// Numpy's broadcast to a larger shape.
    Expand {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Elementwise product with a clear tensor that broadcasts to the input's shape.
    Scale {
        /// The weight.
        weight: usize,
    },
    /// Product with a number.
    Factor {
        /// The number.
        factor: f64,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A linear map from one tensor to one tensor; see the [module documentation](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct LinearOp {
    input: Vec<usize>,
    weights: Vec<Vec<usize>>,
    steps: Vec<Step>,
    #[serde(skip_serializing)]
    output: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    input: Vec<usize>,
    weights: Vec<Vec<usize>>,
    steps: Vec<Step>,
}

impl TryFrom<Unchecked> for LinearOp {
    type Error = LinearError;

    fn try_from(raw: Unchecked) -> Result<Self, LinearError> {
        let mut op = Self::identity(&raw.input)?;
        for shape in &raw.weights {
            op.add_weight(shape)?;
        }
        for step in raw.steps {
            op.push(step)?;
        }
        Ok(op)
    }
}

impl LinearOp {
    /// The operator without steps. As a slot matrix it converts one layout to another.
    pub fn identity(shape: &[usize]) -> Result<Self, LinearError> {
        check_elements(shape)?;
        Ok(Self { input: shape.to_vec(), weights: Vec::new(), steps: Vec::new(), output: shape.to_vec() })
    }

    /// Declares a weight and returns its number.
    pub fn add_weight(&mut self, shape: &[usize]) -> Result<usize, LinearError> {
        check_elements(shape)?;
        self.weights.push(shape.to_vec());
        Ok(self.weights.len() - 1)
    }

    /// Appends a step; an error leaves the operator as it was.
    pub fn push(&mut self, step: Step) -> Result<(), LinearError> {
        let output = steps::output_shape(&step, &self.output, &self.weights)?;
        check_elements(&output)?;
        self.output = output;
        self.steps.push(step);
        Ok(())
    }

    /// The operator with one more step.
    pub fn with(mut self, step: Step) -> Result<Self, LinearError> {
        self.push(step)?;
        Ok(self)
    }

    /// This operator followed by another one, whose weights are numbered after this one's.
    pub fn then(&self, next: &Self) -> Result<Self, LinearError> {
        if next.input != self.output {
            return Err(LinearError::InputShape { found: self.output.clone(), expected: next.input.clone() });
        }
        let mut op = self.clone();
        op.weights.extend(next.weights.iter().cloned());
        for step in &next.steps {
            let mut step = step.clone();
            if let Step::MatMul { weight, .. } | Step::Conv { weight, .. } | Step::Scale { weight } =
                &mut step
            {
                *weight += self.weights.len();
            }
            op.push(step)?;
        }
        Ok(op)
    }

    /// The shape of the input.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// The shape of the output.
    pub fn output_shape(&self) -> &[usize] {
        &self.output
    }

    /// The shapes of the weights.
    pub fn weights(&self) -> &[Vec<usize>] {
        &self.weights
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether the operator only renames, moves or copies elements.
    pub fn is_data_movement(&self) -> bool {
        use Step::{Expand, Pad, Reshape, Slice, Transpose};
        self.steps.iter().all(|s| {
            matches!(s, Reshape { .. } | Transpose { .. } | Slice { .. } | Pad { .. } | Expand { .. })
        })
    }

    /// The matrix whose non-zero pattern holds for all weights. Its values mean nothing.
    pub fn structure(&self) -> Result<SparseMatrix, LinearError> {
        self.build(None)
    }

    /// The matrix with the coefficients that these weights make. Its pattern is that of
    /// [`LinearOp::structure`], entries that happen to be zero included.
    pub fn matrix(&self, weights: &[ArrayViewD<'_, f32>]) -> Result<SparseMatrix, LinearError> {
        self.check_weights(weights)?;
        self.build(Some(weights))
    }

    fn build(&self, weights: Option<&[ArrayViewD<'_, f32>]>) -> Result<SparseMatrix, LinearError> {
        let mut shape = self.input.clone();
        let mut matrix: Option<SparseMatrix> = None;
        for step in &self.steps {
            let next_shape = steps::output_shape(step, &shape, &self.weights)?;
            if let Some(next) = steps::matrix(step, &shape, &next_shape, &self.weights, weights) {
                matrix = Some(match matrix {
                    Some(first) => next.compose(&first),
                    None => next,
                });
            }
            shape = next_shape;
        }
        Ok(matrix.unwrap_or_else(|| SparseMatrix::identity(shape.iter().product())))
    }

    /// Applies the operator to a tensor by the definition of each step, independently of [`LinearOp::matrix`], whose
    /// oracle it is.
    pub fn apply(
        &self,
        input: &ArrayD<f64>,
        weights: &[ArrayViewD<'_, f32>],
    ) -> Result<ArrayD<f64>, LinearError> {
        self.check_weights(weights)?;
        if input.shape() != self.input {
            return Err(LinearError::InputShape {
                found: input.shape().to_vec(),
                expected: self.input.clone(),
            });
        }
        naive::apply(self, input, weights)
    }

    fn check_weights(&self, weights: &[ArrayViewD<'_, f32>]) -> Result<(), LinearError> {
        if weights.len() != self.weights.len() {
            return Err(LinearError::WeightCount { found: weights.len(), expected: self.weights.len() });
        }
        for (index, (weight, expected)) in weights.iter().zip(&self.weights).enumerate() {
            if weight.shape() != expected {
                return Err(LinearError::WeightShape {
                    index,
                    found: weight.shape().to_vec(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }

    /// The operator as JSON.
    pub fn to_json(&self) -> Result<String, LinearError> {
        serde_json::to_string(self).map_err(|e| LinearError::Json(e.to_string()))
    }

    /// Reads the JSON that [`LinearOp::to_json`] writes.
    pub fn from_json(text: &str) -> Result<Self, LinearError> {
        serde_json::from_str(text).map_err(|e| LinearError::Json(e.to_string()))
    }
}

fn check_elements(shape: &[usize]) -> Result<(), LinearError> {
    let mut elements = 1usize;
    for &size in shape {
        elements = elements.saturating_mul(size);
    }
    if elements == 0 || elements > MAX_ELEMENTS || shape.len() > 16 {
        return Err(LinearError::TooLarge(shape.to_vec()));
    }
    Ok(())
}
