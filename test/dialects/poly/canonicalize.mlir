// RUN: ceria-opt %s --canonicalize --split-input-file | FileCheck %s

!r = !poly.rns<q[0:2], eval>
!c = !poly.rns<q[0:2], coeff>

// CHECK-LABEL: @add_zero
// CHECK-NEXT: return %arg0, %arg0, %arg0
func.func @add_zero(%x: !r) -> (!r, !r, !r) {
  %zero = poly.zero : !r
  %0 = poly.add %x, %zero : !r, !r
  %1 = poly.add %zero, %x : !r, !r
  %2 = poly.sub %x, %zero : !r, !r
  return %0, %1, %2 : !r, !r, !r
}

// A sparse operand is not the result's type.
// CHECK-LABEL: @add_dense_zero
// CHECK: poly.add
func.func @add_dense_zero(%x: !poly.rns<q[0:2], eval, period = 4>) -> !r {
  %zero = poly.zero : !r
  %0 = poly.add %x, %zero : !poly.rns<q[0:2], eval, period = 4>, !r
  return %0 : !r
}

// CHECK-LABEL: @mul_zero
// CHECK-NEXT: %[[ZERO:.*]] = poly.zero
// CHECK-NEXT: return %[[ZERO]], %[[ZERO]]
func.func @mul_zero(%x: !r) -> (!r, !r) {
  %zero = poly.zero : !r
  %0 = poly.mul %x, %zero : !r, !r
  %1 = poly.mul %zero, %x : !r, !r
  return %0, %1 : !r, !r
}

// CHECK-LABEL: @neg_neg
// CHECK-NEXT: return %arg0
func.func @neg_neg(%x: !r) -> !r {
  %0 = poly.neg %x : !r
  %1 = poly.neg %0 : !r
  return %1 : !r
}

// CHECK-LABEL: @neutral_constants
// CHECK-NEXT: return %arg0, %arg0
func.func @neutral_constants(%x: !r) -> (!r, !r) {
  %0 = poly.mul_const %x [1, 1] : !r
  %1 = poly.add_const %x [0, 0] : !r
  return %0, %1 : !r, !r
}

// CHECK-LABEL: @transforms_cancel
// CHECK-NEXT: return %arg0, %arg1
func.func @transforms_cancel(%x: !r, %y: !c) -> (!r, !c) {
  %0 = poly.intt %x : !r
  %1 = poly.ntt %0 : !c
  %2 = poly.ntt %y : !c
  %3 = poly.intt %2 : !r
  return %1, %3 : !r, !c
}

// CHECK-LABEL: @identity_automorphism
// CHECK-NEXT: return %arg0
func.func @identity_automorphism(%x: !r) -> !r {
  %one = arith.constant 1 : index
  %0 = poly.automorphism %x, %one : !r
  return %0 : !r
}

// CHECK-LABEL: @limbs
// CHECK-NEXT: %[[E:.*]] = poly.extract_limbs %arg1 : <q[0:3], eval> -> <q[0:1], eval>
// CHECK-NEXT: return %arg0, %arg0, %[[E]]
func.func @limbs(%x: !r, %y: !poly.rns<q[0:3], eval>) -> (!r, !r, !poly.rns<q[0:1], eval>) {
  %0 = poly.extract_limbs %x : !r -> !r
  %1 = poly.concat_limbs %x : !r
  %2 = poly.extract_limbs %y : !poly.rns<q[0:3], eval> -> !r
  %3 = poly.extract_limbs %2 : !r -> !poly.rns<q[0:1], eval>
  return %0, %1, %3 : !r, !r, !poly.rns<q[0:1], eval>
}

// CHECK-LABEL: @mod_down_undoes_scale_up
// CHECK-NEXT: return %arg0, %arg0
func.func @mod_down_undoes_scale_up(%x: !r) -> (!r, !r) {
  %0 = poly.scale_up %x : !r -> !poly.rns<q[0:2]+p[0:1], eval>
  %1 = poly.mod_down %0 : !poly.rns<q[0:2]+p[0:1], eval> -> !r
  %2 = poly.mod_down %x : !r -> !r
  return %1, %2 : !r, !r
}

// -----

// Constants compose modulo the primes: 50 * 2 = 3 mod 97, 100 * 3 = 107 mod 193.
// CHECK-LABEL: @compose_constants
// CHECK-NEXT: %[[R:.*]] = poly.mul_const %arg0 [3, 107]
// CHECK-NEXT: return %[[R]]
module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @compose_constants(%x: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:2], eval> {
    %0 = poly.mul_const %x [50, 100] : !poly.rns<q[0:2], eval>
    %1 = poly.mul_const %0 [2, 3] : !poly.rns<q[0:2], eval>
    return %1 : !poly.rns<q[0:2], eval>
  }
}
