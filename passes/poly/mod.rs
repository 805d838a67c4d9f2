//! Passes of the `poly` dialect.
