// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-cpu | FileCheck %s
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-cpu="lanes=16" | FileCheck %s --check-prefix=WIDE

module attributes {ckks.params = #ckks.params<log_n = 5, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {

// Base conversion is a function that all kernels share.
// CHECK-LABEL: llvm.func internal @convert_32_1(

// Limb transforms are functions; the loop of @add is one over vectors.
// CHECK: llvm.func internal @kernel_add(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
// CHECK: scf.for
// CHECK: llvm.load %{{.*}} -> vector<16xi32>
// CHECK: arith.addi %{{.*}} : vector<16xi32>
// CHECK: arith.minui
// CHECK: llvm.store
// WIDE: llvm.load %{{.*}} -> vector<32xi32>
kernel.func @add moduli<q[0:2]> (%a: !kernel.buf<2x32>, %b: !kernel.buf<2x32>, %c: !kernel.buf<2x32>) {
  %x = kernel.load %a : !kernel.buf<2x32>
  %y = kernel.load %b : !kernel.buf<2x32>
  %z = kernel.addm %x, %y
  kernel.store %z, %c : !kernel.buf<2x32>
}

// The words of a vector come from one aligned block.
// CHECK-LABEL: llvm.func internal @kernel_rotate
// CHECK: %[[MASK:.*]] = arith.constant -8 : i64
// CHECK: %[[BLOCK:.*]] = arith.andi %{{.*}}, %[[MASK]] : i64
// CHECK: llvm.getelementptr %{{.*}}[%[[BLOCK]]]
// CHECK: %[[WORDS:.*]] = llvm.load %{{.*}} -> vector<8xi32>
// CHECK-COUNT-8: llvm.extractelement %[[WORDS]]
// WIDE-LABEL: llvm.func internal @kernel_rotate
// WIDE: arith.constant -16 : i64
kernel.func @rotate moduli<q[0:2]> (%a: !kernel.buf<2x32>, %p: !kernel.buf<32>, %c: !kernel.buf<2x32>) {
  %x = kernel.load_permuted %a by %p : !kernel.buf<2x32>, !kernel.buf<32>
  kernel.store %x, %c : !kernel.buf<2x32>
}

// CHECK-LABEL: llvm.func internal @kernel_convert
// CHECK: llvm.call @convert_32_1(
kernel.func @convert moduli<p[0:1]> (%a: !kernel.buf<2x32>, %c: !kernel.buf<1x32>) {
  %x = kernel.bconv_tile %a from<q[0:2]> : !kernel.buf<2x32>
  kernel.store %x, %c : !kernel.buf<1x32>
}

// CHECK-LABEL: llvm.func internal @host_main
// CHECK: llvm.mlir.addressof @kernel_add
// CHECK: llvm.call %{{.*}}(%{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, i64, i64) -> ()
// CHECK: llvm.intr.memcpy
// CHECK-LABEL: llvm.func @ceria_main_v2
func.func @main(%a: !kernel.buf<2x32>, %b: !kernel.buf<2x32>, %o: !kernel.buf<2x32> {kernel.output}) {
  %t = kernel.alloc : !kernel.buf<2x32>
  kernel.launch @add(%a, %b, %t) : !kernel.buf<2x32>, !kernel.buf<2x32>, !kernel.buf<2x32>
  kernel.copy %t, %o : !kernel.buf<2x32>
  return
}
}
