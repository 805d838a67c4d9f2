// RUN: ceria-opt %s --ckks-to-poly --cse --split-input-file --verify-diagnostics | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353, 449], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

// CHECK-DAG: poly.table galois @galois_elements_1 [5, 25] : index
// CHECK-DAG: poly.table galois_key @galois_keys_1 [5, 25] : tensor<1x2x!poly.rns<q[0:2]+p[0:2], eval>>
// CHECK-DAG: poly.table relin_key @relin_key_1 [] : tensor<1x2x!poly.rns<q[0:2]+p[0:2], eval>>

// CHECK-LABEL: func.func @sum
// CHECK-SAME: (%[[A0:.*]]: !poly.rns<q[0:2], eval>, %[[A1:.*]]: !poly.rns<q[0:2], eval>)
// CHECK-SAME: -> (!poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>)
// CHECK-NEXT: %[[S0:.*]] = poly.add %[[A0]], %[[A0]]
// CHECK-NEXT: %[[S1:.*]] = poly.add %[[A1]], %[[A1]]
// CHECK-NEXT: return %[[S0]], %[[S1]]
func.func @sum(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
  %y = ckks.add %x, %x : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %y : !ckks.ct<1, S(1)>
}

// Rotations of one ciphertext share their mod-up.
// CHECK-LABEL: func.func @hoisted
// CHECK: poly.decompose
// CHECK-COUNT-1: poly.mod_up
// CHECK-NOT: poly.mod_up
// CHECK-COUNT-2: poly.inner_product
// CHECK-COUNT-2: poly.mod_down
func.func @hoisted(%x: !ckks.ct<1, S(1)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {
  %y = ckks.rotate %x {step = 1} : !ckks.ct<1, S(1)>
  %z = ckks.rotate %x {step = 2} : !ckks.ct<1, S(1)>
  return %y, %z : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
}

// CHECK-LABEL: func.func @relinearize
// CHECK: poly.at @relin_key_1
// CHECK: poly.inner_product
// CHECK: poly.scale_up %arg0
// CHECK: poly.rescale
func.func @relinearize(%x: !ckks.ct<1, S(0)*D(1), 3>) -> !ckks.ct<0, S(0)> {
  %y = ckks.relinearize %x : !ckks.ct<1, S(0)*D(1), 3>
  %z = ckks.rescale %y : !ckks.ct<1, S(0)*D(1)>
  return %z : !ckks.ct<0, S(0)>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353, 449], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {

// Entries are sorted by output and giant step; missing diagonals have none.
// CHECK-DAG: poly.table diagonals @m_diagonals [0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 3, 2] from @m scale "S(1)" : !poly.rns<q[0:2]+p[0:2], eval, period = 4>
// CHECK-DAG: poly.table index @m_choice [0, 0, 1] : index
// CHECK-DAG: poly.table index @m_giant_0_starts [1] : index
// CHECK-DAG: poly.table index @m_giant_0_ends [3] : index
ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 2, split = array<i64: 2, 0>, diagonals = [array<i64: 0, 2, 3>],
                values = [array<f64: 1.0, 2.0>, array<f64: 1.0, 2.0>, array<f64: 1.0, 2.0>]}

// CHECK-LABEL: func.func @transform
// CHECK: tensor.empty() : tensor<2x2x!poly.rns<q[0:2]+p[0:2], eval>>
// CHECK: scf.for
// CHECK: poly.inner_product
// CHECK: %[[S:.*]]:2 = poly.weighted_sum %{{.*}}, @m_diagonals[%{{.*}} to %{{.*}}] by @m_choice
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[S]]#0, %{{.*}} = %[[S]]#1)
// CHECK: poly.weighted_sum
// CHECK: poly.mod_down
// CHECK: poly.mod_up
// CHECK: poly.inner_product
// CHECK: scf.yield
// CHECK-COUNT-2: poly.mod_down
func.func @transform(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)> {
  %y = ckks.linear_transform @m(%x) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
  return %y : !ckks.ct<1, S(0)*D(1)>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353, 449], levels = [q[0:1], q[0:2], q[0:3]],
    digit = 2, scale = 64, secret = ternary, insecure>} {
func.func @adjust(%x: !ckks.ct<2, S(2)>) -> !ckks.ct<1, S(1)> {
  // expected-error @+1 {{failed to legalize operation 'ckks.adjust'}}
  %y = ckks.adjust %x : !ckks.ct<2, S(2)> to !ckks.ct<1, S(1)>
  return %y : !ckks.ct<1, S(1)>
}
}
