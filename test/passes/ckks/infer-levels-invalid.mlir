// RUN: ceria-opt %s --ckks-lazy-relin --ckks-place-rescale --ckks-infer-levels --split-input-file --verify-diagnostics

// expected-error@+1 {{uses levels in each turn: this depth needs bootstrapping}}
module {
  func.func @loop(%x: !ckks.ct<?>) -> !ckks.ct<?> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %0 = scf.for %i = %c0 to %c1 step %c1 iter_args(%a = %x) -> !ckks.ct<?> {
      %1 = ckks.mul_const %a, 0.5 : !ckks.ct<?>
      scf.yield %1 : !ckks.ct<?>
    }
    return %0 : !ckks.ct<?>
  }
}

// -----

func.func @poly(%x: !ckks.ct<?>) -> !ckks.ct<?> {
  // expected-error@+1 {{'ckks.eval_poly' op has to be expanded first (ckks-expand-eval-poly)}}
  %0 = ckks.eval_poly %x [0.5, 0.25, 0.125] : !ckks.ct<?>
  return %0 : !ckks.ct<?>
}

// -----

func.func @unknown(%x: !ckks.ct<?>) -> tensor<1x!ckks.ct<?>> {
  // expected-error@+1 {{'tensor.from_elements' op has ciphertexts whose levels cannot be inferred}}
  %0 = tensor.from_elements %x : tensor<1x!ckks.ct<?>>
  return %0 : tensor<1x!ckks.ct<?>>
}
