//! The variables of a cubin that have contents: where the code finds them, and what they are.
//!
//! A cubin is an ELF file. Words of constant bank 4 are addresses of variables, filled in when the code is loaded; the
//! relocations of that bank say which. Addresses here are made up.

/// The address of the first variable, far from those of buffers and tables.
pub const ADDRESS: u64 = 0x4000_0000_0000;

/// Variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// The contents of all.
    contents: Vec<u8>,
    /// Offsets in constant bank 4, and the address that is there.
    addresses: Vec<(u64, u64)>,
}

impl Variables {
    /// Reads them from a cubin; a file of another form has none.
    pub fn read(cubin: &[u8]) -> Self {
        Self::parse(cubin).unwrap_or_default()
    }

    fn parse(file: &[u8]) -> Option<Self> {
        let sections = Section::all(file)?;
        let named = |name: &str| sections.iter().find(|section| section.name == name.as_bytes());
        let contents = named(".nv.global.init").map_or(&[][..], |section| section.contents);
        let symbols = sections.iter().find(|section| section.kind == SYMBOLS)?.contents;
        let mut addresses = Vec::new();
        for name in [".rela.nv.constant4", ".rel.nv.constant4"] {
            let Some(section) = named(name) else { continue };
            let size = if section.kind == RELA { 24 } else { 16 };
            for entry in section.contents.chunks_exact(size) {
                let (offset, info) = (word64(entry, 0)?, word64(entry, 8)?);
                let addend = if size == 24 { word64(entry, 16)? } else { 0 };
                let symbol = symbols.chunks_exact(24).nth((info >> 32) as usize)?;
                addresses.push((offset, ADDRESS.wrapping_add(word64(symbol, 8)?).wrapping_add(addend)));
            }
        }
        Some(Self { contents: contents.to_vec(), addresses })
    }

    /// The word at an offset in constant bank 4.
    pub fn constant(&self, offset: u32) -> Option<u32> {
        let at = u64::from(offset & !7);
        let (_, address) = self.addresses.iter().find(|(offset, _)| *offset == at)?;
        Some((address >> (8 * (offset & 4))) as u32)
    }

    /// The word at an address, if it is in a variable.
    pub fn word(&self, address: u64) -> Option<u32> {
        let at = usize::try_from(address.checked_sub(ADDRESS)?).ok()?;
        word32(&self.contents, at)
    }
}

const SYMBOLS: u32 = 2;
const RELA: u32 = 4;

struct Section<'f> {
    name: &'f [u8],
    kind: u32,
    contents: &'f [u8],
}

impl<'f> Section<'f> {
    /// The sections of an ELF file of 64 bits.
    fn all(file: &'f [u8]) -> Option<Vec<Self>> {
        (file.get(..5)? == b"\x7fELF\x02").then_some(())?;
        let first = usize::try_from(word64(file, 0x28)?).ok()?;
        let half = |at| Some(usize::from(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?)));
        let (size, count, names) = (half(0x3a)?, half(0x3c)?, half(0x3e)?);
        let header = |number: usize| {
            let from = first.checked_add(number.checked_mul(size)?)?;
            file.get(from..from.checked_add(size)?)
        };
        let contents = |header: &[u8]| {
            // What has no place in the file.
            if word32(header, 4)? == 8 {
                return Some(&[][..]);
            }
            let from = usize::try_from(word64(header, 0x18)?).ok()?;
            let size = usize::try_from(word64(header, 0x20)?).ok()?;
            file.get(from..from.checked_add(size)?)
        };
        let names = contents(header(names)?)?;
        (0..count)
            .map(|number| {
                let header = header(number)?;
                let name = names.get(word32(header, 0)? as usize..)?;
                let end = name.iter().position(|&byte| byte == 0)?;
                Some(Self { name: &name[..end], kind: word32(header, 4)?, contents: contents(header)? })
            })
            .collect()
    }
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cubin_has_no_variables() {
        assert_eq!(Variables::read(b""), Variables::default());
        assert_eq!(Variables::read(&[0x7f; 80]), Variables::default());
        let mut file = vec![0xff; 80];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!(Variables::read(&file), Variables::default());
    }
}
