//===- Ckks.td - Everything of the ckks dialect ---------------------------===//

#ifndef CERIA_CKKS_TD
#define CERIA_CKKS_TD

include "ckks/CkksDialect.td"
include "ckks/CkksTypes.td"
include "ckks/CkksAttrs.td"
include "ckks/CkksOps.td"

#endif // CERIA_CKKS_TD
