//===- FheTypes.td - the encrypted tensor ----------------------------------===//
//
// One type, and the constraints that operands of the dialect's ops use.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_FHE_TYPES
#define CERIA_FHE_TYPES

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/CommonTypeConstraints.td"
include "bridge/Rust.td"
include "fhe/FheDialect.td"

// A layout in the encoding of `ceria_runtime::format::layout`; no words where none is assigned yet.
def Fhe_OptionalLayoutParam
    : OptionalArrayRefParameter<"int64_t", "layout, absent while none is assigned"> {
  let parser = "::ceria::parseRust($_parser, \"layout\")";
  let printer = "::ceria::printRust($_printer, \"layout\", $_self)";
}

def Fhe_Tensor : TypeDef<Fhe_Dialect, "EncryptedTensor"> {
  let mnemonic = "tensor";
  let summary = "an encrypted tensor of real numbers";
  let description = [{
    `!fhe.tensor<4x8>` is a tensor of reals; `!fhe.tensor<scalar>` has rank 0. Once layouts are assigned
    the second parameter says in which slots of which ciphertexts the elements sit.

    ```mlir
    !fhe.tensor<1x784>
    !fhe.tensor<4x8, [G:64, 0:4:1, 1:8:1]>
    ```
  }];
  let parameters = (ins ShapeParam<>:$shape, Fhe_OptionalLayoutParam:$layout);
  let assemblyFormat = "`<` $shape (`,` $layout^)? `>`";
  let genVerifyDecl = 1;
}

// The constraint of operands; unlike the definition it makes formats print the whole type.
def Fhe_Encrypted : AnyTypeOf<[Fhe_Tensor], "encrypted tensor">;
def Fhe_Clear : StaticShapeTensorOf<[F32]>;
def Fhe_AnyTensor : AnyTypeOf<[Fhe_Tensor, Fhe_Clear], "encrypted tensor or tensor of f32">;

#endif // CERIA_FHE_TYPES
