// RUN: ceria-opt %s --pass-pipeline='builtin.module(fhe-approximate-activations{precision=6})' --verify-diagnostics | FileCheck %s

// CHECK-LABEL: @sigmoid
func.func @sigmoid(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: %[[T:.*]] = fhe.linear %arg0 by "{{.*}}factor{{.*}}0.25{{.*}}" [] : !fhe.tensor<2> -> !fhe.tensor<2>
  // CHECK: fhe.eval_poly chebyshev %[[T]] [5.000000e-01, {{.*}}] on [-1.000000e+00, 1.000000e+00]
  // CHECK-NOT: fhe.activation
  // expected-remark @below {{sigmoid on [-4.0000, 4.0000] by degree}}
  %0 = fhe.activation sigmoid %x range [-4.0, 4.0] : !fhe.tensor<2>
  return %0 : !fhe.tensor<2>
}

// CHECK-LABEL: @power
func.func @power(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: %[[X2:.*]] = fhe.square %arg0
  // CHECK: %[[X4:.*]] = fhe.square %[[X2]]
  // CHECK: fhe.mul %[[X4]], %arg0
  %0 = fhe.pow %x to 5 : !fhe.tensor<2>
  return %0 : !fhe.tensor<2>
}

// x^2 = (T_0 + T_2) / 2
// CHECK-LABEL: @basis
func.func @basis(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: fhe.eval_poly chebyshev %arg0 [5.000000e-01, 0.000000e+00, 5.000000e-01] on
  %0 = fhe.eval_poly power %x [0.0, 0.0, 1.0] on [-1.0, 1.0] : !fhe.tensor<2>
  return %0 : !fhe.tensor<2>
}
