//! `ceria interpret`: a function of an MLIR file, run on arrays.
//!
//! The work is [`ceria_lowering::interpret`]'s; here are the files, and the comparison with what is expected.

use super::{network, verify::difference};
use anyhow::{Context as _, Result, bail};
use ceria_lowering::{
    interpret::{Request, inputs::Inputs, native::Machine, run as run_function},
    kernel_to_nvvm::{emulator::Mode, schedule::Schedule},
};
use ceria_runtime::format::arrays::{self, NumericArray};
use std::{collections::BTreeMap, path::PathBuf};

/// What `--help` says after the options.
const ARRAYS: &str = "\
Arrays are found in the input by an argument's name (fhe.name, ckks.name), or as arg0, arg1, ...; results have names, or
are result0, result1, ... By dialect:
  fhe: real arrays in the tensors' shapes.
  ckks: tensors where the function records their layouts (as fhe-to-ckks makes it), else slot vectors; one that is
    shorter than the slots by a power of two is repeated.
  poly: integers [limbs, N], residues in the form that the type says; a sparse polynomial has its period instead of N, a
    tensor of polynomials its extents in front.
  kernel: integers in the buffer's shape. Results are the buffers marked kernel.output.
Tables of keys and plaintexts are arrays named @table: [entries, limbs, N] (or the period) for plaintexts, [entries,
digits, 2, limbs, N] for keys, in evaluation form and not in Montgomery form. Plaintexts whose ckks.vector or ckks.matrix
is in the module need no array.";

/// Run a function of an MLIR file of any of the four dialects.
#[derive(clap::Args)]
#[command(after_long_help = ARRAYS)]
pub struct Arguments {
    /// The file.
    file: PathBuf,
    /// The function.
    #[arg(long, value_name = "NAME", default_value = "main")]
    entry: String,
    /// The arguments: an .npz file with one array an argument, or a .npy file for a function of one argument.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Draw arguments and tables that the input lacks: reals in the argument's range or [-1, 1], residues below all primes. The
    /// same seed and name give the same array at every level.
    #[arg(long, value_name = "SEED")]
    random: Option<u64>,
    /// Draw the errors of encryption, with the deviations that ckks-estimate-noise predicts with.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    noise: Option<u64>,
    /// Lower the function to code for this machine and run that. Arguments of fhe and ckks are encrypted for it and results are
    /// decrypted.
    #[arg(long)]
    native: bool,
    /// Lower the function to code for a GPU and run that on an emulator, which reports accesses outside memory, races and barriers
    /// that some threads do not reach. Arguments and results are as with --native.
    #[arg(long, conflicts_with = "native")]
    emulate: bool,
    /// The placed ckks program that a file of poly or kernel was lowered from: a client encrypts that program's arguments,
    /// makes the keys, and decrypts the results.
    #[arg(long, value_name = "CKKS.mlir")]
    client: Option<PathBuf>,
    /// Where the results go, .npz or .npy; printed if absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fail unless the results are those of this file.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// The largest difference from what is expected that is not a failure.
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 0.0, requires = "expect")]
    tolerance: f64,
}

/// `ceria interpret`.
pub fn run(arguments: &Arguments) -> Result<()> {
    ceria_lowering::register()?;
    let context = ceria_dialects::context();
    let module = network::read(&context, &arguments.file)?;
    let client = arguments.client.as_ref().map(|path| network::read(&context, path)).transpose()?;
    let given = match &arguments.input {
        Some(path) => arrays::read(path)?,
        None => BTreeMap::new(),
    };
    let expected = arguments.expect.as_ref().map(|path| arrays::read(path)).transpose()?;
    let machine = match (arguments.native, arguments.emulate) {
        (_, true) => Some(Machine::Emulated(Mode::Checked, Schedule::default())),
        (true, false) => Some(Machine::Cpu),
        (false, false) => None,
    };
    let request = Request {
        module: &module,
        entry: &arguments.entry,
        inputs: Inputs { arrays: &given, random: arguments.random },
        noise: arguments.noise,
        machine,
        client: client.as_ref(),
    };
    let shown = arguments.file.display();
    let results = run_function(&request).with_context(|| format!("{shown}"))?;
    match (&arguments.output, &expected) {
        (Some(path), _) => arrays::write(path, &results)?,
        (None, None) => {
            for (name, array) in &results {
                match array.to_integers() {
                    Some(integers) => println!("{name} = {integers}"),
                    None => println!("{name} = {}", array.to_f64()),
                }
            }
        }
        _ => {}
    }
    expected.map_or(Ok(()), |expected| compare(&results, &expected, arguments.tolerance))
}

/// Fails unless the arrays have the same names and shapes and differ by no more than the tolerance.
fn compare(
    found: &BTreeMap<String, NumericArray>,
    expected: &BTreeMap<String, NumericArray>,
    tolerance: f64,
) -> Result<()> {
    let names =
        |arrays: &BTreeMap<String, NumericArray>| arrays.keys().cloned().collect::<Vec<_>>().join(", ");
    // A .npy file has no names.
    let only = || (expected.len() == 1 && found.len() == 1).then(|| expected.get("")).flatten();
    if only().is_none() && !found.keys().eq(expected.keys()) {
        bail!("the results are {}, expected were {}", names(found), names(expected));
    }
    let mut worst = 0f64;
    for (name, array) in found {
        let Some(wanted) = expected.get(name).or_else(only) else { continue };
        if array.shape() != wanted.shape() {
            bail!("'{name}' has shape {:?}, expected was {:?}", array.shape(), wanted.shape());
        }
        let off = difference(&array.to_f64(), &wanted.to_f64());
        if off.is_nan() || off > tolerance {
            bail!("'{name}' differs by {off:.3e} from what is expected, more than {tolerance:e}");
        }
        worst = worst.max(off);
    }
    println!("as expected: the largest difference is {worst:.3e}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayD;

    #[test]
    fn differences_are_found() {
        let named = |name: &str, values: Vec<f64>| {
            let array = ArrayD::from_shape_vec(vec![values.len()], values).unwrap_or_default();
            BTreeMap::from([(name.to_string(), NumericArray::F64(array))])
        };
        let found = named("y", vec![1.0, 2.0]);
        let wrong =
            |expected, tolerance| compare(&found, &expected, tolerance).map_err(|e| e.to_string()).err();
        assert_eq!(wrong(named("y", vec![1.0, 2.0]), 0.0), None);
        assert_eq!(wrong(named("", vec![1.0, 2.0]), 0.0), None);
        assert_eq!(wrong(named("y", vec![1.0, 2.5]), 0.5), None);
        assert!(wrong(named("y", vec![1.0, 2.5]), 0.4).is_some_and(|e| e.contains("differs by 5.000e-1")));
        assert!(wrong(named("y", vec![1.0, f64::NAN]), 9.0).is_some());
        assert!(wrong(named("y", vec![1.0]), 9.0).is_some_and(|e| e.contains("shape")));
        assert!(wrong(named("z", vec![1.0, 2.0]), 9.0).is_some_and(|e| e.contains("expected were z")));
    }
}
