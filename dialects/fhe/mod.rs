//! (fhe)
