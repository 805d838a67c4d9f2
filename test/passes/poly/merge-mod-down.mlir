// RUN: ceria-opt %s --poly-merge-mod-down | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

// CHECK-LABEL: func.func @chain
// CHECK-NEXT: %[[D:.*]] = poly.mod_down %arg0 : <q[0:3]+p[0:1], eval> -> <q[0:2], eval>
// CHECK-NEXT: return %[[D]]
func.func @chain(%a: !poly.rns<q[0:3]+p[0:1], eval>) -> !poly.rns<q[0:2], eval> {
  %b = poly.mod_down %a : !poly.rns<q[0:3]+p[0:1], eval> -> !poly.rns<q[0:3], eval>
  %c = poly.rescale %b : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
  return %c : !poly.rns<q[0:2], eval>
}

// The other term moves to the larger basis.
// CHECK-LABEL: func.func @sum
// CHECK-NEXT: %[[U:.*]] = poly.scale_up %arg1 : <q[0:3], eval> -> <q[0:3]+p[0:1], eval>
// CHECK-NEXT: %[[S:.*]] = poly.add %arg0, %[[U]]
// CHECK-NEXT: poly.mod_down %[[S]] : <q[0:3]+p[0:1], eval> -> <q[0:2], eval>
func.func @sum(%a: !poly.rns<q[0:3]+p[0:1], eval>, %y: !poly.rns<q[0:3], eval>) -> !poly.rns<q[0:2], eval> {
  %b = poly.mod_down %a : !poly.rns<q[0:3]+p[0:1], eval> -> !poly.rns<q[0:3], eval>
  %s = poly.add %b, %y : !poly.rns<q[0:3], eval>, !poly.rns<q[0:3], eval>
  %c = poly.rescale %s : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
  return %c : !poly.rns<q[0:2], eval>
}

// A mod-down with another use stays.
// CHECK-LABEL: func.func @shared
// CHECK: poly.mod_down
// CHECK: poly.rescale
func.func @shared(%a: !poly.rns<q[0:3]+p[0:1], eval>) -> (!poly.rns<q[0:2], eval>, !poly.rns<q[0:3], eval>) {
  %b = poly.mod_down %a : !poly.rns<q[0:3]+p[0:1], eval> -> !poly.rns<q[0:3], eval>
  %c = poly.rescale %b : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
  return %c, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:3], eval>
}
}
