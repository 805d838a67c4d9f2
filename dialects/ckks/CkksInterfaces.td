//===- CkksInterfaces.td - What analyses ask of an op ---------------------===//
//
// Passes ask these interfaces and list no op names, so that a new op says itself
// how it is placed, which keys it needs and what it does to errors.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_CKKS_INTERFACES_TD
#define CERIA_CKKS_INTERFACES_TD

include "bridge/Rust.td"

def Ckks_LevelEffect : OpInterface<"LevelEffect"> {
  let cppNamespace = "::ceria::ckks";
  let description = [{
    An op on ciphertexts whose results' levels and scales follow from those of its
    operands, or set them anew. `ckks-lazy-relin`, `ckks-place-rescale`,
    `ckks-place-bootstraps` and `ckks-infer-levels` place ops by it.
  }];
  let methods = [
    RustMethod<"How level and scale of the results relate to those of the operands.",
        "effect", "()", "crate::ckks::effects::Effect">,
    RustMethod<"Whether the operands must have two components, because the op moves slots or multiplies.",
        "needs_two_components", "()", "bool">
  ];
}

def Ckks_UsesKeys : OpInterface<"UsesKeys"> {
  let cppNamespace = "::ceria::ckks";
  let description = [{
    An op that may switch keys. `ckks-annotate-keys` makes the key set of a program from
    it, `ckks-minimize-rotation-keys` and `ckks-place-bootstraps` weigh it.
  }];
  let methods = [
    RustMethod<"The keys that the op uses for this number of slots, modulo which steps are normalised.",
        "keys", "usize", "Result<std::collections::BTreeSet<crate::ckks::effects::Key>, String>">,
    RustMethod<"The level at which keys are switched; none while the op is unplaced.",
        "level", "()", "Option<u32>">
  ];
}

def Ckks_NoiseTransfer : OpInterface<"NoiseTransfer"> {
  let cppNamespace = "::ceria::ckks";
  let description = [{
    An op whose results' errors follow from those of its operands: how these pass
    through it, and what it adds. `ckks-estimate-noise` and the sampled interpreter
    ask it.
  }];
  let methods = [
    RustMethod<"How the errors of the operands reach the result of this index.",
        "transfer", "usize", "Result<crate::ckks::noise::Transfer, String>">,
    RustMethod<"What the op itself adds to the error of one result; every ciphertext is placed.",
        "additions", "crate::ckks::noise::Operands", "Result<Vec<crate::ckks::noise::Addition>, String>">
  ];
}

#endif // CERIA_CKKS_INTERFACES_TD
