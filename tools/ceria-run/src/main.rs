//! ceria-run.
fn main() {}
