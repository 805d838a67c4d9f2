//===- conversion.cpp - Dialect conversion for Rust closures --------------===//
//
// Wraps MLIR's dialect conversion: a type converter with 1:N conversions, a
// target, and patterns whose operands arrive as groups. Closures are pointers
// to Rust objects that outlive the conversion; Rust frees them.
//
//===----------------------------------------------------------------------===//

#include "mlir-c/IR.h"
#include "mlir-c/Rewrite.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Rewrite.h"
#include "mlir/CAPI/Support.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

extern "C" {
typedef void (*CeriaPushTypes)(void *out, intptr_t count,
                               const MlirType *types);
typedef void (*CeriaPushValues)(void *out, intptr_t count,
                                const MlirValue *values);

// Implemented in conversion.rs.

/// Returns 0 to let other conversions try, 1 on success, 2 on failure.
int ceria_convert_type(const void *closure, MlirType type, void *out,
                       CeriaPushTypes push);
bool ceria_materialize(const void *closure, MlirRewriterBase rewriter,
                       intptr_t typeCount, const MlirType *types,
                       intptr_t valueCount, const MlirValue *values,
                       MlirLocation location, MlirType original, void *out,
                       CeriaPushValues push);
/// Returns 0 for illegal, 1 for legal.
int ceria_is_legal(const void *closure, MlirOperation op);
bool ceria_convert_op(const void *closure, MlirOperation op,
                      intptr_t groupCount, const intptr_t *groupSizes,
                      const MlirValue *values, void *rewriter,
                      MlirRewriterBase base);
/// Passes the reasons why patterns failed on ops at `location` to `push`.
void ceria_conversion_reasons(const void *reasons, MlirLocation location,
                              void *out, void (*push)(void *, MlirStringRef));
}

namespace {

/// Everything of one conversion. The patterns refer to the converter.
struct Conversion {
  explicit Conversion(MLIRContext *context)
      : context(context), patterns(context), target(*context) {
    types.addConversion([](Type type) { return type; });
  }
  MLIRContext *context;
  TypeConverter types;
  RewritePatternSet patterns;
  ConversionTarget target;
};

SmallVector<MlirType> wrapTypes(TypeRange types) {
  return llvm::map_to_vector(types, [](Type type) { return wrap(type); });
}

SmallVector<MlirValue> wrapValues(ValueRange values) {
  return llvm::map_to_vector(values, [](Value value) { return wrap(value); });
}

void pushTypes(void *out, intptr_t count, const MlirType *types) {
  for (intptr_t i = 0; i < count; ++i)
    static_cast<SmallVectorImpl<Type> *>(out)->push_back(unwrap(types[i]));
}

void pushValues(void *out, intptr_t count, const MlirValue *values) {
  for (intptr_t i = 0; i < count; ++i)
    static_cast<SmallVectorImpl<Value> *>(out)->push_back(unwrap(values[i]));
}

MlirRewriterBase base(RewriterBase &rewriter) { return wrap(&rewriter); }

/// A pattern whose body is a Rust closure.
class RustConversionPattern final : public ConversionPattern {
public:
  RustConversionPattern(const TypeConverter &types, StringRef root,
                        unsigned benefit, MLIRContext *context,
                        const void *closure)
      : ConversionPattern(types, root, benefit, context), closure(closure) {}

  LogicalResult
  matchAndRewrite(Operation *op, ArrayRef<ValueRange> operands,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<intptr_t> sizes;
    SmallVector<MlirValue> values;
    for (ValueRange group : operands) {
      sizes.push_back(group.size());
      llvm::append_range(values, wrapValues(group));
    }
    return success(ceria_convert_op(closure, wrap(op), sizes.size(),
                                    sizes.data(), values.data(), &rewriter,
                                    base(rewriter)));
  }

private:
  const void *closure;
};

/// Converts a function's signature. Unlike upstream's pattern it keeps the
/// attributes of arguments and results: each part of a split value gets a copy.
class ConvertFunction final : public OpConversionPattern<func::FuncOp> {
public:
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(func::FuncOp function, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FunctionType type = function.getFunctionType();
    TypeConverter::SignatureConversion inputs(type.getNumInputs());
    SmallVector<Type> results;
    SmallVector<DictionaryAttr> argumentAttrs, resultAttrs;
    if (failed(typeConverter->convertSignatureArgs(type.getInputs(), inputs)))
      return failure();
    for (unsigned i = 0; i < type.getNumInputs(); ++i)
      if (auto mapping = inputs.getInputMapping(i))
        argumentAttrs.append(mapping->size, attrs(function.getArgAttrDict(i)));
    for (unsigned i = 0; i < type.getNumResults(); ++i) {
      size_t before = results.size();
      if (failed(typeConverter->convertTypes(type.getResult(i), results)))
        return failure();
      resultAttrs.append(results.size() - before,
                         attrs(function.getResultAttrDict(i)));
    }
    if (!function.isExternal() &&
        failed(rewriter.convertRegionTypes(&function.getBody(), *typeConverter,
                                           &inputs)))
      return failure();
    rewriter.modifyOpInPlace(function, [&] {
      function.setType(
          FunctionType::get(getContext(), inputs.getConvertedTypes(), results));
      function.setAllArgAttrs(argumentAttrs);
      function.setAllResultAttrs(resultAttrs);
    });
    return success();
  }

private:
  DictionaryAttr attrs(DictionaryAttr dictionary) const {
    return dictionary ? dictionary : DictionaryAttr::get(getContext());
  }
};

/// Splits a select between values that become several.
class ConvertSelect final : public OpConversionPattern<arith::SelectOp> {
public:
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(arith::SelectOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ValueRange onTrue = adaptor.getTrueValue();
    ValueRange onFalse = adaptor.getFalseValue();
    if (adaptor.getCondition().size() != 1 || onTrue.size() != onFalse.size())
      return failure();
    SmallVector<Value> parts;
    for (auto [left, right] : llvm::zip_equal(onTrue, onFalse))
      parts.push_back(arith::SelectOp::create(
          rewriter, op.getLoc(), adaptor.getCondition().front(), left, right));
    rewriter.replaceOpWithMultiple(op, ArrayRef<ValueRange>{parts});
    return success();
  }
};

ConversionTarget::DynamicLegalityCallbackFn legality(const void *closure) {
  return [closure](Operation *op) -> std::optional<bool> {
    return ceria_is_legal(closure, wrap(op)) != 0;
  };
}

Conversion *self(void *conversion) {
  return static_cast<Conversion *>(conversion);
}

} // namespace

extern "C" {

void *ceria_conversion_create(MlirContext context) {
  return new Conversion(unwrap(context));
}

void ceria_conversion_destroy(void *conversion) { delete self(conversion); }

void ceria_conversion_add_type(void *conversion, const void *closure) {
  self(conversion)
      ->types.addConversion([closure](Type type, SmallVectorImpl<Type> &out)
                                -> std::optional<LogicalResult> {
        switch (ceria_convert_type(closure, wrap(type), &out, pushTypes)) {
        case 0:
          return std::nullopt;
        case 1:
          return success();
        default:
          return failure();
        }
      });
}

void ceria_conversion_add_source(void *conversion, const void *closure) {
  self(conversion)
      ->types.addSourceMaterialization([closure](OpBuilder &builder, Type type,
                                                 ValueRange values,
                                                 Location location) -> Value {
        SmallVector<MlirValue> inputs = wrapValues(values);
        MlirType result = wrap(type);
        SmallVector<Value> made;
        IRRewriter rewriter(builder);
        if (!ceria_materialize(closure, base(rewriter), 1, &result,
                               inputs.size(), inputs.data(), wrap(location),
                               wrap(Type()), &made, pushValues) ||
            made.size() != 1)
          return Value();
        return made.front();
      });
}

void ceria_conversion_add_target(void *conversion, const void *closure) {
  self(conversion)
      ->types.addTargetMaterialization(
          [closure](OpBuilder &builder, TypeRange types, ValueRange values,
                    Location location, Type original) -> SmallVector<Value> {
            SmallVector<MlirValue> inputs = wrapValues(values);
            SmallVector<MlirType> results = wrapTypes(types);
            SmallVector<Value> made;
            IRRewriter rewriter(builder);
            if (!ceria_materialize(closure, base(rewriter), results.size(),
                                   results.data(), inputs.size(), inputs.data(),
                                   wrap(location), wrap(original), &made,
                                   pushValues) ||
                made.size() != types.size())
              return {};
            return made;
          });
}

/// Bridges types that meet unconverted ops by unrealized casts.
void ceria_conversion_add_casts(void *conversion) {
  TypeConverter &types = self(conversion)->types;
  types.addSourceMaterialization([](OpBuilder &builder, Type type,
                                    ValueRange values, Location location) {
    return UnrealizedConversionCastOp::create(builder, location, type, values)
        .getResult(0);
  });
  types.addTargetMaterialization([](OpBuilder &builder, TypeRange types,
                                    ValueRange values, Location location) {
    return llvm::to_vector_of<Value>(
        UnrealizedConversionCastOp::create(builder, location, types, values)
            .getResults());
  });
}

bool ceria_conversion_convert_type(void *conversion, MlirType type, void *out,
                                   CeriaPushTypes push) {
  SmallVector<Type> types;
  if (failed(self(conversion)->types.convertType(unwrap(type), types)))
    return false;
  SmallVector<MlirType> raw = wrapTypes(types);
  push(out, raw.size(), raw.data());
  return true;
}

/// `action` is 0 for legal, 1 for illegal, 2 for legal with all that is inside.
void ceria_conversion_mark_op(void *conversion, MlirStringRef name,
                              int action) {
  Conversion *c = self(conversion);
  OperationName op(unwrap(name), c->context);
  if (action == 1)
    c->target.addIllegalOp(op);
  else
    c->target.addLegalOp(op);
  if (action == 2)
    c->target.markOpRecursivelyLegal(op, nullptr);
}

void ceria_conversion_mark_dialect(void *conversion, MlirStringRef name,
                                   bool legal) {
  if (legal)
    self(conversion)->target.addLegalDialect(unwrap(name));
  else
    self(conversion)->target.addIllegalDialect(unwrap(name));
}

void ceria_conversion_dynamic_op(void *conversion, MlirStringRef name,
                                 const void *closure) {
  Conversion *c = self(conversion);
  c->target.addDynamicallyLegalOp(OperationName(unwrap(name), c->context),
                                  legality(closure));
}

void ceria_conversion_dynamic_dialect(void *conversion, MlirStringRef name,
                                      const void *closure) {
  self(conversion)
      ->target.addDynamicallyLegalDialect(legality(closure), unwrap(name));
}

/// Ops that nothing else is said of are legal if all their types are.
void ceria_conversion_unknown_by_types(void *conversion) {
  Conversion *c = self(conversion);
  c->target.markUnknownOpDynamicallyLegal([c](Operation *op) {
    return c->types.isLegal(op) &&
           llvm::all_of(op->getRegions(), [&](Region &region) {
             return c->types.isLegal(&region);
           });
  });
}

void ceria_conversion_add_pattern(void *conversion, MlirStringRef root,
                                  unsigned benefit, const void *closure) {
  Conversion *c = self(conversion);
  c->patterns.add<RustConversionPattern>(c->types, unwrap(root), benefit,
                                         c->context, closure);
}

/// Signatures, calls, returns and branches between blocks.
void ceria_conversion_add_functions(void *conversion) {
  Conversion *c = self(conversion);
  c->patterns.add<ConvertFunction, ConvertSelect>(c->types, c->context);
  populateCallOpTypeConversionPattern(c->patterns, c->types);
  populateReturnOpTypeConversionPattern(c->patterns, c->types);
  populateBranchOpInterfaceTypeConversionPattern(c->patterns, c->types);
  c->target.addDynamicallyLegalOp<func::FuncOp>([c](func::FuncOp function) {
    return c->types.isSignatureLegal(function.getFunctionType()) &&
           c->types.isLegal(&function.getBody());
  });
  auto byTypes = [c](Operation *op) { return c->types.isLegal(op); };
  c->target.addDynamicallyLegalOp<func::CallOp>(byTypes);
  c->target.addDynamicallyLegalOp<func::ReturnOp>(byTypes);
  c->target.addDynamicallyLegalOp<arith::SelectOp>(byTypes);
}

/// Loops and conditions of `scf`.
void ceria_conversion_add_scf(void *conversion) {
  Conversion *c = self(conversion);
  scf::populateSCFStructuralTypeConversionsAndLegality(c->types, c->patterns,
                                                       c->target);
}

/// Applies the conversion and consumes its patterns. A failure is reported at
/// the op that could not be legalized, with the reasons of its patterns.
bool ceria_conversion_apply(void *conversion, MlirOperation op, bool full,
                            const void *reasons) {
  Conversion *c = self(conversion);
  ScopedDiagnosticHandler handler(c->context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
        StringRef(diagnostic.str()).starts_with("failed to legalize"))
      ceria_conversion_reasons(reasons, wrap(diagnostic.getLocation()),
                               &diagnostic, [](void *out, MlirStringRef text) {
                                 static_cast<Diagnostic *>(out)->attachNote()
                                     << unwrap(text);
                               });
    return failure();
  });
  FrozenRewritePatternSet patterns(std::move(c->patterns));
  LogicalResult result =
      full ? applyFullConversion(unwrap(op), c->target, patterns)
           : applyPartialConversion(unwrap(op), c->target, patterns);
  return succeeded(result);
}

void ceria_rewriter_replace_multiple(void *rewriter, MlirOperation op,
                                     intptr_t count, const intptr_t *sizes,
                                     const MlirValue *values) {
  SmallVector<SmallVector<Value>> groups;
  for (intptr_t i = 0; i < count; ++i) {
    SmallVector<Value> group;
    for (intptr_t j = 0; j < sizes[i]; ++j)
      group.push_back(unwrap(*values++));
    groups.push_back(std::move(group));
  }
  static_cast<ConversionPatternRewriter *>(rewriter)->replaceOpWithMultiple(
      unwrap(op), std::move(groups));
}

/// The values that replace `value`; false if it was not converted.
bool ceria_rewriter_remapped(void *rewriter, MlirValue value, void *out,
                             CeriaPushValues push) {
  SmallVector<Value> values;
  if (failed(
          static_cast<ConversionPatternRewriter *>(rewriter)->getRemappedValues(
              unwrap(value), values)))
    return false;
  SmallVector<MlirValue> raw = wrapValues(values);
  push(out, raw.size(), raw.data());
  return true;
}

/// Converts the arguments of all blocks of a region.
bool ceria_rewriter_convert_region(void *rewriter, void *conversion,
                                   MlirRegion region) {
  return succeeded(
      static_cast<ConversionPatternRewriter *>(rewriter)->convertRegionTypes(
          unwrap(region), self(conversion)->types));
}

/// Applies the patterns that `add` makes until none applies.
bool ceria_rewrite_greedily(MlirOperation op, bool fold, bool topDown,
                            bool simplifyRegions, void *data,
                            void (*add)(void *, MlirRewritePatternSet)) {
  RewritePatternSet patterns(unwrap(op)->getContext());
  add(data, wrap(&patterns));
  GreedyRewriteConfig config;
  config.enableFolding(fold).setUseTopDownTraversal(topDown);
  config.setRegionSimplificationLevel(
      simplifyRegions ? GreedySimplifyRegionLevel::Normal
                      : GreedySimplifyRegionLevel::Disabled);
  return succeeded(
      applyPatternsGreedily(unwrap(op), std::move(patterns), config));
}

} // extern "C"
