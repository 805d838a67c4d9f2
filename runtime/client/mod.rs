//! The client side: encoding, encryption, keys and their files.
//!
//! A [`Context`] holds a validated parameter set with its transforms. With it:
//!
//! 1. [`SecretKey::generate`], [`PublicKey::generate`] and [`KeyGenerator::make`] make keys; a [`KeySpec`] says which
//!    switching key is meant and up to which level it is used.
//! 2. [`Context::encode`] takes slots to a plaintext polynomial at a scale, [`PublicKey::encrypt`] encrypts it.
//! 3. [`SecretKey::decrypt`] and [`Context::decode`] give the slots back to the owner of the key;
//!    [`Context::decode_for_release`] is the call for values that others will see.
//! 4. [`files`] reads and writes all of it.
//!
//! The server uses two parts of this module, none of which touches a secret: [`SwitchKey::expand_montgomery`] and
//! [`Context::encode_table`], which fill the tables a compiled program reads.
//!
//! Polynomials are in evaluation form with canonical residues, limbs in the order of their basis, unless a name says
//! otherwise.

mod context;
mod decode;
mod encode;
mod encrypt;
pub mod fft;
pub mod files;
mod keys;
pub mod ntt;
pub mod sampling;

pub use context::{Context, RnsPoly};
pub use decode::Flooding;
pub use encode::SlotValues;
pub use encrypt::Ciphertext;
pub use keys::{KeyGenerator, KeyKind, KeyPairId, KeySpec, PublicKey, SecretKey, SwitchKey};

use crate::format::params::ParamsError;

/// What can go wrong on the client, apart from files.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The parameters are unsound or insecure.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The system gives no randomness.
    #[error("the system's source of randomness failed: {0}")]
    Entropy(String),
    /// A level that the parameters do not have.
    #[error("level {level} does not exist, the highest is {max}")]
    Level {
        /// The level asked for.
        level: u32,
        /// The highest level.
        max: u32,
    },
    /// A number of slot values that is not a power of two up to the number of slots.
    #[error("{count} values cannot fill the slots: a power of two up to {slots} can")]
    SlotCount {
        /// The number given.
        count: usize,
        /// The number of slots.
        slots: usize,
    },
    /// A value that is infinite or not a number.
    #[error("value {index} is {value}, it must be finite")]
    NotFinite {
        /// The index of the value.
        index: usize,
        /// The value as text.
        value: String,
    },
    /// A scale that is not a positive number.
    #[error("the scale must be a positive finite number, it is {0}")]
    Scale(String),
    /// Values too large for the modulus.
    #[error(
        "the values need {needed:.1} bits at this scale, the modulus has {available:.1}: scale the inputs down or \
         use a larger lowest level"
    )]
    Overflow {
        /// log2 of twice the largest coefficient.
        needed: f64,
        /// log2 of the modulus.
        available: f64,
    },
    /// Primes, sizes or lengths that do not belong to the parameters.
    #[error("{0}")]
    Shape(String),
    /// A ciphertext and a key that do not belong together.
    #[error("{0}")]
    Mismatch(String),
}
