//! The device that the runtime drives.

use super::{Code, EmulatorError, Mode, memory::Memory, threads::Stacks};
use ceria_dialects::bridge::hooks::OperationRef;
use ceria_runtime::{
    device::{Device, DeviceError},
    format::manifest::Launch,
};

/// A GPU on the CPU, with the code that it runs.
pub struct Emulated {
    code: Code,
    memory: Memory,
    stacks: Stacks,
    launches: u64,
}

impl Emulated {
    /// A device with the code of the `gpu.module` in a module, which stays as it is.
    pub fn new(module: OperationRef<'_, '_>, mode: Mode) -> Result<Self, EmulatorError> {
        let code = Code::compile(module, mode)?;
        Ok(Self { code, memory: Memory::default(), stacks: Stacks::default(), launches: 0 })
    }

    /// The code.
    pub fn code(&self) -> &Code {
        &self.code
    }
}

impl Device for Emulated {
    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let failed = || EmulatorError::Transfer { what: "an allocation", address: 0, bytes };
        Ok(self.memory.allocate(bytes).ok_or_else(failed)?)
    }

    fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), DeviceError> {
        let bytes = size_of_val(words) as u64;
        let fits = self.memory.upload(to, words);
        transfer("an upload", to, bytes, fits)
    }

    fn download(&mut self, from: u64, words: &mut [u32]) -> Result<(), DeviceError> {
        let bytes = size_of_val(words) as u64;
        let fits = self.memory.download(from, words);
        transfer("a download", from, bytes, fits)
    }

    fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        let fits = self.memory.copy(to, from, bytes);
        transfer("a copy", to, bytes, fits)
    }

    /// What a launch did until a fault is done.
    fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), DeviceError> {
        self.launches += 1;
        // SAFETY: who chooses the fast mode trusts the compiler as far as one trusts it on a GPU.
        unsafe { self.code.launch(launch, parameters, &mut self.memory, self.launches, &mut self.stacks) }?;
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

fn transfer(what: &'static str, address: u64, bytes: u64, fits: bool) -> Result<(), DeviceError> {
    if fits { Ok(()) } else { Err(EmulatorError::Transfer { what, address, bytes }.into()) }
}
