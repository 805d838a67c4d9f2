//===- CkksDialect.td - The ckks dialect ----------------------------------===//

#ifndef CERIA_CKKS_DIALECT_TD
#define CERIA_CKKS_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

def Ckks_Dialect : Dialect {
  let name = "ckks";
  let cppNamespace = "::ceria::ckks";
  let summary = "Ciphertexts of the CKKS scheme";
  let description = [{
    Values are ciphertexts and plaintexts of the RNS variant of CKKS. What an
    operation needs to know about a ciphertext is in its type: the level, the
    exact scale and the number of components.

    A **level** is a set of primes; level 0 is the lowest. A **scale** is a formal
    product with integer exponents, never a floating-point number. `S(l)` is the
    canonical scale of level `l` and `D(l)` the product of primes that a rescale
    drops (and restores) on the way from level `l` to level `l - 1`;
    `S(l)**2 = S(l-1)*D(l)` holds by definition, so that squaring and rescaling a
    ciphertext of canonical scale gives canonical scale again. Two scales are equal
    when they are the same product; nothing is compared with a tolerance.

    A ciphertext may also be **unplaced**, `!ckks.ct<?>`: its level and scale are not
    decided yet. Unplaced programs say what is computed; `ckks-lazy-relin`,
    `ckks-place-rescale` and `ckks-infer-levels` decide where it is relinearised
    and rescaled, and at which levels. Until then a product has three components, and operations that need
    two take any number. An operation has only placed or only
    unplaced operands and results.

    The ring and its primes are the module attribute `ckks.params`. Matrices and
    vectors of clear numbers are module symbols (`ckks.matrix`, `ckks.vector`).

    ```mlir
    func.func @f(%x: !ckks.ct<2, S(2)>) -> !ckks.ct<1, S(1)> {
      %0 = ckks.square %x : !ckks.ct<2, S(2)>
      %1 = ckks.relinearize %0 : !ckks.ct<2, S(1)*D(2), 3>
      %2 = ckks.rescale %1 : !ckks.ct<2, S(1)*D(2)>
      return %2 : !ckks.ct<1, S(1)>
    }
    ```
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

#endif // CERIA_CKKS_DIALECT_TD
