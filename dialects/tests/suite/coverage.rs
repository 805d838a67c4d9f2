//! Every op has its lit tests, its interpreter case and its lowering, or is listed here with the reason.
//!
//! The list of ops and what each promises come from the TableGen records that the build uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Op, what it lacks, and why.
const EXEMPT: &[(&str, &str, &str)] = &[];

/// An op as its record declares it.
struct Op {
    name: String,
    verified: bool,
    simplified: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn ops(dialect: &str, stem: &str) -> Vec<Op> {
    let prefix = std::env::var("MLIR_SYS_220_PREFIX").unwrap_or_else(|_| "/usr/lib/llvm-22".into());
    let output = Command::new(format!("{prefix}/bin/llvm-tblgen"))
        .arg("--dump-json")
        .args(["-I", &format!("{prefix}/include"), "-I", "."])
        .arg(format!("{dialect}/{stem}.td"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("llvm-tblgen runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records: Value = serde_json::from_slice(&output.stdout).expect("a JSON dump");
    let names = records["!instanceof"]["Op"].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for record in names.iter().filter_map(Value::as_str).map(|name| &records[name]) {
        let of = record["opDialect"]["def"].as_str().map(|name| &records[name]["name"]);
        if of.and_then(Value::as_str) != Some(dialect) {
            continue;
        }
        let flag = |name: &str| record[name].as_i64() == Some(1);
        found.push(Op {
            name: format!("{dialect}.{}", record["opName"].as_str().unwrap_or_default()),
            verified: flag("hasVerifier") || flag("hasRegionVerifier"),
            simplified: flag("hasFolder") || flag("hasCanonicalizer"),
        });
    }
    found
}

/// All text of the files with an extension below a folder, except tests.
fn text(folder: &str, extension: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) && !path.ends_with("tests.rs") {
                text += &fs::read_to_string(&path).unwrap_or_default();
            }
        }
    }
    text
}

/// Whether a name occurs and is not the beginning of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    })
}

#[test]
fn every_op_is_covered() {
    let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut used = vec![false; EXEMPT.len()];
    let mut count = 0;
    // The last file is where a lowering turns ops into its own data.
    let dialects = [
        ("fhe", "Fhe", "lowering/fhe_to_ckks", "dialects/fhe/linear.rs"),
        ("ckks", "Ckks", "lowering/ckks_to_poly", ""),
        ("poly", "Poly", "lowering/poly_to_kernel", ""),
        ("kernel", "Kernel", "lowering/kernel_to_cpu", "dialects/kernel/decode.rs"),
    ];
    for (dialect, stem, lowering, decoder) in dialects {
        let file = |name: &str| {
            fs::read_to_string(root().join(format!("test/dialects/{dialect}/{name}.mlir")))
                .unwrap_or_default()
        };
        let (round_trips, invalid, simplified) = (file("ops"), file("invalid"), file("canonicalize"));
        let interpreter = text(&format!("dialects/{dialect}"), "rs");
        let decoder = fs::read_to_string(root().join(decoder)).unwrap_or_default();
        let lowerings =
            text(lowering, "rs") + &text("lowering/host", "rs") + &text("passes", "rs") + &decoder;
        for op in ops(dialect, stem) {
            count += 1;
            let (quoted, mnemonic) =
                (format!("{:?}", op.name), format!("{:?}", op.name.replace(&format!("{dialect}."), "")));
            let checks = [
                ("ops", true, mentions(&round_trips, &op.name)),
                ("invalid", op.verified, mentions(&invalid, &op.name)),
                ("canonicalize", op.simplified, mentions(&simplified, &op.name)),
                ("interpret", true, interpreter.contains(&quoted) || interpreter.contains(&mnemonic)),
                ("lowering", true, lowerings.contains(&quoted)),
            ];
            for (what, needed, present) in checks {
                let exempt = EXEMPT.iter().position(|(name, lack, _)| *name == op.name && *lack == what);
                match exempt {
                    Some(index) if needed && !present => used[index] = true,
                    None if needed && !present => missing.entry(what).or_default().push(op.name.clone()),
                    _ => {}
                }
            }
        }
    }
    assert!(count > 80, "only {count} ops were found");
    assert!(missing.is_empty(), "{missing:#?}");
    let unused: Vec<_> =
        EXEMPT.iter().zip(used).filter(|(_, used)| !used).map(|(exempt, _)| exempt).collect();
    assert!(unused.is_empty(), "no longer exempt: {unused:?}");
}
