//! Passes of the `kernel` dialect.
