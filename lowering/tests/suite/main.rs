//! Tests across levels: what is imported, lowered, compiled and run, beside what it means.

mod bootstrap;
mod bundle;
mod catalogue;
mod emulated;
mod end_to_end;
mod fhe_to_ckks;
mod interpret;
mod noise;
mod onnx;
mod onnx_import;
mod ptxas;
mod support;
