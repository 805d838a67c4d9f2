//===- PolyOps.td - operations on RNS polynomials --------------------------===//
//
// Ring arithmetic, changes of form and basis, the parts of hybrid key switching, and tables.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_POLY_OPS
#define CERIA_POLY_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "poly/PolyDialect.td"
include "poly/PolyAttrs.td"
include "poly/PolyTypes.td"

class Poly_Op<string mnemonic, list<Trait> traits = []> : Op<Poly_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Ring arithmetic
//===----------------------------------------------------------------------===//

class Poly_BinaryOp<string mnemonic, list<Trait> traits = []>
    : Poly_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>], traits)> {
  let arguments = (ins Poly_Rns:$lhs, Poly_Rns:$rhs);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs)";
  let hasFolder = 1;
}

def Poly_AddOp : Poly_BinaryOp<"add", [Commutative]> {
  let summary = "sum of two polynomials";
  let description = [{
    Both operands have the same basis and form. The result is sparse if both are, with the larger
    period.

    ```mlir
    %c = poly.add %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
    ```
  }];
}

def Poly_SubOp : Poly_BinaryOp<"sub"> {
  let summary = "difference of two polynomials";
  let description = [{
    ```mlir
    %c = poly.sub %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
    ```
  }];
}

def Poly_MulOp : Poly_BinaryOp<"mul", [Commutative]> {
  let summary = "product of two polynomials in evaluation form";
  let description = [{
    ```mlir
    %c = poly.mul %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval, period = 16>
    ```
  }];
}

def Poly_NegOp : Poly_Op<"neg", [Pure, SameOperandsAndResultType]> {
  let summary = "negated polynomial";
  let description = [{
    ```mlir
    %b = poly.neg %a : !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$input);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasFolder = 1;
}

def Poly_MacOp : Poly_Op<"mac", [Pure, AllTypesMatch<["accumulator", "result"]>]> {
  let summary = "accumulator plus a product";
  let description = [{
    `accumulator + lhs * rhs`, all in evaluation form and in one basis; the factors may be sparse.

    ```mlir
    %d = poly.mac %c, %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$accumulator, Poly_Rns:$lhs, Poly_Rns:$rhs);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = [{
    $accumulator `,` $lhs `,` $rhs attr-dict `:` type($accumulator) `,` type($lhs) `,` type($rhs)
  }];
  let hasVerifier = 1;
}

def Poly_MulConstOp : Poly_Op<"mul_const", [Pure, SameOperandsAndResultType]> {
  let summary = "product with one constant per limb";
  let description = [{
    Limb `i` is multiplied by `constants[i]`, a residue of its prime.

    ```mlir
    %b = poly.mul_const %a [3, 5] : !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$input, DenseI64ArrayAttr:$constants);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input $constants attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Poly_AddConstOp : Poly_Op<"add_const", [Pure, SameOperandsAndResultType]> {
  let summary = "sum with a constant polynomial";
  let description = [{
    Adds the polynomial of degree zero whose residue modulo the prime of limb `i` is `constants[i]`, in
    evaluation form: every word of the limb grows by it.

    ```mlir
    %b = poly.add_const %a [3, 5] : !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$input, DenseI64ArrayAttr:$constants);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input $constants attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Poly_ZeroOp : Poly_Op<"zero", [Pure]> {
  let summary = "the zero polynomial";
  let description = [{
    ```mlir
    %z = poly.zero : !poly.rns<q[0:2]+p[0:1], eval>
    ```
  }];
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// Form and automorphisms
//===----------------------------------------------------------------------===//

def Poly_NttOp : Poly_Op<"ntt", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "coefficients to evaluations";
  let description = [{
    ```mlir
    %b = poly.ntt %a : !poly.rns<q[0:2], coeff>
    ```
  }];
  let arguments = (ins Poly_Rns:$input);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasFolder = 1;
}

def Poly_InttOp : Poly_Op<"intt", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "evaluations to coefficients";
  let description = [{
    ```mlir
    %b = poly.intt %a : !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$input);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasFolder = 1;
}

def Poly_AutomorphismOp : Poly_Op<"automorphism", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "the map X -> X^g";
  let description = [{
    `element` is an odd number below 2N: a constant, or an entry of a `galois` table. On a tensor the
    map is applied to each polynomial.

    ```mlir
    %g = poly.at @steps[%i] : index
    %b = poly.automorphism %a, %g : !poly.rns<q[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_RnsLike:$input, Index:$element);
  let results = (outs Poly_RnsLike:$result);
  let assemblyFormat = "$input `,` $element attr-dict `:` type($result)";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Limbs and bases
//===----------------------------------------------------------------------===//

class Poly_BasisChangeOp<string mnemonic> : Poly_Op<mnemonic, [Pure]> {
  let arguments = (ins Poly_Rns:$input);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Poly_ExtractLimbsOp : Poly_BasisChangeOp<"extract_limbs"> {
  let summary = "the limbs of a smaller basis";
  let description = [{
    ```mlir
    %b = poly.extract_limbs %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
    ```
  }];
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Poly_ConcatLimbsOp : Poly_Op<"concat_limbs", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "the limbs of several disjoint bases together";
  let description = [{
    The result's basis is the union of the operands' bases, in the order of the basis.

    ```mlir
    %c = poly.concat_limbs %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<p[0:1], eval>
    ```
  }];
  let arguments = (ins Variadic<Poly_Rns>:$inputs);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "$inputs attr-dict `:` type($inputs)";
  let hasFolder = 1;
}

def Poly_BconvOp : Poly_Op<"bconv", [Pure]> {
  let summary = "fast base conversion";
  let description = [{
    With source primes `q_i` of product `Q`, word by word:
    `y_i = centre(x_i * (Q/q_i)^-1 mod q_i)` in `(-q_i/2, q_i/2]`, and
    `out_j = sum_i y_i * (Q/q_i) mod p_j`. The result is `x + e*Q` for a small integer `e` (0 for a single
    prime), `x` centred. Under `prescaled` the operand has been multiplied by `(Q/q_i)^-1` already.

    ```mlir
    %b = poly.bconv %a : !poly.rns<q[0:2], coeff> -> !poly.rns<p[0:1], coeff>
    ```
  }];
  let arguments = (ins Poly_Rns:$input, UnitAttr:$prescaled);
  let results = (outs Poly_Rns:$result);
  let assemblyFormat = "(`prescaled` $prescaled^)? $input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Poly_ScaleUpOp : Poly_BasisChangeOp<"scale_up"> {
  let summary = "product with the primes that a larger basis adds";
  let description = [{
    Multiplies by the product of the primes that the result's basis adds; in those the result is zero.
    `mod_down` undoes it exactly.

    ```mlir
    %b = poly.scale_up %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:2]+p[0:1], eval>
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Key switching
//===----------------------------------------------------------------------===//

def Poly_ModUpOp : Poly_BasisChangeOp<"mod_up"> {
  let summary = "base conversion of a digit to the whole basis";
  let description = [{
    The operand's limbs are kept, the other primes of the result's basis are filled by `bconv`.

    ```mlir
    %b = poly.mod_up %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:4]+p[0:2], eval>
    ```
  }];
}

def Poly_ModDownOp : Poly_BasisChangeOp<"mod_down"> {
  let summary = "division by dropped primes, rounded";
  let description = [{
    With `D` the product of the primes that the result's basis lacks: `(x - bconv(x mod D)) / D`.

    ```mlir
    %b = poly.mod_down %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
    ```
  }];
  let hasFolder = 1;
}

def Poly_RescaleOp : Poly_BasisChangeOp<"rescale"> {
  let summary = "from one level's basis to the next";
  let description = [{
    Multiplies by the primes that the result's basis restores, then divides by those it drops, rounding
    as `mod_down` does.

    ```mlir
    %b = poly.rescale %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
    ```
  }];
}

def Poly_DecomposeOp : Poly_Op<"decompose", [Pure]> {
  let summary = "the key-switching digits of a polynomial";
  let description = [{
    One result per digit of the parameters that meets the operand's basis: the limbs of that digit.

    ```mlir
    %d:2 = poly.decompose %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:3], eval>
    ```
  }];
  let arguments = (ins Poly_Rns:$input);
  let results = (outs Variadic<Poly_Rns>:$digits);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($digits)";
  let hasVerifier = 1;
}

def Poly_InnerProductOp : Poly_Op<"inner_product", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "digits times key";
  let description = [{
    For `k` below the key's second extent, result `k` is the sum over `j` of `digits[j] * key[j, k]`. The key may
    have more limbs than the digits; the limbs of the digits' basis count.

    ```mlir
    %k = poly.at @relin[%zero] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
    %u:2 = poly.inner_product %d, %k : tensor<2x!poly.rns<q[0:3]+p[0:2], eval>>,
                                       tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
    ```
  }];
  let arguments = (ins Poly_RnsTensor:$digits, Poly_RnsTensor:$key);
  let results = (outs Variadic<Poly_Rns>:$results);
  let assemblyFormat = "$digits `,` $key attr-dict `:` type($digits) `,` type($key)";
}

def Poly_WeightedSumOp : Poly_Op<"weighted_sum", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "sum of table plaintexts times chosen polynomials";
  let description = [{
    For `k` below the second extent of `values`, result `k` is the sum over `e` in `[lower, upper)` of
    `weights[e] * values[choice[e], k]`, where `weights` is a table of plaintexts and `choice` a table of
    indices. It is the inner sum of a linear transform by baby and giant steps, whose missing diagonals are
    simply not in the tables. An empty range gives zero.

    ```mlir
    %v:2 = poly.weighted_sum %babies, @fc1_diagonals[%lo to %hi] by @fc1_babies
         : tensor<8x2x!poly.rns<q[0:3]+p[0:2], eval>>
    ```
  }];
  let arguments = (ins Poly_RnsTensor:$values, FlatSymbolRefAttr:$weights, Index:$lower, Index:$upper,
                       FlatSymbolRefAttr:$choice);
  let results = (outs Variadic<Poly_Rns>:$results);
  let assemblyFormat = [{
    $values `,` $weights `[` $lower `to` $upper `]` `by` $choice attr-dict `:` type($values)
  }];
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

def Poly_TableOp : Poly_Op<"table", [Symbol]> {
  let summary = "a sequence of keys, plaintexts, Galois elements or numbers";
  let description = [{
    What a loop walks over. All entries have one type.

    * `galois` and `index`: `values` are the entries, the type is `index`.
    * `galois_key`: `values` are Galois elements `g`; an entry is the key from `s(X^g)` to `s`, a
      `tensor<digits x 2 x !poly.rns>`. `relin_key` is the one key from `s^2` to `s`.
    * `sparse_key` and `dense_key` are the keys from `s` to the ephemeral sparse secret of bootstrapping
      and back; no values.
    * `monomial`: `values` are exponents `k` below `2N`; an entry is `X^k`.
    * `plaintext`: `values` are parts of the `ckks.vector` that `source` names, encoded at `scale` (the text of a
      scale), an `!poly.rns` each.
    * `diagonals`: likewise from a `ckks.matrix`, with four numbers an entry: output part, input part,
      diagonal, and the number of slots by which the diagonal is rotated to the right before it is encoded.

    ```mlir
    poly.table galois @steps [5, 25, 125] : index
    poly.table galois_key @keys [5, 25, 125] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
    poly.table diagonals @fc1_diagonals [0, 0, 0, 0,  0, 0, 9, 8] from @fc1 scale "S(2)"
      : !poly.rns<q[0:3]+p[0:2], eval>
    ```
  }];
  let arguments = (ins Poly_TableKindAttr:$kind, SymbolNameAttr:$sym_name, DenseI64ArrayAttr:$values,
                       OptionalAttr<FlatSymbolRefAttr>:$source, OptionalAttr<StrAttr>:$scale, TypeAttr:$type);
  let assemblyFormat = [{
    $kind $sym_name $values (`from` $source^)? (`scale` $scale^)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
}

def Poly_AtOp : Poly_Op<"at", [Pure]> {
  let summary = "one entry of a table";
  let description = [{
    The result's type is the table's. A key may also be read with fewer digits and limbs than the table
    holds: its digits and primes are the leading ones.

    ```mlir
    %k = poly.at @keys[%i] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$table, Index:$index);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$table `[` $index `]` attr-dict `:` type($result)";
  let hasVerifier = 1;
}

#endif // CERIA_POLY_OPS
