//===- PolyAttrs.td - enumerations of the poly dialect ---------------------===//
//
// The form of a polynomial and the kinds of tables.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_POLY_ATTRS
#define CERIA_POLY_ATTRS

include "mlir/IR/EnumAttr.td"
include "poly/PolyDialect.td"

def Poly_Form : I32EnumAttr<"Form", "what the words of a limb are", [
    I32EnumAttrCase<"Coeff", 0, "coeff">,
    I32EnumAttrCase<"Eval", 1, "eval">,
  ]> {
  let cppNamespace = "::ceria::poly";
  let genSpecializedAttr = 0;
}

def Poly_TableKind : I32EnumAttr<"TableKind", "what the entries of a table are", [
    I32EnumAttrCase<"Plaintext", 0, "plaintext">,
    I32EnumAttrCase<"Diagonals", 1, "diagonals">,
    I32EnumAttrCase<"RelinKey", 2, "relin_key">,
    I32EnumAttrCase<"GaloisKey", 3, "galois_key">,
    I32EnumAttrCase<"Galois", 4, "galois">,
    I32EnumAttrCase<"Index", 5, "index">,
    I32EnumAttrCase<"SparseKey", 6, "sparse_key">,
    I32EnumAttrCase<"DenseKey", 7, "dense_key">,
    I32EnumAttrCase<"Monomial", 8, "monomial">,
  ]> {
  let cppNamespace = "::ceria::poly";
  let genSpecializedAttr = 0;
}

def Poly_TableKindAttr : EnumAttr<Poly_Dialect, Poly_TableKind, "table_kind">;

#endif // CERIA_POLY_ATTRS
