//! Turns the dialects' TableGen files into C++ classes and into the glue between those and Rust.
//!
//! For each dialect `d` the records of `d/D.td` say which ops declare verifiers, folders, canonicalisation
//! patterns, type inference or interfaces. The generated C++ calls one `extern "C"` function of a regular name for each
//! (`ceria_verify_ckks_add`), which the Rust macros of `bridge/hooks.rs` define; a missing one is a link error.
//! For each type and attribute the build generates a Rust wrapper with a checked constructor and getters, and for each op
//! interface a view of the ops that implement it.

#[path = "bridge/build/glue.rs"]
mod glue;
#[path = "bridge/build/objects.rs"]
mod objects;
#[path = "bridge/build/records.rs"]
mod records;
#[path = "bridge/build/rpath.rs"]
mod rpath;
#[path = "bridge/build/wrappers.rs"]
mod wrappers;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A dialect's folder and the stem of its TableGen files.
const DIALECTS: [(&str, &str); 4] =
    [("fhe", "Fhe"), ("ckks", "Ckks"), ("poly", "Poly"), ("kernel", "Kernel")];

/// Hand-written C++ of the bridge.
const BRIDGE: &[&str] = &["conversion", "emit", "opt_main", "lsp_main", "pass", "text"];

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    let prefix = PathBuf::from(env::var("MLIR_SYS_220_PREFIX").unwrap_or_else(|_| "/usr/lib/llvm-22".into()));
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let tools = Tools { include: prefix.join("include"), bin: prefix.join("bin"), out: out.clone() };

    let mut sources = Vec::new();
    let mut wrappers = String::new();
    let (mut registrations, mut by_name) = (String::new(), String::new());
    for (folder, stem) in DIALECTS {
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|e| e == "td") {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
        let td = Path::new(folder).join(format!("{stem}.td"));
        if !td.exists() {
            continue;
        }
        let dialect = records::Dialect::read(folder, stem, &tools.dump(&td)?)?;
        for kind in ["dialect", "typedef", "attrdef", "op", "enum"] {
            for part in ["decls", "defs"] {
                tools.generate(&td, folder, stem, kind, part)?;
            }
        }
        if !dialect.interfaces.is_empty() {
            // Only interfaces of the file itself are written.
            let td = Path::new(folder).join(format!("{stem}Interfaces.td"));
            for part in ["decls", "defs"] {
                tools.generate(&td, folder, stem, "op-interface", part)?;
            }
        }
        write_if_changed(&out.join(format!("{stem}.h")), &glue::header(&dialect))?;
        let source = out.join(format!("{stem}.cpp"));
        write_if_changed(&source, &glue::source(&dialect))?;
        sources.push(source);
        wrappers += &wrappers::module(&dialect);
        registrations += &format!("    {folder}::register(registry);\n");
        by_name += &format!("        {folder:?} => {folder}::ceria_register_dialect_{folder},\n");
    }
    wrappers += &format!(
        "/// Registers every dialect of Ceria.\npub fn register_all(registry: &melior::dialect::DialectRegistry) {{\n{registrations}}}\n"
    );
    wrappers += &format!(
        "/// The C function that registers a dialect of Ceria, by the dialect's name.\npub fn registration(name: &str) -> Option<unsafe extern \"C\" fn(mlir_sys::MlirDialectRegistry)> {{\n    Some(match name {{\n{by_name}        _ => return None,\n    }})\n}}\n"
    );
    write_if_changed(&out.join("wrappers.rs"), &wrappers)?;
    for name in BRIDGE {
        let source = PathBuf::from(format!("bridge/{name}.cpp"));
        println!("cargo:rerun-if-changed={}", source.display());
        sources.push(source);
    }
    println!("cargo:rerun-if-changed=bridge/Bridge.h");
    println!("cargo:rerun-if-changed=bridge/Rust.td");
    compile(&tools, &sources)?;
    link_shared(&prefix, &out)?;
    rpath::emit();
    Ok(())
}

/// Where LLVM's tools are and where generated files go.
struct Tools {
    include: PathBuf,
    bin: PathBuf,
    out: PathBuf,
}

impl Tools {
    fn run(&self, tool: &str, arguments: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
        let output = Command::new(self.bin.join(tool))
            .arg("-I")
            .arg(&self.include)
            .args(["-I", "."])
            .args(arguments)
            .output()
            .map_err(|e| format!("cannot run {tool}: {e}; is LLVM 22 installed (make setup)?"))?;
        if !output.status.success() {
            return Err(format!("{tool} {arguments:?}:\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(output.stdout)
    }

    fn dump(&self, td: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(&self.run("llvm-tblgen", &["--dump-json", &td.to_string_lossy()])?)?)
    }

    fn generate(
        &self,
        td: &Path,
        dialect: &str,
        stem: &str,
        kind: &str,
        part: &str,
    ) -> Result<(), Box<dyn Error>> {
        let action = format!("-gen-{kind}-{part}");
        let mut arguments = vec![action];
        match kind {
            "dialect" => arguments.push(format!("-dialect={dialect}")),
            "typedef" => arguments.push(format!("-typedefs-dialect={dialect}")),
            "attrdef" => arguments.push(format!("-attrdefs-dialect={dialect}")),
            _ => {}
        }
        arguments.push(td.to_string_lossy().into_owned());
        let text = self.run("mlir-tblgen", &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        let extension = if part == "decls" { "h" } else { "cpp" };
        write_if_changed(
            &self.out.join(format!("{stem}-{kind}.{extension}.inc")),
            std::str::from_utf8(&text)?,
        )
    }
}

fn compile(tools: &Tools, sources: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let optimise = if env::var("PROFILE").is_ok_and(|profile| profile == "release") { "-O1" } else { "-O0" };
    let include = tools.include.display().to_string();
    let arguments = [
        "-std=c++17",
        "-fno-rtti",
        "-fno-exceptions",
        "-fPIC",
        "-ffunction-sections",
        "-fdata-sections",
        "-w",
        optimise,
        "-isystem",
        &include,
    ];
    let compiler = objects::Compiler {
        program: tools.bin.join("clang++"),
        arguments: arguments.map(String::from).into(),
        includes: vec![".".into(), tools.out.clone()],
    };
    let objects = compiler.compile(sources, &tools.out)?;
    let mut archive = cc::Build::new();
    archive.cpp(true).compiler(&compiler.program);
    objects.iter().for_each(|object| {
        archive.object(object);
    });
    archive.try_compile("ceria-dialects-glue")?;
    Ok(())
}

/// Debian ships no `libMLIR-C.so`: a linker script of that name joins the C API's archives with `libMLIR.so`.
fn link_shared(prefix: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let library = prefix.join("lib");
    let mut archives: Vec<String> = Vec::new();
    for entry in fs::read_dir(&library)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("libMLIRCAPI") && name.ends_with(".a") && !name.contains("ExecutionEngine") {
            archives.push(library.join(name).display().to_string());
        }
    }
    archives.sort();
    let shared = |name: &str| library.join(name).display().to_string();
    let script =
        format!("GROUP ( {} {} {} )\n", archives.join(" "), shared("libMLIR.so"), shared("libLLVM-22.so"));
    write_if_changed(&out.join("libMLIR-C.so"), &script)?;
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-search=native={}", library.display());
    println!("cargo:rustc-link-lib=MLIR");
    println!("cargo:rustc-link-lib=LLVM-22");
    Ok(())
}

fn write_if_changed(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    Ok(fs::write(path, text)?)
}
