//===- PolyDialect.td - RNS polynomials ------------------------------------===//
//
// The dialect itself: its name, its namespace and its front page.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_POLY_DIALECT
#define CERIA_POLY_DIALECT

include "mlir/IR/DialectBase.td"

def Poly_Dialect : Dialect {
  let name = "poly";
  let cppNamespace = "::ceria::poly";
  let summary = "Polynomials of Z_Q[X]/(X^N+1) in residue number system form";
  let description = [{
    One `!poly.rns` is a polynomial of `Z_Q[X]/(X^N+1)`, kept as its residues modulo the primes of a
    basis. The ring degree and the primes are those of the module's `ckks.params`; the type names the
    basis by index (`q[0:6]+p[0:3]`) and says whether coefficients or evaluations are meant.

    Every op is exact modular arithmetic: equal inputs give equal residues in the interpreter and in
    each back end. A ciphertext is a few of these polynomials, a key-switching key a tensor of them,
    and keys, encoded plaintexts, Galois elements and plain numbers that a loop walks over are
    entries of a `poly.table`.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

#endif // CERIA_POLY_DIALECT
