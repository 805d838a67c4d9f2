//! What kernels mean: each tile of a launch computed word by word, exactly.
//!
//! This is the oracle of every lowering: it uses no transform but the definition of the evaluation form (through the
//! factored recursion), plain remainders instead of Montgomery reduction where it can, and checks every index.

use super::model::{ArgumentKind, Kernel, Limbs, Tile, TileOp, WeightedSum};
use ceria_runtime::format::primes::{
    add_mod, bit_reverse, centre, inv_mod, mul_mod, neg_mod, pow_mod, primitive_root, reduce_i64, sub_mod,
};

/// An operand of a launch.
#[derive(Debug)]
pub enum Operand<'m> {
    /// The words of a buffer.
    Buffer(&'m mut [u32]),
    /// A number.
    Index(usize),
}

/// Runs all tiles of a kernel, in order.
pub fn run(kernel: &Kernel, operands: &mut [Operand<'_>]) -> Result<(), String> {
    if operands.len() != kernel.arguments.len() {
        return Err(format!(
            "@{} has {} arguments, not {}",
            kernel.name,
            kernel.arguments.len(),
            operands.len()
        ));
    }
    for (argument, operand) in kernel.arguments.iter().zip(operands.iter()) {
        match (argument, operand) {
            (ArgumentKind::Buffer(shape), Operand::Buffer(words))
                if shape.iter().product::<usize>() == words.len() => {}
            (ArgumentKind::Index, Operand::Index(_)) => {}
            _ => return Err(format!("@{} got an operand that does not fit its argument", kernel.name)),
        }
    }
    for tile in 0..kernel.grid() {
        let (batch, prime) = (tile / kernel.moduli.len(), tile % kernel.moduli.len());
        let mut run = Run { kernel, batch, prime, tiles: vec![Vec::new(); kernel.tiles] };
        for op in &kernel.body {
            run.operation(op, operands)?;
        }
    }
    Ok(())
}

/// One tile.
struct Run<'k> {
    kernel: &'k Kernel,
    batch: usize,
    prime: usize,
    tiles: Vec<Vec<u32>>,
}

impl Run<'_> {
    fn q(&self) -> u32 {
        self.kernel.moduli[self.prime]
    }

    fn operation(&mut self, op: &TileOp, operands: &mut [Operand<'_>]) -> Result<(), String> {
        let q = self.q();
        let n = self.kernel.n;
        match op {
            TileOp::Load { buffer, limbs, result } => {
                self.tiles[*result] = self.row(operands, *buffer, limbs, n)?.to_vec();
            }
            TileOp::LoadPermuted { buffer, permutation, limbs, result } => {
                let permutation = words(operands, *permutation)?;
                self.tiles[*result] = permute(self.row(operands, *buffer, limbs, n)?, permutation)?;
            }
            TileOp::LoadPeriodic { buffer, limbs, period, result } => {
                let row = self.row(operands, *buffer, limbs, *period)?;
                self.tiles[*result] = spread(row, n);
            }
            TileOp::Store { tile, buffer, limbs } => {
                let at = self.kernel.row_offset(*buffer, limbs.rows[self.prime], self.batch);
                let Operand::Buffer(words) = &mut operands[*buffer] else {
                    return Err("stores to a number".into());
                };
                words
                    .get_mut(at..at + n)
                    .ok_or("stores outside a buffer")?
                    .copy_from_slice(&self.tiles[*tile]);
            }
            TileOp::Splat { constants, result } => self.tiles[*result] = vec![constants[self.prime]; n],
            TileOp::Add { lhs, rhs, result } => self.zip(*lhs, *rhs, *result, |a, b| add_mod(a, b, q)),
            TileOp::Sub { lhs, rhs, result } => self.zip(*lhs, *rhs, *result, |a, b| sub_mod(a, b, q)),
            TileOp::Mul { lhs, rhs, result } => {
                let r = inv_mod(((1u64 << 32) % u64::from(q)) as u32, q);
                self.zip(*lhs, *rhs, *result, |a, b| mul_mod(mul_mod(a, b, q), r, q));
            }
            TileOp::Mac { accumulator, lhs, rhs, result } => {
                let r = inv_mod(((1u64 << 32) % u64::from(q)) as u32, q);
                self.zip(*lhs, *rhs, *result, |a, b| mul_mod(mul_mod(a, b, q), r, q));
                self.zip(*accumulator, *result, *result, |a, b| add_mod(a, b, q));
            }
            TileOp::Neg { input, result } => self.map(*input, *result, |a| neg_mod(a, q)),
            TileOp::MulConst { input, constants, result } => {
                let c = constants[self.prime];
                self.map(*input, *result, |a| mul_mod(a, c, q));
            }
            TileOp::AddConst { input, constants, result } => {
                let c = constants[self.prime];
                self.map(*input, *result, |a| add_mod(a, c, q));
            }
            TileOp::Ntt { input, result } => self.tiles[*result] = forward(&self.tiles[*input], q),
            TileOp::Intt { input, scale, result } => {
                let factor = scale.as_ref().map_or(1, |scale| scale[self.prime]);
                let words = inverse(&self.tiles[*input], q);
                self.tiles[*result] = words.into_iter().map(|a| mul_mod(a, factor, q)).collect();
            }
            TileOp::Bconv { buffer, from, rows, result } => {
                let mut sum = vec![0u32; n];
                for (i, &source) in from.iter().enumerate() {
                    let others = from.iter().enumerate().filter(|(j, _)| *j != i);
                    let factor = others.fold(1 % q, |all, (_, &other)| mul_mod(all, other % q, q));
                    let limbs = Limbs { rows: vec![rows[i]; self.kernel.moduli.len()] };
                    for (sum, &x) in sum.iter_mut().zip(self.row(operands, *buffer, &limbs, n)?) {
                        let y = reduce_i64(i64::from(centre(x, source)), q);
                        *sum = add_mod(*sum, mul_mod(y, factor, q), q);
                    }
                }
                self.tiles[*result] = sum;
            }
            TileOp::WeightedSum(sum) => self.weighted_sum(sum, operands)?,
        }
        Ok(())
    }

    fn weighted_sum(&mut self, sum: &WeightedSum, operands: &[Operand<'_>]) -> Result<(), String> {
        let q = self.q();
        let n = self.kernel.n;
        let r = inv_mod(((1u64 << 32) % u64::from(q)) as u32, q);
        let (weight_shape, value_shape) = (self.kernel.shape(sum.weights), self.kernel.shape(sum.values));
        let (from, to) = match sum.range {
            Some((from, to)) => (number(operands, from)?, number(operands, to)?),
            None => (0, weight_shape[0]),
        };
        let mut totals = vec![vec![0u32; n]; sum.results.len()];
        for entry in from..to {
            let at = (entry * weight_shape[1] + sum.weight_limbs.rows[self.prime]) * sum.period;
            let row =
                words(operands, sum.weights)?.get(at..at + sum.period).ok_or("reads outside the weights")?;
            let mut weight = spread(row, n);
            if let Some(permutation) = sum.permutation {
                weight = permute(&weight, words(operands, permutation)?)?;
            }
            let chosen = match sum.choice {
                Some(choice) => {
                    *words(operands, choice)?.get(entry).ok_or("reads outside the choice")? as usize
                }
                None => entry,
            };
            for (k, total) in totals.iter_mut().enumerate() {
                let row = (chosen * value_shape[1] + k) * value_shape[2] + sum.value_limbs.rows[self.prime];
                let value = words(operands, sum.values)?
                    .get(row * n..(row + 1) * n)
                    .ok_or("reads outside the values")?;
                for ((total, &w), &v) in total.iter_mut().zip(&weight).zip(value) {
                    *total = add_mod(*total, mul_mod(mul_mod(w, v % q, q), r, q), q);
                }
            }
        }
        for (&result, total) in sum.results.iter().zip(totals) {
            self.tiles[result] = total;
        }
        Ok(())
    }

    fn row<'o>(
        &self,
        operands: &'o [Operand<'_>],
        buffer: usize,
        limbs: &Limbs,
        width: usize,
    ) -> Result<&'o [u32], String> {
        let at = self.kernel.row_offset(buffer, limbs.rows[self.prime], self.batch);
        words(operands, buffer)?.get(at..at + width).ok_or_else(|| "reads outside a buffer".into())
    }

    fn map(&mut self, input: Tile, result: Tile, f: impl Fn(u32) -> u32) {
        self.tiles[result] = self.tiles[input].iter().map(|&a| f(a)).collect();
    }

    fn zip(&mut self, lhs: Tile, rhs: Tile, result: Tile, f: impl Fn(u32, u32) -> u32) {
        self.tiles[result] = self.tiles[lhs].iter().zip(&self.tiles[rhs]).map(|(&a, &b)| f(a, b)).collect();
    }
}

fn words<'o>(operands: &'o [Operand<'_>], argument: usize) -> Result<&'o [u32], String> {
    match operands.get(argument) {
        Some(Operand::Buffer(words)) => Ok(words),
        _ => Err("expects a buffer".into()),
    }
}

fn number(operands: &[Operand<'_>], argument: usize) -> Result<usize, String> {
    match operands.get(argument) {
        Some(Operand::Index(index)) => Ok(*index),
        _ => Err("expects a number".into()),
    }
}

fn spread(row: &[u32], n: usize) -> Vec<u32> {
    (0..n).map(|i| row[i / (n / row.len())]).collect()
}

fn permute(row: &[u32], permutation: &[u32]) -> Result<Vec<u32>, String> {
    permutation
        .iter()
        .map(|&p| row.get(p as usize).copied().ok_or_else(|| format!("permutes by {p}, outside the limb")))
        .collect()
}

/// Coefficients to evaluations: word i is the value at psi^(2 brv(i) + 1). The polynomial is twisted by psi and split
/// into even and odd coefficients, as in any textbook.
pub fn forward(words: &[u32], q: u32) -> Vec<u32> {
    let log_n = words.len().ilog2();
    let psi = primitive_root(q, log_n);
    let mut power = 1 % q;
    let mut twisted = Vec::with_capacity(words.len());
    for &word in words {
        twisted.push(mul_mod(word, power, q));
        power = mul_mod(power, psi, q);
    }
    let natural = fourier(&twisted, mul_mod(psi, psi, q), q);
    (0..words.len()).map(|i| natural[bit_reverse(i, log_n)]).collect()
}

/// Evaluations to coefficients.
pub fn inverse(words: &[u32], q: u32) -> Vec<u32> {
    let log_n = words.len().ilog2();
    let back = inv_mod(primitive_root(q, log_n), q);
    let natural: Vec<u32> = (0..words.len()).map(|i| words[bit_reverse(i, log_n)]).collect();
    let twisted = fourier(&natural, mul_mod(back, back, q), q);
    let mut factor = inv_mod(pow_mod(2, u64::from(log_n), q), q);
    let mut coefficients = Vec::with_capacity(words.len());
    for word in twisted {
        coefficients.push(mul_mod(word, factor, q));
        factor = mul_mod(factor, back, q);
    }
    coefficients
}

/// The values of a polynomial at the powers of a root of unity of its length, in order.
fn fourier(words: &[u32], root: u32, q: u32) -> Vec<u32> {
    if words.len() == 1 {
        return words.to_vec();
    }
    let half = |odd: usize| words.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
    let square = mul_mod(root, root, q);
    let (even, odd) = (fourier(&half(0), square, q), fourier(&half(1), square, q));
    let mut result = vec![0; words.len()];
    let mut power = 1 % q;
    for k in 0..even.len() {
        let t = mul_mod(power, odd[k], q);
        result[k] = add_mod(even[k], t, q);
        result[k + even.len()] = sub_mod(even[k], t, q);
        power = mul_mod(power, root, q);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use ceria_runtime::format::primes::ntt_primes_below;

    #[test]
    fn transforms_follow_the_definition() {
        for log_n in [2, 5] {
            let q = ntt_primes_below(1 << 31, log_n).next().unwrap_or_default();
            let psi = primitive_root(q, log_n);
            let n = 1usize << log_n;
            let a: Vec<u32> = (0..n as u32).map(|i| (i * i * 77_777 + 5) % q).collect();
            let values = forward(&a, q);
            for (i, &value) in values.iter().enumerate() {
                let root = pow_mod(psi, 2 * bit_reverse(i, log_n) as u64 + 1, q);
                let naive = a.iter().rev().fold(0, |sum, &c| add_mod(mul_mod(sum, root, q), c, q));
                assert_eq!(value, naive);
            }
            assert_eq!(inverse(&values, q), a);
        }
    }
}
