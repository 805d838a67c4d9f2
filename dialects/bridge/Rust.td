//===- Rust.td - TableGen classes for parameters implemented in Rust ------===//
//
// A parameter of a type or attribute that is a Rust structure: MLIR stores its
// encoding as 64-bit words, and its text is parsed and printed by the Rust type.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_BRIDGE_RUST_TD
#define CERIA_BRIDGE_RUST_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

// `name` is the `NAME` of the Rust type's `TextParam`, known to `bridge/text.rs` and `bridge/build/records.rs`.
class RustParam<string name, string desc = ""> :
    ArrayRefParameter<"int64_t", desc> {
  let parser = "::ceria::parseRust($_parser, \"" # name # "\")";
  let printer = "::ceria::printRust($_printer, \"" # name # "\", $_self)";
  string rustName = name;
}

// A list of extents, printed as `4x8`; empty is `scalar`.
class ShapeParam<string desc = "extents of each dimension"> :
    ArrayRefParameter<"int64_t", desc> {
  let parser = "::ceria::parseShape($_parser)";
  let printer = "::ceria::printShape($_printer, $_self)";
}

#endif // CERIA_BRIDGE_RUST_TD
