// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-report-ops))' --verify-diagnostics
// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-report-ops{dialect=arith}))' 2>&1 | FileCheck %s

// expected-remark@+1 {{1 ckks.add, 1 ckks.negate}}
func.func @f(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
  %0 = ckks.negate %x : !ckks.ct<1, S(1)>
  %1 = ckks.add %0, %x : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  return %1 : !ckks.ct<1, S(1)>
}

// CHECK: remark: no arith ops
// CHECK: remark: 2 arith.addi
// expected-remark@+1 {{no ckks ops}}
func.func @g(%x: i32) -> i32 {
  %0 = arith.addi %x, %x : i32
  %1 = arith.addi %0, %x : i32
  return %1 : i32
}
