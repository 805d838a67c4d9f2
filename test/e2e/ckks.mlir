// A hand-written ciphertext program with rotations, a product and a linear transform, run at each level below on what a
// client encrypts.

// RUN: ceria-opt %s --canonicalize --cse --verify-roundtrip -o %t.ckks.mlir
// RUN: ceria interpret %s --random 2 -o %t.npz
// RUN: ceria interpret %t.ckks.mlir --random 2 --expect %t.npz --tolerance 1e-12
// RUN: ceria interpret %s --random 2 --noise --expect %t.npz --tolerance 1e-4
// RUN: not ceria interpret %s --random 2 --noise --expect %t.npz 2>&1 | FileCheck %s --check-prefix=NOISE
// NOISE: error: 'result0' differs by

// RUN: ceria-opt %t.ckks.mlir --ckks-to-poly --canonicalize --cse -o %t.poly.mlir
// RUN: ceria interpret %t.poly.mlir --client %s --random 2 --expect %t.npz --tolerance 1e-4
// RUN: ceria interpret %t.poly.mlir --native --client %s --random 2 --expect %t.npz --tolerance 1e-4
// RUN: ceria-opt %t.poly.mlir --poly-merge-mod-down --poly-expand-keyswitch --poly-to-kernel -o %t.kernel.mlir
// RUN: ceria interpret %t.kernel.mlir --client %s --random 2 --expect %t.npz --tolerance 1e-4
// RUN: ceria interpret %t.kernel.mlir --native --client %s --random 2 --expect %t.npz --tolerance 1e-4
// RUN: ceria interpret %s --native --random 2 --expect %t.npz --tolerance 1e-4

// The same polynomials at both levels and as code, when keys and ciphertexts are drawn: bit for bit.
// RUN: ceria interpret %t.poly.mlir --random 3 -o %t.words.npz
// RUN: ceria interpret %t.poly.mlir --native --random 3 --expect %t.words.npz
// RUN: ceria-opt %t.poly.mlir --poly-expand-keyswitch --poly-to-kernel -o %t.plain.mlir
// RUN: ceria interpret %t.plain.mlir --random 3 --expect %t.words.npz
// RUN: ceria interpret %t.plain.mlir --native --random 3 --expect %t.words.npz

module attributes {ckks.params = #ckks.params<log_n = 6, q = [1073741441, 1073739649, 1073738753, 1073736449], p = [2147483137, 2147479937],
    levels = [q[0:2], q[0:3], q[0:4]], digit = 2, scale = 1073741824, secret = ternary, insecure>} {
ckks.matrix @m {slots = 32, inputs = 1, outputs = 1, period = 4, split = array<i64: 2, 0>,
  diagonals = [array<i64: 0, 1, 3, 5>],
  values = [array<f64: 0.5, -0.25, 1.0, 0.125>, array<f64: 1.0, 0.0, -1.0, 0.5>,
            array<f64: 0.25, 0.25, 0.5, 0.75>, array<f64: -0.5, 0.5, 0.0, 1.0>]}
ckks.vector @b {parts = 1, values = [array<f64: 0.125, -0.5>]}

func.func @main(%x: !ckks.ct<2, S(2)>, %y: !ckks.ct<1, S(1)>) -> (!ckks.ct<0, S(0)>, !ckks.ct<1, S(1)>) {
  %0 = ckks.linear_transform @m(%x) at <S(2)> : (!ckks.ct<2, S(2)>) -> !ckks.ct<2, S(1)*D(2)>
  %1 = ckks.rescale %0 : !ckks.ct<2, S(1)*D(2)>
  %b = ckks.encode @b[0] : !ckks.pt<1, S(1)>
  %t = ckks.add_plain %1, %b : !ckks.ct<1, S(1)>, !ckks.pt<1, S(1)>
  %2 = ckks.mul %t, %y : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  %3 = ckks.relinearize %2 : !ckks.ct<1, S(0)*D(1), 3>
  %4 = ckks.rescale %3 : !ckks.ct<1, S(0)*D(1)>
  %5 = ckks.rotate %4 {step = 3} : !ckks.ct<0, S(0)>
  %6 = ckks.conjugate %t : !ckks.ct<1, S(1)>
  %7 = ckks.mul_const %6, 0.5 at <S(1)> : !ckks.ct<1, S(1)>
  %8 = ckks.rescale %7 : !ckks.ct<1, S(0)*D(1)>
  %9 = ckks.add %5, %8 : !ckks.ct<0, S(0)>, !ckks.ct<0, S(0)>
  %10:2 = ckks.hoisted_rotate %y [1, 2] : !ckks.ct<1, S(1)>
  %11 = ckks.sub %10#0, %10#1 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %9, %11 : !ckks.ct<0, S(0)>, !ckks.ct<1, S(1)>
}
}
