// RUN: ceria-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{a buffer needs positive extents}}
func.func private @f(!kernel.buf<0x16>)

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{has moduli q[0:3] that are not in the module's parameters}}
kernel.func @k moduli<q[0:3]> (%a: !kernel.buf<3x16>) {
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{has an impossible batch}}
kernel.func @k batch(0) moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{stores limb of argument 1 from two tiles}}
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  kernel.store %x, %b limbs [1, 1] : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{stores argument 1 from every tile of the batch}}
kernel.func @k batch(2) moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  kernel.store %x, %b : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{loads limbs of argument 0 that other tiles store}}
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a limbs [1, 0] : !kernel.buf<2x16>
  kernel.store %x, %a : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{loads argument 0 after storing to it}}
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %b : !kernel.buf<2x16>
  kernel.store %x, %a : !kernel.buf<2x16>
  %y = kernel.load %a : !kernel.buf<2x16>
  kernel.store %y, %b : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{reads all of argument 0, to which it also stores}}
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %p: !kernel.buf<16>) {
  %x = kernel.load_permuted %a by %p : !kernel.buf<2x16>, !kernel.buf<16>
  kernel.store %x, %a : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{contains arith.constant, which is not an operation on tiles}}
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = arith.constant 1 : index
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{names limb 2 of 2}}
  %x = kernel.load %a limbs [0, 2] : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{names 1 limbs for 2 primes}}
  %x = kernel.load %a limbs [0] : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<3x16>) {
  // expected-error@+1 {{reads or writes 3 limbs for 2 primes without saying which}}
  %x = kernel.load %a : !kernel.buf<3x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x8>) {
  // expected-error@+1 {{expects limbs of 16 words, or a batch of 1 of them, not a buffer of [2, 8]}}
  %x = kernel.load %a : !kernel.buf<2x8>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %p: !kernel.buf<8>) {
  // expected-error@+1 {{has a permutation that is not of 16 words}}
  %x = kernel.load_permuted %a by %p : !kernel.buf<2x16>, !kernel.buf<8>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x3>) {
  // expected-error@+1 {{has a period of 3 words in a ring of degree 16}}
  %x = kernel.load_periodic %a : !kernel.buf<2x3>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{has 1 constants for 2 primes}}
  %x = kernel.splat [1]
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{has the constant -1, which is not a residue modulo}}
  %x = kernel.splat [-1, 0]
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has 3 constants for 2 primes}}
  %y = kernel.mul_const %x [1, 2, 3]
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has 1 constants for 2 primes}}
  %y = kernel.add_const %x [1]
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has 1 constants for 2 primes}}
  %y = kernel.intt %x scale [1]
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{names limb 2 of 2}}
  kernel.store %x, %a limbs [1, 2] : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{converts from q[2:3], which is not in the module's parameters}}
  %y = kernel.bconv_tile %a from<q[2:3]> limbs [0] : !kernel.buf<2x16>
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has weights that are not entries x limbs x words}}
  %y = kernel.weighted_sum %a, %a : !kernel.buf<2x16>, !kernel.buf<2x16> -> !kernel.tile
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %w: !kernel.buf<4x2x16>, %v: !kernel.buf<3x1x2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has 4 weights for 3 values}}
  %y = kernel.weighted_sum %w, %v : !kernel.buf<4x2x16>, !kernel.buf<3x1x2x16> -> !kernel.tile
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %w: !kernel.buf<4x2x16>, %v: !kernel.buf<4x2x2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{has 1 results for 2 values an entry}}
  %y = kernel.weighted_sum %w, %v : !kernel.buf<4x2x16>, !kernel.buf<4x2x2x16> -> !kernel.tile
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %w: !kernel.buf<4x2x8>, %v: !kernel.buf<4x1x2x16>, %p: !kernel.buf<16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  // expected-error@+1 {{permutes periodic weights}}
  %y = kernel.weighted_sum %w, %v permutation(%p : !kernel.buf<16>) : !kernel.buf<4x2x8>, !kernel.buf<4x1x2x16> -> !kernel.tile
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{has shape [3], expected [2]}}
kernel.table index @t [1, 2] : !kernel.buf<3>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{has a Galois element that is not odd and below 2N}}
kernel.table automorphism @t [4] : !kernel.buf<1x16>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{needs a source and a scale}}
kernel.table plaintext @t [0] moduli<q[0:2]> : !kernel.buf<1x2x16>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{needs moduli}}
kernel.table galois_key @t [5] : !kernel.buf<1x2x2x3x16>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
// expected-error@+1 {{has a monomial that is not one of period 2}}
kernel.table monomial @t [4] moduli<q[0:2]> : !kernel.buf<1x2x2>
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.table index @t [1, 2] : !kernel.buf<2>
func.func @f(%a: !kernel.buf<2x16>) {
  %c = arith.constant 0 : index
  // expected-error@+1 {{fixes 1 coordinates of [2, 16], which does not give [2]}}
  %v = kernel.subview %a[%c] : !kernel.buf<2x16> -> !kernel.buf<2>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.table index @t [1, 2] : !kernel.buf<2>
func.func @f(%a: !kernel.buf<2x16>) {
  %c = arith.constant 0 : index
  // expected-error@+1 {{reads from a buffer with more than one extent}}
  %v = kernel.read %a[%c] : !kernel.buf<2x16>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.table index @t [1, 2] : !kernel.buf<2>
func.func @f(%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{needs an offset that is a multiple of 64}}
  %v = kernel.alloc at 3 : !kernel.buf<2x16>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.table index @t [1, 2] : !kernel.buf<2>
func.func @f(%a: !kernel.buf<2x16>) {
  %t = kernel.get_table @t : !kernel.buf<2>
  // expected-error@+1 {{frees what is not the result of an alloc}}
  kernel.free %t : !kernel.buf<2>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.table index @t [1, 2] : !kernel.buf<2>
func.func @f(%a: !kernel.buf<2x16>) {
  // expected-error@+1 {{launches @missing, which is not a kernel}}
  kernel.launch @missing(%a) : !kernel.buf<2x16>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  kernel.store %x, %b : !kernel.buf<2x16>
}
func.func @f(%a: !kernel.buf<2x16>, %b: !kernel.buf<3x16>) {
  // expected-error@+1 {{passes 1 arguments to @k, which has 2}}
  kernel.launch @k(%a) : !kernel.buf<2x16>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  kernel.store %x, %b : !kernel.buf<2x16>
}
func.func @f(%a: !kernel.buf<2x16>, %b: !kernel.buf<3x16>) {
  // expected-error@+1 {{passes the buffer that @k stores to as arguments 1 and 0}}
  kernel.launch @k(%a, %a) : !kernel.buf<2x16>, !kernel.buf<2x16>
  return
}
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [1073741441, 1073740609], p = [2147483137],
    levels = [q[0:1], q[0:2]], digit = 1, scale = 1048576, secret = ternary, insecure>} {
kernel.func @k moduli<q[0:2]> (%a: !kernel.buf<2x16>, %b: !kernel.buf<2x16>) {
  %x = kernel.load %a : !kernel.buf<2x16>
  kernel.store %x, %b : !kernel.buf<2x16>
}
func.func @f(%a: !kernel.buf<2x16>, %b: !kernel.buf<3x16>) {
  // expected-error@+1 {{passes !kernel.buf<3x16> as argument 1 of @k}}
  kernel.launch @k(%a, %b) : !kernel.buf<2x16>, !kernel.buf<3x16>
  return
}
}
