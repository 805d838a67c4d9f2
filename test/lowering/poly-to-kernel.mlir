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
func.func @unexpanded(%a: !poly.rns<q[0:2]+p[0:1], eval>) -> !poly.rns<q[0:2], eval> {
  // expected-error @+1 {{'poly.mod_down' op cannot be lowered to kernels (expand key switching first)}}
  %0 = poly.mod_down %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
  return %0 : !poly.rns<q[0:2], eval>
}
}
