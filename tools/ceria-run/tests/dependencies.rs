//! The server links no compiler: `ceria-run` builds where no LLVM is installed.

use std::process::Command;

#[test]
fn links_no_compiler() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "-p", "ceria-run", "--edges", "normal,build", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("ceria-runtime"), "{tree}");
    for compiler in ["melior", "mlir-sys", "llvm", "ceria-dialects", "bindgen", "tblgen"] {
        assert!(!tree.contains(compiler), "ceria-run depends on {compiler}:\n{tree}");
    }
}
