//===- FheAttrs.td - enumerations of the fhe dialect -----------------------===//
//
// Activation functions and polynomial bases.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_FHE_ATTRS
#define CERIA_FHE_ATTRS

include "mlir/IR/EnumAttr.td"
include "fhe/FheDialect.td"

def Fhe_Function : I32EnumAttr<"Function", "a function applied to each element", [
    I32EnumAttrCase<"Relu", 0, "relu">,
    I32EnumAttrCase<"LeakyRelu", 1, "leaky_relu">,
    I32EnumAttrCase<"Sigmoid", 2, "sigmoid">,
    I32EnumAttrCase<"Tanh", 3, "tanh">,
    I32EnumAttrCase<"Clip", 4, "clip">,
    I32EnumAttrCase<"Exp", 5, "exp">,
    I32EnumAttrCase<"Gelu", 6, "gelu">,
    I32EnumAttrCase<"Silu", 7, "silu">,
    I32EnumAttrCase<"Softplus", 8, "softplus">,
    I32EnumAttrCase<"Reciprocal", 9, "reciprocal">,
    I32EnumAttrCase<"Sqrt", 10, "sqrt">,
    I32EnumAttrCase<"Rsqrt", 11, "rsqrt">,
  ]> {
  let cppNamespace = "::ceria::fhe";
  let genSpecializedAttr = 0;
}

def Fhe_FunctionAttr : EnumAttr<Fhe_Dialect, Fhe_Function, "function">;

def Fhe_PolyBasis : I32EnumAttr<"PolyBasis", "the basis that coefficients refer to", [
    I32EnumAttrCase<"Chebyshev", 0, "chebyshev">,
    I32EnumAttrCase<"Power", 1, "power">,
  ]> {
  let cppNamespace = "::ceria::fhe";
  let genSpecializedAttr = 0;
}

def Fhe_PolyBasisAttr : EnumAttr<Fhe_Dialect, Fhe_PolyBasis, "poly_basis">;

#endif // CERIA_FHE_ATTRS
