//! ceria-lsp-server.
fn main() {}
