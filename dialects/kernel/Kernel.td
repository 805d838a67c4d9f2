//===- Kernel.td - everything of the kernel dialect ------------------------===//
//
// The file that the build and the documentation read.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_KERNEL
#define CERIA_KERNEL

include "kernel/KernelDialect.td"
include "kernel/KernelAttrs.td"
include "kernel/KernelTypes.td"
include "kernel/KernelOps.td"

#endif // CERIA_KERNEL
