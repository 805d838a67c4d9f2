// RUN: ceria-opt %s | ceria-opt | FileCheck %s
// RUN: ceria-opt %s --mlir-print-op-generic | ceria-opt | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {

// CHECK: kernel.table index @numbers [0, 3, 5] : {{(!kernel.buf)?}}<3>
kernel.table index @numbers [0, 3, 5] : !kernel.buf<3>
// CHECK: kernel.table automorphism @maps [5, 25] : {{(!kernel.buf)?}}<2x16>
kernel.table automorphism @maps [5, 25] : !kernel.buf<2x16>
// CHECK: kernel.table galois_key @keys [5, 25] moduli<q[0:2]+p[0:1]> : {{(!kernel.buf)?}}<2x2x2x3x16>
kernel.table galois_key @keys [5, 25] moduli<q[0:2]+p[0:1]> : !kernel.buf<2x2x2x3x16>
// CHECK: kernel.table relin_key @relin [] moduli<q[0:2]+p[0:1]> : {{(!kernel.buf)?}}<1x2x2x3x16>
kernel.table relin_key @relin [] moduli<q[0:2]+p[0:1]> : !kernel.buf<1x2x2x3x16>
// CHECK: kernel.table sparse_key @sparse [] moduli<q[0:1]+p[0:1]> : {{(!kernel.buf)?}}<1x1x2x2x16>
kernel.table sparse_key @sparse [] moduli<q[0:1]+p[0:1]> : !kernel.buf<1x1x2x2x16>
// CHECK: kernel.table dense_key @dense [] moduli<q[0:2]+p[0:1]> : {{(!kernel.buf)?}}<1x2x2x3x16>
kernel.table dense_key @dense [] moduli<q[0:2]+p[0:1]> : !kernel.buf<1x2x2x3x16>
// CHECK: kernel.table monomial @unit [8] moduli<q[0:2]> : {{(!kernel.buf)?}}<1x2x2>
kernel.table monomial @unit [8] moduli<q[0:2]> : !kernel.buf<1x2x2>
// CHECK: kernel.table plaintext @bias [0] moduli<q[0:2]> from(@b) scale "S(1)" : {{(!kernel.buf)?}}<1x2x8>
kernel.table plaintext @bias [0] moduli<q[0:2]> from(@b) scale "S(1)" : !kernel.buf<1x2x8>
// CHECK: kernel.table diagonals @matrix [0, 0, 1, 0] moduli<q[0:2]> from(@m) scale "S(1)" : {{(!kernel.buf)?}}<1x2x8>
kernel.table diagonals @matrix [0, 0, 1, 0] moduli<q[0:2]> from(@m) scale "S(1)" : !kernel.buf<1x2x8>

// CHECK-LABEL: kernel.func @arithmetic batch(2) moduli<q[0:2]> (%{{.*}}: !kernel.buf<2x2x16>, %{{.*}}: !kernel.buf<3x16>)
kernel.func @arithmetic batch(2) moduli<q[0:2]> (%a: !kernel.buf<2x2x16>, %b: !kernel.buf<3x16>) {
  // CHECK: %[[A:.*]] = kernel.load %{{.*}} : {{(!kernel.buf)?}}<2x2x16>
  %x = kernel.load %a : !kernel.buf<2x2x16>
  // CHECK: kernel.load %{{.*}} limbs [0, 2] : {{(!kernel.buf)?}}<3x16>
  %y = kernel.load %b limbs [0, 2] : !kernel.buf<3x16>
  // CHECK: kernel.splat [1, 2]
  %z = kernel.splat [1, 2]
  // CHECK: kernel.addm %[[A]], %{{.*}}
  %0 = kernel.addm %x, %y
  // CHECK: kernel.subm
  %1 = kernel.subm %0, %z
  // CHECK: kernel.mulm
  %2 = kernel.mulm %1, %y
  // CHECK: kernel.negm
  %3 = kernel.negm %2
  // CHECK: kernel.macm
  %4 = kernel.macm %3, %x, %y
  // CHECK: kernel.mul_const %{{.*}} [3, 5]
  %5 = kernel.mul_const %4 [3, 5]
  // CHECK: kernel.add_const %{{.*}} [7, 9]
  %6 = kernel.add_const %5 [7, 9]
  // CHECK: kernel.store %{{.*}}, %{{.*}} : {{(!kernel.buf)?}}<2x2x16>
  kernel.store %6, %a : !kernel.buf<2x2x16>
}

// CHECK-LABEL: kernel.func @limbs
kernel.func @limbs moduli<q[0:2]> (%a: !kernel.buf<2x16>, %p: !kernel.buf<16>, %s: !kernel.buf<2x4>, %c: !kernel.buf<3x16>) {
  // CHECK: kernel.load_permuted %{{.*}} by %{{.*}} : {{(!kernel.buf)?}}<2x16>, {{(!kernel.buf)?}}<16>
  %x = kernel.load_permuted %a by %p : !kernel.buf<2x16>, !kernel.buf<16>
  // CHECK: kernel.load_periodic %{{.*}} : {{(!kernel.buf)?}}<2x4>
  %y = kernel.load_periodic %s : !kernel.buf<2x4>
  %0 = kernel.mulm %x, %y
  // CHECK: kernel.intt %{{.*}} scale [3, 5]
  %1 = kernel.intt %0 scale [3, 5]
  // CHECK: kernel.ntt
  %2 = kernel.ntt %1
  // CHECK: kernel.bconv_tile %{{.*}} from<q[0:2]> : {{(!kernel.buf)?}}<2x16>
  %3 = kernel.bconv_tile %a from<q[0:2]> : !kernel.buf<2x16>
  %4 = kernel.addm %2, %3
  // CHECK: kernel.store %{{.*}}, %{{.*}} limbs [1, 2] : {{(!kernel.buf)?}}<3x16>
  kernel.store %4, %c limbs [1, 2] : !kernel.buf<3x16>
}

// CHECK-LABEL: kernel.func @sums
kernel.func @sums moduli<q[0:2]> (%w: !kernel.buf<4x2x8>, %v: !kernel.buf<3x2x2x16>, %lo: index, %hi: index,
                                  %c: !kernel.buf<4>, %r: !kernel.buf<2x16>, %t: !kernel.buf<2x16>) {
  // CHECK: kernel.weighted_sum %{{.*}}, %{{.*}} range(%{{.*}}, %{{.*}}) choice(%{{.*}} : {{(!kernel.buf)?}}<4>) : {{(!kernel.buf)?}}<4x2x8>, {{(!kernel.buf)?}}<3x2x2x16> -> !kernel.tile, !kernel.tile
  %0:2 = kernel.weighted_sum %w, %v range(%lo, %hi) choice(%c : !kernel.buf<4>)
       : !kernel.buf<4x2x8>, !kernel.buf<3x2x2x16> -> !kernel.tile, !kernel.tile
  kernel.store %0#0, %r : !kernel.buf<2x16>
  kernel.store %0#1, %t : !kernel.buf<2x16>
}

// CHECK-LABEL: kernel.func @inner_product
kernel.func @inner_product moduli<q[0:2]> (%d: !kernel.buf<2x2x16>, %k: !kernel.buf<2x2x3x16>, %p: !kernel.buf<16>,
                                           %r: !kernel.buf<2x16>, %t: !kernel.buf<2x16>) {
  // CHECK: kernel.weighted_sum %{{.*}}, %{{.*}} permutation(%{{.*}} : {{(!kernel.buf)?}}<16>) value_limbs [0, 2]
  %0:2 = kernel.weighted_sum %d, %k permutation(%p : !kernel.buf<16>) value_limbs [0, 2]
       : !kernel.buf<2x2x16>, !kernel.buf<2x2x3x16> -> !kernel.tile, !kernel.tile
  kernel.store %0#0, %r : !kernel.buf<2x16>
  kernel.store %0#1, %t : !kernel.buf<2x16>
}

// CHECK-LABEL: func.func @main
func.func @main(%a: !kernel.buf<2x2x16>, %o: !kernel.buf<3x16> {kernel.output}) {
  %c0 = arith.constant 0 : index
  // CHECK: kernel.alloc : {{(!kernel.buf)?}}<3x16>
  %b = kernel.alloc : !kernel.buf<3x16>
  // CHECK: kernel.alloc at 64 : {{(!kernel.buf)?}}<16>
  %placed = kernel.alloc at 64 : !kernel.buf<16>
  // CHECK: kernel.get_table @numbers : {{(!kernel.buf)?}}<3>
  %t = kernel.get_table @numbers : !kernel.buf<3>
  // CHECK: kernel.read %{{.*}}[%{{.*}}] : {{(!kernel.buf)?}}<3>
  %i = kernel.read %t[%c0] : !kernel.buf<3>
  // CHECK: kernel.subview %{{.*}}[%{{.*}}] : {{(!kernel.buf)?}}<2x2x16> -> {{(!kernel.buf)?}}<2x16>
  %part = kernel.subview %a[%i] : !kernel.buf<2x2x16> -> !kernel.buf<2x16>
  // CHECK: kernel.launch @arithmetic(%{{.*}}, %{{.*}}) : {{(!kernel.buf)?}}<2x2x16>, {{(!kernel.buf)?}}<3x16>
  kernel.launch @arithmetic(%a, %b) : !kernel.buf<2x2x16>, !kernel.buf<3x16>
  // CHECK: kernel.copy %{{.*}}, %{{.*}} : {{(!kernel.buf)?}}<3x16>
  kernel.copy %b, %o : !kernel.buf<3x16>
  // CHECK: kernel.free %{{.*}} : {{(!kernel.buf)?}}<3x16>
  kernel.free %b : !kernel.buf<3x16>
  return
}
}
