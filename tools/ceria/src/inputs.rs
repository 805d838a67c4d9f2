//! Arrays of files as a model's inputs.

use anyhow::{Context as _, Result, bail};
use ceria_runtime::format::{
    arrays::{self, NumericArray},
    layout::Layout,
    manifest::{Port, PostProcess},
};
use ndarray::{ArrayD, Axis};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Where inputs come from.
#[derive(clap::Args, Clone, Debug)]
pub struct InputArguments {
    /// The inputs: an .npz file with one array an input, or a .npy file for a model of one input.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Take this sample of arrays that have an additional first axis.
    #[arg(long, value_name = "INDEX")]
    pub sample: Option<usize>,
}

/// The inputs of a model by name, checked: present, of the right shape, floating point and finite.
pub fn read(arguments: &InputArguments, ports: &[Port]) -> Result<BTreeMap<String, ArrayD<f64>>> {
    let file = arguments.input.display();
    let given = arrays::read(&arguments.input)?;
    ports
        .iter()
        .map(|port| {
            let name = &port.name;
            let only = if ports.len() == 1 && given.len() == 1 { given.get("") } else { None };
            let array = given.get(name).or(only).with_context(|| {
                let names: Vec<String> = given.keys().map(|n| format!("'{n}'")).collect();
                format!("input '{name}' is missing: {file} has {}", names.join(", "))
            })?;
            let shape: Vec<usize> = port.shape.iter().map(|&s| s as usize).collect();
            let value = select(name, array, &shape, arguments.sample)?;
            warn_of_range(port, &value);
            Ok((name.clone(), value))
        })
        .collect()
}

/// One sample of an array, checked.
pub fn select(
    name: &str,
    array: &NumericArray,
    shape: &[usize],
    sample: Option<usize>,
) -> Result<ArrayD<f64>> {
    if !array.is_float() {
        bail!("input '{name}' holds integers, the model takes float32");
    }
    let value = match (sample, array.shape()) {
        (None, own) if own == shape => array.to_f64(),
        (Some(index), [samples, own @ ..]) if own == shape => {
            if index >= *samples {
                bail!("input '{name}' has {samples} samples, there is no number {index}");
            }
            array.to_f64().index_axis(Axis(0), index).to_owned()
        }
        (None, [samples, own @ ..]) if own == shape => {
            bail!("input '{name}' holds {samples} samples; choose one with --sample")
        }
        (_, own) => bail!("input '{name}' has shape {own:?}, the model takes {shape:?}"),
    };
    if let Some(bad) = value.iter().find(|x| !x.is_finite()) {
        bail!("input '{name}' contains {bad}");
    }
    Ok(value)
}

/// Warns of values for which the model was not calibrated.
fn warn_of_range(port: &Port, value: &ArrayD<f64>) {
    let Some([lower, upper]) = port.range else { return };
    let least = value.iter().copied().fold(f64::INFINITY, f64::min);
    let most = value.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Ranges come from float32 arithmetic.
    let slack = 1e-6 * (upper - lower).abs();
    if least < lower - slack || most > upper + slack {
        eprintln!(
            "warning: input '{}' has values from {least:.4} to {most:.4}, outside the calibrated range from {lower:.4} \
             to {upper:.4}: the answer may be wrong",
            port.name
        );
    }
}

/// The layout of a port.
pub fn layout(port: &Port) -> Result<Layout> {
    port.layout.parse().map_err(|e| anyhow::anyhow!("the layout of '{}' is malformed: {e}", port.name))
}

/// What the client does after decryption.
pub fn post_process(value: &ArrayD<f64>, post: &[PostProcess]) -> Result<NumericArray> {
    let mut value = value.clone();
    for step in post {
        let axis = match step {
            PostProcess::Softmax { axis }
            | PostProcess::LogSoftmax { axis }
            | PostProcess::Argmax { axis } => *axis,
        };
        if axis >= value.ndim() {
            bail!("the bundle post-processes axis {axis} of a tensor of rank {}", value.ndim());
        }
        if let PostProcess::Argmax { .. } = step {
            let largest = value.map_axis(Axis(axis), |lane| {
                let mut best = 0;
                for (index, x) in lane.iter().enumerate() {
                    if *x > lane[best] {
                        best = index;
                    }
                }
                best as i64
            });
            return Ok(NumericArray::Int(largest.insert_axis(Axis(axis))));
        }
        for mut lane in value.lanes_mut(Axis(axis)) {
            let most = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = lane.iter().map(|x| (x - most).exp()).sum();
            match step {
                PostProcess::Softmax { .. } => lane.mapv_inplace(|x| (x - most).exp() / sum),
                _ => lane.mapv_inplace(|x| x - most - sum.ln()),
            }
        }
    }
    Ok(NumericArray::F32(value.mapv(|x| x as f32)))
}

/// Writes arrays by name.
pub fn write(path: &Path, arrays: &BTreeMap<String, NumericArray>) -> Result<()> {
    Ok(arrays::write(path, arrays)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    fn array(shape: &[usize]) -> NumericArray {
        NumericArray::F32(ArrayD::from_shape_fn(IxDyn(shape), |i| i[0] as f32))
    }

    #[test]
    fn samples_are_selected_and_checked() -> Result<()> {
        assert_eq!(select("x", &array(&[3, 2]), &[2], Some(1))?.sum(), 2.0);
        let wrong = |a: &NumericArray, shape: &[usize], sample| {
            select("x", a, shape, sample).map_err(|e| e.to_string()).err().unwrap_or_default()
        };
        assert!(wrong(&array(&[3, 2]), &[2], None).contains("--sample"));
        assert!(wrong(&array(&[3, 2]), &[2], Some(3)).contains("no number 3"));
        assert!(wrong(&array(&[3]), &[2], None).contains("shape [3]"));
        let nan = NumericArray::F64(ArrayD::from_elem(IxDyn(&[2]), f64::NAN));
        assert!(wrong(&nan, &[2], None).contains("NaN"));
        assert!(wrong(&NumericArray::Int(ArrayD::zeros(IxDyn(&[2]))), &[2], None).contains("integers"));
        Ok(())
    }

    #[test]
    fn softmax_and_argmax_follow_their_definitions() -> Result<()> {
        let value = ArrayD::from_shape_vec(IxDyn(&[1, 3]), vec![1.0, 3.0, 2.0])?;
        let NumericArray::F32(soft) = post_process(&value, &[PostProcess::Softmax { axis: 1 }])? else {
            bail!("no float");
        };
        assert!((soft.sum() - 1.0).abs() < 1e-6 && (soft[[0, 1]] / soft[[0, 2]] - 1f32.exp()).abs() < 1e-5);
        let best = post_process(&value, &[PostProcess::Argmax { axis: 1 }])?;
        assert_eq!(best, NumericArray::Int(ArrayD::from_elem(IxDyn(&[1, 1]), 1)));
        Ok(())
    }
}
