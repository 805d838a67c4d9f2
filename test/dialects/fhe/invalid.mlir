// RUN: ceria-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{has an extent of 0}}
func.func private @extent(!fhe.tensor<2x0>)

// -----

// expected-error @below {{has 2^31 elements or more}}
func.func private @huge(!fhe.tensor<65536x65536>)

// -----

// expected-error @below {{the layout covers}}
func.func private @layout(!fhe.tensor<4, [G:4, 0:2:1]>)

// -----

// expected-error @below {{needs either a file with a key or a value}}
"fhe.weights"() {sym_name = "w", type = tensor<2xf32>} : () -> ()

// -----

// expected-error @below {{has a value of type}}
fhe.weights @w : tensor<2xf32> = dense<1.0> : tensor<3xf32>

// -----

func.func @f() {
  // expected-error @below {{refers to @w, which is no fhe.weights}}
  %0 = fhe.get_weights @w : tensor<2xf32>
  return
}

// -----

fhe.weights @w : tensor<2xf32> = dense<1.0> : tensor<2xf32>
func.func @f() {
  // expected-error @below {{reads @w, whose type is}}
  %0 = fhe.get_weights @w : tensor<3xf32>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2x3>, %y: !fhe.tensor<4>) {
  // expected-error @below {{has shapes 2x3 and 4 that do not broadcast}}
  %0 = fhe.add %x, %y : !fhe.tensor<2x3>, !fhe.tensor<4>
  return
}

// -----

func.func @f(%x: tensor<2xf32>) {
  // expected-error @below {{needs an encrypted operand}}
  %0 = fhe.mul %x, %x : tensor<2xf32>, tensor<2xf32>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2, [R:4, 0:2:1]>, %y: !fhe.tensor<2, [G:4, 0:2:1]>) {
  // expected-error @below {{has encrypted operands of different layouts}}
  %0 = fhe.sub %x, %y : !fhe.tensor<2, [R:4, 0:2:1]>, !fhe.tensor<2, [G:4, 0:2:1]>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2x3>) {
  // expected-error @below {{multiplies rows of 3 elements by columns of 2}}
  %0 = fhe.matmul %x, %x : !fhe.tensor<2x3>, !fhe.tensor<2x3>
  return
}

// -----

func.func @f(%x: !fhe.tensor<1x3x8x8>, %k: tensor<4x1x3x3xf32>) {
  // expected-error @below {{divides 3 channels and 4 outputs into 2 groups}}
  %0 = fhe.conv2d %x, %k {groups = 2} : !fhe.tensor<1x3x8x8>, tensor<4x1x3x3xf32>
  return
}

// -----

func.func @f(%x: !fhe.tensor<1x1x2x8>, %k: tensor<4x1x3x3xf32>) {
  // expected-error @below {{has a window of 3 on 2 elements}}
  %0 = fhe.conv2d %x, %k : !fhe.tensor<1x1x2x8>, tensor<4x1x3x3xf32>
  return
}

// -----

func.func @f(%x: !fhe.tensor<1x1x8x8>) {
  // expected-error @below {{has 0 in 'strides'}}
  %0 = fhe.avg_pool %x {window = array<i64: 2, 2>, strides = array<i64: 0, 1>} : !fhe.tensor<1x1x8x8>
  return
}

// -----

func.func @f(%x: !fhe.tensor<4x8>) {
  // expected-error @below {{has dimension 2 in 'dims', but its operand has rank 2}}
  %0 = fhe.reduce_sum %x over [2] : !fhe.tensor<4x8>
  return
}

// -----

func.func @f(%x: !fhe.tensor<4x8>) {
  // expected-error @below {{changes the number of elements: 4x8 to 33}}
  %0 = fhe.reshape %x : !fhe.tensor<4x8> -> !fhe.tensor<33>
  return
}

// -----

func.func @f(%x: !fhe.tensor<4x8>) {
  // expected-error @below {{has dimension 0 twice in 'permutation'}}
  %0 = fhe.transpose %x [0, 0] : !fhe.tensor<4x8>
  return
}

// -----

func.func @f(%x: !fhe.tensor<8>) {
  // expected-error @below {{takes 5 elements from 7 by steps of -2, but dimension 0 has 8}}
  %0 = fhe.slice %x {offsets = array<i64: 7>, sizes = array<i64: 5>, steps = array<i64: -2>} : !fhe.tensor<8>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2x3>, %y: !fhe.tensor<3x3>) {
  // expected-error @below {{joins 2x3 and 3x3 along dimension 1}}
  %0 = fhe.concat %x, %y along 1 : !fhe.tensor<2x3>, !fhe.tensor<3x3>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2x3>) {
  // expected-error @below {{has a negative or huge number in 'low' or 'high'}}
  %0 = fhe.pad %x {low = array<i64: 0, -1>, high = array<i64: 0, 0>} : !fhe.tensor<2x3>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2x3>) {
  // expected-error @below {{cannot broadcast 2x3 to 2x6}}
  %0 = fhe.expand %x : !fhe.tensor<2x3> -> !fhe.tensor<2x6>
  return
}

// -----

func.func @f(%x: !fhe.tensor<1x3x2x2>, %s: tensor<4xf32>) {
  // expected-error @below {{has 3 channels and statistics of shape 4}}
  %0 = fhe.batch_norm %x, %s, %s, %s, %s : !fhe.tensor<1x3x2x2>, tensor<4xf32>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{clip needs two ascending numbers in 'parameters'}}
  %0 = fhe.activation clip %x : !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{takes no 'parameters'}}
  %0 = fhe.activation relu %x {parameters = array<f64: 1.0>} : !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{needs two ascending numbers in 'range'}}
  %0 = fhe.activation relu %x range [1.0, 0.0] : !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{needs an exponent from 1 to 64}}
  %0 = fhe.pow %x to 0 : !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{needs two ascending numbers in 'domain'}}
  %0 = fhe.eval_poly chebyshev %x [1.0, 2.0] on [1.0, 1.0] : !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{malformed linear operator}}
  %0 = fhe.linear %x by "{}" [] : !fhe.tensor<2> -> !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{has a map from 3 to 3}}
  %0 = fhe.linear %x by "{\22input\22:[3],\22weights\22:[],\22steps\22:[]}" [] : !fhe.tensor<2> -> !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2>) {
  // expected-error @below {{needs layouts on both sides}}
  %0 = fhe.convert_layout %x : !fhe.tensor<2> -> !fhe.tensor<2>
  return
}

// -----

func.func @f(%x: !fhe.tensor<2, [R:4, 0:2:1]>) {
  // expected-error @below {{has an operand with a layout}}
  %0 = fhe.reduce_sum %x over [0] : !fhe.tensor<2, [R:4, 0:2:1]>
  return
}

// -----

func.func @f(%a: !fhe.tensor<4>) {
  // expected-error@+1 {{'fhe.scale' op has inf in 'factor'}}
  %0 = fhe.scale %a by 0x7FF0000000000000 : !fhe.tensor<4>
  return
}

// -----

func.func @f(%a: !fhe.tensor<4x8>) {
  // expected-error@+1 {{has dimension 1 twice in 'dims'}}
  %0 = fhe.reduce_mean %a over [1, 1] : !fhe.tensor<4x8>
  return
}
