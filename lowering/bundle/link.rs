//! Makes a shared library of an object file with the linker of the system.

use super::BundleError;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Linkers to try, with what makes them link a library and nothing else. The first is `$CC`, if set.
fn linkers() -> Vec<(String, Vec<&'static str>)> {
    let driver = vec!["-shared", "-nostdlib", "-Wl,-z,now", "-Wl,--build-id=none"];
    let plain = vec!["-shared", "-z", "now", "--build-id=none"];
    let mut all = Vec::new();
    if let Ok(compiler) = std::env::var("CC") {
        all.push((compiler, driver.clone()));
    }
    all.push(("cc".into(), driver.clone()));
    all.push(("clang".into(), driver));
    all.extend(
        ["ld", "ld.lld", "ld.lld-22", "/usr/lib/llvm-22/bin/ld.lld"]
            .map(|linker| (linker.into(), plain.clone())),
    );
    all
}

/// Links an object file.
pub fn shared_library(object: &[u8]) -> Result<Vec<u8>, BundleError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| BundleError::Link(format!("{what}: {error}"));
    let folder = tempfile::tempdir().map_err(|e| failed("cannot make a temporary folder", &e))?;
    let (from, to) = (folder.path().join("host.o"), folder.path().join("host.so"));
    fs::write(&from, object).map_err(|e| failed("cannot write an object file", &e))?;
    let mut last = None;
    for (linker, arguments) in linkers() {
        match link(&linker, &arguments, &from, &to) {
            Ok(output) if output.status.success() => {
                return fs::read(&to).map_err(|e| failed("cannot read what was linked", &e));
            }
            Ok(output) => {
                last = Some(format!("{linker} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
            }
            // Not there: the next one.
            Err(_) => {}
        }
    }
    Err(BundleError::Link(last.unwrap_or_else(|| "there is no linker; install a C compiler or lld".into())))
}

fn link(linker: &str, arguments: &[&str], from: &Path, to: &Path) -> std::io::Result<Output> {
    Command::new(linker).args(arguments).arg("-o").arg(to).arg(from).output()
}
