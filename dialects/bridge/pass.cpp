//===- pass.cpp - Passes and pipelines described in Rust ------------------===//
//
// One `Pass` subclass serves every Rust pass. Its options are made from the
// descriptor in both constructors, so a pass parsed from text, cloned for a
// thread or printed into a reproducer carries real `Pass::Option`s.
//
//===----------------------------------------------------------------------===//

#include "mlir/Pass/Pass.h"
#include "mlir-c/Diagnostics.h"
#include "mlir-c/IR.h"
#include "mlir/CAPI/Diagnostics.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

extern "C" {
/// The kinds of option, with their Rust counterpart in `pass.rs`.
enum CeriaOptionKind : uint32_t {
  CeriaBool,
  CeriaInt,
  CeriaFloat,
  CeriaString,
  CeriaIntList,
  CeriaFloatList,
  CeriaStringList,
};

/// One option with its default: one value, or `count` values for a list.
struct CeriaOption {
  MlirStringRef name;
  MlirStringRef doc;
  uint32_t kind;
  size_t count;
  const bool *bools;
  const int64_t *ints;
  const double *floats;
  const MlirStringRef *strings;
};

/// What C++ must know of a pass. Everything in it lives as long as the process.
struct CeriaPassInfo {
  MlirStringRef argument;
  MlirStringRef summary;
  MlirStringRef anchor;
  size_t optionCount;
  const CeriaOption *options;
  const void *descriptor;
};

/// A named pipeline whose text Rust computes from its options.
struct CeriaPipelineInfo {
  MlirStringRef argument;
  MlirStringRef summary;
  size_t optionCount;
  const CeriaOption *options;
  const void *descriptor;
};

// Implemented in pass.rs.
void ceria_pass_dialects(const void *descriptor, MlirDialectRegistry registry);
void *ceria_pass_create(const void *descriptor);
void *ceria_pass_clone(const void *descriptor, const void *pass);
void ceria_pass_drop(void *pass);
bool ceria_pass_can_schedule(const void *descriptor, MlirStringRef name);
bool ceria_pass_initialize(const void *descriptor, void *pass,
                           MlirContext context, const void *options);
bool ceria_pass_run(const void *descriptor, const void *pass, MlirOperation op,
                    const void *options);
bool ceria_pipeline_text(const void *descriptor, const void *options,
                         void *text,
                         void (*push)(void *, const char *, size_t));
}

namespace {

/// Hands one value of an option to Rust; which argument counts follows from the
/// option's kind.
using Push = void (*)(void *, bool, int64_t, double, MlirStringRef);

/// One option of either a pass or a pipeline.
class OptionBase {
public:
  virtual ~OptionBase() = default;
  virtual void read(void *out, Push push) const = 0;
};

void pushValue(void *out, Push push, bool value) {
  push(out, value, 0, 0, {nullptr, 0});
}
void pushValue(void *out, Push push, int64_t value) {
  push(out, false, value, 0, {nullptr, 0});
}
void pushValue(void *out, Push push, double value) {
  push(out, false, 0, value, {nullptr, 0});
}
void pushValue(void *out, Push push, const std::string &value) {
  push(out, false, 0, 0, {value.data(), value.size()});
}

template <typename T> std::vector<T> defaults(const CeriaOption &option) {
  std::vector<T> values;
  for (size_t i = 0; i < option.count; ++i) {
    if constexpr (std::is_same_v<T, bool>)
      values.push_back(option.bools[i]);
    else if constexpr (std::is_same_v<T, int64_t>)
      values.push_back(option.ints[i]);
    else if constexpr (std::is_same_v<T, double>)
      values.push_back(option.floats[i]);
    else
      values.push_back(unwrap(option.strings[i]).str());
  }
  return values;
}

template <typename T, template <typename> class OptionT, typename Parent>
class ScalarOption final : public OptionBase {
public:
  ScalarOption(Parent &parent, const CeriaOption &info)
      : option(parent, unwrap(info.name), llvm::cl::desc(unwrap(info.doc)),
               llvm::cl::init(T(defaults<T>(info)[0]))) {}
  void read(void *out, Push push) const override {
    pushValue(out, push, option.getValue());
  }

private:
  OptionT<T> option;
};

template <typename T, template <typename> class OptionT, typename Parent>
class ListOption final : public OptionBase {
public:
  ListOption(Parent &parent, const CeriaOption &info)
      : option(parent, unwrap(info.name), llvm::cl::desc(unwrap(info.doc)),
               llvm::cl::list_init(ArrayRef<T>(defaults<T>(info)))) {}
  void read(void *out, Push push) const override {
    for (const T &value : option)
      pushValue(out, push, value);
  }

private:
  OptionT<T> option;
};

/// The options of one pass or pipeline, in the descriptor's order.
class OptionSet {
public:
  template <template <typename> class Scalar, template <typename> class List,
            typename Parent>
  void add(Parent &parent, ArrayRef<CeriaOption> infos) {
    for (const CeriaOption &info : infos)
      options.push_back(make<Scalar, List>(parent, info));
  }

  void read(size_t index, void *out, Push push) const {
    options[index]->read(out, push);
  }

private:
  template <template <typename> class Scalar, template <typename> class List,
            typename Parent>
  static std::unique_ptr<OptionBase> make(Parent &parent,
                                          const CeriaOption &info) {
    switch (info.kind) {
    case CeriaBool:
      return std::make_unique<ScalarOption<bool, Scalar, Parent>>(parent, info);
    case CeriaInt:
      return std::make_unique<ScalarOption<int64_t, Scalar, Parent>>(parent,
                                                                     info);
    case CeriaFloat:
      return std::make_unique<ScalarOption<double, Scalar, Parent>>(parent,
                                                                    info);
    case CeriaString:
      return std::make_unique<ScalarOption<std::string, Scalar, Parent>>(parent,
                                                                         info);
    case CeriaIntList:
      return std::make_unique<ListOption<int64_t, List, Parent>>(parent, info);
    case CeriaFloatList:
      return std::make_unique<ListOption<double, List, Parent>>(parent, info);
    default:
      return std::make_unique<ListOption<std::string, List, Parent>>(parent,
                                                                     info);
    }
  }

  std::vector<std::unique_ptr<OptionBase>> options;
};

/// A pass whose work is done in Rust.
class RustPass final : public Pass {
public:
  explicit RustPass(const CeriaPassInfo &info)
      : Pass(id(info), anchor(info)), info(info),
        state(ceria_pass_create(info.descriptor)) {
    addOptions();
  }
  RustPass(const RustPass &other)
      : Pass(other), info(other.info),
        state(ceria_pass_clone(info.descriptor, other.state)) {
    addOptions();
  }
  ~RustPass() override { ceria_pass_drop(state); }

  StringRef getName() const override { return unwrap(info.argument); }
  StringRef getArgument() const override { return unwrap(info.argument); }
  StringRef getDescription() const override { return unwrap(info.summary); }

  void getDependentDialects(DialectRegistry &registry) const override {
    ceria_pass_dialects(info.descriptor, wrap(&registry));
  }

  LogicalResult initialize(MLIRContext *context) override {
    return success(
        ceria_pass_initialize(info.descriptor, state, wrap(context), &options));
  }

  bool canScheduleOn(RegisteredOperationName name) const override {
    if (info.anchor.length != 0 && unwrap(info.anchor) != name.getStringRef())
      return false;
    return ceria_pass_can_schedule(info.descriptor, wrap(name.getStringRef()));
  }

  void runOnOperation() override {
    if (!ceria_pass_run(info.descriptor, state, wrap(getOperation()), &options))
      signalPassFailure();
  }

protected:
  std::unique_ptr<Pass> clonePass() const override {
    return std::make_unique<RustPass>(*this);
  }

private:
  template <typename T> using Scalar = Pass::Option<T>;
  template <typename T> using List = Pass::ListOption<T>;

  static TypeID id(const CeriaPassInfo &info) {
    return TypeID::getFromOpaquePointer(&info);
  }
  static std::optional<StringRef> anchor(const CeriaPassInfo &info) {
    if (info.anchor.length == 0)
      return std::nullopt;
    return unwrap(info.anchor);
  }
  void addOptions() {
    options.add<Scalar, List>(*this, {info.options, info.optionCount});
  }

  const CeriaPassInfo &info;
  void *state;
  OptionSet options;
};

/// The options of a named pipeline.
class PipelineOptions final : public detail::PassOptions {
public:
  explicit PipelineOptions(const CeriaPipelineInfo &info) {
    options.add<Scalar, List>(static_cast<detail::PassOptions &>(*this),
                              {info.options, info.optionCount});
  }
  OptionSet options;

private:
  template <typename T> using Scalar = detail::PassOptions::Option<T>;
  template <typename T> using List = detail::PassOptions::ListOption<T>;
};

void append(void *text, const char *data, size_t length) {
  static_cast<std::string *>(text)->append(data, length);
}

/// Drops an anchor that repeats the op a pass manager is made for.
StringRef withoutAnchor(StringRef pipeline, StringRef opName) {
  StringRef rest = pipeline.trim();
  if (rest.consume_front(opName) && (rest = rest.ltrim()).consume_front("(") &&
      rest.consume_back(")"))
    return rest;
  return pipeline;
}

/// A short text of a location: `file:line:column` or a name.
void printLocation(raw_ostream &os, Location location) {
  if (auto file = dyn_cast<FileLineColLoc>(location)) {
    os << file.getFilename().getValue() << ':' << file.getLine() << ':'
       << file.getColumn();
  } else if (auto name = dyn_cast<NameLoc>(location)) {
    os << name.getName().getValue();
    if (!isa<UnknownLoc>(name.getChildLoc())) {
      os << " at ";
      printLocation(os, name.getChildLoc());
    }
  } else if (auto fused = dyn_cast<FusedLoc>(location)) {
    llvm::interleave(
        fused.getLocations(), os,
        [&](Location part) { printLocation(os, part); }, ", ");
  } else if (auto call = dyn_cast<CallSiteLoc>(location)) {
    printLocation(os, call.getCallee());
  } else if (!isa<UnknownLoc>(location)) {
    location.print(os);
  }
}

} // namespace

extern "C" {

/// Registers a pass; false if another pass has its argument already.
bool ceria_register_pass(const CeriaPassInfo *info) {
  if (PassInfo::lookup(unwrap(info->argument)))
    return false;
  registerPass([info] { return std::make_unique<RustPass>(*info); });
  return true;
}

/// Registers a pipeline; false if another one has its argument already.
bool ceria_register_pipeline(const CeriaPipelineInfo *info) {
  if (PassPipelineInfo::lookup(unwrap(info->argument)))
    return false;
  registerPassPipeline(
      unwrap(info->argument), unwrap(info->summary),
      [info](OpPassManager &manager, StringRef text,
             function_ref<LogicalResult(const Twine &)> fail) {
        PipelineOptions options(*info);
        std::string message;
        llvm::raw_string_ostream errors(message);
        if (failed(options.parseFromString(text, errors)))
          return fail(message);
        std::string pipeline;
        if (!ceria_pipeline_text(info->descriptor, &options.options, &pipeline,
                                 append))
          return fail(pipeline);
        if (failed(parsePassPipeline(pipeline, manager, errors)))
          return fail(message);
        return success();
      },
      [info](function_ref<void(const detail::PassOptions &)> visit) {
        PipelineOptions options(*info);
        visit(options);
      });
  return true;
}

/// Reads all values of one option.
void ceria_option_read(const void *options, size_t index, void *out,
                       Push push) {
  static_cast<const OptionSet *>(options)->read(index, out, push);
}

/// Runs a pipeline on an op. Returns 0, or 1 if the text is wrong (reported
/// through `parseError`), or 2 if a pass failed.
int ceria_run_pipeline(MlirOperation op, MlirStringRef text, bool verify,
                       void *out,
                       void (*parseError)(void *, const char *, size_t),
                       void (*diagnostic)(void *, MlirDiagnostic)) {
  Operation *root = unwrap(op);
  PassManager manager(root->getContext(), root->getName().getStringRef());
  manager.enableVerifier(verify);
  std::string message;
  llvm::raw_string_ostream errors(message);
  if (failed(parsePassPipeline(
          withoutAnchor(unwrap(text), root->getName().getStringRef()), manager,
          errors))) {
    parseError(out, message.data(), message.size());
    return 1;
  }
  ScopedDiagnosticHandler handler(root->getContext(), [&](Diagnostic &d) {
    diagnostic(out, wrap(d));
    return success();
  });
  return succeeded(manager.run(root)) ? 0 : 2;
}

/// Emits a diagnostic with notes; `severity` is that of the C API.
void ceria_emit(MlirLocation location, MlirDiagnosticSeverity severity,
                MlirStringRef message, size_t count,
                const MlirLocation *noteLocations, const MlirStringRef *notes) {
  auto kind = DiagnosticSeverity::Error;
  if (severity == MlirDiagnosticWarning)
    kind = DiagnosticSeverity::Warning;
  else if (severity == MlirDiagnosticRemark)
    kind = DiagnosticSeverity::Remark;
  Location where = unwrap(location);
  InFlightDiagnostic diagnostic =
      where.getContext()->getDiagEngine().emit(where, kind);
  diagnostic << unwrap(message);
  for (size_t i = 0; i < count; ++i)
    diagnostic.attachNote(unwrap(noteLocations[i])) << unwrap(notes[i]);
}

/// Writes the short text of a location.
void ceria_location_text(MlirLocation location, void *out,
                         void (*push)(void *, const char *, size_t)) {
  std::string text;
  llvm::raw_string_ostream os(text);
  printLocation(os, unwrap(location));
  push(out, text.data(), text.size());
}

} // extern "C"
