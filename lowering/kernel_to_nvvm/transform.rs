//! Transforms of whole limbs, one device function a [`Phase`].
//!
//! The forward transform takes natural order to bit-reversed evaluations by Cooley-Tukey butterflies, the inverse goes
//! back by Gentleman-Sande butterflies; both end in canonical residues. Twiddles are those of
//! [`ceria_runtime::format::twiddles`].
//!
//! A thread reads its words in the first layout of the phase, straight from the prologue's operations, and writes them
//! in the last through the epilogue's. Between layouts words go through shared memory. A thread writes there only what
//! it alone has read before, so that one barrier an exchange is enough.

use super::{
    plan::Root,
    schedule::{Layout, Phase, padded},
    tile::{Frame, Section, Words, load_words},
};
use crate::kernel_to_cpu::{
    arithmetic::Range,
    code::{Code, Type, Value},
    kernels::inverse_factors,
};
use ceria_dialects::kernel::model::{Tile, TileOp};

/// A transform of a kernel.
#[derive(Clone, Copy)]
pub struct Transform<'p> {
    /// Its number in the body.
    pub op: usize,
    /// Its phases in the order of the forward transform.
    pub phases: &'p [Phase],
    /// What is made of its result.
    pub roots: &'p [Root],
}

/// Where a phase reads from or writes to.
#[derive(Clone, Copy)]
enum End {
    /// The transform's input or what is made of its result.
    Outer,
    /// The row between the phases.
    Middle,
}

impl Transform<'_> {
    /// Writes the function of the phase that is done at this place.
    pub fn phase(&self, code: &mut Code, frame: &mut Frame<'_>, shared: &str, place: usize) {
        let kernel = frame.context.kernel;
        let (input, result, inverse) = match &kernel.body[self.op] {
            TileOp::Ntt { input, result } => (*input, *result, None),
            TileOp::Intt { input, scale, result } => {
                (*input, *result, Some(inverse_factors(&kernel.moduli, kernel.n, scale.as_deref())))
            }
            other => unreachable!("{other:?} is not a transform"),
        };
        let count = self.phases.len();
        let phase = &self.phases[if inverse.is_some() { count - 1 - place } else { place }];
        let from = if place == 0 { End::Outer } else { End::Middle };
        let to = if place + 1 == count { End::Outer } else { End::Middle };
        let is_inverse = inverse.is_some();
        let twiddles = frame.roots(code, is_inverse);
        let scale = inverse.filter(|_| phase.first == 0);
        let scale = scale.map(|(c0, c1)| (frame.word(code, &c0), frame.word(code, &c1)));
        let mut layouts: Vec<&Layout> = phase.layouts.iter().collect();
        if is_inverse {
            layouts.reverse();
        }
        let location = frame.context.locations.get(self.op).cloned().unwrap_or_default();
        frame.by_range(code, |frame, code, range| {
            let mut block =
                Block { transform: self, phase, range, is_inverse, twiddles, scale, frame, shared };
            let mut values = block.read(code, layouts[0], from, input);
            for (i, layout) in layouts.iter().enumerate() {
                let before = code.locate(&location);
                if i > 0 {
                    block.exchange(code, layouts[i - 1], layout, &mut values);
                }
                block.stages(code, layout, &mut values);
                code.locate(&before);
            }
            block.write(code, layouts[layouts.len() - 1], (to, result), values);
        });
    }
}

/// What the code of one phase refers to, for primes of a range.
struct Block<'b, 'a> {
    transform: &'b Transform<'b>,
    phase: &'b Phase,
    range: Range,
    is_inverse: bool,
    twiddles: Value,
    /// Factors of the last inverse stage, if the phase does it.
    scale: Option<(Value, Value)>,
    frame: &'b mut Frame<'a>,
    shared: &'b str,
}

impl Block<'_, '_> {
    /// Registers that hold neighbouring words, and the number of the first of these, in the block.
    fn vectors(&self, layout: &Layout) -> Vec<(std::ops::Range<usize>, usize)> {
        let vector = layout.vector();
        let all = (0..1 << layout.registers.len()).step_by(vector);
        all.map(|first| (first..first + vector, spread(first, &layout.registers))).collect()
    }

    /// The part of a word's number that its thread is, 32 bits. `place` gives the bit of the number for a bit of the
    /// block's.
    fn thread_part(&self, code: &mut Code, layout: &Layout, place: impl Fn(usize) -> usize) -> Value {
        let bits: Vec<usize> =
            (0..self.phase.bits).filter(|bit| !layout.registers.contains(bit)).map(place).collect();
        let mut sum = code.constant(Type::Word, 0);
        let mut first = 0;
        while first < bits.len() {
            // Bits that stay neighbours move together.
            let count = (first..bits.len()).take_while(|&i| bits[i] - bits[first] == i - first).count();
            let mask = code.constant(Type::Word, ((1i64 << count) - 1) << first);
            let part = code.and(self.frame.thread, mask);
            let part = if bits[first] >= first {
                code.shift_left(part, (bits[first] - first) as i64)
            } else {
                code.shift_right(part, (first - bits[first]) as i64)
            };
            sum = code.or(sum, part);
            first += count;
        }
        sum
    }

    /// The number in the limb of the thread's first word, 64 bits; zero where registers have bits.
    fn limb_base(&self, code: &mut Code, layout: &Layout) -> Value {
        let part = self.thread_part(code, layout, |bit| self.phase.limb_bit(bit));
        let block = code.shift_left(self.frame.block, self.phase.block_bit() as i64);
        let base = code.or(part, block);
        code.extend(base)
    }

    /// The bits of a limb's word number that registers have.
    fn limb_bits(&self, layout: &Layout) -> Vec<usize> {
        layout.registers.iter().map(|&bit| self.phase.limb_bit(bit)).collect()
    }

    /// Where a thread's words lie in the row between the two functions.
    fn middle(&mut self, code: &mut Code, base: Value) -> Value {
        let row = self.frame.context.plan.middle_row();
        let row = self.frame.scratch_row(code, row);
        code.word_at(row, base)
    }

    fn read(&mut self, code: &mut Code, layout: &Layout, from: End, input: Tile) -> Vec<Value> {
        let base = self.limb_base(code, layout);
        let limb_bits = self.limb_bits(layout);
        let vectors = self.vectors(layout);
        let mut values = Vec::new();
        match from {
            End::Outer => {
                let mut section = Section::new(self.frame, self.range, base, &[]);
                for (registers, _) in vectors {
                    let at =
                        Words { base, offset: spread(registers.start, &limb_bits), count: registers.len() };
                    values.extend(section.tile(code, input, at));
                }
            }
            End::Middle => {
                let row = self.middle(code, base);
                for (registers, _) in vectors {
                    let at = code.word_after(row, spread(registers.start, &limb_bits));
                    values.extend(load_words(code, at, registers.len(), false));
                }
            }
        }
        values
    }

    fn write(&mut self, code: &mut Code, layout: &Layout, (to, result): (End, Tile), values: Vec<Value>) {
        let base = self.limb_base(code, layout);
        let limb_bits = self.limb_bits(layout);
        let vectors = self.vectors(layout);
        match to {
            End::Outer => {
                // The last inverse stage has made them canonical.
                let values: Vec<Value> = if self.is_inverse {
                    values
                } else {
                    let m = self.frame.m;
                    values.into_iter().map(|x| m.finish_forward(code, self.range, x)).collect()
                };
                let roots = self.transform.roots;
                let mut section = Section::new(self.frame, self.range, base, roots);
                for (registers, _) in vectors {
                    let at =
                        Words { base, offset: spread(registers.start, &limb_bits), count: registers.len() };
                    section.set(result, at.offset, values[registers].to_vec());
                    section.roots(code, roots, at);
                }
            }
            End::Middle => {
                let row = self.middle(code, base);
                for (registers, _) in vectors {
                    let at = code.word_after(row, spread(registers.start, &limb_bits));
                    let words = code.pack(&values[registers]);
                    code.store(words, at);
                }
            }
        }
    }

    /// Brings words from one layout into another.
    fn exchange(&mut self, code: &mut Code, from: &Layout, to: &Layout, values: &mut Vec<Value>) {
        let memory = code.global(self.shared, Type::Shared);
        let place = |code: &mut Code, block: &Self, layout: &Layout| {
            let part = block.thread_part(code, layout, |bit| bit);
            let padding = code.shift_right(part, 5);
            let padding = code.shift_left(padding, 2);
            let part = code.add(part, padding);
            code.word_at(memory, part)
        };
        let base = place(code, self, from);
        for (registers, first) in self.vectors(from) {
            let at = code.word_after(base, padded(first));
            let words = code.pack(&values[registers]);
            code.store(words, at);
        }
        code.barrier();
        let base = place(code, self, to);
        values.clear();
        for (registers, first) in self.vectors(to) {
            let at = code.word_after(base, padded(first));
            values.extend(load_words(code, at, registers.len(), false));
        }
    }

    /// The stages that are done in a layout.
    fn stages(&mut self, code: &mut Code, layout: &Layout, values: &mut [Value]) {
        let (first, end) = layout.stages;
        if first == end {
            return;
        }
        let base = self.limb_base(code, layout);
        let mut order: Vec<usize> = (first..end).collect();
        if self.is_inverse {
            order.reverse();
        }
        for stage in order {
            self.stage(code, layout, base, stage, values);
        }
    }

    fn stage(&mut self, code: &mut Code, layout: &Layout, base: Value, stage: usize, values: &mut [Value]) {
        let m = self.frame.m;
        let log_n = self.phase.log_n;
        let bit = self.phase.butterfly_bit(stage);
        let Some(register) = layout.registers.iter().position(|&b| b == bit) else {
            unreachable!("butterflies of stage {stage} are not in the registers")
        };
        let pair = 1 << register;
        let lower = (0..values.len()).filter(|r| r & pair == 0);
        if let (0, Some(scale)) = (stage, self.scale) {
            for r in lower {
                (values[r], values[r + pair]) =
                    m.finish_inverse(code, self.range, (values[r], values[r + pair]), scale);
            }
            return;
        }
        // Stage m = 2^stage multiplies block i of the limb, its upper bits, by word m + i.
        let limb_bits = self.limb_bits(layout);
        let block = |r: usize| spread(r, &limb_bits) >> (log_n - stage);
        let mut offsets: Vec<usize> = lower.clone().map(block).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let number = code.shift_right(base, (log_n - stage) as i64);
        let row = code.word_at(self.twiddles, number);
        let row = code.word_after(row, 1 << stage);
        let factors = load_runs(code, row, &offsets, 1 << stage);
        for r in lower {
            let w = factors[offsets.binary_search(&block(r)).unwrap_or(0)];
            let both = (values[r], values[r + pair]);
            (values[r], values[r + pair]) = match self.is_inverse {
                false => m.forward(code, self.range, both, w, stage == 0),
                true => m.inverse(code, self.range, both, w),
            };
        }
    }
}

/// Reads the words with these numbers, in ascending order, four or two at once where they are neighbours. `aligned` is
/// what the address is a multiple of, in words, as far as bits of the numbers go.
fn load_runs(code: &mut Code, row: Value, offsets: &[usize], aligned: usize) -> Vec<Value> {
    let mut words = Vec::with_capacity(offsets.len());
    // The thread's part of the address has zeros where the numbers differ.
    let varying = offsets.iter().fold(0, |all, offset| all | offset);
    while words.len() < offsets.len() {
        let left = &offsets[words.len()..];
        let fits = |count: usize| {
            left.len() >= count
                && aligned.is_multiple_of(count)
                && left[0].is_multiple_of(count)
                && varying & (count - 1) == count - 1
                && (0..count).all(|i| left[i] == left[0] + i)
        };
        let count = [4, 2].into_iter().find(|&count| fits(count)).unwrap_or(1);
        let at = code.word_after(row, left[0]);
        words.extend(load_words(code, at, count, true));
    }
    words
}

/// Puts the bits of a number at places.
fn spread(number: usize, places: &[usize]) -> usize {
    places.iter().enumerate().map(|(i, &place)| (number >> i & 1) << place).sum()
}
