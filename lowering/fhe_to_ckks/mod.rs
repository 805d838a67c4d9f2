//! (fhe_to_ckks)
