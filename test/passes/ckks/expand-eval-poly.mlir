// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-expand-eval-poly))' | FileCheck %s
// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-expand-eval-poly),ckks-lazy-relin,ckks-place-rescale,ckks-infer-levels)' | FileCheck %s --check-prefix=DEPTH

// CHECK-LABEL: @degree_2
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?>)
// DEPTH-LABEL: @degree_2
// DEPTH-SAME: {{.*}}<2, S(2)>) -> {{.*}}<0, S(0)>
func.func @degree_2(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK-NOT: ckks.eval_poly
  // CHECK: %[[SQUARE:.*]] = ckks.square %[[X]]
  // CHECK: %[[DOUBLE:.*]] = ckks.mul_int %[[SQUARE]], 2
  // CHECK: %[[T2:.*]] = ckks.add_const %[[DOUBLE]], -1.000000e+00
  // CHECK-DAG: ckks.mul_const %[[X]], 2.500000e-01
  // CHECK-DAG: ckks.mul_const %[[T2]], 1.250000e-01
  // CHECK: ckks.add_const %{{.*}}, 5.000000e-01
  // CHECK: return
  %0 = ckks.eval_poly %x [0.5, 0.25, 0.125] : !ckks.ct<?>
  return %0 : !ckks.ct<?>
}

// Degree 7 takes three levels and degree 15 takes four.

// DEPTH-LABEL: @degree_7
// DEPTH-SAME: {{.*}}<3, S(3)>) -> {{.*}}<0, S(0)>
// DEPTH-NOT: ckks.adjust
func.func @degree_7(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = ckks.eval_poly %x [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] : !ckks.ct<?>
  return %0 : !ckks.ct<?>
}

// DEPTH-LABEL: @degree_15
// DEPTH-SAME: {{.*}}<4, S(4)>) -> {{.*}}<0, S(0)>
// DEPTH-NOT: ckks.adjust
// DEPTH: return
func.func @degree_15(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = ckks.eval_poly %x [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] : !ckks.ct<?>
  return %0 : !ckks.ct<?>
}

// DEPTH-LABEL: @even_degree_30
// DEPTH-SAME: {{.*}}<5, S(5)>) -> {{.*}}<0, S(0)>
func.func @even_degree_30(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = ckks.eval_poly %x [0.1, 0.0, 0.3, 0.0, 0.5, 0.0, 0.7, 0.0, 0.1, 0.0, 0.3, 0.0, 0.5, 0.0, 0.7, 0.0,
                          0.1, 0.0, 0.3, 0.0, 0.5, 0.0, 0.7, 0.0, 0.1, 0.0, 0.3, 0.0, 0.5, 0.0, 0.7] : !ckks.ct<?>
  return %0 : !ckks.ct<?>
}
