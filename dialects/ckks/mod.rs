//! (ckks)
