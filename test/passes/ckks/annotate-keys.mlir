// RUN: ceria-opt %s --ckks-annotate-keys='report=true' 2>&1 | FileCheck %s

// CHECK: remark: 5 evaluation keys, 3 of them rotations
// CHECK: ckks.keys = [{kind = "relinearization", level = 1 : i64}, {kind = "conjugation", level = 0 : i64}, {kind = "rotation", level = 1 : i64, step = 1 : i64}, {kind = "rotation", level = 0 : i64, step = 2 : i64}, {kind = "rotation", level = 1 : i64, step = 7 : i64}]
module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 1, split = array<i64: 2, 0>,
                  diagonals = [array<i64: 0, 3>], values = [array<f64: 2.0>, array<f64: 1.0>]}
  func.func @f(%x: !ckks.ct<1, S(1)>, %y: !ckks.ct<0, S(0)>) {
    %0 = ckks.rotate %x {step = -1} : !ckks.ct<1, S(1)>
    %1 = ckks.rotate %x {step = 1} : !ckks.ct<1, S(1)>
    %2 = ckks.conjugate %y : !ckks.ct<0, S(0)>
    %3 = ckks.linear_transform @m(%y) at <S(0)> : (!ckks.ct<0, S(0)>) -> !ckks.ct<0, S(0)**2>
    %4 = ckks.square %x : !ckks.ct<1, S(1)>
    %5 = ckks.relinearize %4 : !ckks.ct<1, S(0)*D(1), 3>
    return
  }
}
