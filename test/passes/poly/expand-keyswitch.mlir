// RUN: ceria-opt %s --poly-expand-keyswitch | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

// The factors of a conversion from one prime are 1 and are left out.
// CHECK-LABEL: func.func @mod_down
// CHECK-DAG: %[[K:.*]] = poly.extract_limbs %arg0 : <q[0:2]+p[0:1], eval> -> <q[0:2], eval>
// CHECK-DAG: %[[R:.*]] = poly.extract_limbs %arg0 : <q[0:2]+p[0:1], eval> -> <p[0:1], eval>
// CHECK: %[[I:.*]] = poly.intt %[[R]]
// CHECK-NEXT: %[[B:.*]] = poly.bconv prescaled %[[I]] : <p[0:1], coeff> -> <q[0:2], coeff>
// CHECK-NEXT: %[[N:.*]] = poly.ntt %[[B]]
// CHECK-NEXT: %[[S:.*]] = poly.sub %[[K]], %[[N]]
// CHECK-NEXT: %[[M:.*]] = poly.mul_const %[[S]]
// CHECK-NEXT: return %[[M]]
func.func @mod_down(%a: !poly.rns<q[0:2]+p[0:1], eval>) -> !poly.rns<q[0:2], eval> {
  %b = poly.mod_down %a : !poly.rns<q[0:2]+p[0:1], eval> -> !poly.rns<q[0:2], eval>
  return %b : !poly.rns<q[0:2], eval>
}

// CHECK-LABEL: func.func @decompose_and_raise
// CHECK: %[[D:.*]] = poly.extract_limbs %arg0 : <q[0:3], eval> -> <q[0:2], eval>
// CHECK: %[[I:.*]] = poly.intt %[[D]]
// CHECK-NEXT: %[[F:.*]] = poly.mul_const %[[I]]
// CHECK-NEXT: %[[B:.*]] = poly.bconv prescaled %[[F]] : <q[0:2], coeff> -> <q[2:3]+p[0:1], coeff>
// CHECK-NEXT: %[[N:.*]] = poly.ntt %[[B]]
// CHECK-NEXT: poly.concat_limbs %[[D]], %[[N]]
func.func @decompose_and_raise(%a: !poly.rns<q[0:3], eval>) -> !poly.rns<q[0:3]+p[0:1], eval> {
  %d:2 = poly.decompose %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:3], eval>
  %u = poly.mod_up %d#0 : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:3]+p[0:1], eval>
  return %u : !poly.rns<q[0:3]+p[0:1], eval>
}

// A rescale that restores a prime multiplies by it first.
// CHECK-LABEL: func.func @restore
// CHECK: poly.scale_up %arg0 : <q[0:2], eval> -> <q[0:3], eval>
// CHECK-NOT: poly.rescale
func.func @restore(%a: !poly.rns<q[0:2], eval>) -> !poly.rns<q[0:1]+q[2:3], eval> {
  %b = poly.rescale %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:1]+q[2:3], eval>
  return %b : !poly.rns<q[0:1]+q[2:3], eval>
}
}
