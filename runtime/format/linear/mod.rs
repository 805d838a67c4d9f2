//! (linear/mod)
