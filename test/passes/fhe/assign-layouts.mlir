// RUN: ceria-opt %s --pass-pipeline='builtin.module(fhe-assign-layouts{slots=16})' | FileCheck %s

fhe.weights @w : tensor<2x3xf32> = dense<1.0> : tensor<2x3xf32>

// CHECK-LABEL: @dense
// CHECK-SAME: %arg0: !fhe.tensor<1x2, [[IN:\[.*\]]]>) -> !fhe.tensor<1x3, [[OUT:\[.*\]]]>
func.func @dense(%x: !fhe.tensor<1x2>) -> !fhe.tensor<1x3> {
  // CHECK: fhe.linear %arg0 {{.*}} : !fhe.tensor<1x2, [[IN]]> -> !fhe.tensor<1x3, [[OUT]]>
  %0 = fhe.linear %x by "{\22input\22:[1,2],\22weights\22:[[2,3]],\22steps\22:[{\22step\22:\22mat_mul\22,\22weight\22:0}]}" [@w]
     : !fhe.tensor<1x2> -> !fhe.tensor<1x3>
  // CHECK: fhe.square %{{.*}} : !fhe.tensor<1x3, [[OUT]]>
  %1 = fhe.square %0 : !fhe.tensor<1x3>
  // CHECK: return %{{.*}} : !fhe.tensor<1x3, [[OUT]]>
  return %1 : !fhe.tensor<1x3>
}

// A layout that an argument has stays.
// CHECK-LABEL: @prescribed
// CHECK-SAME: %arg0: !fhe.tensor<4, [0:4:1, G:4]>
func.func @prescribed(%x: !fhe.tensor<4, [0:4:1, G:4]>) -> !fhe.tensor<4, [0:4:1, G:4]> {
  %0 = fhe.square %x : !fhe.tensor<4, [0:4:1, G:4]>
  return %0 : !fhe.tensor<4, [0:4:1, G:4]>
}
