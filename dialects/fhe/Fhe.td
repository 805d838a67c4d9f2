//===- Fhe.td - everything of the fhe dialect ------------------------------===//
//
// The file that the build and the documentation read.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_FHE
#define CERIA_FHE

include "fhe/FheDialect.td"
include "fhe/FheAttrs.td"
include "fhe/FheTypes.td"
include "fhe/FheOps.td"

#endif // CERIA_FHE
