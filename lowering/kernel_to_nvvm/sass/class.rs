//! Classes of machine instructions, by the unit that executes them.

use super::operand::Operand;

/// What an instruction is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Integer multiply-add, 32 or 64 bits of result.
    Multiply,
    /// The high half of a product alone, which newer devices execute at half the rate.
    MultiplyHigh,
    /// Additions, moves and shifts that the assembler writes as multiply-adds, for the multipliers' unit.
    MultiplyMove,
    /// Other integer arithmetic: additions, logic, shifts, comparisons, selections.
    Integer,
    /// Moves, and constants made.
    Move,
    /// What a warp does once: the uniform unit.
    Uniform,
    /// Loads of shared memory.
    SharedLoad,
    /// Stores to shared memory.
    SharedStore,
    /// Loads of global memory.
    GlobalLoad,
    /// Stores to global memory.
    GlobalStore,
    /// Loads and stores of a thread's stack: spills.
    Local,
    /// Exchanges between lanes of a warp.
    Shuffle,
    /// Barriers.
    Barrier,
    /// Branches, and what marks where their paths meet.
    Branch,
    /// Everything else.
    Other,
}

impl Class {
    /// All, in the order of reports.
    pub const ALL: [Self; 15] = [
        Self::Multiply,
        Self::MultiplyHigh,
        Self::MultiplyMove,
        Self::Integer,
        Self::Move,
        Self::Uniform,
        Self::SharedLoad,
        Self::SharedStore,
        Self::GlobalLoad,
        Self::GlobalStore,
        Self::Local,
        Self::Shuffle,
        Self::Barrier,
        Self::Branch,
        Self::Other,
    ];

    /// The class of an operation.
    pub(super) fn of(base: &str, modifiers: &[String], operands: &[Operand]) -> Self {
        let has = |wanted: &[&str]| modifiers.iter().any(|m| wanted.contains(&m.as_str()));
        match base {
            "IMAD" | "IMUL" if has(&["HI"]) => Self::MultiplyHigh,
            "IMAD" if has(&["MOV", "SHL", "IADD", "X"]) || is_move(modifiers, operands) => Self::MultiplyMove,
            "IMAD" | "IMUL" | "IDP" => Self::Multiply,
            "MOV" | "MOV32I" | "CS2R" | "HFMA2" | "PRMT" | "R2UR" | "S2R" | "S2UR" | "LDC" | "P2R"
            | "R2P" => Self::Move,
            "IADD" | "IADD3" | "VIADD" | "LOP3" | "LOP" | "SHF" | "SHL" | "SHR" | "LEA" | "ISETP"
            | "ISET" | "SEL" | "IMNMX" | "VIMNMX" | "VIMNMX3" | "VIADDMNMX" | "IABS" | "BMSK" | "SGXT"
            | "PLOP3" | "POPC" | "FLO" | "BREV" | "SCC" => Self::Integer,
            "LDS" | "LDSM" => Self::SharedLoad,
            "STS" | "ATOMS" => Self::SharedStore,
            "LDG" | "LD" | "LDGSTS" => Self::GlobalLoad,
            "STG" | "ST" | "RED" | "ATOM" | "ATOMG" | "REDG" => Self::GlobalStore,
            "LDL" | "STL" => Self::Local,
            "SHFL" => Self::Shuffle,
            "BAR" | "MEMBAR" | "DEPBAR" | "ERRBAR" => Self::Barrier,
            "BRA" | "EXIT" | "BSSY" | "BSYNC" | "WARPSYNC" | "CALL" | "RET" | "BRX" | "JMP" | "BREAK"
            | "NANOSLEEP" | "YIELD" => Self::Branch,
            _ if base.starts_with('U') || base == "LDCU" || base == "R2UR" => Self::Uniform,
            _ => Self::Other,
        }
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Multiply => "mul",
            Self::MultiplyHigh => "mulhi",
            Self::MultiplyMove => "mulmov",
            Self::Integer => "int",
            Self::Move => "mov",
            Self::Uniform => "unif",
            Self::SharedLoad => "lds",
            Self::SharedStore => "sts",
            Self::GlobalLoad => "ldg",
            Self::GlobalStore => "stg",
            Self::Local => "local",
            Self::Shuffle => "shfl",
            Self::Barrier => "bar",
            Self::Branch => "bra",
            Self::Other => "other",
        }
    }
}

/// `IMAD.U32 R, RZ, RZ, x` moves.
fn is_move(modifiers: &[String], operands: &[Operand]) -> bool {
    let zero = |operand: Option<&Operand>| matches!(operand, Some(Operand::Register { register, .. }) if register.is_zero());
    modifiers.iter().all(|m| m == "U32") && zero(operands.get(1)) && zero(operands.get(2))
}

/// How many instructions of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts([f64; Class::ALL.len()]);

impl Counts {
    /// Those of one class.
    pub fn of(&self, class: Class) -> f64 {
        self.0[class as usize]
    }

    /// All.
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Adds some of a class.
    pub fn add(&mut self, class: Class, count: f64) {
        self.0[class as usize] += count;
    }

    /// Adds others, each so many times.
    pub fn add_all(&mut self, other: &Self, factor: f64) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more * factor;
        }
    }
}
