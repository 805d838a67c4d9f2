// RUN: ceria-opt %s --ckks-chain-rotations='report=true' 2>&1 | FileCheck %s
// RUN: ceria-opt %s --ckks-chain-rotations --ckks-annotate-keys | FileCheck %s --check-prefix=KEYS
// RUN: ceria-opt %s --ckks-chain-rotations | ceria-opt --ckks-chain-rotations | FileCheck %s --check-prefix=TWICE

// CHECK: remark: of 2 matrices 1 sum giant steps by Horner's rule and 0 rotate step by step
// The giant steps 2, 4 and 6 are one step again and again; 4 and 12 would need a detour over 8.
// KEYS: ckks.keys = [{{[{]}}kind = "rotation", level = 1 : i64, step = 1 : i64}, {kind = "rotation", level = 1 : i64, step = 2 : i64}, {kind = "rotation", level = 0 : i64, step = 4 : i64}, {kind = "rotation", level = 0 : i64, step = 12 : i64}]
module attributes {ckks.params = #ckks.params<log_n = 5, q = [193, 257, 449], p = [577], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // CHECK: ckks.matrix @dense
  // CHECK-SAME: chain = "giants"
  // TWICE: ckks.matrix @dense
  // TWICE-SAME: chain = "giants"
  ckks.matrix @dense {slots = 16, inputs = 1, outputs = 1, period = 1, split = array<i64: 2, 0>,
                      diagonals = [array<i64: 0, 1, 2, 3, 4, 5, 6, 7>],
                      values = [array<f64: 2.0>, array<f64: 1.0>, array<f64: 2.0>, array<f64: 1.0>,
                                array<f64: 2.0>, array<f64: 1.0>, array<f64: 2.0>, array<f64: 1.0>]}
  // CHECK: ckks.matrix @gap
  // CHECK-NOT: chain
  // CHECK: func.func
  ckks.matrix @gap {slots = 16, inputs = 1, outputs = 1, period = 1, split = array<i64: 4, 0>,
                    diagonals = [array<i64: -4, 0, 4>], values = [array<f64: 2.0>, array<f64: 1.0>, array<f64: 1.0>]}
  func.func @f(%x: !ckks.ct<1, S(1)>, %y: !ckks.ct<0, S(0)>) -> (!ckks.ct<1, S(0)*D(1)>, !ckks.ct<0, S(0)**2>) {
    %0 = ckks.linear_transform @dense(%x) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
    %1 = ckks.linear_transform @gap(%y) at <S(0)> : (!ckks.ct<0, S(0)>) -> !ckks.ct<0, S(0)**2>
    return %0, %1 : !ckks.ct<1, S(0)*D(1)>, !ckks.ct<0, S(0)**2>
  }
}
