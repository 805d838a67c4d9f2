//===- PolyTypes.td - the polynomial type ----------------------------------===//
//
// One type: a polynomial in residue form. Groups of polynomials are builtin tensors of it.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_POLY_TYPES
#define CERIA_POLY_TYPES

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"
include "bridge/Rust.td"
include "poly/PolyDialect.td"
include "poly/PolyAttrs.td"

class Poly_Type<string name, string typeMnemonic> : TypeDef<Poly_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Poly_Rns : Poly_Type<"Rns", "rns"> {
  let summary = "a polynomial modulo the primes of a basis";
  let description = [{
    `!poly.rns<q[0:6]+p[0:3], eval>` has one limb of N words for each prime of the basis, in the order
    of the basis: `q` by index, then `p` by index. In `coeff` form word `i` is the coefficient of `X^i`;
    in `eval` form it is the value at `psi^(2*brv(i)+1)`, `psi` being the prime's 2N-th root of unity.

    `period = 2048` marks a sparse polynomial, one in a power of `X`: in evaluation form each limb is
    2048 runs of equal words, and 2048 words are stored.
  }];
  let parameters = (ins
    RustParam<"basis">:$basis,
    EnumParameter<Poly_Form>:$form,
    OptionalParameter<"unsigned">:$period
  );
  let assemblyFormat = "`<` $basis `,` $form (`,` `period` `=` $period^)? `>`";
  let genVerifyDecl = 1;
}

def Poly_RnsTensor : TensorOf<[Poly_Rns]>;
def Poly_RnsLike : AnyTypeOf<[Poly_Rns, Poly_RnsTensor], "polynomial or tensor of polynomials">;

#endif // CERIA_POLY_TYPES
