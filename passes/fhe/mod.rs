//! Passes of the `fhe` dialect.
