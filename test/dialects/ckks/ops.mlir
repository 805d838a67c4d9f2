// RUN: ceria-opt %s | ceria-opt | FileCheck %s
// RUN: ceria-opt %s --mlir-print-op-generic | ceria-opt | FileCheck %s

// CHECK: #params = #ckks.params<log_n = 4,
// CHECK: ckks.matrix @shift {{.*}}folds = array<i64: 2, 1>
ckks.matrix @shift {slots = 4, inputs = 1, outputs = 2, period = 1, split = array<i64: 2, 0>, folds = array<i64: 2, 1>,
                    diagonals = [array<i64: 0, 1>, array<i64: -1>],
                    values = [array<f64: 2.0>, array<f64: 1.0>, array<f64: 0.5>]}
// CHECK: ckks.matrix @dense
ckks.matrix @dense {slots = 4, inputs = 1, outputs = 1, period = 4,
    diagonals = [array<i64: 0, 1, 2, 3>], weights = [@w], factor = 0.5,
    linear = "{\"input\":[4],\"weights\":[[4,4]],\"steps\":[{\"step\":\"mat_mul\",\"weight\":0}]}",
    input_layout = #ckks.layout<[0:4:1]>, output_layout = #ckks.layout<[0:4:1]>}
fhe.weights @w : tensor<4x4xf32> = dense<0.5> : tensor<4x4xf32>
fhe.weights @b : tensor<4xf32> = dense<1.0> : tensor<4xf32>
// CHECK: ckks.vector @ones
ckks.vector @ones {parts = 1, values = [array<f64: 1.0>]}
// CHECK: ckks.vector @bias
ckks.vector @bias {parts = 1, weights = [@b], layout = #ckks.layout<[0:4:1]>}

// CHECK-LABEL: @sums
func.func @sums(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<5, S(5)>, %p: !ckks.pt<5, S(5)>) -> !ckks.ct<5, S(5)> {
  // CHECK: ckks.add %{{.*}}, %{{.*}} : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
  %0 = ckks.add %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
  // CHECK: ckks.sub
  %1 = ckks.sub %0, %b : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
  // CHECK: ckks.add_plain %{{.*}}, %{{.*}} : {{.*}}<5, S(5)>, {{.*}}<5, S(5)>
  %2 = ckks.add_plain %1, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(5)>
  // CHECK: ckks.sub_plain
  %3 = ckks.sub_plain %2, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(5)>
  // CHECK: ckks.add_const %{{.*}}, -1.000000e+00 : {{.*}}<5, S(5)>
  %4 = ckks.add_const %3, -1.0 : !ckks.ct<5, S(5)>
  // CHECK: ckks.negate
  %5 = ckks.negate %4 : !ckks.ct<5, S(5)>
  return %5 : !ckks.ct<5, S(5)>
}

// CHECK-LABEL: @products
func.func @products(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<5, S(5)>, %p: !ckks.pt<4, 2**30>) {
  // CHECK: %[[M:.*]] = ckks.mul %{{.*}}, %{{.*}} : {{.*}}<5, S(5)>, {{.*}}<5, S(5)>
  %0 = ckks.mul %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<5, S(5)>
  // CHECK: ckks.square
  %1 = ckks.square %a : !ckks.ct<5, S(5)>
  // CHECK: ckks.add %[[M]], %{{.*}} : {{.*}}<5, S(4)*D(5), 3>, {{.*}}<5, S(4)*D(5), 3>
  %2 = ckks.add %0, %1 : !ckks.ct<5, S(4)*D(5), 3>, !ckks.ct<5, S(4)*D(5), 3>
  // CHECK: ckks.relinearize %{{.*}} : {{.*}}<5, S(4)*D(5), 3>
  %3 = ckks.relinearize %2 : !ckks.ct<5, S(4)*D(5), 3>
  // CHECK: ckks.rescale %{{.*}} : {{.*}}<5, S(4)*D(5)>
  %4 = ckks.rescale %3 : !ckks.ct<5, S(4)*D(5)>
  // CHECK: ckks.mul_const %{{.*}}, 5.000000e-01 at <S(3)*D(4)> : {{.*}}<4, S(4)>
  %5 = ckks.mul_const %4, 0.5 at <S(3)*D(4)> : !ckks.ct<4, S(4)>
  // CHECK: ckks.mul_int %{{.*}}, 2 : {{.*}}<4, S(4)*S(3)*D(4)>
  %6 = ckks.mul_int %5, 2 : !ckks.ct<4, S(4)*S(3)*D(4)>
  // CHECK: ckks.mul_plain %{{.*}}, %{{.*}} : {{.*}}<4, S(4)>, {{.*}}<4, 2**30>
  %7 = ckks.mul_plain %4, %p : !ckks.ct<4, S(4)>, !ckks.pt<4, 2**30>
  // CHECK: ckks.rescale %{{.*}} {by = 2 : i64} : {{.*}}<4, S(4)*2**30>
  %8 = ckks.rescale %7 {by = 2} : !ckks.ct<4, S(4)*2**30>
  // CHECK: ckks.level_reduce %{{.*}} {by = 3 : i64} : {{.*}}<4, S(4)>
  %9 = ckks.level_reduce %4 {by = 3} : !ckks.ct<4, S(4)>
  // CHECK: ckks.adjust %{{.*}} : {{.*}}<4, S(4)> to {{.*}}<3, S(3)>
  %10 = ckks.adjust %4 : !ckks.ct<4, S(4)> to !ckks.ct<3, S(3)>
  return
}

// CHECK-LABEL: @slots
func.func @slots(%a: !ckks.ct<5, S(5)>) {
  // CHECK: ckks.rotate %{{.*}} {step = 3 : i64} : {{.*}}<5, S(5)>
  %0 = ckks.rotate %a {step = 3} : !ckks.ct<5, S(5)>
  // CHECK: ckks.conjugate
  %1 = ckks.conjugate %0 : !ckks.ct<5, S(5)>
  // CHECK: ckks.hoisted_rotate %{{.*}} [1, 2] : {{.*}}<5, S(5)>
  %2:2 = ckks.hoisted_rotate %1 [1, 2] : !ckks.ct<5, S(5)>
  // CHECK: ckks.linear_transform @shift(%{{.*}}) at <S(5)> : (!ckks.ct<5, S(5)>) -> (!ckks.ct<5, S(4)*D(5)>, {{.*}}<5, S(4)*D(5)>)
  %3:2 = ckks.linear_transform @shift(%a) at <S(5)>
    : (!ckks.ct<5, S(5)>) -> (!ckks.ct<5, S(4)*D(5)>, !ckks.ct<5, S(4)*D(5)>)
  // CHECK: ckks.encode @ones[0] : {{.*}}<5, S(5)>
  %4 = ckks.encode @ones[0] : !ckks.pt<5, S(5)>
  return
}

// CHECK-LABEL: @unplaced
func.func @unplaced(%a: !ckks.ct<?>) {
  // CHECK: ckks.eval_poly %{{.*}} [5.000000e-01, 2.500000e-01, 1.250000e-01] : {{.*}}<?>
  %0 = ckks.eval_poly %a [0.5, 0.25, 0.125] : !ckks.ct<?>
  // CHECK: ckks.mul_const %{{.*}}, 5.000000e-01 : {{.*}}<?>
  %1 = ckks.mul_const %0, 0.5 : !ckks.ct<?>
  // CHECK: ckks.square %{{.*}} : {{.*}}<?>
  %2 = ckks.square %1 : !ckks.ct<?>
  // CHECK: ckks.relinearize %{{.*}} : {{.*}}<?, 3>
  %3 = ckks.relinearize %2 : !ckks.ct<?, 3>
  // Products have three components until relinearisations are placed, and are used as they are.
  // CHECK: ckks.rotate %{{.*}} {step = 1 : i64} : {{.*}}<?, 3>
  %6 = ckks.rotate %2 {step = 1} : !ckks.ct<?, 3>
  // CHECK: ckks.mul %{{.*}}, %{{.*}} : {{.*}}<?, 3>, {{.*}}<?>
  %7 = ckks.mul %2, %6 : !ckks.ct<?, 3>, !ckks.ct<?>
  // CHECK: ckks.encode @ones[0] : {{.*}}<?>
  %4 = ckks.encode @ones[0] : !ckks.pt<?>
  // CHECK: ckks.add_plain %{{.*}}, %{{.*}} : {{.*}}<?>, {{.*}}<?>
  %5 = ckks.add_plain %3, %4 : !ckks.ct<?>, !ckks.pt<?>
  return
}

// Scales are written in canonical form: S(4)*S(4) is S(3)*D(4).
// CHECK-LABEL: @canonical_scale
// CHECK-SAME: {{.*}}<4, S(3)*D(4)>
func.func private @canonical_scale(!ckks.ct<4, S(4)*S(4)>)

// Names of values come from their types.
// CHECK-LABEL: @names
// CHECK-SAME: %[[CT:ct]]: {{.*}}<1, S(1)>
// CHECK: %[[CT]]_0 = ckks.negate %[[CT]]
func.func @names(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
  %y = ckks.negate %x : !ckks.ct<1, S(1)>
  return %y : !ckks.ct<1, S(1)>
}

// Ciphertexts go through control flow and calls.
// CHECK-LABEL: @control
func.func @control(%x: !ckks.ct<1, S(1)>, %n: index, %c: i1) -> !ckks.ct<1, S(1)> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // CHECK: scf.for
  %y = scf.for %i = %zero to %n step %one iter_args(%acc = %x) -> !ckks.ct<1, S(1)> {
    %r = func.call @names(%acc) : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)>
    scf.yield %r : !ckks.ct<1, S(1)>
  }
  // CHECK: arith.select
  %z = arith.select %c, %x, %y : !ckks.ct<1, S(1)>
  return %z : !ckks.ct<1, S(1)>
}

// CHECK-LABEL: @bootstrapping
func.func @bootstrapping(%x: !ckks.ct<0, S(0)>, %u: !ckks.ct<?>) {
  // CHECK: ckks.bootstrap %{{.*}} {slots = 4 : i64, target_level = 1 : i64, variant = "stc-first"} : {{.*}}<0, S(0)> to {{.*}}<1, S(1)>
  %0 = ckks.bootstrap %x {target_level = 1, slots = 4, variant = "stc-first"} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
  // CHECK: ckks.bootstrap %{{.*}} {target_level = 1 : i64} : {{.*}}<?> to {{.*}}<?>
  %1 = ckks.bootstrap %u {target_level = 1} : !ckks.ct<?> to !ckks.ct<?>
  // CHECK: ckks.switch_secret sparse %{{.*}} : {{.*}}<0, S(0)>
  %2 = ckks.switch_secret sparse %x : !ckks.ct<0, S(0)>
  // CHECK: ckks.mod_raise %{{.*}} : {{.*}}<0, S(0)> to {{.*}}<1, Q0>
  %3 = ckks.mod_raise %2 : !ckks.ct<0, S(0)> to !ckks.ct<1, Q0>
  // CHECK: ckks.switch_secret dense %{{.*}} : {{.*}}<1, Q0>
  %4 = ckks.switch_secret dense %3 : !ckks.ct<1, Q0>
  // CHECK: ckks.mul_i %{{.*}} : {{.*}}<1, Q0>
  %5 = ckks.mul_i %4 : !ckks.ct<1, Q0>
  // CHECK: ckks.set_scale %{{.*}} : {{.*}}<1, Q0> to {{.*}}<1, E(1)>
  %6 = ckks.set_scale %5 : !ckks.ct<1, Q0> to !ckks.ct<1, E(1)>
  return
}

// A part of the canonical embedding: its diagonals follow from the stages.
// CHECK: ckks.matrix @part {{.*}}fourier = "to_slots 0:1"
ckks.matrix @part {slots = 8, inputs = 1, outputs = 1, period = 2, diagonals = [array<i64: -1, 0, 1>], fourier = "to_slots 0:1", factor = 0.5}

// CHECK: module attributes {ckks.params = #params}
module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
}
