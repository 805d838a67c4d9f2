//! Reading `poly` ops from Rust: attributes, symbols and tables.

use super::TableKind;
use crate::bridge::hooks::*;
use melior::ir::attribute::{
    DenseI64ArrayAttribute, FlatSymbolRefAttribute, IntegerAttribute, StringAttribute, TypeAttribute,
};

/// The numbers of an `array<i64>` attribute.
pub fn i64_array(op: OperationRef<'_, '_>, name: &str) -> Result<Vec<i64>, String> {
    let attribute = op.attribute(name).map_err(|_| format!("needs `{name}`"))?;
    let array = DenseI64ArrayAttribute::try_from(attribute).map_err(|e| e.to_string())?;
    (0..array.len()).map(|i| array.element(i).map_err(|e| e.to_string())).collect()
}

/// The name in a symbol reference attribute.
pub fn symbol(op: OperationRef<'_, '_>, name: &str) -> Result<String, String> {
    let attribute = op.attribute(name).map_err(|_| format!("needs `{name}`"))?;
    let symbol = FlatSymbolRefAttribute::try_from(attribute).map_err(|e| e.to_string())?;
    Ok(symbol.value().to_string())
}

/// The `poly.table` of this name in the module around an op; none where there is no module yet.
pub fn find_symbol<'c, 'a>(
    op: OperationRef<'c, 'a>,
    name: &str,
) -> Result<Option<OperationRef<'c, 'a>>, String> {
    let mut module = op;
    while name_of(module) != "builtin.module" {
        match module.parent_operation() {
            Some(parent) => module = parent,
            None => return Ok(None),
        }
    }
    let block = module.region(0).map_err(|e| e.to_string())?.first_block();
    let mut next = block.and_then(|block| block.first_operation());
    while let Some(candidate) = next {
        if candidate.name().as_string_ref().as_str() == Ok("poly.table")
            && table_name(candidate).as_deref() == Some(name)
        {
            return Ok(Some(candidate));
        }
        next = candidate.next_in_block();
    }
    Err(format!("refers to @{name}, which is no poly.table of this module"))
}

fn table_name(op: OperationRef<'_, '_>) -> Option<String> {
    let attribute = op.attribute("sym_name").ok()?;
    Some(StringAttribute::try_from(attribute).ok()?.value().to_string())
}

/// What a `poly.table` says.
#[derive(Clone)]
pub struct Table<'c> {
    /// Its symbol.
    pub name: String,
    /// What the entries are.
    pub kind: TableKind,
    /// The entries, or what the entries are made from.
    pub values: Vec<i64>,
    /// The vector or matrix that plaintexts are encoded from.
    pub source: Option<String>,
    /// The scale of plaintexts, as text.
    pub scale: Option<String>,
    /// The type of an entry.
    pub entry: Type<'c>,
}

impl<'c> Table<'c> {
    /// Reads the op.
    pub fn read(op: OperationRef<'c, '_>) -> Result<Self, String> {
        let missing = |name: &str| format!("needs `{name}`");
        let kind = op.attribute("kind").map_err(|_| missing("kind"))?;
        let entry = op.attribute("type").map_err(|_| missing("type"))?;
        let scale = match op.attribute("scale") {
            Ok(text) => Some(StringAttribute::try_from(text).map_err(|e| e.to_string())?.value().to_string()),
            Err(_) => None,
        };
        Ok(Table {
            name: table_name(op).ok_or_else(|| missing("sym_name"))?,
            kind: super::TableKindAttr::try_from(kind)?.value(),
            values: i64_array(op, "values")?,
            source: if op.has_attribute("source") { Some(symbol(op, "source")?) } else { None },
            scale,
            entry: TypeAttribute::try_from(entry).map_err(|e| e.to_string())?.value(),
        })
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        match self.kind {
            TableKind::RelinKey | TableKind::SparseKey | TableKind::DenseKey => 1,
            TableKind::Diagonals => self.values.len() / 4,
            _ => self.values.len(),
        }
    }

    /// Whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The constant behind an index value: the value of an `arith.constant`.
pub fn constant_index(value: Value<'_, '_>) -> Option<i64> {
    let op = defining_op(value)?;
    if op.name().as_string_ref().as_str() != Ok("arith.constant") {
        return None;
    }
    Some(IntegerAttribute::try_from(op.attribute("value").ok()?).ok()?.value())
}

/// The op that defines a value, unless it is a block argument.
pub fn defining_op<'c: 'a, 'a>(value: Value<'c, 'a>) -> Option<OperationRef<'c, 'a>> {
    if !value.is_operation_result() {
        return None;
    }
    let raw = unsafe { mlir_sys::mlirOpResultGetOwner(value.to_raw()) };
    Some(unsafe { OperationRef::from_raw(raw) })
}

/// The name of an op as text.
pub fn name_of(op: OperationRef<'_, '_>) -> String {
    op.name().as_string_ref().as_str().unwrap_or_default().to_string()
}

/// How often a value is used.
pub fn use_count(value: Value<'_, '_>) -> usize {
    let mut count = 0;
    // SAFETY: the value is alive, and its uses form a list that nobody changes meanwhile.
    unsafe {
        let mut next = mlir_sys::mlirValueGetFirstUse(value.to_raw());
        while !mlir_sys::mlirOpOperandIsNull(next) {
            count += 1;
            next = mlir_sys::mlirOpOperandGetNextUse(next);
        }
    }
    count
}
