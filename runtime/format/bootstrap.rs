//! Parameter sets with room for bootstrapping.
//!
//! From the bottom: level 0, message levels, levels for slots-to-coefficients (together the message chain, about 40 bits
//! each), the modular reduction (pairs of primes, 54 to 60 bits), and coefficients-to-slots at the top. The message
//! chain is made of main primes near 2^30 and four terminal primes near 2^25, stored first: a level of 40 bits adds three
//! mains and takes two terminals away, or the other way round four and two, so that a word holds 30 bits and not 20.
//!
//! After: `check_structure` and (unless toy sizes were asked for) `check_security` hold; the primes of every level are
//! primes of the top level; S(l) of the message chain is within a tenth of a bit of S(0).

use std::collections::BTreeSet;

use super::basis::Basis;
use super::params::{Bootstrap, Params, Secret};
use super::primes::{MAX_PRIME, ntt_primes_below, ntt_primes_near};
use super::search::{MAX_MAIN, SearchError};

/// log2 of the canonical scale of messages.
const MESSAGE_BITS: u32 = 40;
/// Terminal primes.
const TERMINALS: u32 = 4;
/// The depth of the modular reduction.
pub const REDUCTION_DEPTH: u32 = 8;

/// What a set with bootstrapping has to offer.
#[derive(Clone, Copy, Debug)]
pub struct BootstrapOptions {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// The level of a bootstrap's result.
    pub message_levels: u32,
    /// The factors of the transform from slots to coefficients, a level each.
    pub stc_levels: u32,
    /// The factors of the transform from coefficients to slots, a level each.
    pub cts_levels: u32,
    /// log2 of the scale of the modular reduction.
    pub reduction_bits: u32,
    /// The bits of the highest levels.
    pub top_bits: u32,
    /// Ciphertext primes per key-switch digit.
    pub digit: u32,
    /// Permits any size, with a warning. For tests only.
    pub test_only_insecure: bool,
}

impl BootstrapOptions {
    /// The usual choice at a ring degree: three and four factors (fewer where there are fewer butterfly stages), 60 bits.
    pub fn new(log_n: u32, message_levels: u32) -> Self {
        let stages = log_n.saturating_sub(1);
        Self {
            log_n,
            message_levels,
            stc_levels: stages.min(3),
            cts_levels: stages.min(4),
            reduction_bits: 60,
            top_bits: 52,
            digit: 12,
            test_only_insecure: false,
        }
    }

    /// The same, any size permitted.
    pub fn insecure(self) -> Self {
        Self { test_only_insecure: true, ..self }
    }
}

/// How many primes of each kind a level has.
#[derive(Clone, Copy)]
struct Counts {
    terminals: u32,
    mains: u32,
    reduction: u32,
}

impl Counts {
    /// One message level more.
    fn raised(self) -> Self {
        if self.terminals >= 2 {
            Self { terminals: self.terminals - 2, mains: self.mains + 3, ..self }
        } else {
            Self { terminals: self.terminals + 4, mains: self.mains - 2, ..self }
        }
    }
}

/// The levels of a set, before primes are chosen.
struct Ladder {
    levels: Vec<Counts>,
    /// The level at which the modular reduction ends.
    base: u32,
    /// The main primes of the message chain.
    message_mains: u32,
}

impl Ladder {
    fn new(options: &BootstrapOptions) -> Result<Self, SearchError> {
        let BootstrapOptions { log_n, message_levels, stc_levels, cts_levels, .. } = *options;
        if !(4..=17).contains(&log_n) {
            return Err(SearchError::Request(format!("bootstrapping at N = 2^{log_n} is not supported")));
        }
        if !(48..=60).contains(&options.top_bits) {
            let bits = options.top_bits;
            return Err(SearchError::Request(format!("highest levels of {bits} bits are not supported")));
        }
        if !(54..=60).contains(&options.reduction_bits) {
            let bits = options.reduction_bits;
            return Err(SearchError::Request(format!("a modular reduction of {bits} bits is not supported")));
        }
        if !(1..=60).contains(&message_levels) || stc_levels == 0 || stc_levels > 8 {
            let what = format!("{message_levels} message levels and {stc_levels} factors are not supported");
            return Err(SearchError::Request(what));
        }
        let mut levels = vec![Counts { terminals: 2, mains: 0, reduction: 0 }];
        let extend = |levels: &mut Vec<Counts>, next: Counts| levels.push(next);
        for _ in 0..message_levels + stc_levels {
            let next = levels[levels.len() - 1].raised();
            extend(&mut levels, next);
        }
        let base = levels.len() as u32 - 1;
        let message_mains = levels.iter().map(|counts| counts.mains).max().unwrap_or(0);
        for _ in 0..REDUCTION_DEPTH {
            let last = levels[levels.len() - 1];
            extend(&mut levels, Counts { reduction: last.reduction + 2, ..last });
        }
        for _ in 0..cts_levels {
            let last = levels[levels.len() - 1];
            let next = if last.terminals < TERMINALS {
                Counts { terminals: last.terminals + 2, ..last }
            } else {
                Counts { mains: last.mains + 2, ..last }
            };
            extend(&mut levels, next);
        }
        let top = levels[levels.len() - 1];
        if top.terminals < TERMINALS || top.mains < message_mains {
            let what =
                format!("{cts_levels} factors at the top are too few for all primes of the levels below");
            return Err(SearchError::Request(what));
        }
        Ok(Self { levels, base, message_mains })
    }
}

impl BootstrapOptions {
    /// The number of ciphertext primes.
    pub fn primes(&self) -> Result<u32, SearchError> {
        let Ladder { levels, .. } = Ladder::new(self)?;
        Ok(levels.last().map_or(0, |top| top.terminals + top.mains + top.reduction))
    }
}

impl Params {
    /// The set with these levels.
    pub fn bootstrapping(options: &BootstrapOptions) -> Result<Params, SearchError> {
        let Ladder { levels, base, message_mains } = Ladder::new(options)?;
        let log_n = options.log_n;
        let top = levels[levels.len() - 1];
        let short = |bits: f64| move || SearchError::Supply { bits, log_2n: log_n + 1 };
        let mut used: BTreeSet<u32> = BTreeSet::new();
        let mut take = |primes: &mut dyn Iterator<Item = u32>, count: u32, bits: f64| {
            let found: Vec<u32> = primes.filter(|q| !used.contains(q)).take(count as usize).collect();
            used.extend(&found);
            if found.len() == count as usize { Ok(found) } else { Err(short(bits)()) }
        };
        let mains = take(&mut ntt_primes_below(MAX_MAIN, log_n), message_mains, 30.0)?;
        // 3 M - 2 T = 4 T - 2 M.
        let mean = mains.iter().map(|&q| f64::from(q).log2()).sum::<f64>() / f64::from(message_mains.max(1));
        let target = mean * 5.0 / 6.0;
        let terminals = take(&mut ntt_primes_near(target.exp2(), MAX_MAIN, log_n), TERMINALS, target)?;
        let half = f64::from(options.reduction_bits) / 2.0;
        let reduction = take(&mut ntt_primes_near(half.exp2(), MAX_MAIN, log_n), top.reduction, half)?;
        let half = f64::from(options.top_bits) / 2.0;
        let more = top.mains - message_mains;
        let highest = take(&mut ntt_primes_near(half.exp2(), MAX_MAIN, log_n), more, half)?;
        let q = [terminals, mains, reduction, highest].concat();
        let basis = |counts: &Counts| {
            let message = counts.mains.min(message_mains);
            let start = TERMINALS + message_mains;
            let end = start + top.reduction;
            Basis::q(0..counts.terminals)
                .union(&Basis::q(TERMINALS..TERMINALS + message))
                .union(&Basis::q(start..start + counts.reduction))
                .union(&Basis::q(end..end + counts.mains - message))
        };
        let digit = options.digit.max(1);
        let largest = q
            .chunks(digit as usize)
            .map(|chunk| chunk.iter().map(|&q| f64::from(q).log2()).sum())
            .fold(0.0, f64::max);
        let mut bits = 0.0;
        let mut p = vec![];
        for prime in ntt_primes_below(MAX_PRIME, log_n).filter(|p| !used.contains(p)) {
            bits += f64::from(prime).log2();
            p.push(prime);
            // Two for the sparse secret's key.
            if bits >= largest && p.len() >= 2 {
                break;
            }
        }
        if bits < largest {
            return Err(short(31.0)());
        }
        let params = Params {
            log_n,
            q,
            p,
            levels: levels.iter().map(basis).collect(),
            digit,
            scale0: 1 << MESSAGE_BITS,
            secret: Secret::Ternary,
            bootstrap: Some(Bootstrap {
                level: base,
                scale: 1 << options.reduction_bits,
                weight: 32.min(1 << log_n),
                special: 2,
            }),
            test_only_insecure: options.test_only_insecure,
        };
        params.validate()?;
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::scale::Symbol;

    fn check(params: &Params, message_chain: u32) {
        assert_eq!(params.check_structure(), Ok(()));
        let top = params.level_basis(params.max_level());
        let bits = |level| params.symbol_value(&Symbol::D(level)).log2();
        for level in 0..=params.max_level() {
            assert!(params.level_basis(level).is_subset(top), "level {level}");
            if level <= message_chain {
                let drift = params.symbol_value(&Symbol::S(level)).log2() - 40.0;
                assert!(drift.abs() < 0.1, "S({level}) is off by {drift} bits");
            }
        }
        for level in message_chain + 1..=message_chain + REDUCTION_DEPTH {
            assert!((bits(level) - 60.0).abs() < 0.3, "D({level})");
            assert!((params.symbol_value(&Symbol::E(level)).log2() - 60.0).abs() < 0.3, "E({level})");
        }
        for level in message_chain + REDUCTION_DEPTH + 1..=params.max_level() {
            assert!((49.0..60.1).contains(&bits(level)), "D({level}) = 2^{}", bits(level));
        }
    }

    #[test]
    fn the_large_set_is_secure() {
        let params = Params::bootstrapping(&BootstrapOptions::new(16, 13)).unwrap();
        check(&params, 16);
        assert_eq!(params.check_security(), Ok(()));
        assert!(params.log_qp() <= 1747.0, "{}", params.log_qp());
        assert_eq!((params.q.len(), params.p.len(), params.max_level()), (47, 12, 28));
        assert_eq!(params.digits(params.level_basis(28)).len(), 4);
        assert!(params.q.iter().all(|&q| q < MAX_MAIN));
    }

    #[test]
    fn small_sets_have_the_same_structure() {
        for log_n in 5..=10 {
            for message_levels in 1..=6 {
                let options = BootstrapOptions::new(log_n, message_levels).insecure();
                let params = Params::bootstrapping(&options).unwrap();
                check(&params, message_levels + options.stc_levels);
            }
        }
    }

    #[test]
    fn says_what_does_not_exist() {
        let error = |options: BootstrapOptions| Params::bootstrapping(&options).unwrap_err().to_string();
        let options = BootstrapOptions::new(16, 13);
        assert!(error(BootstrapOptions { message_levels: 16, ..options }).contains("1747"));
        assert!(error(BootstrapOptions { reduction_bits: 70, ..options }).contains("70 bits"));
        assert!(error(BootstrapOptions { cts_levels: 1, ..options }).contains("too few"));
        assert!(error(BootstrapOptions { log_n: 3, ..options }).contains("2^3"));
    }
}
