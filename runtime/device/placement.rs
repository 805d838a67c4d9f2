//! Which tables lie in a device's memory and which stay in the host's.
//!
//! Everything is placed before work starts, so that too small a device is an error with its figures rather than one in
//! the middle of a run. Tables that do not fit stay in memory of the host that the device reads in place: first the
//! largest tables of keys, each word of which a key switch reads once, then the largest plaintexts. Tables that are read
//! again and again (permutations, roots of unity) must fit.

use super::error::DeviceError;
use crate::format::manifest::{Table, TableContent};

/// How willingly a table is left in the host's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// It goes first.
    Key,
    /// It goes when all keys have gone.
    Plaintext,
    /// It has to be in the device's memory.
    Never,
}

/// What the placement needs to know of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its words.
    pub words: usize,
    /// Whether the host program reads it.
    pub index: bool,
    /// Whether it may stay in the host's memory.
    pub stay: Stay,
}

impl TableSize {
    /// Of a table of a manifest.
    pub fn of(table: &Table) -> Result<Self, DeviceError> {
        let stay = match table.content {
            TableContent::GaloisKey { .. }
            | TableContent::RelinKey { .. }
            | TableContent::SparseKey { .. }
            | TableContent::DenseKey { .. } => Stay::Key,
            TableContent::Plaintext { .. } | TableContent::Monomial { .. } => Stay::Plaintext,
            TableContent::Index { .. }
            | TableContent::Automorphism { .. }
            | TableContent::Twiddles { .. } => Stay::Never,
        };
        let index = matches!(table.content, TableContent::Index { .. });
        Ok(Self { words: (table.bytes()? / 4) as usize, index, stay })
    }

    /// A table that lies in the device's memory.
    pub fn device(words: usize, index: bool) -> Self {
        Self { words, index, stay: Stay::Never }
    }

    /// What it takes of the device's memory.
    pub fn bytes(&self) -> u64 {
        padded(self.words as u64 * 4)
    }
}

/// Allocations begin at multiples of this.
pub const GRAIN: u64 = 256;

/// The bytes that an allocation takes.
pub fn padded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(GRAIN)
}

/// Where everything lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// For each table whether it stays in the host's memory.
    pub on_host: Vec<bool>,
    /// The bytes that are allocated on the device.
    pub device_bytes: u64,
    /// The bytes of the tables on the host.
    pub host_bytes: u64,
}

/// Places tables beside `fixed` bytes that must be on a device with `free` bytes.
pub fn place(tables: &[TableSize], fixed: u64, free: Option<u64>) -> Result<Placement, DeviceError> {
    let all = tables.iter().map(TableSize::bytes).fold(fixed, u64::saturating_add);
    let mut placement = Placement { on_host: vec![false; tables.len()], device_bytes: all, host_bytes: 0 };
    let Some(free) = free else { return Ok(placement) };
    let mut movable: Vec<usize> = (0..tables.len()).filter(|&i| tables[i].stay != Stay::Never).collect();
    movable.sort_by_key(|&i| (tables[i].stay, std::cmp::Reverse(tables[i].words), i));
    for i in movable {
        if placement.device_bytes <= free {
            break;
        }
        placement.on_host[i] = true;
        placement.device_bytes -= tables[i].bytes();
        placement.host_bytes += tables[i].bytes();
    }
    if placement.device_bytes > free {
        return Err(DeviceError::DeviceMemory {
            needed: placement.device_bytes >> 20,
            available: free >> 20,
        });
    }
    Ok(placement)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [TableSize; 4] = [
        TableSize { words: 1024, index: false, stay: Stay::Plaintext },
        TableSize { words: 64, index: true, stay: Stay::Never },
        TableSize { words: 256, index: false, stay: Stay::Key },
        TableSize { words: 512, index: false, stay: Stay::Key },
    ];

    fn on_host(free: Option<u64>) -> Vec<usize> {
        let placement = place(&TABLES, 1000, free).expect("it fits");
        assert!(free.is_none_or(|free| placement.device_bytes <= free));
        assert_eq!(placement.device_bytes + placement.host_bytes, 1000 + 4096 + 256 + 1024 + 2048);
        (0..TABLES.len()).filter(|&i| placement.on_host[i]).collect()
    }

    #[test]
    fn keys_stay_on_the_host_before_plaintexts() {
        assert_eq!(on_host(None), [0usize; 0]);
        assert_eq!(on_host(Some(1000 + 4096 + 256 + 1024 + 2048)), [0usize; 0]);
        assert_eq!(on_host(Some(8423)), [3]);
        assert_eq!(on_host(Some(6000)), [2, 3]);
        assert_eq!(on_host(Some(1256)), [0, 2, 3]);
    }

    #[test]
    fn what_must_be_on_the_device_is_refused_with_its_size() {
        let error = place(&TABLES, 5 << 20, Some(1 << 20)).expect_err("it does not fit").to_string();
        assert!(error.contains("5 MiB") && error.contains("1 MiB"), "{error}");
    }
}
