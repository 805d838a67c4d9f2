//! The client's files: `secret.key`, `public.key`, `eval.keys` and ciphertexts.
//!
//! All are one container (see [`container`]): a header with version, kind, total length and [`Origin`] (the
//! parameters, the model's plan and the key pair a file belongs to), a body, and a SHA-256 checksum over all of it.
//! Numbers are little-endian.
//!
//! What a reader has checked when it returns: the checksum; that the file belongs to the parameters and plan
//! given, and, where a key pair is given, to it; every length against the size of the file before memory is
//! allocated; every residue to be canonical. Writers write a temporary file in the same folder and rename it,
//! so no half-written file is left under the name asked for. The secret key's file is readable by its owner only, from the
//! moment it exists.
//!
//! Bodies:
//!
//! | kind | body |
//! |---|---|
//! | secret key | N bytes, coefficient + 1 |
//! | public key | seed (32 bytes), `[limb][N]` words |
//! | evaluation keys | count; each: kind (0 relinearise, 1 Galois, 2 to the sparse secret, 3 from it), Galois element, level, digits, `[digit]` seeds, `[digit][limb][N]` words |
//! | ciphertexts | count; each: name, count of parts; each: level, scale (text), components, `[component][limb][N]` words |
//!
//! Counts are 32 bits, texts a 32-bit length and UTF-8.

mod container;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use zeroize::Zeroizing;

use self::container::{Body, FileKind, Writer};
pub use self::words::Words;
use super::context::{Context, check_residues};
use super::keys::{KeyGenerator, KeyKind, KeyPairId, KeySpec, PublicKey, SecretKey, SwitchKey};
use super::{Ciphertext, ClientError};
use crate::format::params::Secret;
use crate::format::scale::Scale;
use crate::format::text::TextParam;

pub use self::container::{FileError, Hash, Origin, Problem};

/// The most components of a ciphertext in a file.
const MAX_COMPONENTS: u32 = 16;
/// The longest name of a ciphertext.
const MAX_NAME: usize = 4096;
/// The longest text of a scale.
const MAX_SCALE: usize = 65536;

/// The parameters and the plan that files must belong to.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// The parameters.
    pub context: &'a Context,
    /// The hash of the model's plan (its manifest).
    pub plan: Hash,
}

impl<'a> Model<'a> {
    /// The model with these parameters and this plan.
    pub fn new(context: &'a Context, plan: Hash) -> Self {
        Self { context, plan }
    }

    fn origin(&self, key_pair: KeyPairId) -> Origin {
        Origin { params: self.context.params().hash(), plan: self.plan, key_pair }
    }

    fn open(&self, path: &Path, kind: FileKind, key_pair: Option<KeyPairId>) -> Result<Body, FileError> {
        let body = Body::open(path, kind)?;
        let origin = body.origin();
        if origin.plan != self.plan {
            return Err(body.error(Problem::OtherModel));
        }
        if origin.params != self.context.params().hash() {
            return Err(body.error(Problem::OtherParams));
        }
        if key_pair.is_some_and(|id| id != origin.key_pair) {
            return Err(body.error(Problem::OtherClient));
        }
        Ok(body)
    }
}

/// Writes a secret key, readable by its owner only. An existing file is replaced.
pub fn write_secret_key(path: &Path, model: Model<'_>, key: &SecretKey) -> Result<(), FileError> {
    let length = key.coefficients.len() as u64;
    let mut writer = Writer::create(path, FileKind::SecretKey, &model.origin(key.id), length)?;
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(key.coefficients.iter().map(|&c| (c + 1) as u8).collect());
    writer.bytes(&bytes)?;
    writer.finish()
}

/// Reads a secret key.
pub fn read_secret_key(path: &Path, model: Model<'_>) -> Result<SecretKey, FileError> {
    let mut body = model.open(path, FileKind::SecretKey, None)?;
    let params = model.context.params();
    let mut bytes = Zeroizing::new(vec![0; body.check_length(params.n() as u64)?]);
    body.bytes(&mut bytes)?;
    if bytes.iter().any(|&byte| byte > 2) {
        return Err(body.contents("a coefficient is not -1, 0 or 1"));
    }
    let weight = bytes.iter().filter(|&&byte| byte != 1).count();
    if matches!(params.secret, Secret::Sparse(expected) if expected as usize != weight) {
        return Err(body.contents("it does not have the number of non-zero coefficients the parameters say"));
    }
    let coefficients = Zeroizing::new(bytes.iter().map(|&byte| byte as i8 - 1).collect());
    let id = body.origin().key_pair;
    body.finish()?;
    Ok(SecretKey { coefficients, id })
}

/// Writes a public key.
pub fn write_public_key(path: &Path, model: Model<'_>, key: &PublicKey) -> Result<(), FileError> {
    let length = 32 + 4 * key.b.len() as u64;
    let mut writer = Writer::create(path, FileKind::PublicKey, &model.origin(key.id), length)?;
    writer.bytes(&key.seed)?;
    writer.words(&key.b)?;
    writer.finish()
}

/// Reads a public key, of the key pair given if there is one.
pub fn read_public_key(
    path: &Path,
    model: Model<'_>,
    key_pair: Option<KeyPairId>,
) -> Result<PublicKey, FileError> {
    let mut body = model.open(path, FileKind::PublicKey, key_pair)?;
    let basis = PublicKey::basis(model.context.params());
    let mut seed = [0; 32];
    body.bytes(&mut seed)?;
    let b = body.words(basis.len() * model.context.n())?;
    check_residues(model.context, &basis, &b).map_err(|error| body.contents(error))?;
    let id = body.origin().key_pair;
    body.finish()?;
    Ok(PublicKey { basis, b, seed, id })
}

/// The evaluation keys of a client: what a server needs and may see.
pub struct EvalKeys {
    /// The key pair they belong to.
    pub key_pair: KeyPairId,
    /// The switching keys, each of another [`KeySpec`].
    pub keys: Vec<SwitchKey>,
    /// The checksum of the file that they are from, which tells them from all others.
    pub digest: Option<Hash>,
}

impl EvalKeys {
    /// The key that `spec` names.
    pub fn get(&self, spec: KeySpec) -> Option<&SwitchKey> {
        self.keys.iter().find(|key| key.spec() == spec)
    }
}

/// What can go wrong while evaluation keys are made and written.
#[derive(Debug, thiserror::Error)]
pub enum WriteKeysError {
    /// A key cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the switching keys that `specs` name and writes them, one key in memory at a time. `progress` is called with
/// the number of keys written so far. Keys named twice are written once.
pub fn write_eval_keys(
    path: &Path,
    model: Model<'_>,
    secret: &SecretKey,
    specs: &[KeySpec],
    progress: &mut dyn FnMut(usize),
) -> Result<(), WriteKeysError> {
    let specs: BTreeSet<KeySpec> = specs.iter().copied().collect();
    let mut length = 4;
    for spec in &specs {
        spec.basis(model.context.params())?;
        length += eval_key_bytes(model.context, *spec);
    }
    let mut writer = Writer::create(path, FileKind::EvalKeys, &model.origin(secret.id), length)?;
    writer.u32(specs.len() as u32)?;
    let mut generator = KeyGenerator::new(model.context, secret);
    for (done, spec) in specs.into_iter().enumerate() {
        progress(done);
        let key = generator.make(spec)?;
        let (kind, galois) = match spec.kind {
            KeyKind::Relinearize => (0, 0),
            KeyKind::Galois(galois) => (1, galois),
            KeyKind::ToSparse => (2, 0),
            KeyKind::FromSparse => (3, 0),
        };
        for word in [kind, galois, spec.level, key.seeds.len() as u32] {
            writer.u32(word)?;
        }
        key.seeds.iter().try_for_each(|seed| writer.bytes(seed))?;
        writer.words(&key.b)?;
        progress(done + 1);
    }
    Ok(writer.finish()?)
}

/// The bytes that a switching key takes in a file.
pub fn eval_key_bytes(context: &Context, spec: KeySpec) -> u64 {
    let params = context.params();
    let Ok(basis) = spec.basis(params) else { return 0 };
    let digits = params.digits(&basis).len() as u64;
    16 + 32 * digits + 2 * SwitchKey::expanded_len(params, &basis) as u64
}

/// Reads evaluation keys, of the key pair given if there is one. Their words stay in the file, which is mapped.
pub fn read_eval_keys(
    path: &Path,
    model: Model<'_>,
    key_pair: Option<KeyPairId>,
) -> Result<EvalKeys, FileError> {
    let context = model.context;
    let params = context.params();
    let mut body = model.open(path, FileKind::EvalKeys, key_pair)?;
    let count = body.u32()?;
    let mut keys: Vec<SwitchKey> = vec![];
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        let (kind, galois, level, digits) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        let kind = match (kind, galois) {
            (0, 0) => KeyKind::Relinearize,
            (1, galois) => KeyKind::Galois(galois),
            (2, 0) => KeyKind::ToSparse,
            (3, 0) => KeyKind::FromSparse,
            _ => return Err(body.contents(format!("there is no key kind {kind} with element {galois}"))),
        };
        let spec = KeySpec { kind, level };
        let basis = spec.basis(params).map_err(|error| body.contents(error))?;
        let expected = params.digits(&basis).len();
        if digits as usize != expected {
            return Err(body.contents(format!("a key of level {level} has {digits} digits, not {expected}")));
        }
        if !seen.insert(spec) {
            return Err(body.contents(format!("key {spec:?} occurs twice")));
        }
        let mut seeds = vec![[0; 32]; expected];
        seeds.iter_mut().try_for_each(|seed| body.bytes(seed))?;
        let digit_words = basis.len() * context.n();
        let b = body.mapped_words(expected * digit_words)?;
        for words in b.chunks_exact(digit_words) {
            check_residues(context, &basis, words).map_err(|error| body.contents(error))?;
        }
        keys.push(SwitchKey { spec, seeds, b });
    }
    let (key_pair, digest) = (body.origin().key_pair, Some(body.checksum()));
    body.finish()?;
    Ok(EvalKeys { key_pair, keys, digest })
}

/// Encrypted tensors by name, each of one or more ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertexts {
    /// The key pair they are encrypted under.
    pub key_pair: KeyPairId,
    /// The tensors, in order, each name once.
    pub tensors: Vec<(String, Vec<Ciphertext>)>,
}

impl Ciphertexts {
    /// The ciphertexts of a tensor.
    pub fn get(&self, name: &str) -> Option<&[Ciphertext]> {
        self.tensors.iter().find(|(other, _)| other == name).map(|(_, parts)| &parts[..])
    }
}

/// Writes ciphertexts.
pub fn write_ciphertexts(path: &Path, model: Model<'_>, ciphertexts: &Ciphertexts) -> Result<(), FileError> {
    let scales: Vec<Vec<String>> = ciphertexts
        .tensors
        .iter()
        .map(|(_, parts)| parts.iter().map(|part| part.scale.to_string()).collect())
        .collect();
    let part_length = |(part, scale): (&Ciphertext, &String)| 12 + scale.len() + 4 * part.words.len();
    let length = ciphertexts
        .tensors
        .iter()
        .zip(&scales)
        .map(|((name, parts), scales)| {
            8 + name.len() + parts.iter().zip(scales).map(part_length).sum::<usize>()
        })
        .sum::<usize>();
    let origin = model.origin(ciphertexts.key_pair);
    let mut writer = Writer::create(path, FileKind::Ciphertexts, &origin, 4 + length as u64)?;
    writer.u32(ciphertexts.tensors.len() as u32)?;
    for ((name, parts), scales) in ciphertexts.tensors.iter().zip(&scales) {
        writer.text(name)?;
        writer.u32(parts.len() as u32)?;
        for (part, scale) in parts.iter().zip(scales) {
            part.check(model.context).map_err(|error| writer.contents(error))?;
            writer.u32(part.level)?;
            writer.text(scale)?;
            writer.u32(part.size)?;
            writer.words(&part.words)?;
        }
    }
    writer.finish()
}

/// Reads ciphertexts, of the key pair given if there is one.
pub fn read_ciphertexts(
    path: &Path,
    model: Model<'_>,
    key_pair: Option<KeyPairId>,
) -> Result<Ciphertexts, FileError> {
    let context = model.context;
    let mut body = model.open(path, FileKind::Ciphertexts, key_pair)?;
    let count = body.u32()?;
    let mut tensors: Vec<(String, Vec<Ciphertext>)> = vec![];
    for _ in 0..count {
        let name = body.text(MAX_NAME)?;
        if tensors.iter().any(|(other, _)| *other == name) {
            return Err(body.contents(format!("tensor \"{name}\" occurs twice")));
        }
        let part_count = body.u32()?;
        let mut parts = vec![];
        for _ in 0..part_count {
            let level = body.u32()?;
            let basis = context.level(level).map_err(|error| body.contents(error))?;
            let scale = Scale::parse(&body.text(MAX_SCALE)?).map_err(|error| body.contents(error))?;
            let size = body.u32()?;
            if !(2..=MAX_COMPONENTS).contains(&size) {
                return Err(body.contents(format!("a ciphertext has {size} components")));
            }
            let words = body.words(size as usize * basis.len() * context.n())?;
            let part = Ciphertext { level, scale, size, words };
            part.check(context).map_err(|error| body.contents(error))?;
            parts.push(part);
        }
        tensors.push((name, parts));
    }
    let key_pair = body.origin().key_pair;
    body.finish()?;
    Ok(Ciphertexts { key_pair, tensors })
}

/// The key pair that a file of any kind belongs to, for error messages and look-ups. Verifies the checksum.
pub fn origin_of(path: &Path) -> Result<Origin, FileError> {
    Body::open_any(path).map(|body| body.origin())
}

#[cfg(test)]
mod tests;
