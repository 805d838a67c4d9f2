//===- FheDialect.td - encrypted tensors -----------------------------------===//
//
// The dialect itself: its name, its namespace and its front page.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_FHE_DIALECT
#define CERIA_FHE_DIALECT

include "mlir/IR/DialectBase.td"

def Fhe_Dialect : Dialect {
  let name = "fhe";
  let cppNamespace = "::ceria::fhe";
  let summary = "Networks on encrypted tensors";
  let description = [{
    A network as its author sees it: tensors, some of them encrypted, and whole operators. Clear values
    are `tensor<...xf32>`, encrypted ones `!fhe.tensor<...>`; both have static shapes. Large clear values
    are module symbols (`fhe.weights`), which may live in a file.

    A network is a function whose arguments and results are encrypted. `fhe.name` names them for the
    client, and `fhe.range` bounds the values that an argument takes.

    ```mlir
    fhe.weights @w : tensor<2x1xf32> = dense<[[1.0], [2.0]]> : tensor<2x1xf32>
    func.func @main(%x: !fhe.tensor<1x2> {fhe.name = "x", fhe.range = array<f64: -1.0, 1.0>})
        -> (!fhe.tensor<1x1> {fhe.name = "y"}) {
      %w = fhe.get_weights @w : tensor<2x1xf32>
      %0 = fhe.matmul %x, %w : !fhe.tensor<1x2>, tensor<2x1xf32>
      %1 = fhe.activation sigmoid %0 : !fhe.tensor<1x1>
      return %1 : !fhe.tensor<1x1>
    }
    ```
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

#endif // CERIA_FHE_DIALECT
