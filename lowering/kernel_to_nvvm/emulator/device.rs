//! The device that the runtime drives.

use super::{Code, EmulatorError, Mode, memory::Memory, threads::Stacks};
use ceria_dialects::bridge::hooks::OperationRef;
use ceria_runtime::format::manifest::Launch;

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
        let mut memory = Memory::default();
        code.register(&mut memory);
        Ok(Self { code, memory, stacks: Stacks::default(), launches: 0 })
    }

    /// The code.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// New memory.
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, EmulatorError> {
        let failed = || EmulatorError::Transfer { what: "an allocation", address: 0, bytes };
        self.memory.allocate(bytes).ok_or_else(failed)
    }

    /// Copies words to the device.
    pub fn upload(&mut self, to: u64, words: &[u32]) -> Result<(), EmulatorError> {
        let bytes = size_of_val(words) as u64;
        let fits = self.memory.upload(to, words);
        transfer("an upload", to, bytes, fits)
    }

    /// Copies words from the device.
    pub fn download(&mut self, from: u64, words: &mut [u32]) -> Result<(), EmulatorError> {
        let bytes = size_of_val(words) as u64;
        let fits = self.memory.download(from, words);
        transfer("a download", from, bytes, fits)
    }

    /// Copies inside the device.
    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), EmulatorError> {
        let fits = self.memory.copy(to, from, bytes);
        transfer("a copy", to, bytes, fits)
    }

    /// Runs a function. What it did until a fault is done.
    pub fn launch(&mut self, launch: &Launch, parameters: &[u64]) -> Result<(), EmulatorError> {
        self.launches += 1;
        // SAFETY: who chooses the fast mode trusts the compiler as far as one trusts it on a GPU.
        unsafe { self.code.launch(launch, parameters, &mut self.memory, self.launches, &mut self.stacks) }
    }
}

fn transfer(what: &'static str, address: u64, bytes: u64, fits: bool) -> Result<(), EmulatorError> {
    if fits { Ok(()) } else { Err(EmulatorError::Transfer { what, address, bytes }) }
}
