//! Transforms between slots and coefficients as linear transforms.

use super::plan::Factor;
use super::{Emit, Val};
use ceria_dialects::{
    bridge::pass::PassError,
    ckks::matrix::{Matrix, MatrixSource},
};
use melior::ir::{Location, Operation};
use std::collections::{BTreeMap, BTreeSet};

/// The matrices that the bootstraps of a module share, by what they are.
pub struct Matrices<'c> {
    context: &'c melior::Context,
    taken: BTreeSet<String>,
    made: BTreeMap<String, (String, Matrix)>,
}

impl<'c> Matrices<'c> {
    /// None yet; names in `taken` are avoided.
    pub fn new(context: &'c melior::Context, taken: BTreeSet<String>) -> Self {
        Self { context, taken, made: BTreeMap::new() }
    }

    /// The symbol of a factor's matrix for a number of slots.
    fn name(&mut self, factor: &Factor, slots: usize) -> String {
        let part = factor.part;
        let key = format!("{part} {slots} {:e}", factor.factor);
        if let Some((name, _)) = self.made.get(&key) {
            return name.clone();
        }
        let mut name = format!("{}_{}", part.to_string().replace([' ', ':'], "_"), slots);
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        let matrix = Matrix { slots: part.matrix(slots), source: MatrixSource::Fourier(part, factor.factor) };
        self.made.insert(key, (name.clone(), matrix));
        name
    }

    /// The ops that define the matrices.
    pub fn build(&self, location: Location<'c>) -> Result<Vec<Operation<'c>>, PassError> {
        let matrices = self.made.values();
        matrices.map(|(name, matrix)| Ok(matrix.build(self.context, location, name)?)).collect()
    }
}

/// Applies the factors of a transform, with rescales between them but none after the last.
pub fn apply<'c, 'a>(
    emit: Emit<'c, 'a>,
    matrices: &mut Matrices<'c>,
    factors: &[Factor],
    slots: usize,
    mut value: Val<'c, 'a>,
) -> Result<Val<'c, 'a>, PassError> {
    for (index, factor) in factors.iter().enumerate() {
        if index > 0 {
            value = emit.rescale(value)?;
        }
        let name = matrices.name(factor, slots);
        value = emit.push(emit.build.linear_transform(&name, &[value], 1, Some(&factor.scale)))?;
    }
    Ok(value)
}
