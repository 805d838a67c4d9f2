//! `ceria inspect --kernels`: what is known of a bundle's device code without a device.

use anyhow::{Context as _, Result};
use ceria_lowering::kernel_to_nvvm::{
    report::{FunctionReport, Report},
    sass::Class,
};
use ceria_passes::cost::{DEVICES, Device};
use ceria_runtime::device::Bundle;
use std::path::Path;

/// Classes that have a column; the rest are summed in the last one.
const COLUMNS: [Class; 11] = [
    Class::Multiply,
    Class::MultiplyHigh,
    Class::MultiplyMove,
    Class::Integer,
    Class::Move,
    Class::SharedLoad,
    Class::SharedStore,
    Class::GlobalLoad,
    Class::GlobalStore,
    Class::Shuffle,
    Class::Barrier,
];

/// The device of a name.
pub fn device(key: &str) -> Result<&'static Device> {
    Device::named(key).with_context(|| {
        let names: Vec<&str> = DEVICES.iter().map(|device| device.key).collect();
        format!("there is no device {key:?}; those known are {}", names.join(", "))
    })
}

/// Prints the report of a bundle.
pub fn run(bundle: &Path, device: &'static Device, json: bool) -> Result<()> {
    let report = Report::of(&Bundle::open(bundle)?, device)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    println!(
        "{}  on {} (sm_{}), assembled by ptxas {}; times are predicted",
        report.name, report.device, report.architecture, report.assembler
    );
    let width = report.functions.iter().map(|f| f.symbol.len()).max().unwrap_or(0).max(8);
    print!(
        "{:width$} {:>14} {:>5} {:>4} {:>6} {:>6} {:>5}",
        "function", "grid", "block", "regs", "spills", "shared", "occup"
    );
    COLUMNS.iter().for_each(|class| print!(" {:>6}", class.name()));
    println!(" {:>6} {:>6} {:>9} {:>9}  bound by", "other", "times", "us each", "ms");
    for function in &report.functions {
        row(function, width);
    }
    println!(
        "total {:.3} ms: {} launches ({:.3} ms to start them), issue {:.3} ms, cache {:.3} ms, memory {:.3} ms; \
         {:.1} MB of keys and plaintexts",
        report.predicted_ms,
        report.launches,
        report.launch_ms,
        report.units_ms.issue,
        report.units_ms.cache,
        report.units_ms.memory,
        report.table_bytes / 1e6
    );
    let guessed = report.functions.iter().filter(|f| f.guessed).count();
    if guessed > 0 {
        println!("* {guessed} functions have branches that depend on memory; their counts are guesses");
    }
}

fn row(f: &FunctionReport, width: usize) {
    let grid = format!("{}x{}x{}", f.grid[0], f.grid[1], f.grid[2]);
    let spills: u32 = f.spills.iter().sum();
    print!(
        "{:width$} {grid:>14} {:>5} {:>4} {spills:>6} {:>6} {:>4.0}%",
        f.symbol,
        f.block,
        f.registers,
        f.shared,
        f.occupancy * 100.0
    );
    let count = |class: &Class| f.instructions.get(class).copied().unwrap_or(0.0);
    COLUMNS.iter().for_each(|class| print!(" {:>6.0}", count(class)));
    let other = f.executed - COLUMNS.iter().map(count).sum::<f64>();
    println!(
        " {other:>6.0} {:>6} {:>9.2} {:>9.3}  {}{}",
        f.launches,
        f.launch_us,
        f.total_ms,
        f.bound.name(),
        if f.guessed { " *" } else { "" }
    );
}
