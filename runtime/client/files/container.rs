//! The container that all client files share.
//!
//! ```text
//! offset  bytes
//!      0      8  magic
//!      8      4  version
//!     12      4  kind
//!     16      8  length of the whole file
//!     24     32  hash of the parameters
//!     56     32  hash of the plan
//!     88     16  key pair
//!    104      n  body
//! 104+n      32  SHA-256 of all bytes before
//! ```
//!
//! [`Body::open`] reads a file twice: once for the checksum, before any of the body is interpreted, and once to parse it.
//! Lengths in the body are compared with what is left of it before memory is allocated, so memory is
//! bounded by the size of the file. Buffers are overwritten when dropped, since some files are secret.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::words::Words;
use crate::client::KeyPairId;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

const MAGIC: [u8; 8] = *b"\x89CERIA\r\n";
const VERSION: u32 = 1;
const HEADER: usize = 104;
const CHECKSUM: usize = 32;
const BUFFER: usize = 1 << 16;

/// What a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The hash of the parameters.
    pub params: Hash,
    /// The hash of the model's plan.
    pub plan: Hash,
    /// The key pair.
    pub key_pair: KeyPairId,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A secret key.
    SecretKey = 1,
    /// A public key.
    PublicKey,
    /// Evaluation keys.
    EvalKeys,
    /// Ciphertexts.
    Ciphertexts,
}

impl FileKind {
    const ALL: [FileKind; 4] = [Self::SecretKey, Self::PublicKey, Self::EvalKeys, Self::Ciphertexts];
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FileKind::SecretKey => "a secret key",
            FileKind::PublicKey => "a public key",
            FileKind::EvalKeys => "a file of evaluation keys",
            FileKind::Ciphertexts => "a file of ciphertexts",
        })
    }
}

/// A file that cannot be read or written: its path and what is wrong, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// The system cannot write it.
    #[error("cannot be written: {0}")]
    Write(io::Error),
    /// It is something else.
    #[error("is not a Ceria key or ciphertext file")]
    NotCeria,
    /// It was written by another version.
    #[error("has format version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// It holds something else.
    #[error("is {found}, but {expected} is needed here")]
    Kind {
        /// What was expected.
        expected: FileKind,
        /// What it holds.
        found: FileKind,
    },
    /// It is shorter or longer than it says.
    #[error("is incomplete or damaged: it has {actual} bytes and should have {declared}")]
    Length {
        /// The bytes there are.
        actual: u64,
        /// The bytes its header says.
        declared: u64,
    },
    /// Its bytes have changed.
    #[error("is damaged: its checksum does not match")]
    Checksum,
    /// It belongs to other parameters.
    #[error("belongs to other parameters than this model's")]
    OtherParams,
    /// It belongs to another model.
    #[error("belongs to another model (or another compilation of it)")]
    OtherModel,
    /// It belongs to another key pair.
    #[error("belongs to another client's keys")]
    OtherClient,
    /// Its contents are wrong.
    #[error("is not valid: {0}")]
    Contents(String),
}

/// Writes a file under a temporary name and renames it when all is written.
pub struct Writer {
    path: PathBuf,
    file: NamedTempFile,
    hash: Sha256,
    buffer: Zeroizing<Vec<u8>>,
    /// Bytes of the body still to come.
    left: u64,
}

impl Writer {
    /// Starts a file whose body will have `length` bytes.
    pub fn create(path: &Path, kind: FileKind, origin: &Origin, length: u64) -> Result<Self, FileError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ceria-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if kind == FileKind::SecretKey { 0o600 } else { 0o644 };
            builder.permissions(std::fs::Permissions::from_mode(mode));
        }
        let file = builder.tempfile_in(folder).map_err(|error| write_error(path, error))?;
        let buffer = Zeroizing::new(Vec::with_capacity(BUFFER));
        let left = HEADER as u64 + length;
        let mut writer = Self { path: path.to_path_buf(), file, hash: Sha256::new(), buffer, left };
        writer.bytes(&MAGIC)?;
        writer.u32(VERSION)?;
        writer.u32(kind as u32)?;
        writer.bytes(&(left + CHECKSUM as u64).to_le_bytes())?;
        writer.bytes(&origin.params)?;
        writer.bytes(&origin.plan)?;
        writer.bytes(&origin.key_pair)?;
        Ok(writer)
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.left = match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => left,
            None => return Err(self.contents("more is written than was announced")),
        };
        for chunk in bytes.chunks(BUFFER) {
            if self.buffer.len() + chunk.len() > BUFFER {
                self.flush()?;
            }
            self.buffer.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Appends a number.
    pub fn u32(&mut self, value: u32) -> Result<(), FileError> {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends words.
    pub fn words(&mut self, words: &[u32]) -> Result<(), FileError> {
        let mut bytes = Zeroizing::new([0u8; 4096]);
        for chunk in words.chunks(1024) {
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(chunk) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            self.bytes(&bytes[..4 * chunk.len()])?;
        }
        Ok(())
    }

    /// Appends a text.
    pub fn text(&mut self, text: &str) -> Result<(), FileError> {
        self.u32(text.len() as u32)?;
        self.bytes(text.as_bytes())
    }

    /// An error about what is written.
    pub fn contents(&self, message: impl ToString) -> FileError {
        FileError { path: self.path.clone(), problem: Problem::Contents(message.to_string()) }
    }

    /// Appends the checksum, makes sure that all is on disk, and gives the file its name.
    pub fn finish(mut self) -> Result<(), FileError> {
        if self.left != 0 {
            return Err(self.contents("less is written than was announced"));
        }
        self.flush()?;
        let digest = self.hash.finalize();
        let path = self.path;
        let mut file = self.file;
        file.write_all(&digest)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| write_error(&path, error))?;
        file.persist(&path).map_err(|error| write_error(&path, error.error))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.hash.update(&self.buffer[..]);
        self.file.write_all(&self.buffer).map_err(|error| write_error(&self.path, error))?;
        self.buffer.clear();
        Ok(())
    }
}

fn write_error(path: &Path, error: io::Error) -> FileError {
    FileError { path: path.to_path_buf(), problem: Problem::Write(error) }
}

/// The body of a file whose header and checksum are right.
pub struct Body {
    path: PathBuf,
    file: File,
    origin: Origin,
    /// Bytes not read yet.
    left: u64,
    checksum: Hash,
    /// The whole file, once a part of it was asked for as mapped.
    map: Option<Arc<Mmap>>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("path", &self.path).field("left", &self.left).finish()
    }
}

impl Body {
    /// Opens a file of the kind given and verifies its checksum.
    pub fn open(path: &Path, expected: FileKind) -> Result<Self, FileError> {
        let (body, found) = Self::open_inner(path, Some(expected)).map_err(at(path))?;
        debug_assert_eq!(found, expected);
        Ok(body)
    }

    /// Opens a file of any kind and verifies its checksum.
    pub fn open_any(path: &Path) -> Result<Self, FileError> {
        Self::open_inner(path, None).map(|(body, _)| body).map_err(at(path))
    }

    fn open_inner(path: &Path, expected: Option<FileKind>) -> Result<(Self, FileKind), Problem> {
        let mut file = File::open(path).map_err(Problem::Read)?;
        let metadata = file.metadata().map_err(Problem::Read)?;
        if !metadata.is_file() {
            return Err(Problem::NotCeria);
        }
        let mut header = [0; HEADER];
        let mut got = 0;
        while got < HEADER {
            match file.read(&mut header[got..]) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Read(error)),
            }
        }
        let magic = got.min(MAGIC.len());
        if got == 0 || header[..magic] != MAGIC[..magic] {
            return Err(Problem::NotCeria);
        }
        let (actual, least) = (metadata.len(), (HEADER + CHECKSUM) as u64);
        if got < HEADER || actual < least {
            return Err(Problem::Length { actual, declared: least });
        }
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if number(8) != VERSION {
            return Err(Problem::Version(number(8)));
        }
        let declared = u64::from(number(16)) | u64::from(number(20)) << 32;
        if actual != declared {
            return Err(Problem::Length { actual, declared });
        }
        let checksum = verify_checksum(&mut file, &header, actual)?;
        let Some(found) = FileKind::ALL.into_iter().find(|&kind| kind as u32 == number(12)) else {
            return Err(Problem::NotCeria);
        };
        if let Some(expected) = expected.filter(|&kind| kind != found) {
            return Err(Problem::Kind { expected, found });
        }
        file.seek(SeekFrom::Start(HEADER as u64)).map_err(Problem::Read)?;
        if found == FileKind::SecretKey {
            warn_if_exposed(path, &metadata);
        }
        let mut origin = Origin { params: [0; 32], plan: [0; 32], key_pair: [0; 16] };
        origin.params.copy_from_slice(&header[24..56]);
        origin.plan.copy_from_slice(&header[56..88]);
        origin.key_pair.copy_from_slice(&header[88..104]);
        let left = actual - least;
        Ok((Self { path: path.to_path_buf(), file, origin, left, checksum, map: None }, found))
    }

    /// What the file belongs to.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The checksum of the file.
    pub fn checksum(&self) -> Hash {
        self.checksum
    }

    /// Fills `out` from the body.
    pub fn bytes(&mut self, out: &mut [u8]) -> Result<(), FileError> {
        let length = self.check_at_most(out.len() as u64)?;
        self.file.read_exact(out).map_err(|error| self.error(Problem::Read(error)))?;
        self.left -= length;
        Ok(())
    }

    /// The next number.
    pub fn u32(&mut self) -> Result<u32, FileError> {
        let mut bytes = [0; 4];
        self.bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The next `count` words.
    pub fn words(&mut self, count: usize) -> Result<Vec<u32>, FileError> {
        self.check_at_most((count as u64).saturating_mul(4))?;
        let mut words = Vec::with_capacity(count);
        let mut bytes = vec![0; BUFFER];
        while words.len() < count {
            let length = (4 * (count - words.len())).min(BUFFER);
            self.bytes(&mut bytes[..length])?;
            words.extend(
                bytes[..length].chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            );
        }
        Ok(words)
    }

    /// The next `count` words, where the file is mapped. They are the file's as long as nobody changes it.
    pub fn mapped_words(&mut self, count: usize) -> Result<Words, FileError> {
        let length = self.check_at_most((count as u64).saturating_mul(4))?;
        let start = self.file.stream_position().map_err(|error| self.error(Problem::Read(error)))?;
        let map = match self.map.take() {
            Some(map) => map,
            // SAFETY: what follows from a file that others change is said where such words are defined.
            None => Arc::new(unsafe { Mmap::map(&self.file) }.map_err(|e| self.error(Problem::Read(e)))?),
        };
        let words = usize::try_from(start).ok().and_then(|start| Words::map(&map, start, count));
        self.map = Some(map);
        let end = SeekFrom::Start(start + length);
        self.file.seek(end).map_err(|error| self.error(Problem::Read(error)))?;
        self.left -= length;
        words.ok_or_else(|| self.contents("it has become shorter"))
    }

    /// The next text, of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Result<String, FileError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(self.contents(format!("a text has {length} bytes, {limit} are allowed")));
        }
        self.check_at_most(length as u64)?;
        let mut bytes = vec![0; length];
        self.bytes(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.contents("a text is not UTF-8"))
    }

    /// Fails unless exactly `length` bytes are left; gives it as a size.
    pub fn check_length(&self, length: u64) -> Result<usize, FileError> {
        match usize::try_from(length) {
            Ok(size) if length == self.left => Ok(size),
            _ => Err(self.contents(format!("its body has {} bytes, not {length}", self.left))),
        }
    }

    /// An error about the contents.
    pub fn contents(&self, message: impl ToString) -> FileError {
        self.error(Problem::Contents(message.to_string()))
    }

    /// An error about this file.
    pub fn error(&self, problem: Problem) -> FileError {
        FileError { path: self.path.clone(), problem }
    }

    /// Fails unless the whole body has been read.
    pub fn finish(self) -> Result<(), FileError> {
        self.check_length(0).map(|_| ())
    }

    fn check_at_most(&self, length: u64) -> Result<u64, FileError> {
        if length > self.left {
            return Err(self.contents(format!("{length} bytes are needed where {} are left", self.left)));
        }
        Ok(length)
    }
}

fn at(path: &Path) -> impl FnOnce(Problem) -> FileError + '_ {
    move |problem| FileError { path: path.to_path_buf(), problem }
}

/// Reads the rest of the file and compares its last bytes with the hash of all before.
fn verify_checksum(file: &mut File, header: &[u8], length: u64) -> Result<Hash, Problem> {
    let mut hash = Sha256::new();
    hash.update(header);
    let mut left = length - (header.len() + CHECKSUM) as u64;
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    while left > 0 {
        let chunk = left.min(BUFFER as u64) as usize;
        file.read_exact(&mut buffer[..chunk]).map_err(Problem::Read)?;
        hash.update(&buffer[..chunk]);
        left -= chunk as u64;
    }
    let mut checksum = [0; CHECKSUM];
    file.read_exact(&mut checksum).map_err(Problem::Read)?;
    if hash.finalize()[..] != checksum { Err(Problem::Checksum) } else { Ok(checksum) }
}

#[cfg(unix)]
fn warn_if_exposed(path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!("{}: the secret key is accessible to other users (chmod 600 it)", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_exposed(_path: &Path, _metadata: &std::fs::Metadata) {}
