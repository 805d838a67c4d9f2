//===- KernelOps.td - operations of the kernel dialect ---------------------===//
//
// The host program's operations on buffers, and the operations on tiles inside a kernel.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_KERNEL_OPS
#define CERIA_KERNEL_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "kernel/KernelDialect.td"
include "kernel/KernelAttrs.td"
include "kernel/KernelTypes.td"

class Kernel_Op<string mnemonic, list<Trait> traits = []> : Op<Kernel_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

def Kernel_FuncOp : Kernel_Op<"func", [IsolatedFromAbove, Symbol, SingleBlock, NoTerminator]> {
  let summary = "what happens to one tile";
  let description = [{
    Run once for each prime of `moduli`, and `batch` times over. Arguments are buffers, and indices that the host
    program computes. A buffer of rank 2 is shared by the whole batch, the leading extent of a buffer of
    rank 3 is the batch. `limbs` on loads and stores has one entry for each prime: the limb of the buffer that
    belongs to it; without it the limbs are those of `moduli` in order.

    A buffer that is stored to may be loaded from with `kernel.load` and the same limbs only, and before it is
    stored to; tiles are then independent of one another, as they must be.

    ```mlir
    kernel.func @sum batch(2) moduli<q[0:2]> (%a: !kernel.buf<2x2x8192>, %b: !kernel.buf<2x8192>) {
      %x = kernel.load %a : !kernel.buf<2x2x8192>
      %y = kernel.load %b : !kernel.buf<2x8192>
      %z = kernel.addm %x, %y
      kernel.store %z, %a : !kernel.buf<2x2x8192>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<I64Attr>:$batch, Kernel_ModuliAttr:$moduli);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`batch` `(` $batch^ `)`)? `moduli` `` $moduli custom<SignatureAndBody>($body) attr-dict
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Kernel_TableOp : Kernel_Op<"table", [Symbol]> {
  let summary = "read-only memory that is filled when a bundle is loaded";
  let description = [{
    The leading extent counts entries.

    * `index`: the numbers `values`.
    * `automorphism`: for each Galois element of `values` the permutation of N words that `X -> X^g` is in
      evaluation form: word `i` of the result is word `p[i]` of the operand.
    * `galois_key`: for each Galois element the key from `s(X^g)` to `s`, `entries x digits x 2 x limbs x N`, Montgomery.
      `relin_key`: the key from `s^2` to `s`, one entry. `sparse_key`, `dense_key`: the keys from `s` to the sparse
      secret of bootstrapping and back, one entry each. `moduli` names the primes of their limbs.
    * `monomial`: for each exponent `k` the polynomial `X^k`, `entries x limbs x period`, Montgomery.
    * `plaintext`: `entries x limbs x period`, evaluation form, Montgomery: `values` are parts of the `ckks.vector` that
      `source` names, encoded at `scale` (the text of a scale).
    * `diagonals`: likewise from a `ckks.matrix`, with four numbers an entry: output part, input part, diagonal, and
      the number of slots by which the diagonal is rotated to the right before it is encoded.

    ```mlir
    kernel.table automorphism @steps [5, 25] : !kernel.buf<2x8192>
    kernel.table galois_key @keys [5, 25] moduli<q[0:3]+p[0:2]> : !kernel.buf<2x2x2x5x8192>
    ```
  }];
  let arguments = (ins Kernel_TableKindAttr:$kind, SymbolNameAttr:$sym_name, DenseI64ArrayAttr:$values,
                       OptionalAttr<Kernel_ModuliAttr>:$moduli, OptionalAttr<AnyAttr>:$source,
                       OptionalAttr<StrAttr>:$scale, TypeAttrOf<Kernel_Buf>:$type);
  let assemblyFormat = [{
    $kind $sym_name $values (`moduli` `` $moduli^)? (`from` `(` $source^ `)`)? (`scale` $scale^)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The host program
//===----------------------------------------------------------------------===//

def Kernel_GetTableOp : Kernel_Op<"get_table", [Pure]> {
  let summary = "the buffer of a table";
  let description = [{
    ```mlir
    %t = kernel.get_table @steps : !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$table);
  let results = (outs Kernel_Buf:$result);
  let assemblyFormat = "$table attr-dict `:` type($result)";
}

def Kernel_AllocOp : Kernel_Op<"alloc"> {
  let summary = "a new buffer";
  let description = [{
    Its words are undefined. `at` is the buffer's place in the function's arena, in bytes, given by
    `kernel-plan-memory`.

    ```mlir
    %b = kernel.alloc : !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$offset);
  let results = (outs Res<Kernel_Buf, "", [MemAlloc]>:$result);
  let assemblyFormat = "(`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Kernel_FreeOp : Kernel_Op<"free"> {
  let summary = "ends the life of a buffer";
  let description = [{
    ```mlir
    kernel.free %b : !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemFree]>:$buffer);
  let assemblyFormat = "$buffer attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Kernel_CopyOp : Kernel_Op<"copy", [SameTypeOperands]> {
  let summary = "copies all words of a buffer";
  let description = [{
    ```mlir
    kernel.copy %a, %b : !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$source, Arg<Kernel_Buf, "", [MemWrite]>:$target);
  let assemblyFormat = "$source `,` $target attr-dict `:` type($source)";
  let hasCanonicalizer = 1;
}

def Kernel_SubviewOp : Kernel_Op<"subview", [Pure]> {
  let summary = "one part of a buffer";
  let description = [{
    Fixes the leading coordinates. The result shares the operand's memory.

    ```mlir
    %e = kernel.subview %t[%i] : !kernel.buf<3x2x8192> -> !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins Kernel_Buf:$buffer, Variadic<Index>:$indices);
  let results = (outs Kernel_Buf:$result);
  let assemblyFormat = "$buffer `[` $indices `]` attr-dict `:` type($buffer) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Kernel_ReadOp : Kernel_Op<"read"> {
  let summary = "one word of a buffer as a number of the host program";
  let description = [{
    ```mlir
    %lo = kernel.read %bounds[%i] : !kernel.buf<9>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$buffer, Index:$index);
  let results = (outs Index:$result);
  let assemblyFormat = "$buffer `[` $index `]` attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Kernel_LaunchOp : Kernel_Op<"launch"> {
  let summary = "runs a kernel on all its tiles";
  let description = [{
    Launches of one host program run one after the other. A buffer that the kernel stores to is none of the
    launch's other operands.

    ```mlir
    kernel.launch @add(%a, %b, %c) : !kernel.buf<2x8192>, !kernel.buf<2x8192>, !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel,
                       Arg<Variadic<AnyTypeOf<[Kernel_Buf, Index]>>, "", [MemRead, MemWrite]>:$arguments);
  let assemblyFormat = "$kernel `(` $arguments `)` attr-dict `:` type($arguments)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Tiles from and to memory
//===----------------------------------------------------------------------===//

class Kernel_TileOp<string mnemonic, list<Trait> traits = []>
    : Kernel_Op<mnemonic, !listconcat([HasParent<"::ceria::kernel::FuncOp">], traits)>;

def Kernel_LoadOp : Kernel_TileOp<"load"> {
  let summary = "the tile's limb of a buffer";
  let description = [{
    ```mlir
    %x = kernel.load %a limbs [1, 2] : !kernel.buf<3x8192>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$buffer, OptionalAttr<DenseI64ArrayAttr>:$limbs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$buffer (`limbs` $limbs^)? attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Kernel_LoadPermutedOp : Kernel_TileOp<"load_permuted"> {
  let summary = "the tile's limb of a buffer, its words permuted";
  let description = [{
    Word `i` is word `p[i]` of the limb, `p` being an entry of a table of automorphisms. Other permutations are not
    possible: automorphisms move aligned blocks of evaluations as a whole, which lowerings make use of.

    ```mlir
    %x = kernel.load_permuted %a by %p : !kernel.buf<2x8192>, !kernel.buf<8192>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$buffer, Arg<Kernel_Buf, "", [MemRead]>:$permutation,
                       OptionalAttr<DenseI64ArrayAttr>:$limbs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = [{
    $buffer `by` $permutation (`limbs` $limbs^)? attr-dict `:` type($buffer) `,` type($permutation)
  }];
  let hasVerifier = 1;
}

def Kernel_LoadPeriodicOp : Kernel_TileOp<"load_periodic"> {
  let summary = "the tile's limb of a sparse plaintext";
  let description = [{
    A limb is stored as P words, P a power of two; word `i` of the tile is stored word `i / (N/P)`.

    ```mlir
    %x = kernel.load_periodic %a : !kernel.buf<2x256>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$buffer, OptionalAttr<DenseI64ArrayAttr>:$limbs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$buffer (`limbs` $limbs^)? attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Kernel_StoreOp : Kernel_TileOp<"store"> {
  let summary = "writes the tile's limb of a buffer";
  let description = [{
    ```mlir
    kernel.store %x, %a limbs [1, 2] : !kernel.buf<3x8192>
    ```
  }];
  let arguments = (ins Kernel_Tile:$tile, Arg<Kernel_Buf, "", [MemWrite]>:$buffer,
                       OptionalAttr<DenseI64ArrayAttr>:$limbs);
  let assemblyFormat = "$tile `,` $buffer (`limbs` $limbs^)? attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Arithmetic on tiles, word by word
//===----------------------------------------------------------------------===//

def Kernel_SplatOp : Kernel_TileOp<"splat", [Pure]> {
  let summary = "a tile of one constant for each prime";
  let description = [{
    ```mlir
    %z = kernel.splat [0, 0]
    ```
  }];
  let arguments = (ins DenseI64ArrayAttr:$constants);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$constants attr-dict";
  let hasVerifier = 1;
}

class Kernel_BinaryOp<string mnemonic, list<Trait> traits = []>
    : Kernel_TileOp<mnemonic, !listconcat([Pure], traits)> {
  let arguments = (ins Kernel_Tile:$lhs, Kernel_Tile:$rhs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict";
}

def Kernel_AddmOp : Kernel_BinaryOp<"addm", [Commutative]> {
  let summary = "modular sum";
  let description = [{
    ```mlir
    %c = kernel.addm %a, %b
    ```
  }];
  let hasFolder = 1;
}

def Kernel_SubmOp : Kernel_BinaryOp<"subm"> {
  let summary = "modular difference";
  let description = [{
    ```mlir
    %c = kernel.subm %a, %b
    ```
  }];
  let hasFolder = 1;
}

def Kernel_MulmOp : Kernel_BinaryOp<"mulm", [Commutative]> {
  let summary = "Montgomery product";
  let description = [{
    `lhs * rhs * 2^-32`: the modular product if one factor is Montgomery.

    ```mlir
    %c = kernel.mulm %a, %b
    ```
  }];
}

def Kernel_NegmOp : Kernel_TileOp<"negm", [Pure]> {
  let summary = "modular negation";
  let description = [{
    ```mlir
    %b = kernel.negm %a
    ```
  }];
  let arguments = (ins Kernel_Tile:$input);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$input attr-dict";
  let hasFolder = 1;
}

def Kernel_MacmOp : Kernel_TileOp<"macm", [Pure]> {
  let summary = "accumulator plus a Montgomery product";
  let description = [{
    `accumulator + lhs * rhs * 2^-32`.

    ```mlir
    %d = kernel.macm %c, %a, %b
    ```
  }];
  let arguments = (ins Kernel_Tile:$accumulator, Kernel_Tile:$lhs, Kernel_Tile:$rhs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$accumulator `,` $lhs `,` $rhs attr-dict";
}

class Kernel_ConstOp<string mnemonic> : Kernel_TileOp<mnemonic, [Pure]> {
  let arguments = (ins Kernel_Tile:$input, DenseI64ArrayAttr:$constants);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$input $constants attr-dict";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Kernel_MulConstOp : Kernel_ConstOp<"mul_const"> {
  let summary = "modular product with one constant for each prime";
  let description = [{
    The constants are plain residues.

    ```mlir
    %b = kernel.mul_const %a [3, 5]
    ```
  }];
  let hasCanonicalizer = 1;
}

def Kernel_AddConstOp : Kernel_ConstOp<"add_const"> {
  let summary = "modular sum with one constant for each prime";
  let description = [{
    ```mlir
    %b = kernel.add_const %a [3, 5]
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Transforms, base conversion, sums of products
//===----------------------------------------------------------------------===//

def Kernel_NttOp : Kernel_TileOp<"ntt", [Pure]> {
  let summary = "coefficients to evaluations";
  let description = [{
    Word `i` of the result is the value at `psi^(2*brv(i)+1)`.

    ```mlir
    %b = kernel.ntt %a
    ```
  }];
  let arguments = (ins Kernel_Tile:$input);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$input attr-dict";
}

def Kernel_InttOp : Kernel_TileOp<"intt", [Pure]> {
  let summary = "evaluations to coefficients";
  let description = [{
    With `scale`, the result is also multiplied by one plain constant for each prime, at no cost.

    ```mlir
    %b = kernel.intt %a scale [3, 5]
    ```
  }];
  let arguments = (ins Kernel_Tile:$input, OptionalAttr<DenseI64ArrayAttr>:$scale);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$input (`scale` $scale^)? attr-dict";
  let hasVerifier = 1;
}

def Kernel_BconvTileOp : Kernel_TileOp<"bconv_tile"> {
  let summary = "fast base conversion to the tile's prime";
  let description = [{
    The buffer has one limb for each prime `q_i` of `from`, of product Q, in coefficient form and multiplied
    by `(Q/q_i)^-1` already. The result is `sum_i y_i * (Q/q_i)` modulo the tile's prime, `y_i` being limb `i`
    centred in `(-q_i/2, q_i/2]`. `limbs` lists where in the buffer the limbs of `from` are.

    ```mlir
    %b = kernel.bconv_tile %a from<q[0:2]> : !kernel.buf<2x8192>
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$buffer, Kernel_ModuliAttr:$from,
                       OptionalAttr<DenseI64ArrayAttr>:$limbs);
  let results = (outs Kernel_Tile:$result);
  let assemblyFormat = "$buffer `from` `` $from (`limbs` $limbs^)? attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Kernel_WeightedSumOp : Kernel_TileOp<"weighted_sum", [AttrSizedOperandSegments]> {
  let summary = "a sum of products over the entries of two buffers";
  let description = [{
    `weights` is `entries x limbs x P`, its limbs periodic as in `load_periodic` (`P = N` is the plain case), and
    `values` is `count x K x limbs x N`. Result `k < K` is the sum over `e` in `[lower, upper)` of the Montgomery
    product of `weights[e]` and `values[choice[e], k]`; without `choice`, of `values[e, k]`; without bounds, over
    all entries of the weights. `permutation` permutes the words of the weights, which must then not be periodic. The
    sum is kept in 64 bits and reduced once.

    It is the inner sum of a linear transform (weights: plaintexts, values: rotated ciphertexts) and the inner
    product of a key switch (weights: digits, permuted by a rotation; values: the key).

    ```mlir
    %v:2 = kernel.weighted_sum %diagonals, %babies range(%lo, %hi) choice(%choice)
         : !kernel.buf<64x3x512>, !kernel.buf<8x2x3x8192>, !kernel.buf<64> -> !kernel.tile, !kernel.tile
    ```
  }];
  let arguments = (ins Arg<Kernel_Buf, "", [MemRead]>:$weights, Arg<Kernel_Buf, "", [MemRead]>:$values,
                       Optional<Index>:$lower, Optional<Index>:$upper,
                       Arg<Optional<Kernel_Buf>, "", [MemRead]>:$choice,
                       Arg<Optional<Kernel_Buf>, "", [MemRead]>:$permutation,
                       OptionalAttr<DenseI64ArrayAttr>:$weight_limbs, OptionalAttr<DenseI64ArrayAttr>:$value_limbs);
  let results = (outs Variadic<Kernel_Tile>:$results);
  let assemblyFormat = [{
    $weights `,` $values (`range` `(` $lower^ `,` $upper `)`)? (`choice` `(` $choice^ `:` type($choice) `)`)?
    (`permutation` `(` $permutation^ `:` type($permutation) `)`)? (`weight_limbs` $weight_limbs^)?
    (`value_limbs` $value_limbs^)? attr-dict `:` type($weights) `,` type($values) `->` type($results)
  }];
  let hasVerifier = 1;
}

#endif // CERIA_KERNEL_OPS
