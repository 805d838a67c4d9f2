//! (onnx)
