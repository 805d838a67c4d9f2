//! The part of a manifest that is about code for a device.

use super::{Manifest, ManifestError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kernel, for profiles, and what a device runs for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its name in the intermediate code.
    pub name: String,
    /// The device functions that are launched for it, in order; none where the kernel runs on the CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launches: Vec<Launch>,
    /// For each of its arguments the bytes of the buffer, 0 for a number, where the kernel runs on a device. Without
    /// them, tables that do not fit on the device are not brought there ahead of their use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffers: Vec<u64>,
}

/// A launch of one function on a device. The function takes some of these values of 64 bits each: the arguments of the
/// kernel (addresses and numbers), the address of the table of twiddles, that of the launch's constants, and that of the
/// device's scratch memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The function's name in the device code.
    pub symbol: String,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Bytes of shared memory of a block beyond what the function declares itself.
    #[serde(default)]
    pub shared_bytes: u32,
    /// The numbers of the values that the function takes, in its order.
    pub arguments: Vec<u32>,
    /// The word of the table of constants at which the launch's begin.
    pub constants: u64,
}

/// Code for an accelerator beside the host program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCode {
    /// The bundle's file with the code as PTX, which the driver compiles for the device at hand.
    pub ptx: String,
    /// Files with code assembled for one architecture each, by its number: 90 for sm_90.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cubins: BTreeMap<u32, String>,
    /// Bytes of scratch memory that launches share.
    pub scratch_bytes: u64,
}

impl Manifest {
    /// Devices refuse launches outside these limits, and a bundle for the CPU has none.
    pub(super) fn check_launches(&self) -> Result<(), ManifestError> {
        let wrong = |what: String| Err(ManifestError::Inconsistent(what));
        if let Some(device) = &self.device {
            for path in device.cubins.values().chain([&device.ptx]) {
                self.file(path)?;
            }
        }
        for kernel in &self.kernels {
            if kernel.launches.is_empty() == self.device.is_some() {
                return wrong(format!("kernel {} is not for the device of the bundle", kernel.name));
            }
            for launch in &kernel.launches {
                let limits = [i32::MAX as u32, 65535, 65535];
                let fits = launch.grid.iter().zip(limits).all(|(&blocks, most)| (1..=most).contains(&blocks));
                if !fits || !(1..=1024).contains(&launch.block) || launch.symbol.contains('\0') {
                    return wrong(format!("{} cannot be launched", launch.symbol));
                }
            }
        }
        Ok(())
    }
}
