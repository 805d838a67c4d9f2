//! Tables kept between runs, in files that are mapped into memory.
//!
//! What a server builds when it loads a bundle, expanded keys and encoded weights, depends only on the bundle and the
//! client's keys. A [`TableCache`] keeps each large table in a file of its own: the next run maps it instead of building
//! it, and the system may give its memory to others and read it again, so that tables may be larger than the memory.
//!
//! ```text
//! offset  bytes
//!      0      8  magic
//!      8      4  version
//!     12      4  zero
//!     16      8  number of words
//!     24     32  identity: what the table was built from
//!     56     32  SHA-256 of the words
//!    128         words, little-endian
//! ```
//!
//! A file that is not what it says is built again. Files are written under another name first, so that none is half there.
//! A client's keys in a cache are no secret, but they say who the client is: the folder is its owner's only.

use super::{error::DeviceError, memory::Buffer};
use crate::client::files::Words;
use memmap2::{Mmap, MmapMut};
use sha2::{Digest, Sha256};
use std::{
    fs::{DirBuilder, File},
    io,
    os::{fd::AsRawFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::Arc,
};

const MAGIC: &[u8; 8] = b"\x89CERIAT\n";
const VERSION: u32 = 1;
/// The words begin here, at a multiple of the alignment that programs expect.
const HEADER: usize = 128;

/// Tables of fewer bytes are not kept.
const SMALLEST: u64 = 1 << 20;

/// Whether a table of so many bytes is kept: smaller ones are built faster than they are found.
pub fn keeps(bytes: u64) -> bool {
    bytes >= SMALLEST
}

/// A table's words.
pub enum TableWords {
    /// In memory of its own.
    Built(Buffer),
    /// In a file of a cache.
    Kept(Words),
}

impl From<Buffer> for TableWords {
    fn from(buffer: Buffer) -> Self {
        Self::Built(buffer)
    }
}

impl TableWords {
    /// The address of its words.
    pub fn address(&self) -> *const u32 {
        self.words().as_ptr()
    }

    /// Its words.
    pub fn words(&self) -> &[u32] {
        match self {
            Self::Built(buffer) => buffer.words(),
            Self::Kept(words) => words,
        }
    }
}

/// A folder of tables.
#[derive(Clone, Debug)]
pub struct TableCache {
    folder: PathBuf,
}

impl TableCache {
    /// Opens a folder, or makes it for its owner only.
    pub fn open(folder: &Path) -> Result<Self, DeviceError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| DeviceError::Write { path: folder.display().to_string(), source })?;
        Ok(Self { folder: folder.into() })
    }

    /// The table of this identity, from its file if there is one.
    pub fn get(&self, identity: &[u8; 32], count: usize) -> Option<TableWords> {
        let file = File::open(self.path(identity)).ok()?;
        // SAFETY: what follows from a file that others change is said where such words are defined.
        let file = unsafe { Mmap::map(&file) }.ok()?;
        let header = file.get(..HEADER)?;
        let expected = header_of(identity, count, header.get(56..88)?);
        let bytes = file.get(HEADER..)?;
        let whole = header == expected && bytes.len() == count.checked_mul(4)?;
        if !whole || hash(bytes) != header[56..88] {
            return None;
        }
        mapped(file, count)
    }

    /// Builds a table of zeros with `fill` in a file of the cache, and maps it.
    pub fn build(
        &self,
        identity: &[u8; 32],
        count: usize,
        fill: impl FnOnce(&mut [u32]) -> Result<(), DeviceError>,
    ) -> Result<TableWords, DeviceError> {
        let path = self.path(identity);
        let failed = |source: io::Error| DeviceError::Write { path: path.display().to_string(), source };
        let temporary =
            tempfile::Builder::new().prefix(".ceria-").tempfile_in(&self.folder).map_err(failed)?;
        let length = (count as u64).saturating_mul(4).saturating_add(HEADER as u64);
        reserve(temporary.as_file(), length).map_err(failed)?;
        // SAFETY: nobody else knows the file.
        let mut map = unsafe { MmapMut::map_mut(temporary.as_file()) }.map_err(failed)?;
        let (header, bytes) = map.split_at_mut(HEADER);
        // SAFETY: the bytes are as many words, aligned as HEADER is, and borrowed exclusively.
        fill(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<u32>(), count) })?;
        let digest = hash(bytes);
        header.copy_from_slice(&header_of(identity, count, &digest));
        map.flush().map_err(failed)?;
        drop(map);
        let file = temporary.persist(&path).map_err(|error| failed(error.error))?;
        // SAFETY: as in `get`.
        let file = unsafe { Mmap::map(&file) }.map_err(failed)?;
        mapped(file, count).ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))
    }

    fn path(&self, identity: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}.table", crate::format::manifest::hex(identity)))
    }
}

/// The words of a file.
fn mapped(file: Mmap, count: usize) -> Option<TableWords> {
    Words::map(&Arc::new(file), HEADER, count).map(TableWords::Kept)
}

/// Makes a file so long, with room for it on the disk: writing to a mapping that finds none would end the process.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the descriptor is open for writing.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The hash of a table, made of the hashes of its parts so that threads share the work.
fn hash(bytes: &[u8]) -> [u8; 32] {
    use rayon::prelude::*;
    let parts: Vec<[u8; 32]> = bytes.par_chunks(1 << 22).map(|part| Sha256::digest(part).into()).collect();
    Sha256::digest(parts.as_flattened()).into()
}

fn header_of(identity: &[u8; 32], count: usize, digest: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&(count as u64).to_le_bytes());
    header[24..56].copy_from_slice(identity);
    header[56..88].copy_from_slice(digest);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn numbers(words: &mut [u32]) -> Result<(), DeviceError> {
        words.iter_mut().zip(0..).for_each(|(word, i)| *word = i);
        Ok(())
    }

    #[test]
    fn tables_come_back_and_damaged_ones_do_not() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let cache = TableCache::open(&folder.path().join("tables"))?;
        let identity = [7; 32];
        assert!(cache.get(&identity, 1000).is_none());
        let built = cache.build(&identity, 1000, numbers)?;
        assert_eq!((built.words().len(), built.words()[999]), (1000, 999));
        let found = cache.get(&identity, 1000).ok_or("no table")?;
        assert_eq!(found.words(), built.words());
        assert!(cache.get(&identity, 999).is_none() && cache.get(&[8; 32], 1000).is_none());
        drop((built, found));
        let path = cache.path(&identity);
        let whole = fs::read(&path)?;
        for damage in [0, 8, 20, 30, 60, 100, HEADER, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[damage] ^= 1;
            fs::write(&path, &bytes)?;
            assert!(cache.get(&identity, 1000).is_none(), "byte {damage}");
        }
        for length in [0, HEADER, whole.len() - 4] {
            fs::write(&path, &whole[..length])?;
            assert!(cache.get(&identity, 1000).is_none(), "length {length}");
        }
        Ok(())
    }

    #[test]
    fn a_table_that_cannot_be_built_leaves_no_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let cache = TableCache::open(folder.path())?;
        let failed = cache.build(&[1; 32], 10, |_| Err(DeviceError::MissingKey("a key".into())));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
