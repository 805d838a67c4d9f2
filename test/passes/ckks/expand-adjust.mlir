// RUN: ceria-opt %s --pass-pipeline='builtin.module(func.func(ckks-expand-adjust))' | FileCheck %s

// CHECK-LABEL: @f
// CHECK-SAME: (%[[X:.*]]: {{.*}}<5, S(5)>)
func.func @f(%x: !ckks.ct<5, S(5)>) -> (!ckks.ct<3, S(3)>, !ckks.ct<4, S(4)>) {
  // CHECK-NEXT: %[[A:.*]] = ckks.level_reduce %[[X]] : {{.*}}<5, S(5)>
  // CHECK-NEXT: %[[B:.*]] = ckks.mul_const %[[A]], 1.000000e+00 at <{{.*}}> : {{.*}}<4, S(5)>
  // CHECK-NEXT: %[[C:.*]] = ckks.rescale %[[B]] : {{.*}}<4, S(3)*D(4)>
  %0 = ckks.adjust %x : !ckks.ct<5, S(5)> to !ckks.ct<3, S(3)>
  // CHECK-NEXT: %[[D:.*]] = ckks.mul_const %[[X]], 1.000000e+00 at <{{.*}}> : {{.*}}<5, S(5)>
  // CHECK-NEXT: %[[E:.*]] = ckks.rescale %[[D]]
  %1 = ckks.adjust %x : !ckks.ct<5, S(5)> to !ckks.ct<4, S(4)>
  // CHECK-NEXT: return %[[C]], %[[E]]
  return %0, %1 : !ckks.ct<3, S(3)>, !ckks.ct<4, S(4)>
}
