//! Exact scales.
//!
//! A scale is a formal product of symbols with integer exponents:
//!
//! * `S(l)`: the canonical scale of level l. `S(0)` is given by the parameters.
//! * `E(l)`: the canonical scale of level l inside a bootstrap's modular reduction, which works with more bits than
//!   messages have. The parameters give it at one level.
//! * `D(l)`: what the rescale from level l to level l - 1 divides by: the product of the primes it drops over
//!   the product of the primes it restores.
//! * `2`, `Q0` (the product of level 0's primes), and names for numbers that a user gives.
//!
//! `S(l)^2 = S(l-1) * D(l)` holds by definition, and so does `E(l)^2 = E(l-1) * D(l)`. Every scale is kept in the
//! canonical form in which S(l), l >= 1, has exponent 0 or 1, and E(l), l >= 1, exponent -1, 0 or 1 and not two of
//! adjacent levels one other than 0; S(0), E(0) and all other symbols have any exponent. Both forms exist once for each
//! product, so two scales are equal for all parameters exactly when their canonical forms are, and there is no
//! tolerance. (E is given a value somewhere in the middle of the levels, and far below it has none; the form with
//! signs stays near the levels that a product is made of.)
//!
//! Text: factors joined by `*`, exponents as `**k`, ordered S descending, E descending, D descending, 2, Q0, names:
//! `S(4)*D(5)`, `S(0)**2*D(1)**-1*2**-3`. The empty product is `1`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Div, Mul};

use super::basis::MAX_PRIMES;
use super::params::Params;
use super::text::{Scanner, TextParam, WordReader, push_str};

/// Exponents that text and words may contain; products in memory saturate far above.
const MAX_EXPONENT: i64 = 1 << 20;

/// A factor of a scale. The order is that of the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// The canonical scale of a level.
    S(u32),
    /// The canonical scale of a level inside a bootstrap's modular reduction.
    E(u32),
    /// What the rescale that leaves a level divides by.
    D(u32),
    /// The number two.
    Two,
    /// The product of the primes of level 0.
    Q0,
    /// A number given by a user, under this name (`[a-z_][A-Za-z0-9_]*`).
    Named(String),
}

impl Symbol {
    fn key(&self) -> (u32, std::cmp::Reverse<u32>, &str) {
        use std::cmp::Reverse;
        match self {
            Symbol::S(level) => (0, Reverse(*level), ""),
            Symbol::E(level) => (1, Reverse(*level), ""),
            Symbol::D(level) => (2, Reverse(*level), ""),
            Symbol::Two => (3, Reverse(0), ""),
            Symbol::Q0 => (4, Reverse(0), ""),
            Symbol::Named(name) => (5, Reverse(0), name),
        }
    }
}

impl PartialOrd for Symbol {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Symbol {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symbol::S(level) => write!(f, "S({level})"),
            Symbol::E(level) => write!(f, "E({level})"),
            Symbol::D(level) => write!(f, "D({level})"),
            Symbol::Two => f.write_str("2"),
            Symbol::Q0 => f.write_str("Q0"),
            Symbol::Named(name) => f.write_str(name),
        }
    }
}

/// An exact scale in canonical form.
///
/// ```
/// use ceria_runtime::format::{scale::Scale, text::TextParam};
/// let product = Scale::level(5) * Scale::level(5);
/// assert_eq!(product.to_string(), "S(4)*D(5)");
/// assert_eq!(product.rescaled(5), Scale::level(4));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scale {
    /// No exponent is zero; see the module's documentation for those of S(l) and E(l).
    factors: BTreeMap<Symbol, i64>,
}

impl Scale {
    /// The scale 1.
    pub fn one() -> Self {
        Self::default()
    }

    /// S(`level`), the canonical scale of a level.
    pub fn level(level: u32) -> Self {
        Self::symbol(Symbol::S(level), 1)
    }

    /// E(`level`), the canonical scale of a level inside a bootstrap's modular reduction.
    pub fn reduction(level: u32) -> Self {
        Self::symbol(Symbol::E(level), 1)
    }

    /// D(`level`), what the rescale that leaves `level` divides by.
    pub fn dropped(level: u32) -> Self {
        Self::symbol(Symbol::D(level), 1)
    }

    /// 2 to the power `exponent`.
    pub fn power_of_two(exponent: i64) -> Self {
        Self::symbol(Symbol::Two, exponent)
    }

    /// The product of level 0's primes.
    pub fn q0() -> Self {
        Self::symbol(Symbol::Q0, 1)
    }

    /// A symbol to a power.
    pub fn symbol(symbol: Symbol, exponent: i64) -> Self {
        Self { factors: BTreeMap::from([(symbol, exponent)]) }.canonical()
    }

    /// The symbols and their exponents, in the order of the text.
    pub fn factors(&self) -> impl Iterator<Item = (&Symbol, i64)> {
        self.factors.iter().map(|(symbol, &exponent)| (symbol, exponent))
    }

    /// The scale to an integer power.
    pub fn pow(&self, exponent: i64) -> Self {
        let factors = self.factors.iter().map(|(s, e)| (s.clone(), e.saturating_mul(exponent))).collect();
        Self { factors }.canonical()
    }

    /// The scale after the rescale that leaves `level`.
    pub fn rescaled(&self, level: u32) -> Self {
        self / &Self::dropped(level)
    }

    /// The scale that turns this one into `target` when multiplied by it.
    pub fn to_reach(&self, target: &Scale) -> Self {
        target / self
    }

    /// The highest level that occurs in a symbol.
    pub fn max_level(&self) -> Option<u32> {
        self.factors
            .keys()
            .filter_map(|symbol| match symbol {
                Symbol::S(level) | Symbol::E(level) | Symbol::D(level) => Some(*level),
                _ => None,
            })
            .max()
    }

    /// The number this scale stands for under `params`. Levels that the parameters do not have, and names they
    /// give no value to, make it NaN.
    pub fn value(&self, params: &Params) -> f64 {
        let mut product = Wide::ONE;
        for (symbol, exponent) in self.factors() {
            product = product.times(Wide::new(params.symbol_value(symbol)).pow(exponent));
        }
        product.value()
    }

    /// The binary logarithm of [`Scale::value`], also where that overflows.
    pub fn log2(&self, params: &Params) -> f64 {
        self.factors().map(|(symbol, e)| params.symbol_value(symbol).log2() * e as f64).sum()
    }

    fn times(&self, other: &Self, sign: i64) -> Self {
        let mut factors = self.factors.clone();
        for (symbol, &exponent) in &other.factors {
            let sum = factors.entry(symbol.clone()).or_insert(0);
            *sum = sum.saturating_add(exponent.saturating_mul(sign));
        }
        Self { factors }.canonical()
    }

    /// Applies S(l)^2 = S(l-1) D(l) from the top down until S(l), l >= 1, has exponent 0 or 1, and likewise for E, where
    /// an odd exponent leaves 1 or -1 such that the level below gets an even one.
    fn canonical(mut self) -> Self {
        for chain in [Symbol::S, Symbol::E] {
            // Levels descend in the order of symbols.
            let top = self.factors.keys().find_map(|symbol| match symbol {
                Symbol::S(level) | Symbol::E(level) if *symbol == chain(*level) => Some(*level),
                _ => None,
            });
            for level in (1..=top.unwrap_or(0)).rev() {
                let below = self.factors.get(&chain(level - 1)).copied().unwrap_or(0);
                let Some(exponent) = self.factors.get_mut(&chain(level)) else { continue };
                let signed = chain(level) == Symbol::E(level);
                let rest = match exponent.rem_euclid(2) {
                    1 if signed => 2 - (exponent.rem_euclid(4) + 2 * below.rem_euclid(2)) % 4,
                    rest => rest,
                };
                let half = (*exponent - rest) / 2;
                *exponent = rest;
                for symbol in [chain(level - 1), Symbol::D(level)] {
                    let sum = self.factors.entry(symbol).or_insert(0);
                    *sum = sum.saturating_add(half);
                }
            }
        }
        self.factors.retain(|_, exponent| *exponent != 0);
        self
    }
}

impl Mul for &Scale {
    type Output = Scale;
    fn mul(self, other: &Scale) -> Scale {
        self.times(other, 1)
    }
}

impl Div for &Scale {
    type Output = Scale;
    fn div(self, other: &Scale) -> Scale {
        self.times(other, -1)
    }
}

impl Mul for Scale {
    type Output = Scale;
    fn mul(self, other: Scale) -> Scale {
        self.times(&other, 1)
    }
}

impl Div for Scale {
    type Output = Scale;
    fn div(self, other: Scale) -> Scale {
        self.times(&other, -1)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.factors.is_empty() {
            return f.write_str("1");
        }
        let mut separator = "";
        for (symbol, exponent) in self.factors() {
            write!(f, "{separator}{symbol}")?;
            if exponent != 1 {
                write!(f, "**{exponent}")?;
            }
            separator = "*";
        }
        Ok(())
    }
}

impl TextParam for Scale {
    const NAME: &'static str = "scale";

    /// Accepts factors in any order and form, and makes them canonical.
    fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner::new(Self::NAME, text);
        let mut scale = Self::one();
        loop {
            let symbol = match scanner.accept_identifier() {
                Some(kind @ ("S" | "E" | "D")) => {
                    scanner.expect("(")?;
                    let level = checked_level(kind, scanner.u32()?)?;
                    scanner.expect(")")?;
                    Some(match kind {
                        "S" => Symbol::S(level),
                        "E" => Symbol::E(level),
                        _ => Symbol::D(level),
                    })
                }
                Some("Q0") => Some(Symbol::Q0),
                Some(name) => Some(checked_name(name)?),
                None => match scanner.integer()? {
                    1 => None,
                    2 => Some(Symbol::Two),
                    other => return Err(format!("scale: expected the number 1 or 2, found {other}")),
                },
            };
            let exponent = if scanner.accept("**") { checked_exponent(scanner.integer()?)? } else { 1 };
            if let Some(symbol) = symbol {
                scale = scale * Self::symbol(symbol, exponent);
            }
            if scanner.at_end() {
                return Ok(scale);
            }
            scanner.expect("*")?;
        }
    }

    fn to_words(&self) -> Vec<i64> {
        let mut words = vec![self.factors.len() as i64];
        for (symbol, exponent) in self.factors() {
            match symbol {
                Symbol::S(level) => words.extend([0, i64::from(*level)]),
                Symbol::E(level) => words.extend([5, i64::from(*level)]),
                Symbol::D(level) => words.extend([1, i64::from(*level)]),
                Symbol::Two => words.push(2),
                Symbol::Q0 => words.push(3),
                Symbol::Named(name) => {
                    words.push(4);
                    push_str(&mut words, name);
                }
            }
            words.push(exponent);
        }
        words
    }

    fn from_words(words: &[i64]) -> Result<Self, String> {
        let mut reader = WordReader::new(Self::NAME, words);
        let mut factors = BTreeMap::new();
        for _ in 0..reader.count()? {
            let symbol = match reader.word()? {
                0 => Symbol::S(checked_level("S", reader.u32()?)?),
                1 => Symbol::D(checked_level("D", reader.u32()?)?),
                2 => Symbol::Two,
                3 => Symbol::Q0,
                4 => checked_name(&reader.str()?)?,
                5 => Symbol::E(checked_level("E", reader.u32()?)?),
                other => return Err(format!("scale: unknown symbol {other}")),
            };
            if factors.last_key_value().is_some_and(|(last, _)| *last >= symbol) {
                return Err(format!("scale: symbol {symbol} is out of order"));
            }
            factors.insert(symbol, reader.word()?);
        }
        reader.finish()?;
        let canonical = Self { factors: factors.clone() }.canonical();
        if canonical.factors != factors {
            return Err("scale: words are not in canonical form".to_string());
        }
        Ok(canonical)
    }
}

fn checked_level(kind: &str, level: u32) -> Result<u32, String> {
    if level >= MAX_PRIMES {
        return Err(format!("scale: level {level} is out of range"));
    }
    if kind == "D" && level == 0 {
        return Err("scale: D(0) does not exist, no rescale leaves level 0".to_string());
    }
    Ok(level)
}

fn checked_exponent(exponent: i64) -> Result<i64, String> {
    if exponent.abs() > MAX_EXPONENT {
        return Err(format!("scale: exponent {exponent} is out of range"));
    }
    Ok(exponent)
}

fn checked_name(name: &str) -> Result<Symbol, String> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("scale: unknown symbol `{name}` (names start with a lower-case letter)"));
    }
    Ok(Symbol::Named(name.to_string()))
}

/// A positive number as mantissa and exponent, so that intermediate products do not overflow.
#[derive(Clone, Copy)]
struct Wide {
    mantissa: f64,
    exponent: i64,
}

impl Wide {
    const ONE: Wide = Wide { mantissa: 1.0, exponent: 0 };

    fn new(value: f64) -> Self {
        Wide { mantissa: value, exponent: 0 }.normal()
    }

    fn normal(self) -> Self {
        let shift = self.mantissa.log2().floor();
        if !shift.is_finite() {
            return Wide { mantissa: f64::NAN, exponent: 0 };
        }
        let mantissa = self.mantissa * (-shift).exp2();
        Wide { mantissa, exponent: self.exponent.saturating_add(shift as i64) }
    }

    fn times(self, other: Self) -> Self {
        let exponent = self.exponent.saturating_add(other.exponent);
        Wide { mantissa: self.mantissa * other.mantissa, exponent }.normal()
    }

    fn pow(self, exponent: i64) -> Self {
        let mut base = if exponent < 0 {
            Wide { mantissa: 1.0 / self.mantissa, exponent: self.exponent.saturating_neg() }.normal()
        } else {
            self
        };
        let mut result = Wide::ONE;
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                result = result.times(base);
            }
            base = base.times(base);
            left >>= 1;
        }
        result
    }

    fn value(self) -> f64 {
        self.mantissa * (self.exponent.clamp(-2000, 2000) as f64).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::testing::{round_trip, words_are_canonical};
    use num_bigint::BigInt;
    use num_traits::{One, Pow};
    use proptest::prelude::*;

    fn symbols() -> impl Strategy<Value = Symbol> {
        prop_oneof![
            (0u32..7).prop_map(Symbol::S),
            (0u32..7).prop_map(Symbol::E),
            (1u32..7).prop_map(Symbol::D),
            Just(Symbol::Two),
            Just(Symbol::Q0),
            Just(Symbol::Named("input".into())),
        ]
    }

    type Product = Vec<(Symbol, i64)>;

    fn products() -> impl Strategy<Value = Product> {
        proptest::collection::vec((symbols(), -5i64..6), 0..6)
    }

    fn scale(product: &Product) -> Scale {
        product.iter().fold(Scale::one(), |scale, (s, e)| scale * Scale::symbol(s.clone(), *e))
    }

    /// The product in the free abelian group on t = S(0)^(1/2^6), E(0) likewise, d_l = D(l)^(1/2^6), 2, Q0 and the name, where
    /// S(l) = S(0)^(1/2^l) * prod_{k <= l} D(k)^(1/2^(l-k+1)): exponents over 2^6 are integers for l <= 6.
    fn free(product: &Product) -> Vec<i64> {
        let mut exponents = vec![0i64; 11];
        for (symbol, e) in product {
            match symbol {
                Symbol::S(l) | Symbol::E(l) => {
                    let base = if matches!(symbol, Symbol::S(_)) { 0 } else { 10 };
                    exponents[base] += e * (64 >> l);
                    for k in 1..=*l {
                        exponents[k as usize] += e * (64 >> (l - k + 1));
                    }
                }
                Symbol::D(l) => exponents[*l as usize] += 64 * e,
                Symbol::Two => exponents[7] += e,
                Symbol::Q0 => exponents[8] += e,
                Symbol::Named(_) => exponents[9] += e,
            }
        }
        exponents
    }

    proptest! {
        #[test]
        fn equality_is_equality_in_the_free_group(a in products(), b in products()) {
            prop_assert_eq!(scale(&a) == scale(&b), free(&a) == free(&b));
            let canonical: Product = scale(&a).factors().map(|(s, e)| (s.clone(), e)).collect();
            prop_assert_eq!(free(&canonical), free(&a));
        }

        #[test]
        fn multiplication_and_division_cancel(a in products(), b in products(), k in -4i64..5) {
            let (x, y) = (scale(&a), scale(&b));
            prop_assert_eq!(&(&x * &y) / &y, x.clone());
            prop_assert_eq!(&x * &y, &y * &x);
            let power = (0..k.abs()).fold(Scale::one(), |p, _| if k < 0 { &p / &x } else { &p * &x });
            prop_assert_eq!(x.pow(k), power);
        }

        #[test]
        fn text_and_words_give_it_back(a in products()) {
            round_trip(&scale(&a));
            words_are_canonical(&scale(&a));
        }
    }

    #[test]
    fn canonical_text() {
        for (text, canonical) in [
            ("S(5)", "S(5)"),
            ("S(5)*S(5)", "S(4)*D(5)"),
            ("D(5) * S(5)**4", "S(3)*D(5)**3*D(4)"),
            ("2**-3*S(0)**2*D(1)**-1", "S(0)**2*D(1)**-1*2**-3"),
            ("S(1)**-1", "S(1)*S(0)**-1*D(1)**-1"),
            ("b*a*Q0*2", "2*Q0*a*b"),
            ("E(3)**3*S(3)", "S(3)*E(3)**-1*E(1)*D(3)**2*D(2)"),
            ("E(3)**-1*S(3)", "S(3)*E(3)**-1"),
            ("E(2)*D(3)*E(3)**-1", "E(3)"),
            ("E(5)**2*E(4)**-1", "D(5)"),
            ("1", "1"),
            ("2*2**-1", "1"),
        ] {
            assert_eq!(Scale::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_bad_text() {
        for text in [
            "",
            "S",
            "S(",
            "S(-1)",
            "3",
            "D(0)",
            "S(1)*",
            "S(1)**",
            "S(1)S(2)",
            "Foo",
            "S(4294967295)",
            "2**99999999999",
        ] {
            assert!(Scale::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_follow_the_parameters() {
        let params = crate::format::params::testing::tiny();
        let q0: BigInt = params.level_basis(0).iter().map(|p| BigInt::from(params.prime(p))).product();
        let mut expected = params.scale0 as f64;
        for level in 1..=params.max_level() {
            let product = |a: u32, b: u32| -> f64 {
                let primes = params.level_basis(a).difference(params.level_basis(b));
                let product: BigInt = primes.iter().map(|p| BigInt::from(params.prime(p))).product();
                product.to_string().parse().unwrap()
            };
            expected = (expected * product(level, level - 1) / product(level - 1, level)).sqrt();
            let value = Scale::level(level).value(&params);
            assert!((value / expected - 1.0).abs() < 1e-14, "{value} {expected}");
        }
        let square = Scale::q0().pow(2).value(&params);
        let exact = Pow::pow(q0, 2u32) * BigInt::one();
        assert!((square / exact.to_string().parse::<f64>().unwrap() - 1.0).abs() < 1e-14);
        let huge = Scale::q0().pow(100) / Scale::q0().pow(99);
        assert!((huge.value(&params) - Scale::q0().value(&params)).abs() < 1e-3);
        assert!((Scale::q0().pow(100).log2(&params) - 100.0 * Scale::q0().log2(&params)).abs() < 1e-9);
        assert!(Scale::level(99).value(&params).is_nan());
    }
}
