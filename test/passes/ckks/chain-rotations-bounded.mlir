// RUN: ceria-opt %s --ckks-chain-rotations='report=true' --ckks-annotate-keys 2>&1 | FileCheck %s --check-prefix=FREE
// RUN: ceria-opt %s --ckks-chain-rotations='key-memory=2 report=true' --ckks-annotate-keys 2>&1 | FileCheck %s
// RUN: not ceria-opt %s --ckks-chain-rotations='key-memory=1' 2>&1 | FileCheck %s --check-prefix=SMALL

// A key has 3 digits, 2 polynomials and 4 limbs of 32 KiB: four keys take 3 MiB, those of the steps 1 and 4 half of it.
// FREE: remark: of 1 matrices 0 sum giant steps by Horner's rule and 0 rotate step by step; keys take 3 MiB instead of 3
// CHECK: remark: of 1 matrices 0 sum giant steps by Horner's rule and 1 rotate step by step; keys take 1 MiB instead of 3
// CHECK: ckks.keys = [{{[{]}}kind = "rotation", level = 1 : i64, step = 1 : i64}, {kind = "rotation", level = 1 : i64, step = 4 : i64}]
// CHECK: chain = "all"
// SMALL: error: 'builtin.module' op needs keys of 2 MiB even if all its matrices rotate step by step, 1 MiB are allowed
module attributes {ckks.params = #ckks.params<log_n = 13, q = [65537, 114689, 147457], p = [163841], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  ckks.matrix @m {slots = 4096, inputs = 1, outputs = 1, period = 1, split = array<i64: 4, 0>,
                  diagonals = [array<i64: 0, 1, 2, 3, 4, 5, 6, 7>],
                  values = [array<f64: 2.0>, array<f64: 1.0>, array<f64: 2.0>, array<f64: 1.0>,
                            array<f64: 2.0>, array<f64: 1.0>, array<f64: 2.0>, array<f64: 1.0>]}
  func.func @f(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)> {
    %0 = ckks.linear_transform @m(%x) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
    return %0 : !ckks.ct<1, S(0)*D(1)>
  }
}
