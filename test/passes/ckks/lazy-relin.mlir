// RUN: ceria-opt %s --pass-pipeline='builtin.module(ckks-lazy-relin)' | FileCheck %s
// RUN: ceria-opt %s --pass-pipeline='builtin.module(ckks-lazy-relin,ckks-lazy-relin)' | FileCheck %s

// CHECK-LABEL: @sum_of_products
func.func @sum_of_products(%a: !ckks.ct<?>, %b: !ckks.ct<?>, %c: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK: %[[P:.*]] = ckks.mul
  %0 = ckks.mul %a, %b : !ckks.ct<?>, !ckks.ct<?>
  // CHECK-NEXT: %[[Q:.*]] = ckks.square
  %1 = ckks.square %c : !ckks.ct<?>
  // CHECK-NEXT: %[[S:.*]] = ckks.add %[[P]], %[[Q]] : {{.*}}<?, 3>, {{.*}}<?, 3>
  %2 = ckks.add %0, %1 : !ckks.ct<?, 3>, !ckks.ct<?, 3>
  // CHECK-NEXT: %[[T:.*]] = ckks.add_const %[[S]], 1.000000e+00 : {{.*}}<?, 3>
  %3 = ckks.add_const %2, 1.0 : !ckks.ct<?, 3>
  // CHECK-NEXT: %[[R:.*]] = ckks.relinearize %[[T]] : {{.*}}<?, 3>
  // CHECK-NEXT: ckks.rotate %[[R]] {step = 1 : i64} : {{.*}}<?>
  %4 = ckks.rotate %3 {step = 1} : !ckks.ct<?, 3>
  return %4 : !ckks.ct<?>
}

// Each value is relinearised once, whatever the number of its uses.
// CHECK-LABEL: @one_for_two_uses
func.func @one_for_two_uses(%a: !ckks.ct<?>) -> (!ckks.ct<?>, !ckks.ct<?>) {
  // CHECK: %[[S:.*]] = ckks.square
  // CHECK-NEXT: %[[R:.*]] = ckks.relinearize %[[S]]
  %0 = ckks.square %a : !ckks.ct<?>
  // CHECK-NEXT: %[[A:.*]] = ckks.square %[[R]] : {{.*}}<?>
  // CHECK-NEXT: %[[RA:.*]] = ckks.relinearize %[[A]] : {{.*}}<?, 3>
  %1 = ckks.square %0 : !ckks.ct<?, 3>
  // CHECK-NEXT: %[[B:.*]] = ckks.mul %{{.*}}, %[[R]] : {{.*}}<?>, {{.*}}<?>
  // CHECK-NEXT: %[[RB:.*]] = ckks.relinearize %[[B]] : {{.*}}<?, 3>
  %2 = ckks.mul %a, %0 : !ckks.ct<?>, !ckks.ct<?, 3>
  // CHECK-NEXT: %[[C:.*]] = ckks.rotate %[[RA]]
  // CHECK-NEXT: %[[D:.*]] = ckks.rotate %[[RB]]
  %3 = ckks.rotate %1 {step = 1} : !ckks.ct<?, 3>
  %4 = ckks.rotate %2 {step = 1} : !ckks.ct<?, 3>
  return %3, %4 : !ckks.ct<?>, !ckks.ct<?>
}

// What is returned, and what callers get, has two components.
// CHECK-LABEL: @returned
// CHECK-SAME: -> {{.*}}<?> {
func.func @returned(%a: !ckks.ct<?>) -> !ckks.ct<?, 3> {
  // CHECK: %[[S:.*]] = ckks.square
  // CHECK-NEXT: %[[R:.*]] = ckks.relinearize %[[S]]
  // CHECK-NEXT: return %[[R]] : {{.*}}<?>
  %0 = ckks.square %a : !ckks.ct<?>
  return %0 : !ckks.ct<?, 3>
}

// CHECK-LABEL: @caller
func.func @caller(%a: !ckks.ct<?>) -> !ckks.ct<?, 3> {
  // CHECK: call @returned(%{{.*}}) : (!ckks.ct<?>) -> {{.*}}<?>
  %0 = func.call @returned(%a) : (!ckks.ct<?>) -> !ckks.ct<?, 3>
  return %0 : !ckks.ct<?, 3>
}
