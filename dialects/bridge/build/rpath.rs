//! Lets binaries and tests find MLIR's shared libraries where they were linked; every package that links MLIR calls it
//! from its build script, since a linker argument reaches the targets of its own package only.

/// Adds LLVM's library folder to the run path.
pub fn emit() {
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    let prefix = std::env::var("MLIR_SYS_220_PREFIX").unwrap_or_else(|_| "/usr/lib/llvm-22".into());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{prefix}/lib");
}
