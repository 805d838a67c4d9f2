//! See `dialects/bridge/build/rpath.rs`.

#[path = "../../dialects/bridge/build/rpath.rs"]
mod rpath;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    rpath::emit();
}
