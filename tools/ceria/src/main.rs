//! ceria.
fn main() {}
