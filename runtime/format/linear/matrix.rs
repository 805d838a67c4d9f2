//! Sparse matrices by rows.
//!
//! Columns are ascending within a row and occur once. Entries are part of the structure even when their value
//! is zero, so that the structure of an operator does not depend on its weights.

use rayon::prelude::*;

/// A sparse matrix from input elements (columns) to output elements (rows).
#[derive(Debug, Clone, PartialEq)]
pub struct SparseMatrix {
    columns: usize,
    offsets: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl SparseMatrix {
    /// The identity.
    pub fn identity(size: usize) -> Self {
        Self {
            columns: size,
            offsets: (0..=size).collect(),
            indices: (0..size as u32).collect(),
            values: vec![1.0; size],
        }
    }

    /// A matrix whose rows a function pushes, in any order; entries of the same column are added up.
    pub fn from_rows<F>(rows: usize, columns: usize, row: F) -> Self
    where
        F: Fn(usize, &mut Vec<(u32, f64)>) + Sync,
    {
        let built: Vec<Vec<(u32, f64)>> = (0..rows)
            .into_par_iter()
            .with_min_len(64)
            .map(|r| {
                let mut entries = Vec::new();
                row(r, &mut entries);
                if !entries.is_sorted_by(|a, b| a.0 < b.0) {
                    entries.sort_by_key(|e| e.0);
                    entries.dedup_by(|later, first| {
                        let same = later.0 == first.0;
                        if same {
                            first.1 += later.1;
                        }
                        same
                    });
                }
                entries
            })
            .collect();
        let total = built.iter().map(Vec::len).sum();
        let mut matrix = Self {
            columns,
            offsets: Vec::with_capacity(rows + 1),
            indices: Vec::with_capacity(total),
            values: Vec::with_capacity(total),
        };
        matrix.offsets.push(0);
        for entries in built {
            for (index, value) in entries {
                matrix.indices.push(index);
                matrix.values.push(value);
            }
            matrix.offsets.push(matrix.indices.len());
        }
        matrix
    }

    /// The number of output elements.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of input elements.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of entries.
    pub fn entries(&self) -> usize {
        self.indices.len()
    }

    /// The columns and values of a row.
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// The matrix with about `limit` of its entries; all of them when it has no more. Which entries stay looks
    /// random and is always the same.
    pub fn sample(&self, limit: usize) -> Self {
        if self.entries() <= limit {
            return self.clone();
        }
        let keep = (limit as f64 / self.entries() as f64 * f64::from(u32::MAX)) as u32;
        let mut sampled =
            Self { columns: self.columns, offsets: vec![0], indices: Vec::new(), values: Vec::new() };
        for row in 0..self.rows() {
            let (indices, values) = self.row(row);
            for (&index, &value) in indices.iter().zip(values) {
                let mut hash = (row as u32).wrapping_mul(0x9e37_79b1) ^ index;
                for _ in 0..2 {
                    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
                }
                if hash ^ (hash >> 16) <= keep {
                    sampled.indices.push(index);
                    sampled.values.push(value);
                }
            }
            sampled.offsets.push(sampled.indices.len());
        }
        sampled
    }

    /// The product `self * first`: this matrix applied after the other one.
    pub fn compose(&self, first: &Self) -> Self {
        Self::from_rows(self.rows(), first.columns, |row, out| {
            let (middle, factors) = self.row(row);
            for (m, factor) in middle.iter().zip(factors) {
                let (columns, values) = first.row(*m as usize);
                out.extend(columns.iter().zip(values).map(|(c, v)| (*c, factor * v)));
            }
        })
    }

    /// The matrix times a vector.
    pub fn apply(&self, input: &[f64]) -> Vec<f64> {
        (0..self.rows())
            .map(|row| {
                let (columns, values) = self.row(row);
                columns.iter().zip(values).map(|(c, v)| v * input[*c as usize]).sum()
            })
            .collect()
    }
}
