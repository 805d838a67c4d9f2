//! What the build reads out of `llvm-tblgen --dump-json`.

use serde_json::Value;
use std::error::Error;

/// Rust types of `RustParam`s by their names.
const RUST_PARAMETERS: [(&str, &str); 4] = [
    ("basis", "ceria_runtime::format::basis::Basis"),
    ("layout", "ceria_runtime::format::layout::Layout"),
    ("params", "ceria_runtime::format::params::Params"),
    ("scale", "ceria_runtime::format::scale::Scale"),
];

/// One dialect's records.
pub struct Dialect {
    pub folder: String,
    pub stem: String,
    pub constant_materializer: bool,
    pub types: Vec<Def>,
    pub attributes: Vec<Def>,
    pub ops: Vec<Op>,
    pub enums: Vec<Enum>,
    pub interfaces: Vec<Interface>,
}

/// An op interface whose methods are `RustMethod`s.
#[derive(Clone)]
pub struct Interface {
    /// C++ class, such as `LevelEffect`; the Rust one has the same name.
    pub class: String,
    pub description: String,
    pub methods: Vec<Method>,
}

/// A method of an op interface: a function of a reference to one Rust type that returns another.
#[derive(Clone)]
pub struct Method {
    pub name: String,
    pub description: String,
    pub argument: String,
    pub result: String,
}

/// An enumeration and its cases.
pub struct Enum {
    pub class: String,
    /// Rust name, text and number of each case.
    pub cases: Vec<(String, String, i64)>,
}

/// A type or attribute definition.
pub struct Def {
    /// C++ class, such as `CtType`.
    pub class: String,
    pub mnemonic: String,
    pub verified: bool,
    pub names_values: bool,
    pub parameters: Vec<Parameter>,
}

/// A parameter of a type or attribute.
pub struct Parameter {
    pub name: String,
    pub kind: Kind,
}

/// How a parameter crosses between C++ and Rust.
pub enum Kind {
    /// A number with its C++ and Rust type.
    Number(&'static str, &'static str),
    Text,
    /// Words without further meaning: a shape.
    Words,
    /// Words of the Rust type named.
    Rust(String),
    Type,
    Attribute(String),
    /// An enumeration: its C++ type.
    Enum(String),
}

/// An op and what it declares.
pub struct Op {
    pub class: String,
    /// Mnemonic with `_` for `.`.
    pub symbol: String,
    pub verifier: bool,
    pub region_verifier: bool,
    pub folder: bool,
    pub single_result: bool,
    pub canonicalizer: bool,
    pub infers_types: bool,
    /// The interfaces of this dialect that it implements.
    pub interfaces: Vec<Interface>,
}

impl Dialect {
    /// Reads the records of the dialect called `folder`.
    pub fn read(folder: &str, stem: &str, json: &Value) -> Result<Self, Box<dyn Error>> {
        let names = |class: &str| -> Vec<String> {
            json["!instanceof"][class]
                .as_array()
                .map(|list| list.iter().filter_map(|v| v.as_str().map(String::from)).collect())
                .unwrap_or_default()
        };
        let dialect = names("Dialect")
            .into_iter()
            .find(|name| json[name]["name"] == folder)
            .ok_or(format!("{folder}: no Dialect record"))?;
        let own = |record: &Value, field: &str| record[field]["def"] == dialect.as_str();
        let mut types = Vec::new();
        for name in names("TypeDef") {
            if own(&json[&name], "dialect") {
                types.push(definition(json, &json[&name])?);
            }
        }
        let mut attributes = Vec::new();
        for name in names("AttrDef") {
            if own(&json[&name], "dialect") {
                attributes.push(definition(json, &json[&name])?);
            }
        }
        let namespace = format!("ceria::{folder}");
        let here = |name: &String| text(&json[name], "cppNamespace").trim_start_matches("::") == namespace;
        // Ops that declare an interface's methods derive a record of their own from it.
        let declares: Vec<String> = names("DeclareOpInterfaceMethods");
        let interfaces: Vec<Interface> = names("OpInterface")
            .into_iter()
            .filter(|name| here(name) && !declares.contains(name))
            .map(|name| interface(json, &json[&name]))
            .collect();
        let mut ops = Vec::new();
        for name in names("Op") {
            if own(&json[&name], "opDialect") {
                ops.push(op(json, &name, &json[&name], &interfaces));
            }
        }
        let enums =
            names("EnumInfo").into_iter().filter(here).map(|name| enumeration(json, &json[&name])).collect();
        Ok(Self {
            folder: folder.into(),
            stem: stem.into(),
            constant_materializer: flag(&json[&dialect], "hasConstantMaterializer"),
            types,
            attributes,
            ops,
            enums,
            interfaces,
        })
    }
}

fn enumeration(json: &Value, record: &Value) -> Enum {
    let cases = record["enumerants"].as_array().into_iter().flatten().filter_map(|case| {
        let case = &json[case["def"].as_str()?];
        Some((text(case, "symbol"), text(case, "str"), case["value"].as_i64()?))
    });
    Enum { class: text(record, "className"), cases: cases.collect() }
}

fn interface(json: &Value, record: &Value) -> Interface {
    let methods = record["methods"].as_array().into_iter().flatten().filter_map(|method| {
        let method = &json[method["def"].as_str()?];
        Some(Method {
            name: text(method, "name"),
            description: text(method, "rustDescription"),
            argument: text(method, "rustArgument"),
            result: text(method, "rustResult"),
        })
    });
    let description = text(record, "description");
    Interface {
        class: text(record, "cppInterfaceName"),
        description: description.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().into(),
        methods: methods.collect(),
    }
}

fn flag(record: &Value, field: &str) -> bool {
    record[field].as_i64() == Some(1) || record[field].as_bool() == Some(true)
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_string()
}

fn definition(json: &Value, record: &Value) -> Result<Def, Box<dyn Error>> {
    let class = text(record, "cppClassName");
    let mut parameters = Vec::new();
    for pair in record["parameters"]["args"].as_array().into_iter().flatten() {
        let name = pair[1].as_str().unwrap_or_default().to_string();
        let kind = match &pair[0] {
            Value::String(cpp) => kind(cpp, None),
            value => {
                let parameter = &json[value["def"].as_str().unwrap_or_default()];
                kind(&text(parameter, "cppType"), parameter["rustName"].as_str())
            }
        }
        .ok_or_else(|| format!("{class}: parameter {name} has a type that Rust cannot read"))?;
        parameters.push(Parameter { name, kind });
    }
    let names_values = trait_names(json, record, "traits").any(|t| t == "OpAsmTypeInterface")
        && !text(record, "extraClassDefinition").contains("getAsmName");
    Ok(Def {
        class,
        mnemonic: text(record, "mnemonic"),
        verified: flag(record, "genVerifyDecl"),
        names_values,
        parameters,
    })
}

fn kind(cpp: &str, rust: Option<&str>) -> Option<Kind> {
    if let Some(name) = rust {
        return RUST_PARAMETERS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, path)| Kind::Rust((*path).into()));
    }
    Some(match cpp.trim().trim_start_matches("::") {
        "unsigned" | "uint32_t" => Kind::Number("uint32_t", "u32"),
        "int" | "int32_t" => Kind::Number("int32_t", "i32"),
        "int64_t" => Kind::Number("int64_t", "i64"),
        "uint64_t" => Kind::Number("uint64_t", "u64"),
        "double" => Kind::Number("double", "f64"),
        "bool" => Kind::Number("bool", "bool"),
        "llvm::StringRef" | "StringRef" => Kind::Text,
        "llvm::ArrayRef<int64_t>" | "ArrayRef<int64_t>" => Kind::Words,
        "mlir::Type" | "Type" => Kind::Type,
        other if other.ends_with("Attr") || other.ends_with("Attribute") => Kind::Attribute(other.into()),
        other if other.starts_with("ceria::") => Kind::Enum(other.into()),
        _ => return None,
    })
}

fn trait_names<'j>(json: &'j Value, record: &'j Value, field: &str) -> impl Iterator<Item = String> + 'j {
    record[field].as_array().into_iter().flatten().filter_map(|t| {
        let record = &json[t["def"].as_str()?];
        record["cppInterfaceName"].as_str().or_else(|| record["trait"].as_str()).map(String::from)
    })
}

fn op(json: &Value, name: &str, record: &Value, interfaces: &[Interface]) -> Op {
    let results = record["results"]["args"].as_array().cloned().unwrap_or_default();
    let variadic = results.iter().any(|r| {
        let def = r[0]["def"].as_str().unwrap_or_default();
        let of = |class: &str| {
            json["!instanceof"][class].as_array().is_some_and(|l| l.iter().any(|v| v.as_str() == Some(def)))
        };
        of("Variadic") || of("Optional") || of("VariadicOfVariadic")
    });
    Op {
        class: name.split_once('_').map_or(name, |(_, class)| class).to_string(),
        symbol: text(record, "opName").replace('.', "_"),
        verifier: flag(record, "hasVerifier"),
        region_verifier: flag(record, "hasRegionVerifier"),
        folder: flag(record, "hasFolder"),
        single_result: results.len() == 1 && !variadic,
        canonicalizer: flag(record, "hasCanonicalizer"),
        infers_types: trait_names(json, record, "traits").any(|t| t == "InferTypeOpInterface"),
        interfaces: trait_names(json, record, "traits")
            .filter_map(|t| interfaces.iter().find(|i| i.class == t).cloned())
            .collect(),
    }
}
