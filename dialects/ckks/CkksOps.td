//===- CkksOps.td - Operations of the ckks dialect ------------------------===//

#ifndef CERIA_CKKS_OPS_TD
#define CERIA_CKKS_OPS_TD

include "ckks/CkksDialect.td"
include "ckks/CkksTypes.td"
include "ckks/CkksAttrs.td"
include "ckks/CkksInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Base classes
//===----------------------------------------------------------------------===//

class Ckks_Op<string opMnemonic, list<Trait> traits = []>
    : Op<Ckks_Dialect, opMnemonic, traits>;

// An operation on slots: no effects, known to the analyses of levels and errors.
class Ckks_SlotOp<string opMnemonic, list<Trait> traits = []>
    : Ckks_Op<opMnemonic, [Pure, OpAsmOpInterface,
          DeclareOpInterfaceMethods<Ckks_LevelEffect>,
          DeclareOpInterfaceMethods<Ckks_NoiseTransfer>] # traits>;

// An operation on slots whose result types follow from the operands.
class Ckks_PureOp<string opMnemonic, list<Trait> traits = []>
    : Ckks_SlotOp<opMnemonic, [DeclareOpInterfaceMethods<InferTypeOpInterface>] # traits>;

class Ckks_BinaryOp<string opMnemonic, list<Trait> traits = []>
    : Ckks_PureOp<opMnemonic, traits> {
  let arguments = (ins Ckks_CtType:$lhs, Ckks_CtType:$rhs);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` qualified(type($lhs)) `,` qualified(type($rhs))";
}

class Ckks_PlainOp<string opMnemonic, list<Trait> traits = []>
    : Ckks_PureOp<opMnemonic, traits> {
  let arguments = (ins Ckks_CtType:$input, Ckks_PtType:$plain);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input `,` $plain attr-dict `:` qualified(type($input)) `,` qualified(type($plain))";
}

class Ckks_UnaryOp<string opMnemonic, list<Trait> traits = []>
    : Ckks_PureOp<opMnemonic, traits> {
  let arguments = (ins Ckks_CtType:$input);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input))";
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

def Ckks_AddOp : Ckks_BinaryOp<"add", [Commutative]> {
  let summary = "slotwise sum of two ciphertexts";
  let description = [{
    The operands have the same level and the same scale; the result has the larger of
    the two sizes.

    ```mlir
    %2 = ckks.add %0, %1 : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
    ```
  }];
  let hasCanonicalizer = 1;
}

def Ckks_SubOp : Ckks_BinaryOp<"sub"> {
  let summary = "slotwise difference of two ciphertexts";
  let description = [{
    The operands have the same level and the same scale; the result has the larger of
    the two sizes.

    ```mlir
    %2 = ckks.sub %0, %1 : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
    ```
  }];
  let hasCanonicalizer = 1;
}

def Ckks_AddPlainOp : Ckks_PlainOp<"add_plain"> {
  let summary = "sum of a ciphertext and a plaintext";
  let description = [{
    The operands have the same level and the same scale.

    ```mlir
    %1 = ckks.add_plain %0, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(5)>
    ```
  }];
}

def Ckks_SubPlainOp : Ckks_PlainOp<"sub_plain"> {
  let summary = "difference of a ciphertext and a plaintext";
  let description = [{
    The operands have the same level and the same scale.

    ```mlir
    %1 = ckks.sub_plain %0, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(5)>
    ```
  }];
}

def Ckks_AddConstOp : Ckks_PureOp<"add_const"> {
  let summary = "add a real number to every slot";
  let description = [{
    The number is encoded at the ciphertext's own scale.

    ```mlir
    %1 = ckks.add_const %0, -1.0 : !ckks.ct<5, S(5)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, F64Attr:$value);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input `,` $value attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Ckks_NegateOp : Ckks_UnaryOp<"negate"> {
  let summary = "negation of every slot";
  let description = [{
    ```mlir
    %1 = ckks.negate %0 : !ckks.ct<5, S(5)>
    ```
  }];
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

def Ckks_MulOp : Ckks_BinaryOp<"mul", [Commutative]> {
  let summary = "slotwise product of two ciphertexts";
  let description = [{
    The operands have the same level. Scales multiply; sizes n and m give size
    n + m - 1 (3 while unplaced).

    ```mlir
    %2 = ckks.mul %0, %1 : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>  // !ckks.ct<5, S(4)*D(5), 3>
    ```
  }];
  let hasCanonicalizer = 1;
}

def Ckks_SquareOp : Ckks_UnaryOp<"square"> {
  let summary = "slotwise square of a ciphertext";
  let description = [{
    The scale is squared; size n gives size 2n - 1.

    ```mlir
    %1 = ckks.square %0 : !ckks.ct<5, S(5)>  // !ckks.ct<5, S(4)*D(5), 3>
    ```
  }];
}

def Ckks_MulPlainOp : Ckks_PlainOp<"mul_plain"> {
  let summary = "slotwise product of a ciphertext and a plaintext";
  let description = [{
    The operands have the same level; scales multiply, the size is unchanged.

    ```mlir
    %1 = ckks.mul_plain %0, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(5)>  // !ckks.ct<5, S(4)*D(5)>
    ```
  }];
}

def Ckks_MulConstOp : Ckks_PureOp<"mul_const"> {
  let summary = "multiply every slot by a real number";
  let description = [{
    The number is encoded as the nearest integer to `value` times `scale`; the scale of
    the result is the product of both scales. An unplaced operation has no `scale`.

    ```mlir
    %1 = ckks.mul_const %0, 0.5 at <S(5)> : !ckks.ct<5, S(5)>  // !ckks.ct<5, S(4)*D(5)>
    %3 = ckks.mul_const %2, 0.5 : !ckks.ct<?>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, F64Attr:$value, OptionalAttr<Ckks_ScaleAttr>:$scale);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input `,` $value (`at` $scale^)? attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Ckks_MulIntOp : Ckks_PureOp<"mul_int"> {
  let summary = "multiply every slot by an integer";
  let description = [{
    Level and scale are unchanged: nothing is encoded and nothing needs a rescale.

    ```mlir
    %1 = ckks.mul_int %0, 2 : !ckks.ct<5, S(4)*D(5), 3>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, I64Attr:$value);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input `,` $value attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Size, level and scale
//===----------------------------------------------------------------------===//

def Ckks_RelinearizeOp : Ckks_UnaryOp<"relinearize", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "bring a ciphertext back to two components";
  let description = [{
    Switches the components from the third on back to the secret key itself. Uses the
    relinearisation key at the operand's level.

    ```mlir
    %1 = ckks.relinearize %0 : !ckks.ct<5, S(4)*D(5), 3>  // !ckks.ct<5, S(4)*D(5)>
    ```
  }];
  let hasFolder = 1;
}

def Ckks_RescaleOp : Ckks_PureOp<"rescale"> {
  let summary = "divide by the primes between two levels";
  let description = [{
    Goes down `by` levels and divides the scale by `D(l)` for each level `l` left.

    ```mlir
    %1 = ckks.rescale %0 : !ckks.ct<5, S(4)*D(5)>  // !ckks.ct<4, S(4)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, DefaultValuedAttr<I64Attr, "1">:$by);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input))";
  let hasCanonicalizer = 1;
}

def Ckks_LevelReduceOp : Ckks_PureOp<"level_reduce"> {
  let summary = "drop primes without changing the message";
  let description = [{
    Goes down `by` levels by dropping primes; the scale is unchanged. Only on placed
    ciphertexts.

    ```mlir
    %1 = ckks.level_reduce %0 {by = 2} : !ckks.ct<5, S(5)>  // !ckks.ct<3, S(5)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, DefaultValuedAttr<I64Attr, "1">:$by);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input))";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Ckks_AdjustOp : Ckks_SlotOp<"adjust"> {
  let summary = "bring a ciphertext to a lower level and another scale";
  let description = [{
    The result is at least one level below the operand, at any scale:
    `ckks-expand-adjust` makes it a `level_reduce`, one multiplication by the constant
    1 encoded at the scale that makes the result exact, and a `rescale`. Only on placed
    ciphertexts.

    ```mlir
    %1 = ckks.adjust %0 : !ckks.ct<5, S(5)> to !ckks.ct<3, S(3)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input)) `to` qualified(type($result))";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

def Ckks_RotateOp : Ckks_PureOp<"rotate", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "rotate the slots to the left";
  let description = [{
    Slot `j` of the result is slot `j + step` of the operand, modulo the number of
    slots. A negative step rotates to the right; once parameters are attached, the
    canonical form has `0 < step < slots`. The operand has two components. Uses the
    rotation key of `step` at the operand's level.

    ```mlir
    %1 = ckks.rotate %0 {step = 3} : !ckks.ct<5, S(5)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, I64Attr:$step);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input))";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Ckks_HoistedRotateOp : Ckks_PureOp<"hoisted_rotate", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "several rotations of one ciphertext";
  let description = [{
    One result a step; the rotations share the decomposition and mod-up of the operand.
    Steps are distinct.

    ```mlir
    %1:2 = ckks.hoisted_rotate %0 [1, 2] : !ckks.ct<5, S(5)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, DenseI64ArrayAttr:$steps);
  let results = (outs Variadic<Ckks_CtType>:$rotated);
  let assemblyFormat = "$input $steps attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Ckks_ConjugateOp : Ckks_UnaryOp<"conjugate", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "complex conjugate of every slot";
  let description = [{
    The operand has two components. Uses the conjugation key at the operand's level.

    ```mlir
    %1 = ckks.conjugate %0 : !ckks.ct<5, S(5)>
    ```
  }];
  let hasFolder = 1;
}

def Ckks_MulIOp : Ckks_UnaryOp<"mul_i"> {
  let summary = "multiply every slot by the imaginary unit";
  let description = [{
    A product with `X^(N/2)`: exact, and level, scale and size stay.

    ```mlir
    %1 = ckks.mul_i %0 : !ckks.ct<5, S(5)>
    ```
  }];
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Bootstrapping
//===----------------------------------------------------------------------===//

def Ckks_BootstrapOp : Ckks_SlotOp<"bootstrap"> {
  let summary = "raise a ciphertext to a higher level";
  let description = [{
    The result has the operand's slots at level `target_level` and its canonical scale.
    `ckks-expand-bootstrap` writes out how: `variant` is one of

    * `mod-raise-first` (the default): for complex slots;
    * `stc-first`: for real slots, whose imaginary parts are dropped. It needs an operand
      high enough for the linear transforms that come before the modulus is raised;
    * `iterated`: twice `mod-raise-first`, the second time on the error of the first.

    `slots`, a power of two, says that the slots repeat with that period; the bootstrap is
    then cheaper. `bound`, 1 if it is not there, is the largest size of a slot that keeps full
    precision. The parameters need `bootstrap`.

    ```mlir
    %1 = ckks.bootstrap %0 {target_level = 3} : !ckks.ct<0, S(0)> to !ckks.ct<3, S(3)>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, I64Attr:$target_level, OptionalAttr<I64Attr>:$slots,
      OptionalAttr<F64Attr>:$bound, OptionalAttr<StrAttr>:$variant);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input)) `to` qualified(type($result))";
  let hasVerifier = 1;
}

def Ckks_ModRaiseOp : Ckks_SlotOp<"mod_raise"> {
  let summary = "read a ciphertext of level 0 at a higher level";
  let description = [{
    The residues modulo `Q0`, the product of level 0's primes, are read as integers between
    `-Q0/2` and `Q0/2`. The message polynomial `m` becomes `m + Q0 I` with a small integer
    polynomial `I`, and the scale `Q0`: what is encoded is `I + m/Q0`. The interpreter draws
    `I` as a secret of the parameters' bootstrap weight makes it.

    ```mlir
    %1 = ckks.mod_raise %0 : !ckks.ct<0, S(0)> to !ckks.ct<9, Q0>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input)) `to` qualified(type($result))";
  let hasVerifier = 1;
}

def Ckks_SwitchSecretOp : Ckks_PureOp<"switch_secret", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "go to the ephemeral sparse secret, or back";
  let description = [{
    `sparse` switches a ciphertext at level 0 from the client's secret to the sparse one of
    the parameters' `bootstrap`; its key exists only modulo level 0 and the special primes
    named there. `dense` switches back, at any level. Nothing but `mod_raise` may come
    between the two.

    ```mlir
    %1 = ckks.switch_secret sparse %0 : !ckks.ct<0, S(0)>
    %3 = ckks.switch_secret dense %2 : !ckks.ct<9, Q0>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, UnitAttr:$sparse);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "(`sparse` $sparse^):(`dense`)? $input attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
}

def Ckks_SetScaleOp : Ckks_SlotOp<"set_scale"> {
  let summary = "read a ciphertext at another scale";
  let description = [{
    The polynomials stay; the slots are multiplied by the old scale over the new one.

    ```mlir
    %1 = ckks.set_scale %0 : !ckks.ct<3, S(3)> to !ckks.ct<3, S(3)*2>  // half of %0
    ```
  }];
  let arguments = (ins Ckks_CtType:$input);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input)) `to` qualified(type($result))";
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Linear operators
//===----------------------------------------------------------------------===//

def Ckks_DiagonalsAttr : TypedArrayAttrBase<DenseI64ArrayAttr, "array of lists of diagonals">;
def Ckks_ValuesAttr : TypedArrayAttrBase<DenseF64ArrayAttr, "array of slot vectors">;

def Ckks_MatrixOp : Ckks_Op<"matrix", [Symbol]> {
  let summary = "a matrix of slots, by its generalised diagonals";
  let description = [{
    A linear map from `inputs` to `outputs` ciphertexts of `slots` slots. Block (o, i), at
    index `o * inputs + i` of `diagonals`, lists the diagonals d for which the slot vector
    `diag[o, i, d]` may be non-zero, ascending, between `-slots` and `slots`:

        y_o[j] = sum over i, d of diag[o, i, d][j] * x_i[(j + d) mod slots]

    `split`, a modulus m and a first step f, says how it is computed: the baby step of d is
    the number congruent to d modulo m in [f, f + m), the giant step is the rest. Without it
    every diagonal is a baby step. Every diagonal vector repeats with `period`, a power of
    two. With `chain = "giants"` the rotations by giant steps are one step again and again, by
    Horner's rule, which needs one key for each sign; with `chain = "all"` so are those by baby
    steps, which then share no mod-up.

    The numbers come from one of three places. `linear` describes them as a linear operator
    on tensors, JSON of the runtime's `LinearOp`, over the clear `weights` it names and
    between two layouts, multiplied by `factor`; they are computed when the bundle is made
    or loaded. `values` lists one period of each diagonal, in the order of `diagonals`.
    `fourier` names a range of butterfly stages of the canonical embedding, `to_slots 0:2` or
    `to_coefficients 0:2`, whose product, times `factor`, is computed from its formula; its
    numbers are complex. Neither direction reverses bits.

    `folds` lists rotations, each less than `slots`: the program rotates the transform's results by
    each in turn and adds the result to itself. Such rows as the folds sum are computed apart, so
    the numbers of a `linear` matrix depend on them; the transform itself does not fold.

    ```mlir
    ckks.matrix @shift {slots = 4, inputs = 1, outputs = 1, period = 1,
                        diagonals = [array<i64: 0, 1>],
                        values = [array<f64: 2.0>, array<f64: 1.0>]}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$slots, I64Attr:$inputs,
      I64Attr:$outputs, I64Attr:$period, Ckks_DiagonalsAttr:$diagonals,
      OptionalAttr<DenseI64ArrayAttr>:$split, OptionalAttr<StrAttr>:$chain,
      OptionalAttr<DenseI64ArrayAttr>:$folds,
      OptionalAttr<StrAttr>:$linear, OptionalAttr<FlatSymbolRefArrayAttr>:$weights,
      OptionalAttr<Ckks_LayoutAttr>:$input_layout, OptionalAttr<Ckks_LayoutAttr>:$output_layout,
      OptionalAttr<F64Attr>:$factor, OptionalAttr<Ckks_ValuesAttr>:$values,
      OptionalAttr<StrAttr>:$fourier);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

def Ckks_VectorOp : Ckks_Op<"vector", [Symbol]> {
  let summary = "a clear tensor laid out in the slots of plaintexts";
  let description = [{
    `parts` slot vectors. `layout` places a clear tensor in them: the first of `weights`,
    transformed by the linear operator `linear` (JSON of the runtime's `LinearOp`, over the
    remaining weights) if there is one, and multiplied by `factor`. Or they are listed in
    `values`, one vector a part, which is repeated over the slots.

    ```mlir
    ckks.vector @ones {parts = 1, values = [array<f64: 1.0>]}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$parts, OptionalAttr<StrAttr>:$linear,
      OptionalAttr<FlatSymbolRefArrayAttr>:$weights, OptionalAttr<Ckks_LayoutAttr>:$layout,
      OptionalAttr<F64Attr>:$factor, OptionalAttr<Ckks_ValuesAttr>:$values);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

def Ckks_EncodeOp : Ckks_Op<"encode", [Pure, OpAsmOpInterface,
    DeclareOpInterfaceMethods<Ckks_NoiseTransfer>]> {
  let summary = "one part of a vector as a plaintext";
  let description = [{
    ```mlir
    %p = ckks.encode @bias[0] : !ckks.pt<5, S(5)>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$vector, I64Attr:$part);
  let results = (outs Ckks_PtType:$result);
  let assemblyFormat = "$vector `[` $part `]` attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Ckks_LinearTransformOp : Ckks_SlotOp<"linear_transform", [DeclareOpInterfaceMethods<Ckks_UsesKeys>]> {
  let summary = "apply a matrix of slots";
  let description = [{
    By baby and giant steps: the inputs are rotated by the matrix's baby steps, multiplied
    by the diagonals (rotated back by the giant step) and summed; the sum of each giant step
    is rotated by it. The diagonals are encoded at `scale`; the results have the operands'
    level, and their scale times `scale`: a rescale comes after it. Uses the rotation keys
    of all these steps.

    ```mlir
    %y = ckks.linear_transform @fc1(%x) at <S(5)>
       : (!ckks.ct<5, S(5)>) -> !ckks.ct<5, S(4)*D(5)>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$matrix, Variadic<Ckks_CtType>:$inputs,
      OptionalAttr<Ckks_ScaleAttr>:$scale);
  let results = (outs Variadic<Ckks_CtType>:$outputs);
  let assemblyFormat = [{
    $matrix `(` $inputs `)` (`at` $scale^)? attr-dict `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Polynomials
//===----------------------------------------------------------------------===//

def Ckks_EvalPolyOp : Ckks_PureOp<"eval_poly"> {
  let summary = "a polynomial of every slot";
  let description = [{
    `sum_k coefficients[k] * T_k(x)` with the Chebyshev polynomials T_k of the first kind;
    slots are in [-1, 1] (an affine map of another domain belongs into the operator before).
    A degree d costs ceil(log2(d + 1)) levels. Only on unplaced ciphertexts;
    `ckks-expand-eval-poly` makes it products and sums.

    ```mlir
    %1 = ckks.eval_poly %0 [0.5, 0.62, 0.0, -0.12] : !ckks.ct<?>
    ```
  }];
  let arguments = (ins Ckks_CtType:$input, DenseF64ArrayAttr:$coefficients);
  let results = (outs Ckks_CtType:$result);
  let assemblyFormat = "$input $coefficients attr-dict `:` qualified(type($input))";
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

#endif // CERIA_CKKS_OPS_TD
