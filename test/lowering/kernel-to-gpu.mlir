// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu | FileCheck %s
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu="ntt-single=3 ntt-split=2 ntt-words=2 ntt-threads=32" | FileCheck %s --check-prefix=SPLIT
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-nvvm | FileCheck %s --check-prefix=NVVM
// RUN: not ceria-opt %s --kernel-plan-memory --kernel-to-gpu="threads=48" 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: not ceria-opt %s --kernel-plan-memory --kernel-to-gpu="ntt-single=1 ntt-split=5" 2>&1 | FileCheck %s --check-prefix=UNSPLIT

// THREADS: threads must be a power of two
// UNSPLIT: has transforms of 64 words, for which ntt-split=5,ntt-single=1 leaves no schedule

module attributes {ckks.params = #ckks.params<log_n = 6, q = [1073741441, 1073739649], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {

// Words of buffers that the kernel does not store to are read four at once, as constant memory.
// Launches say which arguments a function takes and where its constants begin; kernels that do the same launch the same.
// CHECK: gpu.module @kernels attributes {ceria.constants = dense<
// CHECK-SAME: add = [{arguments = array<i32: 4, 0, 1, 2>, constants = 0 : i64, function = @words_0, grid = array<i32: 1, 2, 1>}]
// CHECK-SAME: swapped = [{arguments = array<i32: 4, 1, 2, 0>, constants = 0 : i64, function = @words_0, grid = array<i32: 1, 2, 1>}]
// CHECK-LABEL: gpu.func @words_0(
// CHECK-SAME: !llvm.ptr<1> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME: known_block_size = array<i32: 16, 1, 1>
// CHECK: llvm.load %{{.*}} invariant {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
// CHECK-COUNT-4: arith.minui
// CHECK: llvm.store %{{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
// CHECK-NOT: gpu.func @words_1
// NVVM: llvm.func @words_0
// NVVM-SAME: nvvm.kernel
// NVVM: nvvm.read.ptx.sreg.tid.x
kernel.func @add moduli<q[0:2]> (%a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>, %c: !kernel.buf<2x64>) {
  %x = kernel.load %a : !kernel.buf<2x64>
  %y = kernel.load %b : !kernel.buf<2x64>
  %z = kernel.addm %x, %y
  kernel.store %z, %c : !kernel.buf<2x64>
}

kernel.func @swapped moduli<q[0:2]> (%c: !kernel.buf<2x64>, %a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>) {
  %x = kernel.load %a : !kernel.buf<2x64>
  %y = kernel.load %b : !kernel.buf<2x64>
  %z = kernel.addm %x, %y
  kernel.store %z, %c : !kernel.buf<2x64>
}

// A small transform is one function, with the addition before it and the product after it.
// CHECK: llvm.mlir.global internal @shared_{{[0-9]+}}() {addr_space = 3 : i32
// CHECK-LABEL: gpu.func @ntt_0(
// CHECK: gpu.barrier
// CHECK-NOT: gpu.func @ntt_1
// SPLIT: transform = [{{.*}}function = @ntt_0, grid = array<i32: 1, 2, 1>}, {{.*}}function = @ntt_1
// SPLIT-LABEL: gpu.func @ntt_0(
// SPLIT-LABEL: gpu.func @ntt_1(
kernel.func @transform moduli<q[0:2]> (%a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>, %c: !kernel.buf<2x64>) {
  %x = kernel.load %a : !kernel.buf<2x64>
  %y = kernel.load %b : !kernel.buf<2x64>
  %z = kernel.addm %x, %y
  %t = kernel.ntt %z
  %u = kernel.mulm %t, %y
  kernel.store %u, %c : !kernel.buf<2x64>
}

// The table of a conversion is brought to shared memory; the result goes straight to the buffer.
// CHECK: llvm.mlir.global internal @shared_{{[0-9]+}}()
// CHECK-LABEL: gpu.func @convert_0(
// CHECK: llvm.store %{{.*}} : i32, !llvm.ptr<3>
// CHECK: gpu.barrier
// CHECK: llvm.load %{{.*}} : !llvm.ptr<3> -> vector<4xi32>
// CHECK-NOT: gpu.func @convert_1
kernel.func @convert moduli<p[0:1]> (%a: !kernel.buf<2x64>, %c: !kernel.buf<1x64>) {
  %x = kernel.bconv_tile %a from<q[0:2]> : !kernel.buf<2x64>
  kernel.store %x, %c : !kernel.buf<1x64>
}

// CHECK-LABEL: llvm.func @ceria_main_v2
func.func @main(%a: !kernel.buf<2x64>, %b: !kernel.buf<2x64>, %o: !kernel.buf<2x64> {kernel.output}) {
  kernel.launch @add(%a, %b, %o) : !kernel.buf<2x64>, !kernel.buf<2x64>, !kernel.buf<2x64>
  return
}
}
