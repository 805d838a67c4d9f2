//! The encrypted tensors of a program, from the attributes of its function at the level of ciphertexts.
//!
//! Each argument or result is one ciphertext: `ckks.name` and `ckks.shape` are those of its tensor, `ckks.layout` says
//! where elements are, `ckks.input` (or `ckks.output`) numbers tensors and `ckks.part` the ciphertexts of one;
//! `ckks.range`, `ckks.post` and `ckks.post_axis` are optional.

use super::BundleError;
use ceria_dialects::{
    bridge::hooks::{Attribute, BlockLike, OperationLike, OperationRef, RegionLike, Type, ValueLike},
    ckks::{CtType, LayoutAttr},
    interpret,
};
use ceria_runtime::format::{
    manifest::{Port, PostProcess},
    params::Params,
    scale::Scale,
};
use melior::ir::attribute::{
    ArrayAttribute, DenseI64ArrayAttribute, DictionaryAttribute, IntegerAttribute, StringAttribute,
};

/// One ciphertext of a function.
struct Ciphertext<'c> {
    attributes: Option<DictionaryAttribute<'c>>,
    level: u32,
    scale: Scale,
    size: u32,
}

/// The inputs and outputs of a module's `main`.
pub fn read(module: OperationRef<'_, '_>, params: &Params) -> Result<(Vec<Port>, Vec<Port>), BundleError> {
    let wrong = |what: &str| BundleError::Program(what.into());
    let main = interpret::symbol(module, "main").ok_or_else(|| wrong("the program has no function @main"))?;
    let block =
        main.region(0).ok().and_then(|r| r.first_block()).ok_or_else(|| wrong("@main has no body"))?;
    let mut arguments = Vec::new();
    for i in 0..block.argument_count() {
        let argument = block.argument(i).map_err(|e| wrong(&e.to_string()))?;
        arguments.push(ciphertext(main, "arg_attrs", i, argument.r#type(), params)?);
    }
    let mut last = block.first_operation();
    while let Some(next) = last.and_then(|op| op.next_in_block()) {
        last = Some(next);
    }
    let terminator = last.ok_or_else(|| wrong("@main has no return"))?;
    let mut results = Vec::new();
    for (i, value) in terminator.operands().enumerate() {
        results.push(ciphertext(main, "res_attrs", i, value.r#type(), params)?);
    }
    Ok((ports(&arguments, "ckks.input", "input")?, ports(&results, "ckks.output", "output")?))
}

fn ciphertext<'c>(
    main: OperationRef<'c, '_>,
    list: &str,
    index: usize,
    ty: Type<'c>,
    params: &Params,
) -> Result<Ciphertext<'c>, BundleError> {
    let ct = CtType::try_from(ty)
        .map_err(|_| BundleError::Program(format!("@main passes {ty}, not a ciphertext")))?;
    let attributes = main.attribute(list).ok().and_then(|a| ArrayAttribute::try_from(a).ok());
    let attributes = attributes.and_then(|all| all.element(index).ok());
    let placement = ct.placement().filter(|placement| placement.level <= params.max_level());
    let placement =
        placement.ok_or_else(|| BundleError::Program(format!("@main passes {ty}, which is at no level")))?;
    Ok(Ciphertext {
        attributes: attributes.and_then(|a| DictionaryAttribute::try_from(a).ok()),
        level: placement.level,
        scale: placement.scale,
        size: ct.components(),
    })
}

impl<'c> Ciphertext<'c> {
    fn get(&self, name: &str) -> Option<Attribute<'c>> {
        self.attributes.as_ref()?.element_by_name(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        StringAttribute::try_from(self.get(name)?).ok().map(|a| a.value().to_string())
    }

    fn integer(&self, name: &str) -> Option<i64> {
        IntegerAttribute::try_from(self.get(name)?).ok().map(|a| a.value())
    }

    fn post(&self) -> Result<Vec<PostProcess>, BundleError> {
        let Some(kind) = self.text("ckks.post") else { return Ok(Vec::new()) };
        let axis = self.integer("ckks.post_axis").unwrap_or(0) as usize;
        Ok(vec![match kind.as_str() {
            "softmax" => PostProcess::Softmax { axis },
            "log_softmax" => PostProcess::LogSoftmax { axis },
            "argmax" => PostProcess::Argmax { axis },
            other => return Err(BundleError::Program(format!("there is no post-processing {other}"))),
        }])
    }
}

/// Groups ciphertexts by tensor.
fn ports(ciphertexts: &[Ciphertext<'_>], number: &str, default: &str) -> Result<Vec<Port>, BundleError> {
    let mut ports: Vec<(i64, Port)> = Vec::new();
    for (place, part) in ciphertexts.iter().enumerate() {
        let tensor = part.integer(number).unwrap_or(place as i64);
        if let Some((last, port)) = ports.last_mut()
            && *last == tensor
        {
            if (port.level, &port.scale, port.size) != (part.level, &part.scale, part.size) {
                return Err(BundleError::Program(format!(
                    "the ciphertexts of {} differ in level or scale",
                    port.name
                )));
            }
            if part.integer("ckks.part").is_some_and(|number| number != i64::from(port.ciphertexts)) {
                return Err(BundleError::Program(format!(
                    "the ciphertexts of {} are not in order",
                    port.name
                )));
            }
            port.ciphertexts += 1;
            continue;
        }
        let layout = part.get("ckks.layout").and_then(|a| LayoutAttr::try_from(a).ok());
        let shape = part.get("ckks.shape").and_then(|a| DenseI64ArrayAttribute::try_from(a).ok());
        let shape = shape.map(|s| (0..s.len()).filter_map(|i| s.element(i).ok()).map(|e| e as u64).collect());
        let name = part.text("ckks.name").unwrap_or_else(|| format!("{default}{tensor}"));
        if ports.iter().any(|(_, port)| port.name == name) {
            return Err(BundleError::Program(format!("two tensors are called {name}")));
        }
        let port = Port {
            shape: shape.ok_or_else(|| BundleError::Program(format!("{name} has no shape")))?,
            layout: layout
                .ok_or_else(|| BundleError::Program(format!("{name} has no layout")))?
                .layout()
                .to_string(),
            ciphertexts: 1,
            size: part.size,
            level: part.level,
            scale: part.scale.clone(),
            range: part.get("ckks.range").and_then(floats),
            post: part.post()?,
            name,
        };
        ports.push((tensor, port));
    }
    Ok(ports.into_iter().map(|(_, port)| port).collect())
}

/// Two numbers of a dense array of f64.
fn floats(attribute: Attribute<'_>) -> Option<[f64; 2]> {
    use melior::ir::AttributeLike;
    let raw = attribute.to_raw();
    // SAFETY: the kind and the length are checked before elements are read.
    unsafe {
        if !mlir_sys::mlirAttributeIsADenseF64Array(raw) || mlir_sys::mlirDenseArrayGetNumElements(raw) != 2 {
            return None;
        }
        Some([mlir_sys::mlirDenseF64ArrayGetElement(raw, 0), mlir_sys::mlirDenseF64ArrayGetElement(raw, 1)])
    }
}
