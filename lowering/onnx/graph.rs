//! The typed graph: what an ONNX model means once names are resolved.
//!
//! A [`Graph`] that [`read`](super::read) returned has these properties:
//! * every value has a static shape, and every node's output shape is the one its operator gives;
//! * nodes are in topological order, each depends on an input of the network and reaches an output;
//! * whatever depends on constants alone is a constant, and constants are finite;
//! * attributes are in one form whatever the version of the operator set: axes are not negative, padding is
//!   explicit, defaults are filled in;
//! * `Softmax`, `LogSoftmax` and `ArgMax` are not among the nodes: they are the outputs' [`Post`].

use ndarray::ArrayD;

/// The largest number of elements of one value.
pub const MAX_ELEMENTS: usize = 1 << 27;

/// The number of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) u32);

impl ValueId {
    /// The position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A value known at import.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Real numbers, whatever the width of the float in the file.
    Real(ArrayD<f32>),
    /// Integers, as shapes and axes are given.
    Integer(ArrayD<i64>),
}

impl Constant {
    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Real(values) => values.shape(),
            Self::Integer(values) => values.shape(),
        }
    }

    /// Its elements as reals.
    pub fn to_f64(&self) -> ArrayD<f64> {
        match self {
            Self::Real(values) => values.mapv(f64::from),
            Self::Integer(values) => values.mapv(|value| value as f64),
        }
    }
}

/// A tensor that nodes read and write.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its name in the model.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its elements, if they do not depend on the input.
    pub constant: Option<Constant>,
}

/// The windows of a convolution or a pooling, one entry an axis after batch and channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Extents of the window.
    pub kernel: Vec<usize>,
    /// Steps between windows.
    pub strides: Vec<usize>,
    /// Steps between the elements of a window.
    pub dilations: Vec<usize>,
    /// Zeros in front.
    pub low: Vec<usize>,
    /// Zeros behind.
    pub high: Vec<usize>,
}

/// An operator with its attributes. Operands are in ONNX's order; optional ones may be missing at the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Elementwise sum with broadcasting.
    Add,
    /// Elementwise difference with broadcasting.
    Sub,
    /// Elementwise product with broadcasting.
    Mul,
    /// Elementwise quotient with broadcasting; the divisor is constant.
    Div,
    /// Elementwise negation.
    Neg,
    /// Matrix product as in NumPy.
    MatMul,
    /// `alpha * a b + beta * c` with optional transposition of `a` and `b`.
    Gemm {
        /// Factor of the product.
        alpha: f64,
        /// Factor of the third operand.
        beta: f64,
        /// Whether the first operand is transposed.
        transpose_a: bool,
        /// Whether the second operand is transposed.
        transpose_b: bool,
    },
    /// Convolution with a constant kernel and an optional constant bias.
    Conv {
        /// Where the kernel is laid.
        windows: Windows,
        /// The number of groups of channels.
        groups: usize,
    },
    /// Means over windows.
    AveragePool {
        /// Where the means are taken.
        windows: Windows,
        /// Whether the zeros of `windows.low` and `windows.high` count as elements. Places beyond them, which
        /// rounding the number of windows up can reach, never do.
        count_pads: bool,
    },
    /// Mean over everything after batch and channels.
    GlobalAveragePool,
    /// `scale * (x - mean) / sqrt(variance + epsilon) + shift`, operands in the order x, scale, shift, mean, variance.
    BatchNormalization {
        /// What keeps the root from zero.
        epsilon: f64,
    },
    /// Sum over axes, ascending.
    ReduceSum {
        /// The axes.
        axes: Vec<usize>,
        /// Whether they remain with extent 1.
        keep_dims: bool,
    },
    /// Mean over axes, ascending.
    ReduceMean {
        /// The axes.
        axes: Vec<usize>,
        /// Whether they remain with extent 1.
        keep_dims: bool,
    },
    /// The same elements in the output's shape; also `Flatten`, `Squeeze` and `Unsqueeze`.
    Reshape,
    /// Axis `i` of the output is axis `permutation[i]` of the operand.
    Transpose {
        /// The permutation.
        permutation: Vec<usize>,
    },
    /// Element `i` of the output is element `starts + i * steps` of the operand.
    Slice {
        /// First elements.
        starts: Vec<usize>,
        /// Steps, which may be negative.
        steps: Vec<i64>,
    },
    /// Operands one after the other.
    Concat {
        /// Along this axis.
        axis: usize,
    },
    /// A border of one number; negative extents cut instead.
    Pad {
        /// Elements in front, by axis.
        low: Vec<i64>,
        /// Elements behind, by axis.
        high: Vec<i64>,
        /// The number.
        value: f64,
    },
    /// Copies to the output's shape.
    Expand,
    /// The operand itself; also `Cast` between floats.
    Identity,
    /// max(x, 0).
    Relu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// min(max(x, low), high); infinite bounds are absent ones.
    Clip {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// A power with a small exponent, at least 1.
    Pow {
        /// The exponent.
        exponent: u32,
    },
    /// What the client does after decryption.
    Post(Post),
}

/// The end of a network that the client computes after decryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Post {
    /// exp(x) / sum of exp(x) along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// The logarithm of softmax.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// The index of the largest element along an axis.
    ArgMax {
        /// The axis.
        axis: usize,
        /// Whether the axis remains with extent 1.
        keep_dims: bool,
        /// Whether the last of equal elements counts instead of the first.
        last: bool,
    },
}

/// The largest exponent of [`Operator::Pow`].
pub const MAX_EXPONENT: u32 = 64;

/// One operator at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The node's name, or a description of it if the model gives none.
    pub name: String,
    /// The operator's name in ONNX.
    pub op_type: String,
    /// What it does.
    pub operator: Operator,
    /// Its operands.
    pub inputs: Vec<ValueId>,
    /// Its result.
    pub output: ValueId,
}

/// Post-processing and the shape that it gives.
pub type ShapedPost = (Post, Vec<usize>);

/// A result of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// What the encrypted network computes.
    pub value: ValueId,
    /// What the client does with it, and the shape that this gives.
    pub post: Option<ShapedPost>,
}

impl Output {
    /// The shape after post-processing.
    pub fn shape<'g>(&'g self, graph: &'g Graph) -> &'g [usize] {
        self.post.as_ref().map_or(&graph.value(self.value).shape, |(_, shape)| shape)
    }
}

/// A network with static shapes on real numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The network's name, possibly empty.
    pub name: String,
    /// Every value.
    pub values: Vec<Value>,
    /// The operators in topological order.
    pub nodes: Vec<Node>,
    /// What the client encrypts.
    pub inputs: Vec<ValueId>,
    /// What the client decrypts.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// A value by its number.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }
}

/// The shape of an elementwise operation on operands of these shapes, by NumPy's rule.
pub fn broadcast_shapes(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let extent =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (extent(left, axis), extent(right, axis)) {
            (l, r) if l == r => Some(l),
            (1, r) => Some(r),
            (l, 1) => Some(l),
            _ => None,
        })
        .collect()
}

/// The number of elements, or nothing if it is above [`MAX_ELEMENTS`].
pub fn element_count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
    (count <= MAX_ELEMENTS).then_some(count)
}
