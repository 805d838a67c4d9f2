//! Files give back what was written, and everything else is refused with one line.

use std::fs;
use std::path::PathBuf;

use num_complex::Complex64;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::format::params::Params;

const PLAN: Hash = [7; 32];
const HEADER: usize = 104;

struct Fixture {
    folder: TempDir,
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    ciphertexts: Ciphertexts,
    specs: Vec<KeySpec>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Params::toy(5, 2, 2))
    }

    fn with(params: Params) -> Self {
        let context = Context::new(params).unwrap();
        let secret = SecretKey::generate(&context).unwrap();
        let public = PublicKey::generate(&context, &secret).unwrap();
        let encrypt = |value: f64, level| {
            public.encrypt_slots(&context, &[value, 2.0][..], &Scale::level(level), level).unwrap()
        };
        let tensors = vec![
            ("image".to_string(), vec![encrypt(0.5, 2), encrypt(-0.5, 2)]),
            ("größe".to_string(), vec![encrypt(1.5, 1)]),
        ];
        let specs = vec![
            KeySpec { kind: KeyKind::Relinearize, level: 2 },
            KeySpec { kind: KeyKind::Galois(5), level: 1 },
            KeySpec { kind: KeyKind::Galois(5), level: 0 },
        ];
        let ciphertexts = Ciphertexts { key_pair: secret.id(), tensors };
        Self { folder: TempDir::new().unwrap(), context, secret, public, ciphertexts, specs }
    }

    fn model(&self) -> Model<'_> {
        Model::new(&self.context, PLAN)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes all four files.
    fn write(&self) -> [PathBuf; 4] {
        let paths = ["secret.key", "public.key", "eval.keys", "x.ct"].map(|name| self.path(name));
        write_secret_key(&paths[0], self.model(), &self.secret).unwrap();
        write_public_key(&paths[1], self.model(), &self.public).unwrap();
        write_eval_keys(&paths[2], self.model(), &self.secret, &self.specs, &mut |_| ()).unwrap();
        write_ciphertexts(&paths[3], self.model(), &self.ciphertexts).unwrap();
        paths
    }

    /// Reads file `index` of [`Fixture::write`] and forgets what it holds.
    fn read(&self, index: usize, path: &Path, key_pair: Option<KeyPairId>) -> Result<(), FileError> {
        match index {
            0 => read_secret_key(path, self.model()).map(|_| ()),
            1 => read_public_key(path, self.model(), key_pair).map(|_| ()),
            2 => read_eval_keys(path, self.model(), key_pair).map(|_| ()),
            _ => read_ciphertexts(path, self.model(), key_pair).map(|_| ()),
        }
    }
}

/// Replaces the checksum and the length, so that what is wrong inside is reached.
fn reseal(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() - 32);
    let length = bytes.len() as u64 + 32;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    let digest = Sha256::digest(&bytes[..]);
    bytes.extend(digest);
}

fn one_line(error: FileError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    text
}

#[test]
fn files_give_back_what_was_written() {
    let fixture = Fixture::new();
    let paths = fixture.write();
    let secret = read_secret_key(&paths[0], fixture.model()).unwrap();
    assert_eq!(secret.coefficients, fixture.secret.coefficients);
    assert_eq!(secret.id(), fixture.secret.id());
    let public = read_public_key(&paths[1], fixture.model(), Some(secret.id())).unwrap();
    assert_eq!((&public.b, public.seed), (&fixture.public.b, fixture.public.seed));
    let keys = read_eval_keys(&paths[2], fixture.model(), Some(secret.id())).unwrap();
    assert_eq!((keys.keys.len(), keys.key_pair), (3, secret.id()));
    for &spec in &fixture.specs {
        let basis = fixture.context.params().key_basis(spec.level);
        let mut out = vec![0; SwitchKey::expanded_len(fixture.context.params(), &basis)];
        keys.get(spec).unwrap().expand_montgomery(&fixture.context, &basis, &mut out).unwrap();
    }
    let expected: u64 = fixture.specs.iter().map(|spec| eval_key_bytes(&fixture.context, *spec)).sum();
    assert_eq!(fs::metadata(&paths[2]).unwrap().len(), expected + 4 + 136);
    let ciphertexts = read_ciphertexts(&paths[3], fixture.model(), Some(secret.id())).unwrap();
    assert_eq!(ciphertexts, fixture.ciphertexts);
    let part = &ciphertexts.get("image").unwrap()[1];
    let plain = secret.decrypt(&fixture.context, part).unwrap();
    let slots = fixture.context.decode(&plain, part.scale.value(fixture.context.params())).unwrap();
    assert!((slots[2] - Complex64::new(-0.5, 0.0)).norm() < 1e-5);
    assert_eq!(origin_of(&paths[3]).unwrap().key_pair, secret.id());
    // A second set replaces the first; nothing temporary stays.
    fixture.write();
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 4);
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_secret_key() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let paths = fixture.write();
    assert_eq!(fs::metadata(&paths[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn truncated_files_are_refused() {
    let fixture = Fixture::new();
    for (index, path) in fixture.write().iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let ends = (0..HEADER + 8).chain((HEADER + 8..bytes.len()).step_by(31)).chain([bytes.len() - 1]);
        for end in ends {
            fs::write(path, &bytes[..end]).unwrap();
            one_line(fixture.read(index, path, None).unwrap_err());
            // With a right length and checksum the body itself is too short.
            let mut resealed = bytes[..end].to_vec();
            if end >= HEADER + 32 {
                reseal(&mut resealed);
                fs::write(path, &resealed).unwrap();
                one_line(fixture.read(index, path, None).unwrap_err());
            }
        }
        let mut longer = bytes.clone();
        longer.extend([0; 5]);
        fs::write(path, &longer).unwrap();
        assert!(one_line(fixture.read(index, path, None).unwrap_err()).contains("should have"));
        reseal(&mut longer);
        fs::write(path, &longer).unwrap();
        one_line(fixture.read(index, path, None).unwrap_err());
    }
}

#[test]
fn flipped_bits_are_refused() {
    let fixture = Fixture::new();
    for (index, path) in fixture.write().iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        for place in (0..HEADER + 40)
            .chain((HEADER + 40..bytes.len()).step_by(97))
            .chain(bytes.len() - 32..bytes.len())
        {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(path, &flipped).unwrap();
            one_line(fixture.read(index, path, None).unwrap_err());
        }
    }
}

#[test]
fn huge_numbers_are_refused_before_memory_is_taken() {
    let fixture = Fixture::new();
    let paths = fixture.write();
    for (index, path) in paths.iter().enumerate().skip(2) {
        let bytes = fs::read(path).unwrap();
        // Every number in the first 100 bytes of the body, counts and lengths among them.
        for place in (HEADER..HEADER + 100).step_by(2) {
            for value in [u32::MAX, u32::MAX / 4, 1 << 30, 1 << 20] {
                let mut huge = bytes.clone();
                huge[place..place + 4].copy_from_slice(&value.to_le_bytes());
                reseal(&mut huge);
                fs::write(path, &huge).unwrap();
                if let Err(error) = fixture.read(index, path, None) {
                    one_line(error);
                } else {
                    // Only seeds, names and residues may have other values.
                    let free = if index == 2 { 18..100 } else { 6..16 };
                    let place = place - HEADER;
                    assert!(free.contains(&place) || index == 3 && place >= 30, "{place} in file {index}");
                }
            }
        }
        let mut huge = bytes.clone();
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(path, &huge).unwrap();
        one_line(fixture.read(index, path, None).unwrap_err());
    }
}

#[test]
fn residues_must_be_canonical() {
    let fixture = Fixture::new();
    for (index, path) in fixture.write().iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 36;
        let value =
            if index == 0 { [1, 1, 1, 3] } else { fixture.context.params().q[1].max(1 << 31).to_le_bytes() };
        bytes[last..last + 4].copy_from_slice(&value);
        reseal(&mut bytes);
        fs::write(path, &bytes).unwrap();
        let error = one_line(fixture.read(index, path, None).unwrap_err());
        assert!(error.contains("is not below it") || error.contains("not -1, 0 or 1"), "{error}");
    }
}

#[test]
fn files_of_others_are_refused() {
    let mine = Fixture::new();
    let theirs = Fixture::new();
    let other_params = Fixture::with(Params::toy(5, 2, 1));
    let id = Some(mine.secret.id());
    for (index, path) in theirs.write().iter().enumerate().skip(1) {
        assert!(mine.read(index, path, None).is_ok());
        let error = one_line(mine.read(index, path, id).unwrap_err());
        assert!(error.ends_with("belongs to another client's keys"), "{error}");
    }
    for (index, path) in other_params.write().iter().enumerate() {
        let error = one_line(mine.read(index, path, None).unwrap_err());
        assert!(error.ends_with("belongs to other parameters than this model's"), "{error}");
    }
    let paths = mine.write();
    let other_model = Model::new(&mine.context, [8; 32]);
    let error = one_line(read_ciphertexts(&paths[3], other_model, None).unwrap_err());
    assert!(error.contains("belongs to another model"), "{error}");
    let error = one_line(mine.read(3, &paths[1], None).unwrap_err());
    assert!(error.ends_with("is a public key, but a file of ciphertexts is needed here"), "{error}");
    let error = one_line(mine.read(3, &mine.path("none"), None).unwrap_err());
    assert!(error.contains("cannot be read"), "{error}");
    fs::write(mine.path("text"), "hello").unwrap();
    assert!(one_line(mine.read(3, &mine.path("text"), None).unwrap_err()).contains("is not a Ceria"));
    assert!(one_line(mine.read(3, mine.folder.path(), None).unwrap_err()).contains("is not a Ceria"));
}

#[test]
fn failed_writes_leave_nothing() {
    let fixture = Fixture::new();
    let missing = fixture.path("no/such/folder/x.ct");
    let error = write_ciphertexts(&missing, fixture.model(), &fixture.ciphertexts).unwrap_err();
    assert!(one_line(error).contains("cannot be written"));
    let mut bad = fixture.ciphertexts.clone();
    bad.tensors[1].1[0].words[3] = u32::MAX;
    let path = fixture.path("x.ct");
    one_line(write_ciphertexts(&path, fixture.model(), &bad).unwrap_err());
    let specs = [KeySpec { kind: KeyKind::Relinearize, level: 9 }];
    assert!(write_eval_keys(&path, fixture.model(), &fixture.secret, &specs, &mut |_| ()).is_err());
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), with_header in any::<bool>()) {
        let fixture = Fixture::with(Params::toy(3, 2, 1));
        let path = fixture.path("f");
        for (index, good) in Fixture::with(Params::toy(3, 2, 1)).write().iter().enumerate() {
            let mut all = bytes.clone();
            if with_header {
                all = [&fs::read(good).unwrap()[..HEADER], &bytes, &[0; 32]].concat();
                reseal(&mut all);
            }
            fs::write(&path, &all).unwrap();
            prop_assert!(fixture.read(index, &path, None).is_err(), "kind {}", index);
        }
    }
}
