//! Reads a `kernel.func` into a [`Kernel`], checking each operation on the way.

use super::model::{Argument, ArgumentKind, Kernel, Limbs, Tile, TileOp, WeightedSum};
use crate::bridge::{
    generated::kernel::{BufType, ModuliAttr},
    hooks::{BlockLike, OperationLike, OperationRef, RegionLike, TypeLike, Value, ValueLike},
};
use ceria_runtime::format::{basis::Basis, params::Params};
use melior::ir::{
    attribute::{DenseI32ArrayAttribute, DenseI64ArrayAttribute, IntegerAttribute, StringAttribute},
    block::BlockArgument,
};
use std::collections::HashMap;

impl Kernel {
    /// Decodes and checks a `kernel.func`.
    pub fn decode(op: OperationRef<'_, '_>, params: &Params) -> Result<Self, String> {
        let mut decoder = Decoder::new(op, params)?;
        let block = op.region(0).ok().and_then(|r| r.first_block()).ok_or("has no body")?;
        let mut body = Vec::new();
        let mut next = block.first_operation();
        while let Some(inner) = next {
            body.push(decoder.operation(inner)?);
            next = inner.next_in_block();
        }
        let kernel = Self { body, tiles: decoder.tiles.len(), ..decoder.kernel };
        kernel.check_independence()?;
        Ok(kernel)
    }
}

/// Decodes the operations of one kernel; also used by the verifiers of single operations.
pub struct Decoder<'p> {
    params: &'p Params,
    kernel: Kernel,
    tiles: HashMap<*const std::ffi::c_void, Tile>,
}

impl<'p> Decoder<'p> {
    /// For the operations inside a `kernel.func`.
    pub fn new(func: OperationRef<'_, '_>, params: &'p Params) -> Result<Self, String> {
        let name = func.attribute("sym_name").ok().and_then(|a| StringAttribute::try_from(a).ok());
        let name = name.map(|a| a.value().to_string()).unwrap_or_default();
        let batch = integer(func, "batch").unwrap_or(1);
        if !(1..=1 << 16).contains(&batch) {
            return Err("has an impossible batch".into());
        }
        let moduli = moduli(func, "moduli")?.ok_or("has no moduli")?;
        if moduli.is_empty() {
            return Err("has no moduli".into());
        }
        if !params.contains(&moduli) {
            return Err(format!("has moduli {moduli} that are not in the module's parameters"));
        }
        let block = func.region(0).ok().and_then(|r| r.first_block()).ok_or("has no body")?;
        let mut arguments = Vec::new();
        for i in 0..block.argument_count() {
            let ty = block.argument(i).map_err(|e| e.to_string())?.r#type();
            arguments.push(match BufType::try_from(ty) {
                Ok(buffer) => ArgumentKind::Buffer(buffer.shape().iter().map(|&e| e as usize).collect()),
                Err(_) if ty.is_index() => ArgumentKind::Index,
                Err(_) => return Err(format!("argument {i} is neither a buffer nor an index")),
            });
        }
        let kernel = Kernel {
            name,
            batch: batch as usize,
            moduli: params.primes(&moduli),
            n: params.n(),
            arguments,
            body: Vec::new(),
            tiles: 0,
        };
        Ok(Self { params, kernel, tiles: HashMap::new() })
    }

    /// Decodes and checks one operation.
    pub fn operation(&mut self, op: OperationRef<'_, '_>) -> Result<TileOp, String> {
        let name = op.name();
        let name = name.as_string_ref();
        Ok(match name.as_str().unwrap_or_default() {
            "kernel.load" => {
                let buffer = self.buffer(op, 0)?;
                TileOp::Load {
                    buffer,
                    limbs: self.rows(op, "limbs", buffer, self.kernel.n)?,
                    result: self.result(op)?,
                }
            }
            "kernel.load_permuted" => {
                let (buffer, permutation) = (self.buffer(op, 0)?, self.buffer(op, 1)?);
                self.check_permutation(permutation)?;
                let limbs = self.rows(op, "limbs", buffer, self.kernel.n)?;
                TileOp::LoadPermuted { buffer, permutation, limbs, result: self.result(op)? }
            }
            "kernel.load_periodic" => {
                let buffer = self.buffer(op, 0)?;
                let period = self.period(buffer)?;
                let limbs = self.rows(op, "limbs", buffer, period)?;
                TileOp::LoadPeriodic { buffer, limbs, period, result: self.result(op)? }
            }
            "kernel.store" => {
                let buffer = self.buffer(op, 1)?;
                TileOp::Store {
                    tile: self.tile(op, 0)?,
                    buffer,
                    limbs: self.rows(op, "limbs", buffer, self.kernel.n)?,
                }
            }
            "kernel.splat" => {
                TileOp::Splat { constants: self.constants(op, "constants")?, result: self.result(op)? }
            }
            "kernel.addm" => {
                TileOp::Add { lhs: self.tile(op, 0)?, rhs: self.tile(op, 1)?, result: self.result(op)? }
            }
            "kernel.subm" => {
                TileOp::Sub { lhs: self.tile(op, 0)?, rhs: self.tile(op, 1)?, result: self.result(op)? }
            }
            "kernel.mulm" => {
                TileOp::Mul { lhs: self.tile(op, 0)?, rhs: self.tile(op, 1)?, result: self.result(op)? }
            }
            "kernel.negm" => TileOp::Neg { input: self.tile(op, 0)?, result: self.result(op)? },
            "kernel.macm" => TileOp::Mac {
                accumulator: self.tile(op, 0)?,
                lhs: self.tile(op, 1)?,
                rhs: self.tile(op, 2)?,
                result: self.result(op)?,
            },
            "kernel.mul_const" => TileOp::MulConst {
                input: self.tile(op, 0)?,
                constants: self.constants(op, "constants")?,
                result: self.result(op)?,
            },
            "kernel.add_const" => TileOp::AddConst {
                input: self.tile(op, 0)?,
                constants: self.constants(op, "constants")?,
                result: self.result(op)?,
            },
            "kernel.ntt" => TileOp::Ntt { input: self.tile(op, 0)?, result: self.result(op)? },
            "kernel.intt" => {
                let scale = op.has_attribute("scale").then(|| self.constants(op, "scale")).transpose()?;
                TileOp::Intt { input: self.tile(op, 0)?, scale, result: self.result(op)? }
            }
            "kernel.bconv_tile" => self.bconv(op)?,
            "kernel.weighted_sum" => TileOp::WeightedSum(self.weighted_sum(op)?),
            other => return Err(format!("contains {other}, which is not an operation on tiles")),
        })
    }

    fn bconv(&mut self, op: OperationRef<'_, '_>) -> Result<TileOp, String> {
        let buffer = self.buffer(op, 0)?;
        let from = moduli(op, "from")?.ok_or("has no source primes")?;
        if from.is_empty() || !self.params.contains(&from) {
            return Err(format!("converts from {from}, which is not in the module's parameters"));
        }
        let from = self.params.primes(&from);
        let rows = self.row_list(op, "limbs", buffer, self.kernel.n, from.len())?;
        Ok(TileOp::Bconv { buffer, from, rows, result: self.result(op)? })
    }

    fn weighted_sum(&mut self, op: OperationRef<'_, '_>) -> Result<WeightedSum, String> {
        let sizes = segments(op)?;
        let [1, 1, lower, upper, has_choice, has_permutation] = sizes[..] else {
            return Err("has malformed operands".into());
        };
        if lower != upper {
            return Err("has one bound without the other".into());
        }
        let (weights, values) = (self.buffer(op, 0)?, self.buffer(op, 1)?);
        let mut next = 2;
        let mut take = |present: usize| {
            next += present;
            (present == 1).then_some(next - 1)
        };
        let lower = take(lower).map(|i| self.argument(op, i)).transpose()?;
        let upper = take(upper).map(|i| self.argument(op, i)).transpose()?;
        let choice = take(has_choice).map(|i| self.buffer(op, i)).transpose()?;
        let permutation = take(has_permutation).map(|i| self.buffer(op, i)).transpose()?;

        let (weight_shape, value_shape) =
            (self.kernel.shape(weights).to_vec(), self.kernel.shape(values).to_vec());
        let [entries, weight_rows, period] = weight_shape[..] else {
            return Err("has weights that are not entries x limbs x words".into());
        };
        let [count, results, value_rows, words] = value_shape[..] else {
            return Err("has values that are not count x K x limbs x N".into());
        };
        if self.kernel.batch != 1 {
            return Err("is not possible in a batch".into());
        }
        if words != self.kernel.n || !period.is_power_of_two() || period > words {
            return Err(format!(
                "has limbs of {period} and {words} words in a ring of degree {}",
                self.kernel.n
            ));
        }
        if op.result_count() != results {
            return Err(format!("has {} results for {results} values an entry", op.result_count()));
        }
        match choice {
            Some(choice) if self.kernel.shape(choice) != [entries] => {
                return Err("has a choice that is not one number a weight".into());
            }
            None if entries > count => return Err(format!("has {entries} weights for {count} values")),
            _ => {}
        }
        if let Some(permutation) = permutation {
            self.check_permutation(permutation)?;
            if period != words {
                return Err("permutes periodic weights".into());
            }
        }
        let tiles = self.kernel.moduli.len();
        let limbs = |name, rows| check_rows(rows_of(op, name)?, rows, tiles).map(|rows| Limbs { rows });
        Ok(WeightedSum {
            weights,
            period,
            weight_limbs: limbs("weight_limbs", weight_rows)?,
            values,
            value_limbs: limbs("value_limbs", value_rows)?,
            range: lower.zip(upper),
            choice,
            permutation,
            results: (0..results).map(|k| self.result_at(op, k)).collect::<Result<_, _>>()?,
        })
    }

    fn argument(&self, op: OperationRef<'_, '_>, index: usize) -> Result<Argument, String> {
        let value = op.operand(index).map_err(|e| e.to_string())?;
        let argument = BlockArgument::try_from(value)
            .map_err(|_| "reads a value that is not an argument of the kernel")?;
        Ok(argument.argument_number())
    }

    fn buffer(&self, op: OperationRef<'_, '_>, index: usize) -> Result<Argument, String> {
        let argument = self.argument(op, index)?;
        match self.kernel.arguments.get(argument) {
            Some(ArgumentKind::Buffer(_)) => Ok(argument),
            _ => Err("expects a buffer".into()),
        }
    }

    fn number(&mut self, value: Value<'_, '_>) -> Tile {
        let next = self.tiles.len();
        *self.tiles.entry(value.to_raw().ptr).or_insert(next)
    }

    fn tile(&mut self, op: OperationRef<'_, '_>, index: usize) -> Result<Tile, String> {
        let value = op.operand(index).map_err(|e| e.to_string())?;
        Ok(self.number(value))
    }

    fn result(&mut self, op: OperationRef<'_, '_>) -> Result<Tile, String> {
        self.result_at(op, 0)
    }

    fn result_at(&mut self, op: OperationRef<'_, '_>, index: usize) -> Result<Tile, String> {
        let value = op.result(index).map_err(|e| e.to_string())?;
        Ok(self.number(value.into()))
    }

    fn period(&self, buffer: Argument) -> Result<usize, String> {
        let period = self.kernel.shape(buffer).last().copied().unwrap_or(0);
        if !period.is_power_of_two() || period > self.kernel.n {
            return Err(format!("has a period of {period} words in a ring of degree {}", self.kernel.n));
        }
        Ok(period)
    }

    fn check_permutation(&self, permutation: Argument) -> Result<(), String> {
        if self.kernel.shape(permutation) != [self.kernel.n] {
            return Err(format!("has a permutation that is not of {} words", self.kernel.n));
        }
        Ok(())
    }

    /// The limb of each of the kernel's primes in a buffer.
    fn rows(
        &self,
        op: OperationRef<'_, '_>,
        name: &str,
        buffer: Argument,
        words: usize,
    ) -> Result<Limbs, String> {
        let rows = self.row_list(op, name, buffer, words, self.kernel.moduli.len())?;
        Ok(Limbs { rows })
    }

    fn row_list(
        &self,
        op: OperationRef<'_, '_>,
        name: &str,
        buffer: Argument,
        words: usize,
        count: usize,
    ) -> Result<Vec<usize>, String> {
        let limbs = match *self.kernel.shape(buffer) {
            [limbs, last] if last == words => limbs,
            [batch, limbs, last] if last == words && batch == self.kernel.batch => limbs,
            _ => {
                return Err(format!(
                    "expects limbs of {words} words, or a batch of {} of them, not a buffer of {:?}",
                    self.kernel.batch,
                    self.kernel.shape(buffer)
                ));
            }
        };
        check_rows(rows_of(op, name)?, limbs, count)
    }

    fn constants(&self, op: OperationRef<'_, '_>, name: &str) -> Result<Vec<u32>, String> {
        let values = integers(op, name)?.ok_or_else(|| format!("has no {name}"))?;
        if values.len() != self.kernel.moduli.len() {
            return Err(format!("has {} constants for {} primes", values.len(), self.kernel.moduli.len()));
        }
        let mut constants = Vec::with_capacity(values.len());
        for (value, &q) in values.into_iter().zip(&self.kernel.moduli) {
            if !(0..i64::from(q)).contains(&value) {
                return Err(format!("has the constant {value}, which is not a residue modulo {q}"));
            }
            constants.push(value as u32);
        }
        Ok(constants)
    }
}

fn rows_of(op: OperationRef<'_, '_>, name: &str) -> Result<Option<Vec<i64>>, String> {
    integers(op, name)
}

/// Rows of a buffer with `limbs` limbs, one for each of `count` primes.
fn check_rows(rows: Option<Vec<i64>>, limbs: usize, count: usize) -> Result<Vec<usize>, String> {
    let rows = match rows {
        Some(rows) => rows,
        None if limbs == count => (0..count as i64).collect(),
        None => return Err(format!("reads or writes {limbs} limbs for {count} primes without saying which")),
    };
    if rows.len() != count {
        return Err(format!("names {} limbs for {count} primes", rows.len()));
    }
    if let Some(row) = rows.iter().find(|&&row| row < 0 || row >= limbs as i64) {
        return Err(format!("names limb {row} of {limbs}"));
    }
    Ok(rows.into_iter().map(|row| row as usize).collect())
}

/// An array of integers, if the attribute is there.
pub fn integers(op: OperationRef<'_, '_>, name: &str) -> Result<Option<Vec<i64>>, String> {
    let Ok(attribute) = op.attribute(name) else { return Ok(None) };
    let array = DenseI64ArrayAttribute::try_from(attribute).map_err(|e| e.to_string())?;
    (0..array.len()).map(|i| array.element(i).map_err(|e| e.to_string())).collect::<Result<_, _>>().map(Some)
}

/// An integer, if the attribute is there.
pub fn integer(op: OperationRef<'_, '_>, name: &str) -> Option<i64> {
    op.attribute(name).ok().and_then(|a| IntegerAttribute::try_from(a).ok()).map(|a| a.value())
}

/// A set of primes, if the attribute is there.
pub fn moduli(op: OperationRef<'_, '_>, name: &str) -> Result<Option<Basis>, String> {
    let Ok(attribute) = op.attribute(name) else { return Ok(None) };
    Ok(Some(ModuliAttr::try_from(attribute)?.basis()))
}

fn segments(op: OperationRef<'_, '_>) -> Result<Vec<usize>, String> {
    let attribute = op.attribute("operandSegmentSizes").map_err(|e| e.to_string())?;
    let array = DenseI32ArrayAttribute::try_from(attribute).map_err(|e| e.to_string())?;
    (0..array.len()).map(|i| array.element(i).map(|v| v as usize).map_err(|e| e.to_string())).collect()
}
