//! The search for parameter sets.
//!
//! [`Params::search`] gives, for a depth and precision, the smallest ring whose 128-bit bound holds all primes, and
//! within it the digit size and special primes for which key switching is cheapest. Up to 30 bits a level is one prime;
//! above, it is a set of main primes and of a few smaller terminal primes, and a rescale drops some and restores others
//! ([`Chain`]). Mains stay below 2^30 so that arithmetic may be lazy, special primes are the largest below 2^31.
//!
//! After: `check_structure` and (unless toy sizes were asked for) `check_security` hold, S(0) is the power of two
//! asked for, and each S(l) is as near to it as the supply of primes permits.

use std::collections::BTreeSet;

use super::basis::Basis;
use super::params::{LOG_N_RANGE, Params, ParamsError, Secret};
use super::primes::{MAX_PRIME, ntt_primes_below, ntt_primes_near};
use super::security;

/// Ciphertext primes are below this, which leaves two bits for lazy reduction.
pub const MAX_MAIN: u32 = 1 << 30;

/// What the search may choose.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// The smallest log2 N to consider (layouts may need a number of slots).
    pub min_log_n: u32,
    /// The largest log2 N to consider.
    pub max_log_n: u32,
    /// A fixed digit size; `None` chooses the cheapest.
    pub digit: Option<u32>,
    /// The largest log2 of a digit's product over P. 0 keeps key-switching noise near that of a rounding; more
    /// saves special primes, less makes it negligible.
    pub key_noise_bits: f64,
    /// Takes `min_log_n` whatever the security, marks the set insecure and warns. For tests only.
    pub test_only_insecure: bool,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { min_log_n: 12, max_log_n: 17, digit: None, key_noise_bits: 0.0, test_only_insecure: false }
    }
}

/// Why there is no parameter set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SearchError {
    /// The modulus exceeds the largest ring's bound.
    #[error(
        "no ring up to N = 2^{max_log_n} holds {depth} levels of {scale_bits} bits with 128 bits of security \
         (the ciphertext modulus alone is {log_q:.0} bits, {allowed} are allowed): the network is too deep \
         without bootstrapping"
    )]
    TooDeep {
        /// The levels asked for.
        depth: u32,
        /// The bits of each.
        scale_bits: u32,
        /// The largest ring permitted.
        max_log_n: u32,
        /// log2 of the product of the ciphertext primes.
        log_q: f64,
        /// The bound at the largest ring.
        allowed: u64,
    },
    /// Too few primes of the size needed.
    #[error("there are too few primes near 2^{bits:.1} that are 1 modulo 2^{log_2n}")]
    Supply {
        /// The size sought.
        bits: f64,
        /// log2 of 2N.
        log_2n: u32,
    },
    /// A request that makes no sense.
    #[error("{0}")]
    Request(String),
    /// The set found is not sound.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

impl Params {
    /// The cheapest secure set with levels 0 to `depth`: level 0 of at least `first_bits` bits, each further level
    /// of `scale_bits` bits, S(0) = 2^`scale_bits`.
    pub fn search(
        depth: u32,
        scale_bits: u32,
        first_bits: u32,
        options: &SearchOptions,
    ) -> Result<Params, SearchError> {
        let request = |message: String| Err(SearchError::Request(message));
        if !(14..=60).contains(&scale_bits) {
            return request(format!("a scale of {scale_bits} bits is not supported, 14 to 60 are"));
        }
        if first_bits < scale_bits || first_bits > 120 {
            return request(format!(
                "a lowest level of {first_bits} bits is not supported, {scale_bits} (the scale) to 120 are"
            ));
        }
        if depth > 200 {
            return request(format!("{depth} levels are not supported, 200 are"));
        }
        let (low, high) = (options.min_log_n, options.max_log_n);
        if low > high || !LOG_N_RANGE.contains(&low) || !LOG_N_RANGE.contains(&high) {
            return request(format!("no ring degree lies between 2^{low} and 2^{high}"));
        }
        let mut short = None;
        for log_n in low..=high {
            let chain = match Chain::pick(log_n, depth, scale_bits, first_bits) {
                Ok(chain) => chain,
                Err(error) => {
                    short = Some(error);
                    continue;
                }
            };
            if let Some(params) = chain.cheapest(options) {
                params.validate()?;
                return Ok(params);
            }
        }
        if let Some(error) = short {
            return Err(error);
        }
        let chain = Chain::pick(high, depth, scale_bits, first_bits)?;
        let log_q = security::log2(&security::product(chain.q.iter().copied()));
        let allowed = security::max_log_qp(high).unwrap_or(0);
        Err(SearchError::TooDeep { depth, scale_bits, max_log_n: high, log_q, allowed })
    }
}

/// The bits of a main prime where levels are sets of mains and terminals: a little below the lazy bound, so that primes
/// on both sides of the target can be taken.
const MAIN_BITS: f64 = 29.95;
/// A main counts this many units, a terminal one less. Level sizes are whole numbers of units, so with at most
/// [`MAIN_UNITS`] - 1 terminals there is a set of any size from [`MAIN_UNITS`] * ([`MAIN_UNITS`] - 2) - 4 units on.
const MAIN_UNITS: u32 = 6;
const TERMINAL_UNITS: u32 = MAIN_UNITS - 1;

/// The ciphertext primes of a set, before digits and special primes are chosen.
struct Chain {
    log_n: u32,
    depth: u32,
    scale_bits: u32,
    q: Vec<u32>,
    levels: Vec<Basis>,
}

impl Chain {
    fn pick(log_n: u32, depth: u32, scale_bits: u32, first_bits: u32) -> Result<Self, SearchError> {
        if scale_bits <= 30 {
            Self::of_single_primes(log_n, depth, scale_bits, first_bits)
        } else {
            Self::of_mains_and_terminals(log_n, depth, scale_bits, first_bits)
        }
    }

    /// One prime a level.
    fn of_single_primes(
        log_n: u32,
        depth: u32,
        scale_bits: u32,
        first_bits: u32,
    ) -> Result<Self, SearchError> {
        let mut supply = Supply::new(log_n);
        let mut q = supply.first(first_bits)?;
        let mut levels = vec![Basis::q(0..q.len() as u32)];
        let target = f64::from(scale_bits).exp2();
        let mut scale = target;
        for _ in 0..depth {
            // S(l) = sqrt(S(l-1) * D(l)) = target. The prime may be a little off, the scale follows it.
            let prime = supply.nearest((target * target / scale).min(f64::from(MAX_MAIN)), 1.0)?;
            scale = (scale * f64::from(prime)).sqrt();
            q.push(prime);
            levels.push(Basis::q(0..q.len() as u32));
        }
        Ok(Self { log_n, depth, scale_bits, q, levels })
    }

    /// Levels of a whole number of units: `i` mains of [`MAIN_UNITS`] and `j` terminals of [`TERMINAL_UNITS`] units.
    /// Terminals come first among the primes, so that key-switching digits keep their boundaries.
    fn of_mains_and_terminals(
        log_n: u32,
        depth: u32,
        scale_bits: u32,
        first_bits: u32,
    ) -> Result<Self, SearchError> {
        let unit_limit = MAIN_BITS / f64::from(MAIN_UNITS);
        let step = (f64::from(scale_bits) / unit_limit - 0.05).ceil() as u32;
        let unit = (f64::from(scale_bits) / f64::from(step)).min(unit_limit);
        // The smallest first level of which all levels above have a set.
        let least = ((f64::from(first_bits) - 0.5) / unit).ceil() as u32;
        let first = (least..)
            .find(|first| (0..=depth).all(|level| units(first + level * step).is_some()))
            .ok_or_else(|| SearchError::Request("no set of primes has such levels".into()))?;
        let counts: Vec<(u32, u32)> = (0..=depth).filter_map(|level| units(first + level * step)).collect();
        let mains = counts.iter().map(|count| count.0).max().unwrap_or(0);
        let terminals = counts.iter().map(|count| count.1).max().unwrap_or(0);
        let mut supply = Supply::new(log_n);
        let mut q = supply.run(terminals, unit * f64::from(TERMINAL_UNITS))?;
        q.extend(supply.run(mains, unit * f64::from(MAIN_UNITS))?);
        let level = |(i, j): (u32, u32)| Basis::q(0..j).union(&Basis::q(terminals..terminals + i));
        let levels = counts.into_iter().map(level).collect();
        Ok(Self { log_n, depth, scale_bits, q, levels })
    }

    /// The cheapest digit size for which the bound holds.
    fn cheapest(&self, options: &SearchOptions) -> Option<Params> {
        let digits = match options.digit {
            Some(digit) => digit.max(1)..=digit.max(1),
            None => 1..=self.q.len() as u32,
        };
        let used: BTreeSet<u32> = self.q.iter().copied().collect();
        let specials: Vec<u32> = ntt_primes_below(MAX_PRIME, self.log_n)
            .filter(|p| !used.contains(p))
            .take(self.q.len() + 2)
            .collect();
        let candidates = digits.filter_map(|digit| {
            let largest = self
                .q
                .chunks(digit as usize)
                .map(|chunk| chunk.iter().map(|&q| f64::from(q).log2()).sum())
                .fold(0.0, f64::max);
            let mut bits = 0.0;
            let count = specials.iter().position(|&p| {
                bits += f64::from(p).log2();
                bits >= largest - options.key_noise_bits
            })?;
            let params = Params {
                log_n: self.log_n,
                q: self.q.clone(),
                p: specials[..=count].to_vec(),
                levels: self.levels.clone(),
                digit,
                scale0: 1 << self.scale_bits,
                secret: Secret::Ternary,
                bootstrap: None,
                test_only_insecure: options.test_only_insecure,
            };
            (options.test_only_insecure || params.check_security().is_ok()).then_some(params)
        });
        debug_assert_eq!(self.levels.len(), self.depth as usize + 1);
        candidates.min_by(|a, b| a.key_switch_cost().total_cmp(&b.key_switch_cost()))
    }
}

/// The primes not yet used.
struct Supply {
    log_n: u32,
    used: BTreeSet<u32>,
}

impl Supply {
    fn new(log_n: u32) -> Self {
        Self { log_n, used: BTreeSet::new() }
    }

    /// The nearest unused prime to `target`, by ratio and within `tolerance` bits.
    fn nearest(&mut self, target: f64, tolerance: f64) -> Result<u32, SearchError> {
        ntt_primes_near(target, MAX_MAIN, self.log_n)
            .take_while(|&q| (f64::from(q) / target).log2().abs() <= tolerance)
            .find(|q| !self.used.contains(q))
            .inspect(|&q| {
                self.used.insert(q);
            })
            .ok_or_else(|| self.error(target))
    }

    fn error(&self, target: f64) -> SearchError {
        SearchError::Supply { bits: target.log2(), log_2n: self.log_n + 1 }
    }

    /// The primes of level 0: as few as hold `bits` bits, the last one the smallest that completes them.
    fn first(&mut self, bits: u32) -> Result<Vec<u32>, SearchError> {
        // A prime below 2^30 counts as 30 bits if it is within a tenth of a bit.
        let needed = f64::from(bits) - 0.1;
        let count = bits.div_ceil(30);
        let each = (f64::from(bits) / f64::from(count)).exp2();
        let mut primes = vec![];
        let mut got = 0.0;
        for _ in 1..count {
            let prime = self.nearest(each, 6.0)?;
            got += f64::from(prime).log2();
            primes.push(prime);
        }
        let last = self.completing((needed - got).exp2()).or_else(|| self.largest());
        let last = last.ok_or_else(|| self.error(each))?;
        self.used.insert(last);
        primes.push(last);
        if got + f64::from(last).log2() < needed - 0.4 {
            return Err(self.error(each));
        }
        Ok(primes)
    }

    fn completing(&self, at_least: f64) -> Option<u32> {
        let step = 2u64 << self.log_n;
        let first = (at_least.max(2.0) - 1.0) / step as f64;
        (first.ceil().max(1.0) as u64..)
            .map(|k| k * step + 1)
            .take_while(|&q| q < u64::from(MAX_MAIN))
            .map(|q| q as u32)
            .find(|&q| super::primes::is_prime(q) && !self.used.contains(&q))
    }

    fn largest(&self) -> Option<u32> {
        ntt_primes_below(MAX_MAIN, self.log_n).find(|q| !self.used.contains(q))
    }

    /// `count` primes near 2^`bits`; the product of the first k is near 2^(k * `bits`) for each k.
    fn run(&mut self, count: u32, bits: f64) -> Result<Vec<u32>, SearchError> {
        let mut primes = vec![];
        let mut error = 0.0;
        for _ in 0..count {
            let prime = self.nearest((bits - error).exp2(), 0.5)?;
            error += f64::from(prime).log2() - bits;
            primes.push(prime);
        }
        Ok(primes)
    }
}

/// Mains and terminals that make up this many units.
fn units(size: u32) -> Option<(u32, u32)> {
    let terminals = (MAIN_UNITS - size % MAIN_UNITS) % MAIN_UNITS;
    let mains = size.checked_sub(terminals * TERMINAL_UNITS)? / MAIN_UNITS;
    (mains + terminals > 0).then_some((mains, terminals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::primes::is_ntt_prime;

    fn search(depth: u32, scale: u32, first: u32) -> Result<Params, SearchError> {
        Params::search(depth, scale, first, &SearchOptions::default())
    }

    #[test]
    fn finds_the_smallest_secure_ring() {
        // 36 + 30 d + 31 a bits against 214, 430, 868.
        for (depth, log_n) in [(2, 13), (4, 13), (6, 14), (10, 14), (14, 15), (25, 15)] {
            let params = search(depth, 30, 36).unwrap();
            assert_eq!(params.log_n, log_n, "depth {depth}");
            assert_eq!(params.check_structure(), Ok(()));
            assert_eq!(params.check_security(), Ok(()));
            assert_eq!(params.max_level(), depth);
            assert!(params.symbol_value(&crate::format::scale::Symbol::Q0).log2() > 35.8);
            assert!(params.q.iter().all(|&q| q < MAX_MAIN && is_ntt_prime(q, log_n)));
            if log_n > 13 {
                let fits = |log_n| {
                    let total = 36.0 + 30.0 * f64::from(depth) + 30.9;
                    total < security::max_log_qp(log_n).unwrap() as f64
                };
                assert!(!fits(log_n - 1), "a smaller ring would do for depth {depth}");
            }
        }
    }

    #[test]
    fn scales_stay_near_the_first() {
        for (depth, bits, first) in [(10, 28, 34), (20, 30, 60), (8, 25, 45), (6, 55, 60), (12, 58, 60)] {
            let params = search(depth, bits, first).unwrap();
            for scale in params.scale_table() {
                let drift = (scale.log2() - f64::from(bits)).abs();
                assert!(drift < 0.15, "drift {drift} at depth {depth}, {bits} bits");
            }
        }
    }

    #[test]
    fn levels_of_any_size_exist() {
        for bits in 31..=60u32 {
            for (log_n, depth) in [(14, 5), (15, 10), (16, 20)] {
                // Terminals below 2^24 are too few there.
                if log_n == 16 && f64::from(bits) / f64::from(bits.div_ceil(5)) < 4.8 {
                    continue;
                }
                let options = SearchOptions { min_log_n: log_n, max_log_n: 16, ..Default::default() };
                let params = Params::search(depth, bits, bits + 5, &options)
                    .unwrap_or_else(|error| panic!("{bits} bits, depth {depth}: {error}"));
                assert!(params.check_security().is_ok() && params.max_level() == depth);
                for level in 1..=depth {
                    let size = params.symbol_value(&crate::format::scale::Symbol::D(level)).log2();
                    let drift = params.scale_table()[level as usize].log2() - f64::from(bits);
                    assert!(
                        (size - f64::from(bits)).abs() < 0.8 && drift.abs() < 0.25,
                        "{size} {drift} {bits}"
                    );
                }
            }
        }
        // Levels of 40 bits restore primes, which single primes never do.
        let restoring = |params: &Params| {
            (1..=params.max_level()).any(|l| params.rescale_primes(l).is_some_and(|(_, r)| !r.is_empty()))
        };
        assert!(restoring(&search(8, 40, 45).unwrap()) && !restoring(&search(8, 30, 45).unwrap()));
    }

    #[test]
    fn special_primes_cover_each_digit() {
        for digit in 1..5 {
            let options = SearchOptions { digit: Some(digit), ..Default::default() };
            let params = Params::search(12, 30, 36, &options).unwrap();
            let special = security::product(params.p.iter().copied());
            for digits in params.digits(params.level_basis(params.max_level())) {
                assert!(security::product(params.primes(&digits)) <= special);
            }
            assert_eq!(params.digit, digit);
        }
        // Without constraint the cheapest is no dearer than any fixed one in the same ring.
        let free = search(12, 30, 36).unwrap();
        for digit in 1..5 {
            let options = SearchOptions { digit: Some(digit), ..Default::default() };
            let fixed = Params::search(12, 30, 36, &options).unwrap();
            assert!(fixed.log_n > free.log_n || free.key_switch_cost() <= fixed.key_switch_cost());
        }
    }

    #[test]
    fn says_why_there_is_none() {
        let options = SearchOptions { max_log_n: 14, ..Default::default() };
        let error = Params::search(40, 30, 36, &options).unwrap_err();
        assert!(error.to_string().contains("too deep without bootstrapping"), "{error}");
        assert!(search(4, 10, 36).unwrap_err().to_string().contains("14 to 60"));
        assert!(search(4, 30, 20).unwrap_err().to_string().contains("lowest level"));
        // 16-bit primes do not exist in number at N = 2^14.
        let options = SearchOptions { min_log_n: 14, max_log_n: 14, ..Default::default() };
        assert!(matches!(Params::search(8, 16, 20, &options), Err(SearchError::Supply { .. })));
    }

    #[test]
    fn insecure_sets_take_the_ring_asked_for() {
        let options =
            SearchOptions { min_log_n: 10, max_log_n: 10, test_only_insecure: true, ..Default::default() };
        let params = Params::search(5, 30, 36, &options).unwrap();
        assert_eq!(params.log_n, 10);
        assert!(params.test_only_insecure);
        assert_eq!(params.validate(), Ok(()));
    }
}
