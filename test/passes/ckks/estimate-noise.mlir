// RUN: ceria-opt %s --ckks-select-params='scale-bits=30' --ckks-estimate-noise='report=true' 2>&1 | FileCheck %s
// RUN: ceria-opt %s --ckks-select-params='scale-bits=40' --ckks-estimate-noise='report=true' 2>&1 | FileCheck %s --check-prefix=FINER

// CHECK: remark: result 0 has an error of {{.*}}e-6, 19.{{[0-9]}} bits of precision
// FINER: remark: result 0 has an error of {{.*}}e-9, 29.{{[0-9]}} bits of precision
// CHECK: remark: 61 % of the largest error's variance is from ckks.rescale at loc({{.*}}estimate-noise.mlir":{{.*}}
// CHECK: attributes {ckks.error = array<f64: {{.*}}>}
func.func @main(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<0, S(0)> {
  %0 = ckks.square %x : !ckks.ct<1, S(1)>
  %1 = ckks.relinearize %0 : !ckks.ct<1, S(0)*D(1), 3>
  %2 = ckks.rescale %1 : !ckks.ct<1, S(0)*D(1)>
  return %2 : !ckks.ct<0, S(0)>
}
