// RUN: ceria-opt %s --poly-to-kernel --split-input-file --verify-diagnostics | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

// CHECK: kernel.func @add_0 moduli<q[0:2]>
// CHECK-NEXT: %[[X:.*]] = kernel.load %{{.*}} : <2x16>
// CHECK-NEXT: %[[Y:.*]] = kernel.load %{{.*}} : <2x16>
// CHECK-NEXT: %[[Z:.*]] = kernel.addm %[[X]], %[[Y]]
// CHECK-NEXT: kernel.store %[[Z]]


// CHECK-LABEL: func.func @add
// CHECK-SAME: (%[[A:.*]]: !kernel.buf<2x16>, %[[B:.*]]: !kernel.buf<2x16>, %[[C:.*]]: !kernel.buf<2x16> {kernel.output})
// CHECK-NEXT: kernel.launch @add_0(%[[A]], %[[B]], %[[C]])
// CHECK-NEXT: return
func.func @add(%a: !poly.rns<q[0:2], eval>, %b: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:2], eval> {
  %c = poly.add %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  return %c : !poly.rns<q[0:2], eval>
}

// A mod-down is two kernels: the dropped limbs through the inverse NTT, the kept ones with everything else.
// CHECK-LABEL: func.func @mod_down
// CHECK: %[[T:.*]] = kernel.alloc : <1x16>
// CHECK-NEXT: kernel.launch @intt_{{[0-9]+}}(
// CHECK-NEXT: kernel.launch @bconv_ntt_add_scale_{{[0-9]+}}(
// CHECK-NEXT: kernel.free %[[T]]
func.func @mod_down(%a: !poly.rns<q[0:2]+p[0:1], eval>) -> !poly.rns<q[0:2], eval> {
  %0 = poly.extract_limbs %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
  %1 = poly.extract_limbs %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<p[0:1], eval>
  %2 = poly.intt %1 : !poly.rns<p[0:1], eval>
  %3 = poly.bconv prescaled %2 : !poly.rns<p[0:1], coeff> -> !poly.rns<q[0:2], coeff>
  %4 = poly.ntt %3 : !poly.rns<q[0:2], coeff>
  %5 = poly.sub %0, %4 : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  %6 = poly.mul_const %5 [7, 9] : !poly.rns<q[0:2], eval>
  return %6 : !poly.rns<q[0:2], eval>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

poly.table galois_key @keys [5, 25] : tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>

// Limbs are added to the image of an automorphism where it is loaded: it is not written in between.
// CHECK: kernel.func @scale_[[SCALE:[0-9]+]] moduli<q[0:2]+p[0:1]>
// CHECK-NEXT: %[[X:.*]] = kernel.load_permuted %{{.*}} by %{{.*}} limbs [0, 1, 0] : <2x16>, <16>
// CHECK-NEXT: %[[Y:.*]] = kernel.mul_const %[[X]] [62, 160, 0]
// CHECK-NEXT: kernel.store %[[Y]]

// The key of one rotation is read at a time, by one kernel for all of them.
// CHECK: kernel.func @switch_[[SWITCH:[0-9]+]] moduli<q[0:2]+p[0:1]>
// CHECK-COUNT-1: kernel.weighted_sum
// CHECK-NOT: kernel.weighted_sum

// CHECK-LABEL: func.func @scale_up
// CHECK-NOT: kernel.alloc
// CHECK: kernel.launch @scale_[[SCALE]](
// CHECK-NEXT: return
func.func @scale_up(%a: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:2]+p[0:1], eval> {
  %g = arith.constant 5 : index
  %0 = poly.automorphism %a, %g : !poly.rns<q[0:2], eval>
  %1 = poly.scale_up %0 : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:2]+p[0:1], eval>
  return %1 : !poly.rns<q[0:2]+p[0:1], eval>
}

// CHECK-LABEL: func.func @hoisted
// CHECK-COUNT-2: kernel.launch @switch_[[SWITCH]](
func.func @hoisted(%digits: tensor<1x!poly.rns<q[0:2]+p[0:1], eval>>)
    -> (!poly.rns<q[0:2]+p[0:1], eval>, !poly.rns<q[0:2]+p[0:1], eval>,
        !poly.rns<q[0:2]+p[0:1], eval>, !poly.rns<q[0:2]+p[0:1], eval>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %k0 = poly.at @keys[%c0] : tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
  %k1 = poly.at @keys[%c1] : tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
  %0:2 = poly.inner_product %digits, %k0 : tensor<1x!poly.rns<q[0:2]+p[0:1], eval>>, tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
  %1:2 = poly.inner_product %digits, %k1 : tensor<1x!poly.rns<q[0:2]+p[0:1], eval>>, tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
  return %0#0, %0#1, %1#0, %1#1 : !poly.rns<q[0:2]+p[0:1], eval>, !poly.rns<q[0:2]+p[0:1], eval>,
      !poly.rns<q[0:2]+p[0:1], eval>, !poly.rns<q[0:2]+p[0:1], eval>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {
func.func @unexpanded(%a: !poly.rns<q[0:2]+p[0:1], eval>) -> !poly.rns<q[0:2], eval> {
  // expected-error @+1 {{'poly.mod_down' op cannot be lowered to kernels (expand key switching first)}}
  %0 = poly.mod_down %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
  return %0 : !poly.rns<q[0:2], eval>
}
}
