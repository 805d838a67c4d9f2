//! Between the levels: lowerings, the ONNX importer, the named pipelines and the bundle writer.

pub mod bundle;
pub mod ckks_to_poly;
pub mod fhe_to_ckks;
pub mod kernel_to_cpu;
pub mod onnx;
pub mod pipelines;
pub mod poly_to_kernel;
