// RUN: ceria-opt %s --ckks-expand-bootstrap --cse | FileCheck %s

// Level 0, four message levels of which three are for the transform back, eight for the reduction, three at the top.
module attributes {ckks.params = #ckks.params<log_n = 4, q = [33554273, 33553697, 1048193, 1048129, 1047841, 1047713, 1047649, 1047041, 1046977, 1046849, 536870849, 536870657, 536870561, 536870497, 536870401, 536870273, 536869793, 536869633, 536869409, 536869217, 536869153, 536868961, 536868289, 536868193, 536867873, 536867809, 1073741441, 1073740609, 1073739937, 1073739649, 1073739617, 1073739361], p = [2147483489, 2147483137], levels = [q[0:2], q[0:4], q[0:6], q[0:8], q[0:10], q[0:12], q[0:14], q[0:16], q[0:18], q[0:20], q[0:22], q[0:24], q[0:26], q[0:28], q[0:30], q[0:32]], digit = 2, scale = 1099511627776, secret = ternary, bootstrap = (level = 4, scale = 288230376151711744, weight = 8, special = 2), insecure>} {
  // CHECK-DAG: ckks.matrix @to_coefficients_2_3_8 {{.*}}fourier = "to_coefficients 2:3"
  // CHECK-DAG: ckks.matrix @to_slots_0_1_8 {{.*}}fourier = "to_slots 0:1"
  // CHECK-DAG: ckks.matrix @to_slots_0_1_4

  // CHECK-LABEL: @complex
  // CHECK: ckks.mul_int %{{.*}}, 1
  // CHECK-NEXT: ckks.switch_secret sparse
  // CHECK-NEXT: ckks.mod_raise %{{.*}} : {{.*}}<0, S(0)> to {{.*}}<15, Q0>
  // CHECK-NEXT: ckks.switch_secret dense %{{.*}} : {{.*}}<15, Q0>
  // CHECK-NEXT: ckks.linear_transform @to_coefficients_2_3_8
  // CHECK-NEXT: ckks.rescale
  // CHECK-NEXT: ckks.linear_transform @to_coefficients_1_2_8
  // CHECK-NEXT: ckks.rescale
  // CHECK-NEXT: ckks.linear_transform @to_coefficients_0_1_8{{.*}} -> !ckks.ct<13, E(12)*D(13)>
  // CHECK-NEXT: ckks.conjugate
  // CHECK-COUNT-22: ckks.relinearize
  // CHECK-NOT: ckks.relinearize
  // CHECK: ckks.mul_i
  // CHECK-NEXT: ckks.add
  // CHECK-NEXT: ckks.set_scale %{{.*}} : {{.*}}<4, E(4)> to {{.*}}<4, S(0)*E(4)*Q0**-1>
  // CHECK-NEXT: ckks.linear_transform @to_slots_0_1_8
  // CHECK: ckks.linear_transform @to_slots_2_3_8{{.*}} -> !ckks.ct<2, S(1)*D(2)>
  // CHECK-NEXT: ckks.rescale
  // CHECK-NEXT: return
  func.func @complex(%x: !ckks.ct<0, S(0)>) -> !ckks.ct<1, S(1)> {
    %y = ckks.bootstrap %x {target_level = 1} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
    return %y : !ckks.ct<1, S(1)>
  }
  // Two real ciphertexts share one, and four slots need two factors and a trace.
  // CHECK-LABEL: @real
  // CHECK: ckks.mul_i
  // CHECK-NEXT: ckks.add
  // CHECK: ckks.linear_transform @to_slots_0_1_4
  // CHECK: ckks.linear_transform @to_slots_1_2_4
  // CHECK: ckks.mod_raise %{{.*}} to {{.*}}<14, Q0>
  // CHECK: ckks.rotate %{{.*}} {step = 4 : i64}
  // CHECK-NOT: ckks.mod_raise
  // CHECK: return
  func.func @real(%x: !ckks.ct<3, S(3)>, %y: !ckks.ct<3, S(3)>) -> (!ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>) {
    %0 = ckks.bootstrap %x {target_level = 2, slots = 4, variant = "stc-first"} : !ckks.ct<3, S(3)> to !ckks.ct<2, S(2)>
    %1 = ckks.bootstrap %y {target_level = 2, slots = 4, variant = "stc-first"} : !ckks.ct<3, S(3)> to !ckks.ct<2, S(2)>
    return %0, %1 : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
  }
}
