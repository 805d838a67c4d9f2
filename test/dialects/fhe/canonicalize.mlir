// RUN: ceria-opt %s --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: @neutral
func.func @neutral(%x: !fhe.tensor<2x3>) -> !fhe.tensor<2x3> {
  // CHECK-NEXT: return %arg0
  %zero = arith.constant dense<0.0> : tensor<3xf32>
  %one = arith.constant dense<1.0> : tensor<2x3xf32>
  %0 = fhe.add %x, %zero : !fhe.tensor<2x3>, tensor<3xf32>
  %1 = fhe.mul %one, %0 : tensor<2x3xf32>, !fhe.tensor<2x3>
  %2 = fhe.sub %1, %zero : !fhe.tensor<2x3>, tensor<3xf32>
  %3 = fhe.neg %2 : !fhe.tensor<2x3>
  %4 = fhe.neg %3 : !fhe.tensor<2x3>
  %5 = fhe.scale %4 by 1.0 : !fhe.tensor<2x3>
  %6 = fhe.pow %5 to 1 : !fhe.tensor<2x3>
  %7 = fhe.eval_poly power %6 [0.0, 1.0] on [-2.0, 2.0] : !fhe.tensor<2x3>
  return %7 : !fhe.tensor<2x3>
}

// -----

// A zero that broadcasts the other operand stays.
// CHECK-LABEL: @broadcasting_zero
func.func @broadcasting_zero(%x: !fhe.tensor<3>) -> !fhe.tensor<2x3> {
  // CHECK: fhe.add
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  %0 = fhe.add %x, %zero : !fhe.tensor<3>, tensor<2x3xf32>
  return %0 : !fhe.tensor<2x3>
}

// -----

// CHECK-LABEL: @clear_second
func.func @clear_second(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: fhe.add %arg0, %{{.*}} : !fhe.tensor<2>, tensor<2xf32>
  %c = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = fhe.add %c, %x : tensor<2xf32>, !fhe.tensor<2>
  return %0 : !fhe.tensor<2>
}

// -----

// CHECK-LABEL: @signs
func.func @signs(%x: !fhe.tensor<2>, %y: !fhe.tensor<2>) -> (!fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>) {
  %n = fhe.neg %y : !fhe.tensor<2>
  // CHECK-DAG: fhe.sub %arg0, %arg1
  %0 = fhe.add %x, %n : !fhe.tensor<2>, !fhe.tensor<2>
  // CHECK-DAG: fhe.add %arg0, %arg1
  %1 = fhe.sub %x, %n : !fhe.tensor<2>, !fhe.tensor<2>
  // CHECK-DAG: fhe.square %arg1
  %2 = fhe.square %n : !fhe.tensor<2>
  return %0, %1, %2 : !fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>
}

// -----

// CHECK-LABEL: @products
func.func @products(%x: !fhe.tensor<2>) -> (!fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>) {
  // CHECK-DAG: fhe.square %arg0
  %0 = fhe.mul %x, %x : !fhe.tensor<2>, !fhe.tensor<2>
  // CHECK-DAG: fhe.scale %arg0 by 6.000000e+00
  %two = arith.constant dense<2.0> : tensor<2xf32>
  %1 = fhe.mul %x, %two : !fhe.tensor<2>, tensor<2xf32>
  %2 = fhe.scale %1 by 3.0 : !fhe.tensor<2>
  // CHECK-DAG: fhe.pow %arg0 to 6
  %3 = fhe.pow %x to 2 : !fhe.tensor<2>
  %4 = fhe.pow %3 to 3 : !fhe.tensor<2>
  return %0, %2, %4 : !fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>
}

// -----

// CHECK-LABEL: @moves
func.func @moves(%x: !fhe.tensor<2x3x4>) -> (!fhe.tensor<4x2x3>, !fhe.tensor<24>, !fhe.tensor<2x3x4>) {
  // CHECK-DAG: fhe.transpose %arg0 [2, 0, 1]
  %0 = fhe.transpose %x [1, 2, 0] : !fhe.tensor<2x3x4>
  %1 = fhe.transpose %0 [1, 2, 0] : !fhe.tensor<3x4x2>
  // CHECK-DAG: fhe.reshape %arg0 : !fhe.tensor<2x3x4> -> !fhe.tensor<24>
  %2 = fhe.reshape %x : !fhe.tensor<2x3x4> -> !fhe.tensor<6x4>
  %3 = fhe.reshape %2 : !fhe.tensor<6x4> -> !fhe.tensor<24>
  // CHECK: return %{{.*}}, %{{.*}}, %arg0
  %4 = fhe.concat %x along 0 : !fhe.tensor<2x3x4>
  %5 = fhe.pad %4 {low = array<i64: 0, 0, 0>, high = array<i64: 0, 0, 0>} : !fhe.tensor<2x3x4>
  %6 = fhe.slice %5 {offsets = array<i64: 0, 0, 0>, sizes = array<i64: 2, 3, 4>, steps = array<i64: 1, 1, 1>} : !fhe.tensor<2x3x4>
  %7 = fhe.expand %6 : !fhe.tensor<2x3x4> -> !fhe.tensor<2x3x4>
  %8 = fhe.transpose %7 [0, 1, 2] : !fhe.tensor<2x3x4>
  return %1, %3, %8 : !fhe.tensor<4x2x3>, !fhe.tensor<24>, !fhe.tensor<2x3x4>
}

// -----

// CHECK-LABEL: @unit_dimensions
func.func @unit_dimensions(%x: !fhe.tensor<1x3x1>) -> (!fhe.tensor<3x1x1>, !fhe.tensor<1x3x1>) {
  // CHECK: fhe.reshape %arg0 : !fhe.tensor<1x3x1> -> !fhe.tensor<3x1x1>
  %0 = fhe.transpose %x [1, 0, 2] : !fhe.tensor<1x3x1>
  // CHECK: return %{{.*}}, %arg0
  %1 = fhe.reduce_sum %x over [0] keep_dims : !fhe.tensor<1x3x1>
  %2 = fhe.reduce_mean %1 over [2] keep_dims : !fhe.tensor<1x3x1>
  return %0, %2 : !fhe.tensor<3x1x1>, !fhe.tensor<1x3x1>
}

// -----

// CHECK-LABEL: @activations
func.func @activations(%x: !fhe.tensor<2>) -> (!fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>) {
  // CHECK: %[[R:.*]] = fhe.activation relu %arg0 : !fhe.tensor<2>
  %0 = fhe.activation relu %x : !fhe.tensor<2>
  %1 = fhe.activation relu %0 : !fhe.tensor<2>
  %2 = fhe.activation relu %x range [0.0, 4.0] : !fhe.tensor<2>
  %3 = fhe.activation clip %x range [0.0, 4.0] {parameters = array<f64: 0.0, 6.0>} : !fhe.tensor<2>
  // CHECK: return %[[R]], %arg0, %arg0
  return %1, %2, %3 : !fhe.tensor<2>, !fhe.tensor<2>, !fhe.tensor<2>
}

// -----

// CHECK-LABEL: @polynomial
func.func @polynomial(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: fhe.eval_poly chebyshev %arg0 [1.000000e+00, 2.000000e+00] on
  %0 = fhe.eval_poly chebyshev %x [1.0, 2.0, 0.0, 0.0] on [-1.0, 1.0] : !fhe.tensor<2>
  return %0 : !fhe.tensor<2>
}

// -----

// CHECK-LABEL: @conversions
func.func @conversions(%x: !fhe.tensor<2, [R:4, 0:2:1]>)
    -> (!fhe.tensor<2, [R:4, 0:2:1]>, !fhe.tensor<2, [0:2:1, G:4]>) {
  // CHECK: %[[C:.*]] = fhe.convert_layout %arg0 : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [0:2:1, G:4]>
  %0 = fhe.convert_layout %x : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [G:4, 0:2:1]>
  %1 = fhe.convert_layout %0 : !fhe.tensor<2, [G:4, 0:2:1]> -> !fhe.tensor<2, [R:4, 0:2:1]>
  %2 = fhe.convert_layout %0 : !fhe.tensor<2, [G:4, 0:2:1]> -> !fhe.tensor<2, [0:2:1, G:4]>
  // CHECK: return %arg0, %[[C]]
  return %1, %2 : !fhe.tensor<2, [R:4, 0:2:1]>, !fhe.tensor<2, [0:2:1, G:4]>
}
