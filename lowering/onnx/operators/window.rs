//! Convolutions and pooling: explicit windows from attributes, and the shapes they give.

use super::{Call, Resolved};
use crate::onnx::{
    error::OnnxError,
    graph::{Operator, Windows},
};

/// Strides, dilations and padding are below this, so that sums of them do not overflow.
const MAX_EXTENT: i64 = 1 << 24;

/// A convolution with a constant kernel.
pub(super) fn conv(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(2, 3)?;
    let (input, kernel) = (call.shape(0)?, call.shape(1)?);
    if input.len() < 3 || kernel.len() != input.len() {
        return Err(call.invalid(format!("input {input:?} and kernel {kernel:?} do not fit")));
    }
    let groups = list(call, &[call.int("group")?.unwrap_or(1)], "group", 1)?[0];
    if input[1] != kernel[1] * groups || kernel[0] % groups != 0 {
        return Err(
            call.invalid(format!("input {input:?} and kernel {kernel:?} do not fit in {groups} groups"))
        );
    }
    call.optional_constant(1, "kernel")?;
    call.optional_constant(2, "bias")?;
    if let Some(declared) = call.ints("kernel_shape")?
        && list(call, declared, "kernel_shape", 1)? != kernel[2..]
    {
        return Err(call.invalid(format!("kernel {kernel:?} has not the shape {declared:?}")));
    }
    let (windows, spatial) = windows(call, &input[2..], kernel[2..].to_vec(), false)?;
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    if let Some(bias) = call.optional_input(2) {
        if call.shape(2)? != &kernel[..1] {
            return Err(call.invalid("its bias does not have one element a channel"));
        }
        inputs.push(bias);
    }
    let shape = [&[input[0], kernel[0]], &spatial[..]].concat();
    Ok(Resolved { operator: Operator::Conv { windows, groups }, inputs, shape })
}

/// Means over windows.
pub(super) fn average_pool(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let input = call.shape(0)?;
    if input.len() < 3 {
        return Err(call.invalid(format!("input {input:?} has no axes to pool over")));
    }
    let kernel =
        call.ints("kernel_shape")?.ok_or_else(|| call.invalid("attribute `kernel_shape` is missing"))?;
    let kernel = list(call, kernel, "kernel_shape", 1)?;
    let (windows, spatial) = windows(call, &input[2..], kernel, call.flag("ceil_mode", false)?)?;
    let shape = [&input[..2], &spatial[..]].concat();
    let count_pads = call.flag("count_include_pad", false)?;
    Ok(Resolved {
        operator: Operator::AveragePool { windows, count_pads },
        inputs: vec![call.input(0)?],
        shape,
    })
}

/// The mean over everything after batch and channels.
pub(super) fn global_average_pool(call: &Call<'_>) -> Result<Resolved, OnnxError> {
    call.expect_inputs(1, 1)?;
    let mut shape = call.shape(0)?.to_vec();
    if shape.len() < 3 {
        return Err(call.invalid(format!("input {shape:?} has no axes to pool over")));
    }
    shape[2..].fill(1);
    Ok(Resolved { operator: Operator::GlobalAveragePool, inputs: vec![call.input(0)?], shape })
}

/// Where windows of shape `kernel` lie on axes of extents `input`, and how many there are along each.
fn windows(
    call: &Call<'_>,
    input: &[usize],
    kernel: Vec<usize>,
    round_up: bool,
) -> Result<(Windows, Vec<usize>), OnnxError> {
    let rank = input.len();
    let attribute = |name: &str, least: i64, count: usize| -> Result<Option<Vec<usize>>, OnnxError> {
        let Some(values) = call.ints(name)? else { return Ok(None) };
        if values.len() != count {
            return Err(call.invalid(format!("attribute `{name}` has {} entries, not {count}", values.len())));
        }
        list(call, values, name, least).map(Some)
    };
    if kernel.len() != rank {
        return Err(call.invalid(format!("the window has rank {}, not {rank}", kernel.len())));
    }
    let strides = attribute("strides", 1, rank)?.unwrap_or_else(|| vec![1; rank]);
    let dilations = attribute("dilations", 1, rank)?.unwrap_or_else(|| vec![1; rank]);
    let pads = attribute("pads", 0, 2 * rank)?.unwrap_or_else(|| vec![0; 2 * rank]);
    let reach: Vec<usize> = (0..rank).map(|d| (kernel[d] - 1) * dilations[d] + 1).collect();
    let (mut low, mut high) = (pads[..rank].to_vec(), pads[rank..].to_vec());
    let auto_pad = call.text("auto_pad")?.unwrap_or("NOTSET");
    match auto_pad {
        "NOTSET" | "" => {}
        "VALID" => {
            low.fill(0);
            high.fill(0);
        }
        "SAME_UPPER" | "SAME_LOWER" => {
            for d in 0..rank {
                let count = input[d].div_ceil(strides[d]);
                let total = ((count - 1) * strides[d] + reach[d]).saturating_sub(input[d]);
                let (less, more) = (total / 2, total - total / 2);
                (low[d], high[d]) = if auto_pad == "SAME_UPPER" { (less, more) } else { (more, less) };
            }
        }
        other => return Err(call.invalid(format!("attribute `auto_pad` is `{other}`"))),
    }
    let mut counts = Vec::with_capacity(rank);
    for d in 0..rank {
        let padded = input[d] + low[d] + high[d];
        if padded < reach[d] {
            return Err(call.invalid(format!("a window of {} does not fit in {padded}", reach[d])));
        }
        let room = padded - reach[d];
        let mut count = room / strides[d] + 1;
        if round_up && !room.is_multiple_of(strides[d]) && count * strides[d] < input[d] + low[d] {
            // One more window reaches past the end; it must start inside.
            count += 1;
        }
        counts.push(count);
    }
    Ok((Windows { kernel, strides, dilations, low, high }, counts))
}

/// Small integers that are at least `least`.
fn list(call: &Call<'_>, values: &[i64], name: &str, least: i64) -> Result<Vec<usize>, OnnxError> {
    if let Some(bad) = values.iter().find(|value| !(least..=MAX_EXTENT).contains(value)) {
        return Err(call.invalid(format!("attribute `{name}` contains {bad}")));
    }
    Ok(values.iter().map(|&value| value as usize).collect())
}
