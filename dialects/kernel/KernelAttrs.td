//===- KernelAttrs.td - attributes of the kernel dialect -------------------===//
//
// Sets of primes, and the kinds of tables.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_KERNEL_ATTRS
#define CERIA_KERNEL_ATTRS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "bridge/Rust.td"
include "kernel/KernelDialect.td"

def Kernel_ModuliAttr : AttrDef<Kernel_Dialect, "Moduli"> {
  let mnemonic = "moduli";
  let summary = "a set of primes of the module's parameters, in the order of the basis";
  let parameters = (ins RustParam<"basis">:$basis);
  let assemblyFormat = "`<` $basis `>`";
}

def Kernel_TableKind : I32EnumAttr<"TableKind", "what the entries of a table are", [
    I32EnumAttrCase<"Plaintext", 0, "plaintext">,
    I32EnumAttrCase<"Diagonals", 1, "diagonals">,
    I32EnumAttrCase<"RelinKey", 2, "relin_key">,
    I32EnumAttrCase<"GaloisKey", 3, "galois_key">,
    I32EnumAttrCase<"Automorphism", 4, "automorphism">,
    I32EnumAttrCase<"Index", 5, "index">,
    I32EnumAttrCase<"SparseKey", 6, "sparse_key">,
    I32EnumAttrCase<"DenseKey", 7, "dense_key">,
    I32EnumAttrCase<"Monomial", 8, "monomial">,
  ]> {
  let cppNamespace = "::ceria::kernel";
  let genSpecializedAttr = 0;
}

def Kernel_TableKindAttr : EnumAttr<Kernel_Dialect, Kernel_TableKind, "table_kind">;

#endif // CERIA_KERNEL_ATTRS
