// RUN: ceria-opt %s --kernel-plan-memory --split-input-file --verify-diagnostics | FileCheck %s

// Buffers whose lives do not overlap share memory.
// CHECK-LABEL: func.func @f() attributes {kernel.frame_bytes = 256 : i64}
func.func @f() {
  // CHECK: kernel.alloc at 0
  %a = kernel.alloc : !kernel.buf<2x16>
  // CHECK: kernel.alloc at 128
  %b = kernel.alloc : !kernel.buf<2x16>
  kernel.free %a : !kernel.buf<2x16>
  // CHECK: kernel.alloc at 0
  %c = kernel.alloc : !kernel.buf<2x16>
  kernel.copy %b, %c : !kernel.buf<2x16>
  return
}

// -----

// A buffer of a loop lives within one round; one from outside lives through all rounds. A callee's arena is inside its
// caller's, and placed first because it is the largest.
// CHECK-LABEL: func.func @caller(
// CHECK-SAME: kernel.frame_bytes = 320 : i64
func.func @caller(%n: index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // CHECK: kernel.alloc at 192
  %a = kernel.alloc : !kernel.buf<2x16>
  scf.for %i = %zero to %n step %one {
    // CHECK: kernel.alloc at 0
    %b = kernel.alloc : !kernel.buf<2x16>
    kernel.free %b : !kernel.buf<2x16>
    // CHECK: call @callee(%{{.*}}) {kernel.frame_offset = 0 : i64}
    func.call @callee(%a) : (!kernel.buf<2x16>) -> ()
  }
  kernel.free %a : !kernel.buf<2x16>
  return
}
// CHECK-LABEL: func.func @callee(
// CHECK-SAME: kernel.frame_bytes = 192 : i64
func.func @callee(%x: !kernel.buf<2x16>) {
  // CHECK: kernel.alloc at 0
  %a = kernel.alloc : !kernel.buf<3x16>
  return
}

// -----

// expected-error@+1 {{calls itself, which a static arena cannot hold}}
func.func @again() {
  func.call @again() : () -> ()
  return
}
