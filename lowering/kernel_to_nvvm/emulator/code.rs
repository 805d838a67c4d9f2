//! Device code that is compiled for this CPU and loaded.

use super::{
    EmulatorError,
    block::Launched,
    lower::{Function, PREFIX, Site, lower},
    memory::Memory,
    threads::{Entry, Stacks},
};
use crate::bundle::shared_library;
use ceria_dialects::bridge::{
    emit::{Form, Target, emit},
    hooks::OperationRef,
    pass::run_pipeline,
};
use ceria_runtime::{device::LoadedCode, format::manifest::Launch};

/// MLIR's passes that lower functions to the LLVM dialect, one by one: conversions of a whole program at once take time
/// that grows faster than the program.
const TO_LLVM: &str = "llvm.func(canonicalize,cse,convert-scf-to-cf,convert-vector-to-llvm,convert-arith-to-llvm,\
    convert-index-to-llvm),convert-cf-to-llvm,reconcile-unrealized-casts,llvm.func(canonicalize,cse)";

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every load and store.
    Checked,
    /// Barriers and shuffles alone, for whole programs.
    Fast,
}

/// Loaded code of a `gpu.module`.
pub struct Code {
    functions: Vec<(Function, Entry)>,
    sites: Vec<Site>,
    mode: Mode,
    /// What the functions are in.
    _library: LoadedCode,
}

impl Code {
    /// Compiles the `gpu.module` in a module, which stays as it is.
    pub fn compile(module: OperationRef<'_, '_>, mode: Mode) -> Result<Self, EmulatorError> {
        let lowered = lower(module, mode == Mode::Checked)?;
        melior::utility::register_all_passes();
        run_pipeline(&lowered.module.as_operation(), TO_LLVM)?;
        // Code runs once or a few times, in small rings: LLVM would take longer to optimise it than it saves.
        let target = Target { level: 0, ..Target::host() };
        let object = emit(lowered.module.as_operation(), &target, Form::Object)?;
        // SAFETY: the library was made just now and has no initialisers.
        let library = unsafe { LoadedCode::load(&shared_library(&object)?) }.map_err(EmulatorError::Load)?;
        let mut functions = Vec::with_capacity(lowered.functions.len());
        for function in lowered.functions {
            let symbol = format!("{PREFIX}{}", function.name);
            // SAFETY: lowered functions have this type.
            let entry = *unsafe { library.get::<Entry>(&symbol) }.map_err(EmulatorError::Load)?;
            functions.push((function, entry));
        }
        Ok(Self { functions, sites: lowered.sites, mode, _library: library })
    }

    /// The functions.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().map(|(function, _)| function)
    }

    /// Runs all blocks of a launch. `number` is that of the launch, counted from 1.
    ///
    /// # Safety
    /// In fast mode the code accesses nothing but what it may.
    pub unsafe fn launch(
        &self,
        launch: &Launch,
        parameters: &[u64],
        memory: &mut Memory,
        number: u64,
        stacks: &mut Stacks,
    ) -> Result<(), EmulatorError> {
        let wrong = |reason: String| EmulatorError::Launch { function: launch.symbol.clone(), reason };
        let found = self.functions.iter().find(|(function, _)| function.name == launch.symbol);
        let (function, entry) = found.ok_or_else(|| wrong("there is no such function".into()))?;
        if function.parameters != parameters.len() {
            return Err(wrong(format!(
                "it takes {} parameters, not {}",
                function.parameters,
                parameters.len()
            )));
        }
        let block = [launch.block, 1, 1];
        let known = function.block.map(|known| known.map(|extent| u32::try_from(extent).unwrap_or(0)));
        if let Some(known) = known
            && known != block
        {
            return Err(wrong(format!("it is made for blocks of {known:?} threads, not {block:?}")));
        }
        let blocks = launch.grid.iter().try_fold(1u32, |all, &extent| all.checked_mul(extent));
        if blocks.is_none_or(|blocks| blocks == 0) || !(1..=1024).contains(&launch.block) {
            return Err(wrong(format!(
                "a grid of {:?} blocks of {} threads is impossible",
                launch.grid, launch.block
            )));
        }
        let launched = Launched {
            name: &function.name,
            entry: *entry,
            sites: &self.sites,
            parameters,
            grid: launch.grid,
            threads: launch.block,
            shared_bytes: function.shared_bytes + u64::from(launch.shared_bytes),
        };
        let tracked = (self.mode == Mode::Checked).then_some((memory, number));
        // SAFETY: the code was made from this function for this mode; the caller says the rest.
        unsafe { launched.run(function.waits, tracked, stacks) }
    }
}
