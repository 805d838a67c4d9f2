//! The reference interpreter that the four dialects share.
//!
//! It walks the functions of a module, block by block, in program order. What an op means is said by the
//! [`Evaluator`] of its dialect; `func`, `scf`, `arith` and `tensor` are built in ([`structural`]). It favours being
//! obviously right over speed: it is the oracle that back ends are compared with.
//!
//! Only structured control flow: every region that is run has one block, whose terminator's operands are its results.

mod structural;

use melior::ir::{
    BlockRef, OperationRef, RegionLike, RegionRef, Value, ValueLike, block::BlockLike,
    operation::OperationLike,
};
use std::{any::Any, collections::HashMap, fmt, rc::Rc};
use thiserror::Error;

/// What an SSA value holds while a program runs.
#[derive(Clone)]
pub enum Datum {
    /// An integer or index of any width, sign-extended.
    Int(i64),
    /// A floating-point number; f32 is rounded where it is produced.
    Float(f64),
    /// A tensor of clear or encrypted numbers.
    Tensor(Rc<Tensor>),
    /// A tensor of values that are no numbers (ciphertexts, polynomials): shape and elements in row-major order.
    List(Rc<List>),
    /// A value of one dialect; shared by reference, so that buffers may be written to through a `RefCell`.
    Object(Rc<dyn Any>),
}

/// A tensor of numbers in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Vec<f64>,
}

/// A tensor of other values in row-major order.
#[derive(Clone)]
pub struct List {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements.
    pub items: Vec<Datum>,
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Int(value) => write!(f, "{value}"),
            Datum::Float(value) => write!(f, "{value:?}"),
            Datum::Tensor(tensor) => tensor.fmt(f),
            Datum::List(list) => write!(f, "List{:?} {:?}", list.shape, list.items),
            Datum::Object(_) => f.write_str("Object"),
        }
    }
}

impl Datum {
    /// Wraps a dialect's own value.
    pub fn object<T: 'static>(value: T) -> Self {
        Datum::Object(Rc::new(value))
    }

    /// Wraps a tensor of numbers.
    pub fn tensor(shape: Vec<usize>, data: Vec<f64>) -> Self {
        Datum::Tensor(Rc::new(Tensor { shape, data }))
    }

    /// Wraps a tensor of other values.
    pub fn list(shape: Vec<usize>, items: Vec<Datum>) -> Self {
        Datum::List(Rc::new(List { shape, items }))
    }

    /// The integer.
    pub fn int(&self) -> Result<i64, String> {
        match self {
            Datum::Int(value) => Ok(*value),
            other => Err(format!("expected an integer, got {other:?}")),
        }
    }

    /// The number.
    pub fn float(&self) -> Result<f64, String> {
        match self {
            Datum::Float(value) => Ok(*value),
            other => Err(format!("expected a floating-point number, got {other:?}")),
        }
    }

    /// The tensor of numbers.
    pub fn as_tensor(&self) -> Result<&Tensor, String> {
        match self {
            Datum::Tensor(tensor) => Ok(tensor),
            other => Err(format!("expected a tensor of numbers, got {other:?}")),
        }
    }

    /// The tensor of other values.
    pub fn as_list(&self) -> Result<&List, String> {
        match self {
            Datum::List(list) => Ok(list),
            other => Err(format!("expected a tensor of values, got {other:?}")),
        }
    }

    /// The dialect's own value.
    pub fn get<T: 'static>(&self) -> Result<&T, String> {
        match self {
            Datum::Object(object) => {
                object.downcast_ref::<T>().ok_or_else(|| format!("expected a {}", std::any::type_name::<T>()))
            }
            other => Err(format!("expected a {}, got {other:?}", std::any::type_name::<T>())),
        }
    }
}

/// Why a program cannot be run.
#[derive(Debug, Error)]
pub enum InterpretError {
    /// The module has no such function.
    #[error("the module has no function @{0}")]
    NoFunction(String),
    /// The entry was called with the wrong number of arguments.
    #[error("@{function} takes {expected} arguments, got {got}")]
    Arguments {
        /// Its name.
        function: String,
        /// How many it has.
        expected: usize,
        /// How many it got.
        got: usize,
    },
    /// An op failed or cannot be interpreted.
    #[error("{location}: '{op}' op {message}")]
    Op {
        /// Its name.
        op: String,
        /// Where it is.
        location: String,
        /// What is wrong.
        message: String,
    },
}

/// The meaning of one dialect's ops.
pub trait Evaluator {
    /// The dialect's namespace, such as `ckks`.
    fn dialect(&self) -> &'static str;

    /// Results of an op, given its operands. Ops with regions run them with [`Frame::run_region`]; other functions
    /// and symbols are found through [`Frame::interpreter`].
    fn evaluate(
        &self,
        op: OperationRef<'_, '_>,
        operands: &[Datum],
        frame: &mut Frame<'_, '_>,
    ) -> Result<Vec<Datum>, String>;
}

/// A module together with the evaluators of its dialects.
pub struct Interpreter<'m> {
    module: OperationRef<'m, 'm>,
    evaluators: Vec<Box<dyn Evaluator + 'm>>,
}

impl<'m> Interpreter<'m> {
    /// An interpreter of the functions in `module` that knows `func`, `scf`, `arith` and `tensor`.
    pub fn new(module: OperationRef<'m, 'm>) -> Self {
        Self { module, evaluators: structural::evaluators() }
    }

    /// Adds a dialect.
    pub fn with(mut self, evaluator: impl Evaluator + 'm) -> Self {
        self.evaluators.push(Box::new(evaluator));
        self
    }

    /// The module.
    pub fn module(&self) -> OperationRef<'m, 'm> {
        self.module
    }

    /// The op that defines a symbol at the top level of the module.
    pub fn symbol(&self, name: &str) -> Option<OperationRef<'m, 'm>> {
        crate::interpret::symbol(self.module, name)
    }

    /// Calls a function.
    pub fn call(&self, function: &str, arguments: Vec<Datum>) -> Result<Vec<Datum>, InterpretError> {
        let missing = || InterpretError::NoFunction(function.into());
        let op = self.symbol(function).ok_or_else(missing)?;
        let block = op.region(0).ok().and_then(|r| r.first_block()).ok_or_else(missing)?;
        if block.argument_count() != arguments.len() {
            return Err(InterpretError::Arguments {
                function: function.into(),
                expected: block.argument_count(),
                got: arguments.len(),
            });
        }
        Frame { interpreter: self, values: HashMap::new() }.run_block(block, arguments)
    }
}

/// The op that defines a symbol in the first block of `table`.
pub fn symbol<'c, 'a>(table: OperationRef<'c, 'a>, name: &str) -> Option<OperationRef<'c, 'a>> {
    let mut next = table.region(0).ok()?.first_block()?.first_operation();
    while let Some(op) = next {
        let found = op
            .attribute("sym_name")
            .ok()
            .and_then(|a| melior::ir::attribute::StringAttribute::try_from(a).ok())
            .is_some_and(|a| a.value() == name);
        if found {
            return Some(op);
        }
        next = op.next_in_block();
    }
    None
}

/// The SSA values of one running function.
pub struct Frame<'i, 'm> {
    interpreter: &'i Interpreter<'m>,
    values: HashMap<usize, Datum>,
}

impl<'i, 'm> Frame<'i, 'm> {
    /// The interpreter that runs this function.
    pub fn interpreter(&self) -> &'i Interpreter<'m> {
        self.interpreter
    }

    /// What a value holds.
    pub fn get(&self, value: Value<'_, '_>) -> Result<Datum, String> {
        self.values
            .get(&(value.to_raw().ptr as usize))
            .cloned()
            .ok_or_else(|| format!("uses a value that was not computed: {value}"))
    }

    /// Runs a region of one block; its results are the operands of the terminator.
    pub fn run_region(
        &mut self,
        region: RegionRef<'_, '_>,
        arguments: Vec<Datum>,
    ) -> Result<Vec<Datum>, InterpretError> {
        match region.first_block() {
            Some(block) => self.run_block(block, arguments),
            None => Ok(Vec::new()),
        }
    }

    /// Runs a block; its results are the operands of the terminator. A block without terminator has none.
    pub fn run_block(
        &mut self,
        block: BlockRef<'_, '_>,
        arguments: Vec<Datum>,
    ) -> Result<Vec<Datum>, InterpretError> {
        for (index, datum) in arguments.into_iter().enumerate() {
            if let Ok(argument) = block.argument(index) {
                self.values.insert(argument.to_raw().ptr as usize, datum);
            }
        }
        let mut next = block.first_operation();
        while let Some(op) = next {
            let fail = |message: String| InterpretError::Op {
                op: name_of(op),
                location: op.location().to_string().trim_start_matches("loc(").trim_end_matches(')').into(),
                message,
            };
            let operands = op.operands().map(|v| self.get(v)).collect::<Result<Vec<_>, _>>().map_err(fail)?;
            let name = name_of(op);
            if op.next_in_block().is_none() && (name.ends_with(".return") || name.ends_with(".yield")) {
                return Ok(operands);
            }
            let results = self.evaluate(op, &name, &operands).map_err(fail)?;
            if results.len() != op.result_count() {
                return Err(fail(format!("has {} results, got {}", op.result_count(), results.len())));
            }
            for (result, datum) in op.results().zip(results) {
                self.values.insert(result.to_raw().ptr as usize, datum);
            }
            next = op.next_in_block();
        }
        Ok(Vec::new())
    }

    fn evaluate(
        &mut self,
        op: OperationRef<'_, '_>,
        name: &str,
        operands: &[Datum],
    ) -> Result<Vec<Datum>, String> {
        let dialect = name.split('.').next().unwrap_or_default();
        let interpreter = self.interpreter;
        match interpreter.evaluators.iter().find(|e| e.dialect() == dialect) {
            Some(evaluator) => evaluator.evaluate(op, operands, self),
            None => Err(format!("belongs to dialect '{dialect}', which cannot be interpreted")),
        }
    }
}

/// An op's full name.
pub fn name_of(op: OperationRef<'_, '_>) -> String {
    op.name().as_string_ref().as_str().unwrap_or_default().to_string()
}
