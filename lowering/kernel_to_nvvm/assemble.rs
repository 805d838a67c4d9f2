//! Assembles PTX for one architecture, and reads what the assembler reports of each function.
//!
//! Before: PTX text, which names the architecture it needs at least. After: a cubin, and registers, spills, stack and
//! shared memory of every entry function.

use super::tools::{Tool, ToolError, text};
use std::{collections::BTreeMap, fs};

/// What the assembler reports of an entry function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread stores because registers do not suffice.
    pub spill_stores: u32,
    /// Bytes that a thread loads again.
    pub spill_loads: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes of shared memory that the function declares for a block.
    pub shared: u32,
    /// Bytes of constants that belong to the function.
    pub constants: u32,
    /// Barriers.
    pub barriers: u32,
}

impl Usage {
    /// Whether values go to memory for want of registers.
    pub fn spills(&self) -> bool {
        self.spill_stores > 0 || self.spill_loads > 0
    }
}

/// Assembled code.
pub struct Assembled {
    /// The code, an ELF file.
    pub cubin: Vec<u8>,
    /// What each entry function uses.
    pub functions: BTreeMap<String, Usage>,
}

/// Assembles PTX for an architecture: 90 for sm_90.
pub fn assemble(ptx: &str, architecture: u32) -> Result<Assembled, ToolError> {
    let failed = Tool::Ptxas.failed();
    let folder = tempfile::tempdir().map_err(&failed)?;
    let (from, to) = (folder.path().join("kernels.ptx"), folder.path().join("kernels.cubin"));
    fs::write(&from, ptx).map_err(&failed)?;
    let target = format!("-arch=sm_{architecture}");
    let (_, report) = Tool::Ptxas.run(&[target, "-v".into(), text(&from), "-o".into(), text(&to)])?;
    let cubin = fs::read(&to).map_err(&failed)?;
    Ok(Assembled { cubin, functions: read(&report) })
}

/// Reads the assembler's report.
fn read(report: &str) -> BTreeMap<String, Usage> {
    let mut functions = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in report.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let name = rest.split('\'').next().unwrap_or_default().to_string();
            functions.insert(name.clone(), Usage::default());
            current = Some(name);
            continue;
        }
        let Some(usage) = current.as_ref().and_then(|name| functions.get_mut(name)) else { continue };
        // Each figure is a number before what it counts: `32 registers`, `0 bytes spill stores`, `used 1 barriers`.
        for part in line.split([',', ':']) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| word.parse::<u32>().is_ok()) else { continue };
            let number = words[at].parse().unwrap_or(0);
            let what = words[at + 1..].join(" ");
            match what.as_str() {
                "registers" => usage.registers = number,
                "bytes stack frame" => usage.stack = number,
                "bytes spill stores" => usage.spill_stores = number,
                "bytes spill loads" => usage.spill_loads = number,
                "barriers" => usage.barriers = number,
                "bytes smem" => usage.shared = number,
                // Bank 0 has the parameters of the launch, which are not the function's own.
                _ if what.starts_with("bytes cmem[") && what != "bytes cmem[0]" => usage.constants += number,
                _ => {}
            }
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let report = "ptxas info    : 0 bytes gmem, 64 bytes cmem[3]\n\
             ptxas info    : Compiling entry function 'mac' for 'sm_90'\n\
             ptxas info    : Function properties for mac\n    \
             16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n\
             ptxas info    : Used 28 registers, used 1 barriers, 8192 bytes smem, 400 bytes cmem[0], 24 bytes cmem[2]\n\
             ptxas info    : Compile time = 26.511 ms\n\
             ptxas info    : Compiling entry function 'add' for 'sm_90'\n\
             ptxas info    : Used 12 registers, used 0 barriers\n";
        let functions = read(report);
        let mac = Usage {
            registers: 28,
            spill_stores: 12,
            spill_loads: 8,
            stack: 16,
            shared: 8192,
            constants: 24,
            barriers: 1,
        };
        assert_eq!(functions["mac"], mac);
        assert!(functions["mac"].spills());
        assert_eq!(functions["add"], Usage { registers: 12, ..Usage::default() });
        assert!(!functions["add"].spills());
    }
}
