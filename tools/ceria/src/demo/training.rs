//! Logistic regression, trained on samples that the server does not see.

use super::{clear, process::Site};
use crate::verify;
use anyhow::{Context as _, Result};
use ceria_runtime::format::arrays::{self, NumericArray};
use ndarray::{ArrayD, Axis};
use std::{collections::BTreeMap, path::Path};

/// Trains on a folder's samples and tries the weights on those held out.
pub fn run(source: &Path, folder: &Path) -> Result<()> {
    let site = Site::new(&source.join("train.mlir"), folder, &["--precision", "6"])?;
    let inputs = source.join("inputs.npz");
    let encrypted = site.ask(&inputs, 0)?;
    let samples = arrays::read(&inputs)?;
    let first = |array: &NumericArray| array.to_f64().index_axis(Axis(0), 0).to_owned();
    let values: BTreeMap<_, _> = samples.iter().map(|(name, array)| (name.clone(), first(array))).collect();
    let clear = clear(&site.bundle, values)?;
    let held_out = arrays::read(&source.join("held-out.npz"))?;
    let array =
        |name: &str| held_out.get(name).map(NumericArray::to_f64).context("held-out.npz is incomplete");
    let (features, labels) = (array("features")?, array("label")?);
    println!(
        "  of {} patients held out the weights trained encrypted are right about {}, those trained in the clear about \
         {}; weights of size {:.2} differ by at most {:.2e}",
        labels.len(),
        right(&features, &labels, &encrypted),
        right(&features, &labels, &clear),
        clear.iter().fold(0f64, |most, w| most.max(w.abs())),
        verify::difference(&clear, &encrypted)
    );
    Ok(())
}

/// On how many samples the sign of the product with the weights is that of the label, 0 or 1.
fn right(features: &ArrayD<f64>, labels: &ArrayD<f64>, weights: &ArrayD<f64>) -> usize {
    let score = |row: ndarray::ArrayViewD<'_, f64>| row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
    features
        .outer_iter()
        .zip(labels)
        .filter(|(row, label)| (score(row.view()) > 0.0) == (**label > 0.5))
        .count()
}
