//! `ceria-run` with bundles for GPUs, on the stand-in for the driver: the whole way, and what is said when it fails.

mod bundles;

use bundles::{CPU, CUDA, PTX, Site};
use serde_json::Value;
use std::{fs, process::Output};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a run prints that must succeed.
fn succeeds(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = site.run(arguments, variables);
    assert!(output.status.success(), "{arguments:?} {variables:?}: {}", text(&output));
    text(&output)
}

/// The one line of a run that must fail without a trace.
fn fails(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = site.run(arguments, variables);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} {variables:?}: {said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(!site.path("y.ct").exists(), "there is an output");
    errors[0].to_string()
}

const RUN: [&str; 7] = [PTX, "--keys", "eval.keys", "--input", "x.ct", "-o", "y.ct"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&RUN[..], more].concat()
}

/// Bundles are made once, so that what needs them is one test.
#[test]
fn bundles_for_gpus_run_on_the_stand_in() {
    let site = Site::new();
    faults(&site);
    results(&site);
}

/// A schedule is tuned by times of the driver, kept, and taken.
#[test]
fn schedules_are_tuned_on_the_stand_in() {
    let site = Site::new();
    let ceria = |arguments: &[&str]| {
        let output = site.ceria(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    let bundles = |more: &[&str]| -> Value {
        let make = [
            "bench",
            "bundles",
            "made",
            "--target",
            "cuda",
            "--log-n",
            "13",
            "--only",
            "add",
            "--schedules",
            "kept",
        ];
        ceria(&[&make[..], more].concat());
        serde_json::from_slice(&fs::read(site.path("made/add.ceria/manifest.json")).unwrap()).unwrap()
    };
    let output =
        site.ceria(&["bench", "bundles", "made", "--target", "cuda", "--log-n", "13", "--tuned-for", "x"]);
    assert!(
        text(&output).contains("ceria tune x --log-n 13") && !output.status.success(),
        "{}",
        text(&output)
    );

    let tune = [
        "tune",
        "card",
        "--log-n",
        "13",
        "--program",
        "add",
        "--measure",
        "0",
        "--runs",
        "1",
        "--schedules",
        "kept",
    ];
    let said = ceria(&tune);
    assert!(said.contains("stand-in (sm_90), measured") && said.contains("the best of"), "{said}");
    let kept = fs::read(site.path("kept/card-2-13.json")).unwrap();
    // What was tried is not tried again.
    ceria(&tune);
    assert_eq!(fs::read(site.path("kept/card-2-13.json")).unwrap(), kept);

    // Of what was tried the least time is taken, here that of 64 threads.
    let mut outcome: Value = serde_json::from_slice(&kept).unwrap();
    for trial in outcome["trials"].as_array_mut().unwrap() {
        trial["milliseconds"] = if trial["schedule"]["threads"] == 64 { 0.25 } else { 0.5 }.into();
    }
    fs::write(site.path("kept/card-2-13.json"), outcome.to_string()).unwrap();
    let threads = |manifest: Value| manifest["kernels"][0]["launches"][0]["block"].clone();
    assert_eq!(threads(bundles(&[])), 128);
    assert_eq!(threads(bundles(&["--tuned-for", "card"])), 64);
    assert_eq!(threads(bundles(&["--schedule", "threads=256"])), 256);
}

/// What is said when something fails.
fn faults(site: &Site) {
    // Without the stand-in there is no driver, unless the machine has one.
    if ceria_runtime::device::require_driver().is_err() {
        let output = site.run_without_driver(&RUN);
        let said = text(&output);
        let line = "error: this bundle needs an NVIDIA GPU; no CUDA driver was found (libcuda.so.1)";
        assert!(said.lines().any(|l| l == line) && !output.status.success(), "{said}");
    }
    assert_eq!(succeeds(site, &["--list-devices"], &[]).trim(), "stand-in (sm_90)");

    let fault = |kind: &str, more: &[&str]| fails(site, &with(more), &[("CUDA_STAND_IN_FAULT", kind)]);
    let error = fault("no-device", &[]);
    assert!(error.contains("needs an NVIDIA GPU") && error.contains("finds none"), "{error}");
    let error = fails(site, &with(&["--device", "3"]), &[]);
    assert!(error.contains("device 3 does not exist, the machine has one: 0"), "{error}");
    let error = fault("architecture", &[]);
    assert!(error.contains("no code for stand-in (sm_90)"), "{error}");
    let error = fault("compile", &[]);
    assert!(error.contains("line 7; error: not a mnemonic"), "{error}");
    let error = fault("out-of-memory", &[]);
    assert!(error.contains("MiB of the GPU's memory"), "{error}");
    let error = fails(site, &RUN, &[("CUDA_STAND_IN_KIB", "131072")]);
    assert!(error.contains("MiB of the GPU's memory, 0 MiB of it are free"), "{error}");
    let error = fault("refuse:2", &[]);
    let kernels = site.kernels();
    let named = |error: &str| kernels.iter().any(|kernel| error.contains(kernel));
    assert!(error.contains("the launch of ") && named(&error), "{error}");
    assert!(error.contains("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"), "{error}");
    let error = fault("crash:3", &["--no-graph"]);
    assert!(error.contains("the GPU was lost while it ran one of "), "{error}");
    assert!(error.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    let error = fault("crash:3", &[]);
    assert!(error.contains("the GPU was lost"), "{error}");
    let error = fault("crash:3", &["--check-launches"]);
    assert!(error.contains("the launch of ") && named(&error), "{error}");

    // The stand-in does not execute PTX: what is in its memory is no ciphertext, which is seen before it is written.
    let error = fails(site, &RUN, &[]);
    assert!(error.contains("is not below it"), "{error}");

    let run = [CUDA, "--keys", "cuda.keys", "--input", "cuda.ct", "-o", "y.ct", "--profile", "trace.json"];
    let said = succeeds(site, &run, &[]);
    assert!(said.contains("on stand-in (sm_90)") && said.contains("kernel launches"), "{said}");
    let trace: Value = serde_json::from_slice(&fs::read(site.path("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(!events.is_empty() && events.iter().all(|event| event["dur"].is_number()), "{trace}");
    assert!(events.iter().all(|event| named(event["name"].as_str().unwrap())), "{trace}");
    assert!(site.path("y.ct").exists());
}

/// Results are those of the CPU, however launches are made.
fn results(site: &Site) {
    let data = ["--test-data", "1,2", "--report"];
    let report = |bundle: &str, more: &[&str], variables: &[(&str, &str)]| -> Value {
        let arguments = [&[bundle], &data[..], &["report.json"], more].concat();
        let said = succeeds(site, &arguments, variables);
        assert!(said.contains("warning: keys and inputs are test data"), "{said}");
        serde_json::from_slice(&fs::read(site.path("report.json")).unwrap()).unwrap()
    };
    let cpu = report(CPU, &[], &[]);
    assert_eq!(cpu["device"], "CPU");
    fs::write(site.path("cpu.json"), cpu.to_string()).unwrap();
    let graph = report(CUDA, &["--benchmark", "1"], &[]);
    assert_eq!(graph["device"], "stand-in (sm_90)");
    assert!(graph["median_ms"].is_number() && graph["with_transfers_ms"].is_number(), "{graph}");
    // Launches that cannot be captured are made one by one.
    let uncaptured = report(CUDA, &[], &[("CUDA_STAND_IN_FAULT", "capture")]);
    // Not all keys fit; with the driver's own part, which is kept free.
    let small = ((128 << 20) + site.device_bytes() - site.largest_key() / 2) >> 10;
    let small = report(CUDA, &[], &[("CUDA_STAND_IN_KIB", &small.to_string())]);
    assert!(small["host_bytes"].as_u64() > Some(0), "{small}");
    for (other, how) in [(&graph, "graph"), (&uncaptured, "uncaptured"), (&small, "small")] {
        assert_eq!(other["results"], cpu["results"], "{how}");
        assert_eq!(other["launches"], graph["launches"], "{how}");
    }
    acceptance(site, &cpu);
    let mut other = graph.clone();
    other["results"]["2"] = "0123".into();
    fs::write(site.path("other.json"), other.to_string()).unwrap();
    fs::write(site.path("same.json"), graph.to_string()).unwrap();
    let compare = |file: &str| site.run(&[CPU, "--test-data", "2,1", "--expect-results", file], &[]);
    assert!(text(&compare("same.json")).contains("same as the CPU"));
    let output = compare("other.json");
    assert!(text(&output).contains("for inputs of seed 2") && !output.status.success(), "{}", text(&output));
}

/// `bench/gpu.sh` on a folder like those of `bench/gpu-pack.sh`.
fn acceptance(site: &Site, cpu: &Value) {
    let folder = site.path("packed");
    for part in ["bundles", "expected"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::rename(site.path(CUDA), folder.join("bundles/test.ceria")).unwrap();
    std::os::unix::fs::symlink(bundles::built("ceria-run"), folder.join("ceria-run")).unwrap();
    fs::write(folder.join("seeds"), "1,2\n").unwrap();
    fs::write(folder.join("expected/test.json"), cpu.to_string()).unwrap();
    let output = site.bench(&folder, "1");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("stand-in (sm_90), medians of 1 runs"), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("test ") && line.ends_with("same as the CPU")),
        "{said}"
    );
    let read = || -> Value {
        serde_json::from_slice(&fs::read(folder.join("gpu-stand-in-sm-90.json")).unwrap()).unwrap()
    };
    let found = read();
    assert_eq!((&found["device"], &found["failed"]), (&"stand-in (sm_90)".into(), &0.into()));
    assert_eq!(found["bundles"][0]["results"], cpu["results"]);
    assert_eq!(found["bundles"][0]["runs"], 2);
    // Code that does nothing computes something else.
    fs::remove_dir_all(folder.join("bundles/test.ceria")).unwrap();
    fs::rename(site.path(PTX), folder.join("bundles/test.ceria")).unwrap();
    let output = site.bench(&folder, "1");
    assert!(!output.status.success() && text(&output).contains("inputs of seed 1"), "{}", text(&output));
    assert_eq!(read()["failed"], 1);
}
