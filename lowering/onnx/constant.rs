//! Constant tensors from their encoding in the file.

use super::{
    graph::{Constant, element_count},
    proto::{TensorProto, data_type},
};
use ndarray::{ArrayD, IxDyn};

/// Decodes a tensor. The error says what is wrong with it and does not repeat its name.
pub(super) fn decode(tensor: &TensorProto) -> Result<Constant, String> {
    if tensor.data_location == 1 || !tensor.external_data.is_empty() {
        let file = tensor.external_data.iter().find(|entry| entry.key == "location");
        let file = file.map(|entry| format!(" ({})", entry.value)).unwrap_or_default();
        return Err(format!("its data is in another file{file}; save the model as one file"));
    }
    let shape: Vec<usize> = tensor
        .dims
        .iter()
        .map(|&extent| usize::try_from(extent))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("its shape is {:?}", tensor.dims))?;
    let count = element_count(&shape).ok_or_else(|| format!("its shape {shape:?} is too large"))?;
    let raw = &tensor.raw_data;
    // Elements are in `raw_data` or in the list of their type.
    let real = |width: usize, read: &dyn Fn(&[u8]) -> f32, listed: &mut dyn Iterator<Item = f32>| {
        let values: Vec<f32> = if raw.is_empty() {
            listed.take(count + 1).collect()
        } else {
            raw.chunks(width).map(read).collect()
        };
        checked(values, raw, width, &shape).map(Constant::Real)
    };
    let integer = |width: usize, read: &dyn Fn(&[u8]) -> i64, listed: &mut dyn Iterator<Item = i64>| {
        let values: Vec<i64> = if raw.is_empty() {
            listed.take(count + 1).collect()
        } else {
            raw.chunks(width).map(read).collect()
        };
        checked(values, raw, width, &shape).map(Constant::Integer)
    };
    // Half floats are listed as their bits in the low half of an integer.
    let bits = |value: &i32| *value as u16;
    match tensor.data_type {
        data_type::FLOAT => {
            real(4, &|b| f32::from_bits(unsigned(b) as u32), &mut tensor.float_data.iter().copied())
        }
        data_type::DOUBLE => real(
            8,
            &|b| f64::from_bits(unsigned(b)) as f32,
            &mut tensor.double_data.iter().map(|&v| v as f32),
        ),
        data_type::FLOAT16 => real(
            2,
            &|b| half_to_f32(unsigned(b) as u16),
            &mut tensor.int32_data.iter().map(|v| half_to_f32(bits(v))),
        ),
        data_type::BFLOAT16 => {
            let wide = |bits: u16| f32::from_bits(u32::from(bits) << 16);
            real(2, &|b| wide(unsigned(b) as u16), &mut tensor.int32_data.iter().map(|v| wide(bits(v))))
        }
        data_type::INT64 => integer(8, &|b| unsigned(b) as i64, &mut tensor.int64_data.iter().copied()),
        data_type::INT32 => integer(
            4,
            &|b| i64::from(unsigned(b) as u32 as i32),
            &mut tensor.int32_data.iter().map(|&v| v.into()),
        ),
        data_type::BOOL => {
            integer(1, &|b| i64::from(b[0] != 0), &mut tensor.int32_data.iter().map(|&v| i64::from(v != 0)))
        }
        other => Err(format!("its elements are {}", data_type::name(other))),
    }
}

/// Little-endian bytes, at most eight, as a number.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn checked<T>(values: Vec<T>, raw: &[u8], width: usize, shape: &[usize]) -> Result<ArrayD<T>, String> {
    let count = values.len();
    if !raw.len().is_multiple_of(width) {
        return Err(format!("it has {} bytes, not a multiple of {width}", raw.len()));
    }
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| format!("its shape {shape:?} does not fit the number of its elements, {count}"))
}

/// A 16-bit float by its bits.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

    fn tensor(data_type: i32, dims: &[i64]) -> TensorProto {
        TensorProto { data_type, dims: dims.to_vec(), ..TensorProto::default() }
    }

    #[test]
    fn raw_and_listed_elements_are_the_same() {
        let values = [1.5f32, -2.0, 1e-3];
        let listed = TensorProto { float_data: values.to_vec(), ..tensor(data_type::FLOAT, &[3]) };
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let raw = TensorProto { raw_data: raw, ..tensor(data_type::FLOAT, &[3]) };
        assert_eq!(decode(&listed), decode(&raw));
        assert_eq!(decode(&raw), Ok(Constant::Real(ndarray::arr1(&values).into_dyn())));
        let raw = [-7i64, 1 << 40].iter().flat_map(|v| v.to_le_bytes()).collect();
        let raw = TensorProto { raw_data: raw, ..tensor(data_type::INT64, &[2]) };
        assert_eq!(decode(&raw), Ok(Constant::Integer(ndarray::arr1(&[-7, 1 << 40]).into_dyn())));
    }

    #[test]
    fn half_floats_widen_exactly() {
        // 1, -2, the largest, the smallest normal, the smallest subnormal.
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0400, 2f32.powi(-14)), (1, 2f32.powi(-24))];
        for (bits, value) in cases {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7c01).is_nan() && half_to_f32(0xfc00) == f32::NEG_INFINITY);
    }

    #[test]
    fn contradictions_are_errors() {
        let short = TensorProto { raw_data: vec![0; 8], ..tensor(data_type::FLOAT, &[3]) };
        assert!(decode(&short).unwrap_err().contains("number of its elements, 2"));
        let torn = TensorProto { raw_data: vec![0; 11], ..tensor(data_type::FLOAT, &[3]) };
        assert!(decode(&torn).unwrap_err().contains("11 bytes"));
        assert!(decode(&tensor(data_type::FLOAT, &[-1])).unwrap_err().contains("[-1]"));
        assert!(decode(&tensor(data_type::FLOAT, &[i64::MAX, i64::MAX])).unwrap_err().contains("too large"));
        assert!(decode(&tensor(8, &[1])).unwrap_err().contains("string"));
        let location = StringStringEntryProto { key: "location".into(), value: "w.bin".into() };
        let outside = TensorProto { external_data: vec![location], ..tensor(data_type::FLOAT, &[1]) };
        assert!(decode(&outside).unwrap_err().contains("another file (w.bin)"));
    }
}
