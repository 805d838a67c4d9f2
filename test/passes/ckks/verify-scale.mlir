// RUN: ceria-opt %s --ckks-verify-scale='min-bits=9' --split-input-file --verify-diagnostics

// expected-error@+1 {{has no parameters (run ckks-select-params before)}}
module {
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @good(%x: !ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)> {
    %0 = ckks.negate %x : !ckks.ct<1, S(1)>
    return %0 : !ckks.ct<1, S(1)>
  }
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // expected-error@+1 {{has a value at level 2, the parameters end at 1}}
  func.func @level(%x: !ckks.ct<2, S(2)>) {
    return
  }
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @large(%x: !ckks.ct<0, S(0)>) {
    // expected-error@+1 {{has the scale S(0)**2 of 20.0 bits at level 0, whose modulus has 14.2: 2 are needed for the message}}
    %0 = ckks.square %x : !ckks.ct<0, S(0)>
    return
  }
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // expected-error@+1 {{has the scale 2**3 of 3.0 bits, at least 9 are needed}}
  func.func @small(%x: !ckks.ct<0, 2**3>) {
    return
  }
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @constant(%x: !ckks.ct<1, S(1)>) {
    // expected-error@+1 {{encodes its constants at 2**2, 2.0 bits; at least 8 are needed}}
    %0 = ckks.mul_const %x, 0.5 at <2**2> : !ckks.ct<1, S(1)>
    return
  }
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  // expected-error@+1 {{has an unplaced value (run ckks-infer-levels before)}}
  func.func @unplaced(%x: !ckks.ct<?>) {
    return
  }
}
