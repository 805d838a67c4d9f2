//! A parameter set made ready for use: transforms, and polynomials over its primes.
//!
//! A [`Context`] exists only for parameters that pass [`Params::validate`]; the rest of the client relies on their
//! structure. Transforms are made when first needed, for each size, since slots of period p need size 2p.

use std::sync::OnceLock;

use super::ClientError;
use super::fft::Embedding;
use super::ntt::NttTable;
use crate::format::basis::{Basis, Prime};
use crate::format::params::Params;

/// A validated parameter set with its transforms.
pub struct Context {
    params: Params,
    /// By log2 of the size, then by prime: q primes, then p primes.
    ntt: Vec<Vec<OnceLock<NttTable>>>,
    /// By log2 of the number of slots.
    embedding: Vec<OnceLock<Embedding>>,
}

impl Context {
    /// Checks the parameters. Sets below 128 bits of security are refused unless they are marked for tests.
    pub fn new(params: Params) -> Result<Self, ClientError> {
        params.validate()?;
        let primes = params.q.len() + params.p.len();
        let sizes = params.log_n as usize + 1;
        let ntt = (0..sizes).map(|_| (0..primes).map(|_| OnceLock::new()).collect()).collect();
        let embedding = (0..sizes).map(|_| OnceLock::new()).collect();
        Ok(Self { params, ntt, embedding })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The ring degree N.
    pub fn n(&self) -> usize {
        self.params.n()
    }

    /// The primes of a level.
    pub fn level(&self, level: u32) -> Result<&Basis, ClientError> {
        self.params.get_level(level).ok_or(ClientError::Level { level, max: self.params.max_level() })
    }

    /// The transform of size N modulo a prime of the parameters.
    pub fn ntt(&self, prime: Prime) -> &NttTable {
        self.ntt_of_size(prime, self.params.log_n)
    }

    /// The transform of size 2^`log_size`, at most N. Its root is the power of the full one's that has the right order.
    pub fn ntt_of_size(&self, prime: Prime, log_size: u32) -> &NttTable {
        let index = match prime {
            Prime::Q(index) => index as usize,
            Prime::P(index) => self.params.q.len() + index as usize,
        };
        self.ntt[log_size as usize][index].get_or_init(|| NttTable::new(self.params.prime(prime), log_size))
    }

    /// The canonical embedding for 2^`log_slots` slots, at most N/2.
    pub fn embedding(&self, log_slots: u32) -> &Embedding {
        self.embedding[log_slots as usize].get_or_init(|| Embedding::new(log_slots))
    }

    /// Fails unless every prime of `basis` belongs to the parameters.
    pub(super) fn check_basis(&self, basis: &Basis) -> Result<(), ClientError> {
        if basis.is_empty() || !self.params.contains(basis) {
            return Err(ClientError::Shape(format!("the parameters have no basis {basis}")));
        }
        Ok(())
    }
}

/// A polynomial in evaluation form over a basis: N canonical residues a limb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RnsPoly {
    /// The primes of the limbs.
    pub basis: Basis,
    /// `[limb][N]`.
    pub words: Vec<u32>,
}

impl RnsPoly {
    /// The polynomial zero.
    pub fn zero(context: &Context, basis: Basis) -> Self {
        let words = vec![0; basis.len() * context.n()];
        Self { basis, words }
    }

    /// The limb modulo a prime of the basis.
    pub fn limb(&self, prime: Prime) -> Option<&[u32]> {
        let n = self.words.len() / self.basis.len().max(1);
        self.basis.position(prime).map(|limb| &self.words[limb * n..(limb + 1) * n])
    }

    /// Fails unless the basis belongs to the parameters, the length is right and residues are canonical.
    pub fn check(&self, context: &Context) -> Result<(), ClientError> {
        context.check_basis(&self.basis)?;
        check_residues(context, &self.basis, &self.words)
    }
}

/// Fails unless `words` are canonical residues `[limb][N]` over `basis`.
pub(super) fn check_residues(context: &Context, basis: &Basis, words: &[u32]) -> Result<(), ClientError> {
    let n = context.n();
    if words.len() != basis.len() * n {
        return Err(ClientError::Shape(format!(
            "a polynomial over {basis} has {} words, {} were given",
            basis.len() * n,
            words.len()
        )));
    }
    for (prime, limb) in basis.iter().zip(words.chunks_exact(n)) {
        let q = context.params.prime(prime);
        // The maximum first: the common case is one vectorised pass.
        if limb.iter().copied().fold(0, u32::max) >= q {
            return Err(ClientError::Shape(format!("a residue modulo {prime} = {q} is not below it")));
        }
    }
    Ok(())
}

/// Small signed coefficients to values modulo a prime.
pub(super) fn small_to_limb(context: &Context, coefficients: &[i8], prime: Prime, out: &mut [u32]) {
    let q = context.params.prime(prime);
    for (word, &coefficient) in out.iter_mut().zip(coefficients) {
        // Without a branch on the (secret) sign.
        let coefficient = i32::from(coefficient);
        *word = (coefficient as u32).wrapping_add(q & (coefficient >> 31) as u32);
    }
    context.ntt(prime).forward(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_parameters_need_the_flag() {
        let mut params = Params::toy(6, 1, 1);
        assert!(Context::new(params.clone()).is_ok());
        params.test_only_insecure = false;
        assert!(matches!(Context::new(params), Err(ClientError::Params(_))));
    }

    #[test]
    fn checks_residues() {
        let context = Context::new(Params::toy(6, 1, 1)).unwrap();
        let mut poly = RnsPoly::zero(&context, Basis::q(0..2));
        assert_eq!(poly.check(&context), Ok(()));
        poly.words[64] = context.params().q[1];
        assert!(poly.check(&context).is_err());
        poly.words[64] -= 1;
        assert_eq!(poly.check(&context), Ok(()));
        poly.words.pop();
        assert!(poly.check(&context).is_err());
        assert!(RnsPoly { basis: Basis::q(0..9), words: vec![] }.check(&context).is_err());
    }
}
