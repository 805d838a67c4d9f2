// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10 precision=16' | FileCheck %s
// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10' | FileCheck %s --check-prefix=COARSE
// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10 precision=16 variant=mod-raise-first' | FileCheck %s --check-prefix=FIXED
// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10 precision=16 report=true' 2>&1 | FileCheck %s --check-prefix=REPORT
// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10 min-log-n=17' | FileCheck %s --check-prefix=LARGE
// RUN: ceria-opt %s --ckks-place-bootstraps='levels=10 min-log-n=17' --ckks-infer-levels --ckks-select-params --ckks-expand-bootstrap --ckks-verify-scale | FileCheck %s --check-prefix=WRITTEN
// RUN: not ceria-opt %s --ckks-place-bootstraps='levels=10 max-log-n=15' 2>&1 | FileCheck %s --check-prefix=SMALL
// RUN: not ceria-opt %s --ckks-place-bootstraps='variant=fast' 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not ceria-opt %s --ckks-place-bootstraps='levels=2 variant=stc-first' 2>&1 | FileCheck %s --check-prefix=LOW

// Real slots that repeat with a period of 1024. Nothing but the order with the transform first keeps 16 bits of a constant
// vector; it starts at level 3. For twelve bits the other one is taken, which spares a bootstrap here.
// CHECK: #ckks.params<log_n = 16
// CHECK-LABEL: @main
// CHECK: ckks.bootstrap {{.*}}slots = 1024 : i64{{.*}}variant = "stc-first"
// CHECK: ckks.bootstrap {{.*}}slots = 1024 : i64{{.*}}variant = "stc-first"
// COARSE-LABEL: @main
// COARSE: ckks.bootstrap {{.*}}{slots = 1024 : i64, target_level = {{[0-9]+}} : i64} :
// COARSE-NOT: ckks.bootstrap
// FIXED-LABEL: @main
// FIXED: ckks.bootstrap {{.*}}{slots = 1024 : i64, target_level = {{[0-9]+}} : i64} :
// FIXED-NOT: stc-first
// REPORT: remark: bootstrapped to level {{[0-9]+}}: {{.*}}; stc-first of 1024 slots at the cost of {{.*}} rotations; mod-raise-first does not reach that level and keeps 15.{{[0-9]}} bits of slots that are all the same, 16.0 are asked for
// LARGE: #ckks.params<log_n = 17
// LARGE: ckks.bootstrap
// WRITTEN: #ckks.params<log_n = 17
// WRITTEN: ckks.mod_raise
// SMALL: error: {{.*}}cannot be bootstrapped up to N = 2^15: {{.*}}128 bits of security allow 868
// UNKNOWN: error: there is no variant `fast`, only auto, mod-raise-first, stc-first, iterated
// LOW: error: {{.*}}a bootstrap has to reach more levels than it starts with
func.func @main(%x: !ckks.ct<?> {ckks.layout = #ckks.layout<[R:16, 0:1024:1]>}) -> !ckks.ct<?> {
  %0 = ckks.square %x : !ckks.ct<?>
  %1 = ckks.relinearize %0 : !ckks.ct<?, 3>
  %2 = ckks.rescale %1 : !ckks.ct<?>
  %3 = ckks.mul_const %2, 0.5 : !ckks.ct<?>
  %4 = ckks.rescale %3 : !ckks.ct<?>
  %5 = ckks.mul_const %4, 0.5 : !ckks.ct<?>
  %6 = ckks.rescale %5 : !ckks.ct<?>
  %7 = ckks.mul_const %6, 0.5 : !ckks.ct<?>
  %8 = ckks.rescale %7 : !ckks.ct<?>
  %9 = ckks.mul_const %8, 0.5 : !ckks.ct<?>
  %10 = ckks.rescale %9 : !ckks.ct<?>
  %11 = ckks.mul_const %10, 0.5 : !ckks.ct<?>
  %12 = ckks.rescale %11 : !ckks.ct<?>
  %13 = ckks.mul_const %12, 0.5 : !ckks.ct<?>
  %14 = ckks.rescale %13 : !ckks.ct<?>
  %15 = ckks.mul_const %14, 0.5 : !ckks.ct<?>
  %16 = ckks.rescale %15 : !ckks.ct<?>
  %17 = ckks.mul_const %16, 0.5 : !ckks.ct<?>
  %18 = ckks.rescale %17 : !ckks.ct<?>
  %19 = ckks.mul_const %18, 0.5 : !ckks.ct<?>
  %20 = ckks.rescale %19 : !ckks.ct<?>
  %21 = ckks.mul_const %20, 0.5 : !ckks.ct<?>
  %22 = ckks.rescale %21 : !ckks.ct<?>
  %23 = ckks.mul_const %22, 0.5 : !ckks.ct<?>
  %24 = ckks.rescale %23 : !ckks.ct<?>
  %25 = ckks.mul_const %24, 0.5 : !ckks.ct<?>
  %26 = ckks.rescale %25 : !ckks.ct<?>
  %27 = ckks.mul_const %26, 0.5 : !ckks.ct<?>
  %28 = ckks.rescale %27 : !ckks.ct<?>
  %29 = ckks.mul_const %28, 0.5 : !ckks.ct<?>
  %30 = ckks.rescale %29 : !ckks.ct<?>
  %31 = ckks.mul_const %30, 0.5 : !ckks.ct<?>
  %32 = ckks.rescale %31 : !ckks.ct<?>
  %33 = ckks.mul_const %32, 0.5 : !ckks.ct<?>
  %34 = ckks.rescale %33 : !ckks.ct<?>
  %35 = ckks.mul_const %34, 0.5 : !ckks.ct<?>
  %36 = ckks.rescale %35 : !ckks.ct<?>
  %37 = ckks.mul_const %36, 0.5 : !ckks.ct<?>
  %38 = ckks.rescale %37 : !ckks.ct<?>
  return %38 : !ckks.ct<?>
}
