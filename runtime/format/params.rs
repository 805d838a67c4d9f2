//! Parameter sets.
//!
//! A parameter set fixes the ring degree, the primes, which primes make up each level, how key switching splits
//! them into digits, and the scale of level 0. Everything else follows: the canonical scales of the other levels
//! (`S(l) = sqrt(S(l-1) * D(l))`, from the bottom up so that errors do not grow), digits, and the security check.
//!
//! A value made by [text or words](super::text::TextParam) or the search has a sound
//! structure ([`Params::check_structure`]): distinct primes that are 1 mod 2N, and levels within the primes.
//! Security is a separate question, answered by [`Params::check_security`].

mod text;

use num_bigint::BigUint;
use sha2::{Digest, Sha256};

use super::basis::{Basis, MAX_PRIMES, Prime};
use super::primes::is_ntt_prime;
use super::scale::Symbol;
use super::security;

/// The range of log2 N.
pub const LOG_N_RANGE: std::ops::RangeInclusive<u32> = 2..=17;

/// How secret keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    /// Each coefficient uniform in {-1, 0, 1}.
    Ternary,
    /// Exactly this many coefficients are not zero.
    Sparse(u32),
}

/// What a parameter set says about bootstrapping: the scale of the modular reduction, and the ephemeral sparse secret
/// under which the modulus is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bootstrap {
    /// The level at which the modular reduction ends; its levels are above, [`Symbol::E`] is their canonical scale.
    pub level: u32,
    /// E(`level`).
    pub scale: u64,
    /// The non-zero coefficients of the sparse secret.
    pub weight: u32,
    /// The first so many special primes and level 0's are the modulus at which the key to the sparse secret lives.
    pub special: u32,
}

/// A CKKS parameter set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// log2 of the ring degree N.
    pub log_n: u32,
    /// The primes that carry ciphertexts.
    pub q: Vec<u32>,
    /// The special primes of key switching.
    pub p: Vec<u32>,
    /// The q primes of each level, lowest level first.
    pub levels: Vec<Basis>,
    /// Ciphertext primes per key-switch digit (alpha).
    pub digit: u32,
    /// S(0), the canonical scale of level 0.
    pub scale0: u64,
    /// How secret keys are drawn.
    pub secret: Secret,
    /// Present in sets that have levels for bootstrapping.
    pub bootstrap: Option<Bootstrap>,
    /// Permits sets below 128 bits of security. For tests only.
    pub test_only_insecure: bool,
}

/// What is wrong with a parameter set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// The parts do not fit together.
    #[error("parameters: {0}")]
    Structure(String),
    /// The modulus is too large for the ring.
    #[error(
        "parameters: log2(QP) is {log_qp:.1} at N = 2^{log_n}, 128 bits of security allow {allowed} \
         (use a larger ring or fewer levels)"
    )]
    Insecure {
        /// log2 of the product of all primes.
        log_qp: f64,
        /// log2 of the ring degree.
        log_n: u32,
        /// The bound of the table.
        allowed: u64,
    },
    /// The modulus of the key to the sparse secret is too large.
    #[error(
        "parameters: the key to the sparse secret of bootstrapping has a modulus of {log_qp:.1} bits, with {weight} \
         non-zero coefficients and N = 2^{log_n} 128 bits of security allow {allowed}"
    )]
    InsecureSparse {
        /// log2 of the key's modulus.
        log_qp: f64,
        /// The weight of the secret.
        weight: u32,
        /// log2 of the ring degree.
        log_n: u32,
        /// The bound.
        allowed: u64,
    },
    /// The table has no entry for this.
    #[error("parameters: no 128-bit bound is known for {0}")]
    NotInTable(String),
}

impl Params {
    /// The ring degree N.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// The number of slots, N/2.
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// The highest level.
    pub fn max_level(&self) -> u32 {
        self.levels.len().saturating_sub(1) as u32
    }

    /// The primes of a level, at most [`Params::max_level`].
    ///
    /// # Panics
    /// If the level does not exist; see [`Params::get_level`].
    pub fn level_basis(&self, level: u32) -> &Basis {
        &self.levels[level as usize]
    }

    /// The primes of a level, if it exists.
    pub fn get_level(&self, level: u32) -> Option<&Basis> {
        self.levels.get(level as usize)
    }

    /// The number of a prime of this set.
    ///
    /// # Panics
    /// If the set has no such prime; see [`Params::contains`].
    pub fn prime(&self, prime: Prime) -> u32 {
        match prime {
            Prime::Q(index) => self.q[index as usize],
            Prime::P(index) => self.p[index as usize],
        }
    }

    /// The numbers of the primes of a basis, in limb order.
    pub fn primes(&self, basis: &Basis) -> Vec<u32> {
        basis.iter().map(|prime| self.prime(prime)).collect()
    }

    /// Whether this set has all primes of `basis`.
    pub fn contains(&self, basis: &Basis) -> bool {
        let (q, p) = basis.bounds();
        q as usize <= self.q.len() && p as usize <= self.p.len()
    }

    /// All special primes.
    pub fn special_basis(&self) -> Basis {
        Basis::p(0..self.p.len() as u32)
    }

    /// Every prime.
    pub fn full_basis(&self) -> Basis {
        Basis::q(0..self.q.len() as u32).union(&self.special_basis())
    }

    /// The basis over which keys are switched at `level`: the level's primes and the special primes.
    pub fn key_basis(&self, level: u32) -> Basis {
        self.level_basis(level).union(&self.special_basis())
    }

    /// The basis of a key that can be used at `level` and all below: the primes of all these levels, which are more
    /// than those of `level` where rescales restore primes, and the special primes.
    pub fn key_span(&self, level: u32) -> Basis {
        let levels = self.levels.iter().take(level as usize + 1);
        levels.fold(self.special_basis(), |span, basis| span.union(basis))
    }

    /// The basis of the key to the sparse secret of bootstrapping: level 0's primes and a few special primes.
    pub fn sparse_key_basis(&self) -> Option<Basis> {
        let special = self.bootstrap?.special;
        Some(self.get_level(0)?.union(&Basis::p(0..special)))
    }

    /// The lowest level whose [`Params::key_span`] has all ciphertext primes of `basis`, if there is one.
    pub fn covering_level(&self, basis: &Basis) -> Option<u32> {
        let wanted = basis.q_part();
        (0..=self.max_level()).find(|&level| wanted.is_subset(&self.key_span(level)))
    }

    /// The key-switch digits of a basis: its q primes by index in chunks of [`Params::digit`]. Empty chunks are
    /// left out, so digit j of a level need not start at prime j * digit where levels skip primes.
    pub fn digits(&self, basis: &Basis) -> Vec<Basis> {
        let (end, _) = basis.bounds();
        let chunk = self.digit.max(1);
        (0..end.div_ceil(chunk))
            .map(|digit| Basis::q(digit * chunk..(digit + 1) * chunk).intersect(basis))
            .filter(|digit| !digit.is_empty())
            .collect()
    }

    /// What the rescale from `level` to `level - 1` drops, and what it restores.
    pub fn rescale_primes(&self, level: u32) -> Option<(Basis, Basis)> {
        let below = self.get_level(level.checked_sub(1)?)?;
        let from = self.get_level(level)?;
        Some((from.difference(below), below.difference(from)))
    }

    /// The number that a symbol of a scale stands for; NaN for levels that do not exist and for names. E(l) below
    /// the level that the parameters give follows from the definition, which soon leaves the range of numbers.
    pub fn symbol_value(&self, symbol: &Symbol) -> f64 {
        match symbol {
            Symbol::S(level) if *level <= self.max_level() => (1..=*level)
                .fold(self.scale0 as f64, |scale, level| scale.sqrt() * self.dropped(level).sqrt()),
            Symbol::E(level) if *level <= self.max_level() => {
                let Some(Bootstrap { level: base, scale, .. }) = self.bootstrap else { return f64::NAN };
                let up = (base + 1..=*level)
                    .fold(scale as f64, |scale, level| scale.sqrt() * self.dropped(level).sqrt());
                (level + 1..=base).rev().fold(up, |scale, level| scale / self.dropped(level) * scale)
            }
            Symbol::D(level) => self.dropped(*level),
            Symbol::Two => 2.0,
            Symbol::Q0 => self.get_level(0).map_or(f64::NAN, |basis| self.product(basis)),
            Symbol::S(_) | Symbol::E(_) | Symbol::Named(_) => f64::NAN,
        }
    }

    /// The canonical scales S(0), S(1), ... as numbers.
    pub fn scale_table(&self) -> Vec<f64> {
        (0..=self.max_level()).map(|level| self.symbol_value(&Symbol::S(level))).collect()
    }

    /// The product of all primes, special primes included.
    pub fn modulus(&self) -> BigUint {
        security::product(self.q.iter().chain(&self.p).copied())
    }

    /// log2 of the product of all primes, special primes included.
    pub fn log_qp(&self) -> f64 {
        security::log2(&self.modulus())
    }

    /// An estimate of the security in bits, for printing.
    pub fn security_bits(&self) -> f64 {
        security::estimated_bits(self.log_n, self.log_qp())
    }

    /// SHA-256 of the canonical text: what files carry to name the set they belong to.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }

    /// Checks that the parts fit together.
    pub fn check_structure(&self) -> Result<(), ParamsError> {
        let fail = |message: String| Err(ParamsError::Structure(message));
        if !LOG_N_RANGE.contains(&self.log_n) {
            return fail(format!("log_n is {}, it must be 2 to 17", self.log_n));
        }
        if self.q.is_empty() || self.q.len() + self.p.len() > MAX_PRIMES as usize {
            return fail(format!("{} primes, there must be 1 to {MAX_PRIMES}", self.q.len() + self.p.len()));
        }
        let mut primes: Vec<u32> = self.q.iter().chain(&self.p).copied().collect();
        if let Some(bad) = primes.iter().find(|&&q| !is_ntt_prime(q, self.log_n)) {
            return fail(format!("{bad} is not a prime below 2^31 that is 1 modulo 2^{}", self.log_n + 1));
        }
        primes.sort_unstable();
        if let Some(pair) = primes.windows(2).find(|pair| pair[0] == pair[1]) {
            return fail(format!("prime {} occurs twice", pair[0]));
        }
        if self.levels.is_empty() || self.levels.len() > MAX_PRIMES as usize {
            return fail(format!("{} levels, there must be 1 to {MAX_PRIMES}", self.levels.len()));
        }
        for (level, basis) in self.levels.iter().enumerate() {
            if basis.q_len() == 0 || basis.p_len() > 0 || !self.contains(basis) {
                return fail(format!("level {level} is {basis}, it must be a set of q primes"));
            }
            if level > 0 && basis.is_subset(&self.levels[level - 1]) {
                return fail(format!("level {level} drops no prime when it is rescaled"));
            }
        }
        if self.digit == 0 || self.digit > MAX_PRIMES {
            return fail(format!("digit is {}, it must be 1 to {MAX_PRIMES}", self.digit));
        }
        if self.scale0 == 0 || self.scale0 > i64::MAX as u64 {
            return fail(format!("scale is {}, it must be positive and below 2^63", self.scale0));
        }
        let weights = [
            if let Secret::Sparse(weight) = self.secret { weight } else { 1 },
            self.bootstrap.map_or(1, |bootstrap| bootstrap.weight),
        ];
        if let Some(weight) = weights.into_iter().find(|&weight| weight == 0 || weight as usize > self.n()) {
            return fail(format!("a secret of {weight} coefficients does not exist at N = 2^{}", self.log_n));
        }
        if let Some(Bootstrap { level, scale, special, .. }) = self.bootstrap {
            if level > self.max_level() {
                return fail(format!("bootstrapping uses level {level}, levels end at {}", self.max_level()));
            }
            if scale == 0 || scale > i64::MAX as u64 {
                return fail(format!("bootstrapping has scale {scale}, it must be positive and below 2^63"));
            }
            if special == 0 || special as usize > self.p.len() {
                return fail(format!("bootstrapping uses {special} of {} special primes", self.p.len()));
            }
        }
        Ok(())
    }

    /// Checks that the set has 128 bits of security by the table, ignoring [`Params::test_only_insecure`].
    pub fn check_security(&self) -> Result<(), ParamsError> {
        if let Secret::Sparse(weight) = self.secret {
            return Err(ParamsError::NotInTable(format!("secrets with {weight} non-zero coefficients")));
        }
        let Some(allowed) = security::max_log_qp(self.log_n) else {
            return Err(ParamsError::NotInTable(format!("N = 2^{}", self.log_n)));
        };
        if !security::fits(&self.modulus(), allowed) {
            return Err(ParamsError::Insecure { log_qp: self.log_qp(), log_n: self.log_n, allowed });
        }
        let (Some(bootstrap), Some(basis)) = (self.bootstrap, self.sparse_key_basis()) else { return Ok(()) };
        let Some(allowed) = security::max_log_qp_sparse(self.log_n, bootstrap.weight) else {
            let what =
                format!("secrets with {} non-zero coefficients at N = 2^{}", bootstrap.weight, self.log_n);
            return Err(ParamsError::NotInTable(what));
        };
        let modulus = security::product(self.primes(&basis));
        if security::fits(&modulus, allowed) {
            return Ok(());
        }
        Err(ParamsError::InsecureSparse {
            log_qp: security::log2(&modulus),
            weight: bootstrap.weight,
            log_n: self.log_n,
            allowed,
        })
    }

    /// Checks structure and security. A set that is marked insecure for tests passes, with a warning in the log
    /// if it is indeed below 128 bits.
    pub fn validate(&self) -> Result<(), ParamsError> {
        self.check_structure()?;
        match self.check_security() {
            Err(error) if self.test_only_insecure => {
                tracing::warn!("INSECURE parameters, for tests only: {error}");
                Ok(())
            }
            result => result,
        }
    }

    /// An insecure set for tests: level 0 has two primes, each further level one more, all below 2^30; enough
    /// special primes for digits of `digit` primes. At most what `log_n` up to 14 offers, 24 levels or so.
    pub fn toy(log_n: u32, depth: u32, digit: u32) -> Self {
        let mains = depth + 2;
        let mut below = super::primes::ntt_primes_below(1 << 30, log_n);
        let q: Vec<u32> = below.by_ref().take(mains as usize).collect();
        let p = super::primes::ntt_primes_below(1 << 31, log_n).take(digit.min(mains) as usize).collect();
        let levels = (0..=depth).map(|level| Basis::q(0..level + 2)).collect();
        Self {
            log_n,
            q,
            p,
            levels,
            digit,
            scale0: 1 << 30,
            secret: Secret::Ternary,
            bootstrap: None,
            test_only_insecure: true,
        }
    }

    fn product(&self, basis: &Basis) -> f64 {
        basis.iter().map(|prime| f64::from(self.prime(prime))).product()
    }

    fn dropped(&self, level: u32) -> f64 {
        match self.rescale_primes(level) {
            Some((dropped, restored)) => self.product(&dropped) / self.product(&restored),
            None => f64::NAN,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Five levels at N = 16; the rescale from level 3 drops two primes and restores one.
    pub fn tiny() -> Params {
        let q: Vec<u32> = crate::format::primes::ntt_primes_below(1 << 20, 4).take(7).collect();
        let p = crate::format::primes::ntt_primes_below(1 << 21, 4).take(2).collect();
        let set = |indices: &[u32]| Basis::from_primes(indices.iter().map(|&index| Prime::Q(index)));
        let levels =
            vec![set(&[0]), set(&[0, 1]), set(&[0, 1, 2]), set(&[0, 1, 3, 4]), set(&[0, 1, 3, 4, 5, 6])];
        let params = Params {
            log_n: 4,
            q,
            p,
            levels,
            digit: 2,
            scale0: 1 << 19,
            secret: Secret::Ternary,
            bootstrap: None,
            test_only_insecure: true,
        };
        params.check_structure().expect("sound");
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::text::TextParam;

    #[test]
    fn digits_and_rescales_follow_indices() {
        let params = testing::tiny();
        let digits: Vec<String> = params.digits(params.level_basis(3)).iter().map(Basis::to_string).collect();
        assert_eq!(digits, ["q[0:2]", "q[3:4]", "q[4:5]"]);
        let (dropped, restored) = params.rescale_primes(3).unwrap();
        assert_eq!((dropped.to_string(), restored.to_string()), ("q[3:5]".into(), "q[2:3]".into()));
        assert_eq!(params.rescale_primes(0), None);
        assert_eq!(params.rescale_primes(5), None);
        assert_eq!(params.key_basis(1).to_string(), "q[0:2]+p[0:2]");
        assert_eq!(params.key_basis(3).to_string(), "q[0:2]+q[3:5]+p[0:2]");
        assert_eq!(params.key_span(3).to_string(), "q[0:5]+p[0:2]");
    }

    #[test]
    fn refuses_unsound_structure() {
        let good = testing::tiny();
        let bad = |change: fn(&mut Params)| {
            let mut params = good.clone();
            change(&mut params);
            let error = params.check_structure().unwrap_err();
            assert!(Params::parse(&params.to_string()).is_err());
            error.to_string()
        };
        assert!(bad(|p| p.q[1] = p.q[0]).contains("occurs twice"));
        assert!(bad(|p| p.p[1] = p.q[0]).contains("occurs twice"));
        assert!(bad(|p| p.q[1] += 2).contains("is not a prime"));
        assert!(bad(|p| p.log_n = 18).contains("log_n is 18"));
        assert!(bad(|p| p.levels[1] = Basis::q(0..1)).contains("drops no prime"));
        assert!(bad(|p| p.levels[1] = Basis::q(0..8)).contains("level 1"));
        assert!(bad(|p| p.levels[1] = Basis::p(0..1)).contains("level 1"));
        assert!(bad(|p| p.levels.clear()).contains("0 levels"));
        assert!(bad(|p| p.digit = 0).contains("digit"));
        assert!(bad(|p| p.scale0 = 0).contains("scale"));
        assert!(bad(|p| p.secret = Secret::Sparse(17)).contains("secret"));
        let bootstrap = Bootstrap { level: 2, scale: 1 << 30, weight: 4, special: 1 };
        let bad = |bootstrap: Bootstrap| {
            let params = Params { bootstrap: Some(bootstrap), ..good.clone() };
            let error = params.check_structure().unwrap_err();
            assert!(Params::parse(&params.to_string()).is_err());
            error.to_string()
        };
        assert!(bad(Bootstrap { level: 5, ..bootstrap }).contains("level 5"));
        assert!(bad(Bootstrap { scale: 0, ..bootstrap }).contains("scale"));
        assert!(bad(Bootstrap { weight: 17, ..bootstrap }).contains("secret"));
        assert!(bad(Bootstrap { special: 3, ..bootstrap }).contains("3 of 2"));
    }

    #[test]
    fn security_counts_special_primes() {
        let mut params = Params::toy(13, 4, 1);
        params.test_only_insecure = false;
        // Six primes below 2^30 and one below 2^31: 210.99 bits of 214.
        assert_eq!(params.validate(), Ok(()));
        params.p = crate::format::primes::ntt_primes_below(1 << 31, 13).take(2).collect();
        assert!(matches!(params.validate(), Err(ParamsError::Insecure { allowed: 214, log_n: 13, .. })));
        params.test_only_insecure = true;
        assert_eq!(params.validate(), Ok(()));
        assert!(matches!(testing::tiny().check_security(), Err(ParamsError::NotInTable(_))));
        params.p.clear();
        params.secret = Secret::Sparse(64);
        assert!(matches!(params.check_security(), Err(ParamsError::NotInTable(_))));
    }

    #[test]
    fn reduction_scales_follow_their_definition_both_ways() {
        let bootstrap = Some(Bootstrap { level: 3, scale: 1 << 30, weight: 4, special: 1 });
        let params = Params { bootstrap, ..testing::tiny() };
        assert_eq!(params.symbol_value(&Symbol::E(3)), (1u64 << 30) as f64);
        for level in 1..=4 {
            let [upper, lower] = [level, level - 1].map(|l| params.symbol_value(&Symbol::E(l)));
            let ratio = upper * upper / (lower * params.symbol_value(&Symbol::D(level)));
            assert!((ratio - 1.0).abs() < 1e-12, "level {level}: {ratio}");
        }
        assert!(params.symbol_value(&Symbol::E(5)).is_nan());
        assert!(testing::tiny().symbol_value(&Symbol::E(3)).is_nan());
    }

    #[test]
    fn the_sparse_secret_has_a_bound_of_its_own() {
        let q = crate::format::primes::ntt_primes_below(1 << 25, 16).take(2).collect();
        let p = crate::format::primes::ntt_primes_below(1 << 31, 16).take(4).collect();
        let bootstrap = Some(Bootstrap { level: 0, scale: 1 << 58, weight: 32, special: 2 });
        let toy = Params::toy(8, 0, 1);
        let levels = vec![Basis::q(0..2)];
        let params = Params { log_n: 16, q, p, levels, bootstrap, test_only_insecure: false, ..toy };
        // 2 x 25 + 2 x 31 bits of 121.
        assert_eq!(params.validate(), Ok(()));
        let with = |change: fn(&mut Bootstrap)| {
            let mut params = params.clone();
            params.bootstrap.iter_mut().for_each(change);
            params.check_security()
        };
        let error = with(|b| b.special = 3).unwrap_err();
        assert!(matches!(error, ParamsError::InsecureSparse { weight: 32, allowed: 121, .. }), "{error}");
        assert!(matches!(with(|b| b.weight = 31), Err(ParamsError::NotInTable(_))));
    }

    #[test]
    fn hash_depends_on_every_field() {
        let params = testing::tiny();
        let mut other = params.clone();
        other.scale0 += 1;
        assert_ne!(params.hash(), other.hash());
        assert_eq!(params.hash(), Params::parse(&params.to_string()).unwrap().hash());
    }
}
