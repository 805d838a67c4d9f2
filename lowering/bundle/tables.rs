//! How the tables of a program are filled when its bundle is loaded, and which keys they need.

use super::BundleError;
use crate::host::Lowered;
use ceria_dialects::{
    bridge::hooks::{Attribute, BlockLike, OperationLike, OperationRef, RegionLike},
    ckks::matrix::{Matrix, MatrixSource, Vector, VectorSource},
    interpret::{self, name_of},
    kernel::{TableKind, table::Table},
};
use ceria_runtime::format::{
    basis::Basis,
    linear::{DiagonalValues, LinearOp},
    manifest::{self, GaloisKey, KeySet, PlaintextSource, TableContent},
    params::Params,
    scale::Scale,
    text::TextParam,
    twiddles,
};
use melior::ir::attribute::FlatSymbolRefAttribute;
use std::collections::BTreeMap;

/// The tables of a program, in order.
pub struct Recipes {
    tables: Vec<manifest::Table>,
}

fn wrong(what: impl Into<String>) -> BundleError {
    BundleError::Program(what.into())
}

impl Recipes {
    /// Reads the tables of a module of kernels; plaintexts come from the matrices and vectors of `ckks`.
    pub fn read(
        kernel: OperationRef<'_, '_>,
        ckks: OperationRef<'_, '_>,
        params: &Params,
    ) -> Result<Self, BundleError> {
        let mut tables = Vec::new();
        let block = kernel.region(0).ok().and_then(|region| region.first_block());
        let mut next = block.and_then(|block| block.first_operation());
        while let Some(op) = next {
            if name_of(op) == "kernel.table" {
                let table = Table::read(op).map_err(wrong)?;
                let content = content(&table, ckks, params)?;
                tables.push(manifest::Table {
                    name: table.name.clone(),
                    shape: table.shape.iter().map(|&extent| extent as u64).collect(),
                    content,
                });
            }
            next = op.next_in_block();
        }
        Ok(Self { tables })
    }

    /// All tables: those of the code, then the table of twiddles, and a device's table of constants.
    pub fn tables(mut self, code: &Lowered, params: &Params) -> Result<Vec<manifest::Table>, BundleError> {
        let names: Vec<&String> = self.tables.iter().map(|table| &table.name).collect();
        if names != code.tables.iter().collect::<Vec<_>>() {
            return Err(wrong("the tables of the program and of its code differ"));
        }
        self.tables.push(manifest::Table {
            name: "twiddles".into(),
            shape: vec![code.twiddles.len() as u64, twiddles::words(params.n()) as u64],
            content: TableContent::Twiddles { moduli: code.twiddles.clone() },
        });
        if !code.constants.is_empty() {
            self.tables.push(manifest::Table {
                name: "constants".into(),
                shape: vec![code.constants.len() as u64],
                content: TableContent::Index { values: code.constants.clone() },
            });
        }
        Ok(self.tables)
    }

    /// The keys that the tables hold, each at the highest level at which it is used.
    pub fn keys(&self, params: &Params) -> KeySet {
        // Levels need not be nested: a key needs the primes of all its uses.
        let mut relin: Option<Basis> = None;
        let mut bootstrap: Option<Basis> = None;
        let mut galois: BTreeMap<u32, Basis> = BTreeMap::new();
        let join = |known: &mut Option<Basis>, moduli: &Basis| {
            *known = Some(known.take().unwrap_or_default().union(moduli));
        };
        for table in &self.tables {
            match &table.content {
                TableContent::RelinKey { moduli } => join(&mut relin, moduli),
                TableContent::DenseKey { moduli } => join(&mut bootstrap, moduli),
                TableContent::GaloisKey { elements, moduli } => {
                    for &element in elements {
                        let known = galois.entry(element).or_default();
                        *known = known.union(moduli);
                    }
                }
                _ => {}
            }
        }
        let level_of = |moduli: Basis| params.covering_level(&moduli).unwrap_or(params.max_level());
        let steps = rotation_steps(params);
        let galois = galois.into_iter().map(|(element, moduli)| GaloisKey {
            element,
            step: steps.get(&element).copied(),
            level: level_of(moduli),
        });
        KeySet { relin: relin.map(level_of), galois: galois.collect(), bootstrap: bootstrap.map(level_of) }
    }
}

/// The rotation that each power of 5 modulo 2N is.
fn rotation_steps(params: &Params) -> BTreeMap<u32, u32> {
    let mut element = 1u64;
    let mut steps = BTreeMap::new();
    for step in 0..params.slots() as u32 {
        steps.insert(element as u32, step);
        element = element * 5 % (2 * params.n() as u64);
    }
    steps
}

fn unsigned(values: &[i64]) -> Result<Vec<u32>, BundleError> {
    let convert = |&value: &i64| u32::try_from(value).map_err(|_| wrong(format!("a table holds {value}")));
    values.iter().map(convert).collect()
}

fn content(
    table: &Table<'_>,
    ckks: OperationRef<'_, '_>,
    params: &Params,
) -> Result<TableContent, BundleError> {
    let moduli = || table.moduli.clone().ok_or_else(|| wrong(format!("@{} has no primes", table.name)));
    Ok(match table.kind {
        TableKind::Index => TableContent::Index { values: unsigned(&table.values)? },
        TableKind::Automorphism => TableContent::Automorphism { elements: unsigned(&table.values)? },
        TableKind::GaloisKey => {
            TableContent::GaloisKey { elements: unsigned(&table.values)?, moduli: moduli()? }
        }
        TableKind::RelinKey => TableContent::RelinKey { moduli: moduli()? },
        TableKind::SparseKey => TableContent::SparseKey { moduli: moduli()? },
        TableKind::DenseKey => TableContent::DenseKey { moduli: moduli()? },
        TableKind::Monomial => {
            TableContent::Monomial { exponents: unsigned(&table.values)?, moduli: moduli()? }
        }
        TableKind::Plaintext | TableKind::Diagonals => {
            let scale =
                table.scale.as_deref().ok_or_else(|| wrong(format!("@{} has no scale", table.name)))?;
            let name = source_name(table.source)
                .ok_or_else(|| wrong(format!("@{} is not encoded from a symbol", table.name)))?;
            let source = interpret::symbol(ckks, name).ok_or_else(|| wrong(format!("@{name} is missing")))?;
            let source = if table.kind == TableKind::Diagonals {
                diagonals(&Matrix::read(source).map_err(wrong)?, &table.values, params)?
            } else {
                vector(&Vector::read(source).map_err(wrong)?, &table.values)?
            };
            TableContent::Plaintext { moduli: moduli()?, scale: Scale::parse(scale).map_err(wrong)?, source }
        }
    })
}

fn source_name<'c>(source: Option<Attribute<'c>>) -> Option<&'c str> {
    FlatSymbolRefAttribute::try_from(source?).ok().map(|symbol| symbol.value())
}

fn json(op: &LinearOp) -> Result<serde_json::Value, BundleError> {
    serde_json::from_str(&op.to_json()?).map_err(|e| wrong(e.to_string()))
}

fn diagonals(matrix: &Matrix, values: &[i64], params: &Params) -> Result<PlaintextSource, BundleError> {
    let entries: Vec<[i64; 4]> = values.chunks_exact(4).map(|e| [e[0], e[1], e[2], e[3]]).collect();
    match &matrix.source {
        MatrixSource::Linear(linear) => Ok(PlaintextSource::Matrix {
            linear: json(&linear.op)?,
            weights: linear.weights.clone(),
            input_layout: linear.input.to_string(),
            output_layout: linear.output.to_string(),
            factor: linear.factor,
            matrix: Box::new(matrix.slots.clone()),
            entries,
        }),
        MatrixSource::Fourier(part, factor) => Ok(PlaintextSource::Fourier {
            part: part.to_string(),
            slots: matrix.slots.slots as u32,
            factor: *factor,
            entries,
        }),
        MatrixSource::Values(_) => {
            let all = matrix.values(&|name| Err(format!("{name} is not needed"))).map_err(wrong)?;
            let slots = params.slots() as i64;
            let find = |[output, input, diagonal, rotation]: [i64; 4]| {
                let same = |d: &&DiagonalValues| {
                    (d.output as i64, d.input as i64) == (output, input)
                        && (d.diagonal - diagonal).rem_euclid(slots) == 0
                };
                let found =
                    all.iter().find(same).ok_or_else(|| wrong(format!("there is no diagonal {diagonal}")))?;
                Ok(found.before_giant(rotation))
            };
            Ok(PlaintextSource::Values {
                vectors: entries.into_iter().map(find).collect::<Result<_, BundleError>>()?,
            })
        }
    }
}

fn vector(vector: &Vector, values: &[i64]) -> Result<PlaintextSource, BundleError> {
    let entries = unsigned(values)?;
    match &vector.source {
        VectorSource::Tensor { tensor, linear, layout, factor } => Ok(PlaintextSource::Tensor {
            tensor: tensor.clone(),
            linear: linear.as_ref().map(|(op, _)| json(op)).transpose()?,
            weights: linear.as_ref().map(|(_, weights)| weights.clone()).unwrap_or_default(),
            layout: layout.to_string(),
            factor: *factor,
            entries,
        }),
        VectorSource::Values(all) => {
            let find = |part: &u32| {
                all.get(*part as usize).cloned().ok_or_else(|| wrong(format!("there is no part {part}")))
            };
            Ok(PlaintextSource::Values { vectors: entries.iter().map(find).collect::<Result<_, _>>()? })
        }
    }
}
