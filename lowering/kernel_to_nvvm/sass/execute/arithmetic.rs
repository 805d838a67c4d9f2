//! What integer instructions compute.
//!
//! An instruction that is not here makes its results unknown: the registers that its first operands name, as many words
//! as its modifiers say.

use super::{
    super::{Instruction, Operand, Predicate, Register},
    State,
};

/// What an instruction does, as far as it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Ends the thread.
    Exit,
    /// Goes elsewhere.
    Branch,
    /// Goes elsewhere and comes back.
    Call,
    /// Changes no register: stores, barriers, what marks where paths meet.
    Nothing,
    /// Copies.
    Move,
    /// Copies a pair of floating-point constants.
    Half,
    /// Multiplies and adds.
    MultiplyAdd,
    /// Adds.
    Add,
    /// Bitwise operation given by a table.
    Logic,
    /// Shifts a pair of words.
    Shift,
    /// Shifts and adds.
    ShiftAdd,
    /// Compares.
    Compare,
    /// Selects by a predicate.
    Select,
    /// Smaller or larger.
    MinMax,
    /// Operation on predicates, given by a table.
    PredicateLogic,
    /// Picks bytes.
    Permute,
    /// Loads from global memory.
    Load,
    /// Everything else.
    Unknown,
}

impl Op {
    /// What an operation does.
    pub(crate) fn of(base: &str) -> Self {
        match base {
            "EXIT" => Self::Exit,
            "BRA" | "JMP" => Self::Branch,
            "CALL" | "RET" | "BRX" => Self::Call,
            "STG" | "ST" | "STS" | "STL" | "BAR" | "BSSY" | "BSYNC" | "WARPSYNC" | "NOP" | "MEMBAR"
            | "DEPBAR" | "LDGSTS" | "LDGDEPBAR" | "RED" | "REDG" | "CCTL" | "YIELD" => Self::Nothing,
            "MOV" | "UMOV" | "MOV32I" | "S2R" | "S2UR" | "CS2R" | "R2UR" | "LDC" | "ULDC" | "LDCU" => {
                Self::Move
            }
            "HFMA2" => Self::Half,
            "IMAD" | "UIMAD" => Self::MultiplyAdd,
            "IADD3" | "UIADD3" | "IADD" | "UIADD" | "VIADD" => Self::Add,
            "LOP3" | "ULOP3" => Self::Logic,
            "SHF" | "USHF" => Self::Shift,
            "LEA" | "ULEA" => Self::ShiftAdd,
            "ISETP" | "UISETP" => Self::Compare,
            "SEL" | "USEL" => Self::Select,
            "IMNMX" | "VIMNMX" | "UIMNMX" | "UVIMNMX" => Self::MinMax,
            "PLOP3" | "UPLOP3" => Self::PredicateLogic,
            "PRMT" | "UPRMT" => Self::Permute,
            "LDG" => Self::Load,
            _ => Self::Unknown,
        }
    }
}

/// The operands of an instruction in the order of the text, taken one by one.
struct Reader<'i> {
    operands: &'i [Operand],
}

impl<'i> Reader<'i> {
    fn next(&mut self) -> Option<&'i Operand> {
        let (first, rest) = self.operands.split_first()?;
        self.operands = rest;
        Some(first)
    }

    fn predicates(&mut self) -> Vec<Predicate> {
        let mut all = Vec::new();
        while let Some((Operand::Predicate(predicate), rest)) = self.operands.split_first() {
            all.push(*predicate);
            self.operands = rest;
        }
        all
    }

    fn register(&mut self) -> Option<Register> {
        match self.next()? {
            Operand::Register { register, .. } => Some(*register),
            _ => None,
        }
    }
}

impl State<'_> {
    /// Carries out an instruction; where it may not be executed at all, its results are unknown afterwards.
    pub(super) fn execute(&mut self, instruction: &Instruction, certain: bool) {
        if instruction.op == Op::Nothing {
            return;
        }
        if !certain || self.compute(instruction).is_none() {
            self.forget(instruction);
        }
    }

    /// Makes the results of an instruction unknown.
    fn forget(&mut self, instruction: &Instruction) {
        let words = match () {
            () if instruction.has("256") => 8,
            () if instruction.has("128") => 4,
            () if ["64", "WIDE", "U64", "S64"].iter().any(|m| instruction.has(m)) => 2,
            () => 1,
        };
        for operand in &instruction.operands {
            match operand {
                Operand::Predicate(predicate) => self.set_predicate(*predicate, None),
                Operand::Register { register, .. } => {
                    (0..words).for_each(|word| self.set(register.next(word), None));
                    // Predicates may follow the register they are computed with.
                    let at = instruction.operands.iter().position(|o| o == operand).unwrap_or(0);
                    let rest = &instruction.operands[at + 1..];
                    let mut reader = Reader { operands: rest };
                    for predicate in reader.predicates() {
                        self.set_predicate(predicate, None);
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    /// Carries out an instruction; `None` if its results are not known, which are then as they were.
    fn compute(&mut self, instruction: &Instruction) -> Option<()> {
        let mut reader = Reader { operands: &instruction.operands };
        match instruction.op {
            Op::Move => self.move_words(instruction, &mut reader),
            Op::Half => {
                let result = reader.register()?;
                let [_, _, high, low] = reader.operands else { return None };
                let value = half(high)? << 16 | half(low)?;
                self.set(result, Some(value));
                Some(())
            }
            Op::MultiplyAdd => self.multiply_add(instruction, &mut reader),
            Op::Add => self.add(instruction, &mut reader),
            Op::Logic => self.logic(&mut reader),
            Op::Shift => self.shift(instruction, &mut reader),
            Op::ShiftAdd => self.shift_add(instruction, &mut reader),
            Op::Compare => self.compare(instruction, &mut reader),
            Op::Select => {
                let result = reader.register()?;
                let [a, b, Operand::Predicate(which)] = reader.operands else { return None };
                let chosen = if self.predicate(*which)? { a } else { b };
                if instruction.has("64") {
                    let value = self.wide_value(chosen)?;
                    self.set_wide(result, Some(value));
                } else {
                    let value = self.value(chosen)?;
                    self.set(result, Some(value));
                }
                Some(())
            }
            Op::MinMax => {
                let result = reader.register()?;
                let [a, b, Operand::Predicate(least)] = reader.operands else { return None };
                let (a, b, least) = (self.value(a)?, self.value(b)?, self.predicate(*least)?);
                let smaller = if instruction.has("U32") { a < b } else { (a as i32) < b as i32 };
                self.set(result, Some(if smaller == least { a } else { b }));
                Some(())
            }
            Op::PredicateLogic => {
                let results = [reader.next()?, reader.next()?];
                let [a, b, c, Operand::Immediate(table), ..] = reader.operands else { return None };
                let bits = [a, b, c].map(|operand| match operand {
                    Operand::Predicate(predicate) => self.predicate(*predicate),
                    _ => None,
                });
                let index = bits.iter().try_fold(0, |index, bit| Some(index << 1 | usize::from((*bit)?)))?;
                let Operand::Predicate(result) = results[0] else { return None };
                self.set_predicate(*result, Some(table >> index & 1 != 0));
                if let Operand::Predicate(other) = results[1] {
                    self.set_predicate(*other, None);
                }
                Some(())
            }
            Op::Load => {
                let result = reader.register()?;
                let address = reader.operands.iter().find_map(|operand| match operand {
                    Operand::Address { terms, offset } => self.address(terms, *offset),
                    _ => None,
                })?;
                (instruction.bytes() >= 4).then_some(())?;
                let words = (instruction.bytes() / 4) as u16;
                self.launch.known(address)?;
                for word in 0..words {
                    self.set(result.next(word), self.launch.known(address + 4 * u64::from(word)));
                }
                Some(())
            }
            Op::Permute => {
                let result = reader.register()?;
                let [a, selector, b] = reader.operands else { return None };
                let bytes = u64::from(self.value(a)?) | u64::from(self.value(b)?) << 32;
                let selector = self.value(selector)?;
                if !instruction.modifiers.is_empty() || selector & 0x8888 != 0 {
                    return None;
                }
                let byte = |i: u32| ((bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) as u32) << (8 * i);
                self.set(result, Some((0..4).map(byte).sum()));
                Some(())
            }
            _ => None,
        }
    }

    fn move_words(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let result = reader.register()?;
        let from = reader.next()?;
        let words = match () {
            () if instruction.has("128") => 4,
            () if instruction.has("64") => 2,
            // A pair, unless it says otherwise.
            () if instruction.base == "CS2R" && !instruction.has("32") => 2,
            () => 1,
        };
        for word in 0..words {
            let value = match from {
                Operand::Constant { bank, offset, negated: false } => {
                    (*offset).and_then(|offset| self.constant(*bank, offset + 4 * u32::from(word)))
                }
                Operand::Register { register, negated: false, inverted: false } => {
                    self.word(register.next(word))
                }
                Operand::Immediate(number) => Some((number >> (32 * word).min(63)) as u32),
                Operand::Special(name) if word == 0 => self.special(name),
                Operand::Special(name) => (name == "SRZ").then_some(0),
                _ => None,
            };
            self.set(result.next(word), value);
        }
        Some(())
    }

    fn multiply_add(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let result = reader.register()?;
        let carries = reader.predicates();
        let (a, b, c) = (reader.next()?, reader.next()?, reader.next()?);
        let carry_in = reader.predicates();
        let zero = |operand: &Operand| match operand {
            Operand::Register { register, .. } => register.is_zero(),
            Operand::Immediate(number) => *number == 0,
            _ => false,
        };
        let (x, y) = match (self.value(a), self.value(b)) {
            // Zero times what is unknown.
            (_, other) if zero(a) => (0, other.unwrap_or(0)),
            (other, _) if zero(b) => (other.unwrap_or(0), 0),
            (x, y) => (x?, y?),
        };
        let product = if instruction.has("U32") || !(instruction.has("WIDE") || instruction.has("HI")) {
            u64::from(x) * u64::from(y)
        } else {
            (i64::from(x as i32) * i64::from(y as i32)) as u64
        };
        if instruction.has("HI") {
            let sum = product.wrapping_add(self.wide_value(c)?);
            self.set(result, Some((sum >> 32) as u32));
        } else if instruction.has("WIDE") {
            let (sum, over) = product.overflowing_add(self.wide_value(c)?);
            if instruction.has("X") {
                return None;
            }
            self.set_wide(result, Some(sum));
            carries.first().iter().for_each(|carry| self.set_predicate(**carry, Some(over)));
        } else {
            let carry = match (instruction.has("X"), carry_in.first()) {
                (true, Some(carry)) => u32::from(self.predicate(*carry)?),
                _ => 0,
            };
            let sum = (product as u32).wrapping_add(self.value(c)?).wrapping_add(carry);
            self.set(result, Some(sum));
            carries.iter().for_each(|carry| self.set_predicate(*carry, None));
        }
        Some(())
    }

    /// What an adder of 32 bits gets: the negative is the complement and one, which may carry.
    fn addend(&self, operand: &Operand) -> Option<u64> {
        match operand {
            Operand::Register { register, negated: true, .. } => Some(u64::from(!self.word(*register)?) + 1),
            Operand::Constant { bank, offset, negated: true } => {
                Some(u64::from(!self.constant(*bank, (*offset)?)?) + 1)
            }
            other => self.value(other).map(u64::from),
        }
    }

    fn add(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let result = reader.register()?;
        let carries = reader.predicates();
        let mut sources = Vec::new();
        while let Some(operand) = reader.operands.first().filter(|o| !matches!(o, Operand::Predicate(_))) {
            sources.push(operand);
            reader.next();
        }
        if instruction.has("64") {
            let sum = sources.iter().try_fold((0u64, false), |(sum, over), operand| {
                let (sum, carry) = sum.overflowing_add(self.wide_value(operand)?);
                Some((sum, over | carry))
            })?;
            self.set_wide(result, Some(sum.0));
            carries.first().iter().for_each(|carry| self.set_predicate(**carry, Some(sum.1)));
            return Some(());
        }
        let mut sum = 0u64;
        for operand in sources {
            sum += self.addend(operand)?;
        }
        if instruction.has("X") {
            for carry in reader.predicates() {
                sum += u64::from(self.predicate(carry)?);
            }
        }
        self.set(result, Some(sum as u32));
        for (place, carry) in carries.iter().enumerate() {
            self.set_predicate(*carry, Some(sum >> 32 > place as u64));
        }
        Some(())
    }

    fn logic(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let results = reader.predicates();
        let result = reader.register()?;
        let [a, b, c, Operand::Immediate(table), ..] = reader.operands else { return None };
        let needed = |bit: i64| {
            // Whether the table depends on an operand at all.
            (0..8i64).any(|i| (table >> i ^ table >> (i ^ bit)) & 1 != 0)
        };
        let value = |operand, bit| if needed(bit) { self.value(operand) } else { Some(0) };
        let (a, b, c) = (value(a, 4)?, value(b, 2)?, value(c, 1)?);
        let bits = (0..8).filter(|i| table >> i & 1 != 0).fold(0, |all, i| {
            let pick = |value: u32, bit: i64| if i & bit != 0 { value } else { !value };
            all | pick(a, 4) & pick(b, 2) & pick(c, 1)
        });
        self.set(result, Some(bits));
        results.iter().for_each(|result| self.set_predicate(*result, Some(bits != 0)));
        Some(())
    }

    fn shift(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let result = reader.register()?;
        let [low, by, high] = reader.operands else { return None };
        let (left, wide) = (instruction.has("L"), instruction.has("U64") || instruction.has("S64"));
        let (upper, signed) = (instruction.has("HI"), instruction.has("S32") || instruction.has("S64"));
        let by = self.value(by)?;
        let by = if instruction.has("W") { by % if wide { 64 } else { 32 } } else { by };
        let bits = if wide { 64 } else { 32 };
        // The word that is shifted alone does not depend on its neighbour.
        let value = if left && !upper {
            u64::from(self.value(low)?) << by.min(63)
        } else if !left && upper {
            let high = self.value(high)?;
            let shifted = if signed {
                ((high as i32) >> by.min(31)) as u32
            } else if by < 32 {
                high >> by
            } else {
                0
            };
            return self.finish_shift(result, shifted);
        } else {
            let pair = u64::from(self.value(low)?) | u64::from(self.value(high)?) << 32;
            match (left, by >= 64) {
                (true, false) => pair << by >> 32,
                (false, false) => pair >> by,
                _ => 0,
            }
        };
        let value = if by >= bits { 0 } else { value };
        self.finish_shift(result, value as u32)
    }

    fn finish_shift(&mut self, result: Register, value: u32) -> Option<()> {
        self.set(result, Some(value));
        Some(())
    }

    fn shift_add(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let result = reader.register()?;
        let carries = reader.predicates();
        let (high, sum) = if instruction.has("HI") {
            let [a, b, c, by, rest @ ..] = reader.operands else { return None };
            if instruction.has("SX32") {
                return None;
            }
            let pair = u64::from(self.value(a)?) | u64::from(self.value(c)?) << 32;
            let by = self.value(by)? % 32;
            let mut sum = (pair << by >> 32) + self.addend(b)?;
            if let (true, Some(Operand::Predicate(carry))) = (instruction.has("X"), rest.first()) {
                sum += u64::from(self.predicate(*carry)?);
            }
            (true, sum)
        } else {
            let [a, b, by, ..] = reader.operands else { return None };
            let by = self.value(by)? % 32;
            (false, u64::from(self.value(a)? << by) + self.addend(b)?)
        };
        self.set(result, Some(sum as u32));
        let over = if high { None } else { Some(sum >> 32 != 0) };
        carries.iter().for_each(|carry| self.set_predicate(*carry, over));
        Some(())
    }

    fn compare(&mut self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<()> {
        let results = reader.predicates();
        let (a, b) = (reader.next()?, reader.next()?);
        let inputs = reader.predicates();
        let wide = instruction.has("U64") || instruction.has("S64");
        let unsigned = instruction.has("U32") || instruction.has("U64");
        let (a, b) = if wide {
            (self.wide_value(a)?, self.wide_value(b)?)
        } else {
            (u64::from(self.value(a)?), u64::from(self.value(b)?))
        };
        let order = match (wide, unsigned) {
            (_, true) => a.cmp(&b),
            (true, false) => (a as i64).cmp(&(b as i64)),
            (false, false) => (a as u32 as i32).cmp(&(b as u32 as i32)),
        };
        let relation = ["LT", "LE", "GT", "GE", "EQ", "NE"].into_iter().find(|m| instruction.has(m))?;
        let mut holds = match relation {
            "LT" => order.is_lt(),
            "LE" => order.is_le(),
            "GT" => order.is_gt(),
            "GE" => order.is_ge(),
            "EQ" => order.is_eq(),
            _ => order.is_ne(),
        };
        // The upper words decide unless they are equal; then the lower ones do, compared before.
        if instruction.has("EX") {
            let lower = self.predicate(*inputs.get(1)?)?;
            holds = match relation {
                "EQ" => holds && lower,
                "NE" => holds || lower,
                _ if order.is_eq() => lower,
                _ => holds,
            };
        }
        let other = self.predicate(*inputs.first()?)?;
        let combine = |value: bool| match () {
            () if instruction.has("OR") => value || other,
            () if instruction.has("XOR") => value != other,
            () => value && other,
        };
        for (place, result) in results.iter().enumerate() {
            self.set_predicate(*result, Some(combine(holds != (place == 1))));
        }
        Some(())
    }
}

/// The bits of a number of 16 bits in floating-point arithmetic.
fn half(operand: &Operand) -> Option<u32> {
    let value = match operand {
        Operand::Immediate(0) => 0.0,
        Operand::Float(value) => *value,
        _ => return None,
    };
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = value.abs();
    if size == 0.0 {
        return Some(sign);
    }
    if !size.is_finite() || size >= 65536.0 {
        return None;
    }
    let exponent = (size.log2().floor() as i32).max(-15);
    let bits = if exponent < -14 {
        (size * 2f64.powi(24)).round() as u32
    } else {
        let fraction = (size / 2f64.powi(exponent) - 1.0) * 1024.0;
        (((exponent + 15) as u32) << 10) + fraction.round() as u32
    };
    Some(sign | bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_two_halves() {
        assert_eq!(half(&Operand::Immediate(0)), Some(0));
        assert_eq!(half(&Operand::Float(1.0)), Some(0x3c00));
        assert_eq!(half(&Operand::Float(5.960_464_477_539_063e-8)), Some(1));
        assert_eq!(half(&Operand::Float(-2.0)), Some(0xc000));
    }
}
