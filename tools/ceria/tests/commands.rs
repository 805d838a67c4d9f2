//! The commands as a user types them: the flow in separate folders, and what is said about bad input.
//!
//! One small network is compiled once, so what needs it is one test; each part makes its own folders.

use ndarray::{Array2, ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

const NETWORK: &str = "
func.func @main(%x: !fhe.tensor<1x4> {fhe.name = \"x\", fhe.range = array<f64: -1.0, 1.0>})
    -> (!fhe.tensor<1x3> {fhe.name = \"y\"}) {
  %w = arith.constant dense<[[0.5, -1.0, 0.25], [1.0, 0.5, 0.0], [-0.5, 0.25, 1.0], [0.125, 1.0, -0.75]]>
    : tensor<4x3xf32>
  %0 = fhe.matmul %x, %w : !fhe.tensor<1x4>, tensor<4x3xf32>
  %1 = fhe.square %0 : !fhe.tensor<1x3>
  return %1 : !fhe.tensor<1x3>
}
";
const WEIGHTS: [[f64; 3]; 4] = [[0.5, -1.0, 0.25], [1.0, 0.5, 0.0], [-0.5, 0.25, 1.0], [0.125, 1.0, -0.75]];

fn ceria(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ceria"));
    command.current_dir(folder).args(arguments);
    command.output().expect("the command starts")
}

fn succeeds(arguments: &[&str], folder: &Path) -> String {
    let output = ceria(arguments, folder);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    format!("{out}{err}")
}

/// The one line of a command that fails.
fn fails(arguments: &[&str], folder: &Path) -> String {
    let output = ceria(arguments, folder);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?} ended with {}: {err}", output.status);
    let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {err}");
    assert!(!err.contains("panicked"), "{err}");
    errors[0].to_string()
}

/// Compiles the network of these lines to `name`.ceria in a folder.
fn compile(text: &str, name: &str, folder: &Path) {
    fs::write(folder.join(format!("{name}.mlir")), text).unwrap();
    succeeds(&["compile", &format!("{name}.mlir"), "-o", &format!("{name}.ceria"), "--quiet"], folder);
}

/// A folder with two bundles, made once: `net.ceria` and `other.ceria`.
static BUNDLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    compile(NETWORK, "net", &folder);
    compile(&NETWORK.replace("0.125", "0.25"), "other", &folder);
    folder
});

/// Folders of one client and one server, with inputs.
struct Site {
    root: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (folder, bundle) in [("client", "net"), ("server", "net"), ("other", "other")] {
            fs::create_dir(root.path().join(folder)).unwrap();
            copy_folder(
                &BUNDLES.join(format!("{bundle}.ceria")),
                &root.path().join(folder).join("net.ceria"),
            );
        }
        let site = Self { root };
        site.save("x.npz", "x", Array2::from_shape_fn((1, 4), |(_, i)| i as f32 / 4.0 - 0.4).into_dyn());
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn client(&self) -> PathBuf {
        self.path("client")
    }

    fn server(&self) -> PathBuf {
        self.path("server")
    }

    fn save(&self, file: &str, name: &str, array: ArrayD<f32>) {
        let mut npz = NpzWriter::new(fs::File::create(self.client().join(file)).unwrap());
        npz.add_array(name, &array).unwrap();
        npz.finish().unwrap();
    }

    fn keygen(&self) {
        succeeds(&["keygen", "net.ceria", "--client-dir", "keys"], &self.client());
    }

    /// Makes keys, encrypts, and hands the server its files.
    fn prepare(&self) {
        self.keygen();
        succeeds(
            &["encrypt", "net.ceria", "--client-dir", "keys", "--input", "x.npz", "-o", "x.ct"],
            &self.client(),
        );
        fs::copy(self.client().join("keys/eval.keys"), self.server().join("eval.keys")).unwrap();
        fs::copy(self.client().join("x.ct"), self.server().join("x.ct")).unwrap();
    }
}

const RUN: [&str; 8] = ["run", "net.ceria", "--keys", "eval.keys", "--input", "x.ct", "-o", "y.ct"];
const DECRYPT: [&str; 8] = ["decrypt", "net.ceria", "--client-dir", "keys", "--input", "y.ct", "-o", "y.npz"];

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_commands_work_and_refuse_what_is_wrong() {
    client_and_server_work_in_separate_folders();
    tables_are_kept_between_runs();
    damaged_files_are_refused();
    files_of_others_are_refused();
    bad_inputs_are_named();
    outputs_that_cannot_be_written_are_errors();
}

fn client_and_server_work_in_separate_folders() {
    let site = Site::new();
    site.prepare();
    assert_eq!(names(&site.server()), ["eval.keys", "net.ceria", "x.ct"]);
    assert_eq!(names(&site.client().join("keys")), ["eval.keys", "public.key", "secret.key"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(site.client().join("keys/secret.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    succeeds(&RUN, &site.server());
    fs::copy(site.server().join("y.ct"), site.client().join("y.ct")).unwrap();
    succeeds(&DECRYPT, &site.client());
    let mut npz = NpzReader::new(fs::File::open(site.client().join("y.npz")).unwrap()).unwrap();
    let answer: ArrayD<f32> = npz.by_name("y").unwrap();
    assert_eq!(answer.shape(), [1, 3]);
    for (column, answer) in answer.iter().enumerate() {
        let sum: f64 = (0..4).map(|row| (row as f64 / 4.0 - 0.4) * WEIGHTS[row][column]).sum();
        assert!((f64::from(*answer) - sum * sum).abs() < 1e-2, "{answer} instead of {}", sum * sum);
    }
    // A second server, on another machine, gives the same answer: the program is deterministic.
    let first = fs::read(site.server().join("y.ct")).unwrap();
    succeeds(&RUN, &site.server());
    assert!(first == fs::read(site.server().join("y.ct")).unwrap(), "two runs differ");
}

fn tables_are_kept_between_runs() {
    let site = Site::new();
    site.prepare();
    let (server, cache) = (site.server(), site.path("tables"));
    let run = |output: &str| {
        let mut arguments = RUN.to_vec();
        arguments[7] = output;
        arguments.extend(["--table-cache", cache.to_str().unwrap()]);
        succeeds(&arguments, &server);
        fs::read(server.join(output)).unwrap()
    };
    succeeds(&RUN, &server);
    let expected = fs::read(server.join("y.ct")).unwrap();
    assert_eq!(run("first.ct"), expected);
    let tables = names(&cache);
    assert!(!tables.is_empty() && tables.iter().all(|name| name.ends_with(".table")), "{tables:?}");
    assert_eq!(run("second.ct"), expected);
    // A table that was damaged is built again.
    let damaged = cache.join(&tables[0]);
    let whole = fs::read(&damaged).unwrap();
    fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(run("third.ct"), expected);
    assert_eq!((names(&cache), fs::read(&damaged).unwrap()), (tables, whole));
}

fn damaged_files_are_refused() {
    let site = Site::new();
    site.prepare();
    let server = site.server();
    for file in ["eval.keys", "x.ct", "net.ceria/manifest.json", "net.ceria/host-x86_64-v2.so"] {
        let path = server.join(file);
        let good = fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        let mut huge = good.clone();
        // Lengths that follow the header.
        let length = huge.len().min(200);
        huge[length - 40..length].fill(0xff);
        let damaged = [
            good[..good.len() / 2].to_vec(),
            good[..3].to_vec(),
            vec![],
            flipped(good.len() / 2),
            flipped(9),
            huge,
        ];
        for (index, bytes) in damaged.into_iter().enumerate() {
            // The machine's own code may be another of the bundle's files, but all are hashed.
            fs::write(&path, bytes).unwrap();
            let error = fails(&RUN, &server);
            assert!(error.len() > 20, "{file} {index}: {error}");
            assert!(!server.join("y.ct").exists(), "{file} {index}");
        }
        fs::write(&path, &good).unwrap();
    }
    succeeds(&RUN, &server);
    fs::remove_file(server.join("x.ct")).unwrap();
    assert!(fails(&RUN, &server).contains("x.ct"));
}

fn files_of_others_are_refused() {
    let site = Site::new();
    site.prepare();
    let other = Site::new();
    other.prepare();
    // The ciphertext of another client.
    fs::copy(other.server().join("x.ct"), site.server().join("x.ct")).unwrap();
    assert!(fails(&RUN, &site.server()).contains("key"), "{}", fails(&RUN, &site.server()));
    // Another model's bundle.
    fs::copy(site.client().join("x.ct"), site.server().join("x.ct")).unwrap();
    fs::remove_dir_all(site.server().join("net.ceria")).unwrap();
    copy_folder(&BUNDLES.join("other.ceria"), &site.server().join("net.ceria"));
    assert!(fails(&RUN, &site.server()).contains("model"), "{}", fails(&RUN, &site.server()));
    // The answer for another client.
    succeeds(&RUN, &other.server());
    fs::copy(other.server().join("y.ct"), site.client().join("y.ct")).unwrap();
    let error = fails(&DECRYPT, &site.client());
    assert!(error.contains("key"), "{error}");
    assert!(!site.client().join("y.npz").exists());
}

fn bad_inputs_are_named() {
    let site = Site::new();
    site.keygen();
    let client = site.client();
    let encrypt = |file: &str| {
        let error = fails(
            &["encrypt", "net.ceria", "--client-dir", "keys", "--input", file, "-o", "bad.ct"],
            &client,
        );
        assert!(!client.join("bad.ct").exists());
        error
    };
    let zeros = |shape: &[usize]| ArrayD::<f32>::zeros(IxDyn(shape));
    site.save("name.npz", "z", zeros(&[1, 4]));
    assert!(encrypt("name.npz").contains("'x' is missing"));
    site.save("shape.npz", "x", zeros(&[1, 5]));
    assert!(encrypt("shape.npz").contains("[1, 5]"));
    let mut nan = zeros(&[1, 4]);
    nan[[0, 2]] = f32::NAN;
    site.save("nan.npz", "x", nan);
    assert!(encrypt("nan.npz").contains("NaN"));
    let mut npz = NpzWriter::new(fs::File::create(client.join("integers.npz")).unwrap());
    npz.add_array("x", &Array2::<i64>::zeros((1, 4))).unwrap();
    npz.finish().unwrap();
    assert!(encrypt("integers.npz").contains("integers"));
    fs::write(client.join("no.npz"), b"PK\x03\x04 this is no archive").unwrap();
    assert!(encrypt("no.npz").contains("no.npz"));
    assert!(encrypt("missing.npz").contains("missing.npz"));
    // Values outside the range the network was compiled for are a warning.
    site.save("large.npz", "x", zeros(&[1, 4]) + 3.0);
    let said = succeeds(
        &["encrypt", "net.ceria", "--client-dir", "keys", "--input", "large.npz", "-o", "large.ct"],
        &client,
    );
    assert!(said.contains("warning") && said.contains('x'), "{said}");
}

fn outputs_that_cannot_be_written_are_errors() {
    let site = Site::new();
    site.prepare();
    let client = site.client();
    let error = fails(
        &["encrypt", "net.ceria", "--client-dir", "keys", "--input", "x.npz", "-o", "nowhere/x.ct"],
        &client,
    );
    assert!(error.contains("nowhere"), "{error}");
    let mut run = RUN;
    run[7] = "nowhere/y.ct";
    assert!(fails(&run, &site.server()).contains("nowhere"));
    fs::write(client.join("file"), "").unwrap();
    let error = fails(&["keygen", "net.ceria", "--client-dir", "file"], &client);
    assert!(error.contains("file"), "{error}");
    assert!(fails(&["inspect", "nothing.ceria"], &client).contains("nothing.ceria"));
}

#[test]
fn bad_models_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let compile = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        let error = fails(&["compile", name, "-o", "bad.ceria"], folder.path());
        assert!(!folder.path().join("bad.ceria").exists());
        error
    };
    assert!(compile("corrupt.onnx", &[0xff; 300]).contains("corrupt.onnx"));
    assert!(compile("empty.onnx", b"").len() > 20);
    let model = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/logreg/model.onnx")).unwrap();
    assert!(compile("half.onnx", &model[..model.len() / 2]).len() > 20);
    assert!(compile("model.txt", b"x").contains("neither"));
    assert!(compile("syntax.mlir", b"func.func @main(").contains("syntax.mlir"));
    let deep =
        "func.func @main(%x: !fhe.tensor<4> {fhe.name = \"x\"}) -> (!fhe.tensor<4> {fhe.name = \"y\"}) {\n"
            .to_string()
            + &(0..180)
                .map(|i| {
                    let from = if i == 0 { "x".into() } else { format!("v{}", i - 1) };
                    format!("%v{i} = fhe.square %{from} : !fhe.tensor<4>\n")
                })
                .collect::<String>()
            + "return %v179 : !fhe.tensor<4>\n}\n";
    fs::write(folder.path().join("deep.mlir"), deep).unwrap();
    let error = fails(&["compile", "deep.mlir", "-o", "bad.ceria", "--bootstraps", "never"], folder.path());
    assert!(error.contains("bootstrapping") && !folder.path().join("bad.ceria").exists(), "{error}");
    let coarse = "func.func @main(%x: !fhe.tensor<4> {fhe.name = \"x\", fhe.range = array<f64: -8.0, 8.0>})
        -> (!fhe.tensor<4> {fhe.name = \"y\"}) {
      %0 = fhe.activation sigmoid %x : !fhe.tensor<4>
      return %0 : !fhe.tensor<4>
    }";
    fs::write(folder.path().join("coarse.mlir"), coarse).unwrap();
    let coarse = ["compile", "coarse.mlir", "-o", "bad.ceria", "--precision", "12", "--max-degree", "7"];
    let error = fails(&coarse, folder.path());
    assert!(error.contains("12.0 are wanted") && error.contains("raise --max-degree"), "{error}");
    assert!(fails(&["compile", "nowhere.onnx", "-o", "bad.ceria"], folder.path()).contains("nowhere.onnx"));
}

/// A loop that uses more levels than there are, on a toy ring.
const DEEP: &str = "
func.func @main(%x: !fhe.tensor<4x8> {fhe.name = \"x\", fhe.range = array<f64: -1.0, 1.0>},
                %w: !fhe.tensor<1x8> {fhe.name = \"w\", fhe.range = array<f64: -1.0, 1.0>})
    -> (!fhe.tensor<1x8> {fhe.name = \"y\"}) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %turns = arith.constant 3 : index
  %end:2 = scf.for %i = %zero to %turns step %one iter_args(%a = %w, %b = %w)
      -> (!fhe.tensor<1x8>, !fhe.tensor<1x8>) {
    %rows = fhe.expand %b : !fhe.tensor<1x8> -> !fhe.tensor<4x8>
    %products = fhe.mul %x, %rows : !fhe.tensor<4x8>, !fhe.tensor<4x8>
    %sums = fhe.reduce_mean %products over [1] keep_dims : !fhe.tensor<4x8>
    %cubes = fhe.pow %sums to 3 : !fhe.tensor<4x1>
    %columns = fhe.expand %cubes : !fhe.tensor<4x1> -> !fhe.tensor<4x8>
    %pulls = fhe.mul %columns, %x : !fhe.tensor<4x8>, !fhe.tensor<4x8>
    %step = fhe.reduce_sum %pulls over [0] keep_dims : !fhe.tensor<4x8>
    %c = fhe.add %b, %step : !fhe.tensor<1x8>, !fhe.tensor<1x8>
    %d = fhe.sub %c, %a : !fhe.tensor<1x8>, !fhe.tensor<1x8>
    scf.yield %c, %d : !fhe.tensor<1x8>, !fhe.tensor<1x8>
  }
  return %end#0 : !fhe.tensor<1x8>
}
";

/// What [`DEEP`] computes.
fn deep(x: &[[f64; 8]; 4], w: [f64; 8]) -> [f64; 8] {
    let (mut a, mut b) = (w, w);
    for _ in 0..3 {
        let mut c = b;
        for row in x {
            let mean = row.iter().zip(&b).map(|(x, b)| x * b).sum::<f64>() / 8.0;
            c.iter_mut().zip(row).for_each(|(c, x)| *c += mean.powi(3) * x);
        }
        let d = std::array::from_fn(|i| c[i] - a[i]);
        (a, b) = (c, d);
    }
    a
}

#[test]
fn a_loop_is_bootstrapped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("deep.mlir"), DEEP).unwrap();
    let said = succeeds(
        &["compile", "deep.mlir", "-o", "deep.ceria", "--test-only-log-n", "7", "--cpu-levels", "v2"],
        folder,
    );
    // Eight levels a turn, and three at which the next one starts.
    assert!(said.contains("stc-first of 32 slots") && said.contains("of up to 11 levels"), "{said}");
    let imprecise = ["compile", "deep.mlir", "-o", "no.ceria", "--test-only-log-n", "7", "--precision", "36"];
    let said = fails(&imprecise, folder);
    assert!(said.contains("bits of precision, 36.0 are wanted; most is lost by ckks."), "{said}");
    succeeds(&["keygen", "deep.ceria", "--client-dir", "keys"], folder);
    let x: [[f64; 8]; 4] =
        std::array::from_fn(|i| std::array::from_fn(|j| ((3 * i + 5 * j) % 8) as f64 / 4.0 - 1.0));
    let w: [f64; 8] = std::array::from_fn(|j| 0.9 - j as f64 / 5.0);
    let mut npz = NpzWriter::new(fs::File::create(folder.join("x.npz")).unwrap());
    npz.add_array("x", &Array2::from_shape_fn((4, 8), |(i, j)| x[i][j] as f32)).unwrap();
    npz.add_array("w", &Array2::from_shape_fn((1, 8), |(_, j)| w[j] as f32)).unwrap();
    npz.finish().unwrap();
    let encrypt = ["encrypt", "deep.ceria", "--client-dir", "keys", "--input", "x.npz", "-o", "x.ct"];
    succeeds(&encrypt, folder);
    succeeds(&["run", "deep.ceria", "--keys", "keys/eval.keys", "--input", "x.ct", "-o", "y.ct"], folder);
    succeeds(&["decrypt", "deep.ceria", "--client-dir", "keys", "--input", "y.ct", "-o", "y.npz"], folder);
    let mut npz = NpzReader::new(fs::File::open(folder.join("y.npz")).unwrap()).unwrap();
    let y: Array2<f32> = npz.by_name("y").unwrap();
    for (y, expected) in y.iter().zip(deep(&x, w)) {
        assert!((f64::from(*y) - expected).abs() < 1e-3, "{y} is not {expected}");
    }
}
