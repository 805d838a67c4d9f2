// A hand-written program on polynomials: key switching by hand, a base conversion and its way back, a loop over a table of
// automorphisms. Residues are the same at each level, bit for bit.

// RUN: ceria-opt %s --canonicalize --cse --verify-roundtrip -o %t.poly.mlir
// RUN: ceria interpret %s --random 4 -o %t.npz
// RUN: ceria interpret %t.poly.mlir --random 4 --expect %t.npz
// RUN: ceria-opt %s --poly-expand-keyswitch -o %t.expanded.mlir
// RUN: ceria interpret %t.expanded.mlir --random 4 --expect %t.npz
// RUN: ceria-opt %t.expanded.mlir --poly-to-kernel -o %t.kernel.mlir
// RUN: ceria interpret %t.kernel.mlir --random 4 --expect %t.npz
// RUN: ceria interpret %t.kernel.mlir --native --random 4 --expect %t.npz
// RUN: ceria interpret %s --native --random 4 --expect %t.npz

// What was given is what is used: results of one seed are not those of another.
// RUN: not ceria interpret %s --random 5 --expect %t.npz 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: error: 'result0' differs by

module attributes {ckks.params = #ckks.params<log_n = 6, q = [1073741441, 1073739649, 1073738753, 1073736449], p = [2147483137, 2147479937],
    levels = [q[0:2], q[0:3], q[0:4]], digit = 2, scale = 1073741824, secret = ternary, insecure>} {
poly.table galois @steps [5, 25, 125] : index
poly.table galois_key @keys [5, 25, 125] : tensor<2x2x!poly.rns<q[0:4]+p[0:2], eval>>
poly.table plaintext @mask [0, 1, 2] from @weights scale "S(2)" : !poly.rns<q[0:4], eval, period = 8>

func.func @main(%a: !poly.rns<q[0:4], eval>, %b: !poly.rns<q[0:4], eval>, %s: !poly.rns<q[0:4], eval, period = 16>)
    -> (!poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>, !poly.rns<q[0:3], coeff>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  %d:2 = poly.decompose %b : !poly.rns<q[0:4], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[2:4], eval>
  %u0 = poly.mod_up %d#0 : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:4]+p[0:2], eval>
  // The second digit is raised step by step.
  %c = poly.intt %d#1 : !poly.rns<q[2:4], eval>
  %others = poly.bconv %c : !poly.rns<q[2:4], coeff> -> !poly.rns<q[0:2]+p[0:2], coeff>
  %raised = poly.ntt %others : !poly.rns<q[0:2]+p[0:2], coeff>
  %u1 = poly.concat_limbs %d#1, %raised : !poly.rns<q[2:4], eval>, !poly.rns<q[0:2]+p[0:2], eval>
  %u = tensor.from_elements %u0, %u1 : tensor<2x!poly.rns<q[0:4]+p[0:2], eval>>
  %z = poly.zero : !poly.rns<q[0:4], eval>
  %sum:2 = scf.for %i = %zero to %three step %one iter_args(%p = %z, %r = %z)
      -> (!poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>) {
    %g = poly.at @steps[%i] : index
    %key = poly.at @keys[%i] : tensor<2x2x!poly.rns<q[0:4]+p[0:2], eval>>
    %mask = poly.at @mask[%i] : !poly.rns<q[0:4], eval, period = 8>
    %v = poly.automorphism %u, %g : tensor<2x!poly.rns<q[0:4]+p[0:2], eval>>
    %x:2 = poly.inner_product %v, %key : tensor<2x!poly.rns<q[0:4]+p[0:2], eval>>, tensor<2x2x!poly.rns<q[0:4]+p[0:2], eval>>
    %y0 = poly.mod_down %x#0 : !poly.rns<q[0:4]+p[0:2], eval> -> !poly.rns<q[0:4], eval>
    %y1 = poly.mod_down %x#1 : !poly.rns<q[0:4]+p[0:2], eval> -> !poly.rns<q[0:4], eval>
    %a0 = poly.automorphism %a, %g : !poly.rns<q[0:4], eval>
    %y2 = poly.add %a0, %y0 : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>
    %n0 = poly.mac %p, %y2, %mask : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval, period = 8>
    %n1 = poly.mac %r, %y1, %mask : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval, period = 8>
    scf.yield %n0, %n1 : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>
  }
  %m = poly.mul %sum#0, %s : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval, period = 16>
  %l = poly.rescale %m : !poly.rns<q[0:4], eval> -> !poly.rns<q[0:3], eval>
  %w = poly.intt %l : !poly.rns<q[0:3], eval>
  return %sum#0, %sum#1, %w : !poly.rns<q[0:4], eval>, !poly.rns<q[0:4], eval>, !poly.rns<q[0:3], coeff>
}
}
