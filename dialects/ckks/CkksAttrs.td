//===- CkksAttrs.td - Attributes of the ckks dialect ----------------------===//

#ifndef CERIA_CKKS_ATTRS_TD
#define CERIA_CKKS_ATTRS_TD

include "ckks/CkksDialect.td"
include "bridge/Rust.td"

class Ckks_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Ckks_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Ckks_ScaleAttr : Ckks_Attr<"Scale", "scale"> {
  let summary = "an exact scale";
  let description = [{
    The scale at which a constant or plaintext is encoded, `#ckks.scale<S(5)>`.
  }];
  let parameters = (ins RustParam<"scale">:$scale);
  let assemblyFormat = "`<` $scale `>`";
}

def Ckks_ParamsAttr : Ckks_Attr<"Params", "params"> {
  let summary = "parameters of the scheme";
  let description = [{
    Ring degree, primes, the set of primes of each level, key-switching digits, the
    scale of level 0 and the distribution of the secret. The module attribute
    `ckks.params` holds one.

    ```mlir
    module attributes {ckks.params = #ckks.params<log_n = 13, q = [..], p = [..],
        levels = [q[0:2], q[0:3]], digit = 1, scale = 1073741824, secret = ternary>}
    ```
  }];
  let parameters = (ins RustParam<"params">:$params);
  let assemblyFormat = "`<` $params `>`";
  let genMnemonicAlias = 1;
}

def Ckks_LayoutAttr : Ckks_Attr<"Layout", "layout"> {
  let summary = "where the elements of a tensor sit in slots";
  let description = [{
    The layout of a network's input or output (argument attribute `ckks.layout`), or
    of the vectors that a matrix maps.
  }];
  let parameters = (ins RustParam<"layout">:$layout);
  let assemblyFormat = "`<` $layout `>`";
}

#endif // CERIA_CKKS_ATTRS_TD
