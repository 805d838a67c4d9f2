//! Hand-written digits, classified without being seen.

use super::{clear, process::Site};
use crate::verify;
use anyhow::{Context as _, Result};
use ceria_runtime::format::arrays::{self, NumericArray};
use ndarray::{ArrayD, Axis};
use std::path::Path;

/// Classifies the first digits of a model's folder.
pub fn run(source: &Path, count: usize, folder: &Path) -> Result<()> {
    let site = Site::new(&source.join("model.onnx"), folder, &[])?;
    let inputs = source.join("inputs.npz");
    let samples = arrays::read(&inputs)?;
    let labels = samples.get("label").map(NumericArray::to_f64);
    let (input_name, images) =
        samples.iter().find(|(name, _)| *name != "label").context("inputs.npz has no inputs")?;
    let count = count.min(images.shape().first().copied().unwrap_or(0));
    let mut right = 0;
    for index in 0..count {
        let image = images.to_f64().index_axis(Axis(0), index).to_owned();
        picture(&image);
        let encrypted = site.ask(&inputs, index)?;
        let clear = clear(&site.bundle, [(input_name.clone(), image)].into())?;
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
