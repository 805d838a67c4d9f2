//! `ceria inspect`: what a bundle is, for people and, with `--json`, for programs.

mod kernels;

pub use kernels::device;

use super::{client::Client, progress};
use anyhow::Result;
use ceria_runtime::client::files::eval_key_bytes;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Say what a bundle is.
#[derive(clap::Args)]
pub struct Arguments {
    /// The bundle.
    bundle: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Say what is known of the kernels of a bundle for GPUs: registers, spills, occupancy, instructions, predicted times.
    /// Needs NVIDIA's assembler, which .ci/cuda-tools.sh installs, but no GPU.
    #[arg(long)]
    kernels: bool,
    /// The GPU to predict times for: h100, h200, a100, b200, rtx5090 or rtxpro6000.
    #[arg(long, default_value = "h100", requires = "kernels")]
    device: String,
}

#[derive(Serialize)]
struct Report {
    name: String,
    hash: String,
    log_n: u32,
    slots: usize,
    log_qp: f64,
    security_bits: f64,
    levels: u32,
    scale_bits: f64,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    rotation_keys: usize,
    relinearization_key: bool,
    /// Bytes of the evaluation keys in their file.
    eval_key_bytes: u64,
    /// Bytes of the evaluation keys in the server's memory.
    eval_key_memory_bytes: u64,
    /// Bytes of encoded plaintexts and other tables in the server's memory, keys included.
    table_bytes: u64,
    arena_bytes: u64,
    bundle_bytes: u64,
    predicted_precision_bits: Option<f64>,
    predicted_max_error: Option<f64>,
    op_counts: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    layout: String,
    ciphertexts: u32,
    level: u32,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
}

/// `ceria inspect`.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.kernels {
        return kernels::run(&arguments.bundle, kernels::device(&arguments.device)?, arguments.json);
    }
    let client = Client::open(&arguments.bundle)?;
    let report = report(&client)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn report(client: &Client) -> Result<Report> {
    let manifest = &client.manifest;
    let params = &manifest.params;
    let tensor = |port: &ceria_runtime::format::manifest::Port| Tensor {
        name: port.name.clone(),
        shape: port.shape.clone(),
        layout: port.layout.clone(),
        ciphertexts: port.ciphertexts,
        level: port.level,
        bytes: 4 * port.polynomial_words(params) * port.polynomials() as u64,
        range: port.range,
    };
    Ok(Report {
        name: manifest.name.clone(),
        hash: ceria_runtime::format::manifest::hex(&client.plan),
        log_n: params.log_n,
        slots: params.slots(),
        log_qp: params.log_qp(),
        security_bits: params.security_bits(),
        levels: params.max_level(),
        scale_bits: (params.scale0 as f64).log2(),
        inputs: manifest.inputs.iter().map(tensor).collect(),
        outputs: manifest.outputs.iter().map(tensor).collect(),
        rotation_keys: manifest.keys.galois.len(),
        relinearization_key: manifest.keys.relin.is_some(),
        eval_key_bytes: client.key_specs().iter().map(|k| eval_key_bytes(&client.context, *k)).sum(),
        eval_key_memory_bytes: manifest.key_bytes(),
        table_bytes: manifest.table_bytes()?,
        arena_bytes: manifest.memory.arena_bytes,
        bundle_bytes: manifest.files.values().map(|f| f.bytes).sum(),
        predicted_precision_bits: manifest.prediction.precision_bits,
        predicted_max_error: manifest.prediction.max_error,
        op_counts: manifest.op_counts.clone(),
    })
}

fn print(report: &Report) {
    println!("{}  {}", report.name, &report.hash[..16]);
    println!(
        "parameters   N = 2^{}, {} slots, log2(QP) = {:.0}, {:.0} bits of security, {} levels of {:.1} bits",
        report.log_n, report.slots, report.log_qp, report.security_bits, report.levels, report.scale_bits
    );
    for (side, tensors) in [("input", &report.inputs), ("output", &report.outputs)] {
        for t in tensors {
            let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
            let range = t.range.map(|[a, b]| format!(", values from {a:.3} to {b:.3}")).unwrap_or_default();
            println!(
                "{side:12} {} {} in {} ciphertexts at level {} ({}){range}, layout {}",
                t.name,
                shape.join("x"),
                t.ciphertexts,
                t.level,
                progress::show_bytes(t.bytes),
                t.layout
            );
        }
    }
    println!(
        "keys         {} rotations{}, {} in a file, {} in memory",
        report.rotation_keys,
        if report.relinearization_key { " and relinearisation" } else { "" },
        progress::show_bytes(report.eval_key_bytes),
        progress::show_bytes(report.eval_key_memory_bytes)
    );
    println!(
        "memory       {} of tables, {} of buffers; the bundle has {}",
        progress::show_bytes(report.table_bytes),
        progress::show_bytes(report.arena_bytes),
        progress::show_bytes(report.bundle_bytes)
    );
    if let Some(bits) = report.predicted_precision_bits {
        println!("precision    {bits:.1} bits predicted");
    }
    let counts: Vec<String> = report.op_counts.iter().map(|(op, count)| format!("{op} {count}")).collect();
    println!("ops          {}", counts.join(", "));
}
