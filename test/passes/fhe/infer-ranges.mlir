// RUN: ceria-opt %s --fhe-infer-ranges | FileCheck %s

// CHECK-LABEL: @scaled
func.func @scaled(%x: !fhe.tensor<2> {fhe.range = array<f64: -1.0, 1.0>}) -> !fhe.tensor<2> {
  %0 = fhe.scale %x by 3.0 : !fhe.tensor<2>
  // CHECK: fhe.activation relu %{{.*}} range [-3.000000e+00, 3.000000e+00]
  %1 = fhe.activation relu %0 : !fhe.tensor<2>
  %one = arith.constant dense<1.0> : tensor<2xf32>
  %2 = fhe.sub %1, %one : !fhe.tensor<2>, tensor<2xf32>
  // CHECK: fhe.activation tanh %{{.*}} range [-1.000000e+00, 2.000000e+00]
  %3 = fhe.activation tanh %2 : !fhe.tensor<2>
  return %3 : !fhe.tensor<2>
}

// Each element is followed by itself: 2 x0 - 3 x1 and x0.
// CHECK-LABEL: @matrix
func.func @matrix(%x: !fhe.tensor<2> {fhe.range = array<f64: 0.0, 1.0>}) -> !fhe.tensor<2> {
  %w = arith.constant dense<[[2.0, 1.0], [-3.0, 0.0]]> : tensor<2x2xf32>
  %0 = fhe.matmul %x, %w : !fhe.tensor<2>, tensor<2x2xf32>
  // CHECK: fhe.activation sigmoid %{{.*}} range [-3.000000e+00, 2.000000e+00]
  %1 = fhe.activation sigmoid %0 : !fhe.tensor<2>
  return %1 : !fhe.tensor<2>
}

// Nothing is known of this argument; a range that is given stays.
// CHECK-LABEL: @unknown
func.func @unknown(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: fhe.activation relu %arg0 : !fhe.tensor<2>
  %0 = fhe.activation relu %x : !fhe.tensor<2>
  // CHECK: fhe.activation exp %{{.*}} range [-5.000000e-01, 2.500000e-01]
  %1 = fhe.activation exp %0 range [-0.5, 0.25] : !fhe.tensor<2>
  return %1 : !fhe.tensor<2>
}
