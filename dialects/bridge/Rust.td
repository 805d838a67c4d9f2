//===- Rust.td - TableGen classes for what is implemented in Rust ---------===//
//
// A parameter of a type or attribute that is a Rust structure: MLIR stores its
// encoding as 64-bit words, and its text is parsed and printed by the Rust type.
// And a method of an op interface between Rust functions: C++ finds the op's
// implementation and hands over two pointers.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_BRIDGE_RUST_TD
#define CERIA_BRIDGE_RUST_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/Interfaces.td"
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

// A method that takes a reference to the Rust type `of` and returns the Rust type `to`; paths begin with `crate::` or
// are in Rust's prelude. Each op that declares the interface defines it with `interface_method!`.
class RustMethod<string desc, string name, string of, string to> :
    InterfaceMethod<desc # "\n\nIn Rust: `fn " # name # "(&self" # !if(!eq(of, "()"), "", ", argument: &" # of)
            # ") -> " # to # "`.",
        "void", name, (ins "const void *":$argument, "void *":$result)> {
  string rustDescription = desc;
  string rustArgument = of;
  string rustResult = to;
}

#endif // CERIA_BRIDGE_RUST_TD
