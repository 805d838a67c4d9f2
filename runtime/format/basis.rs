//! Sets of primes.
//!
//! The primes of a parameter set are numbered: `q` primes carry ciphertexts, `p` primes (special primes) only
//! exist inside key switching. A [`Basis`] is a set of them, kept as sorted, disjoint, non-adjacent, non-empty
//! half-open ranges, so that equal sets are equal values. Limbs of an RNS polynomial over a basis are stored in
//! the order of [`Basis::iter`]: `q` primes ascending, then `p` primes ascending.
//!
//! Text: `q[0:6]+p[0:3]`, with several ranges `q[0:2]+q[5:9]`; the empty set is `empty`.

use std::fmt;
use std::ops::Range;

use super::text::{Scanner, TextParam, WordReader};

/// Indices of primes are below this.
pub const MAX_PRIMES: u32 = 4096;

/// One prime of a parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prime {
    /// The prime with this index among the ciphertext primes.
    Q(u32),
    /// The prime with this index among the special primes.
    P(u32),
}

impl fmt::Display for Prime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prime::Q(index) => write!(f, "q{index}"),
            Prime::P(index) => write!(f, "p{index}"),
        }
    }
}

/// A set of primes of a parameter set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    q: Vec<Range32>,
    p: Vec<Range32>,
}

/// A non-empty half-open range.
type Range32 = (u32, u32);

impl Basis {
    /// The empty set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The ciphertext primes with indices in `range`.
    pub fn q(range: Range<u32>) -> Self {
        Self { q: as_ranges(range), p: vec![] }
    }

    /// The special primes with indices in `range`.
    pub fn p(range: Range<u32>) -> Self {
        Self { q: vec![], p: as_ranges(range) }
    }

    /// The set of the given primes, in any order.
    pub fn from_primes(primes: impl IntoIterator<Item = Prime>) -> Self {
        let (mut q, mut p) = (vec![], vec![]);
        for prime in primes {
            match prime {
                Prime::Q(index) => q.push((index, index.saturating_add(1))),
                Prime::P(index) => p.push((index, index.saturating_add(1))),
            }
        }
        Self { q: normalise(q), p: normalise(p) }
    }

    /// The number of primes.
    pub fn len(&self) -> usize {
        self.q_len() + self.p_len()
    }

    /// The number of ciphertext primes.
    pub fn q_len(&self) -> usize {
        count(&self.q)
    }

    /// The number of special primes.
    pub fn p_len(&self) -> usize {
        count(&self.p)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.q.is_empty() && self.p.is_empty()
    }

    /// Whether `prime` is in the set.
    pub fn contains(&self, prime: Prime) -> bool {
        self.position(prime).is_some()
    }

    /// The place of `prime` in the order of [`Basis::iter`]: the index of its limb.
    pub fn position(&self, prime: Prime) -> Option<usize> {
        match prime {
            Prime::Q(index) => place(&self.q, index),
            Prime::P(index) => place(&self.p, index).map(|place| self.q_len() + place),
        }
    }

    /// Whether every prime of this set is in `other`.
    pub fn is_subset(&self, other: &Basis) -> bool {
        self.difference(other).is_empty()
    }

    /// Whether the two sets have no prime in common.
    pub fn is_disjoint(&self, other: &Basis) -> bool {
        self.intersect(other).is_empty()
    }

    /// The primes in either set.
    pub fn union(&self, other: &Basis) -> Basis {
        let join = |a: &[Range32], b: &[Range32]| normalise([a, b].concat());
        Basis { q: join(&self.q, &other.q), p: join(&self.p, &other.p) }
    }

    /// The primes of this set that are not in `other`.
    pub fn difference(&self, other: &Basis) -> Basis {
        Self::from_primes(self.iter().filter(|&prime| !other.contains(prime)))
    }

    /// The primes in both sets.
    pub fn intersect(&self, other: &Basis) -> Basis {
        Self::from_primes(self.iter().filter(|&prime| other.contains(prime)))
    }

    /// The ciphertext primes of this set.
    pub fn q_part(&self) -> Basis {
        Basis { q: self.q.clone(), p: vec![] }
    }

    /// The special primes of this set.
    pub fn p_part(&self) -> Basis {
        Basis { q: vec![], p: self.p.clone() }
    }

    /// The primes in limb order.
    pub fn iter(&self) -> impl Iterator<Item = Prime> + '_ {
        let q = self.q.iter().flat_map(|&(start, end)| (start..end).map(Prime::Q));
        let p = self.p.iter().flat_map(|&(start, end)| (start..end).map(Prime::P));
        q.chain(p)
    }

    /// The end of the last range of ciphertext primes and of special primes.
    pub fn bounds(&self) -> (u32, u32) {
        let end = |ranges: &[Range32]| ranges.last().map_or(0, |&(_, end)| end);
        (end(&self.q), end(&self.p))
    }

    /// Appends the canonical words, for parameters that contain a basis.
    pub fn push_words(&self, words: &mut Vec<i64>) {
        for ranges in [&self.q, &self.p] {
            words.push(ranges.len() as i64);
            words.extend(ranges.iter().flat_map(|&(start, end)| [i64::from(start), i64::from(end)]));
        }
    }

    /// Reads what [`Basis::push_words`] wrote.
    pub fn read_words(reader: &mut WordReader<'_>) -> Result<Self, String> {
        let mut read = || -> Result<Vec<Range32>, String> {
            let mut ranges: Vec<Range32> = vec![];
            for _ in 0..reader.count()? {
                let range = (reader.u32()?, reader.u32()?);
                let apart = ranges.last().is_none_or(|&(_, end)| end < range.0);
                if !apart || range.0 >= range.1 || range.1 > MAX_PRIMES {
                    return Err(format!("basis: range {}:{} is out of order", range.0, range.1));
                }
                ranges.push(range);
            }
            Ok(ranges)
        };
        Ok(Self { q: read()?, p: read()? })
    }

    /// Parses a basis from a scanner, for parameters that contain one.
    pub fn scan(scanner: &mut Scanner<'_>) -> Result<Self, String> {
        if scanner.accept("empty") {
            return Ok(Self::empty());
        }
        let mut basis = Self::empty();
        loop {
            let (start, end, special) = match scanner.identifier()? {
                kind @ ("q" | "p") => {
                    scanner.expect("[")?;
                    let start = scanner.u32()?;
                    scanner.expect(":")?;
                    let end = scanner.u32()?;
                    scanner.expect("]")?;
                    (start, end, kind == "p")
                }
                other => return Err(format!("basis: expected `q` or `p`, found `{other}`")),
            };
            if start >= end {
                return Err(format!("basis: range {start}:{end} is empty"));
            }
            if end > MAX_PRIMES {
                return Err(format!("basis: range {start}:{end} goes beyond {MAX_PRIMES} primes"));
            }
            let range = if special { Self::p(start..end) } else { Self::q(start..end) };
            if !range.is_disjoint(&basis) {
                return Err(format!("basis: range {start}:{end} overlaps an earlier one"));
            }
            basis = basis.union(&range);
            if !scanner.accept("+") {
                return Ok(basis);
            }
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("empty");
        }
        let mut separator = "";
        for (kind, ranges) in [("q", &self.q), ("p", &self.p)] {
            for (start, end) in ranges {
                write!(f, "{separator}{kind}[{start}:{end}]")?;
                separator = "+";
            }
        }
        Ok(())
    }
}

impl TextParam for Basis {
    const NAME: &'static str = "basis";

    fn parse(text: &str) -> Result<Self, String> {
        let mut scanner = Scanner::new(Self::NAME, text);
        let basis = Self::scan(&mut scanner)?;
        scanner.finish()?;
        Ok(basis)
    }

    fn to_words(&self) -> Vec<i64> {
        let mut words = vec![];
        self.push_words(&mut words);
        words
    }

    fn from_words(words: &[i64]) -> Result<Self, String> {
        let mut reader = WordReader::new(Self::NAME, words);
        let basis = Self::read_words(&mut reader)?;
        reader.finish()?;
        Ok(basis)
    }
}

fn as_ranges(range: Range<u32>) -> Vec<Range32> {
    if range.is_empty() { vec![] } else { vec![(range.start, range.end)] }
}

/// Sorts ranges and merges those that overlap or touch.
fn normalise(mut ranges: Vec<Range32>) -> Vec<Range32> {
    ranges.sort_unstable();
    let mut merged: Vec<Range32> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn count(ranges: &[Range32]) -> usize {
    ranges.iter().map(|&(start, end)| (end - start) as usize).sum()
}

fn place(ranges: &[Range32], index: u32) -> Option<usize> {
    let mut before = 0;
    for &(start, end) in ranges {
        if index < start {
            return None;
        }
        if index < end {
            return Some(before + (index - start) as usize);
        }
        before += (end - start) as usize;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::testing::{round_trip, words_are_canonical};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn primes() -> impl Strategy<Value = BTreeSet<(bool, u32)>> {
        proptest::collection::btree_set((any::<bool>(), 0u32..20), 0..16)
    }

    fn basis(set: &BTreeSet<(bool, u32)>) -> Basis {
        Basis::from_primes(set.iter().map(|&(special, i)| if special { Prime::P(i) } else { Prime::Q(i) }))
    }

    proptest! {
        #[test]
        fn agrees_with_sets(a in primes(), b in primes()) {
            let (x, y) = (basis(&a), basis(&b));
            prop_assert_eq!(x.union(&y), basis(&(&a | &b)));
            prop_assert_eq!(x.intersect(&y), basis(&(&a & &b)));
            prop_assert_eq!(x.difference(&y), basis(&(&a - &b)));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
            prop_assert_eq!(x.len(), a.len());
            for (limb, prime) in x.iter().enumerate() {
                prop_assert_eq!(x.position(prime), Some(limb));
            }
            prop_assert_eq!(x.q_part().union(&x.p_part()), x);
        }

        #[test]
        fn text_and_words_give_it_back(a in primes()) {
            round_trip(&basis(&a));
            words_are_canonical(&basis(&a));
        }
    }

    #[test]
    fn prints_ranges() {
        let basis = Basis::q(0..2).union(&Basis::q(5..9)).union(&Basis::p(0..3));
        assert_eq!(basis.to_string(), "q[0:2]+q[5:9]+p[0:3]");
        assert_eq!(Basis::parse("p[0:1] + q[1:2] + q[0:1]").unwrap().to_string(), "q[0:2]+p[0:1]");
        assert_eq!(Basis::q(0..2).union(&Basis::q(2..4)), Basis::q(0..4));
        assert_eq!(Basis::parse("empty"), Ok(Basis::empty()));
    }

    #[test]
    fn refuses_bad_text() {
        for text in
            ["", "q", "q[2:2]", "q[3:2]", "q[0:2]+", "r[0:1]", "q[0:2]+q[1:3]", "q[0:4294967295]", "q[0:2]x"]
        {
            assert!(Basis::parse(text).is_err(), "{text}");
        }
    }
}
