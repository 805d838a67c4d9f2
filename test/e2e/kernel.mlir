// Hand-written kernels: a product of limbs in coefficient form by way of transforms, and a base conversion. The
// interpreter runs them tile by tile; compiled code gives the same words.

// RUN: ceria-opt %s --canonicalize --cse --verify-roundtrip -o %t.kernel.mlir
// RUN: ceria interpret %s --random 6 -o %t.npz
// RUN: ceria interpret %t.kernel.mlir --random 6 --expect %t.npz
// RUN: ceria interpret %s --native --random 6 --expect %t.npz
// RUN: ceria-opt %s --kernel-plan-memory -o %t.planned.mlir
// RUN: ceria interpret %t.planned.mlir --random 6 --expect %t.npz
// RUN: ceria interpret %t.planned.mlir --native --random 6 --expect %t.npz

module attributes {ckks.params = #ckks.params<log_n = 6, q = [1073741441, 1073739649, 1073738753, 1073736449], p = [2147483137, 2147479937],
    levels = [q[0:2], q[0:3], q[0:4]], digit = 2, scale = 1073741824, secret = ternary, insecure>} {
kernel.table automorphism @maps [5, 25] : !kernel.buf<2x64>
kernel.table index @choice [1, 0, 1] : !kernel.buf<3>
kernel.table plaintext @weights [0, 1, 2] moduli<q[0:2]> from(@w) scale "S(0)" : !kernel.buf<3x2x16>

// c = ntt(a) * ntt(b)
kernel.func @product moduli<q[0:2]> (%a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>, %c: !kernel.buf<2x64>) {
  %0 = kernel.load %a : !kernel.buf<2x64>
  %1 = kernel.load %b : !kernel.buf<2x64>
  %2 = kernel.ntt %0
  %3 = kernel.ntt %1
  %4 = kernel.mulm %2, %3
  kernel.store %4, %c : !kernel.buf<2x64>
}

// d = sum of weights times chosen values, mapped
kernel.func @sum moduli<q[0:2]> (%v: !kernel.buf<2x1x2x64>, %w: !kernel.buf<3x2x16>, %c: !kernel.buf<3>,
                                 %d: !kernel.buf<2x64>) {
  %0 = kernel.weighted_sum %w, %v choice(%c : !kernel.buf<3>)
     : !kernel.buf<3x2x16>, !kernel.buf<2x1x2x64> -> !kernel.tile
  kernel.store %0, %d : !kernel.buf<2x64>
}

// Coefficients, a mapped copy, and the conversion to another prime.
kernel.func @back moduli<q[0:2]> (%a: !kernel.buf<2x64>, %g: !kernel.buf<64>, %b: !kernel.buf<2x64>, %c: !kernel.buf<2x64>) {
  %0 = kernel.load_permuted %a by %g : !kernel.buf<2x64>, !kernel.buf<64>
  %1 = kernel.intt %0 scale [3, 5]
  kernel.store %1, %b : !kernel.buf<2x64>
  %2 = kernel.load %a : !kernel.buf<2x64>
  %3 = kernel.splat [7, 11]
  %4 = kernel.macm %0, %2, %3
  kernel.store %4, %c : !kernel.buf<2x64>
}
kernel.func @convert moduli<p[0:1]> (%a: !kernel.buf<2x64>, %b: !kernel.buf<1x64>) {
  %0 = kernel.bconv_tile %a from<q[0:2]> : !kernel.buf<2x64>
  %1 = kernel.ntt %0
  kernel.store %1, %b : !kernel.buf<1x64>
}

func.func @main(%a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>, %v: !kernel.buf<2x1x2x64>,
                %r: !kernel.buf<2x64> {kernel.output}, %s: !kernel.buf<2x64> {kernel.output},
                %t: !kernel.buf<1x64> {kernel.output}) {
  %one = arith.constant 1 : index
  %maps = kernel.get_table @maps : !kernel.buf<2x64>
  %map = kernel.subview %maps[%one] : !kernel.buf<2x64> -> !kernel.buf<64>
  %choice = kernel.get_table @choice : !kernel.buf<3>
  %weights = kernel.get_table @weights : !kernel.buf<3x2x16>
  %c = kernel.alloc : !kernel.buf<2x64>
  kernel.launch @product(%a, %b, %c) : !kernel.buf<2x64>, !kernel.buf<2x64>, !kernel.buf<2x64>
  %d = kernel.alloc : !kernel.buf<2x64>
  kernel.launch @back(%c, %map, %d, %r) : !kernel.buf<2x64>, !kernel.buf<64>, !kernel.buf<2x64>, !kernel.buf<2x64>
  kernel.free %c : !kernel.buf<2x64>
  kernel.launch @convert(%d, %t) : !kernel.buf<2x64>, !kernel.buf<1x64>
  kernel.free %d : !kernel.buf<2x64>
  kernel.launch @sum(%v, %weights, %choice, %s) : !kernel.buf<2x1x2x64>, !kernel.buf<3x2x16>, !kernel.buf<3>, !kernel.buf<2x64>
  return
}
}
