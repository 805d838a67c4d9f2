//===- CkksTypes.td - Types of the ckks dialect ---------------------------===//

#ifndef CERIA_CKKS_TYPES_TD
#define CERIA_CKKS_TYPES_TD

include "ckks/CkksDialect.td"
include "bridge/Rust.td"
include "mlir/IR/OpAsmInterface.td"

class Ckks_Type<string name, string typeMnemonic, list<Trait> traits = []>
    : TypeDef<Ckks_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
  let genVerifyDecl = 1;
}

// A level, printed as `?` when it is -1: unplaced.
def Ckks_LevelParam : AttrOrTypeParameter<"int64_t", "level, or -1 when unplaced"> {
  let parser = [{[&]() -> ::mlir::FailureOr<int64_t> {
    int64_t level = -1;
    if (::mlir::succeeded($_parser.parseOptionalQuestion()))
      return level;
    if (::mlir::failed($_parser.parseInteger(level)))
      return ::mlir::failure();
    if (level < 0)
      return $_parser.emitError($_parser.getCurrentLocation(), "a level is not negative");
    return level;
  }()}];
  let printer = [{getLevel() < 0 ? $_printer << "?" : $_printer << getLevel()}];
}

// The scale after a level and a comma; neither where the level is `?`.
def Ckks_PlacedScaleParam : RustParam<"scale", "exact scale; 1 when unplaced"> {
  let parser = [{[&]() -> ::mlir::FailureOr<::llvm::SmallVector<int64_t>> {
    if (*_result_level < 0)
      return ::llvm::SmallVector<int64_t>{0};  // the words of the scale 1
    if (::mlir::failed($_parser.parseComma()))
      return ::mlir::failure();
    return ::ceria::parseRust($_parser, "scale");
  }()}];
  let printer = [{getLevel() < 0 ? void() : ::ceria::printRust($_printer << ", ", "scale", $_self)}];
}

def Ckks_CtType : Ckks_Type<"Ct", "ct", [
    DeclareTypeInterfaceMethods<OpAsmTypeInterface, ["getAsmName"]>]> {
  let summary = "a ciphertext";
  let description = [{
    `size` polynomials `c_0 .. c_(size-1)` over the primes of `level`, which decrypt
    to `sum c_i s^i`; the message is that polynomial divided by `scale`. A size other
    than 2 is printed.

    ```mlir
    !ckks.ct<5, S(5)>            // level 5, canonical scale
    !ckks.ct<5, S(4)*D(5), 3>    // a product that is neither relinearised nor rescaled
    !ckks.ct<?>                  // level and scale not decided yet
    !ckks.ct<?, 3>
    ```
  }];
  let parameters = (ins Ckks_LevelParam:$level, Ckks_PlacedScaleParam:$scale,
      DefaultValuedParameter<"int64_t", "2", "number of components">:$size);
  let assemblyFormat = "`<` $level `` $scale (`,` $size^)? `>`";
}

def Ckks_PtType : Ckks_Type<"Pt", "pt", [
    DeclareTypeInterfaceMethods<OpAsmTypeInterface, ["getAsmName"]>]> {
  let summary = "a plaintext";
  let description = [{
    An encoded slot vector: one polynomial over the primes of `level`, the rounded
    inverse embedding of the slots times `scale`.

    ```mlir
    !ckks.pt<5, S(5)>
    !ckks.pt<?>                  // level and scale not decided yet
    ```
  }];
  let parameters = (ins Ckks_LevelParam:$level, Ckks_PlacedScaleParam:$scale);
  let assemblyFormat = "`<` $level `` $scale `>`";
}

#endif // CERIA_CKKS_TYPES_TD
