//! Operands of machine instructions, parsed from text.

/// A register: 0 to 255 are a thread's own, those from [`Register::UNIFORM`] a warp's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u16);

impl Register {
    /// The first register of a warp.
    pub const UNIFORM: u16 = 256;
    /// The number of registers.
    pub const COUNT: usize = 512;
    /// The register that is always zero.
    pub const ZERO: Self = Self(255);
    /// The same of a warp.
    pub const UNIFORM_ZERO: Self = Self(511);

    /// Whether it is always zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO || self == Self::UNIFORM_ZERO
    }

    /// The register that holds the next higher word of a wide value; that after zero is zero.
    pub fn next(self, words: u16) -> Self {
        if self.is_zero() { self } else { Self(self.0 + words) }
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str, first: u16| {
            let number: u16 = text.parse().ok()?;
            (number < 255).then_some(Self(first + number))
        };
        match text {
            "RZ" => Some(Self::ZERO),
            "URZ" => Some(Self::UNIFORM_ZERO),
            _ => match text.strip_prefix("UR") {
                Some(rest) => number(rest, Self::UNIFORM),
                None => number(text.strip_prefix('R')?, 0),
            },
        }
    }
}

/// A predicate, or its contrary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// Its number, a warp's from 8; none is the one that always holds.
    pub number: Option<u8>,
    /// Whether its contrary is meant.
    pub inverted: bool,
}

impl Predicate {
    /// The number of predicates.
    pub const COUNT: usize = 16;

    /// Parses `P0`, `!UP1`, `PT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (inverted, name) = text.strip_prefix('!').map_or((false, text), |name| (true, name));
        let number = |text: &str, first: u8| {
            let number: u8 = text.parse().ok()?;
            (number < 8).then_some(first + number)
        };
        let number = match name {
            "PT" | "UPT" => None,
            _ => Some(match name.strip_prefix("UP") {
                Some(rest) => number(rest, 8)?,
                None => number(name.strip_prefix('P')?, 0)?,
            }),
        };
        Some(Self { number, inverted })
    }
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, negated or inverted.
    Register {
        /// Which.
        register: Register,
        /// The negative.
        negated: bool,
        /// The complement.
        inverted: bool,
    },
    /// A predicate.
    Predicate(Predicate),
    /// A number; the sign of what is wider than 32 bits is known.
    Immediate(i64),
    /// A number of a floating-point operation.
    Float(f64),
    /// A word of constant memory at a fixed offset.
    Constant {
        /// The bank.
        bank: u32,
        /// The offset in bytes; none if it is computed.
        offset: Option<u32>,
        /// The negative.
        negated: bool,
    },
    /// A memory address: registers, each times a factor, and an offset. Some are 64 bits wide.
    Address {
        /// Registers, factors, and whether they are 64 bits wide.
        terms: Vec<(Register, u32, bool)>,
        /// The offset.
        offset: i64,
    },
    /// A special register.
    Special(String),
    /// The instruction that a branch goes to.
    Target(usize),
    /// What is not looked at.
    Other,
}

/// Splits at commas outside of brackets.
pub fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

impl Operand {
    /// Parses an operand that is not a label; what is unknown is [`Operand::Other`].
    pub fn parse(text: &str) -> Self {
        let text = text.trim_end_matches(".reuse");
        if let Some(predicate) = Predicate::parse(text) {
            return Self::Predicate(predicate);
        }
        let (negated, inverted, plain) = match text.as_bytes().first() {
            Some(b'-') => (true, false, &text[1..]),
            Some(b'~') => (false, true, &text[1..]),
            _ => (false, false, text),
        };
        let name = plain.split('.').next().unwrap_or(plain);
        if let Some(register) = Register::parse(name) {
            return Self::Register { register, negated, inverted };
        }
        if text.starts_with("SR") {
            return Self::Special(text.into());
        }
        if let Some(number) = number(text) {
            return Self::Immediate(number);
        }
        if let Some(rest) = plain.strip_prefix("c[") {
            return Self::constant(rest, negated).unwrap_or(Self::Other);
        }
        if text.contains('[') {
            return Self::address(text).unwrap_or(Self::Other);
        }
        // Immediates of floating-point operations are decimal.
        text.parse().map_or(Self::Other, Self::Float)
    }

    /// `0x0][0x210]` after `c[`.
    fn constant(text: &str, negated: bool) -> Option<Self> {
        let (bank, rest) = text.split_once(']')?;
        let bank = u32::try_from(number(bank)?).ok()?;
        let offset = rest.strip_prefix('[')?.split(']').next()?;
        let offset = number(offset).and_then(|offset| u32::try_from(offset).ok());
        Some(Self::Constant { bank, offset, negated })
    }

    /// `desc[UR6][R2.64+UR4+0x10]`, `[R3.X4]`.
    fn address(text: &str) -> Option<Self> {
        let inner = text.rsplit_once('[')?.1.strip_suffix(']')?;
        let mut terms = Vec::new();
        let mut offset = 0i64;
        for part in inner.split('+') {
            if let Some(number) = number(part) {
                offset = offset.checked_add(number)?;
                continue;
            }
            let mut words = part.split('.');
            let register = Register::parse(words.next()?)?;
            let (mut factor, mut wide) = (1, false);
            for word in words {
                match word {
                    "64" => wide = true,
                    "X4" => factor = 4,
                    "X8" => factor = 8,
                    "X16" => factor = 16,
                    _ => {}
                }
            }
            terms.push((register, factor, wide));
        }
        Some(Self::Address { terms, offset })
    }
}

/// A hexadecimal number, perhaps negative.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i64::try_from(u64::from_str_radix(digits, 16).ok()?).ok()?,
        None if digits == "0" => 0,
        None => return None,
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_parsed() {
        let register =
            |number| Operand::Register { register: Register(number), negated: false, inverted: false };
        assert_eq!(Operand::parse("R7.reuse"), register(7));
        assert_eq!(Operand::parse("UR4"), register(260));
        assert_eq!(
            Operand::parse("-R5"),
            Operand::Register { register: Register(5), negated: true, inverted: false }
        );
        assert_eq!(Operand::parse("RZ"), register(255));
        assert_eq!(
            Operand::parse("!UP2"),
            Operand::Predicate(Predicate { number: Some(10), inverted: true })
        );
        assert_eq!(Operand::parse("-0x18"), Operand::Immediate(-24));
        assert_eq!(Operand::parse("5.9604644775390625e-08"), Operand::Float(5.960_464_477_539_063e-8));
        assert_eq!(
            Operand::parse("c[0x0][0x210]"),
            Operand::Constant { bank: 0, offset: Some(0x210), negated: false }
        );
        assert_eq!(
            Operand::parse("desc[UR6][R2.64+-0x8]"),
            Operand::Address { terms: vec![(Register(2), 1, true)], offset: -8 }
        );
        assert_eq!(
            Operand::parse("[R3.X4+UR4+0x10]"),
            Operand::Address { terms: vec![(Register(3), 4, false), (Register(260), 1, false)], offset: 16 }
        );
        assert_eq!(split("R1, desc[UR6][R2.64], c[0x0][0x4]").len(), 3);
    }
}
