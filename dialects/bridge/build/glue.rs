//! The generated C++ of one dialect: class definitions and the calls into Rust.

use super::records::{Def, Dialect, Interface, Kind, Op};
use std::fmt::Write;

/// The header that declares a dialect's classes.
pub fn header(dialect: &Dialect) -> String {
    let stem = &dialect.stem;
    let interfaces = match dialect.interfaces.as_slice() {
        [] => String::new(),
        _ => format!("#include \"{stem}-op-interface.h.inc\"\n"),
    };
    format!(
        r#"// Generated from {folder}/{stem}.td.
#pragma once
#include "bridge/Bridge.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpAsmSupport.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/CastInterfaces.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

#include "{stem}-dialect.h.inc"
#include "{stem}-enum.h.inc"
#define GET_ATTRDEF_CLASSES
#include "{stem}-attrdef.h.inc"
#define GET_TYPEDEF_CLASSES
#include "{stem}-typedef.h.inc"
{interfaces}#define GET_OP_CLASSES
#include "{stem}-op.h.inc"
"#,
        folder = dialect.folder
    )
}

/// The source that defines a dialect's classes and calls Rust.
pub fn source(dialect: &Dialect) -> String {
    let Dialect { folder, stem, .. } = dialect;
    let mut text = format!(
        r#"// Generated from {folder}/{stem}.td.
#include "{stem}.h"
#include "mlir-c/IR.h"
#include "mlir/CAPI/Registration.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ceria::{folder};

#include "{stem}-dialect.cpp.inc"
#include "{stem}-enum.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "{stem}-attrdef.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "{stem}-typedef.cpp.inc"
#define GET_OP_CLASSES
#include "{stem}-op.cpp.inc"

"#
    );
    if !dialect.interfaces.is_empty() {
        let _ = writeln!(text, "#include \"{stem}-op-interface.cpp.inc\"");
    }
    let _ = writeln!(text, "\nvoid {stem}Dialect::initialize() {{");
    if !dialect.types.is_empty() {
        let _ = writeln!(
            text,
            "  addTypes<\n#define GET_TYPEDEF_LIST\n#include \"{stem}-typedef.cpp.inc\"\n  >();"
        );
    }
    if !dialect.attributes.is_empty() {
        let _ = writeln!(
            text,
            "  addAttributes<\n#define GET_ATTRDEF_LIST\n#include \"{stem}-attrdef.cpp.inc\"\n  >();"
        );
    }
    if !dialect.ops.is_empty() {
        let _ =
            writeln!(text, "  addOperations<\n#define GET_OP_LIST\n#include \"{stem}-op.cpp.inc\"\n  >();");
    }
    text += "}\n";
    if dialect.constant_materializer {
        text += &materializer(dialect);
    }
    for interface in &dialect.interfaces {
        text += &interface_glue(interface);
    }
    for op in &dialect.ops {
        text += &op_glue(folder, op);
    }
    for (def, of) in
        dialect.types.iter().map(|d| (d, "Type")).chain(dialect.attributes.iter().map(|d| (d, "Attribute")))
    {
        text += &definition_glue(folder, def, of);
    }
    let _ = write!(
        text,
        r#"
extern "C" void ceria_register_dialect_{folder}(MlirDialectRegistry registry) {{
  unwrap(registry)->insert<{stem}Dialect>();
}}
"#
    );
    text
}

fn materializer(dialect: &Dialect) -> String {
    let Dialect { folder, stem, .. } = dialect;
    format!(
        r#"
extern "C" MlirOperation ceria_materialize_{folder}(MlirContext context, MlirAttribute value, MlirType type,
                                                    MlirLocation location);
Operation *{stem}Dialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                              Location location) {{
  Operation *op = unwrap(ceria_materialize_{folder}(wrap(builder.getContext()), wrap(value), wrap(type),
                                                    wrap(location)));
  return op ? builder.insert(op) : nullptr;
}}
"#
    )
}

/// What Rust asks of an interface: whether an op implements it, and its methods.
fn interface_glue(interface: &Interface) -> String {
    let class = &interface.class;
    let name = snake_class(class);
    let mut text = format!(
        r#"
extern "C" bool ceria_implements_{name}(MlirOperation op) {{ return isa<{class}>(unwrap(op)); }}
"#
    );
    for method in &interface.methods {
        let method = &method.name;
        let _ = write!(
            text,
            r#"extern "C" void ceria_call_{name}_{method}(MlirOperation op, const void *argument, void *result) {{
  cast<{class}>(unwrap(op)).{method}(argument, result);
}}
"#
        );
    }
    text
}

fn op_glue(dialect: &str, op: &Op) -> String {
    let Op { class, symbol, .. } = op;
    let name = format!("{dialect}_{symbol}");
    let mut text = String::new();
    if op.verifier {
        let _ = write!(
            text,
            r#"
extern "C" bool ceria_verify_{name}(MlirOperation op);
LogicalResult {class}::verify() {{
  return success(ceria_verify_{name}(wrap(getOperation())));
}}
"#
        );
    }
    if op.region_verifier {
        let _ = write!(
            text,
            r#"
extern "C" bool ceria_verify_regions_{name}(MlirOperation op);
LogicalResult {class}::verifyRegions() {{
  return success(ceria_verify_regions_{name}(wrap(getOperation())));
}}
"#
        );
    }
    if op.folder {
        let _ = write!(
            text,
            r#"
extern "C" int ceria_fold_{name}(MlirOperation op, intptr_t count, const MlirAttribute *operands,
                                 void *results, ceria::CeriaPushValue value,
                                 ceria::CeriaPushAttribute attribute);
static int fold_{name}(Operation *op, ArrayRef<Attribute> operands, SmallVectorImpl<OpFoldResult> &results) {{
  SmallVector<MlirAttribute> wrapped;
  for (Attribute operand : operands)
    wrapped.push_back(wrap(operand));
  return ceria_fold_{name}(wrap(op), wrapped.size(), wrapped.data(), &results, ceria::pushFoldedValue,
                           ceria::pushFoldedAttribute);
}}
"#
        );
        if op.single_result {
            let _ = write!(
                text,
                r#"
OpFoldResult {class}::fold(FoldAdaptor adaptor) {{
  SmallVector<OpFoldResult> results;
  switch (fold_{name}(getOperation(), adaptor.getOperands(), results)) {{
  case 1:
    return getOperation()->getResult(0);
  case 2:
    return results.size() == 1 ? results.front() : OpFoldResult();
  default:
    return {{}};
  }}
}}
"#
            );
        } else {
            let _ = write!(
                text,
                r#"
LogicalResult {class}::fold(FoldAdaptor adaptor, SmallVectorImpl<OpFoldResult> &results) {{
  return success(fold_{name}(getOperation(), adaptor.getOperands(), results) != 0);
}}
"#
            );
        }
    }
    if op.canonicalizer {
        let _ = write!(
            text,
            r#"
extern "C" void ceria_canonicalize_{name}(MlirRewritePatternSet patterns, MlirContext context);
void {class}::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {{
  ceria_canonicalize_{name}(wrap(&patterns), wrap(context));
}}
"#
        );
    }
    if op.infers_types {
        let _ = write!(
            text,
            r#"
extern "C" bool ceria_infer_{name}(MlirContext context, MlirLocation location, intptr_t count,
                                   const MlirValue *operands, MlirAttribute attributes, intptr_t regionCount,
                                   const MlirRegion *regions, void *types, ceria::CeriaPushType push);
LogicalResult {class}::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                        ValueRange operands, DictionaryAttr attributes,
                                        OpaqueProperties properties, RegionRange regions,
                                        SmallVectorImpl<Type> &types) {{
  SmallVector<MlirValue> wrapped;
  for (Value operand : operands)
    wrapped.push_back(wrap(operand));
  SmallVector<MlirRegion> wrappedRegions;
  for (Region *region : regions)
    wrappedRegions.push_back(wrap(region));
  DictionaryAttr all = ceria::inherentAttributes<{class}>(context, attributes, properties);
  Location at = location ? *location : UnknownLoc::get(context);
  return success(ceria_infer_{name}(wrap(context), wrap(at), wrapped.size(), wrapped.data(), wrap(all),
                                    wrappedRegions.size(), wrappedRegions.data(), &types, ceria::pushType));
}}
"#
        );
    }
    for interface in &op.interfaces {
        let of = snake_class(&interface.class);
        for method in &interface.methods {
            let method = &method.name;
            let _ = write!(
                text,
                r#"
extern "C" void ceria_{of}_{method}_{name}(MlirOperation op, const void *argument, void *result);
void {class}::{method}(const void *argument, void *result) {{
  ceria_{of}_{method}_{name}(wrap(getOperation()), argument, result);
}}
"#
            );
        }
    }
    text
}

/// `isa`, constructor, getters and verifier of a type or attribute; `of` is `Type` or `Attribute`.
fn definition_glue(dialect: &str, def: &Def, of: &str) -> String {
    let Def { class, mnemonic, .. } = def;
    let name = format!("{dialect}_{}", mnemonic.replace('.', "_"));
    let lower = of.to_lowercase();
    let mut text = format!(
        r#"
extern "C" bool ceria_isa_{lower}_{name}(Mlir{of} self) {{ return isa<{class}>(unwrap(self)); }}
"#
    );
    let parameters: Vec<String> = def.parameters.iter().map(|p| c_parameters(&p.kind, &p.name)).collect();
    let arguments: Vec<String> = def.parameters.iter().map(|p| from_c(&p.kind, &p.name)).collect();
    let mut all = vec!["MlirContext context".to_string()];
    all.extend(parameters);
    let mut call = vec!["unwrap(context)".to_string()];
    call.extend(arguments);
    let _ = write!(
        text,
        r#"extern "C" Mlir{of} ceria_get_{lower}_{name}({}) {{
  return wrap({of}({class}::get({})));
}}
"#,
        all.join(", "),
        call.join(", ")
    );
    for parameter in &def.parameters {
        let getter = format!("{}{}", parameter.name[..1].to_uppercase(), &parameter.name[1..]);
        let read = format!("cast<{class}>(unwrap(self)).get{getter}()");
        let function = format!("ceria_{lower}_{name}_{}", snake(&parameter.name));
        let _ = match &parameter.kind {
            Kind::Number(cpp, _) => {
                writeln!(text, "extern \"C\" {cpp} {function}(Mlir{of} self) {{ return {read}; }}")
            }
            Kind::Enum(_) => {
                writeln!(
                    text,
                    "extern \"C\" uint32_t {function}(Mlir{of} self) {{ return static_cast<uint32_t>({read}); }}"
                )
            }
            Kind::Text => {
                writeln!(
                    text,
                    "extern \"C\" MlirStringRef {function}(Mlir{of} self) {{ return wrap({read}); }}"
                )
            }
            Kind::Words | Kind::Rust(_) => writeln!(
                text,
                "extern \"C\" const int64_t *{function}(Mlir{of} self, size_t *count) {{\n  \
                 ArrayRef<int64_t> words = {read};\n  *count = words.size();\n  return words.data();\n}}"
            ),
            Kind::Type => {
                writeln!(text, "extern \"C\" MlirType {function}(Mlir{of} self) {{ return wrap({read}); }}")
            }
            Kind::Attribute(_) => writeln!(
                text,
                "extern \"C\" MlirAttribute {function}(Mlir{of} self) {{ return wrap(Attribute({read})); }}"
            ),
        };
    }
    if def.verified {
        text += &definition_verifier(&name, def, &lower);
    }
    if def.names_values {
        let _ = writeln!(
            text,
            "void {class}::getAsmName(OpAsmSetNameFn setName) const {{ setName(\"{mnemonic}\"); }}"
        );
    }
    text
}

fn definition_verifier(name: &str, def: &Def, lower: &str) -> String {
    let class = &def.class;
    let c: Vec<String> = def.parameters.iter().map(|p| c_parameters(&p.kind, &p.name)).collect();
    let cpp: Vec<String> =
        def.parameters.iter().map(|p| format!("{} {}", cpp_type(&p.kind), p.name)).collect();
    let passed: Vec<String> = def.parameters.iter().map(|p| to_c(&p.kind, &p.name)).collect();
    let join = |list: &[String]| list.iter().map(|s| format!(", {s}")).collect::<String>();
    format!(
        r#"extern "C" bool ceria_verify_{lower}_{name}(void *message, ceria::CeriaPushText push{});
LogicalResult {class}::verify(function_ref<InFlightDiagnostic()> emitError{}) {{
  std::string message;
  bool ok = ceria_verify_{lower}_{name}(&message, ceria::pushText{});
  return ceria::reportUnless(ok, emitError, message);
}}
"#,
        join(&c),
        join(&cpp),
        join(&passed)
    )
}

/// Declaration of a parameter in the C ABI.
fn c_parameters(kind: &Kind, name: &str) -> String {
    match kind {
        Kind::Number(cpp, _) => format!("{cpp} {name}"),
        Kind::Enum(_) => format!("uint32_t {name}"),
        Kind::Text => format!("MlirStringRef {name}"),
        Kind::Words | Kind::Rust(_) => format!("const int64_t *{name}, size_t {name}Count"),
        Kind::Type => format!("MlirType {name}"),
        Kind::Attribute(_) => format!("MlirAttribute {name}"),
    }
}

fn from_c(kind: &Kind, name: &str) -> String {
    match kind {
        Kind::Number(..) => name.into(),
        Kind::Enum(cpp) => format!("static_cast<::{cpp}>({name})"),
        Kind::Text => format!("unwrap({name})"),
        Kind::Words | Kind::Rust(_) => format!("ArrayRef<int64_t>({name}, {name}Count)"),
        Kind::Type => format!("unwrap({name})"),
        Kind::Attribute(cpp) => format!("cast_or_null<::{}>(unwrap({name}))", qualified(cpp)),
    }
}

fn to_c(kind: &Kind, name: &str) -> String {
    match kind {
        Kind::Number(..) => name.into(),
        Kind::Enum(_) => format!("static_cast<uint32_t>({name})"),
        Kind::Text | Kind::Type => format!("wrap({name})"),
        Kind::Words | Kind::Rust(_) => format!("{name}.data(), {name}.size()"),
        Kind::Attribute(_) => format!("wrap(Attribute({name}))"),
    }
}

fn cpp_type(kind: &Kind) -> String {
    match kind {
        Kind::Number(cpp, _) => (*cpp).into(),
        Kind::Enum(cpp) => format!("::{cpp}"),
        Kind::Text => "StringRef".into(),
        Kind::Words | Kind::Rust(_) => "ArrayRef<int64_t>".into(),
        Kind::Type => "Type".into(),
        Kind::Attribute(cpp) => format!("::{}", qualified(cpp)),
    }
}

fn qualified(cpp: &str) -> String {
    if cpp.contains("::") { cpp.into() } else { format!("mlir::{cpp}") }
}

/// `LevelEffect` as `level_effect`.
pub fn snake_class(class: &str) -> String {
    snake(class).trim_start_matches('_').into()
}

/// `logN` as `log_n`.
pub fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}
