// RUN: ceria-opt %s --ckks-minimize-rotation-keys='max-length=2' | FileCheck %s
// RUN: ceria-opt %s --ckks-minimize-rotation-keys | FileCheck %s --check-prefix=SAME

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // CHECK-LABEL: @f
  // CHECK-SAME: (%[[X:.*]]: {{.*}}<1, S(1)>)
  // SAME-LABEL: @f
  func.func @f(%x: !ckks.ct<1, S(1)>) -> (!ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>) {
    // CHECK: %{{.*}}, %{{.*}} = ckks.hoisted_rotate %[[X]] [1, 2]
    %0:2 = ckks.hoisted_rotate %x [1, 2] : !ckks.ct<1, S(1)>
    // CHECK: %[[A:.*]] = ckks.rotate %[[X]] {step = 1 : i64}
    // CHECK: %[[B:.*]] = ckks.rotate %[[A]] {step = 2 : i64}
    // SAME: ckks.rotate %{{.*}} {step = 3 : i64}
    %1 = ckks.rotate %x {step = 3} : !ckks.ct<1, S(1)>
    %2 = ckks.add %0#0, %0#1 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
    // CHECK: return %{{.*}}, %[[B]]
    return %2, %1 : !ckks.ct<1, S(1)>, !ckks.ct<1, S(1)>
  }
}
