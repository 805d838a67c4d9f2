//! Every registered pass and pipeline is documented and has its lit test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ceria_dialects::bridge::pass::{PassDescriptor, PassOption};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_kebab_case(name: &str) -> bool {
    name.split('-')
        .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

fn check_options(argument: &str, options: &[PassOption], problems: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for option in options {
        if !is_kebab_case(option.name) || option.doc.is_empty() || !names.insert(option.name) {
            problems.push(format!(
                "{argument}: option `{}` needs a kebab-case name of its own and a text",
                option.name
            ));
        }
    }
}

fn check(pass: &PassDescriptor, test: &Path, problems: &mut Vec<String>) {
    let name = pass.argument;
    if !is_kebab_case(name) {
        problems.push(format!("{name}: not kebab-case"));
    }
    if pass.summary.is_empty() || pass.summary.ends_with('.') {
        problems.push(format!("{name}: the summary is one sentence without a full stop"));
    }
    if !pass.description.contains("```mlir") {
        problems.push(format!("{name}: the description shows no example"));
    }
    check_options(name, pass.options, problems);
    match fs::read_to_string(root().join(test)) {
        Err(_) => problems.push(format!("{name}: no test {}", test.display())),
        Ok(text) if !text.lines().any(|line| line.contains("RUN:") && line.contains(name)) => {
            problems.push(format!("{name}: {} does not run it", test.display()));
        }
        Ok(_) => {}
    }
}

#[test]
fn passes_are_documented_and_tested() {
    let mut problems = Vec::new();
    for pass in ceria_passes::passes() {
        let Some((dialect, rest)) = pass.argument.split_once('-') else {
            problems.push(format!("{}: not `dialect-verb-noun`", pass.argument));
            continue;
        };
        check(pass, Path::new(&format!("test/passes/{dialect}/{rest}.mlir")), &mut problems);
    }
    for pass in ceria_lowering::passes() {
        check(pass, Path::new(&format!("test/lowering/{}.mlir", pass.argument)), &mut problems);
    }
    for pipeline in ceria_lowering::pipelines::PIPELINES {
        if !is_kebab_case(pipeline.argument) || pipeline.summary.is_empty() {
            problems.push(format!("{}: a pipeline has a kebab-case name and a summary", pipeline.argument));
        }
        check_options(pipeline.argument, pipeline.options, &mut problems);
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn everything_registers() {
    ceria_lowering::register().unwrap();
    ceria_lowering::register().unwrap();
}
