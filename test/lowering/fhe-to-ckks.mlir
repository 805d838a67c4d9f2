// RUN: ceria-opt %s --fhe-to-ckks | FileCheck %s

fhe.weights @w : tensor<4x4xf32> = dense<1.0> : tensor<4x4xf32>
fhe.weights @b : tensor<4xf32> = dense<1.0> : tensor<4xf32>

// CHECK-DAG: ckks.matrix @linear_0 {{.*}}weights = [@w]
// CHECK-DAG: ckks.vector @bias_vector_0 {{.*}}weights = [@b]

// CHECK-LABEL: func.func @dense
// CHECK-SAME: %[[X:.*]]: !ckks.ct<?> {ckks.input = 0 : i64, ckks.layout = #ckks.layout<[R:4, 0:4:1]>, ckks.name = "x", ckks.part = 0 : i64, ckks.shape = array<i64: 4>}
// CHECK-SAME: -> (!ckks.ct<?> {ckks.layout = #ckks.layout<[R:4, 0:4:1]>, ckks.name = "result0", ckks.output = 0 : i64
func.func @dense(%x: !fhe.tensor<4, [R:4, 0:4:1]> {fhe.name = "x"}) -> !fhe.tensor<4, [R:4, 0:4:1]> {
  // CHECK: %[[Y:.*]] = ckks.linear_transform @linear_0(%[[X]]) : (!ckks.ct<?>) -> !ckks.ct<?>
  // CHECK: %[[P:.*]] = ckks.encode @bias_vector_0[0]
  // CHECK: %[[Z:.*]] = ckks.add_plain %[[Y]], %[[P]]
  %0 = fhe.linear %x by "{\22input\22:[4],\22weights\22:[[4,4]],\22steps\22:[{\22step\22:\22mat_mul\22,\22weight\22:0}]}" [@w] bias @b
     : !fhe.tensor<4, [R:4, 0:4:1]> -> !fhe.tensor<4, [R:4, 0:4:1]>
  // CHECK: %[[Q:.*]] = ckks.square %[[Z]]
  // CHECK: %[[S:.*]] = ckks.relinearize %[[Q]]
  %1 = fhe.square %0 : !fhe.tensor<4, [R:4, 0:4:1]>
  // CHECK: %[[E:.*]] = ckks.eval_poly %[[S]] [5.000000e-01, 2.500000e-01]
  %2 = fhe.eval_poly chebyshev %1 [0.5, 0.25] on [-1.0, 1.0] : !fhe.tensor<4, [R:4, 0:4:1]>
  // CHECK: %[[N:.*]] = ckks.negate %[[E]]
  %3 = fhe.neg %2 : !fhe.tensor<4, [R:4, 0:4:1]>
  // CHECK: return %[[N]]
  return %3 : !fhe.tensor<4, [R:4, 0:4:1]>
}

// A tensor of two ciphertexts; a factor needs no matrix.
// CHECK-LABEL: func.func @parts
// CHECK-SAME: %[[X0:ct]]: !ckks.ct<?> {{.*}}ckks.part = 0{{.*}} %[[X1:ct_0]]: !ckks.ct<?> {{.*}}ckks.part = 1
func.func @parts(%x: !fhe.tensor<2x16, [0:2:1 | 1:16:1]>) -> !fhe.tensor<2x16, [0:2:1 | 1:16:1]> {
  // CHECK: %[[A:.*]] = ckks.mul_const %[[X0]], 3.000000e+00
  // CHECK: %[[B:.*]] = ckks.mul_const %[[X1]], 3.000000e+00
  %0 = fhe.linear %x by "{\22input\22:[2,16],\22weights\22:[],\22steps\22:[{\22step\22:\22factor\22,\22factor\22:3.0}]}" []
     : !fhe.tensor<2x16, [0:2:1 | 1:16:1]> -> !fhe.tensor<2x16, [0:2:1 | 1:16:1]>
  // CHECK: ckks.add %[[A]], %[[X0]]
  // CHECK: ckks.add %[[B]], %[[X1]]
  %1 = fhe.add %0, %x : !fhe.tensor<2x16, [0:2:1 | 1:16:1]>, !fhe.tensor<2x16, [0:2:1 | 1:16:1]>
  return %1 : !fhe.tensor<2x16, [0:2:1 | 1:16:1]>
}
