// RUN: ceria-opt %s --ckks-lazy-relin --ckks-place-rescale --ckks-infer-levels --split-input-file | FileCheck %s
// RUN: ceria-opt %s --ckks-lazy-relin --ckks-place-rescale --ckks-infer-levels --ckks-infer-levels --split-input-file | FileCheck %s

// A matrix, a square, a matrix: three levels, every scale canonical, nothing adjusted.
ckks.matrix @fc1 {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>], values = [array<f64: 2.0>]}
ckks.vector @b1 {parts = 1, values = [array<f64: 1.0>]}

// CHECK-LABEL: @mlp
// CHECK-SAME: (%[[X:.*]]: {{.*}}<3, S(3)>) -> {{.*}}<0, S(0)>
func.func @mlp(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK-NEXT: %[[A:.*]] = ckks.linear_transform @fc1(%[[X]]) at <S(3)> : (!ckks.ct<3, S(3)>) -> {{.*}}<3, S(2)*D(3)>
  %0 = ckks.linear_transform @fc1(%x) : (!ckks.ct<?>) -> !ckks.ct<?>
  // CHECK-NEXT: %[[P:.*]] = ckks.encode @b1[0] : {{.*}}<3, S(2)*D(3)>
  %b = ckks.encode @b1[0] : !ckks.pt<?>
  // CHECK-NEXT: %[[B:.*]] = ckks.add_plain %[[A]], %[[P]]
  %1 = ckks.add_plain %0, %b : !ckks.ct<?>, !ckks.pt<?>
  // CHECK-NEXT: %[[C:.*]] = ckks.rescale %[[B]] : {{.*}}<3, S(2)*D(3)>
  // CHECK-NEXT: %[[D:.*]] = ckks.square %[[C]] : {{.*}}<2, S(2)>
  // CHECK-NEXT: %[[E:.*]] = ckks.relinearize %[[D]] : {{.*}}<2, S(1)*D(2), 3>
  // CHECK-NEXT: %[[F:.*]] = ckks.rescale %[[E]]
  %2 = ckks.square %1 : !ckks.ct<?>
  // CHECK-NEXT: %[[G:.*]] = ckks.linear_transform @fc1(%[[F]]) at <S(1)> : (!ckks.ct<1, S(1)>) -> {{.*}}<1, S(0)*D(1)>
  %3 = ckks.linear_transform @fc1(%2) : (!ckks.ct<?, 3>) -> !ckks.ct<?>
  // CHECK-NEXT: %[[H:.*]] = ckks.rescale %[[G]]
  // CHECK-NEXT: return %[[H]] : {{.*}}<0, S(0)>
  return %3 : !ckks.ct<?>
}

// -----

// A constant makes up for a level that is skipped, and its scale makes the sum exact: no adjustment.
// CHECK-LABEL: @constant_makes_up
// CHECK-SAME: (%[[X:.*]]: {{.*}}<2, S(2)>)
func.func @constant_makes_up(%x: !ckks.ct<?>) -> !ckks.ct<?, 3> {
  // CHECK-NOT: ckks.adjust
  // CHECK: %[[L:.*]] = ckks.level_reduce %[[X]] : {{.*}}<2, S(2)>
  // CHECK: ckks.mul_const %[[L]], 5.000000e-01 at <S(2)*S(1)*D(2)**-1> : {{.*}}<1, S(2)>
  // CHECK: ckks.add %{{.*}}, %{{.*}} : {{.*}}<1, S(0)*D(1), 3>, {{.*}}<1, S(0)*D(1)>
  %0 = ckks.square %x : !ckks.ct<?>
  %1 = ckks.mul_const %0, 0.25 : !ckks.ct<?, 3>
  %2 = ckks.mul_const %x, 0.5 : !ckks.ct<?>
  %3 = ckks.add %1, %2 : !ckks.ct<?, 3>, !ckks.ct<?>
  return %3 : !ckks.ct<?, 3>
}

// -----

// A summand from above joins an unrescaled product by one multiplication with 1.
// CHECK-LABEL: @join_by_one
// CHECK-SAME: (%[[X:.*]]: {{.*}}<1, S(1)>)
func.func @join_by_one(%x: !ckks.ct<?>) -> !ckks.ct<?, 3> {
  // CHECK: %[[S:.*]] = ckks.square %[[X]]
  // CHECK: %[[ONE:.*]] = ckks.mul_const %[[X]], 1.000000e+00 at <S(1)> : {{.*}}<1, S(1)>
  // CHECK: %[[T:.*]] = ckks.add %[[S]], %[[ONE]] : {{.*}}<1, S(0)*D(1), 3>, {{.*}}<1, S(0)*D(1)>
  // CHECK: %[[L:.*]] = ckks.relinearize %[[T]]
  // CHECK: ckks.rescale %[[L]]
  %0 = ckks.square %x : !ckks.ct<?>
  %1 = ckks.add %0, %x : !ckks.ct<?, 3>, !ckks.ct<?>
  return %1 : !ckks.ct<?, 3>
}

// -----

// Two ciphertexts of different depth meet in a product whose result has to be canonical: one is adjusted.
// CHECK-LABEL: @adjusted
// CHECK-SAME: (%[[X:.*]]: {{.*}}<2, S(2)>)
func.func @adjusted(%x: !ckks.ct<?>) -> !ckks.ct<?, 3> {
  // CHECK: %[[A:.*]] = ckks.adjust %[[X]] : {{.*}}<2, S(2)> to {{.*}}<1, S(1)>
  // CHECK: ckks.mul %{{.*}}, %[[A]] : {{.*}}<1, S(1)>, {{.*}}<1, S(1)>
  %0 = ckks.square %x : !ckks.ct<?>
  %1 = ckks.mul %0, %x : !ckks.ct<?, 3>, !ckks.ct<?>
  return %1 : !ckks.ct<?, 3>
}

// -----

// A loop that uses no level, and a function called in it.
// CHECK-LABEL: @fold
// CHECK-SAME: (%{{.*}}: {{.*}}<0, S(0)>) -> {{.*}}<0, S(0)>
func.func private @fold(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = ckks.rotate %x {step = 1} : !ckks.ct<?>
  %1 = ckks.add %x, %0 : !ckks.ct<?>, !ckks.ct<?>
  return %1 : !ckks.ct<?>
}
// CHECK-LABEL: @loop
// CHECK-SAME: (%{{.*}}: {{.*}}<1, S(1)>) -> {{.*}}<0, S(0)>
func.func @loop(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  // CHECK: %[[R:.*]] = ckks.rescale
  // CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[R]]) -> (!ckks.ct<0, S(0)>)
  // CHECK: func.call @fold(%{{.*}}) : (!ckks.ct<0, S(0)>) -> {{.*}}<0, S(0)>
  %0 = ckks.mul_const %x, 0.5 : !ckks.ct<?>
  %1 = scf.for %i = %c0 to %c4 step %c1 iter_args(%a = %0) -> !ckks.ct<?> {
    %2 = func.call @fold(%a) : (!ckks.ct<?>) -> !ckks.ct<?>
    scf.yield %2 : !ckks.ct<?>
  }
  return %1 : !ckks.ct<?>
}
