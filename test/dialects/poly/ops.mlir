// RUN: ceria-opt %s | ceria-opt | FileCheck %s
// RUN: ceria-opt %s --mlir-print-op-generic | ceria-opt | FileCheck %s
// RUN: ceria-opt %s --verify-roundtrip -o /dev/null

// CHECK: poly.table galois @steps [5, 25, 125] : index
poly.table galois @steps [5, 25, 125] : index
// CHECK: poly.table index @choice [0, 1, 1, 0] : index
poly.table index @choice [0, 1, 1, 0] : index
// CHECK: poly.table galois_key @keys [5, 25] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
poly.table galois_key @keys [5, 25] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
// CHECK: poly.table relin_key @relin [] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
poly.table relin_key @relin [] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
// CHECK: poly.table sparse_key @to_sparse [] : tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
poly.table sparse_key @to_sparse [] : tensor<1x2x!poly.rns<q[0:2]+p[0:1], eval>>
// CHECK: poly.table dense_key @from_sparse [] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
poly.table dense_key @from_sparse [] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
// CHECK: poly.table monomial @unit [8] : !poly.rns<q[0:2], eval, period = 2>
poly.table monomial @unit [8] : !poly.rns<q[0:2], eval, period = 2>
// CHECK: poly.table plaintext @bias [0, 1] from @vector scale "S(1)" : !poly.rns<q[0:2], eval, period = 4>
poly.table plaintext @bias [0, 1] from @vector scale "S(1)" : !poly.rns<q[0:2], eval, period = 4>
// CHECK: poly.table diagonals @diagonals [0, 0, 0, 0, 0, 0, 9, 8] from @matrix scale "S(2)"
// CHECK-SAME: : !poly.rns<q[0:3]+p[0:2], eval>
poly.table diagonals @diagonals [0, 0, 0, 0, 0, 0, 9, 8] from @matrix scale "S(2)"
  : !poly.rns<q[0:3]+p[0:2], eval>

// CHECK-LABEL: @arithmetic
func.func @arithmetic(%a: !poly.rns<q[0:2], eval>, %b: !poly.rns<q[0:2], eval>,
                      %s: !poly.rns<q[0:2], eval, period = 16>) -> !poly.rns<q[0:2], eval> {
  // CHECK: poly.add %{{.*}}, %{{.*}} : <q[0:2], eval>, <q[0:2], eval>
  %0 = poly.add %a, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  // CHECK: poly.sub %{{.*}}, %{{.*}} : <q[0:2], eval>, <q[0:2], eval>
  %1 = poly.sub %0, %b : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  // CHECK: poly.mul %{{.*}}, %{{.*}} : <q[0:2], eval>, <q[0:2], eval, period = 16>
  %2 = poly.mul %1, %s : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval, period = 16>
  // CHECK: poly.neg %{{.*}} : <q[0:2], eval>
  %3 = poly.neg %2 : !poly.rns<q[0:2], eval>
  // CHECK: poly.mac %{{.*}}, %{{.*}}, %{{.*}} : <q[0:2], eval>, <q[0:2], eval>, <q[0:2], eval, period = 16>
  %4 = poly.mac %3, %a, %s
     : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval, period = 16>
  // CHECK: poly.mul_const %{{.*}} [3, 5] : <q[0:2], eval>
  %5 = poly.mul_const %4 [3, 5] : !poly.rns<q[0:2], eval>
  // CHECK: poly.add_const %{{.*}} [7, 0] : <q[0:2], eval>
  %6 = poly.add_const %5 [7, 0] : !poly.rns<q[0:2], eval>
  // CHECK: poly.zero : <q[0:2], eval>
  %7 = poly.zero : !poly.rns<q[0:2], eval>
  %8 = poly.add %6, %7 : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  return %8 : !poly.rns<q[0:2], eval>
}

// The sum of sparse polynomials is as sparse as the denser one.
// CHECK-LABEL: @sparse
func.func @sparse(%a: !poly.rns<q[0:1], eval, period = 4>, %b: !poly.rns<q[0:1], eval, period = 8>)
    -> !poly.rns<q[0:1], eval, period = 8> {
  %0 = poly.add %a, %b : !poly.rns<q[0:1], eval, period = 4>, !poly.rns<q[0:1], eval, period = 8>
  return %0 : !poly.rns<q[0:1], eval, period = 8>
}

// CHECK-LABEL: @forms
func.func @forms(%a: !poly.rns<q[0:2], coeff>, %i: index) -> !poly.rns<q[0:2], coeff> {
  // CHECK: poly.ntt %{{.*}} : <q[0:2], coeff>
  %0 = poly.ntt %a : !poly.rns<q[0:2], coeff>
  // CHECK: %[[G:.*]] = poly.at @steps[%{{.*}}] : index
  %g = poly.at @steps[%i] : index
  // CHECK: poly.automorphism %{{.*}}, %[[G]] : !poly.rns<q[0:2], eval>
  %1 = poly.automorphism %0, %g : !poly.rns<q[0:2], eval>
  // CHECK: poly.intt %{{.*}} : <q[0:2], eval>
  %2 = poly.intt %1 : !poly.rns<q[0:2], eval>
  return %2 : !poly.rns<q[0:2], coeff>
}

// CHECK-LABEL: @bases
func.func @bases(%a: !poly.rns<q[0:2], coeff>) -> !poly.rns<q[0:1], coeff> {
  // CHECK: poly.bconv %{{.*}} : <q[0:2], coeff> -> <p[0:2], coeff>
  %0 = poly.bconv %a : !poly.rns<q[0:2], coeff> -> !poly.rns<p[0:2], coeff>
  // CHECK: poly.bconv prescaled %{{.*}} : <p[0:2], coeff> -> <q[2:3], coeff>
  %1 = poly.bconv prescaled %0 : !poly.rns<p[0:2], coeff> -> !poly.rns<q[2:3], coeff>
  // CHECK: poly.concat_limbs %{{.*}}, %{{.*}}, %{{.*}} : !poly.rns<q[0:2], coeff>, !poly.rns<q[2:3], coeff>, !poly.rns<p[0:2], coeff>
  %2 = poly.concat_limbs %a, %1, %0
     : !poly.rns<q[0:2], coeff>, !poly.rns<q[2:3], coeff>, !poly.rns<p[0:2], coeff>
  // CHECK: poly.mod_down %{{.*}} : <q[0:3]+p[0:2], coeff> -> <q[0:3], coeff>
  %3 = poly.mod_down %2 : !poly.rns<q[0:3]+p[0:2], coeff> -> !poly.rns<q[0:3], coeff>
  // CHECK: poly.rescale %{{.*}} : <q[0:3], coeff> -> <q[0:2], coeff>
  %4 = poly.rescale %3 : !poly.rns<q[0:3], coeff> -> !poly.rns<q[0:2], coeff>
  // CHECK: poly.scale_up %{{.*}} : <q[0:2], coeff> -> <q[0:2]+p[0:1], coeff>
  %5 = poly.scale_up %4 : !poly.rns<q[0:2], coeff> -> !poly.rns<q[0:2]+p[0:1], coeff>
  // CHECK: poly.extract_limbs %{{.*}} : <q[0:2]+p[0:1], coeff> -> <q[0:1], coeff>
  %6 = poly.extract_limbs %5 : !poly.rns<q[0:2]+p[0:1], coeff> -> !poly.rns<q[0:1], coeff>
  return %6 : !poly.rns<q[0:1], coeff>
}

// CHECK-LABEL: @keyswitch
func.func @keyswitch(%a: !poly.rns<q[0:3], eval>) -> !poly.rns<q[0:3], eval> {
  %zero = arith.constant 0 : index
  // CHECK: poly.decompose %{{.*}} : <q[0:3], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:3], eval>
  %d:2 = poly.decompose %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:3], eval>
  // CHECK: poly.mod_up %{{.*}} : <q[0:2], eval> -> <q[0:3]+p[0:2], eval>
  %0 = poly.mod_up %d#0 : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:3]+p[0:2], eval>
  %1 = poly.mod_up %d#1 : !poly.rns<q[2:3], eval> -> !poly.rns<q[0:3]+p[0:2], eval>
  %digits = tensor.from_elements %0, %1 : tensor<2x!poly.rns<q[0:3]+p[0:2], eval>>
  // CHECK: poly.at @relin[%{{.*}}] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
  %key = poly.at @relin[%zero] : tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
  // CHECK: poly.inner_product %{{.*}}, %{{.*}} : tensor<2x!poly.rns<q[0:3]+p[0:2], eval>>, tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
  %u:2 = poly.inner_product %digits, %key
       : tensor<2x!poly.rns<q[0:3]+p[0:2], eval>>, tensor<2x2x!poly.rns<q[0:3]+p[0:2], eval>>
  %r = poly.mod_down %u#0 : !poly.rns<q[0:3]+p[0:2], eval> -> !poly.rns<q[0:3], eval>
  return %r : !poly.rns<q[0:3], eval>
}

// CHECK-LABEL: @inner_sum
func.func @inner_sum(%babies: tensor<8x2x!poly.rns<q[0:3]+p[0:2], eval>>, %lo: index, %hi: index)
    -> !poly.rns<q[0:3]+p[0:2], eval> {
  // CHECK: poly.weighted_sum %{{.*}}, @diagonals[%{{.*}} to %{{.*}}] by @choice : tensor<8x2x!poly.rns<q[0:3]+p[0:2], eval>>
  %v:2 = poly.weighted_sum %babies, @diagonals[%lo to %hi] by @choice
       : tensor<8x2x!poly.rns<q[0:3]+p[0:2], eval>>
  return %v#1 : !poly.rns<q[0:3]+p[0:2], eval>
}
