//===- emit.cpp - From the LLVM dialect to object code --------------------===//
//
// Translates a module of the LLVM dialect to LLVM IR, optimises it for a CPU
// with the standard pipeline and emits an object file, assembly or LLVM IR.
//
//===----------------------------------------------------------------------===//

#include "mlir-c/IR.h"
#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Support.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/LoopAnalysisManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CodeGen.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

#include <mutex>

using namespace mlir;

extern "C" {
/// What to emit; `CeriaTarget` of emit.rs.
struct CeriaTarget {
  MlirStringRef triple;
  MlirStringRef cpu;
  MlirStringRef features;
  unsigned level;
  /// 0 an object file, 1 assembly, 2 LLVM IR.
  unsigned form;
};
}

// Of LLVM's code generator for NVIDIA devices.
extern "C" {
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

namespace {

using Push = void (*)(void *, const char *, size_t);

llvm::OptimizationLevel optimizationLevel(unsigned level) {
  switch (level) {
  case 0:
    return llvm::OptimizationLevel::O0;
  case 1:
    return llvm::OptimizationLevel::O1;
  case 2:
    return llvm::OptimizationLevel::O2;
  default:
    return llvm::OptimizationLevel::O3;
  }
}

llvm::CodeGenOptLevel codegenLevel(unsigned level) {
  switch (level) {
  case 0:
    return llvm::CodeGenOptLevel::None;
  case 1:
    return llvm::CodeGenOptLevel::Less;
  case 2:
    return llvm::CodeGenOptLevel::Default;
  default:
    return llvm::CodeGenOptLevel::Aggressive;
  }
}

/// Leaves out straight-line strength reduction, which costs more than all other
/// passes together on long straight code and has nothing to do there: offsets
/// from one address are constants already.
class NoStrengthReduction final : public llvm::OptPassGate {
public:
  bool shouldRunPass(StringRef pass, StringRef) const override {
    return pass != "slsr";
  }
  bool isEnabled() const override { return true; }
};

std::unique_ptr<llvm::TargetMachine> createMachine(const CeriaTarget &target,
                                                   std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  llvm::Triple triple(target.triple.length
                          ? unwrap(target.triple).str()
                          : llvm::sys::getDefaultTargetTriple());
  if (triple.isNVPTX()) {
    static std::once_flag nvptx;
    std::call_once(nvptx, [] {
      LLVMInitializeNVPTXTargetInfo();
      LLVMInitializeNVPTXTarget();
      LLVMInitializeNVPTXTargetMC();
      LLVMInitializeNVPTXAsmPrinter();
    });
  }
  const llvm::Target *known = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!known)
    return nullptr;
  std::unique_ptr<llvm::TargetMachine> machine(known->createTargetMachine(
      triple, unwrap(target.cpu), unwrap(target.features),
      llvm::TargetOptions(), llvm::Reloc::PIC_, std::nullopt,
      codegenLevel(target.level)));
  if (!machine)
    error = "no code generator for " + triple.str();
  return machine;
}

void optimize(llvm::Module &module, llvm::TargetMachine &machine,
              unsigned level) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::OptimizationLevel optimization = optimizationLevel(level);
  llvm::ModulePassManager manager =
      level == 0 ? builder.buildO0DefaultPipeline(optimization)
                 : builder.buildPerModuleDefaultPipeline(optimization);
  manager.run(module, modules);
}

} // namespace

extern "C" {

/// Emits a module; threads may emit the same one. False if it cannot be
/// translated, which MLIR reports at the op, or if LLVM refuses it, which
/// `fail` gets.
bool ceria_emit_code(MlirOperation op, const CeriaTarget *target, void *out,
                     Push push, void *message, Push fail) {
  auto refuse = [&](StringRef text) {
    fail(message, text.data(), text.size());
    return false;
  };
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine;
  NoStrengthReduction gate;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module;
  {
    // Translation may rewrite the op on its way, and targets register
    // themselves; what follows is of this call alone.
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    machine = createMachine(*target, error);
    if (machine)
      module = translateModuleToLLVMIR(unwrap(op), context, "ceria");
  }
  if (!machine)
    return refuse(error);
  if (!module)
    return false;
  if (machine->getTargetTriple().isNVPTX())
    context.setOptPassGate(gate);
  module->setDataLayout(machine->createDataLayout());
  module->setTargetTriple(machine->getTargetTriple());
  for (llvm::Function &function : *module) {
    if (function.isDeclaration())
      continue;
    if (!function.hasFnAttribute("target-cpu"))
      function.addFnAttr("target-cpu", machine->getTargetCPU());
    if (!function.hasFnAttribute("target-features") && target->features.length)
      function.addFnAttr("target-features", machine->getTargetFeatureString());
  }
  llvm::raw_string_ostream errors(error);
  if (llvm::verifyModule(*module, &errors))
    return refuse(error);
  optimize(*module, *machine, target->level);

  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  if (target->form == 2) {
    module->print(stream, nullptr);
  } else {
    llvm::legacy::PassManager codegen;
    auto type = target->form == 1 ? llvm::CodeGenFileType::AssemblyFile
                                  : llvm::CodeGenFileType::ObjectFile;
    if (machine->addPassesToEmitFile(codegen, stream, nullptr, type))
      return refuse("the target cannot emit this kind of file");
    codegen.run(*module);
  }
  push(out, bytes.data(), bytes.size());
  return true;
}

/// Makes the LLVM dialect's ops translatable in a context.
void ceria_emit_register(MlirContext context) {
  DialectRegistry registry;
  registerAllToLLVMIRTranslations(registry);
  unwrap(context)->appendDialectRegistry(registry);
}

/// The host's CPU and its features as `+avx2,-sse4a`.
void ceria_host(void *cpu, void *features, Push push) {
  StringRef name = llvm::sys::getHostCPUName();
  push(cpu, name.data(), name.size());
  llvm::SubtargetFeatures list;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    list.AddFeature(feature.getKey(), feature.getValue());
  std::string text = list.getString();
  push(features, text.data(), text.size());
}

} // extern "C"
