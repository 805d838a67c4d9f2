//! Slot matrices: a linear operator between two layouts as generalised diagonals.
//!
//! For output ciphertext `o` and input ciphertexts `i`, all slot numbers modulo the number of slots:
//!
//! ```text
//! y_o[s] = sum_i sum_d diag_{o,i,d}[s] * x_i[s + d]        products with rotations of the inputs
//! y_o   += rot(y_o, f)    for each fold f in order          rotate-and-sum
//! ```
//!
//! Let `X` be the period of the input's layout, `P` that of the output's, `U = max(X, P)`. Without folds every
//! row `s` in `[0, U)` that holds an output element receives all its entries, and diagonals are numbers modulo
//! `X`. With `m` folds of steps `U/2, .., U/2^m = W` (allowed while `P` divides `W` and `U = X`), the rows that
//! agree modulo `W` are summed in the end. So an entry may be put in any of them, which makes the diagonal a
//! number modulo `W`: a matrix of 128 rows and 1024 columns has 128 diagonals and 3 folds. A copy of an input
//! element that is rolled gives an entry more diagonals to choose from, so that fewer can serve all.
//!
//! What holds of every [`SlotMatrix`]: rows that hold no output element are zero after the folds; the output
//! has all the copies its layout asks for; diagonals of a block are distinct and ascending; `period` is a power
//! of two and every diagonal vector has it.

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use num_complex::Complex64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bsgs::{Bsgs, RotationCost, Steps};
use super::chain::Chain;
use super::matrix::SparseMatrix;
use super::op::{LinearError, LinearOp};
use crate::format::layout::{Layout, Places};

/// The diagonals between one output and one input ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The output ciphertext.
    pub output: usize,
    /// The input ciphertext.
    pub input: usize,
    /// The numbers `d` of the diagonals, ascending, between `-slots/2` and `slots/2`.
    pub diagonals: Vec<i64>,
}

/// A matrix between slots; see the [module documentation](self).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMatrix {
    /// The number of slots of a ciphertext.
    pub slots: usize,
    /// The number of input ciphertexts.
    pub inputs: usize,
    /// The number of output ciphertexts.
    pub outputs: usize,
    /// The period of the diagonal vectors.
    pub period: usize,
    /// The rotations of the rotate-and-sum after the products.
    pub folds: Vec<i64>,
    /// The blocks that have diagonals, by output, then input.
    pub blocks: Vec<Block>,
    /// The split of the diagonals into baby and giant steps.
    pub bsgs: Bsgs,
    /// Which rotations are chains.
    #[serde(default)]
    pub chain: Chain,
}

/// A layout with the places of a tensor's elements, computed once and used for many slot matrices.
#[derive(Debug, Clone)]
pub struct Placed {
    layout: Layout,
    places: Places,
    elements: usize,
}

impl Placed {
    /// The places of a tensor of this shape.
    pub fn new(layout: Layout, shape: &[usize]) -> Result<Self, LinearError> {
        let places = layout.places(shape)?;
        Ok(Self { layout, places, elements: shape.iter().product() })
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// The values of one diagonal.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagonalValues {
    /// The output ciphertext.
    pub output: usize,
    /// The input ciphertext.
    pub input: usize,
    /// The number of the diagonal.
    pub diagonal: i64,
    /// One period of the values, their real parts.
    pub values: Vec<f64>,
    /// Their imaginary parts; empty where all are zero.
    pub imaginary: Vec<f64>,
}

impl DiagonalValues {
    /// The value in a slot.
    pub fn at(&self, slot: usize) -> Complex64 {
        let place = slot % self.values.len();
        Complex64::new(self.values[place], self.imaginary.get(place).copied().unwrap_or(0.0))
    }

    /// The values rotated right by a giant step: what multiplies the baby rotation of the input before the sum
    /// is rotated by the giant step.
    pub fn before_giant(&self, giant: i64) -> Vec<f64> {
        let mut rotated = self.values.clone();
        rotated.rotate_right(giant.rem_euclid(self.values.len() as i64) as usize);
        rotated
    }

    /// The same with imaginary parts.
    pub fn complex_before_giant(&self, giant: i64) -> Vec<Complex64> {
        let period = self.values.len();
        let by = giant.rem_euclid(period as i64) as usize;
        (0..period).map(|slot| self.at(slot + period - by)).collect()
    }
}

/// The numbers from which everything else follows.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// The period of the input.
    input_period: usize,
    /// The number of rows of the diagonal vectors before their period is minimised.
    universe: usize,
    /// Output rows that agree modulo this are summed by the folds; the universe when there are none.
    window: usize,
    /// Diagonals are numbers modulo this.
    modulus: usize,
}

impl Frame {
    fn new(input: &Layout, output: &Layout, folds: usize) -> Self {
        let input_period = input.period();
        let universe = input_period.max(output.period());
        let window = universe >> folds;
        Self { input_period, universe, window, modulus: window.min(input_period) }
    }

    fn max_folds(input: &Layout, output: &Layout) -> usize {
        (input.period() / output.period()).max(1).ilog2() as usize
    }
}

impl SlotMatrix {
    /// The cheapest slot matrix of an operator between two layouts.
    pub fn new(
        op: &LinearOp,
        input: &Layout,
        output: &Layout,
        cost: &RotationCost,
    ) -> Result<Self, LinearError> {
        let placed_input = Placed::new(input.clone(), op.input_shape())?;
        let placed_output = Placed::new(output.clone(), op.output_shape())?;
        let found = Self::between(&op.structure()?, &placed_input, &placed_output, cost, f64::INFINITY)?;
        let (mut matrix, _) = found.ok_or_else(|| LinearError::Slots("no slot matrix is found".into()))?;
        matrix.minimise_period(op, input, output)?;
        Ok(matrix)
    }

    /// The cheapest slot matrix of a structure between two placed tensors, and its cost; `None` when products
    /// alone cost more than a limit. The period of the diagonals is not minimised. Given a
    /// [`SparseMatrix::sample`] it makes an estimate.
    pub fn between(
        structure: &SparseMatrix,
        input: &Placed,
        output: &Placed,
        cost: &RotationCost,
        limit: f64,
    ) -> Result<Option<(Self, f64)>, LinearError> {
        output.layout.verify_slots(input.layout.slots())?;
        if (structure.columns(), structure.rows()) != (input.elements, output.elements) {
            return Err(LinearError::Slots(
                "the tensors do not have the matrix's numbers of elements".into(),
            ));
        }
        let least = cost.of_period(1, input.layout.slots()).product;
        let most_diagonals = (limit / least.max(1e-6)) as usize;
        Ok(Search { structure, input, output, cost, most_diagonals }.cheapest())
    }

    /// The rotations and products of one application, folds left out.
    pub fn steps(&self) -> Steps {
        self.bsgs.steps(self.blocks.iter().map(|b| (b.output, b.input, &b.diagonals[..])))
    }

    /// What one application costs.
    pub fn cost(&self, cost: &RotationCost) -> f64 {
        price(&self.steps(), &self.folds, self.outputs, &cost.of_period(self.period, self.slots))
    }

    /// The number of diagonals.
    pub fn diagonals(&self) -> usize {
        self.blocks.iter().map(|b| b.diagonals.len()).sum()
    }

    /// The number of rotations of one application: baby and giant steps and folds.
    pub fn rotations(&self) -> usize {
        let steps = self.steps();
        steps.baby_rotations() + steps.giant_rotations() + self.folds.len() * self.outputs
    }

    /// The values of all diagonals, in the order of the blocks, for given weights. The operator and the layouts
    /// have to be those that the matrix was made for.
    pub fn values(
        &self,
        op: &LinearOp,
        weights: &[ArrayViewD<'_, f32>],
        input: &Layout,
        output: &Layout,
    ) -> Result<Vec<DiagonalValues>, LinearError> {
        self.fill(&op.matrix(weights)?, (op.input_shape(), op.output_shape()), input, output, self.period)
    }

    /// Applies the matrix to slots as the ciphertext program does.
    pub fn apply(&self, diagonals: &[DiagonalValues], input: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let n = self.slots;
        let at = |slot: usize, step: i64| (slot as i64 + step).rem_euclid(n as i64) as usize;
        let mut sums = std::collections::BTreeMap::<(usize, i64), Vec<f64>>::new();
        for d in diagonals {
            let (baby, giant) = (self.bsgs.baby(d.diagonal), self.bsgs.giant(d.diagonal));
            let values = d.before_giant(giant);
            let sum = sums.entry((d.output, giant)).or_insert_with(|| vec![0.0; n]);
            for (s, total) in sum.iter_mut().enumerate() {
                *total += values[s % values.len()] * input[d.input][at(s, baby)];
            }
        }
        let mut result = vec![vec![0.0; n]; self.outputs];
        for ((output, giant), sum) in sums {
            for (s, total) in result[output].iter_mut().enumerate() {
                *total += sum[at(s, giant)];
            }
        }
        for fold in &self.folds {
            for y in &mut result {
                *y = (0..n).map(|s| y[s] + y[at(s, *fold)]).collect();
            }
        }
        result
    }

    /// Sets the period to the smallest one that the diagonals have for weights without coincidences.
    fn minimise_period(&mut self, op: &LinearOp, input: &Layout, output: &Layout) -> Result<(), LinearError> {
        let generic: Vec<ArrayD<f32>> = op
            .weights()
            .iter()
            .enumerate()
            .map(|(index, shape)| {
                let mut state = (index as u64 + 1) << 40;
                ArrayD::from_shape_simple_fn(IxDyn(shape), || generic_weight(&mut state))
            })
            .collect();
        let views: Vec<_> = generic.iter().map(|w| w.view()).collect();
        let diagonals = self.values(op, &views, input, output)?;
        let repeats = |period: usize| {
            diagonals.par_iter().all(|d| {
                let (low, high) = d.values.split_at(period);
                high.chunks_exact(period).all(|chunk| chunk == low)
            })
        };
        while self.period > 1 && repeats(self.period / 2) {
            self.period /= 2;
        }
        Ok(())
    }

    /// The values of the diagonals with a given period.
    fn fill(
        &self,
        matrix: &SparseMatrix,
        shapes: (&[usize], &[usize]),
        input: &Layout,
        output: &Layout,
        period: usize,
    ) -> Result<Vec<DiagonalValues>, LinearError> {
        let frame = self.frame(matrix, shapes, input, output)?;
        let input_places = input.places(shapes.0)?;
        let output_places = output.places(shapes.1)?;
        let index = BlockIndex::new(self, frame);
        let mut diagonals: Vec<DiagonalValues> = self
            .blocks
            .iter()
            .flat_map(|b| {
                b.diagonals.iter().map(|&diagonal| DiagonalValues {
                    output: b.output,
                    input: b.input,
                    diagonal,
                    values: vec![0.0; period],
                    imaginary: vec![],
                })
            })
            .collect();
        let chunk = 256;
        let cells: Vec<Vec<(u32, u32, f64)>> = (0..matrix.rows().div_ceil(chunk))
            .into_par_iter()
            .map(|c| {
                let rows = c * chunk..((c + 1) * chunk).min(matrix.rows());
                let mut cells = Vec::new();
                for row in rows {
                    index.cells(matrix, row, &input_places, &output_places, period, &mut cells)?;
                }
                Ok(cells)
            })
            .collect::<Result<_, LinearError>>()?;
        for (diagonal, row, value) in cells.into_iter().flatten() {
            diagonals[diagonal as usize].values[row as usize] += value;
        }
        Ok(diagonals)
    }

    fn frame(
        &self,
        matrix: &SparseMatrix,
        shapes: (&[usize], &[usize]),
        input: &Layout,
        output: &Layout,
    ) -> Result<Frame, LinearError> {
        input.verify_slots(self.slots)?;
        output.verify_slots(self.slots)?;
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let frame = Frame::new(input, output, self.folds.len());
        let folds = Frame::max_folds(input, output);
        if input.ciphertexts() != self.inputs
            || output.ciphertexts() != self.outputs
            || self.folds.len() > folds
            || self.folds != fold_steps(frame.universe, self.folds.len())
            || self.blocks.iter().any(|b| b.input >= self.inputs || b.output >= self.outputs)
            || matrix.columns() != elements(shapes.0)
            || matrix.rows() != elements(shapes.1)
            || !self.period.is_power_of_two()
            || self.period > frame.universe
            || self.bsgs.modulus < 1
        {
            return Err(LinearError::Slots(
                "the slot matrix does not belong to this operator and layouts".into(),
            ));
        }
        Ok(frame)
    }
}

/// Numbers between 0.5 and 1.5 among which no coincidence is likely.
fn generic_weight(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    0.5 + ((z ^ (z >> 31)) >> 41) as f32 / (1u64 << 23) as f32
}

fn fold_steps(universe: usize, folds: usize) -> Vec<i64> {
    (1..=folds).map(|k| (universe >> k) as i64).collect()
}

fn price(steps: &Steps, folds: &[i64], outputs: usize, cost: &RotationCost) -> f64 {
    let known = steps.distinct();
    let keys = folds.iter().filter(|f| !known.contains(f)).count();
    steps.cost(cost) + (folds.len() * outputs) as f64 * cost.giant + keys as f64 * cost.key
}

/// The number congruent to `residue` in `[-modulus/2, modulus/2)`.
fn signed(residue: usize, modulus: usize) -> i64 {
    let (residue, modulus) = (residue as i64, modulus as i64);
    if 2 * residue >= modulus { residue - modulus } else { residue }
}

/// Which diagonal of a block stands for a residue.
struct BlockIndex {
    frame: Frame,
    inputs: usize,
    /// For each pair of ciphertexts and residue the number of the diagonal among all plus 1, or 0.
    of_block: Vec<Vec<u32>>,
    /// The numbers `d` of all diagonals.
    numbers: Vec<i64>,
}

impl BlockIndex {
    fn new(matrix: &SlotMatrix, frame: Frame) -> Self {
        let mut of_block = vec![Vec::new(); matrix.inputs * matrix.outputs];
        let mut numbers = Vec::new();
        for block in &matrix.blocks {
            let mut table = vec![0; frame.modulus];
            for &d in &block.diagonals {
                numbers.push(d);
                table[d.rem_euclid(frame.modulus as i64) as usize] = numbers.len() as u32;
            }
            of_block[block.output * matrix.inputs + block.input] = table;
        }
        Self { frame, inputs: matrix.inputs, of_block, numbers }
    }

    /// The cells (diagonal, row, value) that the entries of an output element fill, rows at or beyond the
    /// period left out.
    fn cells(
        &self,
        matrix: &SparseMatrix,
        row: usize,
        input: &Places,
        output: &Places,
        period: usize,
        cells: &mut Vec<(u32, u32, f64)>,
    ) -> Result<(), LinearError> {
        let Frame { input_period, universe, window, modulus } = self.frame;
        let (columns, values) = matrix.row(row);
        for to in output.of(row).iter().take_while(|p| (p.slot as usize) < window) {
            let target = to.slot as usize;
            for (&column, &value) in columns.iter().zip(values) {
                let copies = input.of(column as usize);
                let block = to.ciphertext as usize * self.inputs + copies[0].ciphertext as usize;
                let table = &self.of_block[block];
                let found = copies.iter().take_while(|p| (p.slot as usize) < input_period).find_map(|from| {
                    let residue = (from.slot as usize + universe - target) & (modulus - 1);
                    match table.get(residue) {
                        Some(&number) if number > 0 => Some((from.slot as i64, number - 1)),
                        _ => None,
                    }
                });
                let Some((from, number)) = found else {
                    return Err(LinearError::Slots("the slot matrix lacks a diagonal that is needed".into()));
                };
                // With folds the row is one of those that agree with the target modulo the window.
                let at = if window == universe {
                    target
                } else {
                    (from - self.numbers[number as usize]).rem_euclid(universe as i64) as usize
                };
                if at < period {
                    cells.push((number, at as u32, value));
                }
            }
        }
        Ok(())
    }
}

/// The search for the cheapest set of diagonals.
struct Search<'a> {
    structure: &'a SparseMatrix,
    input: &'a Placed,
    output: &'a Placed,
    cost: &'a RotationCost,
    /// With more diagonals a matrix is given up.
    most_diagonals: usize,
}

impl Search<'_> {
    /// Tries numbers of folds from the largest down, until more diagonals no longer pay.
    fn cheapest(&self) -> Option<(SlotMatrix, f64)> {
        let most = Frame::max_folds(&self.input.layout, &self.output.layout);
        let mut best: Option<(SlotMatrix, f64)> = None;
        let mut worse = 0;
        for folds in (0..=most).rev() {
            let frame = Frame::new(&self.input.layout, &self.output.layout, folds);
            let patience = if self.has_choice(frame) { 2 } else { 1 };
            match (self.with_folds(frame, folds), &best) {
                (Some(found), None) => best = Some(found),
                (Some(found), Some((_, least))) if found.1 < *least => {
                    best = Some(found);
                    worse = 0;
                }
                _ => worse += 1,
            }
            // Where every entry has one diagonal, their number doubles with each fold that is left out.
            if worse == patience {
                break;
            }
        }
        best
    }

    fn with_folds(&self, frame: Frame, folds: usize) -> Option<(SlotMatrix, f64)> {
        let first = self.with_order(frame, folds, false);
        if !self.has_choice(frame) {
            return first;
        }
        let found = [first, self.with_order(frame, folds, true)].into_iter().flatten();
        found.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn with_order(&self, frame: Frame, folds: usize, centred: bool) -> Option<(SlotMatrix, f64)> {
        let blocks = self.blocks(frame, centred)?;
        let listed: Vec<_> = blocks.iter().map(|b| (b.output, b.input, &b.diagonals[..])).collect();
        let (bsgs, _) = Bsgs::cheapest(&listed, self.input.layout.slots(), self.cost);
        let matrix = SlotMatrix {
            slots: self.input.layout.slots(),
            inputs: self.input.layout.ciphertexts(),
            outputs: self.output.layout.ciphertexts(),
            period: frame.universe,
            folds: fold_steps(frame.universe, folds),
            blocks,
            bsgs,
            chain: Chain::None,
        };
        let price = matrix.cost(self.cost);
        Some((matrix, price))
    }

    /// Whether some entry can choose among diagonals.
    fn has_choice(&self, frame: Frame) -> bool {
        self.input.layout.copies() > self.input.layout.slots() / frame.input_period
    }

    /// The diagonals of each block: every entry takes one that is there already when it can, and adds the
    /// smallest of its choices otherwise, by absolute value when `centred`. `None` when there are too many.
    fn blocks(&self, frame: Frame, centred: bool) -> Option<Vec<Block>> {
        let Frame { input_period, universe, window, modulus } = frame;
        let inputs = self.input.layout.ciphertexts();
        let mut present: Vec<Vec<bool>> = vec![Vec::new(); inputs * self.output.layout.ciphertexts()];
        let mut count = 0;
        for row in 0..self.structure.rows() {
            let (columns, _) = self.structure.row(row);
            for to in self.output.places.of(row).iter().take_while(|p| (p.slot as usize) < window) {
                for &column in columns {
                    let copies = self.input.places.of(column as usize);
                    let block = &mut present[to.ciphertext as usize * inputs + copies[0].ciphertext as usize];
                    if block.is_empty() {
                        block.resize(modulus, false);
                    }
                    let residues = copies
                        .iter()
                        .take_while(|p| (p.slot as usize) < input_period)
                        .map(|from| (from.slot as usize + universe - to.slot as usize) & (modulus - 1));
                    if residues.clone().any(|r| block[r]) {
                        continue;
                    }
                    let size =
                        |r: &usize| if centred { signed(*r, modulus).unsigned_abs() } else { *r as u64 };
                    if let Some(smallest) = residues.min_by_key(size) {
                        block[smallest] = true;
                        count += 1;
                    }
                }
            }
            if count > self.most_diagonals {
                return None;
            }
        }
        let mut blocks = Vec::new();
        for (number, present) in present.into_iter().enumerate() {
            let mut diagonals: Vec<i64> =
                (0..present.len()).filter(|r| present[*r]).map(|r| signed(r, modulus)).collect();
            if !diagonals.is_empty() {
                diagonals.sort_unstable();
                blocks.push(Block { output: number / inputs, input: number % inputs, diagonals });
            }
        }
        Some(blocks)
    }
}
