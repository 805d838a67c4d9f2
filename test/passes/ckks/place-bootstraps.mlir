// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-place-bootstraps{levels=2})' | FileCheck %s
// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-place-bootstraps{levels=2 strategy=greedy})' | FileCheck %s --check-prefix=GREEDY
// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-place-bootstraps{levels=2 report=true})' 2>&1 | FileCheck %s --check-prefix=REPORT
// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-place-bootstraps{levels=2},ckks-infer-levels)' | FileCheck %s --check-prefix=PLACED

// Four products need four levels: the input has two, one bootstrap gives the others.
// CHECK-LABEL: @chain
// GREEDY-LABEL: @chain
// PLACED-LABEL: @chain
// REPORT: remark: bootstrapped to level 2: the only value alive here; mod-raise-first of 32768 slots at the cost of {{.*}} rotations; stc-first would cost {{.*}} but is for real slots
// REPORT: remark: 1 bootstrap, of up to 2 levels; with them {{.*}} rotations at the highest level of N = 2^16
// REPORT: remark: N = 2^15 is refused: {{.*}} 128 bits of security allow 868
// REPORT: remark: N = 2^17 would cost {{.*}} times as much, with 1 bootstrap
func.func @chain(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK-COUNT-2: ckks.rescale
  // CHECK-NEXT: %[[B:.*]] = ckks.bootstrap %{{.*}} {target_level = 2 : i64} : !ckks.ct<?> to !ckks.ct<?>
  // CHECK-NEXT: ckks.mul_const %[[B]]
  // CHECK-NOT: ckks.bootstrap
  // GREEDY-COUNT-1: ckks.bootstrap
  // GREEDY-NOT: ckks.bootstrap
  // PLACED: ckks.bootstrap %{{.*}} {target_level = 2 : i64} : !ckks.ct<0, S(0)> to !ckks.ct<2, S(2)>
  // PLACED: return %{{.*}} : !ckks.ct<0, S(0)>
  %0 = ckks.mul_const %x, 0.5 : !ckks.ct<?>
  %1 = ckks.rescale %0 : !ckks.ct<?>
  %2 = ckks.mul_const %1, 0.5 : !ckks.ct<?>
  %3 = ckks.rescale %2 : !ckks.ct<?>
  %4 = ckks.mul_const %3, 0.5 : !ckks.ct<?>
  %5 = ckks.rescale %4 : !ckks.ct<?>
  %6 = ckks.mul_const %5, 0.5 : !ckks.ct<?>
  %7 = ckks.rescale %6 : !ckks.ct<?>
  return %7 : !ckks.ct<?>
}

// -----

// The branch is bootstrapped, the value that skips it keeps its level.
// CHECK-LABEL: @residual
// GREEDY-LABEL: @residual
// PLACED-LABEL: @residual
func.func @residual(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK: %[[X:.*]] = ckks.rotate
  // CHECK-COUNT-1: ckks.bootstrap
  // CHECK-NOT: ckks.bootstrap
  // CHECK: ckks.add %{{.*}}, %[[X]]
  %r = ckks.rotate %x {step = 1} : !ckks.ct<?>
  %0 = ckks.mul_const %r, 0.5 : !ckks.ct<?>
  %1 = ckks.rescale %0 : !ckks.ct<?>
  %2 = ckks.mul_const %1, 0.5 : !ckks.ct<?>
  %3 = ckks.rescale %2 : !ckks.ct<?>
  %4 = ckks.mul_const %3, 0.5 : !ckks.ct<?>
  %5 = ckks.rescale %4 : !ckks.ct<?>
  %6 = ckks.add %5, %r : !ckks.ct<?>, !ckks.ct<?>
  return %6 : !ckks.ct<?>
}

// -----

// A loop that uses a level in each turn bootstraps what it carries.
// CHECK-LABEL: @loop
// GREEDY-LABEL: @loop
// PLACED-LABEL: @loop
func.func @loop(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c9 = arith.constant 9 : index
  // CHECK: scf.for
  // CHECK: ckks.bootstrap
  // CHECK: scf.yield
  // PLACED: scf.for {{.*}} -> (!ckks.ct<[[L:[0-9]+]], S([[L]])>)
  // PLACED: ckks.bootstrap
  // PLACED: scf.yield %{{.*}} : !ckks.ct<[[L]], S([[L]])>
  %0 = scf.for %i = %c0 to %c9 step %c1 iter_args(%a = %x) -> (!ckks.ct<?>) {
    %1 = ckks.mul_const %a, 0.5 : !ckks.ct<?>
    %2 = ckks.rescale %1 : !ckks.ct<?>
    scf.yield %2 : !ckks.ct<?>
  }
  return %0 : !ckks.ct<?>
}

// -----

// Between calls is cheaper than in the function, which is called once more often.
// CHECK-LABEL: @square
// CHECK-NOT: ckks.bootstrap
// CHECK-LABEL: @calls
// CHECK: call @square
// CHECK-NEXT: ckks.bootstrap
// CHECK-NEXT: call @square
// CHECK-NEXT: ckks.bootstrap
// CHECK-NEXT: call @square
// CHECK-NEXT: return
func.func @square(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = ckks.square %x : !ckks.ct<?>
  %1 = ckks.relinearize %0 : !ckks.ct<?, 3>
  %2 = ckks.rescale %1 : !ckks.ct<?>
  return %2 : !ckks.ct<?>
}
func.func @calls(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  %0 = call @square(%x) : (!ckks.ct<?>) -> !ckks.ct<?>
  %1 = call @square(%0) : (!ckks.ct<?>) -> !ckks.ct<?>
  %2 = call @square(%1) : (!ckks.ct<?>) -> !ckks.ct<?>
  return %2 : !ckks.ct<?>
}
