//! A bundle on disk, verified.

use super::error::DeviceError;
use crate::format::manifest::{Manifest, hex};
use memmap2::Mmap;
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// An opened bundle: its manifest is checked, its files are checked when they are read.
#[derive(Clone, Debug)]
pub struct Bundle {
    folder: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The hash of the manifest, which names the bundle.
    pub hash: [u8; 32],
}

impl Bundle {
    /// Opens the bundle in a folder. Loads no code and reads no other file.
    pub fn open(folder: &Path) -> Result<Self, DeviceError> {
        let (manifest, hash) = Manifest::read(folder)?;
        Ok(Self { folder: folder.into(), manifest, hash })
    }

    /// Fails unless the bundle has this hash, in hexadecimal.
    pub fn expect_hash(&self, expected: &str) -> Result<(), DeviceError> {
        let found = hex(&self.hash);
        if found == expected.trim().to_ascii_lowercase() {
            Ok(())
        } else {
            Err(DeviceError::Hash { found, expected: expected.trim().into() })
        }
    }

    /// The contents of a file, checked against the manifest.
    pub fn read(&self, path: &str) -> Result<Mmap, DeviceError> {
        let entry = self.manifest.file(path)?;
        let full = self.folder.join(path);
        let failed = |source| DeviceError::Read { path: full.display().to_string(), source };
        let file = File::open(&full).map_err(failed)?;
        // SAFETY: the contents are hashed below and parsed with bounds checks; a file that is truncated meanwhile
        // ends the process, as it would end any program that maps files.
        let contents = unsafe { Mmap::map(&file) }.map_err(failed)?;
        entry.verify(path, &contents)?;
        Ok(contents)
    }

    /// Checks every file.
    pub fn verify(&self) -> Result<(), DeviceError> {
        self.manifest.files.keys().try_for_each(|path| self.read(path).map(drop))
    }

    /// The file of the best code that this machine can run.
    pub fn host_code(&self) -> Result<&'static str, DeviceError> {
        let found = HOST_CODE.iter().find(|&&file| runs(file) && self.manifest.files.contains_key(file));
        found.copied().ok_or(DeviceError::Machine(std::env::consts::ARCH))
    }
}

/// The files that code may be in, best first.
const HOST_CODE: [&str; 3] = ["host-x86_64-v4.so", "host-x86_64-v3.so", "host-x86_64-v2.so"];

/// Whether this machine runs the code of a file of a bundle.
pub fn runs(file: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    match file {
        "host-x86_64-v4.so" => return has_v4(),
        "host-x86_64-v3.so" => return has_v3(),
        "host-x86_64-v2.so" => {
            return is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
        }
        _ => {}
    }
    let _ = file;
    false
}

#[cfg(target_arch = "x86_64")]
fn has_v3() -> bool {
    ["avx2", "bmi1", "bmi2", "fma", "f16c", "lzcnt", "movbe"].iter().all(|&feature| match feature {
        "avx2" => is_x86_feature_detected!("avx2"),
        "bmi1" => is_x86_feature_detected!("bmi1"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "fma" => is_x86_feature_detected!("fma"),
        "f16c" => is_x86_feature_detected!("f16c"),
        "lzcnt" => is_x86_feature_detected!("lzcnt"),
        _ => is_x86_feature_detected!("movbe"),
    })
}

#[cfg(target_arch = "x86_64")]
fn has_v4() -> bool {
    has_v3()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}
