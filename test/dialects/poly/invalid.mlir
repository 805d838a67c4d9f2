// RUN: ceria-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{a polynomial needs a limb}}
func.func private @f(!poly.rns<empty, eval>)

// -----

// expected-error@+1 {{period 3 is not a power of two of an `eval` polynomial}}
func.func private @f(!poly.rns<q[0:1], eval, period = 3>)

// -----

// expected-error@+1 {{period 4 is not a power of two of an `eval` polynomial}}
func.func private @f(!poly.rns<q[0:1], coeff, period = 4>)

// -----

func.func @f(%a: !poly.rns<q[0:1], eval>, %b: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{operands have different bases: q[0:1] and q[0:2]}}
  %0 = poly.add %a, %b : !poly.rns<q[0:1], eval>, !poly.rns<q[0:2], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], eval>, %b: !poly.rns<q[0:1], coeff>) {
  // expected-error@+1 {{operands have different forms}}
  %0 = poly.sub %a, %b : !poly.rns<q[0:1], eval>, !poly.rns<q[0:1], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], coeff>) {
  // expected-error@+1 {{products need evaluation form}}
  %0 = poly.mul %a, %a : !poly.rns<q[0:1], coeff>, !poly.rns<q[0:1], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], eval, period = 4>, %b: !poly.rns<q[0:1], eval>) {
  // expected-error@+1 {{'poly.mac' op the accumulator is sparser than the product}}
  %0 = poly.mac %a, %b, %b
     : !poly.rns<q[0:1], eval, period = 4>, !poly.rns<q[0:1], eval>, !poly.rns<q[0:1], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], coeff>) {
  // expected-error@+1 {{'poly.mac' op products need evaluation form}}
  %0 = poly.mac %a, %a, %a : !poly.rns<q[0:1], coeff>, !poly.rns<q[0:1], coeff>, !poly.rns<q[0:1], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.mul_const' op has 1 constants for 2 limbs}}
  %0 = poly.mul_const %a [3] : !poly.rns<q[0:2], eval>
  return
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @f(%a: !poly.rns<q[0:2], eval>) {
    // expected-error@+1 {{'poly.mul_const' op 97 is not a residue modulo q0}}
    %0 = poly.mul_const %a [97, 0] : !poly.rns<q[0:2], eval>
    return
  }
}

// -----

func.func @f(%a: !poly.rns<q[0:1], coeff>) {
  // expected-error@+1 {{'poly.add_const' op expects eval form}}
  %0 = poly.add_const %a [3] : !poly.rns<q[0:1], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], eval>) {
  // expected-error@+1 {{expects coeff form}}
  %0 = poly.ntt %a : !poly.rns<q[0:1], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], eval, period = 4>) {
  // expected-error@+1 {{sparse polynomials have no other form}}
  %0 = poly.intt %a : !poly.rns<q[0:1], eval, period = 4>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:1], eval>) {
  // expected-error@+1 {{'poly.extract_limbs' op q[1:2] is not in q[0:1]}}
  %0 = poly.extract_limbs %a : !poly.rns<q[0:1], eval> -> !poly.rns<q[0:2], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.extract_limbs' op must keep the form}}
  %0 = poly.extract_limbs %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:1], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{q[0:2] is in two operands}}
  %0 = poly.concat_limbs %a, %a : !poly.rns<q[0:2], eval>, !poly.rns<q[0:2], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.bconv' op expects coeff form}}
  %0 = poly.bconv %a : !poly.rns<q[0:2], eval> -> !poly.rns<p[0:1], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], coeff>) {
  // expected-error@+1 {{'poly.bconv' op q[1:2] is in both bases}}
  %0 = poly.bconv %a : !poly.rns<q[0:2], coeff> -> !poly.rns<q[1:3], coeff>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.scale_up' op q[1:2] is not in q[0:1]}}
  %0 = poly.scale_up %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:1], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.mod_up' op q[1:2] is not in q[0:1]+p[0:1]}}
  %0 = poly.mod_up %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:1]+p[0:1], eval>
  return
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @f(%a: !poly.rns<q[0:2], eval>) {
    // expected-error@+1 {{'poly.mod_up' op q[0:2]+p[0:2] has primes that the parameters lack}}
    %0 = poly.mod_up %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:2]+p[0:2], eval>
    return
  }
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.mod_down' op q[2:3] is not in q[0:2]}}
  %0 = poly.mod_down %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:3], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:2], eval>) {
  // expected-error@+1 {{'poly.rescale' op drops no prime}}
  %0 = poly.rescale %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:3], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:3], eval>) {
  // expected-error@+1 {{'poly.decompose' op has overlapping digits}}
  %0:2 = poly.decompose %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>, !poly.rns<q[1:3], eval>
  return
}

// -----

func.func @f(%a: !poly.rns<q[0:3], eval>) {
  // expected-error@+1 {{'poly.decompose' op has digits that cover q[0:2], not q[0:3]}}
  %0 = poly.decompose %a : !poly.rns<q[0:3], eval> -> !poly.rns<q[0:2], eval>
  return
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @f(%a: !poly.rns<q[0:2], eval>) {
    // expected-error@+1 {{'poly.decompose' op has digits that are not the parameters'}}
    %0 = poly.decompose %a : !poly.rns<q[0:2], eval> -> !poly.rns<q[0:2], eval>
    return
  }
}

// -----

func.func @f(%a: tensor<2x!poly.rns<q[0:1], eval>>, %k: tensor<3x2x!poly.rns<q[0:1], eval>>) {
  // expected-error@+1 {{2 digits do not match a key of 3}}
  %0:2 = poly.inner_product %a, %k : tensor<2x!poly.rns<q[0:1], eval>>, tensor<3x2x!poly.rns<q[0:1], eval>>
  return
}

// -----

func.func @f(%a: tensor<2x!poly.rns<q[0:2], eval>>, %k: tensor<2x2x!poly.rns<q[0:1], eval>>) {
  // expected-error@+1 {{the key has no limbs for q[1:2]}}
  %0:2 = poly.inner_product %a, %k : tensor<2x!poly.rns<q[0:2], eval>>, tensor<2x2x!poly.rns<q[0:1], eval>>
  return
}

// -----

func.func @f(%a: tensor<2x!poly.rns<q[0:2], eval>>, %i: index) {
  // expected-error@+1 {{expects values of rank 2}}
  %0:2 = poly.weighted_sum %a, @w[%i to %i] by @c : tensor<2x!poly.rns<q[0:2], eval>>
  return
}

// -----

// expected-error@+1 {{'poly.table' op has entries of type index}}
poly.table galois @t [5] : !poly.rns<q[0:1], eval>

// -----

// expected-error@+1 {{'poly.table' op 4 is not an odd positive Galois element}}
poly.table galois @t [5, 4] : index

// -----

// expected-error@+1 {{'poly.table' op has keys that are not digits x 2 polynomials in eval form}}
poly.table galois_key @t [5] : tensor<2x3x!poly.rns<q[0:1], eval>>

// -----

// expected-error@+1 {{'poly.table' op is one key and has no values}}
poly.table relin_key @t [1] : tensor<2x2x!poly.rns<q[0:1], eval>>

// -----

// expected-error@+1 {{'poly.table' op is one key and has no values}}
poly.table sparse_key @t [1] : tensor<2x2x!poly.rns<q[0:1], eval>>

// -----

// expected-error@+1 {{'poly.table' op has monomials in eval form}}
poly.table monomial @t [1] : !poly.rns<q[0:1], coeff>

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
// expected-error@+1 {{'poly.table' op has the monomial X^4, which is not one of period 2}}
poly.table monomial @t [8, 4] : !poly.rns<q[0:1], eval, period = 2>
}

// -----

// expected-error@+1 {{'poly.table' op needs four values an entry}}
poly.table diagonals @t [1, 2] from @m scale "S(1)" : !poly.rns<q[0:1], eval>

// -----

// expected-error@+1 {{'poly.table' op needs the source and the scale of its plaintexts}}
poly.table plaintext @t [1] : !poly.rns<q[0:1], eval>

// -----

// expected-error@+1 {{'poly.table' op has plaintexts in eval form}}
poly.table plaintext @t [1] from @v scale "S(1)" : !poly.rns<q[0:1], coeff>

// -----

// expected-error@+1 {{'poly.table' op has a wrong scale}}
poly.table plaintext @t [1] from @v scale "S(" : !poly.rns<q[0:1], eval>

// -----

// expected-error@+1 {{'poly.table' op has a source or scale, which only plaintexts have}}
poly.table index @t [1] from @v : index

// -----

poly.table index @t [1] : index
func.func @f(%i: index) {
  // expected-error@+1 {{'poly.at' op gives !poly.rns<q[0:1], eval>, but @t holds index}}
  %0 = poly.at @t[%i] : !poly.rns<q[0:1], eval>
  return
}

// -----

func.func @f(%i: index) {
  // expected-error@+1 {{'poly.at' op}}
  %0 = poly.at @missing[%i] : index
  return
}
