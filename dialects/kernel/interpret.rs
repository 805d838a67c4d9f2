//! The interpreter of the `kernel` dialect: buffers in memory, kernels tile by tile ([`super::run`]).
//!
//! A buffer is a [`Datum`] object holding a [`View`]; views of one buffer share its words. Fresh buffers are filled
//! with a word that is no residue, so that reading what was never written shows.

use super::{
    model::{ArgumentKind, Kernel},
    run::{Operand, run},
    table::{Table, words},
    verify::{shape_of, symbol},
};
use crate::{
    bridge::hooks::*,
    interpret::{Datum, Evaluator, Frame, name_of},
    poly::interpret::Material,
};
use ceria_runtime::format::params::Params;
use std::{cell::RefCell, collections::HashMap, rc::Rc};

/// Not a residue of any prime.
const UNDEFINED: u32 = u32::MAX;

/// A part of a buffer.
#[derive(Clone)]
pub struct View {
    words: Rc<RefCell<Vec<u32>>>,
    start: usize,
    /// Its extents.
    pub shape: Vec<usize>,
}

impl View {
    /// A new buffer with these words.
    pub fn new(shape: Vec<usize>, words: Vec<u32>) -> Result<Self, String> {
        if shape.iter().product::<usize>() != words.len() {
            return Err(format!("a buffer of {shape:?} does not hold {} words", words.len()));
        }
        Ok(Self { words: Rc::new(RefCell::new(words)), start: 0, shape })
    }

    /// A new buffer whose words are undefined.
    pub fn undefined(shape: Vec<usize>) -> Self {
        let words = vec![UNDEFINED; shape.iter().product()];
        Self { words: Rc::new(RefCell::new(words)), start: 0, shape }
    }

    /// The number of its words.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no words; never true of a buffer of the dialect.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its words.
    pub fn words(&self) -> Vec<u32> {
        self.words.borrow()[self.start..self.start + self.len()].to_vec()
    }

    /// Writes all its words.
    pub fn write(&self, words: &[u32]) {
        self.words.borrow_mut()[self.start..self.start + self.len()].copy_from_slice(words);
    }

    fn part(&self, indices: &[i64]) -> Result<Self, String> {
        let mut start = self.start;
        let mut stride = self.len();
        for (&index, &extent) in indices.iter().zip(&self.shape) {
            let index = usize::try_from(index).ok().filter(|&i| i < extent);
            stride /= extent;
            start += index.ok_or_else(|| format!("has an index outside the {extent} parts"))? * stride;
        }
        Ok(Self { words: Rc::clone(&self.words), start, shape: self.shape[indices.len()..].to_vec() })
    }
}

/// Evaluates `kernel` ops; see the [module documentation](self).
pub struct KernelEvaluator<M> {
    params: Params,
    material: M,
    tables: RefCell<HashMap<String, View>>,
    kernels: RefCell<HashMap<String, Rc<Kernel>>>,
}

impl<M: Material> KernelEvaluator<M> {
    /// An evaluator for a module with these parameters.
    pub fn new(params: &Params, material: M) -> Self {
        Self { params: params.clone(), material, tables: RefCell::default(), kernels: RefCell::default() }
    }

    fn table(&self, name: &str, frame: &Frame<'_, '_>) -> Result<View, String> {
        if let Some(known) = self.tables.borrow().get(name) {
            return Ok(known.clone());
        }
        let op =
            frame.interpreter().symbol(name).ok_or_else(|| format!("refers to @{name}, which is missing"))?;
        let table = Table::read(op)?;
        let view = {
            let words = words(context_of(op), &self.params, &table, &self.material)?;
            View::new(table.shape.clone(), words)?
        };
        self.tables.borrow_mut().insert(name.into(), view.clone());
        Ok(view)
    }

    fn kernel(&self, name: &str, frame: &Frame<'_, '_>) -> Result<Rc<Kernel>, String> {
        if let Some(known) = self.kernels.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let op =
            frame.interpreter().symbol(name).ok_or_else(|| format!("launches @{name}, which is missing"))?;
        let kernel = Rc::new(Kernel::decode(op, &self.params)?);
        self.kernels.borrow_mut().insert(name.into(), Rc::clone(&kernel));
        Ok(kernel)
    }

    fn launch(&self, kernel: &Kernel, operands: &[Datum]) -> Result<(), String> {
        let mut copies = Vec::with_capacity(operands.len());
        for (operand, argument) in operands.iter().zip(&kernel.arguments) {
            copies.push(match argument {
                ArgumentKind::Buffer(_) => operand.get::<View>()?.words(),
                ArgumentKind::Index => Vec::new(),
            });
        }
        let mut arguments = Vec::with_capacity(operands.len());
        for ((operand, argument), copy) in operands.iter().zip(&kernel.arguments).zip(&mut copies) {
            arguments.push(match argument {
                ArgumentKind::Buffer(_) => Operand::Buffer(copy),
                ArgumentKind::Index => {
                    Operand::Index(usize::try_from(operand.int()?).map_err(|_| "passes a negative number")?)
                }
            });
        }
        run(kernel, &mut arguments)?;
        for (index, (operand, copy)) in operands.iter().zip(&copies).enumerate() {
            if kernel.is_stored(index) {
                operand.get::<View>()?.write(copy);
            }
        }
        Ok(())
    }
}

impl<M: Material> Evaluator for KernelEvaluator<M> {
    fn dialect(&self) -> &'static str {
        "kernel"
    }

    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String> {
        let result_shape = || -> Result<Vec<usize>, String> {
            let shape = shape_of(op.result(0).map_err(|e| e.to_string())?)?;
            Ok(shape.into_iter().map(|extent| extent as usize).collect())
        };
        match name_of(op).as_str() {
            "kernel.alloc" => Ok(vec![Datum::object(View::undefined(result_shape()?))]),
            "kernel.free" => {
                let view = operands[0].get::<View>()?;
                view.write(&vec![UNDEFINED; view.len()]);
                Ok(Vec::new())
            }
            "kernel.copy" => {
                operands[1].get::<View>()?.write(&operands[0].get::<View>()?.words());
                Ok(Vec::new())
            }
            "kernel.subview" => {
                let indices = operands[1..].iter().map(Datum::int).collect::<Result<Vec<_>, _>>()?;
                Ok(vec![Datum::object(operands[0].get::<View>()?.part(&indices)?)])
            }
            "kernel.read" => {
                let view = operands[0].get::<View>()?.part(&[operands[1].int()?])?;
                Ok(vec![Datum::Int(i64::from(view.words().first().copied().unwrap_or(UNDEFINED)))])
            }
            "kernel.get_table" => Ok(vec![Datum::object(self.table(symbol(op, "table")?, frame)?)]),
            "kernel.launch" => {
                let kernel = self.kernel(symbol(op, "kernel")?, frame)?;
                self.launch(&kernel, operands)?;
                Ok(Vec::new())
            }
            _ => Err("cannot be interpreted outside a kernel".into()),
        }
    }
}
