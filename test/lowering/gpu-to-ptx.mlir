// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-ptx | FileCheck %s
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-ptx=arch=sm_90 | FileCheck %s --check-prefix=SM90
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-ptx=arch=sm_100 | FileCheck %s --check-prefix=SM100
// RUN: ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-ptx=arch=sm_120 | FileCheck %s --check-prefix=SM120
// RUN: not ceria-opt %s --kernel-plan-memory --kernel-to-gpu --gpu-to-ptx=arch=sm_10 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not ceria-opt %s --gpu-to-ptx 2>&1 | FileCheck %s --check-prefix=MISSING

// UNKNOWN: the architectures are sm_80, sm_90, sm_100 and sm_120
// MISSING: there is no gpu.module @kernels; run kernel-to-gpu before

// Four words are moved at once, read-only ones past the coherent caches. A product is two multiplications with 64-bit
// results, the second of which the assembler joins with the addition, and one between them.
// CHECK: gpu.binary @kernels
// CHECK-SAME: #nvvm.target<chip = "sm_80">
// CHECK-SAME: .target sm_80
// CHECK-SAME: .visible .entry words_0(
// CHECK-SAME: .maxntid 128, 1, 1
// CHECK-SAME: ld.global.nc.v4.b32
// CHECK-SAME: mul.wide.u32
// CHECK-SAME: mul.lo.s32
// CHECK-SAME: mul.wide.u32
// CHECK-SAME: add.s64
// CHECK-SAME: min.u32
// CHECK-SAME: st.global.v4.b32
// SM90: .target sm_90
// SM100: .target sm_100
// SM120: .target sm_120
module attributes {ckks.params = #ckks.params<log_n = 9, q = [1073738753, 1073732609], p = [2147473409],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @mul moduli<q[0:2]> (%a: !kernel.buf<2x512>, %b: !kernel.buf<2x512>, %c: !kernel.buf<2x512>) {
  %x = kernel.load %a : !kernel.buf<2x512>
  %y = kernel.load %b : !kernel.buf<2x512>
  %z = kernel.mulm %x, %y
  kernel.store %z, %c : !kernel.buf<2x512>
}
func.func @main(%a: !kernel.buf<2x512>, %b: !kernel.buf<2x512>, %o: !kernel.buf<2x512> {kernel.output}) {
  kernel.launch @mul(%a, %b, %o) : !kernel.buf<2x512>, !kernel.buf<2x512>, !kernel.buf<2x512>
  return
}
}
