//===- KernelTypes.td - buffers and tiles ----------------------------------===//
//
// Buffers are memory; tiles are values inside a kernel.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_KERNEL_TYPES
#define CERIA_KERNEL_TYPES

include "mlir/IR/AttrTypeBase.td"
include "bridge/Rust.td"
include "kernel/KernelDialect.td"

class Kernel_Type<string name, string typeMnemonic> : TypeDef<Kernel_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Kernel_Buf : Kernel_Type<"Buf", "buf"> {
  let summary = "a buffer of 32-bit words";
  let description = [{
    A dense row-major array. A polynomial is `limbs x N`, a batch of polynomials `batch x limbs x N`, a table
    has its entries in front. Sparse plaintexts have their period instead of N.
  }];
  let parameters = (ins ShapeParam<"extents">:$shape);
  let assemblyFormat = "`<` $shape `>`";
  let genVerifyDecl = 1;
}

def Kernel_Tile : Kernel_Type<"Tile", "tile"> {
  let summary = "the N words of one limb";
  let description = [{
    Canonical residues modulo the prime of the tile that the kernel runs on.
  }];
  let builderCall = "$_builder.getType<::ceria::kernel::TileType>()";
}

#endif // CERIA_KERNEL_TYPES
