//! Arrays in `.npy` and `.npz` files.
//!
//! Reading is bounded: a file of more than [`MAX_BYTES`] is refused, and what a header says is compared with the bytes
//! that are there before memory is set aside. Writing replaces the whole file or leaves it as it was.

use ndarray::{Array, ArrayD, IxDyn};
use ndarray_npy::{NpzWriter, ReadNpyError, ReadNpyExt, WriteNpyExt};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Cursor, Read, Write},
    path::Path,
};
use zip::ZipArchive;

/// No array file, and no member of one, is longer than this.
pub const MAX_BYTES: u64 = 4 << 30;

/// What is wrong with an array file.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is not what its name says.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// An array of one of the types that models use.
#[derive(Clone, Debug, PartialEq)]
pub enum NumericArray {
    /// 32-bit floats.
    F32(ArrayD<f32>),
    /// 64-bit floats.
    F64(ArrayD<f64>),
    /// Integers or truth values of any width.
    Int(ArrayD<i64>),
    /// 32-bit words: residues.
    Words(ArrayD<u32>),
}

impl NumericArray {
    /// The extents.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(a) => a.shape(),
            Self::F64(a) => a.shape(),
            Self::Int(a) => a.shape(),
            Self::Words(a) => a.shape(),
        }
    }

    /// Whether the elements are floats.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::F32(_) | Self::F64(_))
    }

    /// The elements as 64-bit floats.
    pub fn to_f64(&self) -> ArrayD<f64> {
        match self {
            Self::F32(a) => a.mapv(f64::from),
            Self::F64(a) => a.clone(),
            Self::Int(a) => a.mapv(|x| x as f64),
            Self::Words(a) => a.mapv(f64::from),
        }
    }

    /// The elements, unless they are floats.
    pub fn to_integers(&self) -> Option<ArrayD<i64>> {
        match self {
            Self::F32(_) | Self::F64(_) => None,
            Self::Int(a) => Some(a.clone()),
            Self::Words(a) => Some(a.mapv(i64::from)),
        }
    }
}

/// Reads the arrays of a `.npz` file by name, or the one of a `.npy` file under the name `""`.
pub fn read(path: &Path) -> Result<BTreeMap<String, NumericArray>, ArrayError> {
    let shown = path.display().to_string();
    let failed = |source| ArrayError::Read { path: shown.clone(), source };
    let wrong = |reason: String| ArrayError::Format { path: shown.clone(), reason };
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > MAX_BYTES {
        return Err(wrong("is too long".into()));
    }
    let mut magic = [0; 6];
    let short = |_| wrong("is no .npy or .npz file".into());
    file.read_exact(&mut magic).map_err(short)?;
    io::Seek::rewind(&mut file).map_err(failed)?;
    if magic == *b"\x93NUMPY" {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        return Ok(BTreeMap::from([(String::new(), parse(&bytes).map_err(wrong)?)]));
    }
    let mut archive = ZipArchive::new(file).map_err(|e| wrong(format!("is no .npz file: {e}")))?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(|e| wrong(e.to_string()))?;
        let name = member.name().strip_suffix(".npy").unwrap_or(member.name()).to_string();
        if member.size() > MAX_BYTES {
            return Err(wrong(format!("array '{name}' is too long")));
        }
        let mut bytes = Vec::new();
        member.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let array = parse(&bytes).map_err(|e| wrong(format!("array '{name}' {e}")))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Parses the bytes of a `.npy` file.
fn parse(bytes: &[u8]) -> Result<NumericArray, String> {
    let (header, data) = split(bytes).ok_or("has a damaged header")?;
    let field =
        |name: &str| header.split_once(name).map(|(_, rest)| rest.trim_start_matches(['\'', ':', ' ', '"']));
    let descr = field("descr")
        .and_then(|rest| rest.split(['\'', '"']).next())
        .ok_or("has a header without a type")?;
    let shape = field("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
    let mut elements = 1u64;
    for extent in
        shape.ok_or("has a header without a shape")?.split(',').map(str::trim).filter(|e| !e.is_empty())
    {
        let extent: u64 = extent.parse().map_err(|_| "has a malformed shape")?;
        elements = elements.checked_mul(extent).ok_or("has an impossible shape")?;
    }
    let width: u64 =
        descr.get(2..).and_then(|w| w.parse().ok()).ok_or_else(|| format!("has the type {descr}"))?;
    if elements.checked_mul(width) != Some(data as u64) {
        return Err(format!("has {data} bytes of data, but a shape for {elements} elements of {width}"));
    }
    fn read<T: ndarray_npy::ReadableElement>(bytes: &[u8]) -> Result<ArrayD<T>, String> {
        Array::<T, IxDyn>::read_npy(Cursor::new(bytes)).map_err(|e: ReadNpyError| e.to_string())
    }
    Ok(match descr.get(1..).unwrap_or_default() {
        "f4" => NumericArray::F32(read::<f32>(bytes)?),
        "f8" => NumericArray::F64(read::<f64>(bytes)?),
        "b1" => NumericArray::Int(read::<bool>(bytes)?.mapv(i64::from)),
        "i1" => NumericArray::Int(read::<i8>(bytes)?.mapv(i64::from)),
        "u1" => NumericArray::Int(read::<u8>(bytes)?.mapv(i64::from)),
        "i2" => NumericArray::Int(read::<i16>(bytes)?.mapv(i64::from)),
        "u2" => NumericArray::Int(read::<u16>(bytes)?.mapv(i64::from)),
        "i4" => NumericArray::Int(read::<i32>(bytes)?.mapv(i64::from)),
        "u4" => NumericArray::Words(read::<u32>(bytes)?),
        "i8" => NumericArray::Int(read::<i64>(bytes)?),
        _ => return Err(format!("has the type {descr}; float32, float64 and integers are supported")),
    })
}

/// The text of the header, and the number of bytes after it.
fn split(bytes: &[u8]) -> Option<(&str, usize)> {
    let (length, start) = match bytes.get(6)? {
        1 => (u64::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?)), 10),
        _ => (u64::from(u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?)), 12),
    };
    let end = start + usize::try_from(length).ok()?;
    let header = std::str::from_utf8(bytes.get(start..end)?).ok()?;
    Some((header, bytes.len() - end))
}

/// Writes arrays to a `.npz` file, or the only one to a `.npy` file.
pub fn write(path: &Path, arrays: &BTreeMap<String, NumericArray>) -> Result<(), ArrayError> {
    let failed = |reason: String| ArrayError::Write { path: path.display().to_string(), reason };
    let mut bytes = Vec::new();
    let result = match (path.extension().is_some_and(|e| e == "npy"), arrays.len()) {
        (true, 1) => arrays.values().try_for_each(|array| {
            match array {
                NumericArray::F32(a) => a.write_npy(&mut bytes),
                NumericArray::F64(a) => a.write_npy(&mut bytes),
                NumericArray::Int(a) => a.write_npy(&mut bytes),
                NumericArray::Words(a) => a.write_npy(&mut bytes),
            }
            .map_err(|e| e.to_string())
        }),
        (true, count) => Err(format!("a .npy file holds one array, there are {count}; use .npz")),
        (false, _) => npz(arrays).map(|archive| bytes = archive),
    };
    result.map_err(failed)?;
    write_atomically(path, &bytes).map_err(|e| failed(e.to_string()))
}

fn npz(arrays: &BTreeMap<String, NumericArray>) -> Result<Vec<u8>, String> {
    let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        match array {
            NumericArray::F32(a) => writer.add_array(name.as_str(), a),
            NumericArray::F64(a) => writer.add_array(name.as_str(), a),
            NumericArray::Int(a) => writer.add_array(name.as_str(), a),
            NumericArray::Words(a) => writer.add_array(name.as_str(), a),
        }
        .map_err(|e| e.to_string())?;
    }
    Ok(writer.finish().map_err(|e| e.to_string())?.into_inner())
}

/// Writes a file under another name beside it and renames it, so that nobody sees half of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".ceria-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BTreeMap<String, NumericArray> {
        let a = ArrayD::from_shape_fn(IxDyn(&[2, 3]), |i| (i[0] * 3 + i[1]) as f32);
        let b = ArrayD::from_elem(IxDyn(&[]), 7);
        let c = ArrayD::from_elem(IxDyn(&[2]), u32::MAX);
        let named = [("a", NumericArray::F32(a)), ("b", NumericArray::Int(b)), ("c", NumericArray::Words(c))];
        named.map(|(name, array)| (name.to_string(), array)).into()
    }

    #[test]
    fn survives_a_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("x.npz");
        write(&path, &sample())?;
        assert_eq!(read(&path)?, sample());
        assert!(write(&folder.path().join("x.npy"), &sample()).is_err());
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn damaged_files_are_errors() -> Result<(), Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        ArrayD::<f64>::zeros(IxDyn(&[4, 5])).write_npy(&mut bytes)?;
        assert!(parse(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
        let text = String::from_utf8_lossy(&bytes).replace("(4, 5)", "(4, 5000000000000)");
        assert!(parse(text.as_bytes()).is_err());
        for position in 0..bytes.len().min(128) {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x41;
            let _ = parse(&flipped);
        }
        Ok(())
    }
}
