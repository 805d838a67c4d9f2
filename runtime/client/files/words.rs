//! Words of a file, in memory of their own or where the file is mapped.
//!
//! Evaluation keys of a deep network are gigabytes. Mapped, they take no memory that the system could not give to others:
//! it reads them again when they are needed. A file that is changed after it was checked makes results wrong, as a server
//! can at any time; one that is truncated meanwhile ends the process, as it ends any that maps files.

use memmap2::Mmap;
use std::{ops::Deref, sync::Arc};

/// Words that are only read.
pub enum Words {
    /// In memory of their own.
    Owned(Vec<u32>),
    /// In a mapped file.
    Mapped(MappedWords),
}

/// A part of a mapped file as words.
pub struct MappedWords {
    file: Arc<Mmap>,
    /// Where they begin, in bytes: a multiple of four.
    start: usize,
    count: usize,
}

impl Words {
    /// `count` little-endian words from byte `start` of a mapped file. `None` if they are not inside the file; a copy where
    /// words of memory are not those of the file.
    pub fn map(file: &Arc<Mmap>, start: usize, count: usize) -> Option<Self> {
        let end = count.checked_mul(4)?.checked_add(start)?;
        let bytes = file.get(start..end)?;
        if cfg!(target_endian = "little") && bytes.as_ptr().cast::<u32>().is_aligned() {
            return Some(Self::Mapped(MappedWords { file: file.clone(), start, count }));
        }
        let words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Some(Self::Owned(words.collect()))
    }
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Owned(words) => words,
            Self::Mapped(MappedWords { file, start, count }) => {
                let pointer = file[*start..].as_ptr().cast::<u32>();
                // SAFETY: `map` saw that so many words are there, aligned, and the mapping lives as long as `self`.
                unsafe { std::slice::from_raw_parts(pointer, *count) }
            }
        }
    }
}

impl From<Vec<u32>> for Words {
    fn from(words: Vec<u32>) -> Self {
        Self::Owned(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn mapped_words_are_those_of_the_file() {
        let mut file = tempfile::tempfile().unwrap_or_else(|e| panic!("{e}"));
        let bytes: Vec<u8> = (0..40).collect();
        file.write_all(&bytes).unwrap_or_else(|e| panic!("{e}"));
        // SAFETY: nobody else has the file.
        let map = Arc::new(unsafe { Mmap::map(&file) }.unwrap_or_else(|e| panic!("{e}")));
        let expected = |start: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[start + i]));
        for start in [0, 4, 7] {
            let words = Words::map(&map, start, 8).unwrap_or_else(|| panic!("{start}"));
            assert_eq!(matches!(words, Words::Mapped(_)), start % 4 == 0);
            assert_eq!((words.len(), words[0], words[7]), (8, expected(start), expected(start + 28)));
        }
        assert!(Words::map(&map, 12, 8).is_none());
        assert!(Words::map(&map, 0, usize::MAX).is_none());
    }
}
