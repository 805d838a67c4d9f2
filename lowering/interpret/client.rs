//! A client for single programs: encrypts slots, decrypts results, and knows what stands in tables of keys and plaintexts.
//!
//! Keys are made when they are first asked for; a [`Client`] lives as long as the program's runs that are compared.

use ceria_dialects::{
    bridge::hooks::OperationRef,
    ckks::{
        Placement,
        interpret::Slots,
        matrix::{Matrix, Vector, Weights},
    },
    interpret::symbol,
    poly::{
        Form, TableKind,
        interpret::Material,
        ops::Table,
        ring::{Ring, RnsPoly},
    },
};
use ceria_runtime::{
    client::{
        Ciphertext, ClientError, Context, KeyGenerator, KeyKind, KeySpec, PublicKey, SecretKey, SwitchKey,
    },
    format::{basis::Basis, params::Params, scale::Scale, text::TextParam},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// One client: a key pair, and switching keys as they are needed.
pub struct Client {
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    keys: RefCell<BTreeMap<KeySpec, Rc<SwitchKey>>>,
}

impl Client {
    /// A client with a new key pair.
    pub fn new(params: &Params) -> Result<Self, ClientError> {
        let context = Context::new(params.clone())?;
        let secret = SecretKey::generate(&context)?;
        let public = PublicKey::generate(&context, &secret)?;
        Ok(Self { context, secret, public, keys: RefCell::default() })
    }

    /// The polynomials of a fresh ciphertext: words `[limb][N]` in evaluation form.
    pub fn encrypt(&self, slots: &Slots, at: &Placement) -> Result<Vec<Vec<u32>>, ClientError> {
        let fresh = self.public.encrypt_slots(&self.context, &slots.0[..], &at.scale, at.level)?;
        let part = fresh.words.len() / fresh.size.max(1) as usize;
        Ok(fresh.words.chunks_exact(part.max(1)).map(<[u32]>::to_vec).collect())
    }

    /// The slots of a ciphertext that has these polynomials.
    pub fn decrypt(&self, polynomials: &[Vec<u32>], at: &Placement) -> Result<Slots, ClientError> {
        let size = polynomials.len() as u32;
        let ciphertext =
            Ciphertext { level: at.level, scale: at.scale.clone(), size, words: polynomials.concat() };
        let plain = self.secret.decrypt(&self.context, &ciphertext)?;
        Ok(Slots(self.context.decode(&plain, at.scale.value(self.context.params()))?))
    }

    fn switch_key(&self, spec: KeySpec) -> Result<Rc<SwitchKey>, ClientError> {
        if let Some(known) = self.keys.borrow().get(&spec) {
            return Ok(Rc::clone(known));
        }
        // The two keys of a sparse secret belong together.
        let mut generator = KeyGenerator::new(&self.context, &self.secret);
        let made = Rc::new(generator.make(spec)?);
        let mut keys = self.keys.borrow_mut();
        keys.insert(spec, Rc::clone(&made));
        let level = self.context.params().max_level();
        let other = match spec.kind {
            KeyKind::ToSparse => KeySpec { kind: KeyKind::FromSparse, level },
            KeyKind::FromSparse => KeySpec { kind: KeyKind::ToSparse, level: 0 },
            _ => return Ok(made),
        };
        keys.insert(other, Rc::new(generator.make(other)?));
        Ok(made)
    }
}

/// The entries of a program's tables: this client's keys, and plaintexts encoded from the matrices and vectors that the
/// module still has.
pub struct ClientMaterial<'k> {
    /// The client.
    pub client: &'k Client,
    /// Where matrices and vectors are.
    pub module: OperationRef<'k, 'k>,
    /// Weights that they refer to.
    pub weights: &'k Weights<'k>,
}

impl Material for ClientMaterial<'_> {
    fn plaintext(&self, _: &Ring, table: &Table<'_>, entry: usize, basis: &Basis) -> Result<RnsPoly, String> {
        encode(&self.client.context, self.module, self.weights, (table, entry), basis)
    }

    fn key(
        &self,
        ring: &Ring,
        table: &Table<'_>,
        entry: usize,
        digits: usize,
        basis: &Basis,
    ) -> Result<Vec<[RnsPoly; 2]>, String> {
        let element = table.values.get(entry).and_then(|&element| u32::try_from(element).ok());
        let kind = match (table.kind, element) {
            (TableKind::RelinKey, _) => KeyKind::Relinearize,
            (TableKind::SparseKey, _) => KeyKind::ToSparse,
            (TableKind::DenseKey, _) => KeyKind::FromSparse,
            (_, Some(element)) => KeyKind::Galois(element),
            _ => return Err(format!("has no Galois element {entry} in @{}", table.name)),
        };
        let params = ring.params();
        // The key of the lowest level that has all these primes.
        let holds = |level: &u32| {
            let span = params.key_span(*level);
            basis.is_subset(&span) && basis.p_part() == span.p_part()
        };
        let level = match kind {
            KeyKind::ToSparse => Some(0),
            KeyKind::FromSparse => Some(params.max_level()),
            _ => (0..=params.max_level()).find(holds),
        };
        let level = level.ok_or_else(|| format!("has keys over {basis}, which no level has"))?;
        let spec = KeySpec { kind, level };
        let key = self.client.switch_key(spec).map_err(|e| e.to_string())?;
        let held = params.digits(&spec.basis(params).map_err(|e| e.to_string())?);
        let pair = |used: &Basis| {
            let place =
                held.iter().position(|held| used.is_subset(held)).ok_or("has a digit that no key has")?;
            let parts = key.digit(&self.client.context, place).ok_or("has a digit too many")?;
            Ok(parts.map(|part| {
                let limbs = basis.iter().filter_map(|prime| part.limb(prime).map(<[u32]>::to_vec)).collect();
                RnsPoly { basis: basis.clone(), form: Form::Eval, limbs }
            }))
        };
        params.digits(basis).iter().take(digits).map(pair).collect()
    }
}

/// A polynomial from the words of its limbs.
pub fn from_words(basis: &Basis, form: Form, words: &[u32], n: usize) -> RnsPoly {
    let limbs = words.chunks_exact(n.max(1)).map(<[u32]>::to_vec).collect();
    RnsPoly { basis: basis.clone(), form, limbs }
}

/// An entry of a table of plaintexts, from the matrix or vector of the module that it is encoded from.
pub fn encode(
    context: &Context,
    module: OperationRef<'_, '_>,
    weights: &Weights<'_>,
    (table, entry): (&Table<'_>, usize),
    basis: &Basis,
) -> Result<RnsPoly, String> {
    let scale = table.scale.as_deref().ok_or_else(|| format!("@{} has no scale", table.name))?;
    let scale = Scale::parse(scale)?.value(context.params());
    let source = table.source.as_deref().ok_or_else(|| format!("@{} has no source", table.name))?;
    let source = symbol(module, source).ok_or_else(|| format!("the module has no @{source}"))?;
    let missing = || format!("@{} has an entry {entry} that its source lacks", table.name);
    let values = if table.kind == TableKind::Diagonals {
        let Some(&[output, input, diagonal, giant]) = table.values.as_chunks::<4>().0.get(entry) else {
            return Err(missing());
        };
        let all = Matrix::read(source)?.values(weights)?;
        let slots = context.params().slots() as i64;
        let found = all.iter().find(|d| {
            (d.output as i64, d.input as i64) == (output, input)
                && (d.diagonal - diagonal).rem_euclid(slots) == 0
        });
        let found = found.ok_or_else(missing)?;
        if !found.imaginary.is_empty() {
            let values = found.complex_before_giant(giant);
            let encoded = context.encode(&values[..], scale, basis).map_err(|e| e.to_string())?;
            return Ok(from_words(basis, Form::Eval, &encoded.words, context.n()));
        }
        found.before_giant(giant)
    } else {
        let part = table.values.get(entry).and_then(|&part| usize::try_from(part).ok());
        let parts = Vector::read(source)?.values(weights)?;
        part.and_then(|part| parts.into_iter().nth(part)).ok_or_else(missing)?
    };
    let encoded = context.encode(&values[..], scale, basis).map_err(|e| e.to_string())?;
    Ok(from_words(basis, Form::Eval, &encoded.words, context.n()))
}
