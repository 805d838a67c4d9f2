//! Arguments and results of `poly` and `kernel` functions as words, which both levels and compiled code share.
//!
//! A polynomial is `[limbs, N]` residues (its period instead of N where it is sparse) in the form that its type says, a tensor
//! of polynomials has its extents in front, a buffer has its own shape. A function of `kernel` takes its inputs and then
//! the buffers, marked `kernel.output`, that it fills: those are its results.

use super::{
    RunError,
    inputs::{Arrays, Inputs, Wanted},
    slots::numbered,
};
use crate::host::ports;
use ceria_dialects::{
    bridge::hooks::{OperationRef, Type, TypeLike},
    fhe::signature::{self, Side},
    interpret::Datum,
    kernel::{BufType, interpret::View},
    poly::{Form, RnsType, infer, ring::RnsPoly},
};
use ceria_runtime::format::{arrays::NumericArray, basis::Basis, params::Params};
use ndarray::{ArrayD, IxDyn};

/// A value as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words in row-major order.
    Words(Vec<u32>),
    /// An index.
    Number(i64),
}

/// An argument or result.
#[derive(Clone, Debug)]
pub struct Port {
    kind: Kind,
    /// Extents of its array.
    pub shape: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Polynomials: the extents of their tensor, none for a single one.
    Polynomials {
        outer: Option<Vec<usize>>,
        basis: Basis,
        form: Form,
    },
    Buffer,
    Number,
}

/// The arguments and results of a function.
#[derive(Clone, Debug)]
pub struct Ports {
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
}

impl Ports {
    /// Those of a function of `poly` or `kernel`.
    pub fn of(function: OperationRef<'_, '_>, params: &Params) -> Result<Self, RunError> {
        let side = |side| {
            let one = |index| {
                let ty = signature::type_of(function, side, index);
                Port::of(ty.ok_or_else(|| RunError::Function("has no type".into()))?, params)
            };
            (0..signature::count(function, side)).map(one).collect::<Result<Vec<_>, _>>()
        };
        let (mut inputs, mut outputs) = (side(Side::Arguments)?, side(Side::Results)?);
        let (taken, _) = ports(function).map_err(|e| RunError::Function(e.to_string()))?;
        let filled = inputs.split_off(taken);
        if !filled.is_empty() && !outputs.is_empty() {
            return Err(RunError::Function("has results beside buffers that it fills".into()));
        }
        outputs.extend(filled);
        Ok(Self { inputs, outputs })
    }

    /// Values of all inputs.
    pub fn arguments(&self, inputs: &Inputs<'_>, params: &Params) -> Result<Vec<Value>, RunError> {
        let count = self.inputs.len();
        let one = |(index, port): (usize, &Port)| {
            let name = numbered(Side::Arguments, index);
            port.argument(&Wanted { name: &name, index, count }, inputs, params)
        };
        self.inputs.iter().enumerate().map(one).collect()
    }

    /// Results by name.
    pub fn results(&self, values: Vec<Value>) -> Result<Arrays, RunError> {
        let array = |(index, (port, value)): (usize, (&Port, Value))| {
            let array = match value {
                Value::Number(number) => NumericArray::Int(ArrayD::from_elem(IxDyn(&[]), number)),
                Value::Words(words) => NumericArray::Words(
                    ArrayD::from_shape_vec(IxDyn(&port.shape), words)
                        .map_err(|e| RunError::Function(e.to_string()))?,
                ),
            };
            Ok((numbered(Side::Results, index), array))
        };
        self.outputs.iter().zip(values).enumerate().map(array).collect()
    }
}

impl Port {
    fn of(ty: Type<'_>, params: &Params) -> Result<Self, RunError> {
        if let Ok(buffer) = BufType::try_from(ty) {
            let shape = buffer.shape().iter().map(|&extent| extent as usize).collect();
            return Ok(Self { kind: Kind::Buffer, shape });
        }
        if ty.is_index() || ty.is_integer() {
            return Ok(Self { kind: Kind::Number, shape: Vec::new() });
        }
        let (outer, rns) = match (RnsType::try_from(ty), infer::rns_tensor(ty)) {
            (Ok(rns), _) => (None, rns),
            (_, Ok((outer, rns))) => (Some(outer), rns),
            _ => {
                return Err(RunError::Function(format!(
                    "has the type {ty}, which no array can give a value to"
                )));
            }
        };
        let basis = rns.basis();
        if !params.contains(&basis) {
            return Err(RunError::Function(format!("has the type {ty}, whose primes the parameters lack")));
        }
        let words = if rns.period() == 0 { params.n() } else { rns.period() as usize };
        let mut shape = outer.clone().unwrap_or_default();
        shape.extend([basis.len(), words]);
        Ok(Self { kind: Kind::Polynomials { outer, basis, form: rns.form() }, shape })
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no words; a number has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn argument(&self, wanted: &Wanted<'_>, inputs: &Inputs<'_>, params: &Params) -> Result<Value, RunError> {
        // A buffer does not say of which primes its words are residues: what is drawn is canonical for all.
        let most = params.q.iter().chain(&params.p).copied().min().unwrap_or(1);
        Ok(match &self.kind {
            Kind::Number => Value::Number(inputs.integer(wanted)?),
            Kind::Buffer => Value::Words(inputs.words(wanted, &self.shape, |_| u32::MAX, most)?),
            Kind::Polynomials { basis, .. } => {
                let primes = params.primes(basis);
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let prime = |word: usize| primes[word / width % primes.len()];
                Value::Words(inputs.words(wanted, &self.shape, prime, most)?)
            }
        })
    }

    /// The value for an interpreter.
    pub fn datum(&self, value: &Value, params: &Params) -> Result<Datum, RunError> {
        Ok(match (&self.kind, value) {
            (Kind::Number, Value::Number(number)) => Datum::Int(*number),
            (Kind::Buffer, Value::Words(words)) => {
                Datum::object(View::new(self.shape.clone(), words.clone()).map_err(RunError::Function)?)
            }
            (Kind::Polynomials { outer, basis, form }, Value::Words(words)) if words.len() == self.len() => {
                let width = self.shape.last().copied().unwrap_or(1).max(1);
                let run = params.n() / width;
                let limb = |limb: &[u32]| (0..params.n()).map(|i| limb[i / run]).collect();
                let poly = |words: &[u32]| {
                    let limbs = words.chunks_exact(width).map(limb).collect();
                    Datum::object(RnsPoly { basis: basis.clone(), form: *form, limbs })
                };
                let mut polys = words.chunks_exact(basis.len() * width).map(poly);
                match outer {
                    Some(outer) => Datum::list(outer.clone(), polys.collect()),
                    None => polys.next().ok_or_else(|| RunError::Function("has no limbs".into()))?,
                }
            }
            _ => return Err(RunError::Function(format!("takes arrays of shape {:?}", self.shape))),
        })
    }

    /// A buffer to be filled.
    pub fn undefined(&self) -> View {
        View::undefined(self.shape.clone())
    }

    /// Whether it is a buffer.
    pub fn is_buffer(&self) -> bool {
        matches!(self.kind, Kind::Buffer)
    }

    /// What an interpreter returned.
    pub fn value(&self, datum: &Datum, params: &Params) -> Result<Value, RunError> {
        let of = |datum: &Datum| -> Result<Vec<u32>, String> {
            let poly = datum.get::<RnsPoly>()?;
            let run = params.n() / self.shape.last().copied().unwrap_or(1).max(1);
            Ok(poly.limbs.iter().flat_map(|limb| limb.iter().copied().step_by(run.max(1))).collect())
        };
        let words = match (&self.kind, datum) {
            (Kind::Number, _) => return datum.int().map(Value::Number).map_err(RunError::Function),
            (Kind::Buffer, _) => datum.get::<View>().map(View::words),
            (Kind::Polynomials { .. }, Datum::List(list)) => {
                list.items.iter().map(of).collect::<Result<Vec<_>, _>>().map(|parts| parts.concat())
            }
            (Kind::Polynomials { .. }, one) => of(one),
        };
        words.map(Value::Words).map_err(RunError::Function)
    }
}
