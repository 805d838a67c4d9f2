//! ceria-opt.
fn main() {}
