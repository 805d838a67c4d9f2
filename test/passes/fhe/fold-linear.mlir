// RUN: ceria-opt %s --fhe-fold-linear --split-input-file | FileCheck %s

// A product with weights and the bias after it are one operator.
// CHECK: fhe.weights @bias_0 : tensor<1x3xf32> = dense<{{.*}}[1.000000e+00, 2.000000e+00, 3.000000e+00]
fhe.weights @w : tensor<2x3xf32> = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
fhe.weights @b : tensor<3xf32> = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
// CHECK-LABEL: @dense
func.func @dense(%x: !fhe.tensor<1x2>) -> !fhe.tensor<1x3> {
  // CHECK-NEXT: %[[Y:.*]] = fhe.linear %arg0 by "{{.*}}mat_mul{{.*}}" [@w] bias @bias_0 : !fhe.tensor<1x2> -> !fhe.tensor<1x3>
  // CHECK-NEXT: return %[[Y]]
  %w = fhe.get_weights @w : tensor<2x3xf32>
  %b = fhe.get_weights @b : tensor<3xf32>
  %0 = fhe.matmul %x, %w : !fhe.tensor<1x2>, tensor<2x3xf32>
  %1 = fhe.add %0, %b : !fhe.tensor<1x3>, tensor<3xf32>
  return %1 : !fhe.tensor<1x3>
}

// -----

// The bias goes through the second operator: 2 * (x + 1) = 2 x + 2.
// CHECK: fhe.weights @bias_{{[0-9]+}} : tensor<2xf32> = dense<2.000000e+00>
// CHECK-LABEL: @chain
func.func @chain(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK-NEXT: fhe.linear %arg0 by "{{.*}}factor{{.*}}2.0{{.*}}" [] bias @bias_{{[0-9]+}}
  // CHECK-NEXT: return
  %one = arith.constant dense<1.0> : tensor<2xf32>
  %0 = fhe.add %x, %one : !fhe.tensor<2>, tensor<2xf32>
  %1 = fhe.scale %0 by 2.0 : !fhe.tensor<2>
  return %1 : !fhe.tensor<2>
}

// -----

// A concatenation is a sum of parts among zeros; encrypted operands are expanded.
// CHECK-LABEL: @parts
func.func @parts(%x: !fhe.tensor<2>, %y: !fhe.tensor<3x2>) -> (!fhe.tensor<4>, !fhe.tensor<3x2>) {
  // CHECK: %[[A:.*]] = fhe.linear %arg0 by "{{.*}}pad{{.*}}" [] : !fhe.tensor<2> -> !fhe.tensor<4>
  // CHECK: %[[B:.*]] = fhe.linear %arg0 by "{{.*}}pad{{.*}}" [] : !fhe.tensor<2> -> !fhe.tensor<4>
  // CHECK: fhe.add %[[A]], %[[B]]
  %0 = fhe.concat %x, %x along 0 : !fhe.tensor<2>, !fhe.tensor<2>
  // CHECK: %[[E:.*]] = fhe.linear %arg0 by "{{.*}}expand{{.*}}" [] : !fhe.tensor<2> -> !fhe.tensor<3x2>
  // CHECK: fhe.mul %[[E]], %arg1
  %1 = fhe.mul %x, %y : !fhe.tensor<2>, !fhe.tensor<3x2>
  return %0, %1 : !fhe.tensor<4>, !fhe.tensor<3x2>
}

// -----

// A factor after a polynomial is merged into its coefficients.
// CHECK-LABEL: @after_polynomial
func.func @after_polynomial(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK-NEXT: fhe.eval_poly chebyshev %arg0 [1.000000e+00, 4.000000e+00] on
  // CHECK-NEXT: return
  %0 = fhe.eval_poly chebyshev %x [0.5, 2.0] on [-1.0, 1.0] : !fhe.tensor<2>
  %1 = fhe.scale %0 by 2.0 : !fhe.tensor<2>
  return %1 : !fhe.tensor<2>
}
