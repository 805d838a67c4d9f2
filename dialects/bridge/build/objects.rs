//! Compiles C++ sources, each only when it or what it includes has changed.
//!
//! A source of MLIR takes half a minute, and a build script that runs again would compile all of them. Objects are
//! therefore named by a hash of everything that goes into them, and kept. With `CERIA_OBJECT_CACHE` several checkouts
//! share a folder of them.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process, thread};

/// How sources are compiled.
pub struct Compiler {
    /// The clang++ to run.
    pub program: PathBuf,
    /// Its arguments except source and output.
    pub arguments: Vec<String>,
    /// The folders of generated and hand-written headers.
    pub includes: Vec<PathBuf>,
}

impl Compiler {
    /// Compiles the sources and returns the objects, in the same order.
    pub fn compile(&self, sources: &[PathBuf], out: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        println!("cargo:rerun-if-env-changed=CERIA_OBJECT_CACHE");
        let folder = env::var_os("CERIA_OBJECT_CACHE").map_or_else(|| out.join("objects"), PathBuf::from);
        fs::create_dir_all(&folder)?;
        let mut objects = Vec::new();
        for source in sources {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            objects.push(folder.join(format!("{stem}-{:016x}.o", self.hash(source)?)));
        }
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(2usize);
        thread::scope(|scope| {
            for _ in 0..jobs.min(sources.len()) {
                scope.spawn(|| {
                    while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let index = sources.iter().position(|other| other == source).unwrap_or_default();
                        if let Err(error) = self.compile_one(source, &objects[index]) {
                            *failure.lock().unwrap_or_else(|poison| poison.into_inner()) = Some(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(|poison| poison.into_inner()) {
            Some(error) => Err(error.into()),
            None => Ok(objects),
        }
    }

    fn compile_one(&self, source: &Path, object: &Path) -> Result<(), String> {
        if object.exists() {
            return Ok(());
        }
        // Another build may make the same object: each writes its own file and the last rename wins.
        let temporary = object.with_extension(format!("{}.tmp", process::id()));
        let output = Command::new(&self.program)
            .args(&self.arguments)
            .args(self.includes.iter().map(|folder| format!("-I{}", folder.display())))
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(&temporary)
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("{}:\n{}", source.display(), String::from_utf8_lossy(&output.stderr)));
        }
        fs::rename(&temporary, object).map_err(|error| format!("{}: {error}", object.display()))
    }

    /// A hash of the compiler, its arguments, the source, and the headers of this crate that it includes.
    fn hash(&self, source: &Path) -> Result<u64, Box<dyn Error>> {
        let mut hasher = DefaultHasher::new();
        self.program.hash(&mut hasher);
        fs::metadata(&self.program)?.len().hash(&mut hasher);
        self.arguments.hash(&mut hasher);
        let mut pending = vec![source.to_path_buf()];
        let mut seen = Vec::new();
        while let Some(path) = pending.pop() {
            if seen.contains(&path) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            text.hash(&mut hasher);
            for line in text.lines() {
                let quoted =
                    line.trim_start().strip_prefix("#include \"").and_then(|rest| rest.split('"').next());
                // Headers of MLIR are not in these folders and change only with its version.
                let found = quoted.and_then(|name| {
                    self.includes.iter().map(|folder| folder.join(name)).find(|path| path.exists())
                });
                pending.extend(found);
            }
            seen.push(path);
        }
        Ok(hasher.finish())
    }
}
