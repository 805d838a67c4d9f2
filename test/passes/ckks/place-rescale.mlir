// RUN: ceria-opt %s --ckks-place-rescale | FileCheck %s
// RUN: ceria-opt %s --ckks-place-rescale --ckks-place-rescale | FileCheck %s

// A sum of products is rescaled once, before the rotation.
// CHECK-LABEL: @sum_of_products
func.func @sum_of_products(%a: !ckks.ct<?>, %b: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK: %[[P:.*]] = ckks.mul_const
  // CHECK-NEXT: %[[Q:.*]] = ckks.mul_const
  // CHECK-NEXT: %[[S:.*]] = ckks.add %[[P]], %[[Q]]
  // CHECK-NEXT: %[[R:.*]] = ckks.rescale %[[S]]
  // CHECK-NEXT: ckks.rotate %[[R]]
  %0 = ckks.mul_const %a, 0.5 : !ckks.ct<?>
  %1 = ckks.mul_const %b, 0.25 : !ckks.ct<?>
  %2 = ckks.add %0, %1 : !ckks.ct<?>, !ckks.ct<?>
  %3 = ckks.rotate %2 {step = 1} : !ckks.ct<?>
  return %3 : !ckks.ct<?>
}

// The input comes from above: it is summed before the rescale.
// CHECK-LABEL: @input_joins_product
func.func @input_joins_product(%a: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK: %[[S:.*]] = ckks.square
  // CHECK-NEXT: %[[L:.*]] = ckks.relinearize %[[S]]
  // CHECK-NEXT: %[[T:.*]] = ckks.add %[[L]], %{{.*}}
  // CHECK-NEXT: %[[R:.*]] = ckks.rescale %[[T]]
  // CHECK-NEXT: return %[[R]]
  %0 = ckks.square %a : !ckks.ct<?>
  %1 = ckks.relinearize %0 : !ckks.ct<?, 3>
  %2 = ckks.add %1, %a : !ckks.ct<?>, !ckks.ct<?>
  return %2 : !ckks.ct<?>
}

// Rotate and sum: one rescale, of the product.
// CHECK-LABEL: @rotate_and_sum
func.func @rotate_and_sum(%a: !ckks.ct<?>) -> !ckks.ct<?> {
  // CHECK: %[[P:.*]] = ckks.mul_const
  // CHECK-NEXT: %[[R:.*]] = ckks.rescale %[[P]]
  // CHECK-NEXT: %[[T:.*]] = ckks.rotate %[[R]]
  // CHECK-NEXT: %[[S:.*]] = ckks.add %[[R]], %[[T]]
  // CHECK-NEXT: return %[[S]]
  %0 = ckks.mul_const %a, 0.5 : !ckks.ct<?>
  %1 = ckks.rotate %0 {step = 1} : !ckks.ct<?>
  %2 = ckks.add %0, %1 : !ckks.ct<?>, !ckks.ct<?>
  return %2 : !ckks.ct<?>
}
