//! What a device function is given: parameters that it asks for, and numbers from memory.
//!
//! Functions hold nothing that is one kernel's own, so that kernels that do the same share one. The numbers that they
//! differ in (primes, rows of buffers, constants of operations) are words of the bundle's table of constants; a launch
//! says where its words begin. Parameters are numbered as the kernel's arguments are; those of the table of twiddles, of
//! the constants and of scratch memory come after them.

use crate::kernel_to_cpu::code::{Code, Type, Value};
use ceria_dialects::kernel::model::{ArgumentKind, Kernel};
use std::collections::{BTreeSet, HashMap};

const READ: &str = "llvm.align = 16 : i64, llvm.noalias, llvm.readonly";
const WRITTEN: &str = "llvm.align = 16 : i64, llvm.noalias";

/// The parameters of a kernel's functions.
#[derive(Clone, Copy)]
pub struct Parameters<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// The buffers that the function stores to.
    pub stored: &'k BTreeSet<usize>,
}

impl Parameters<'_> {
    /// An argument of the kernel: an address or a number.
    pub fn argument(&self, code: &mut Code, number: usize) -> Value {
        match self.kernel.arguments[number] {
            ArgumentKind::Index => code.parameter(number, Type::Long, ""),
            ArgumentKind::Buffer(_) if self.stored.contains(&number) => {
                code.parameter(number, Type::Global, WRITTEN)
            }
            ArgumentKind::Buffer(_) => code.parameter(number, Type::Global, READ),
        }
    }

    /// The address of the table of twiddles.
    pub fn twiddles(&self, code: &mut Code) -> Value {
        code.parameter(self.kernel.arguments.len(), Type::Global, READ)
    }

    /// The address of the launch's constants.
    pub fn constants(&self, code: &mut Code) -> Value {
        code.parameter(self.kernel.arguments.len() + 1, Type::Global, READ)
    }

    /// The address of scratch memory.
    pub fn scratch(&self, code: &mut Code) -> Value {
        code.parameter(self.kernel.arguments.len() + 2, Type::Global, WRITTEN)
    }
}

/// Constants of a function whose blocks are numbered by prime: a row of words for each. Columns are in the order in which
/// the function asks for them, whatever is in them: were equal ones joined, or those left out that follow from the
/// prime's number, kernels would need functions of their own where their numbers happen to be equal.
pub struct Constants {
    primes: usize,
    row: Value,
    stride: Value,
    columns: Vec<Vec<u32>>,
}

impl Constants {
    /// For so many primes. The words of each are a row whose address follows from the prime's number.
    pub fn new(code: &mut Code, parameters: Parameters<'_>, prime: Value) -> Self {
        let stride = code.promise();
        let offset = code.mul(prime, stride);
        let base = parameters.constants(code);
        let row = code.word_at(base, offset);
        Self { primes: parameters.kernel.moduli.len(), row, stride, columns: Vec::new() }
    }

    /// The first words of the rows, four at once.
    pub fn first(&mut self, code: &mut Code, columns: [Vec<u32>; 4]) -> Vec<Value> {
        debug_assert!(self.columns.is_empty());
        self.columns.extend(columns);
        let words = code.load_constant(self.row, Type::Words(4));
        code.unpack(words)
    }

    /// The prime's word of a column.
    pub fn word(&mut self, code: &mut Code, column: &[u32]) -> Value {
        debug_assert_eq!(column.len(), self.primes);
        let at = code.word_after(self.row, self.columns.len());
        self.columns.push(column.to_vec());
        code.load_constant(at, Type::Word)
    }

    /// A number that is the same for all primes, 64 bits.
    pub fn number(&mut self, code: &mut Code, number: usize) -> Value {
        let word = self.word(code, &vec![number as u32; self.primes]);
        code.extend(word)
    }

    /// The words of all primes, once no more are asked for.
    pub fn finish(self, code: &mut Code) -> Vec<u32> {
        // Rows begin where vectors may.
        let width = self.columns.len().next_multiple_of(ALIGNED);
        code.define(self.stride, width as i64);
        let word = |prime: usize, column: usize| self.columns.get(column).map_or(0, |words| words[prime]);
        (0..self.primes).flat_map(|prime| (0..width).map(move |column| word(prime, column))).collect()
    }
}

/// Words that a launch's constants begin at a multiple of.
pub const ALIGNED: usize = 4;

/// The table of constants: the words of all launches, equal ones once.
#[derive(Default)]
pub struct ConstantTable {
    /// All words.
    pub words: Vec<u32>,
    known: HashMap<Vec<u32>, u64>,
}

impl ConstantTable {
    /// Where these words are in the table.
    pub fn place(&mut self, constants: Vec<u32>) -> u64 {
        if let Some(&place) = self.known.get(&constants) {
            return place;
        }
        let place = self.words.len();
        self.words.extend(&constants);
        self.words.resize(self.words.len().next_multiple_of(ALIGNED), 0);
        self.known.insert(constants, place as u64);
        place as u64
    }
}
