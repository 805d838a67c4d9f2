//! Passes of the `ckks` dialect.
