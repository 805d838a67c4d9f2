// RUN: ceria-opt %s --canonicalize | FileCheck %s

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {

// Sums with zero, kernel.addm and kernel.subm; kernel.negm twice; products with one, kernel.mul_const; sums with the
// constant zero, kernel.add_const.
// CHECK-LABEL: kernel.func @identities
// CHECK-NEXT: %[[X:.*]] = kernel.load
// CHECK-NEXT: kernel.store %[[X]]
// CHECK-NEXT: }
kernel.func @identities moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  %zero = kernel.splat [0, 0]
  %0 = kernel.addm %x, %zero
  %1 = kernel.addm %zero, %0
  %2 = kernel.subm %1, %zero
  %3 = kernel.negm %2
  %4 = kernel.negm %3
  %5 = kernel.mul_const %4 [1, 1]
  %6 = kernel.add_const %5 [0, 0]
  kernel.store %6, %b : !kernel.buf<2x16>
}

// CHECK-LABEL: kernel.func @scaled_transform
// CHECK: kernel.intt %{{.*}} scale [12, 35]
// CHECK-NOT: kernel.mul_const
kernel.func @scaled_transform moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  %0 = kernel.intt %x
  %1 = kernel.mul_const %0 [3, 5]
  %2 = kernel.mul_const %1 [4, 7]
  kernel.store %2, %b : !kernel.buf<2x16>
}

// CHECK-LABEL: func.func @host
// CHECK-SAME: (%[[A:[a-z0-9]+]]: !kernel.buf<2x16>
// CHECK-NEXT: kernel.launch @identities(%[[A]],
// CHECK-NEXT: return
func.func @host(%a: !kernel.buf<2x16>, %o: !kernel.buf<2x16> {kernel.output}) {
  // kernel.copy to itself and kernel.subview of everything.
  kernel.copy %a, %a : !kernel.buf<2x16>
  %v = kernel.subview %a[] : !kernel.buf<2x16> -> !kernel.buf<2x16>
  kernel.launch @identities(%v, %o) : !kernel.buf<2x16>, !kernel.buf<2x16>
  return
}
}
