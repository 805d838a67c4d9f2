//! (ckks_to_poly)
