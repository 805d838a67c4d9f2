//! The manifest of a bundle: everything about a compiled model but its code and its weights.
//!
//! `model.ceria` is a folder; `manifest.json` in it is this structure. It names every other file with its length
//! and SHA-256, so that the hash of the manifest is the hash of the bundle: ciphertexts and keys carry it (as the
//! *plan hash*), and a server can be told to accept no other ([`Manifest::hash`]).
//!
//! A manifest that [`Manifest::from_json`] returned has been checked: its version is known, the parameters are
//! valid, and table and memory sizes are those that shapes imply. It says nothing about the files; that is
//! [`FileEntry::verify`].

mod device;

pub use device::{DeviceCode, Kernel, Launch};

use super::{basis::Basis, linear::SlotMatrix, params::Params, scale::Scale, text::TextParam};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The version of the manifest and of the binary interface of the host program.
pub const VERSION: u32 = 3;

/// The manifest's file in the bundle's folder.
pub const FILE: &str = "manifest.json";

/// The weights, in the bundle's folder.
pub const CONSTANTS: &str = "constants.safetensors";

/// A manifest is never longer than this.
pub const MAX_BYTES: u64 = 256 << 20;

/// Words of a limb's row in any table or buffer are 32 bits.
pub const WORD: u64 = 4;

/// What is wrong with a manifest or with a file it names.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not JSON of the expected form.
    #[error("the manifest is damaged: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is of another version of Ceria.
    #[error("the bundle has format {found}, this program reads format {VERSION}; compile the model again")]
    Version {
        /// The version found.
        found: u64,
    },
    /// Its contents contradict each other.
    #[error("the manifest is inconsistent: {0}")]
    Inconsistent(String),
    /// A file differs from what the manifest says.
    #[error("{path} is damaged: its {what} is not what the manifest says")]
    Damaged {
        /// The file, relative to the bundle.
        path: String,
        /// `length` or `hash`.
        what: &'static str,
    },
    /// A file is needed but not named.
    #[error("the bundle has no file {0}")]
    Missing(String),
}

/// Everything about a compiled model but its code and weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The model's name.
    pub name: String,
    /// The CKKS parameters.
    #[serde(with = "as_text")]
    pub params: Params,
    /// The tensors that the client encrypts, in the order of the program's arguments.
    pub inputs: Vec<Port>,
    /// The tensors that the client decrypts, in the order of the program's results.
    pub outputs: Vec<Port>,
    /// The evaluation keys that the client must make.
    pub keys: KeySet,
    /// The tables that the server builds when it loads the bundle, in the order in which the program gets them.
    pub tables: Vec<Table>,
    /// The memory that the program needs.
    pub memory: Memory,
    /// The kernels, in the order of the numbers by which the program names them.
    pub kernels: Vec<Kernel>,
    /// Code for an accelerator; without it the program runs on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceCode>,
    /// What the compiler predicts.
    pub prediction: Prediction,
    /// How many of each operation the network became, for `inspect`.
    #[serde(default)]
    pub op_counts: BTreeMap<String, u64>,
    /// Every other file of the bundle, by its path in the folder.
    pub files: BTreeMap<String, FileEntry>,
}

/// A tensor that enters or leaves the program encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name in the model.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// How its elements lie in slots: the text of a [`Layout`](super::layout::Layout).
    pub layout: String,
    /// The number of ciphertexts.
    pub ciphertexts: u32,
    /// The number of polynomials of each ciphertext.
    pub size: u32,
    /// Their level.
    pub level: u32,
    /// Their scale.
    #[serde(with = "as_text")]
    pub scale: Scale,
    /// The range of values for which the program was compiled: smallest and largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// What the client does with the decrypted values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<PostProcess>,
}

impl Port {
    /// Words of one polynomial: limbs times N.
    pub fn polynomial_words(&self, params: &Params) -> u64 {
        (params.get_level(self.level).map_or(0, Basis::len) * params.n()) as u64
    }

    /// The number of polynomials of all its ciphertexts: so many pointers the program takes for it.
    pub fn polynomials(&self) -> usize {
        self.ciphertexts as usize * self.size as usize
    }
}

/// Client-side work after decryption, that the model did at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PostProcess {
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Logarithm of softmax along an axis.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// The index of the largest element along an axis.
    Argmax {
        /// The axis.
        axis: usize,
    },
}

/// The evaluation keys of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// The level up to which products are relinearised, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relin: Option<u32>,
    /// Keys for automorphisms, by ascending Galois element.
    #[serde(default)]
    pub galois: Vec<GaloisKey>,
    /// If there are bootstraps, the level up to which the key from the sparse secret is used; the key to it is one of
    /// level 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<u32>,
}

/// The key from `s(X^element)` to `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaloisKey {
    /// The Galois element, odd and below 2N.
    pub element: u32,
    /// The rotation that it is, in slots to the left; none for conjugation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The highest level at which it is used.
    pub level: u32,
}

/// Read-only memory of the program, built when the bundle is loaded. Row-major words of 32 bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name in the intermediate code.
    pub name: String,
    /// Its extents; the leading one counts entries.
    pub shape: Vec<u64>,
    /// What its words are.
    #[serde(flatten)]
    pub content: TableContent,
}

impl Table {
    /// The number of bytes; an error if the shape is absurd.
    pub fn bytes(&self) -> Result<u64, ManifestError> {
        let words = self.shape.iter().try_fold(1u64, |all, &extent| all.checked_mul(extent));
        words.and_then(|w| w.checked_mul(WORD)).filter(|&b| b <= isize::MAX as u64).ok_or_else(|| {
            ManifestError::Inconsistent(format!(
                "table {} has an impossible shape {:?}",
                self.name, self.shape
            ))
        })
    }
}

/// What the words of a table are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TableContent {
    /// Numbers.
    Index {
        /// The entries.
        values: Vec<u32>,
    },
    /// For each Galois element the permutation of N words that it is in evaluation form.
    Automorphism {
        /// The Galois elements.
        elements: Vec<u32>,
    },
    /// For each Galois element its key: `entries x digits x 2 x limbs x N`, Montgomery.
    GaloisKey {
        /// The Galois elements.
        elements: Vec<u32>,
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
    /// The key from `s^2`: `1 x digits x 2 x limbs x N`, Montgomery.
    RelinKey {
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
    /// The key to the sparse secret of bootstrapping, likewise.
    SparseKey {
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
    /// The key from the sparse secret of bootstrapping, likewise.
    DenseKey {
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
    /// For each exponent k the polynomial X^k in evaluation form: `entries x limbs x period words`, Montgomery.
    Monomial {
        /// The exponents, below 2N.
        exponents: Vec<u32>,
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
    /// Plaintexts in evaluation form: `entries x limbs x period words`, Montgomery.
    Plaintext {
        /// The primes of the limbs.
        #[serde(with = "as_text")]
        moduli: Basis,
        /// The scale at which they are encoded.
        #[serde(with = "as_text")]
        scale: Scale,
        /// The numbers.
        source: PlaintextSource,
    },
    /// The roots of unity of the transforms, one entry a prime: see [`twiddles`](super::twiddles).
    Twiddles {
        /// The primes.
        #[serde(with = "as_text")]
        moduli: Basis,
    },
}

/// Where the numbers of plaintexts come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum PlaintextSource {
    /// Diagonals of a slot matrix that a linear operator is between two layouts.
    Matrix {
        /// The linear operator, JSON of [`LinearOp`](super::linear::LinearOp).
        linear: serde_json::Value,
        /// Its weights: tensors of [`CONSTANTS`].
        weights: Vec<String>,
        /// The layout of its input, as text.
        input_layout: String,
        /// The layout of its output, as text.
        output_layout: String,
        /// A factor of every element.
        factor: f64,
        /// The matrix's diagonals.
        matrix: Box<SlotMatrix>,
        /// For each entry: output part, input part, diagonal, rotation to the right in slots.
        entries: Vec<[i64; 4]>,
    },
    /// Diagonals of a part of the canonical embedding.
    Fourier {
        /// Which part: the text of a [`FourierFactor`](super::linear::FourierFactor).
        part: String,
        /// The slots of the transform.
        slots: u32,
        /// A factor of every element.
        factor: f64,
        /// For each entry: output part, input part, diagonal, rotation to the right in slots.
        entries: Vec<[i64; 4]>,
    },
    /// A clear tensor in a layout, one plaintext a part.
    Tensor {
        /// The tensor, one of [`CONSTANTS`].
        tensor: String,
        /// A linear operator that is applied to it first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        linear: Option<serde_json::Value>,
        /// The operator's weights, of [`CONSTANTS`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<String>,
        /// The layout, as text.
        layout: String,
        /// A factor of every element.
        factor: f64,
        /// For each entry its part.
        entries: Vec<u32>,
    },
    /// Slot vectors given by their numbers; a short vector repeats over the slots.
    Values {
        /// One vector an entry.
        vectors: Vec<Vec<f64>>,
    },
}

/// The memory that one run of the program needs besides its tables, inputs and outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Bytes of the arena of all buffers.
    pub arena_bytes: u64,
    /// Bytes of scratch memory for each thread.
    pub scratch_bytes: u64,
}

/// What the compiler predicts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Bits of precision of the worst output, counting noise and approximations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision_bits: Option<f64>,
    /// The largest absolute error of an output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error: Option<f64>,
    /// Seconds of server time on one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Length and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl FileEntry {
    /// The entry of these contents.
    pub fn of(contents: &[u8]) -> Self {
        Self { bytes: contents.len() as u64, sha256: hex(&Sha256::digest(contents)) }
    }

    /// Whether these are the contents.
    pub fn verify(&self, path: &str, contents: &[u8]) -> Result<(), ManifestError> {
        let damaged = |what| Err(ManifestError::Damaged { path: path.into(), what });
        if contents.len() as u64 != self.bytes {
            return damaged("length");
        }
        if hex(&Sha256::digest(contents)) != self.sha256 {
            return damaged("hash");
        }
        Ok(())
    }
}

impl Manifest {
    /// Reads `manifest.json` of a bundle's folder. Returns the manifest and its hash.
    pub fn read(folder: &Path) -> Result<(Self, [u8; 32]), ManifestError> {
        let path = folder.join(FILE);
        let failed = |source| ManifestError::Read { path: path.display().to_string(), source };
        let mut text = Vec::new();
        File::open(&path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(ManifestError::Inconsistent("it is too long".into()));
        }
        Ok((Self::from_json(&text)?, Self::hash(&text)))
    }

    /// Parses and checks the text of a manifest.
    pub fn from_json(text: &[u8]) -> Result<Self, ManifestError> {
        /// The one field that all versions have.
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let Versioned { version } = serde_json::from_slice(text)?;
        if version != u64::from(VERSION) {
            return Err(ManifestError::Version { found: version });
        }
        let manifest: Self = serde_json::from_slice(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The text of the manifest.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The hash of a manifest's text: the plan hash.
    pub fn hash(text: &[u8]) -> [u8; 32] {
        Sha256::digest(text).into()
    }

    /// The entry of a file.
    pub fn file(&self, path: &str) -> Result<&FileEntry, ManifestError> {
        self.files.get(path).ok_or_else(|| ManifestError::Missing(path.into()))
    }

    /// The bytes of all tables.
    pub fn table_bytes(&self) -> Result<u64, ManifestError> {
        self.tables.iter().try_fold(0u64, |sum, table| {
            let bytes = table.bytes()?;
            sum.checked_add(bytes)
                .ok_or_else(|| ManifestError::Inconsistent("its tables are too large".into()))
        })
    }

    /// The bytes of the evaluation keys in memory.
    pub fn key_bytes(&self) -> u64 {
        let level_bytes = |level: u32| {
            let basis = self.params.key_span(level);
            (self.params.digits(&basis).len() * 2 * basis.len() * self.params.n()) as u64 * WORD
        };
        self.keys.relin.map_or(0, level_bytes)
            + self.keys.galois.iter().map(|k| level_bytes(k.level)).sum::<u64>()
            + self.keys.bootstrap.map_or(0, level_bytes)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |what: String| Err(ManifestError::Inconsistent(what));
        self.params.validate().map_err(|e| ManifestError::Inconsistent(e.to_string()))?;
        for port in self.inputs.iter().chain(&self.outputs) {
            if port.level > self.params.max_level() {
                return wrong(format!("{} is at level {}, which does not exist", port.name, port.level));
            }
            if port.ciphertexts == 0 || port.size < 2 || port.polynomials() > 1 << 20 {
                return wrong(format!("{} has an impossible number of ciphertexts", port.name));
            }
        }
        for key in &self.keys.galois {
            if key.level > self.params.max_level()
                || key.element % 2 == 0
                || key.element >= 2 << self.params.log_n
            {
                return wrong(format!("there is no Galois key {} at level {}", key.element, key.level));
            }
        }
        if self.keys.relin.is_some_and(|level| level > self.params.max_level()) {
            return wrong("the relinearisation key's level does not exist".into());
        }
        if let Some(level) = self.keys.bootstrap
            && (level > self.params.max_level() || self.params.bootstrap.is_none())
        {
            return wrong(format!("there are no keys for bootstrapping up to level {level}"));
        }
        for table in &self.tables {
            self.check_table(table)?;
        }
        self.check_launches()?;
        self.table_bytes()?;
        for path in self.files.keys() {
            let plain = !path.is_empty() && !path.starts_with(['.', '/']) && !path.contains(['\\', '\0']);
            if !plain || path.split('/').any(|part| part.is_empty() || part == "..") {
                return wrong(format!("{path:?} is not the name of a file of a bundle"));
            }
        }
        Ok(())
    }

    fn check_table(&self, table: &Table) -> Result<(), ManifestError> {
        let n = self.params.n() as u64;
        let key = |entries: usize, moduli: &Basis| {
            let digits = self.params.digits(&moduli.q_part()).len() as u64;
            vec![entries as u64, digits, 2, moduli.len() as u64, n]
        };
        let expected = match &table.content {
            TableContent::Index { values } => vec![values.len() as u64],
            TableContent::Automorphism { elements } => vec![elements.len() as u64, n],
            TableContent::GaloisKey { elements, moduli } => key(elements.len(), moduli),
            TableContent::RelinKey { moduli }
            | TableContent::SparseKey { moduli }
            | TableContent::DenseKey { moduli } => key(1, moduli),
            TableContent::Monomial { exponents, moduli } => {
                let period = table.shape.last().copied().unwrap_or(0);
                // Words repeat in runs of N / period: X^k for multiples of that.
                let whole = period.is_power_of_two()
                    && period <= n
                    && exponents
                        .iter()
                        .all(|&k| u64::from(k) < 2 * n && (u64::from(k) * period).is_multiple_of(n));
                if !whole {
                    return Err(ManifestError::Inconsistent(format!(
                        "table {} has no monomials of period {period}",
                        table.name
                    )));
                }
                vec![exponents.len() as u64, moduli.len() as u64, period]
            }
            TableContent::Twiddles { moduli } => {
                vec![moduli.len() as u64, super::twiddles::words(n as usize) as u64]
            }
            TableContent::Plaintext { moduli, source, .. } => {
                let entries = match source {
                    PlaintextSource::Matrix { entries, .. } | PlaintextSource::Fourier { entries, .. } => {
                        entries.len()
                    }
                    PlaintextSource::Tensor { entries, .. } => entries.len(),
                    PlaintextSource::Values { vectors } => vectors.len(),
                };
                let period = table.shape.last().copied().unwrap_or(0);
                if !period.is_power_of_two() || period > n {
                    return Err(ManifestError::Inconsistent(format!(
                        "table {} has period {period}",
                        table.name
                    )));
                }
                vec![entries as u64, moduli.len() as u64, period]
            }
        };
        let moduli = match &table.content {
            TableContent::GaloisKey { moduli, .. }
            | TableContent::RelinKey { moduli }
            | TableContent::SparseKey { moduli }
            | TableContent::DenseKey { moduli }
            | TableContent::Monomial { moduli, .. }
            | TableContent::Plaintext { moduli, .. }
            | TableContent::Twiddles { moduli } => Some(moduli),
            _ => None,
        };
        if moduli.is_some_and(|basis| !self.params.contains(basis)) {
            return Err(ManifestError::Inconsistent(format!("table {} names unknown primes", table.name)));
        }
        if expected != table.shape {
            return Err(ManifestError::Inconsistent(format!(
                "table {} has shape {:?}, expected {expected:?}",
                table.name, table.shape
            )));
        }
        table.bytes().map(drop)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serialises a [`TextParam`] as its text.
mod as_text {
    use super::TextParam;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: TextParam, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T: TextParam, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
