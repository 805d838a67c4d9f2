//! `ceria-run`: the server. Evaluates a compiled bundle on encrypted inputs; holds no secret and links no compiler.

use anyhow::{Context as _, Result, bail};
use ceria_run::LoadArguments;
use ceria_runtime::{
    device::{LoadOptions, Measurement, Request, Trial, devices, measure, median_and_least, serve},
    format::arrays::write_atomically,
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::PathBuf, process::ExitCode};

/// Evaluate a compiled model on encrypted inputs.
#[derive(Parser)]
#[command(name = "ceria-run", version)]
struct Arguments {
    /// The bundle, as `ceria compile` wrote it.
    #[arg(required_unless_present = "list_devices")]
    bundle: Option<PathBuf>,
    /// The client's evaluation keys.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["test_data", "list_devices"])]
    keys: Option<PathBuf>,
    /// The encrypted inputs.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["test_data", "list_devices"])]
    input: Option<PathBuf>,
    /// Where the encrypted outputs go.
    #[arg(short, long, value_name = "FILE", required_unless_present_any = ["test_data", "list_devices"])]
    output: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArguments,
    /// Write a Chrome trace of the run.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Run nothing but the bundle with this hash (a bundle is code).
    #[arg(long, value_name = "SHA256")]
    expect_hash: Option<String>,
    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    /// For tests of devices: take keys and inputs from these seeds. Nothing is encrypted, and results mean nothing.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', conflicts_with_all = ["keys", "input", "output", "profile"])]
    test_data: Vec<u64>,
    /// With test data: how often each input is run for its time.
    #[arg(long, value_name = "RUNS", default_value_t = 0, requires = "test_data")]
    benchmark: usize,
    /// With test data: write hashes of results, and times, as JSON.
    #[arg(long, value_name = "FILE", requires = "test_data")]
    report: Option<PathBuf>,
    /// With test data: fail unless the results are those of this report.
    #[arg(long, value_name = "FILE", requires = "test_data")]
    expect_results: Option<PathBuf>,
    /// Name the GPUs of this machine, one a line.
    #[arg(long, exclusive = true)]
    list_devices: bool,
}

fn main() -> ExitCode {
    ceria_runtime::warnings::to_stderr();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the causes say.
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list_devices {
        devices()?.iter().for_each(|device| println!("{device}"));
        return Ok(());
    }
    let options = arguments.load.options(arguments.profile.is_some());
    let bundle = arguments.bundle.clone().context("a bundle has to be given")?;
    if !arguments.test_data.is_empty() {
        return test(arguments, bundle, options);
    }
    let [Some(keys), Some(input), Some(output)] = [&arguments.keys, &arguments.input, &arguments.output]
    else {
        bail!("--keys, --input and --output have to be given");
    };
    let request = Request {
        bundle,
        expect_hash: arguments.expect_hash.clone(),
        keys: keys.clone(),
        input: input.clone(),
        output: output.clone(),
        profile: arguments.profile.clone(),
        options,
    };
    let served = serve(&request, progress(arguments.quiet))?;
    if !arguments.quiet {
        let report = &served.report;
        let on_device = report
            .device_time
            .map(|time| format!(", {:.3} ms of them on {}", time.as_secs_f64() * 1e3, served.device));
        eprintln!(
            "loaded in {:.0} ms, evaluated in {:.1} ms{} ({} kernel launches)",
            served.load_time.as_secs_f64() * 1e3,
            report.duration.as_secs_f64() * 1e3,
            on_device.unwrap_or_default(),
            report.launches
        );
    }
    Ok(())
}

/// Runs a bundle on test data.
fn test(arguments: &Arguments, bundle: PathBuf, options: LoadOptions) -> Result<()> {
    eprintln!("warning: keys and inputs are test data: nothing is encrypted, and the results mean nothing");
    let expected = match &arguments.expect_results {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))?
        }
        None => None,
    };
    let trial =
        Trial { bundle, seeds: arguments.test_data.clone(), runs: arguments.benchmark, expected, options };
    let found = measure(&trial, progress(arguments.quiet))?;
    if let Some(path) = &arguments.report {
        let text = serde_json::to_string_pretty(&found.to_json())? + "\n";
        write_atomically(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !arguments.quiet {
        println!("{}", line(&found, arguments.expect_results.is_some()));
    }
    Ok(())
}

/// One line of a table.
fn line(found: &Measurement, compared: bool) -> String {
    let times = match (median_and_least(&found.times), median_and_least(&found.whole)) {
        (Some([median, least]), Some([whole, _])) => format!("{median:>11.3} {least:>11.3} {whole:>11.3}"),
        _ => format!("{:>11} {:>11} {:>11}", "-", "-", "-"),
    };
    let same = if compared { "same as the CPU" } else { "not compared" };
    format!("{:<36} {times} {:>9}  {same}", found.name, found.launches)
}

/// Shows how many tables are built.
fn progress(quiet: bool) -> impl FnMut(usize, usize) {
    let bar = progress_bar(quiet);
    move |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}

fn progress_bar(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("building tables {bar:30} {pos}/{len}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
