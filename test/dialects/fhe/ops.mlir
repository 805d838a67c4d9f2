// RUN: ceria-opt %s | ceria-opt | FileCheck %s
// RUN: ceria-opt %s --mlir-print-op-generic | ceria-opt | FileCheck %s

// CHECK: fhe.weights @w : tensor<2x3xf32> = dense<1.000000e+00> : tensor<2x3xf32>
fhe.weights @w : tensor<2x3xf32> = dense<1.0> : tensor<2x3xf32>
// CHECK: fhe.weights @file : tensor<4xf32> from "model.safetensors"["x.y"]
fhe.weights @file : tensor<4xf32> from "model.safetensors"["x.y"]

// CHECK-LABEL: func.func @elementwise
func.func @elementwise(%x: !fhe.tensor<4x8>, %y: !fhe.tensor<8>) -> !fhe.tensor<4x8> {
  %c = arith.constant dense<2.0> : tensor<1x8xf32>
  // CHECK: fhe.add %{{.*}}, %{{.*}} : !fhe.tensor<4x8>, !fhe.tensor<8>
  %0 = fhe.add %x, %y : !fhe.tensor<4x8>, !fhe.tensor<8>
  // CHECK: fhe.sub %{{.*}}, %{{.*}} : !fhe.tensor<4x8>, tensor<1x8xf32>
  %1 = fhe.sub %0, %c : !fhe.tensor<4x8>, tensor<1x8xf32>
  // CHECK: fhe.mul %{{.*}}, %{{.*}} : !fhe.tensor<4x8>, tensor<1x8xf32>
  %2 = fhe.mul %1, %c : !fhe.tensor<4x8>, tensor<1x8xf32>
  // CHECK: fhe.neg %{{.*}} : !fhe.tensor<4x8>
  %3 = fhe.neg %2 : !fhe.tensor<4x8>
  // CHECK: fhe.square %{{.*}} : !fhe.tensor<4x8>
  %4 = fhe.square %3 : !fhe.tensor<4x8>
  // CHECK: fhe.scale %{{.*}} by 2.500000e+00 : !fhe.tensor<4x8>
  %5 = fhe.scale %4 by 2.5 : !fhe.tensor<4x8>
  return %5 : !fhe.tensor<4x8>
}

// CHECK-LABEL: func.func @layers
func.func @layers(%x: !fhe.tensor<1x2x8x8>) -> !fhe.tensor<1x3> {
  %k = arith.constant dense<1.0> : tensor<4x1x3x3xf32>
  %s = arith.constant dense<1.0> : tensor<4xf32>
  // CHECK: fhe.conv2d %{{.*}}, %{{.*}} {{.*}}groups = 2 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 2>{{.*}} : !fhe.tensor<1x2x8x8>, tensor<4x1x3x3xf32>
  %0 = fhe.conv2d %x, %k {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, groups = 2}
     : !fhe.tensor<1x2x8x8>, tensor<4x1x3x3xf32>
  // CHECK: fhe.batch_norm %{{.*}} : !fhe.tensor<1x4x4x4>, tensor<4xf32>
  %1 = fhe.batch_norm %0, %s, %s, %s, %s {epsilon = 0.001} : !fhe.tensor<1x4x4x4>, tensor<4xf32>
  // CHECK: fhe.avg_pool %{{.*}} {{.*}}window = array<i64: 2, 2>{{.*}} : !fhe.tensor<1x4x4x4>
  %2 = fhe.avg_pool %1 {window = array<i64: 2, 2>, strides = array<i64: 2, 2>} : !fhe.tensor<1x4x4x4>
  // CHECK: fhe.reduce_mean %{{.*}} over [2, 3] : !fhe.tensor<1x4x2x2>
  %3 = fhe.reduce_mean %2 over [2, 3] : !fhe.tensor<1x4x2x2>
  // CHECK: fhe.slice %{{.*}} : !fhe.tensor<1x4>
  %4 = fhe.slice %3 {offsets = array<i64: 0, 3>, sizes = array<i64: 1, 2>, steps = array<i64: 1, -2>} : !fhe.tensor<1x4>
  %w = fhe.get_weights @w : tensor<2x3xf32>
  // CHECK: fhe.matmul %{{.*}}, %{{.*}} : !fhe.tensor<1x2>, tensor<2x3xf32>
  %5 = fhe.matmul %4, %w : !fhe.tensor<1x2>, tensor<2x3xf32>
  return %5 : !fhe.tensor<1x3>
}

// CHECK-LABEL: func.func @shapes
func.func @shapes(%x: !fhe.tensor<4x8>) -> !fhe.tensor<scalar> {
  // CHECK: fhe.matmul %{{.*}}, %{{.*}} transpose_lhs transpose_rhs : !fhe.tensor<4x8>, !fhe.tensor<8x4>
  %t = fhe.transpose %x [1, 0] : !fhe.tensor<4x8>
  %m = fhe.matmul %x, %t transpose_lhs transpose_rhs : !fhe.tensor<4x8>, !fhe.tensor<8x4>
  // CHECK: fhe.reshape %{{.*}} : !fhe.tensor<4x8> -> !fhe.tensor<2x16>
  %0 = fhe.reshape %x : !fhe.tensor<4x8> -> !fhe.tensor<2x16>
  // CHECK: fhe.concat %{{.*}}, %{{.*}} along 0 : !fhe.tensor<2x16>, !fhe.tensor<2x16>
  %1 = fhe.concat %0, %0 along 0 : !fhe.tensor<2x16>, !fhe.tensor<2x16>
  // CHECK: fhe.pad %{{.*}} : !fhe.tensor<4x16>
  %2 = fhe.pad %1 {low = array<i64: 1, 0>, high = array<i64: 0, 2>, value = 1.5} : !fhe.tensor<4x16>
  // CHECK: fhe.reduce_sum %{{.*}} over [0] keep_dims : !fhe.tensor<5x18>
  %3 = fhe.reduce_sum %2 over [0] keep_dims : !fhe.tensor<5x18>
  // CHECK: fhe.expand %{{.*}} : !fhe.tensor<1x18> -> !fhe.tensor<3x18>
  %4 = fhe.expand %3 : !fhe.tensor<1x18> -> !fhe.tensor<3x18>
  // CHECK: fhe.reduce_sum %{{.*}} over [0, 1] : !fhe.tensor<3x18>
  %5 = fhe.reduce_sum %4 over [0, 1] : !fhe.tensor<3x18>
  // CHECK: return %{{.*}} : !fhe.tensor<scalar>
  return %5 : !fhe.tensor<scalar>
}

// CHECK-LABEL: func.func @nonlinear
func.func @nonlinear(%x: !fhe.tensor<2>) -> !fhe.tensor<2> {
  // CHECK: fhe.activation relu %{{.*}} : !fhe.tensor<2>
  %0 = fhe.activation relu %x : !fhe.tensor<2>
  // CHECK: fhe.activation clip %{{.*}} range [0.000000e+00, 9.000000e+00] {parameters = array<f64: 0.000000e+00, 6.000000e+00>} : !fhe.tensor<2>
  %1 = fhe.activation clip %0 range [0.0, 9.0] {parameters = array<f64: 0.0, 6.0>} : !fhe.tensor<2>
  // CHECK: fhe.pow %{{.*}} to 3 : !fhe.tensor<2>
  %2 = fhe.pow %1 to 3 : !fhe.tensor<2>
  // CHECK: fhe.eval_poly chebyshev %{{.*}} [5.000000e-01, 2.500000e-01] on [-4.000000e+00, 4.000000e+00] : !fhe.tensor<2>
  %3 = fhe.eval_poly chebyshev %2 [0.5, 0.25] on [-4.0, 4.0] : !fhe.tensor<2>
  return %3 : !fhe.tensor<2>
}

// CHECK-LABEL: func.func @layouts
// CHECK-SAME: !fhe.tensor<2, [R:4, 0:2:1]>
func.func @layouts(%x: !fhe.tensor<2, [R:4, 0:2:1]>) -> !fhe.tensor<2, [G:4, 0:2:1]> {
  // CHECK: fhe.linear %{{.*}} by "{{.*}}" [] : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [R:4, 0:2:1]>
  %0 = fhe.linear %x by "{\22input\22:[2],\22weights\22:[],\22steps\22:[{\22step\22:\22factor\22,\22factor\22:2.0}]}" []
     : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [R:4, 0:2:1]>
  // CHECK: fhe.convert_layout %{{.*}} : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [G:4, 0:2:1]>
  %1 = fhe.convert_layout %0 : !fhe.tensor<2, [R:4, 0:2:1]> -> !fhe.tensor<2, [G:4, 0:2:1]>
  return %1 : !fhe.tensor<2, [G:4, 0:2:1]>
}
