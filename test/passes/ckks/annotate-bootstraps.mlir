// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-annotate-bootstraps)' | FileCheck %s
// RUN: ceria-opt %s --split-input-file --pass-pipeline='builtin.module(ckks-annotate-bootstraps{size=0.2})' | FileCheck %s --check-prefix=SMALL

// Inputs up to 3, doubled, are below 8; drawn towards zero by `size`, below 2. They repeat with period 4 of 16
// slots, and so does what is rotated. A bound that is there is kept.
// CHECK-LABEL: @main
// CHECK: ckks.bootstrap {{.*}} {bound = 8.000000e+00 : f64, slots = 4 : i64, target_level = 2 : i64}
// CHECK: ckks.bootstrap {{.*}} {bound = 3.000000e+00 : f64, slots = 4 : i64, target_level = 2 : i64}
// SMALL: ckks.bootstrap {{.*}} {bound = 2.000000e+00 : f64, slots = 4 : i64, target_level = 2 : i64}
func.func @main(%x: !ckks.ct<0, S(0)> {ckks.layout = #ckks.layout<[R:4, 0:4:1]>, ckks.range = array<f64: 0.0, 3.0>})
    -> (!ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>) {
  %0 = ckks.rotate %x {step = 3 : i64} : !ckks.ct<0, S(0)>
  %1 = ckks.add %0, %x : !ckks.ct<0, S(0)>, !ckks.ct<0, S(0)>
  %2 = ckks.bootstrap %1 {target_level = 2 : i64} : !ckks.ct<0, S(0)> to !ckks.ct<2, S(2)>
  %3 = ckks.bootstrap %x {target_level = 2 : i64, bound = 3.0 : f64} : !ckks.ct<0, S(0)> to !ckks.ct<2, S(2)>
  return %2, %3 : !ckks.ct<2, S(2)>, !ckks.ct<2, S(2)>
}

// -----

// What a loop carries gets the period of what is added to it; a mask of 8 slots makes the period 8.
// CHECK-LABEL: @loop
// CHECK: ckks.bootstrap {{.*}} {bound = 1.600000e+01 : f64, slots = 8 : i64, target_level = 1 : i64}
// CHECK: ckks.bootstrap {{.*}} {bound = 1.000000e+00 : f64, target_level = 1 : i64}
ckks.vector @mask {parts = 1 : i64, values = [array<f64: 1.0, 2.0, 3.0, 1.0, 2.0, 1.0, 0.0, 1.0>]}
func.func @loop(%x: !ckks.ct<0, S(0)> {ckks.layout = #ckks.layout<[R:4, 0:4:1]>},
                %y: !ckks.ct<0, S(0)> {ckks.layout = #ckks.layout<[0:16:1]>, ckks.range = array<f64: -0.9, 0.9>})
    -> (!ckks.ct<0, S(0)>, !ckks.ct<1, S(1)>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %m = ckks.encode @mask[0] : !ckks.pt<0, S(0)>
  %0 = scf.for %i = %c0 to %c4 step %c1 iter_args(%a = %x) -> (!ckks.ct<0, S(0)>) {
    %1 = ckks.bootstrap %a {target_level = 1 : i64} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
    %2 = ckks.adjust %1 : !ckks.ct<1, S(1)> to !ckks.ct<0, S(0)>
    %3 = ckks.add_plain %2, %m : !ckks.ct<0, S(0)>, !ckks.pt<0, S(0)>
    scf.yield %3 : !ckks.ct<0, S(0)>
  }
  %4 = ckks.bootstrap %y {target_level = 1 : i64} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
  return %0, %4 : !ckks.ct<0, S(0)>, !ckks.ct<1, S(1)>
}
