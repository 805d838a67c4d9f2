//! What the client needs to know of arguments and results, carried from tensors to ciphertexts.

use ceria_dialects::{
    bridge::{hooks::*, pass::PassError, rewrite::find_ops},
    ckks::{
        LayoutAttr,
        attributes::{make_int, make_ints},
    },
    fhe::{
        access::{layout_of, shape_of},
        signature::{self, Side},
    },
};
use ceria_runtime::format::layout::Layout;
use melior::ir::attribute::StringAttribute;

/// The name of a tensor.
pub const NAME: &str = "ckks.name";
/// Its shape.
pub const SHAPE: &str = "ckks.shape";
/// Its layout.
pub const LAYOUT: &str = "ckks.layout";
/// The number of a ciphertext in its tensor.
pub const PART: &str = "ckks.part";

/// One side of a function: for each tensor or clear value its attributes and, if it is encrypted, shape and layout.
struct Port<'c> {
    attributes: Vec<(String, Attribute<'c>)>,
    tensor: Option<(Vec<usize>, Layout)>,
}

/// The ports of all functions of a module, by function.
pub struct Ports<'c> {
    functions: Vec<(String, Vec<Port<'c>>, Vec<Port<'c>>)>,
}

/// Reads the signatures before the conversion.
pub fn record<'c>(module: OperationRef<'c, '_>) -> Result<Ports<'c>, PassError> {
    let side = |function: OperationRef<'c, '_>, side| -> Result<Vec<Port<'c>>, PassError> {
        (0..signature::count(function, side))
            .map(|index| {
                let ty = signature::type_of(function, side, index).ok_or("has a malformed type")?;
                let tensor = shape_of(ty).zip(layout_of(ty));
                Ok(Port { attributes: signature::all(function, side, index), tensor })
            })
            .collect()
    };
    let functions = find_ops(&module, &["func.func"])
        .into_iter()
        .map(|f| Ok((name(f), side(f, Side::Arguments)?, side(f, Side::Results)?)))
        .collect::<Result<_, PassError>>()?;
    Ok(Ports { functions })
}

/// Writes the signatures after the conversion.
pub fn apply<'c>(module: OperationRef<'c, '_>, ports: &Ports<'c>) -> Result<(), PassError> {
    for function in find_ops(&module, &["func.func"]) {
        let own = ports.functions.iter().find(|(known, ..)| *known == name(function));
        if let Some((_, arguments, results)) = own {
            for (side, ports, number) in
                [(Side::Arguments, arguments, "ckks.input"), (Side::Results, results, "ckks.output")]
            {
                if ports.iter().any(|p| p.tensor.is_some()) {
                    signature::replace_all(function, side, &attributes(function, ports, number)?);
                }
            }
        }
    }
    Ok(())
}

fn name(function: OperationRef<'_, '_>) -> String {
    use ceria_dialects::fhe::access::Attributes;
    Attributes::text(&function, "sym_name").unwrap_or_default().to_string()
}

/// The attributes of each ciphertext.
fn attributes<'c>(
    function: OperationRef<'c, '_>,
    ports: &[Port<'c>],
    number: &str,
) -> Result<Vec<Vec<(String, Attribute<'c>)>>, PassError> {
    let context = context_of(function);
    let mut all = Vec::new();
    let mut tensors = 0;
    for (index, port) in ports.iter().enumerate() {
        let Some((shape, layout)) = &port.tensor else {
            all.push(port.attributes.clone());
            continue;
        };
        let mut common: Vec<(String, Attribute<'c>)> = port
            .attributes
            .iter()
            .map(|(name, value)| {
                (name.strip_prefix("fhe.").map_or(name.clone(), |n| format!("ckks.{n}")), *value)
            })
            .collect();
        if common.iter().all(|(name, _)| name != NAME) {
            let stem = if number == "ckks.input" { "arg" } else { "result" };
            let name = StringAttribute::new(context, &format!("{stem}{index}"));
            common.push((NAME.into(), name.into()));
        }
        let extents: Vec<i64> = shape.iter().map(|&s| s as i64).collect();
        common.push((SHAPE.into(), make_ints(context, &extents)));
        common.push((LAYOUT.into(), LayoutAttr::new(context, layout)?.into()));
        common.push((number.into(), make_int(context, tensors)));
        tensors += 1;
        for part in 0..layout.ciphertexts() {
            let mut own = common.clone();
            own.push((PART.into(), make_int(context, part as i64)));
            all.push(own);
        }
    }
    Ok(all)
}

/// A tensor that a ciphertext program takes or gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its elements sit.
    pub layout: Layout,
    /// The range of its values, where it is known.
    pub range: Option<[f64; 2]>,
}

/// The tensors of one side of a lowered function, in order.
pub fn tensors(function: OperationRef<'_, '_>, side: Side) -> Result<Vec<Tensor>, String> {
    use ceria_dialects::{ckks::attributes::to_ints, fhe::access::f64_array};
    let mut tensors = Vec::new();
    let mut index = 0;
    while index < signature::count(function, side) {
        let get = |name: &str| signature::get(function, side, index, name);
        let missing = |name: &str| format!("lacks {name} at number {index}");
        let layout =
            get(LAYOUT).and_then(|a| LayoutAttr::try_from(a).ok()).ok_or_else(|| missing(LAYOUT))?.layout();
        let name = get(NAME).and_then(|a| StringAttribute::try_from(a).ok()).ok_or_else(|| missing(NAME))?;
        let shape = get(SHAPE).and_then(to_ints).ok_or_else(|| missing(SHAPE))?;
        let range = get("ckks.range").and_then(f64_array).and_then(|r| <[f64; 2]>::try_from(r).ok());
        index += layout.ciphertexts();
        let shape = shape.iter().map(|&s| s as usize).collect();
        tensors.push(Tensor { name: name.value().to_string(), shape, layout, range });
    }
    Ok(tensors)
}
