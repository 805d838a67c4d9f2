//! Fills the tables that a program reads, when its bundle is loaded.
//!
//! Expanded keys are most of a program's memory, and twice as large as they are in a client's file. Each of the client's
//! keys is dropped after the last table that has it, so that the two are not held side by side.

use super::{
    bundle::Bundle,
    cache::{self, TableCache, TableWords},
    error::DeviceError,
    memory::Buffer,
    test_data::TestData,
};
use crate::{
    client::{
        Context, KeyKind, KeySpec,
        files::{EvalKeys, Hash},
    },
    format::{
        basis::Basis,
        layout::Layout,
        linear::{FourierFactor, LinearOp},
        manifest::{CONSTANTS, KeySet, PlaintextSource, Table, TableContent},
        primes::{bit_reverse, pow_mod, primitive_root, to_montgomery},
        scale::Scale,
        twiddles,
    },
};
use ndarray::{ArrayD, ArrayViewD};
use num_complex::Complex64;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What tables are filled from.
pub struct Sources<'a> {
    /// The client's context for the bundle's parameters.
    pub context: &'a Context,
    /// The client's evaluation keys that are still needed.
    pub keys: EvalKeys,
    /// What keys are made from instead, in tests of devices.
    pub test_data: Option<TestData>,
    /// The keys that the client was asked to make.
    pub key_set: &'a KeySet,
    /// The weights, if the bundle has any.
    pub weights: Option<SafeTensors<'a>>,
    /// Where large tables are kept, and the bundle's hash.
    pub cache: Option<(&'a TableCache, Hash)>,
}

/// Reads the weights' file, if there is one.
pub fn weights(bundle: &Bundle) -> Result<Option<memmap2::Mmap>, DeviceError> {
    bundle.manifest.files.contains_key(CONSTANTS).then(|| bundle.read(CONSTANTS)).transpose()
}

impl Sources<'_> {
    /// Builds tables, in order, and hands each to `place`. `progress` is told how many of how many are done.
    pub fn build_all(
        mut self,
        tables: &[Table],
        mut progress: impl FnMut(usize, usize),
        mut place: impl FnMut(TableWords) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut uses = BTreeMap::new();
        for spec in tables.iter().flat_map(|table| self.specs(table)) {
            *uses.entry(spec).or_insert(0usize) += 1;
        }
        self.keys.keys.retain(|key| uses.contains_key(&key.spec()));
        for (done, table) in tables.iter().enumerate() {
            progress(done, tables.len());
            place(self.words(done, table, &mut uses)?)?;
        }
        progress(tables.len(), tables.len());
        Ok(())
    }

    /// The keys that a table has, as far as the client was asked to make them.
    fn specs(&self, table: &Table) -> Vec<KeySpec> {
        match &table.content {
            TableContent::GaloisKey { elements, .. } => {
                elements.iter().filter_map(|&element| self.spec(KeyKind::Galois(element))).collect()
            }
            TableContent::RelinKey { .. } => self.spec(KeyKind::Relinearize).into_iter().collect(),
            TableContent::SparseKey { .. } => self.spec(KeyKind::ToSparse).into_iter().collect(),
            TableContent::DenseKey { .. } => self.spec(KeyKind::FromSparse).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn spec(&self, kind: KeyKind) -> Option<KeySpec> {
        let level = match kind {
            KeyKind::Relinearize => self.key_set.relin,
            KeyKind::ToSparse => self.key_set.bootstrap.map(|_| 0),
            KeyKind::FromSparse => self.key_set.bootstrap,
            KeyKind::Galois(element) => {
                self.key_set.galois.iter().find(|key| key.element == element).map(|key| key.level)
            }
        };
        level.map(|level| KeySpec { kind, level })
    }

    /// The words of the table of this number. `uses` counts what is still to be built of each key.
    fn words(
        &mut self,
        number: usize,
        table: &Table,
        uses: &mut BTreeMap<KeySpec, usize>,
    ) -> Result<TableWords, DeviceError> {
        let bytes = table.bytes()?;
        let count = (bytes / 4) as usize;
        let identity = if cache::keeps(bytes) { self.identity(number, table) } else { None };
        let Some((cache, identity)) = identity else {
            let mut buffer = Buffer::new(count);
            self.fill(table, buffer.words_mut(), uses)?;
            return Ok(buffer.into());
        };
        if let Some(found) = cache.get(&identity, count) {
            for spec in self.specs(table) {
                self.used(spec, uses);
            }
            return Ok(found);
        }
        cache.build(&identity, count, |words| self.fill(table, words, uses))
    }

    /// What a table is built from, if it may be kept: the bundle, and the file of keys if it has keys. Tables without any
    /// are the same for all clients.
    fn identity(&self, number: usize, table: &Table) -> Option<(TableCache, Hash)> {
        let (cache, bundle) = self.cache.as_ref()?;
        let keys = if self.specs(table).is_empty() { [0; 32] } else { self.keys.digest? };
        let mut hash = Sha256::new();
        hash.update(bundle);
        hash.update(keys);
        hash.update((number as u64).to_le_bytes());
        Some(((*cache).clone(), hash.finalize().into()))
    }

    /// Counts a use of a key, and drops it after the last.
    fn used(&mut self, spec: KeySpec, uses: &mut BTreeMap<KeySpec, usize>) {
        let left = uses.entry(spec).or_default();
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.keys.keys.retain(|key| key.spec() != spec);
        }
    }

    /// Fills a table.
    fn fill(
        &mut self,
        table: &Table,
        words: &mut [u32],
        uses: &mut BTreeMap<KeySpec, usize>,
    ) -> Result<(), DeviceError> {
        let params = self.context.params();
        match &table.content {
            TableContent::Index { values } => words.copy_from_slice(values),
            TableContent::Automorphism { elements } => {
                let rows = words.par_chunks_exact_mut(params.n());
                rows.zip(elements).for_each(|(row, &element)| automorphism(element, row));
            }
            TableContent::GaloisKey { elements, moduli } => {
                let entry = words.len() / elements.len().max(1);
                for (words, &element) in words.chunks_exact_mut(entry.max(1)).zip(elements) {
                    self.expand(KeyKind::Galois(element), moduli, words, uses)?;
                }
            }
            TableContent::RelinKey { moduli } => {
                self.expand(KeyKind::Relinearize, moduli, words, uses)?;
            }
            TableContent::SparseKey { moduli } => {
                self.expand(KeyKind::ToSparse, moduli, words, uses)?;
            }
            TableContent::DenseKey { moduli } => {
                self.expand(KeyKind::FromSparse, moduli, words, uses)?;
            }
            TableContent::Monomial { exponents, moduli } => {
                let period = table.shape.last().copied().unwrap_or(1) as usize;
                let primes = params.primes(moduli);
                let rows = words.par_chunks_exact_mut(period.max(1)).enumerate();
                rows.for_each(|(row, words)| {
                    let (entry, limb) = (row / primes.len(), row % primes.len());
                    monomial(exponents[entry], primes[limb], params.log_n, words);
                });
            }
            TableContent::Twiddles { moduli } => {
                let rows = words.par_chunks_exact_mut(twiddles::words(params.n()));
                rows.zip(params.primes(moduli)).for_each(|(row, q)| twiddles::fill(q, params.log_n, row));
            }
            TableContent::Plaintext { moduli, scale, source } => {
                let period = table.shape.last().copied().unwrap_or(0) as usize / 2;
                self.encode(source, period, moduli, scale, words)?;
            }
        }
        Ok(())
    }

    fn expand(
        &mut self,
        kind: KeyKind,
        moduli: &Basis,
        words: &mut [u32],
        uses: &mut BTreeMap<KeySpec, usize>,
    ) -> Result<(), DeviceError> {
        if let Some(data) = self.test_data {
            data.fill_key(self.context, kind, moduli, words);
            return Ok(());
        }
        let name = || match kind {
            KeyKind::Relinearize => "the relinearisation key".to_string(),
            KeyKind::Galois(element) => format!("the key of Galois element {element}"),
            KeyKind::ToSparse => "the key to the sparse secret".to_string(),
            KeyKind::FromSparse => "the key from the sparse secret".to_string(),
        };
        let missing = || DeviceError::MissingKey(name());
        let spec = self.spec(kind).ok_or_else(missing)?;
        let key = self.keys.get(spec).ok_or_else(missing)?;
        key.expand_montgomery(self.context, moduli, words)?;
        self.used(spec, uses);
        Ok(())
    }

    fn encode(
        &self,
        source: &PlaintextSource,
        period: usize,
        moduli: &Basis,
        scale: &Scale,
        words: &mut [u32],
    ) -> Result<(), DeviceError> {
        let scale = scale.value(self.context.params());
        if let PlaintextSource::Fourier { part, slots, factor, entries } = source {
            let wrong = || DeviceError::Weights(format!("there is no part {part} of {slots} slots"));
            let part = FourierFactor::parse(part).map_err(DeviceError::Weights)?;
            let slots = *slots as usize;
            if !slots.is_power_of_two() || part.period() > slots || slots > self.context.params().slots() {
                return Err(wrong());
            }
            let diagonals = part.values(slots, *factor);
            let chosen = entries.iter().map(|&[_, _, diagonal, rotation]| {
                Some((diagonals.iter().find(|d| d.diagonal == diagonal)?, rotation))
            });
            let chosen = chosen.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            let fill = |entry: usize, values: &mut [Complex64]| {
                let (diagonal, rotation) = chosen[entry];
                let rotated = diagonal.complex_before_giant(rotation);
                values.iter_mut().zip(rotated.iter().cycle()).for_each(|(value, from)| *value = *from);
            };
            return Ok(self.context.encode_table(entries.len(), period, scale, moduli, fill, words)?);
        }
        let vectors = self.vectors(source, period)?;
        let fill = |entry: usize, values: &mut [Complex64]| {
            let vector = &vectors[entry];
            values.iter_mut().enumerate().for_each(|(i, value)| *value = vector[i % vector.len()].into());
        };
        Ok(self.context.encode_table(vectors.len(), period, scale, moduli, fill, words)?)
    }

    /// The slot vectors of the entries.
    fn vectors(&self, source: &PlaintextSource, period: usize) -> Result<Vec<Vec<f64>>, DeviceError> {
        match source {
            PlaintextSource::Fourier { .. } => Err(DeviceError::Weights("a transform is not real".into())),
            PlaintextSource::Values { vectors } => {
                if vectors.iter().any(|v| v.is_empty() || !period.is_multiple_of(v.len().min(period))) {
                    return Err(DeviceError::Weights("a plaintext's values do not fit its period".into()));
                }
                Ok(vectors.clone())
            }
            PlaintextSource::Tensor { tensor, linear, weights, layout, factor, entries } => {
                let mut values = self.weight(tensor)?.mapv(f64::from);
                if let Some(linear) = linear {
                    let weights = self.weights(weights)?;
                    let views: Vec<ArrayViewD<'_, f32>> = weights.iter().map(|w| w.view()).collect();
                    values = LinearOp::from_json(&linear.to_string())?.apply(&values, &views)?;
                }
                values.mapv_inplace(|value| value * factor);
                let parts = parse_layout(layout)?.pack(&values.view())?;
                let missing = || DeviceError::Weights(format!("tensor {tensor} has too few parts"));
                entries.iter().map(|&part| parts.get(part as usize).cloned().ok_or_else(missing)).collect()
            }
            PlaintextSource::Matrix {
                linear,
                weights,
                input_layout,
                output_layout,
                factor,
                matrix,
                entries,
            } => {
                let op = LinearOp::from_json(&linear.to_string())?;
                let weights = self.weights(weights)?;
                let views: Vec<ArrayViewD<'_, f32>> = weights.iter().map(|w| w.view()).collect();
                let (input, output) = (parse_layout(input_layout)?, parse_layout(output_layout)?);
                let diagonals = matrix.values(&op, &views, &input, &output)?;
                let slots = self.context.params().slots() as i64;
                entries
                    .par_iter()
                    .map(|&[output, input, diagonal, rotation]| {
                        let same = |d: i64| (d - diagonal).rem_euclid(slots) == 0;
                        let found = diagonals.iter().find(|d| {
                            (d.output as i64, d.input as i64) == (output, input) && same(d.diagonal)
                        });
                        let Some(found) = found else {
                            return Err(DeviceError::Weights(format!("there is no diagonal {diagonal}")));
                        };
                        Ok(found.before_giant(rotation).into_iter().map(|value| value * factor).collect())
                    })
                    .collect()
            }
        }
    }

    fn weights(&self, names: &[String]) -> Result<Vec<ArrayD<f32>>, DeviceError> {
        names.iter().map(|name| self.weight(name)).collect()
    }

    fn weight(&self, name: &str) -> Result<ArrayD<f32>, DeviceError> {
        let wrong = |what: String| DeviceError::Weights(format!("tensor {name}: {what}"));
        let tensors = self.weights.as_ref().ok_or_else(|| wrong("there is no file of weights".into()))?;
        let tensor = tensors.tensor(name).map_err(|e| wrong(e.to_string()))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(wrong(format!("its type is {:?}, not F32", tensor.dtype())));
        }
        let words = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let values: Vec<f32> = words.collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(wrong("it holds a value that is not finite".into()));
        }
        ArrayD::from_shape_vec(tensor.shape(), values).map_err(|e| wrong(e.to_string()))
    }
}

fn parse_layout(text: &str) -> Result<Layout, DeviceError> {
    Ok(Layout::parse(text)?)
}

/// The permutation of evaluations that `X -> X^element` is: word i of the result is word `row[i]` of the operand.
fn automorphism(element: u32, row: &mut [u32]) {
    let n = row.len();
    let log_n = n.ilog2();
    for (i, place) in row.iter_mut().enumerate() {
        let exponent = (2 * bit_reverse(i, log_n) + 1) * element as usize % (2 * n);
        *place = bit_reverse((exponent - 1) / 2, log_n) as u32;
    }
}

/// One limb of X^k in evaluation form and Montgomery form, one word for each run of equal ones.
fn monomial(exponent: u32, q: u32, log_n: u32, words: &mut [u32]) {
    let psi = primitive_root(q, log_n);
    let bits = words.len().ilog2();
    for (i, word) in words.iter_mut().enumerate() {
        let power = (2 * bit_reverse(i, bits) as u64 + 1) * u64::from(exponent) % (2u64 << log_n);
        *word = to_montgomery(pow_mod(psi, power, q), q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::primes::{mul_mod, ntt_primes_below};

    #[test]
    fn monomials_are_powers_of_the_root() {
        let (log_n, q) = (4, ntt_primes_below(1 << 20, 4).next().unwrap_or_default());
        let psi = primitive_root(q, log_n);
        for (exponent, period) in [(8u32, 2usize), (24, 2), (4, 4), (0, 1), (3, 16)] {
            let mut words = vec![0; period];
            monomial(exponent, q, log_n, &mut words);
            for i in 0..16 {
                let root = pow_mod(psi, 2 * bit_reverse(i, log_n) as u64 + 1, q);
                let expected = to_montgomery(pow_mod(root, exponent.into(), q), q);
                assert_eq!(words[i / (16 / period)], expected, "X^{exponent}, word {i}");
            }
        }
    }

    #[test]
    fn automorphisms_permute_evaluations() {
        let (log_n, element) = (4, 13);
        let n = 1usize << log_n;
        let q = ntt_primes_below(1 << 20, log_n).next().unwrap_or_default();
        let psi = primitive_root(q, log_n);
        let evaluate = |a: &[u32], i: usize| {
            let root = pow_mod(psi, 2 * bit_reverse(i, log_n) as u64 + 1, q);
            a.iter()
                .enumerate()
                .fold(0u64, |s, (k, &c)| s + u64::from(mul_mod(c, pow_mod(root, k as u64, q), q)))
                % u64::from(q)
        };
        let a: Vec<u32> = (0..n as u32).map(|k| k * k + 1).collect();
        // a(X^g), coefficient by coefficient.
        let mut mapped = vec![0; n];
        for (k, &c) in a.iter().enumerate() {
            let to = k * element as usize % (2 * n);
            mapped[to % n] = if to < n { c } else { q - c };
        }
        let mut row = vec![0; n];
        automorphism(element, &mut row);
        for (i, &place) in row.iter().enumerate() {
            assert_eq!(evaluate(&mapped, i), evaluate(&a, place as usize));
        }
    }
}
