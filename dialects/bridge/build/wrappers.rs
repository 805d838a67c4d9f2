//! The generated Rust of one dialect: a wrapper for each type, attribute, enumeration and op interface.

use super::{
    glue::{snake, snake_class},
    records::{Def, Dialect, Enum, Interface, Kind, Parameter},
};
use std::fmt::Write;

/// A module with the wrappers of one dialect.
pub fn module(dialect: &Dialect) -> String {
    let folder = &dialect.folder;
    let mut text = format!(
        "/// Types, attributes and op interfaces of `{folder}`.\npub mod {folder} {{\n#[allow(unused_imports)]\nuse super::support::*;\n"
    );
    for item in &dialect.enums {
        text += &enumeration(item);
    }
    for def in &dialect.types {
        text += &wrapper(folder, def, "Type", dialect);
    }
    for def in &dialect.attributes {
        text += &wrapper(folder, def, "Attribute", dialect);
    }
    for item in &dialect.interfaces {
        text += &interface(item);
    }
    let _ = write!(
        text,
        r#"
unsafe extern "C" {{ pub(super) fn ceria_register_dialect_{folder}(registry: mlir_sys::MlirDialectRegistry); }}
/// Registers the dialect.
pub fn register(registry: &melior::dialect::DialectRegistry) {{
    unsafe {{ ceria_register_dialect_{folder}(registry.to_raw()) }}
}}
}}
"#
    );
    text
}

fn enumeration(item: &Enum) -> String {
    let class = &item.class;
    let mut text = format!(
        "/// Enumeration `{class}`.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(u32)]\npub enum {class} {{\n"
    );
    for (symbol, name, value) in &item.cases {
        let _ = writeln!(text, "    /// `{name}`\n    {} = {value},", camel(symbol));
    }
    let _ = write!(
        text,
        "}}\nimpl {class} {{\n    /// The case of this number.\n    pub fn from_u32(value: u32) -> Option<Self> {{\n        Some(match value {{\n"
    );
    for (symbol, _, value) in &item.cases {
        let _ = writeln!(text, "            {value} => Self::{},", camel(symbol));
    }
    text += "            _ => return None,\n        })\n    }\n    /// The case's text in the assembly.\n    pub fn name(self) -> &'static str {\n        match self {\n";
    for (symbol, name, _) in &item.cases {
        let _ = writeln!(text, "            Self::{} => {name:?},", camel(symbol));
    }
    text += "        }\n    }\n}\n";
    text
}

/// A view of an op by an interface, and the signatures of the functions that implement it.
fn interface(item: &Interface) -> String {
    let class = &item.class;
    let module = snake_class(class);
    let doc = |text: &str, indent: &str| -> String {
        text.lines().map(|line| format!("{indent}/// {line}").trim_end().to_string() + "\n").collect()
    };
    let mut text = format!(
        r#"
{}#[derive(Clone, Copy)]
pub struct {class}<'c, 'a>(OperationRef<'c, 'a>);

impl<'c, 'a> {class}<'c, 'a> {{
    /// The op by this interface, if it implements it.
    pub fn of(op: OperationRef<'c, 'a>) -> Option<Self> {{
        unsafe extern "C" {{ fn ceria_implements_{module}(op: mlir_sys::MlirOperation) -> bool; }}
        unsafe {{ ceria_implements_{module}(op.to_raw()) }}.then_some(Self(op))
    }}
"#,
        doc(&item.description, "")
    );
    let mut types = String::new();
    for method in &item.methods {
        let (name, result) = (&method.name, &method.result);
        let described = doc(&method.description, "    ");
        let (declared, passed) = match method.argument.as_str() {
            "()" => (String::new(), "&()"),
            argument => (format!(", argument: &{argument}"), "argument"),
        };
        let _ = write!(
            text,
            r#"
{described}    pub fn {name}(self{declared}) -> {result} {{
        unsafe extern "C" {{ fn ceria_call_{module}_{name}(op: mlir_sys::MlirOperation, argument: *const std::ffi::c_void, result: *mut std::ffi::c_void); }}
        let method: {module}::{name} = |op, argument| unsafe {{ call_interface(ceria_call_{module}_{name}, op, argument) }};
        method(self.0, {passed})
    }}
"#
        );
        let _ = write!(
            types,
            "    /// Implements [`{class}::{name}`](super::{class}::{name}).\n    #[allow(non_camel_case_types)]\n    pub type {name} = for<'c, 'a, 'x> fn(melior::ir::OperationRef<'c, 'a>, &'x {}) -> {result};\n",
            method.argument
        );
    }
    text + &format!("}}\n/// Signatures of what implements [`{class}`].\npub mod {module} {{\n{types}}}\n")
}

fn camel(symbol: &str) -> String {
    symbol
        .split('_')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
        })
        .collect()
}

fn wrapper(dialect: &str, def: &Def, of: &str, all: &Dialect) -> String {
    let Def { class, mnemonic, .. } = def;
    let name = format!("{dialect}_{}", mnemonic.replace('.', "_"));
    let lower = of.to_lowercase();
    let sigil = if of == "Type" { '!' } else { '#' };
    let parameters = &def.parameters;
    let arguments: String =
        parameters.iter().map(|p| format!(", {}: {}", rust_name(p), argument_type(p))).collect();
    let c_arguments: String = parameters.iter().map(|p| format!(", {}", c_declaration(p))).collect();
    let encoded: String = parameters
        .iter()
        .filter(|p| matches!(p.kind, Kind::Rust(_)))
        .map(|p| format!("        let {0} = {0}.to_words();\n", rust_name(p)))
        .collect();
    let passed: String = parameters.iter().map(|p| format!(", {}", pass(p))).collect();
    let check = if def.verified {
        let given: String = parameters
            .iter()
            .map(|p| match &p.kind {
                Kind::Number(..) | Kind::Text | Kind::Words | Kind::Rust(_) => rust_name(p),
                Kind::Enum(_) => format!("{} as u32", rust_name(p)),
                Kind::Type | Kind::Attribute(_) => rust_name(p),
            })
            .collect::<Vec<_>>()
            .join(", ");
        format!(
            "        crate::{dialect}::verify::verify_{}_{lower}({given})?;\n",
            mnemonic.replace('.', "_")
        )
    } else {
        String::new()
    };
    let mut text = format!(
        r#"
/// `{sigil}{dialect}.{mnemonic}`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct {class}<'c>({of}<'c>);

impl<'c> {class}<'c> {{
    /// Builds it; an error says which parameter is wrong.
    #[allow(clippy::too_many_arguments)]
    pub fn new(context: &'c Context{arguments}) -> Result<Self, String> {{
        unsafe extern "C" {{ fn ceria_get_{lower}_{name}(context: mlir_sys::MlirContext{c_arguments}) -> mlir_sys::Mlir{of}; }}
{check}{encoded}        Ok(Self(unsafe {{ {of}::from_raw(ceria_get_{lower}_{name}(context.to_raw(){passed})) }}))
    }}
"#
    );
    for p in parameters {
        text += &getter(&name, &lower, of, p, all);
    }
    let _ = write!(
        text,
        r#"}}

impl<'c> TryFrom<{of}<'c>> for {class}<'c> {{
    type Error = String;
    fn try_from(value: {of}<'c>) -> Result<Self, String> {{
        unsafe extern "C" {{ fn ceria_isa_{lower}_{name}(value: mlir_sys::Mlir{of}) -> bool; }}
        if unsafe {{ ceria_isa_{lower}_{name}(value.to_raw()) }} {{
            Ok(Self(value))
        }} else {{
            Err(format!("expected {sigil}{dialect}.{mnemonic}, got {{value}}"))
        }}
    }}
}}

impl<'c> From<{class}<'c>> for {of}<'c> {{
    fn from(value: {class}<'c>) -> Self {{ value.0 }}
}}

impl std::fmt::Display for {class}<'_> {{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ self.0.fmt(f) }}
}}

impl std::fmt::Debug for {class}<'_> {{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ self.0.fmt(f) }}
}}
"#
    );
    if def.verified {
        text += &verifier(dialect, def, &lower);
    }
    text
}

/// The function that MLIR calls to verify parameters; it calls `verify_<mnemonic>_type` of the dialect.
fn verifier(dialect: &str, def: &Def, lower: &str) -> String {
    let mnemonic = def.mnemonic.replace('.', "_");
    let declared: String = def.parameters.iter().map(|p| format!(", {}", c_declaration(p))).collect();
    let decoded: Vec<String> = def
        .parameters
        .iter()
        .map(|p| {
            let n = rust_name(p);
            match &p.kind {
                Kind::Number(..) => n,
                Kind::Enum(_) => n,
                Kind::Text => format!("unsafe {{ text_of({n}) }}"),
                Kind::Words => format!("unsafe {{ words_of({n}, {n}_count) }}"),
                Kind::Rust(path) => format!("&{path}::from_words(unsafe {{ words_of({n}, {n}_count) }})?"),
                Kind::Type => format!("unsafe {{ Type::from_raw({n}) }}"),
                Kind::Attribute(_) => format!("unsafe {{ Attribute::from_option_raw({n}) }}"),
            }
        })
        .collect();
    format!(
        r#"
#[unsafe(no_mangle)]
extern "C" fn ceria_verify_{lower}_{dialect}_{mnemonic}(message: *mut std::ffi::c_void, push: PushText{declared}) -> bool {{
    run_definition_verifier(message, push, || crate::{dialect}::verify::verify_{mnemonic}_{lower}({}))
}}
"#,
        decoded.join(", ")
    )
}

fn getter(name: &str, lower: &str, of: &str, p: &Parameter, all: &Dialect) -> String {
    let method = rust_name(p);
    let function = format!("ceria_{lower}_{name}_{}", snake(&p.name));
    let raw = format!("mlir_sys::Mlir{of}");
    let doc = format!("    /// Parameter `{}`.\n", p.name);
    doc + &match &p.kind {
        Kind::Number(_, rust) => format!(
            "    pub fn {method}(&self) -> {rust} {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}) -> {rust}; }}\n        unsafe {{ {function}(self.0.to_raw()) }}\n    }}\n"
        ),
        Kind::Enum(cpp) => {
            let class = cpp.rsplit("::").next().unwrap_or_default();
            let first = all
                .enums
                .iter()
                .find(|e| e.class == class)
                .and_then(|e| e.cases.first())
                .map(|c| camel(&c.0))
                .unwrap_or_default();
            format!(
                "    pub fn {method}(&self) -> {class} {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}) -> u32; }}\n        {class}::from_u32(unsafe {{ {function}(self.0.to_raw()) }}).unwrap_or({class}::{first})\n    }}\n"
            )
        }
        Kind::Text => format!(
            "    pub fn {method}(&self) -> &'c str {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}) -> mlir_sys::MlirStringRef; }}\n        unsafe {{ text_of({function}(self.0.to_raw())) }}\n    }}\n"
        ),
        Kind::Words => format!(
            "    pub fn {method}(&self) -> &'c [i64] {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}, count: *mut usize) -> *const i64; }}\n        unsafe {{ words_from(|count| {function}(self.0.to_raw(), count)) }}\n    }}\n"
        ),
        Kind::Rust(path) => format!(
            "    pub fn {method}(&self) -> {path} {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}, count: *mut usize) -> *const i64; }}\n        decode(unsafe {{ words_from(|count| {function}(self.0.to_raw(), count)) }})\n    }}\n"
        ),
        Kind::Type => format!(
            "    pub fn {method}(&self) -> Type<'c> {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}) -> mlir_sys::MlirType; }}\n        unsafe {{ Type::from_raw({function}(self.0.to_raw())) }}\n    }}\n"
        ),
        Kind::Attribute(_) => format!(
            "    pub fn {method}(&self) -> Option<Attribute<'c>> {{\n        unsafe extern \"C\" {{ fn {function}(value: {raw}) -> mlir_sys::MlirAttribute; }}\n        unsafe {{ Attribute::from_option_raw({function}(self.0.to_raw())) }}\n    }}\n"
        ),
    }
}

fn rust_name(p: &Parameter) -> String {
    let name = snake(&p.name);
    if ["type", "in", "mod", "fn", "ref", "use", "as", "box"].contains(&name.as_str()) {
        format!("{name}_")
    } else {
        name
    }
}

fn argument_type(p: &Parameter) -> String {
    match &p.kind {
        Kind::Number(_, rust) => (*rust).into(),
        Kind::Enum(cpp) => cpp.rsplit("::").next().unwrap_or_default().into(),
        Kind::Text => "&str".into(),
        Kind::Words => "&[i64]".into(),
        Kind::Rust(path) => format!("&{path}"),
        Kind::Type => "Type<'c>".into(),
        Kind::Attribute(_) => "Option<Attribute<'c>>".into(),
    }
}

fn c_declaration(p: &Parameter) -> String {
    let n = rust_name(p);
    match &p.kind {
        Kind::Number(_, rust) => format!("{n}: {rust}"),
        Kind::Enum(_) => format!("{n}: u32"),
        Kind::Text => format!("{n}: mlir_sys::MlirStringRef"),
        Kind::Words | Kind::Rust(_) => format!("{n}: *const i64, {n}_count: usize"),
        Kind::Type => format!("{n}: mlir_sys::MlirType"),
        Kind::Attribute(_) => format!("{n}: mlir_sys::MlirAttribute"),
    }
}

fn pass(p: &Parameter) -> String {
    let n = rust_name(p);
    match &p.kind {
        Kind::Number(..) => n,
        Kind::Enum(_) => format!("{n} as u32"),
        Kind::Text => format!("melior::StringRef::new({n}).to_raw()"),
        Kind::Words | Kind::Rust(_) => format!("{n}.as_ptr(), {n}.len()"),
        Kind::Type => format!("{n}.to_raw()"),
        Kind::Attribute(_) => {
            format!("{n}.map_or(mlir_sys::MlirAttribute {{ ptr: std::ptr::null() }}, |a| a.to_raw())")
        }
    }
}
