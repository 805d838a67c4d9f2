// RUN: ceria-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{a ciphertext has 2 to 16 components, got 1}}
func.func private @f(!ckks.ct<1, S(1), 1>)

// -----

// expected-error@+1 {{level 2000 is not in 0 to 1023}}
func.func private @f(!ckks.pt<2000, S(1)>)

// -----

func.func @f(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<4, S(5)>) {
  // expected-error@+1 {{has operands at different levels, 5 and 4}}
  %0 = ckks.add %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<4, S(5)>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<5, S(4)>) {
  // expected-error@+1 {{has operands at different scales, S(5) and S(4)}}
  %0 = ckks.sub %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<5, S(4)>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>, %p: !ckks.pt<5, S(4)>) {
  // expected-error@+1 {{has operands at different scales, S(5) and S(4)}}
  %0 = ckks.add_plain %a, %p : !ckks.ct<5, S(5)>, !ckks.pt<5, S(4)>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<?>) {
  // expected-error@+1 {{has a placed and an unplaced operand}}
  %0 = ckks.mul %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>) {
  // expected-error@+1 {{has a placed operand but no scale for its constants}}
  %0 = ckks.mul_const %a, 0.5 : !ckks.ct<5, S(5)>
  return
}

// -----

func.func @f(%a: !ckks.ct<?>) {
  // expected-error@+1 {{has an unplaced operand, so its constants have no scale yet}}
  %0 = ckks.mul_const %a, 0.5 at <S(5)> : !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>) {
  // expected-error@+1 {{'ckks.add_const' op has the constant inf}}
  %0 = ckks.add_const %a, 0x7FF0000000000000 : !ckks.ct<5, S(5)>
  return
}

// -----

func.func @f(%a: !ckks.ct<?>) {
  // expected-error@+1 {{'ckks.mul_const' op has the constant NaN}}
  %0 = ckks.mul_const %a, 0x7FF8000000000000 : !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5)>) {
  // expected-error@+1 {{'ckks.mul_int' op multiplies by 1073741825, more than 2^30}}
  %0 = ckks.mul_int %a, 1073741825 : !ckks.ct<5, S(5)>
  return
}

// -----

func.func @f(%a: !ckks.ct<5, S(5), 4>) {
  // expected-error@+1 {{needs an operand of 3 components, got 4}}
  %0 = ckks.relinearize %a : !ckks.ct<5, S(5), 4>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{goes 2 levels down from level 1}}
  %0 = ckks.rescale %a {by = 2} : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{goes down by 0 levels}}
  %0 = ckks.rescale %a {by = 0} : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{goes down by -1 levels}}
  %0 = ckks.level_reduce %a {by = -1} : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<?>) {
  // expected-error@+1 {{needs a placed operand}}
  %0 = ckks.level_reduce %a : !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.adjust' op goes from level 1 to 1, it has to go down}}
  %0 = ckks.adjust %a : !ckks.ct<1, S(1)> to !ckks.ct<1, S(0)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1), 3>) {
  // expected-error@+1 {{'ckks.adjust' op changes the number of components}}
  %0 = ckks.adjust %a : !ckks.ct<1, S(1), 3> to !ckks.ct<0, S(0)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.adjust' op needs placed types}}
  %0 = ckks.adjust %a : !ckks.ct<1, S(1)> to !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1), 3>) {
  // expected-error@+1 {{needs an operand of 2 components, got 3: relinearize it first}}
  %0 = ckks.rotate %a {step = 1} : !ckks.ct<1, S(1), 3>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.hoisted_rotate' op has step 2 twice}}
  %0:2 = ckks.hoisted_rotate %a [2, 2] : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{needs an unplaced operand}}
  %0 = ckks.eval_poly %a [0.0, 1.0] : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<?>) {
  // expected-error@+1 {{'ckks.eval_poly' op has no coefficients}}
  %0 = ckks.eval_poly %a [] : !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.linear_transform' op refers to @m, which the module does not define}}
  %0 = ckks.linear_transform @m(%a) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
  return
}

// -----

ckks.vector @m {parts = 1, values = [array<f64: 1.0>]}
func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.linear_transform' op refers to @m, a ckks.vector, not a ckks.matrix}}
  %0 = ckks.linear_transform @m(%a) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
  return
}

// -----

ckks.matrix @m {slots = 4, inputs = 2, outputs = 1, period = 1, diagonals = [array<i64: 0>, array<i64>],
                values = [array<f64: 1.0>]}
func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.linear_transform' op maps 1 ciphertexts to 1, but @m maps 2 to 1}}
  %0 = ckks.linear_transform @m(%a) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(0)*D(1)>
  return
}

// -----

ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>],
                values = [array<f64: 1.0>]}
func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{has a result of type !ckks.ct<1, S(1)>, expected 2 components with level 1 at scale S(0)*D(1)}}
  %0 = ckks.linear_transform @m(%a) at <S(1)> : (!ckks.ct<1, S(1)>) -> !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f() {
  // expected-error@+1 {{'ckks.encode' op takes part -1}}
  %0 = ckks.encode @v[-1] : !ckks.pt<1, S(1)>
  return
}

// -----

ckks.vector @v {parts = 1, values = [array<f64: 1.0>]}
func.func @f() {
  // expected-error@+1 {{'ckks.encode' op takes part 1 of @v, which has 1}}
  %0 = ckks.encode @v[1] : !ckks.pt<1, S(1)>
  return
}

// -----

// expected-error@+1 {{'ckks.matrix' op has slots = 3, which is no power of two}}
ckks.matrix @m {slots = 3, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has period 8, more than its 4 slots}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 8, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has 1 lists of diagonals, 2 times 1 blocks need 2}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 2, period = 1, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has diagonal 4, which is not between -4 and 4}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 4>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has diagonal 1 before 0}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 1, 0>], values = [array<f64: 1.0>, array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has a split that is not a positive modulus and a first step}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, split = array<i64: 0, 0>, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op has the fold 4, which is not in 1 to 3}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, folds = array<i64: 2, 4>, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op needs one of 'linear', 'values' and 'fourier'}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op lists 0 of 1 diagonals}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>], values = []}

// -----

// expected-error@+1 {{'ckks.matrix' op lists 1 values of a diagonal of period 2}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 2, diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.matrix' op malformed linear operator}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, diagonals = [array<i64: 0>], linear = "{}"}

// -----

// expected-error@+1 {{'ckks.vector' op lists 1 of 2 parts}}
ckks.vector @v {parts = 2, values = [array<f64: 1.0>]}

// -----

// expected-error@+1 {{'ckks.vector' op lists 3 values, which is no power of two}}
ckks.vector @v {parts = 1, values = [array<f64: 1.0, 2.0, 3.0>]}

// -----

// expected-error@+1 {{'ckks.vector' op needs either 'layout' or 'values'}}
ckks.vector @v {parts = 1}

// -----

// expected-error@+1 {{'ckks.vector' op names no tensor in 'weights'}}
ckks.vector @v {parts = 1, layout = #ckks.layout<[0:4:1]>}

// -----

ckks.vector @v {parts = 1, values = [array<f64: 1.0>]}
module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @f(%a: !ckks.ct<3, S(3)>) {
    // expected-error@+1 {{'ckks.adjust' op has a result at level 2, but the parameters end at 1}}
    %0 = ckks.adjust %a : !ckks.ct<3, S(3)> to !ckks.ct<2, S(2)>
    return
  }
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has a result of level 2 at scale S(2), expected level 1 at its canonical scale}}
  %0 = ckks.bootstrap %a {target_level = 1} : !ckks.ct<0, S(0)> to !ckks.ct<2, S(2)>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has a result of level 1 at scale S(0), expected level 1 at its canonical scale}}
  %0 = ckks.bootstrap %a {target_level = 1} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(0)>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has the variant "fast", there are mod-raise-first, stc-first, iterated}}
  %0 = ckks.bootstrap %a {target_level = 1, variant = "fast"} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
  return
}

// -----

func.func @bootstrap_bound(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has the bound 0, it must be a positive number}}
  %0 = ckks.bootstrap %a {target_level = 1, bound = 0.0} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has 3 slots, which is no power of two up to the number of slots}}
  %0 = ckks.bootstrap %a {target_level = 1, slots = 3} : !ckks.ct<0, S(0)> to !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.bootstrap' op has a placed and an unplaced type}}
  %0 = ckks.bootstrap %a {target_level = 1} : !ckks.ct<0, S(0)> to !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<?>) {
  // expected-error@+1 {{'ckks.bootstrap' op has target level 0}}
  %0 = ckks.bootstrap %a {target_level = 0} : !ckks.ct<?> to !ckks.ct<?>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.mod_raise' op goes from level 1 to 2, it has to go up from level 0}}
  %0 = ckks.mod_raise %a : !ckks.ct<1, S(1)> to !ckks.ct<2, Q0>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error@+1 {{'ckks.mod_raise' op has a result at scale S(2), expected Q0}}
  %0 = ckks.mod_raise %a : !ckks.ct<0, S(0)> to !ckks.ct<2, S(2)>
  return
}

// -----

func.func @f(%a: !ckks.ct<1, S(1)>) {
  // expected-error@+1 {{'ckks.switch_secret' op goes to the sparse secret at level 1, its key is one of level 0}}
  %0 = ckks.switch_secret sparse %a : !ckks.ct<1, S(1)>
  return
}

// -----

func.func @f(%a: !ckks.ct<0, S(0)>) {
  // expected-error-re@+1 {{'ckks.set_scale' op makes {{.*}} only the scale may differ}}
  %0 = ckks.set_scale %a : !ckks.ct<0, S(0)> to !ckks.ct<1, S(0)>
  return
}

// -----

module attributes {ckks.params = #ckks.params<log_n = 4, q = [97, 193, 257], p = [353], levels = [q[0:2], q[0:3]], digit = 1, scale = 1024, secret = ternary, insecure>} {
  func.func @f(%a: !ckks.ct<0, S(0)>) {
    // expected-error@+1 {{'ckks.mod_raise' op needs parameters with `bootstrap`}}
    %0 = ckks.mod_raise %a : !ckks.ct<0, S(0)> to !ckks.ct<1, Q0>
    return
  }
}

// -----

// expected-error@+1 {{'ckks.matrix' op has not the diagonals of to_slots 0:1}}
ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 2, diagonals = [array<i64: 0, 1>], fourier = "to_slots 0:1"}

// -----

// expected-error@+1 {{'ckks.matrix' op has the stages to_slots 0:4, which 8 slots do not have}}
ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 8, diagonals = [array<i64: 0, 1>], fourier = "to_slots 0:4"}

// -----

// expected-error@+1 {{'ckks.matrix' op fourier: there is no direction `up`}}
ckks.matrix @m {slots = 8, inputs = 1, outputs = 1, period = 2, diagonals = [array<i64: 0, 1>], fourier = "up 0:1"}

// -----

// expected-error@+1 {{'ckks.matrix' op has chains of "some", not of giants or all}}
ckks.matrix @m {slots = 4, inputs = 1, outputs = 1, period = 1, chain = "some", diagonals = [array<i64: 0>], values = [array<f64: 1.0>]}
