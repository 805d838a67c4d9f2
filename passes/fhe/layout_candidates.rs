//! Layouts that are worth trying for a tensor.
//!
//! Slots are looked at bit by bit, the most significant first: each bit of a slot number is a bit of a
//! coordinate, a copy or a gap. Candidates come from three sources: the tensor's shape alone; the layout of the
//! tensor it is computed from, with positions kept by strided windows; and moves of a few bits of a candidate.

use ceria_runtime::format::layout::{Layout, Piece};
use ceria_runtime::format::linear::{LinearOp, Step};

/// One bit of a slot number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bit {
    /// The bit of this weight (as a power of two) of a coordinate.
    Dim {
        dim: u32,
        log: u32,
    },
    Copy,
    Gap,
}

/// A layout without rolls, bit by bit.
#[derive(Debug, Clone)]
struct Bits {
    ciphertexts: Vec<Piece>,
    bits: Vec<Bit>,
}

impl Bits {
    /// `None` when copies are rolled or a stride is not a power of two.
    fn of(layout: &Layout) -> Option<Self> {
        let mut bits = Vec::new();
        for piece in layout.slot_pieces() {
            for bit in (0..piece.extent().ilog2()).rev() {
                bits.push(match *piece {
                    Piece::Dim { dim, stride, .. } if stride.is_power_of_two() => {
                        Bit::Dim { dim, log: stride.ilog2() + bit }
                    }
                    Piece::Replicate { roll: 0, .. } => Bit::Copy,
                    Piece::Gap { .. } => Bit::Gap,
                    _ => return None,
                });
            }
        }
        Some(Self { ciphertexts: layout.ciphertext_pieces().to_vec(), bits })
    }

    /// The layout of these bits for a tensor, if there is one: bits of a coordinate beyond its size become gaps,
    /// leading gaps become copies.
    fn layout(&self, shape: &[usize]) -> Option<Layout> {
        let leading = self.bits.iter().take_while(|b| !self.is_used(b, shape)).count();
        let pieces = self.bits.iter().enumerate().map(|(at, bit)| match *bit {
            Bit::Dim { dim, log } if self.is_used(bit, shape) => Piece::dim(dim, 2, 1 << log),
            Bit::Copy => Piece::replicate(2),
            _ if at < leading => Piece::replicate(2),
            _ => Piece::gap(2),
        });
        let layout = Layout::simplified(self.ciphertexts.clone(), pieces.collect()).ok()?;
        layout.verify_shape(shape).ok()?;
        Some(layout)
    }

    /// Whether a bit distinguishes elements.
    fn is_used(&self, bit: &Bit, shape: &[usize]) -> bool {
        match *bit {
            Bit::Dim { dim, log } => shape.get(dim as usize).is_some_and(|n| (1usize << log) < *n),
            Bit::Copy | Bit::Gap => false,
        }
    }
}

/// Adds a layout to a list unless it is there.
fn add(list: &mut Vec<Layout>, layout: Option<Layout>) {
    if let Some(layout) = layout
        && !list.contains(&layout)
    {
        list.push(layout);
    }
}

/// Layouts that follow from a shape: row-major, and column-major for matrices.
pub(super) fn from_shape(shape: &[usize], slots: usize) -> Vec<Layout> {
    let mut list = Vec::new();
    let forward: Vec<usize> = (0..shape.len()).collect();
    add(&mut list, Layout::ordered(shape, &forward, slots).ok());
    if shape.iter().filter(|n| **n > 1).count() == 2 {
        let backward: Vec<usize> = forward.into_iter().rev().collect();
        add(&mut list, Layout::ordered(shape, &backward, slots).ok());
    }
    list
}

/// The product of the strides of an operator that consists of windows over spatial dimensions; `None` for any
/// other operator, or when a product is not a power of two. The order is that of the spatial dimensions.
fn window_strides(op: &LinearOp) -> Option<Vec<u32>> {
    let rank = op.input_shape().len().checked_sub(2)?;
    let mut total = vec![1usize; rank];
    for step in op.steps() {
        match step {
            Step::Conv { strides, .. } | Step::AveragePool { strides, .. } if strides.len() == rank => {
                total.iter_mut().zip(strides).for_each(|(t, s)| *t *= s);
            }
            Step::Scale { .. } | Step::Factor { .. } => {}
            _ => return None,
        }
    }
    total.iter().map(|t| t.is_power_of_two().then(|| t.ilog2())).collect()
}

/// Layouts of an operator's output that keep every window at the position of its first element, with the output
/// channels in the places of the input channels, in gaps, or in copies.
pub(super) fn keep_positions(op: &LinearOp, input: &Layout) -> Vec<Layout> {
    let mut list = Vec::new();
    let (Some(strides), Some(source)) = (window_strides(op), Bits::of(input)) else {
        return list;
    };
    let shape = op.output_shape();
    let channels = shape[1];
    // What a bit becomes: kept, or free for channels.
    #[derive(Clone, Copy, PartialEq)]
    enum Free {
        Channel,
        /// Above every bit that is used.
        Leading,
        Gap,
    }
    let mut mapped: Vec<Result<Bit, Free>> = source
        .bits
        .iter()
        .map(|bit| match *bit {
            Bit::Dim { dim: 1, .. } => Err(Free::Channel),
            Bit::Dim { dim, log } if dim >= 2 => {
                let log = log.checked_sub(strides[dim as usize - 2]).ok_or(Free::Gap)?;
                let bit = Bit::Dim { dim, log };
                if source.is_used(&bit, shape) { Ok(bit) } else { Err(Free::Gap) }
            }
            Bit::Dim { .. } => Ok(*bit),
            Bit::Copy | Bit::Gap => Err(Free::Gap),
        })
        .collect();
    for bit in mapped.iter_mut().take_while(|bit| **bit == Err(Free::Gap)) {
        *bit = Err(Free::Leading);
    }
    let orders = [
        [Free::Channel, Free::Leading, Free::Gap],
        [Free::Channel, Free::Gap, Free::Leading],
        [Free::Gap, Free::Channel, Free::Leading],
    ];
    for order in orders {
        let places = order.iter().flat_map(|kind| {
            (0..mapped.len()).rev().filter(|at| mapped[*at] == Err(*kind)).collect::<Vec<_>>()
        });
        let mut bits: Vec<Bit> = mapped.iter().map(|bit| bit.unwrap_or(Bit::Gap)).collect();
        let mut log = 0;
        for place in places {
            if (1usize << log) >= channels {
                break;
            }
            bits[place] = Bit::Dim { dim: 1, log };
            log += 1;
        }
        let mut ciphertexts: Vec<Piece> = Vec::new();
        for piece in &source.ciphertexts {
            match *piece {
                Piece::Dim { dim: 0, .. } => ciphertexts.push(*piece),
                Piece::Dim { dim, extent, stride } if dim >= 2 => {
                    let shift = strides[dim as usize - 2];
                    if stride >> shift > 0 {
                        ciphertexts.push(Piece::dim(dim, extent, stride >> shift));
                    }
                }
                _ => {}
            }
        }
        let rest = channels.div_ceil(1 << log);
        if rest > 1 {
            ciphertexts.push(Piece::dim(1, rest as u32, 1 << log));
        }
        add(&mut list, Bits { ciphertexts, bits }.layout(shape));
    }
    list
}

/// A layout with the bits that a strided consumer skips over moved to the top, so that it can fold over them.
pub(super) fn lift_strides(op: &LinearOp, input: &Layout) -> Option<Layout> {
    let strides = window_strides(op)?;
    let mut source = Bits::of(input)?;
    let skipped = |bit: &Bit| match *bit {
        Bit::Dim { dim, log } if dim >= 2 => log < strides[dim as usize - 2],
        _ => false,
    };
    let leading = source.bits.iter().take_while(|b| **b == Bit::Copy).count();
    let (lifted, kept): (Vec<Bit>, Vec<Bit>) = source.bits[leading..].iter().partition(|b| skipped(b));
    if lifted.is_empty() {
        return None;
    }
    source.bits.truncate(leading);
    source.bits.extend(lifted);
    source.bits.extend(kept);
    source.layout(op.input_shape())
}

/// Layouts of an operator's input from which it keeps positions into a given layout of its output: the inverse
/// of [`keep_positions`]. The bits that strided windows skip over go to the top, or to the lowest gaps.
pub(super) fn pull_positions(op: &LinearOp, output: &Layout) -> Vec<Layout> {
    let mut list = Vec::new();
    let (Some(strides), Some(target)) = (window_strides(op), Bits::of(output)) else {
        return list;
    };
    let shape = op.input_shape();
    if !target.ciphertexts.is_empty() {
        return list;
    }
    let mut kept: Vec<Option<Bit>> = target
        .bits
        .iter()
        .map(|bit| {
            let bit = match *bit {
                Bit::Dim { dim, log } if dim >= 2 => Bit::Dim { dim, log: log + strides[dim as usize - 2] },
                other => other,
            };
            target.is_used(&bit, shape).then_some(bit)
        })
        .collect();
    let mut missing: Vec<Bit> = (0..shape.len() as u32)
        .flat_map(|dim| (0..usize::BITS).map(move |log| Bit::Dim { dim, log }))
        .filter(|bit| target.is_used(bit, shape) && !kept.contains(&Some(*bit)))
        .collect();
    // High bits of a coordinate go right above the ones that are there, where a gap is left for them.
    missing.retain(|bit| {
        let Bit::Dim { dim, log: log @ 1.. } = *bit else {
            return true;
        };
        let below = kept.iter().position(|k| *k == Some(Bit::Dim { dim, log: log - 1 }));
        match below {
            Some(at) if at > 0 && kept[at - 1].is_none() => {
                kept[at - 1] = Some(*bit);
                false
            }
            _ => true,
        }
    });
    let free = kept.iter().filter(|bit| bit.is_none()).count();
    let Some(copies) = free.checked_sub(missing.len()) else {
        return list;
    };
    // The others on top of everything, no gaps.
    let bits = std::iter::repeat_n(Bit::Copy, copies)
        .chain(missing.iter().copied())
        .chain(kept.iter().flatten().copied())
        .collect();
    add(&mut list, Bits { ciphertexts: Vec::new(), bits }.layout(shape));
    // Or in the lowest gaps.
    let mut rest = missing.iter();
    for place in kept.iter_mut().rev().filter(|place| place.is_none()) {
        *place = rest.next().copied();
    }
    let bits = kept.iter().map(|bit| bit.unwrap_or(Bit::Gap)).collect();
    add(&mut list, Bits { ciphertexts: Vec::new(), bits }.layout(shape));
    list
}

/// Versions of a layout that the client packs, whose copies are rolled so that a dense product with `rows`
/// outputs needs fewer diagonals.
pub(super) fn roll_copies(layout: &Layout, rows: usize) -> Vec<Layout> {
    let mut list = Vec::new();
    let block = layout.period();
    let copies = layout.slots() / block;
    let rows = rows.next_power_of_two().min(block);
    let below = || layout.slot_pieces().iter().skip_while(|p| matches!(p, Piece::Replicate { roll: 0, .. }));
    let mut rolled = 2;
    while rolled <= copies && rolled <= rows {
        let mut pieces = vec![
            Piece::replicate((copies / rolled) as u32),
            Piece::Replicate { extent: rolled as u32, roll: (rows / rolled) as u32 },
        ];
        pieces.extend(below().copied());
        add(&mut list, Layout::simplified(layout.ciphertext_pieces().to_vec(), pieces).ok());
        rolled *= 2;
    }
    list
}

/// Layouts that differ from one by moving a few neighbouring bits elsewhere.
pub(super) fn neighbours(layout: &Layout, shape: &[usize]) -> Vec<Layout> {
    let mut list = Vec::new();
    let Some(source) = Bits::of(layout) else {
        return list;
    };
    let count = source.bits.len();
    let mut borders = vec![0];
    for piece in layout.slot_pieces() {
        borders.push(borders.last().copied().unwrap_or(0) + piece.extent().ilog2() as usize);
    }
    let mut runs = Vec::new();
    for pair in borders.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        for length in [1, 2, to - from] {
            if length <= to - from {
                runs.extend([(from, from + length), (to - length, to)]);
            }
        }
    }
    runs.sort_unstable();
    runs.dedup();
    for (from, to) in runs {
        for &target in &borders {
            if (from..=to).contains(&target) {
                continue;
            }
            let mut bits = Vec::with_capacity(count);
            for at in 0..=count {
                if at == target {
                    bits.extend_from_slice(&source.bits[from..to]);
                }
                if at < count && !(from..to).contains(&at) {
                    bits.push(source.bits[at]);
                }
            }
            let moved = Bits { ciphertexts: source.ciphertexts.clone(), bits };
            add(&mut list, moved.layout(shape).filter(|l| l != layout));
        }
    }
    list
}
