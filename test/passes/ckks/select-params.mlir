// RUN: ceria-opt %s --ckks-select-params='scale-bits=30' | FileCheck %s
// RUN: ceria-opt %s --ckks-select-params='precision=18' | FileCheck %s --check-prefix=PRECISE
// RUN: ceria-opt %s --ckks-select-params='scale-bits=30 min-log-n=15' | FileCheck %s --check-prefix=LARGE
// RUN: not ceria-opt %s --ckks-select-params='scale-bits=30 max-log-n=12' 2>&1 | FileCheck %s --check-prefix=DEEP
// RUN: ceria-opt %s --ckks-select-params='scale-bits=30' --ckks-select-params='scale-bits=40' | FileCheck %s
// RUN: ceria-opt %s --ckks-select-params='scale-bits=30 report=true' 2>&1 | FileCheck %s --check-prefix=REPORT

// CHECK: #ckks.params<log_n = 13, {{.*}}scale = 1073741824, secret = ternary>
// PRECISE: #ckks.params<log_n = 13, {{.*}}scale = 536870912,
// LARGE: #ckks.params<log_n = 15
// DEEP: error: {{.*}}too deep without bootstrapping
// REPORT: remark: N = 2^13, 3 levels of 30.0 bits
// CHECK: module attributes {ckks.params = #params}
func.func @main(%x: !ckks.ct<3, S(3)>) -> !ckks.ct<0, S(0)> {
  %0 = ckks.mul_const %x, 0.5 at <S(3)> : !ckks.ct<3, S(3)>
  %1 = ckks.rescale %0 : !ckks.ct<3, S(2)*D(3)>
  %2 = ckks.square %1 : !ckks.ct<2, S(2)>
  %3 = ckks.relinearize %2 : !ckks.ct<2, S(1)*D(2), 3>
  %4 = ckks.rescale %3 : !ckks.ct<2, S(1)*D(2)>
  %5 = ckks.mul_const %4, 0.5 at <S(1)> : !ckks.ct<1, S(1)>
  %6 = ckks.rescale %5 : !ckks.ct<1, S(0)*D(1)>
  return %6 : !ckks.ct<0, S(0)>
}
