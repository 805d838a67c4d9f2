//===- FheOps.td - operators on encrypted tensors --------------------------===//
//
// Weights, elementwise arithmetic, linear operators, changes of shape, nonlinear functions, and the forms
// that passes rewrite them to: `linear` and `eval_poly`.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_FHE_OPS
#define CERIA_FHE_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "fhe/FheDialect.td"
include "fhe/FheAttrs.td"
include "fhe/FheTypes.td"

class Fhe_Op<string mnemonic, list<Trait> traits = []> : Op<Fhe_Dialect, mnemonic, traits>;

class Fhe_PureOp<string mnemonic, list<Trait> traits = []> : Fhe_Op<mnemonic, !listconcat([Pure], traits)>;

class Fhe_InferredOp<string mnemonic, list<Trait> traits = []>
    : Fhe_PureOp<mnemonic, !listconcat([DeclareOpInterfaceMethods<InferTypeOpInterface>], traits)>;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def Fhe_WeightsOp : Fhe_Op<"weights", [Symbol]> {
  let summary = "named clear values of a network";
  let description = [{
    The values are either written here or are one tensor of a safetensors file, whose path is relative to
    the file that holds the module. They are read when a pass or the bundle needs them.

    ```mlir
    fhe.weights @fc1 : tensor<784x128xf32> from "model.safetensors"["fc1.weight"]
    fhe.weights @b : tensor<2xf32> = dense<[0.5, -1.0]> : tensor<2xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Fhe_Clear>:$type, OptionalAttr<StrAttr>:$file,
                       OptionalAttr<StrAttr>:$key, OptionalAttr<ElementsAttr>:$value);
  let assemblyFormat = [{
    $sym_name `:` $type (`from` $file^ `[` $key `]`)? (`=` $value^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Fhe_GetWeightsOp : Fhe_PureOp<"get_weights"> {
  let summary = "the clear value of a weights symbol";
  let description = [{
    ```mlir
    %w = fhe.get_weights @fc1 : tensor<784x128xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weights);
  let results = (outs Fhe_Clear:$result);
  let assemblyFormat = "$weights attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Elementwise arithmetic
//===----------------------------------------------------------------------===//

class Fhe_BinaryOp<string mnemonic, list<Trait> traits = []> : Fhe_InferredOp<mnemonic, traits> {
  let arguments = (ins Fhe_AnyTensor:$lhs, Fhe_AnyTensor:$rhs);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Fhe_AddOp : Fhe_BinaryOp<"add", [Commutative]> {
  let summary = "elementwise sum";
  let description = [{
    At least one operand is encrypted. Shapes broadcast as in NumPy. Encrypted operands that both have a
    layout have the same one.

    ```mlir
    %1 = fhe.add %0, %b : !fhe.tensor<4x8>, tensor<8xf32>
    ```
  }];
}

def Fhe_SubOp : Fhe_BinaryOp<"sub"> {
  let summary = "elementwise difference";
  let description = [{
    ```mlir
    %1 = fhe.sub %0, %b : !fhe.tensor<4x8>, tensor<8xf32>
    ```
  }];
}

def Fhe_MulOp : Fhe_BinaryOp<"mul", [Commutative]> {
  let summary = "elementwise product";
  let description = [{
    ```mlir
    %1 = fhe.mul %0, %b : !fhe.tensor<4x8>, tensor<8xf32>
    ```
  }];
}

class Fhe_UnaryOp<string mnemonic, list<Trait> traits = []>
    : Fhe_PureOp<mnemonic, !listconcat([SameOperandsAndResultType], traits)> {
  let results = (outs Fhe_Encrypted:$result);
}

def Fhe_NegOp : Fhe_UnaryOp<"neg"> {
  let summary = "elementwise negation";
  let description = [{
    ```mlir
    %1 = fhe.neg %0 : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasFolder = 1;
}

def Fhe_SquareOp : Fhe_UnaryOp<"square"> {
  let summary = "elementwise square";
  let description = [{
    ```mlir
    %1 = fhe.square %0 : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasCanonicalizer = 1;
}

def Fhe_ScaleOp : Fhe_UnaryOp<"scale"> {
  let summary = "product with a number";
  let description = [{
    ```mlir
    %1 = fhe.scale %0 by 2.5 : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, F64Attr:$factor);
  let assemblyFormat = "$input `by` $factor attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// Linear operators
//===----------------------------------------------------------------------===//

def Fhe_MatmulOp : Fhe_InferredOp<"matmul"> {
  let summary = "matrix product";
  let description = [{
    As in NumPy: operands of rank 1 are a row on the left and a column on the right, leading dimensions
    broadcast. The last two dimensions of an operand may be swapped first.

    ```mlir
    %1 = fhe.matmul %0, %w : !fhe.tensor<1x784>, tensor<784x128xf32>
    %2 = fhe.matmul %1, %v transpose_rhs : !fhe.tensor<1x128>, tensor<10x128xf32>
    ```
  }];
  let arguments = (ins Fhe_AnyTensor:$lhs, Fhe_AnyTensor:$rhs, UnitAttr:$transpose_lhs, UnitAttr:$transpose_rhs);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`transpose_lhs` $transpose_lhs^)? (`transpose_rhs` $transpose_rhs^)? attr-dict
    `:` type($lhs) `,` type($rhs)
  }];
  let hasVerifier = 1;
}

def Fhe_Conv2dOp : Fhe_InferredOp<"conv2d"> {
  let summary = "two-dimensional convolution";
  let description = [{
    Input `batch x channels x height x width`, kernel `outputs x channels/groups x rows x columns`. `pads` are
    the zeros added at top, left, bottom and right.

    ```mlir
    %1 = fhe.conv2d %0, %k {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>}
       : !fhe.tensor<1x1x28x28>, tensor<6x1x5x5xf32>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, Fhe_Clear:$kernel,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{1, 1}">:$strides,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{0, 0, 0, 0}">:$pads,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{1, 1}">:$dilations,
                       DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input `,` $kernel attr-dict `:` type($input) `,` type($kernel)";
  let hasVerifier = 1;
}

def Fhe_AvgPoolOp : Fhe_InferredOp<"avg_pool"> {
  let summary = "two-dimensional average pooling";
  let description = [{
    The mean over windows of `batch x channels x height x width`. With `count_pads` padded zeros count as
    elements, without they do not.

    ```mlir
    %1 = fhe.avg_pool %0 {window = array<i64: 2, 2>, strides = array<i64: 2, 2>} : !fhe.tensor<1x6x24x24>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, DenseI64ArrayAttr:$window,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{1, 1}">:$strides,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{0, 0, 0, 0}">:$pads, UnitAttr:$count_pads);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasVerifier = 1;
}

class Fhe_ReduceOp<string mnemonic> : Fhe_InferredOp<mnemonic> {
  let arguments = (ins Fhe_Encrypted:$input, DenseI64ArrayAttr:$dims, UnitAttr:$keep_dims);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input `over` $dims (`keep_dims` $keep_dims^)? attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_ReduceSumOp : Fhe_ReduceOp<"reduce_sum"> {
  let summary = "sum over dimensions";
  let description = [{
    ```mlir
    %1 = fhe.reduce_sum %0 over [1] keep_dims : !fhe.tensor<4x8>
    ```
  }];
}

def Fhe_ReduceMeanOp : Fhe_ReduceOp<"reduce_mean"> {
  let summary = "mean over dimensions";
  let description = [{
    ```mlir
    %1 = fhe.reduce_mean %0 over [1] : !fhe.tensor<4x8>
    ```
  }];
}

def Fhe_BatchNormOp : Fhe_PureOp<"batch_norm", [
    AllTypesMatch<["input", "result"]>, AllTypesMatch<["scale", "shift", "mean", "variance"]>]> {
  let summary = "normalisation with fixed statistics";
  let description = [{
    `scale * (x - mean) / sqrt(variance + epsilon) + shift` for each channel, dimension 1.

    ```mlir
    %1 = fhe.batch_norm %0, %scale, %shift, %mean, %variance {epsilon = 1.0e-5 : f64}
       : !fhe.tensor<1x6x24x24>, tensor<6xf32>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, Fhe_Clear:$scale, Fhe_Clear:$shift, Fhe_Clear:$mean,
                       Fhe_Clear:$variance, DefaultValuedAttr<F64Attr, "1.0e-5">:$epsilon);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = [{
    $input `,` $scale `,` $shift `,` $mean `,` $variance attr-dict `:` type($input) `,` type($scale)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Changes of shape
//===----------------------------------------------------------------------===//

def Fhe_ReshapeOp : Fhe_PureOp<"reshape"> {
  let summary = "the same elements in another shape";
  let description = [{
    Elements keep their row-major order.

    ```mlir
    %1 = fhe.reshape %0 : !fhe.tensor<1x6x4x4> -> !fhe.tensor<1x96>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_TransposeOp : Fhe_InferredOp<"transpose"> {
  let summary = "permutation of dimensions";
  let description = [{
    Dimension `i` of the result is dimension `permutation[i]` of the operand.

    ```mlir
    %1 = fhe.transpose %0 [1, 0] : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input $permutation attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Fhe_SliceOp : Fhe_InferredOp<"slice"> {
  let summary = "a regular part of a tensor";
  let description = [{
    Element `i` of the result is element `offset + i * step` of the operand in each dimension; steps may be
    negative.

    ```mlir
    %1 = fhe.slice %0 {offsets = array<i64: 0, 2>, sizes = array<i64: 4, 3>, steps = array<i64: 1, 2>}
       : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, DenseI64ArrayAttr:$offsets, DenseI64ArrayAttr:$sizes,
                       DenseI64ArrayAttr:$steps);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_ConcatOp : Fhe_InferredOp<"concat"> {
  let summary = "tensors side by side";
  let description = [{
    ```mlir
    %1 = fhe.concat %0, %0 along 1 : !fhe.tensor<4x8>, !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Variadic<Fhe_Encrypted>:$inputs, I64Attr:$dim);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$inputs `along` $dim attr-dict `:` type($inputs)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_PadOp : Fhe_InferredOp<"pad"> {
  let summary = "a border of one number";
  let description = [{
    ```mlir
    %1 = fhe.pad %0 {low = array<i64: 0, 1>, high = array<i64: 0, 1>} : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, DenseI64ArrayAttr:$low, DenseI64ArrayAttr:$high,
                       DefaultValuedAttr<F64Attr, "0.0">:$value);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_ExpandOp : Fhe_PureOp<"expand"> {
  let summary = "copies along dimensions of extent 1";
  let description = [{
    NumPy's broadcast to the result's shape.

    ```mlir
    %1 = fhe.expand %0 : !fhe.tensor<1x8> -> !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Nonlinear functions
//===----------------------------------------------------------------------===//

def Fhe_ActivationOp : Fhe_UnaryOp<"activation"> {
  let summary = "a function of each element";
  let description = [{
    `clip` takes its bounds, and `leaky_relu` its slope, from `parameters`. `range` bounds the operand's
    values; `fhe-infer-ranges` finds it, `fhe-approximate-activations` needs it.

    ```mlir
    %1 = fhe.activation relu %0 : !fhe.tensor<4x8>
    %2 = fhe.activation clip %1 {parameters = array<f64: 0.0, 6.0>} : !fhe.tensor<4x8>
    %3 = fhe.activation sigmoid %2 range [0.0, 6.0] : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_FunctionAttr:$function, Fhe_Encrypted:$input,
                       OptionalAttr<DenseF64ArrayAttr>:$parameters, OptionalAttr<DenseF64ArrayAttr>:$range);
  let assemblyFormat = "$function $input (`range` $range^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Fhe_PowOp : Fhe_UnaryOp<"pow"> {
  let summary = "a small integer power";
  let description = [{
    ```mlir
    %1 = fhe.pow %0 to 3 : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, I64Attr:$exponent);
  let assemblyFormat = "$input `to` $exponent attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Fhe_EvalPolyOp : Fhe_UnaryOp<"eval_poly"> {
  let summary = "a polynomial of each element";
  let description = [{
    Coefficients ascend. In the Chebyshev basis the domain is mapped to [-1, 1] first, and the operand's
    values must lie in it.

    ```mlir
    %1 = fhe.eval_poly chebyshev %0 [0.5, 0.25, 0.0, -0.03] on [-4.0, 4.0] : !fhe.tensor<4x8>
    ```
  }];
  let arguments = (ins Fhe_PolyBasisAttr:$basis, Fhe_Encrypted:$input, DenseF64ArrayAttr:$coefficients,
                       DenseF64ArrayAttr:$domain);
  let assemblyFormat = "$basis $input $coefficients `on` $domain attr-dict `:` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

//===----------------------------------------------------------------------===//
// What layouts are assigned to
//===----------------------------------------------------------------------===//

def Fhe_LinearOp : Fhe_PureOp<"linear"> {
  let summary = "any linear operator with fixed weights";
  let description = [{
    `map` is the text of a `LinearOp` of `ceria_runtime::format::linear`: a product of factors, each a
    sparse matrix given by shapes and by weights, numbered as in `weights`. `bias`, of the result's shape, is
    added. `fhe-fold-linear` makes all linear operators this one, merges neighbours, and leaves layouts to
    `fhe-assign-layouts`; afterwards the operand and the result may have any two layouts.

    ```mlir
    %1 = fhe.linear %0 by "..." (@fc1) bias @b1 : !fhe.tensor<1x784> -> !fhe.tensor<1x128>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input, StrAttr:$map, ArrayAttr:$weights,
                       OptionalAttr<FlatSymbolRefAttr>:$bias);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = [{
    $input `by` $map $weights (`bias` $bias^)? attr-dict `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Fhe_ConvertLayoutOp : Fhe_PureOp<"convert_layout"> {
  let summary = "the same tensor in another layout";
  let description = [{
    ```mlir
    %1 = fhe.convert_layout %0 : !fhe.tensor<8, [G:64, 0:8:1]> -> !fhe.tensor<8, [R:64, 0:8:1]>
    ```
  }];
  let arguments = (ins Fhe_Encrypted:$input);
  let results = (outs Fhe_Encrypted:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

#endif // CERIA_FHE_OPS
