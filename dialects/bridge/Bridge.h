//===- Bridge.h - What the generated glue needs in C++ --------------------===//
//
// Helpers for the generated dialect sources: text of Rust parameters, shapes,
// and callbacks through which Rust hands back results of unknown number.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_BRIDGE_BRIDGE_H
#define CERIA_BRIDGE_BRIDGE_H

#include "mlir-c/IR.h"
#include "mlir-c/Rewrite.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Rewrite.h"
#include "mlir/CAPI/Support.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/OperationSupport.h"

namespace ceria {

/// Collects the tokens of one parameter, up to a comma or a closing bracket
/// that is not its own, and lets the Rust type `kind` parse them into words.
mlir::FailureOr<llvm::SmallVector<int64_t>> parseRust(mlir::AsmParser &parser,
                                                      llvm::StringRef kind);

/// Prints words as the text of the Rust type `kind`.
void printRust(mlir::AsmPrinter &printer, llvm::StringRef kind,
               llvm::ArrayRef<int64_t> words);

/// Parses `4x8`, or `scalar` for an empty shape.
mlir::FailureOr<llvm::SmallVector<int64_t>> parseShape(mlir::AsmParser &parser);

/// Prints a shape the way `parseShape` reads it.
void printShape(mlir::AsmPrinter &printer, llvm::ArrayRef<int64_t> shape);

/// Directive `custom<SignatureAndBody>($region)`: the arguments of the region's
/// entry block in parentheses, then the region.
mlir::ParseResult parseSignatureAndBody(mlir::OpAsmParser &parser,
                                        mlir::Region &body);
void printSignatureAndBody(mlir::OpAsmPrinter &printer, mlir::Operation *op,
                           mlir::Region &body);

/// The inherent attributes of an op under construction, whether they are still
/// in a dictionary or already in properties.
template <typename Op>
mlir::DictionaryAttr inherentAttributes(mlir::MLIRContext *context,
                                        mlir::DictionaryAttr attributes,
                                        mlir::OpaqueProperties properties) {
  if constexpr (!std::is_same_v<typename Op::Properties,
                                mlir::EmptyProperties>) {
    if (properties) {
      auto *known = properties.as<typename Op::Properties *>();
      mlir::NamedAttrList list(attributes);
      if (auto more = llvm::dyn_cast_or_null<mlir::DictionaryAttr>(
              Op::getPropertiesAsAttr(context, *known)))
        for (mlir::NamedAttribute attribute : more)
          list.set(attribute.getName(), attribute.getValue());
      return list.getDictionary(context);
    }
  }
  return attributes ? attributes : mlir::DictionaryAttr::get(context);
}

/// Where a fold hook puts its results.
extern "C" typedef void (*CeriaPushValue)(void *results, MlirValue value);
extern "C" typedef void (*CeriaPushAttribute)(void *results,
                                              MlirAttribute attribute);
extern "C" typedef void (*CeriaPushType)(void *types, MlirType type);
extern "C" typedef void (*CeriaPushText)(void *text, const char *data,
                                         size_t length);

void pushFoldedValue(void *results, MlirValue value);
void pushFoldedAttribute(void *results, MlirAttribute attribute);
void pushType(void *types, MlirType type);
void pushText(void *text, const char *data, size_t length);

/// Reports a Rust message through an `emitError` function.
mlir::LogicalResult
reportUnless(bool ok, llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
             const std::string &message);

} // namespace ceria

#endif // CERIA_BRIDGE_BRIDGE_H
