// RUN: ceria-opt %s --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: @identities
// CHECK-NEXT: return %{{ct}}, %{{ct}}, %{{ct}}, %{{ct}}, %{{ct}}, %{{ct}}, %{{ct}}, %{{ct}}
func.func @identities(%x: !ckks.ct<3, S(3)>) -> (!ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>) {
  %0 = ckks.add_const %x, 0.0 : !ckks.ct<3, S(3)>
  %1 = ckks.mul_int %x, 1 : !ckks.ct<3, S(3)>
  %2 = ckks.negate %x : !ckks.ct<3, S(3)>
  %3 = ckks.negate %2 : !ckks.ct<3, S(3)>
  %4 = ckks.conjugate %x : !ckks.ct<3, S(3)>
  %5 = ckks.conjugate %4 : !ckks.ct<3, S(3)>
  %6 = ckks.relinearize %x : !ckks.ct<3, S(3)>
  %7 = ckks.level_reduce %x {by = 0} : !ckks.ct<3, S(3)>
  %8 = ckks.rotate %x {step = 0} : !ckks.ct<3, S(3)>
  %9 = ckks.adjust %x : !ckks.ct<3, S(3)> to !ckks.ct<3, S(3)>
  return %0, %1, %3, %5, %6, %7, %8, %9 : !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>
}

// -----

// CHECK-LABEL: @negations
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?>, %[[Y:.*]]: {{.*}}<?>)
func.func @negations(%x: !ckks.ct<?>, %y: !ckks.ct<?>) -> (!ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>) {
  %nx = ckks.negate %x : !ckks.ct<?>
  %ny = ckks.negate %y : !ckks.ct<?>
  // CHECK-DAG: %[[A:.*]] = ckks.sub %[[X]], %[[Y]]
  %a = ckks.add %x, %ny : !ckks.ct<?>, !ckks.ct<?>
  // CHECK-DAG: %[[B:.*]] = ckks.sub %[[Y]], %[[X]]
  %b = ckks.add %nx, %y : !ckks.ct<?>, !ckks.ct<?>
  // CHECK-DAG: %[[C:.*]] = ckks.add %[[X]], %[[Y]]
  %c = ckks.sub %x, %ny : !ckks.ct<?>, !ckks.ct<?>
  // CHECK-DAG: %[[D:.*]] = ckks.negate %[[X]]
  %d = ckks.mul_int %x, -1 : !ckks.ct<?>
  // CHECK: return %[[A]], %[[B]], %[[C]], %[[D]]
  return %a, %b, %c, %d : !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>
}

// -----

// CHECK-LABEL: @sums_are_rescaled_once
// CHECK-SAME: (%[[X:.*]]: {{.*}}<3, S(2)*D(3)>, %[[Y:.*]]: {{.*}}<3, S(2)*D(3)>)
func.func @sums_are_rescaled_once(%x: !ckks.ct<3, S(2)*D(3)>, %y: !ckks.ct<3, S(2)*D(3)>) -> !ckks.ct<2, S(2)> {
  // CHECK-NEXT: %[[S:.*]] = ckks.add %[[X]], %[[Y]]
  // CHECK-NEXT: %[[R:.*]] = ckks.rescale %[[S]]
  // CHECK-NEXT: return %[[R]]
  %0 = ckks.rescale %x : !ckks.ct<3, S(2)*D(3)>
  %1 = ckks.rescale %y : !ckks.ct<3, S(2)*D(3)>
  %2 = ckks.add %0, %1 : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
  return %2 : !ckks.ct<2, S(2)>
}

// -----

// CHECK-LABEL: @sums_are_relinearized_once
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?, 3>, %[[Y:.*]]: {{.*}}<?, 3>)
func.func @sums_are_relinearized_once(%x: !ckks.ct<?, 3>, %y: !ckks.ct<?, 3>) -> !ckks.ct<?> {
  // CHECK-NEXT: %[[S:.*]] = ckks.sub %[[X]], %[[Y]]
  // CHECK-NEXT: %[[R:.*]] = ckks.relinearize %[[S]]
  // CHECK-NEXT: return %[[R]]
  %0 = ckks.relinearize %x : !ckks.ct<?, 3>
  %1 = ckks.relinearize %y : !ckks.ct<?, 3>
  %2 = ckks.sub %0, %1 : !ckks.ct<?>, !ckks.ct<?>
  return %2 : !ckks.ct<?>
}

// -----

// CHECK-LABEL: @constants
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?>)
func.func @constants(%x: !ckks.ct<?>) -> (!ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?, 3>) {
  // CHECK-DAG: %[[A:.*]] = ckks.add_const %[[X]], 1.500000e+00
  %0 = ckks.add_const %x, 0.5 : !ckks.ct<?>
  %a = ckks.add_const %0, 1.0 : !ckks.ct<?>
  // CHECK-DAG: %[[B:.*]] = ckks.mul_const %[[X]], 1.250000e-01
  %1 = ckks.mul_const %x, 0.5 : !ckks.ct<?>
  %b = ckks.mul_const %1, 0.25 : !ckks.ct<?>
  // CHECK-DAG: %[[C:.*]] = ckks.mul_int %[[X]], 6
  %2 = ckks.mul_int %x, 2 : !ckks.ct<?>
  %c = ckks.mul_int %2, 3 : !ckks.ct<?>
  // An integer constant costs no level.
  // CHECK-DAG: %[[D:.*]] = ckks.mul_int %[[X]], 4
  %d = ckks.mul_const %x, 4.0 : !ckks.ct<?>
  // CHECK-DAG: %[[E:.*]] = ckks.square %[[X]]
  %e = ckks.mul %x, %x : !ckks.ct<?>, !ckks.ct<?>
  // CHECK: return %[[A]], %[[B]], %[[C]], %[[D]], %[[E]]
  return %a, %b, %c, %d, %e : !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?, 3>
}

// -----

// CHECK-LABEL: @levels
// CHECK-SAME: (%[[X:.*]]: {{.*}}<5, S(5)>, %[[Y:.*]]: {{.*}}<5, S(3)*D(5)*D(4)>)
func.func @levels(%x: !ckks.ct<5, S(5)>, %y: !ckks.ct<5, S(3)*D(5)*D(4)>) -> (!ckks.ct<2, S(5)>, !ckks.ct<3, S(3)>, !ckks.ct<1, S(1)>, !ckks.ct<3, S(5)>) {
  // CHECK-DAG: %[[A:.*]] = ckks.level_reduce %[[X]] {by = 3 : i64}
  %0 = ckks.level_reduce %x : !ckks.ct<5, S(5)>
  %a = ckks.level_reduce %0 {by = 2} : !ckks.ct<4, S(5)>
  // CHECK-DAG: %[[B:.*]] = ckks.rescale %[[Y]] {by = 2 : i64}
  %1 = ckks.rescale %y : !ckks.ct<5, S(3)*D(5)*D(4)>
  %b = ckks.rescale %1 : !ckks.ct<4, S(3)*D(4)>
  // CHECK-DAG: %[[C:.*]] = ckks.adjust %[[X]] : {{.*}}<5, S(5)> to {{.*}}<1, S(1)>
  %2 = ckks.adjust %x : !ckks.ct<5, S(5)> to !ckks.ct<3, S(3)>
  %c = ckks.adjust %2 : !ckks.ct<3, S(3)> to !ckks.ct<1, S(1)>
  // A rotation runs on as few limbs as it can.
  // CHECK-DAG: %[[R:.*]] = ckks.level_reduce %[[X]] {by = 2 : i64}
  // CHECK-DAG: %[[D:.*]] = ckks.rotate %[[R]] {step = 7 : i64} : {{.*}}<3, S(5)>
  %3 = ckks.rotate %x {step = 7} : !ckks.ct<5, S(5)>
  %d = ckks.level_reduce %3 {by = 2} : !ckks.ct<5, S(5)>
  // CHECK: return %[[A]], %[[B]], %[[C]], %[[D]]
  return %a, %b, %c, %d : !ckks.ct<2, S(5)>, !ckks.ct<3, S(3)>, !ckks.ct<1, S(1)>, !ckks.ct<3, S(5)>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // CHECK-LABEL: @rotations
  // CHECK-SAME: (%[[X:.*]]: {{.*}}<1, S(1)>)
  func.func @rotations(%x: !ckks.ct<1, S(1)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {
    // CHECK-DAG: %[[A:.*]] = ckks.rotate %[[X]] {step = 5 : i64}
    %0 = ckks.rotate %x {step = 2} : !ckks.ct<1, S(1)>
    %a = ckks.rotate %0 {step = 3} : !ckks.ct<1, S(1)>
    // CHECK-DAG: %[[B:.*]] = ckks.rotate %[[X]] {step = 7 : i64}
    %b = ckks.rotate %x {step = -1} : !ckks.ct<1, S(1)>
    %c = ckks.rotate %x {step = 8} : !ckks.ct<1, S(1)>
    // CHECK: return %[[A]], %[[B]], %[[X]]
    return %a, %b, %c : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  }
}

// -----

// CHECK-LABEL: @hoisted
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?>)
func.func @hoisted(%x: !ckks.ct<?>) -> (!ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>) {
  // CHECK: %[[A:.*]], %[[C:.*]] = ckks.hoisted_rotate %[[X]] [1, 3]
  %a:4 = ckks.hoisted_rotate %x [1, 2, 3, 0] : !ckks.ct<?>
  // CHECK: %[[B:.*]] = ckks.rotate %[[X]] {step = 5 : i64}
  %b:2 = ckks.hoisted_rotate %x [4, 5] : !ckks.ct<?>
  // CHECK: return %[[A]], %[[C]], %[[X]], %[[B]]
  return %a#0, %a#2, %a#3, %b#1 : !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>, !ckks.ct<?>
}

// -----

// CHECK-LABEL: @polynomials
// CHECK-SAME: (%[[X:.*]]: {{.*}}<?>)
func.func @polynomials(%x: !ckks.ct<?>) -> (!ckks.ct<?>, !ckks.ct<?>) {
  // CHECK-DAG: ckks.eval_poly %[[X]] [5.000000e-01, 2.500000e-01, 1.250000e-01] :
  %a = ckks.eval_poly %x [0.5, 0.25, 0.125, 0.0] : !ckks.ct<?>
  // CHECK-DAG: %[[M:.*]] = ckks.mul_const %[[X]], 2.500000e-01
  // CHECK-DAG: ckks.add_const %[[M]], 5.000000e-01
  %b = ckks.eval_poly %x [0.5, 0.25] : !ckks.ct<?>
  return %a, %b : !ckks.ct<?>, !ckks.ct<?>
}

// -----

// Sums commute, so that equal ones are merged.
// CHECK-LABEL: @dead
// CHECK-NEXT: return
func.func @dead(%x: !ckks.ct<?>, %y: !ckks.ct<?>) {
  %0 = ckks.add %x, %y : !ckks.ct<?>, !ckks.ct<?>
  %1 = ckks.mul %x, %y : !ckks.ct<?>, !ckks.ct<?>
  return
}

// -----

// CHECK-LABEL: @imaginary
// CHECK-SAME: (%[[X:.*]]: {{.*}})
func.func @imaginary(%x: !ckks.ct<3, S(3)>) -> (!ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>) {
  // CHECK-NEXT: %[[N:.*]] = ckks.negate %[[X]]
  %0 = ckks.mul_i %x : !ckks.ct<3, S(3)>
  %1 = ckks.mul_i %0 : !ckks.ct<3, S(3)>
  %2 = ckks.set_scale %x : !ckks.ct<3, S(3)> to !ckks.ct<3, S(3)>
  // CHECK-NEXT: return %[[N]], %[[X]]
  return %1, %2 : !ckks.ct<3, S(3)>, !ckks.ct<3, S(3)>
}
