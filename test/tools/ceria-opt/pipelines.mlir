// Options of Rust passes are real options: they appear in dumped pipelines and in reproducers, and a reproducer runs.

// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-report-ops{dialect=poly}),canonicalize)' \
// RUN:   --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=DUMP
// RUN: ceria-opt %s --canonicalize --mlir-print-ir-after-all 2>&1 | FileCheck %s --check-prefix=AFTER
// RUN: ceria-opt %s --canonicalize --mlir-timing 2>&1 | FileCheck %s --check-prefix=TIMING
// RUN: ceria-opt %s --canonicalize --mlir-generate-reproducer=%t.mlir -o /dev/null
// RUN: FileCheck %s --check-prefix=REPRODUCER --input-file=%t.mlir
// RUN: ceria-opt %t.mlir --run-reproducer | FileCheck %s
// RUN: not ceria-opt %s --pass-pipeline='builtin.module(ckks-minimize-rotation-keys{max-lenght=3})' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=UNKNOWN
// RUN: not ceria-opt %s --pass-pipeline='builtin.module(ckks-minimize-rotation-keys{max-length=many})' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=WRONG

// DUMP: ckks-report-ops{dialect=poly}
// AFTER: IR Dump After Canonicalizer
// TIMING: Execution time report
// REPRODUCER: mlir_reproducer
// REPRODUCER: canonicalize
// UNKNOWN: no such option max-lenght
// WRONG: 'many' value invalid

// CHECK-LABEL: func.func @f
// CHECK-NEXT: return %arg0
func.func @f(%x: i32) -> i32 {
  %zero = arith.constant 0 : i32
  %0 = arith.addi %x, %zero : i32
  return %0 : i32
}
