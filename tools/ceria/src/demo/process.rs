//! Client and server as processes of their own, in folders of their own.
//!
//! After [`Site::new`]: the server's folder has the bundle and the evaluation keys, the client's the other keys. Each
//! step prints its time and its largest memory.

use crate::progress;
use anyhow::{Context as _, Result, bail};
use ceria_runtime::format::arrays;
use ndarray::ArrayD;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A client and a server with a bundle.
pub struct Site {
    client: PathBuf,
    server: PathBuf,
    /// The bundle.
    pub bundle: PathBuf,
}

impl Site {
    /// Compiles a network below a folder, with calibration samples if there are any, and makes keys.
    pub fn new(network: &Path, folder: &Path, options: &[&str]) -> Result<Self> {
        let (client, server) = (folder.join("client"), folder.join("server"));
        for folder in [&client, &server] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let bundle = server.join("model.ceria");
        let mut compile = vec!["compile".to_string(), text(network), "-o".into(), text(&bundle)];
        compile.extend(options.iter().map(|option| option.to_string()));
        let calibration = network.with_file_name("calibrate.npz");
        if calibration.exists() {
            compile.extend(["--calibrate".into(), text(&calibration)]);
        }
        let site = Self { client, server, bundle };
        site.step("compile", &site.server, &compile)?;
        let keygen = ["keygen", "--client-dir", &text(&site.client), "--force", &text(&site.bundle)];
        site.step("client: make keys", &site.client, &keygen.map(String::from))?;
        fs::rename(site.client.join("eval.keys"), site.keys())
            .context("cannot hand the keys to the server")?;
        println!(
            "  the server gets {} of evaluation keys; the bundle has {}",
            progress::show_bytes(fs::metadata(site.keys())?.len()),
            progress::show_bytes(folder_bytes(&site.bundle)?)
        );
        Ok(site)
    }

    fn keys(&self) -> PathBuf {
        self.server.join("eval.keys")
    }

    /// Encrypts a sample of a file of inputs, evaluates it, and decrypts the answer.
    pub fn ask(&self, inputs: &Path, sample: usize) -> Result<ArrayD<f64>> {
        let (x, y, answer) = (self.server.join("x.ct"), self.server.join("y.ct"), self.client.join("y.npz"));
        let (bundle, client) = (text(&self.bundle), text(&self.client));
        let (inputs, sample) = (text(inputs), sample.to_string());
        let encrypt = [
            "encrypt",
            &bundle,
            "--client-dir",
            &client,
            "--input",
            &inputs,
            "--sample",
            &sample,
            "-o",
            &text(&x),
        ];
        self.step("client: encrypt", &self.client, &encrypt.map(String::from))?;
        let run = ["run", &bundle, "--keys", &text(&self.keys()), "--input", &text(&x), "-o", &text(&y)];
        let said = self.step("server: load and run", &self.server, &run.map(String::from))?;
        println!("  {:22} {}", "", said.trim());
        let decrypt =
            ["decrypt", &bundle, "--client-dir", &client, "--input", &text(&y), "-o", &text(&answer)];
        self.step("client: decrypt", &self.client, &decrypt.map(String::from))?;
        println!(
            "  ciphertexts: {} there, {} back",
            progress::show_bytes(fs::metadata(&x)?.len()),
            progress::show_bytes(fs::metadata(&y)?.len())
        );
        let outputs = arrays::read(&answer)?;
        Ok(outputs.values().next().context("the answer is empty")?.to_f64())
    }

    /// Runs a command and prints what it took; returns what it said.
    fn step(&self, label: &str, folder: &Path, arguments: &[String]) -> Result<String> {
        let (usage, time) = command(arguments, folder)?;
        let (time, peak) = (progress::show(time), progress::show_bytes(usage.peak));
        println!("  {label:22} {time:>10}   {peak:>9} of memory");
        Ok(usage.said)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What a process used.
struct Usage {
    /// Largest resident memory in bytes.
    peak: u64,
    /// What it wrote to standard error.
    said: String,
}

/// Runs this program with other arguments in a folder.
fn command(arguments: &[String], folder: &Path) -> Result<(Usage, Duration)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start this program again")?;
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let (success, peak) = wait(&mut child)?;
    let time = start.elapsed();
    if !success {
        bail!("{} failed: {}", arguments[0], said.trim().trim_start_matches("error: "));
    }
    Ok((Usage { peak, said }, time))
}

/// Waits for a child; returns whether it succeeded and its largest resident memory in bytes.
fn wait(child: &mut Child) -> Result<(bool, u64)> {
    let mut status = 0;
    // SAFETY: the structure is plain data, and the pointers are valid during the call.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage), usage)
    };
    if waited < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot wait for a process");
    }
    // Linux counts in kilobytes.
    Ok((libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, usage.ru_maxrss.max(0) as u64 * 1024))
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum +=
            if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
