//===- Poly.td - everything of the poly dialect ----------------------------===//
//
// The file that the build and the documentation read.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_POLY
#define CERIA_POLY

include "poly/PolyDialect.td"
include "poly/PolyAttrs.td"
include "poly/PolyTypes.td"
include "poly/PolyOps.td"

#endif // CERIA_POLY
