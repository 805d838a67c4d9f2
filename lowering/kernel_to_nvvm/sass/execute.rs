//! Follows one thread of a launch through a function's machine code, without buffers: how often each instruction is
//! executed, and which addresses are read and written.
//!
//! Integer arithmetic, comparisons and branches are carried out; the launch's parameters, the thread's number and the
//! block's are known, and so are the contents of some memory, as that of constants; loops turn as often as on a device, whether their
//! bounds are constants or parameters. What else comes out of memory or from other lanes is unknown, and so is what is
//! computed from it. Where a branch depends on what is
//! unknown the path that does not jump is taken: the body of a condition is executed, a loop is left; the run then says
//! that it guessed.

use super::{
    Class, Counts, Function, Instruction, Operand,
    operand::{Predicate, Register},
};

mod arithmetic;

pub(crate) use arithmetic::Op;

/// Instructions after which a run is given up.
const LIMIT: u64 = 4_000_000;

/// What a thread is launched with.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'l> {
    /// The architecture: 90 for sm_90.
    pub architecture: u32,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// The parameters, 64 bits each.
    pub parameters: &'l [u64],
    /// Memory.
    pub regions: &'l [Region],
}

impl Launch<'_> {
    /// The word at an address, if it is known.
    fn known(&self, address: u64) -> Option<u32> {
        let region = self.regions.iter().find(|region| region.contains(address))?;
        region.words.get(usize::try_from((address - region.start) / 4).ok()?).copied()
    }
}

/// A piece of device memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
    /// Whether it is read once in a run, as keys and plaintexts are, so that no cache helps.
    pub streamed: bool,
    /// The words at its start that are known.
    pub words: Vec<u32>,
}

impl Region {
    /// Whether an address is inside.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// Which thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its number in its block.
    pub number: u32,
    /// The block.
    pub block: [u32; 3],
}

/// An access to global memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its address, if known.
    pub address: Option<u64>,
    /// Bytes.
    pub bytes: u32,
    /// Whether it writes.
    pub store: bool,
}

/// What a thread did.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Instructions by class.
    pub counts: Counts,
    /// Bytes of shared memory moved.
    pub shared_bytes: u64,
    /// Accesses to global memory, in order.
    pub accesses: Vec<Access>,
    /// Branches whose direction was not known.
    pub guesses: u64,
    /// Whether the thread reached its end.
    pub ended: bool,
}

/// What bank 0 of constant memory looks like.
struct Layout {
    /// Where parameters begin.
    parameters: u32,
    /// Where the extents of the block and of the grid are.
    dimensions: u32,
}

impl Layout {
    fn of(architecture: u32) -> Self {
        match architecture {
            ..90 => Self { parameters: 0x160, dimensions: 0 },
            90..100 => Self { parameters: 0x210, dimensions: 0 },
            _ => Self { parameters: 0x380, dimensions: 0x360 },
        }
    }
}

/// A thread's state.
struct State<'l> {
    launch: Launch<'l>,
    thread: Thread,
    layout: Layout,
    registers: Vec<Option<u32>>,
    predicates: [Option<bool>; Predicate::COUNT],
}

/// Follows a thread.
pub fn run(function: &Function, launch: Launch<'_>, thread: Thread) -> Run {
    let mut state = State {
        layout: Layout::of(launch.architecture),
        launch,
        thread,
        registers: vec![None; Register::COUNT],
        predicates: [None; Predicate::COUNT],
    };
    let mut run = Run::default();
    let mut at = 0;
    for _ in 0..LIMIT {
        let Some(instruction) = function.instructions.get(at) else { break };
        run.counts.add(instruction.class, 1.0);
        let guard = instruction.guard.map_or(Some(true), |guard| state.predicate(guard));
        at += 1;
        match instruction.op {
            Op::Exit => match guard {
                Some(true) => {
                    run.ended = true;
                    break;
                }
                Some(false) => {}
                None => run.guesses += 1,
            },
            Op::Branch => match state.branch(instruction, guard) {
                Some(Some(target)) => at = target,
                Some(None) => {}
                None => run.guesses += 1,
            },
            // What is called is in the same function and comes back to where a register says; it is not followed.
            Op::Call => run.guesses += 1,
            _ => {
                if guard != Some(false) {
                    state.record(instruction, &mut run);
                    state.execute(instruction, guard.is_some());
                }
            }
        }
    }
    run
}

impl State<'_> {
    fn predicate(&self, predicate: Predicate) -> Option<bool> {
        let value = match predicate.number {
            None => Some(true),
            Some(number) => self.predicates[usize::from(number)],
        };
        value.map(|value| value != predicate.inverted)
    }

    /// The instruction that a branch goes to, or that it goes nowhere; none if that is not known.
    fn branch(&self, instruction: &Instruction, guard: Option<bool>) -> Option<Option<usize>> {
        // `BRA.U UP0, target` has its condition among the operands.
        let mut taken = guard?;
        let mut target = None;
        for operand in &instruction.operands {
            match operand {
                Operand::Predicate(predicate) => taken &= self.predicate(*predicate)?,
                Operand::Target(at) => target = Some(*at),
                _ => {}
            }
        }
        if taken { target.map(Some) } else { Some(None) }
    }

    /// Notes accesses to memory.
    fn record(&self, instruction: &Instruction, run: &mut Run) {
        let bytes = instruction.bytes();
        match instruction.class {
            Class::SharedLoad | Class::SharedStore => run.shared_bytes += u64::from(bytes),
            Class::GlobalLoad | Class::GlobalStore => {
                let address = instruction.operands.iter().find_map(|operand| match operand {
                    Operand::Address { terms, offset } => Some(self.address(terms, *offset)),
                    _ => None,
                });
                run.accesses.push(Access {
                    address: address.flatten(),
                    bytes,
                    store: instruction.class == Class::GlobalStore,
                });
            }
            _ => {}
        }
    }

    fn address(&self, terms: &[(Register, u32, bool)], offset: i64) -> Option<u64> {
        terms.iter().try_fold(offset as u64, |sum, &(register, factor, wide)| {
            // A warp's register beside a thread's is the wide one where the thread's is not.
            let wide = wide || (terms.len() == 1 && register.0 >= Register::UNIFORM);
            let value = if wide { self.wide(register) } else { self.word(register).map(u64::from) };
            Some(sum.wrapping_add(value?.wrapping_mul(u64::from(factor))))
        })
    }

    fn word(&self, register: Register) -> Option<u32> {
        if register.is_zero() { Some(0) } else { self.registers[usize::from(register.0)] }
    }

    fn wide(&self, register: Register) -> Option<u64> {
        let (low, high) = (self.word(register)?, self.word(register.next(1))?);
        Some(u64::from(low) | u64::from(high) << 32)
    }

    fn set(&mut self, register: Register, value: Option<u32>) {
        if !register.is_zero()
            && let Some(place) = self.registers.get_mut(usize::from(register.0))
        {
            *place = value;
        }
    }

    fn set_wide(&mut self, register: Register, value: Option<u64>) {
        self.set(register, value.map(|value| value as u32));
        self.set(register.next(1), value.map(|value| (value >> 32) as u32));
    }

    fn set_predicate(&mut self, predicate: Predicate, value: Option<bool>) {
        if let Some(number) = predicate.number {
            self.predicates[usize::from(number)] = value;
        }
    }

    /// A word of constant memory.
    fn constant(&self, bank: u32, offset: u32) -> Option<u32> {
        let half = |value: u64, offset: u32| Some((value >> (8 * (offset & 4))) as u32);
        if bank != 0 {
            return None;
        }
        if let Some(place) = offset.checked_sub(self.layout.parameters) {
            return half(*self.launch.parameters.get(place as usize / 8)?, place);
        }
        let [x, y, z] = self.launch.grid;
        let extents = [self.launch.block, 1, 1, x, y, z];
        let place = offset.checked_sub(self.layout.dimensions)? / 4;
        extents.get(place as usize).copied()
    }

    /// The value of an operand of 32 bits.
    fn value(&self, operand: &Operand) -> Option<u32> {
        match operand {
            Operand::Register { register, negated, inverted } => {
                let value = self.word(*register)?;
                Some(match (negated, inverted) {
                    (true, _) => value.wrapping_neg(),
                    (_, true) => !value,
                    _ => value,
                })
            }
            Operand::Immediate(number) => Some(*number as u32),
            Operand::Constant { bank, offset, negated } => {
                let value = self.constant(*bank, (*offset)?)?;
                Some(if *negated { value.wrapping_neg() } else { value })
            }
            Operand::Special(name) => self.special(name),
            _ => None,
        }
    }

    /// The value of an operand of 64 bits.
    fn wide_value(&self, operand: &Operand) -> Option<u64> {
        match operand {
            Operand::Register { register, negated, inverted } => {
                let value = self.wide(*register)?;
                Some(match (negated, inverted) {
                    (true, _) => value.wrapping_neg(),
                    (_, true) => !value,
                    _ => value,
                })
            }
            Operand::Immediate(number) => Some(*number as u64),
            Operand::Constant { bank, offset, negated } => {
                let offset = (*offset)?;
                let (low, high) = (self.constant(*bank, offset)?, self.constant(*bank, offset + 4)?);
                let value = u64::from(low) | u64::from(high) << 32;
                Some(if *negated { value.wrapping_neg() } else { value })
            }
            Operand::Special(_) => self.value(operand).map(u64::from),
            _ => None,
        }
    }

    fn special(&self, name: &str) -> Option<u32> {
        match name {
            "SRZ" | "SR_TID.Y" | "SR_TID.Z" | "SR_CgaCtaId" => Some(0),
            "SR_TID.X" => Some(self.thread.number),
            "SR_LANEID" => Some(self.thread.number % 32),
            "SR_CTAID.X" => Some(self.thread.block[0]),
            "SR_CTAID.Y" => Some(self.thread.block[1]),
            "SR_CTAID.Z" => Some(self.thread.block[2]),
            _ => None,
        }
    }
}
