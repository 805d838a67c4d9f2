//! The parameter sets among which a program with bootstraps has the choice.

use super::cost::Costs;
use ceria_dialects::ckks::bootstrap::SLOTS_TO_COEFFICIENTS_FIRST;
use ceria_runtime::format::{
    bootstrap::BootstrapOptions,
    params::{LOG_N_RANGE, Params},
    search::SearchError,
};
use std::ops::RangeInclusive;

/// The message levels that sets without a bound by security have at most.
const MOST_INSECURE: u32 = 13;
/// The message levels that any set has at most.
const MOST: u32 = 60;
/// The digits of key switching at the highest level that are tried. More take fewer special primes and leave room for a few
/// levels more, but the keys of a bootstrap grow with them: at N = 2^16 four are nearly 4 GiB.
const DIGITS: RangeInclusive<u32> = 1..=4;

/// The sets of one ring, those with fewer levels first, or why there is none.
pub struct Ring {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// The sets, each with the digits by which a bootstrap costs least.
    pub sets: Result<Vec<Params>, String>,
}

/// The sets of each ring with up to `most` message levels.
pub fn rings(log_n: RangeInclusive<u32>, most: Option<u32>, insecure: bool) -> Vec<Ring> {
    let limit = if insecure { MOST_INSECURE } else { MOST };
    let most = most.unwrap_or(limit).clamp(1, limit);
    let known = log_n.filter(|log_n| LOG_N_RANGE.contains(log_n));
    known.map(|log_n| Ring { log_n, sets: sets(log_n, most, insecure) }).collect()
}

/// The smallest of some rings that has a set at all.
pub fn smallest(mut log_n: RangeInclusive<u32>) -> Option<u32> {
    log_n.find(|log_n| cheapest(*log_n, 1, false).is_ok())
}

fn sets(log_n: u32, most: u32, insecure: bool) -> Result<Vec<Params>, String> {
    let mut found = Vec::new();
    for levels in 1..=most {
        match cheapest(log_n, levels, insecure) {
            Ok(params) => found.push(params),
            // More levels take more primes still.
            Err(error) if found.is_empty() => return Err(error.to_string()),
            Err(_) => break,
        }
    }
    Ok(found)
}

/// The set with these message levels whose digits make a bootstrap cheapest.
fn cheapest(log_n: u32, levels: u32, insecure: bool) -> Result<Params, SearchError> {
    let options = BootstrapOptions { test_only_insecure: insecure, ..BootstrapOptions::new(log_n, levels) };
    let primes = options.primes()?;
    let mut best: Option<(f64, Params)> = None;
    let mut failure = None;
    for digits in DIGITS {
        let digit = primes.div_ceil(digits);
        match Params::bootstrapping(&BootstrapOptions { digit, ..options }) {
            Ok(params) => {
                let cost = Costs::new(&params).of(SLOTS_TO_COEFFICIENTS_FIRST, log_n - 1, 1);
                let cost = cost.unwrap_or(f64::INFINITY);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, params));
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    let none = || failure.unwrap_or_else(|| SearchError::Request("there are no digits".into()));
    best.map(|(_, params)| params).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_refused_for_a_reason() {
        assert_eq!(smallest(15..=17), Some(16));
        let found = rings(15..=16, None, false);
        let [small, large] = &found[..] else { panic!("{} rings", found.len()) };
        assert!(small.sets.as_ref().is_err_and(|reason| reason.contains("868")), "{:?}", small.sets);
        let sets = large.sets.as_ref().unwrap();
        assert_eq!(sets.len(), 13);
        // Fewer levels leave room for fewer digits.
        assert!(sets.iter().all(|params| params.check_security() == Ok(())));
        let digits = |params: &Params| params.digits(params.level_basis(params.max_level())).len();
        assert!(digits(&sets[0]) < digits(&sets[12]));
    }

    #[test]
    fn the_largest_ring_has_secure_sets() {
        let found = rings(17..=17, None, false);
        let sets = found[0].sets.as_ref().unwrap();
        assert!(sets.len() > 30, "{}", sets.len());
        for params in sets {
            assert_eq!((params.check_structure(), params.check_security()), (Ok(()), Ok(())));
            assert!(params.log_qp() <= 3523.0);
            assert!(params.q.iter().chain(&params.p).all(|q| q % (1 << 18) == 1));
        }
    }
}
