//! `ceria demo`: hand-written digits, classified without being seen.
//!
//! Client and server are separate processes in separate folders; the server's holds the bundle, the evaluation keys and
//! ciphertexts, nothing else.

use super::{inputs, progress, verify};
use anyhow::{Context as _, Result, bail};
use ceria_runtime::format::arrays::{self, NumericArray};
use ndarray::{ArrayD, Axis};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Classify hand-written digits, with client and server in separate processes and folders.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder with the models.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// The models to run.
    #[arg(long = "model", default_values_t = ["mlp".to_string(), "cnn".to_string()], value_name = "NAME")]
    names: Vec<String>,
    /// The number of digits for each model.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    digits: usize,
    /// Keep the folders here instead of in a temporary one.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// `ceria demo`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = arguments.folder.clone().unwrap_or(temporary.path().into());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The processes run in their own folders, so that all paths have to be absolute.
    let folder = folder.canonicalize()?;
    let models = arguments.models.canonicalize();
    let models = models.with_context(|| format!("cannot find {}", arguments.models.display()))?;
    for name in &arguments.names {
        model(&models.join(name), arguments.digits, name, &folder.join(name))?;
    }
    Ok(())
}

fn model(source: &Path, digits: usize, name: &str, folder: &Path) -> Result<()> {
    let (client, server) = (folder.join("client"), folder.join("server"));
    for folder in [&client, &server] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    println!("\n{name}");
    let bundle = server.join("model.ceria");
    let model = source.join("model.onnx");
    let mut compile = vec!["compile".to_string(), text(&model), "-o".into(), text(&bundle)];
    let calibration = source.join("calibrate.npz");
    if calibration.exists() {
        compile.extend(["--calibrate".into(), text(&calibration)]);
    }
    let step = |label: &str, time: Duration, usage: &Usage| {
        println!(
            "  {label:22} {:>10}   {:>9} of memory",
            progress::show(time),
            progress::show_bytes(usage.peak)
        );
    };
    let (usage, time) = command(&compile, &server)?;
    step("compile", time, &usage);
    let keygen = ["keygen".into(), text(&bundle), "--client-dir".into(), text(&client), "--force".into()];
    let (usage, time) = command(&keygen, &client)?;
    step("client: make keys", time, &usage);
    let keys = server.join("eval.keys");
    fs::rename(client.join("eval.keys"), &keys).context("cannot hand the keys to the server")?;
    println!(
        "  the server gets {} of evaluation keys; the bundle has {}",
        progress::show_bytes(fs::metadata(&keys)?.len()),
        progress::show_bytes(folder_bytes(&bundle)?)
    );
    let samples = arrays::read(&source.join("inputs.npz"))?;
    let labels = samples.get("label").map(NumericArray::to_f64);
    let (input_name, images) =
        samples.iter().find(|(name, _)| *name != "label").context("inputs.npz has no inputs")?;
    let count = digits.min(images.shape().first().copied().unwrap_or(0));
    let mut right = 0;
    for index in 0..count {
        let image = images.to_f64().index_axis(Axis(0), index).to_owned();
        picture(&image);
        let npz = text(&source.join("inputs.npz"));
        let (x, y, answer) = (server.join("x.ct"), server.join("y.ct"), client.join("y.npz"));
        let encrypt = [
            "encrypt".into(),
            text(&bundle),
            "--client-dir".into(),
            text(&client),
            "--input".into(),
            npz,
            "--sample".into(),
            index.to_string(),
            "-o".into(),
            text(&x),
        ];
        let (usage, time) = command(&encrypt, &client)?;
        step("client: encrypt", time, &usage);
        let evaluate = [
            "run".into(),
            text(&bundle),
            "--keys".into(),
            text(&keys),
            "--input".into(),
            text(&x),
            "-o".into(),
            text(&y),
        ];
        let (usage, time) = command(&evaluate, &server)?;
        step("server: load and run", time, &usage);
        println!("  {:22} {}", "", usage.said.trim());
        let decrypt = [
            "decrypt".into(),
            text(&bundle),
            "--client-dir".into(),
            text(&client),
            "--input".into(),
            text(&y),
            "-o".into(),
            text(&answer),
        ];
        let (usage, time) = command(&decrypt, &client)?;
        step("client: decrypt", time, &usage);
        println!(
            "  ciphertexts: {} there, {} back",
            progress::show_bytes(fs::metadata(&x)?.len()),
            progress::show_bytes(fs::metadata(&y)?.len())
        );
        let outputs = arrays::read(&answer)?;
        let encrypted = outputs.values().next().context("the answer is empty")?.to_f64();
        let clear = clear(&bundle, input_name, &image)?;
        let (predicted, expected) = (verify::best(&encrypted), verify::best(&clear));
        let label = labels.as_ref().and_then(|l| l.iter().nth(index)).map(|l| *l as usize);
        if predicted == label {
            right += 1;
        }
        let show = |n: Option<usize>| n.map_or("?".into(), |n| n.to_string());
        println!(
            "  encrypted says {}, the clear model {}, its writer meant {}; logits differ by at most {:.2e}",
            show(predicted),
            show(expected),
            show(label),
            verify::difference(&clear, &encrypted)
        );
        if predicted != expected {
            println!("  (encrypted and clear labels differ)");
        }
    }
    println!("  {right} of {count} as their writers meant");
    Ok(())
}

/// The clear model's answer to one input.
fn clear(bundle: &Path, name: &str, image: &ArrayD<f64>) -> Result<ArrayD<f64>> {
    let client = super::client::Client::open(bundle)?;
    let values = [(name.to_string(), image.clone())].into();
    let outputs = verify::clear(bundle, &client, &values)?;
    let port = client.manifest.outputs.first().context("the bundle has no outputs")?;
    Ok(inputs::post_process(&outputs[&port.name], &port.post)?.to_f64())
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

/// Prints an image in shades of the terminal's characters.
fn picture(image: &ArrayD<f64>) {
    const SHADES: [char; 5] = [' ', '.', ':', 'o', '@'];
    let side = (image.len() as f64).sqrt() as usize;
    if side * side != image.len() {
        return;
    }
    let pixels: Vec<f64> = image.iter().copied().collect();
    println!();
    for row in pixels.chunks(side).collect::<Vec<_>>().chunks(2) {
        // Characters are twice as high as wide: two rows of pixels are one line.
        let line: String = (0..side)
            .map(|column| {
                let mean = row.iter().map(|r| r[column]).sum::<f64>() / row.len() as f64;
                SHADES[((mean.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64).round()) as usize]
            })
            .collect();
        if !line.trim().is_empty() {
            println!("      {line}");
        }
    }
}
