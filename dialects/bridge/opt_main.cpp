//===- opt_main.cpp - The main of ceria-opt -------------------------------===//
//
// MLIR's `mlir-opt` with a registry that Rust filled; passes are registered
// before the call.
//
//===----------------------------------------------------------------------===//

#include "mlir-c/IR.h"
#include "mlir/CAPI/IR.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

using namespace mlir;

extern "C" {

/// Extensions of MLIR's dialects and their translations to LLVM IR.
void ceria_register_translations(MlirDialectRegistry registry) {
  registerAllExtensions(*unwrap(registry));
  registerAllToLLVMIRTranslations(*unwrap(registry));
}

int ceria_opt_main(int argc, char **argv, MlirDialectRegistry registry) {
  return asMainReturnCode(
      MlirOptMain(argc, argv, "Ceria optimizer\n", *unwrap(registry)));
}

} // extern "C"
