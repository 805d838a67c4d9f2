//! Device functions become functions of this CPU.
//!
//! Before: a `gpu.module` whose functions have the operations that `kernel-to-gpu` writes. After: a module of one
//! `llvm.func` for each, `(parameters, state)`, both addresses: parameters are read from memory, as is what the
//! [`State`] of the thread says. The module has no `gpu` operation and no address space left.
//!
//! | device code | here |
//! |---|---|
//! | `gpu.thread_id`, `gpu.block_id` | words of the state |
//! | globals of address space 3 | offsets from the state's shared memory, a function's own |
//! | `gpu.barrier`, `gpu.shuffle` | calls through the state |
//! | loads and stores | themselves, after a call through the state if they are traced |
//!
//! Each operation that may fault has a number, its [`Site`].

use super::{
    fault::{Place, Space},
    threads::State,
};
use ceria_dialects::{
    bridge::{
        diagnostic::location_text,
        hooks::{
            Attribute, BlockLike, Context, Location, Operation, OperationBuilder, OperationLike,
            OperationRef, RegionLike, Type, TypeLike, Value, ValueLike, context_of,
        },
        pass::PassError,
    },
    interpret::name_of,
};
use melior::{
    dialect::llvm::{self, attributes::Linkage},
    ir::{
        BlockRef, Identifier, Module, Region, RegionRef,
        attribute::{DenseI32ArrayAttribute, IntegerAttribute, StringAttribute, TypeAttribute},
        r#type::IntegerType,
    },
};
use std::{collections::BTreeMap, mem::offset_of};

/// Prefix of the functions' symbols, so that they clash with nothing.
pub const PREFIX: &str = "emulated_";

/// Shared buffers begin at multiples of this.
const SHARED_ALIGNMENT: u64 = 128;

/// A load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Which memory.
    pub space: Space,
    /// How many bytes.
    pub bytes: u32,
    /// What the address is a multiple of.
    pub alignment: u32,
    /// Whether it stores.
    pub write: bool,
}

/// An operation that may fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The operation.
    pub place: Place,
    /// What it accesses.
    pub access: Option<Access>,
}

/// What the engine must know of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name on the device.
    pub name: String,
    /// How many parameters it takes, 64 bits each.
    pub parameters: usize,
    /// Threads of a block, where the function says.
    pub block: Option<[i32; 3]>,
    /// Bytes of shared memory that it declares.
    pub shared_bytes: u64,
    /// Whether its threads wait for each other.
    pub waits: bool,
}

/// Device code for this CPU.
pub struct Lowered<'c> {
    /// The code.
    pub module: Module<'c>,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Operations by number.
    pub sites: Vec<Site>,
}

/// Lowers the `gpu.module` in a module, which stays as it is. `traced`: loads and stores are reported before they happen.
pub fn lower<'c>(module: OperationRef<'c, '_>, traced: bool) -> Result<Lowered<'c>, PassError> {
    let context = context_of(module);
    context.get_or_load_dialect("llvm");
    context.get_or_load_dialect("arith");
    let mut next = module.region(0)?.first_block().and_then(|block| block.first_operation());
    while let Some(op) = next
        && name_of(op) != "gpu.module"
    {
        next = op.next_in_block();
    }
    let device = next.ok_or_else(|| PassError::op(&module, "has no device code"))?;
    let target = Module::new(device.location());
    let mut lowering =
        Lowering { context, traced, sites: Vec::new(), shared: BTreeMap::new(), functions: Vec::new() };
    let body = device.region(0)?.first_block();
    // Globals first: functions refer to them.
    for op in operations(body) {
        match name_of(op).as_str() {
            "llvm.mlir.global" if integer(op, "addr_space") == Some(3) => lowering.shared_global(op)?,
            "gpu.func" => {}
            _ => return Err(PassError::op(&op, "cannot be emulated")),
        }
    }
    for op in operations(body).filter(|op| name_of(*op) == "gpu.func") {
        let lowered = lowering.function(op)?;
        target.body().append_operation(lowered);
    }
    let Lowering { sites, functions, .. } = lowering;
    Ok(Lowered { module: target, functions, sites })
}

/// A global of address space 3.
struct SharedGlobal<'c> {
    bytes: u64,
    location: Location<'c>,
}

struct Lowering<'c> {
    context: &'c Context,
    traced: bool,
    sites: Vec<Site>,
    shared: BTreeMap<String, SharedGlobal<'c>>,
    functions: Vec<Function>,
}

/// What the start of a function reads.
struct Entry<'c, 'a> {
    state: Value<'c, 'a>,
    thread: Value<'c, 'a>,
    block: [Value<'c, 'a>; 3],
    shared: Value<'c, 'a>,
    access: Value<'c, 'a>,
    barrier: Value<'c, 'a>,
    shuffle: Value<'c, 'a>,
    /// Where shared globals are, as far as the function uses them, and the bytes they take.
    offsets: BTreeMap<String, u64>,
    shared_bytes: u64,
    waits: bool,
}

impl<'c> Lowering<'c> {
    fn shared_global(&mut self, op: OperationRef<'c, '_>) -> Result<(), PassError> {
        let ty = TypeAttribute::try_from(op.attribute("global_type")?)?.value();
        let bytes = byte_size(ty).ok_or_else(|| PassError::op(&op, format!("has the type {ty}")))?;
        self.shared.insert(text(op, "sym_name"), SharedGlobal { bytes, location: op.location() });
        Ok(())
    }

    fn llvm_function(
        &self,
        name: &str,
        arguments: &[Type<'c>],
        region: Region<'c>,
        location: Location<'c>,
    ) -> Operation<'c> {
        let ty = llvm::r#type::function(llvm::r#type::void(self.context), arguments, false);
        llvm::func(
            self.context,
            StringAttribute::new(self.context, name),
            TypeAttribute::new(ty),
            region,
            &[(
                Identifier::new(self.context, "linkage"),
                llvm::attributes::linkage(self.context, Linkage::External),
            )],
            location,
        )
    }

    fn function(&mut self, op: OperationRef<'c, '_>) -> Result<Operation<'c>, PassError> {
        let location = op.location();
        let name = text(op, "sym_name");
        if integer(op, "workgroup_attributions").is_some_and(|count| count != 0) {
            return Err(PassError::op(&op, "has workgroup attributions, which cannot be emulated"));
        }
        let copy = Operation::clone(&op);
        let region = Region::new();
        // SAFETY: the copy keeps an empty region and is dropped.
        unsafe { mlir_sys::mlirRegionTakeBody(region.to_raw(), copy.region(0)?.to_raw()) };
        drop(copy);
        let body: Vec<OperationRef<'c, '_>> = nested(&region);
        let entry = region.first_block().ok_or_else(|| PassError::op(&op, "has no body"))?;
        let (mut start, parameters) = self.prologue(entry, location)?;
        // The kinds of memory must be known when an access is rewritten, so pointers lose them last.
        for &inner in &body {
            self.operation(inner, &mut start)?;
        }
        drop_address_spaces(&region, self.context)?;
        let pointer = llvm::r#type::pointer(self.context, 0);
        let lowered = self.llvm_function(&format!("{PREFIX}{name}"), &[pointer, pointer], region, location);
        self.functions.push(Function {
            name,
            parameters,
            block: extents(op, "known_block_size"),
            shared_bytes: start.shared_bytes,
            waits: start.waits,
        });
        Ok(lowered)
    }

    /// Replaces a function's arguments by the addresses of its parameters and of the state, and reads both.
    fn prologue<'a>(
        &self,
        entry: BlockRef<'c, 'a>,
        location: Location<'c>,
    ) -> Result<(Entry<'c, 'a>, usize), PassError> {
        let context = self.context;
        let pointer = llvm::r#type::pointer(context, 0);
        let count = entry.argument_count();
        let parameters = entry.insert_argument(0, pointer, location);
        let state = entry.insert_argument(1, pointer, location);
        let before = entry.first_operation().ok_or_else(|| PassError::at(location, "a function is empty"))?;
        let insert = Insert { context, block: entry, before, location };
        for index in 0..count {
            let argument: Value = entry.argument(2)?.into();
            let place = insert.bytes(parameters, 8 * index as u64)?;
            let value = insert.load(place, argument.r#type())?;
            // SAFETY: both values are of this function; the argument is erased without uses.
            unsafe {
                mlir_sys::mlirValueReplaceAllUsesOfWith(argument.to_raw(), value.to_raw());
                entry.erase_argument(2);
            }
        }
        let word: Type = IntegerType::new(context, 32).into();
        let read = |offset: usize, ty| insert.load(insert.bytes(state, offset as u64)?, ty);
        let block = offset_of!(State, block);
        let start = Entry {
            state,
            thread: read(offset_of!(State, thread), word)?,
            block: [read(block, word)?, read(block + 4, word)?, read(block + 8, word)?],
            shared: read(offset_of!(State, shared), pointer)?,
            access: read(offset_of!(State, access), pointer)?,
            barrier: read(offset_of!(State, barrier), pointer)?,
            shuffle: read(offset_of!(State, shuffle), pointer)?,
            offsets: BTreeMap::new(),
            shared_bytes: 0,
            waits: false,
        };
        Ok((start, count))
    }

    /// Rewrites an operation of a function.
    fn operation<'a>(
        &mut self,
        op: OperationRef<'c, 'a>,
        entry: &mut Entry<'c, 'a>,
    ) -> Result<(), PassError> {
        let block = op.block().ok_or_else(|| PassError::op(&op, "is in no block"))?;
        let insert = Insert { context: self.context, block, before: op, location: op.location() };
        let name = name_of(op);
        match name.as_str() {
            "gpu.thread_id" if dimension(op) == Some(0) => {
                replace(op, &[insert.index(entry.thread)?]);
            }
            "gpu.thread_id" => {
                let zero = insert.constant(0, 32)?;
                replace(op, &[insert.index(zero)?]);
            }
            "gpu.block_id" => {
                let axis = dimension(op).ok_or_else(|| PassError::op(&op, "has an unknown dimension"))?;
                replace(op, &[insert.index(entry.block[axis])?]);
            }
            "gpu.barrier" => {
                let site = self.site(op, None);
                entry.waits = true;
                insert.call(entry.barrier, &[entry.state, insert.constant(site, 32)?], None)?;
                replace(op, &[]);
            }
            "gpu.shuffle" => {
                let by_lane = self.shuffle_mode(op)?;
                let site = self.site(op, None);
                entry.waits = true;
                self.shuffle(op, &insert, entry, by_lane, site)?;
            }
            "gpu.return" => {
                insert.op("llvm.return", &[], &[], &[])?;
                replace(op, &[]);
            }
            "llvm.mlir.addressof" => self.address(op, &insert, entry)?,
            "llvm.load" => {
                self.trace(op, &insert, entry, op.operand(0)?, op.result(0)?.r#type(), false)?;
            }
            "llvm.store" => {
                self.trace(op, &insert, entry, op.operand(1)?, op.operand(0)?.r#type(), true)?;
            }
            "llvm.getelementptr" | "llvm.mlir.constant" | "llvm.mlir.poison" | "llvm.mlir.undef" => {}
            _ if ["arith.", "vector.", "scf.", "cf."].iter().any(|dialect| name.starts_with(dialect)) => {}
            _ => return Err(PassError::op(&op, "has no twin on the CPU and cannot be emulated")),
        }
        Ok(())
    }

    /// Gives an operation its number.
    fn site(&mut self, op: OperationRef<'c, '_>, access: Option<Access>) -> i64 {
        let place = Place { op: name_of(op), location: location_text(op.location()) };
        self.sites.push(Site { place, access });
        self.sites.len() as i64 - 1
    }

    /// Whether a shuffle names the lane to read (`idx`) instead of the bits that differ (`xor`).
    fn shuffle_mode(&self, op: OperationRef<'c, '_>) -> Result<bool, PassError> {
        let word = Type::from(IntegerType::new(self.context, 32));
        let mode = op.attribute("mode")?;
        let is = |text: &str| Attribute::parse(self.context, text) == Some(mode);
        if op.result(0)?.r#type() != word {
            return Err(PassError::op(
                &op,
                "shuffles something other than a 32-bit word, which cannot be emulated",
            ));
        }
        if is("#gpu<shuffle_mode idx>") {
            Ok(true)
        } else if is("#gpu<shuffle_mode xor>") {
            Ok(false)
        } else {
            Err(PassError::op(&op, format!("has the mode {mode}, which cannot be emulated")))
        }
    }

    fn shuffle<'a>(
        &self,
        op: OperationRef<'c, 'a>,
        insert: &Insert<'c, 'a>,
        entry: &Entry<'c, 'a>,
        by_lane: bool,
        site: i64,
    ) -> Result<(), PassError> {
        let word: Type = IntegerType::new(self.context, 32).into();
        let (mode, site) = (insert.constant(by_lane.into(), 32)?, insert.constant(site, 32)?);
        let [value, offset, width] = [op.operand(0)?, op.operand(1)?, op.operand(2)?];
        let arguments = [entry.state, value, offset, width, mode, site];
        let result = insert.call(entry.shuffle, &arguments, Some(word))?;
        let result = result.ok_or_else(|| PassError::op(&op, "has no value"))?;
        // A shuffle that reads a lane that is not there is a fault.
        let valid = insert.constant(1, 1)?;
        replace(op, &[result, valid]);
        Ok(())
    }

    /// The address of shared memory.
    fn address<'a>(
        &self,
        op: OperationRef<'c, 'a>,
        insert: &Insert<'c, 'a>,
        entry: &mut Entry<'c, 'a>,
    ) -> Result<(), PassError> {
        let name = op.attribute("global_name")?;
        let name = melior::ir::attribute::FlatSymbolRefAttribute::try_from(name)?.value().to_string();
        let global = self.shared.get(&name);
        let global =
            global.ok_or_else(|| PassError::op(&op, format!("refers to @{name}, which is missing")))?;
        let at = match entry.offsets.get(&name) {
            Some(&at) => at,
            None => {
                let at = entry.shared_bytes.next_multiple_of(SHARED_ALIGNMENT);
                entry.shared_bytes =
                    at.checked_add(global.bytes).filter(|&end| end <= 1 << 20).ok_or_else(|| {
                        PassError::at(global.location, "is more shared memory than a block can have")
                    })?;
                entry.offsets.insert(name, at);
                at
            }
        };
        let address = insert.bytes(entry.shared, at)?;
        // Its users must see which memory it is until they are rewritten.
        address.set_type(op.result(0)?.r#type());
        replace(op, &[address]);
        Ok(())
    }

    /// Reports an access before it happens.
    fn trace<'a>(
        &mut self,
        op: OperationRef<'c, 'a>,
        insert: &Insert<'c, 'a>,
        entry: &Entry<'c, 'a>,
        pointer: Value<'c, 'a>,
        ty: Type<'c>,
        write: bool,
    ) -> Result<(), PassError> {
        let bytes = byte_size(ty)
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| matches!(bytes, 4 | 8 | 16))
            .ok_or_else(|| PassError::op(&op, format!("accesses a {ty}, which cannot be emulated")))?;
        if !self.traced {
            return Ok(());
        }
        let space = match address_space(pointer.r#type()) {
            Some(1) => Space::Global,
            Some(3) => Space::Shared,
            _ => return Err(PassError::op(&op, "accesses neither global nor shared memory")),
        };
        let alignment =
            integer(op, "alignment").and_then(|at| u32::try_from(at).ok()).unwrap_or(bytes).max(4);
        let site = self.site(op, Some(Access { space, bytes, alignment, write }));
        insert.call(entry.access, &[entry.state, pointer, insert.constant(site, 32)?], None)?;
        Ok(())
    }
}

/// Writes operations before another.
struct Insert<'c, 'a> {
    context: &'c Context,
    block: BlockRef<'c, 'a>,
    before: OperationRef<'c, 'a>,
    location: Location<'c>,
}

impl<'c, 'a> Insert<'c, 'a> {
    fn op(
        &self,
        name: &str,
        operands: &[Value<'c, 'a>],
        results: &[Type<'c>],
        attributes: &[(&str, Attribute<'c>)],
    ) -> Result<OperationRef<'c, 'a>, PassError> {
        let attributes: Vec<_> =
            attributes.iter().map(|(name, value)| (Identifier::new(self.context, name), *value)).collect();
        let op = OperationBuilder::new(name, self.location)
            .add_operands(operands)
            .add_results(results)
            .add_attributes(&attributes)
            .build()?;
        Ok(self.block.insert_operation_before(self.before, op))
    }

    fn value(
        &self,
        name: &str,
        operands: &[Value<'c, 'a>],
        ty: Type<'c>,
        attributes: &[(&str, Attribute<'c>)],
    ) -> Result<Value<'c, 'a>, PassError> {
        Ok(self.op(name, operands, &[ty], attributes)?.result(0)?.into())
    }

    fn long(&self, value: i64) -> Attribute<'c> {
        IntegerAttribute::new(IntegerType::new(self.context, 64).into(), value).into()
    }

    fn constant(&self, value: i64, bits: u32) -> Result<Value<'c, 'a>, PassError> {
        let ty = IntegerType::new(self.context, bits).into();
        self.value("llvm.mlir.constant", &[], ty, &[("value", IntegerAttribute::new(ty, value).into())])
    }

    /// The address `count` elements behind another.
    fn offset(
        &self,
        base: Value<'c, 'a>,
        count: i32,
        element: Attribute<'c>,
    ) -> Result<Value<'c, 'a>, PassError> {
        let indices = DenseI32ArrayAttribute::new(self.context, &[count]).into();
        let attributes = [("rawConstantIndices", indices), ("elem_type", element)];
        self.value("llvm.getelementptr", &[base], base.r#type(), &attributes)
    }

    /// The address `count` bytes behind another.
    fn bytes(&self, base: Value<'c, 'a>, count: u64) -> Result<Value<'c, 'a>, PassError> {
        let byte = TypeAttribute::new(IntegerType::new(self.context, 8).into()).into();
        let count = i32::try_from(count).map_err(|_| PassError::at(self.location, "is too far away"))?;
        self.offset(base, count, byte)
    }

    fn load(&self, pointer: Value<'c, 'a>, ty: Type<'c>) -> Result<Value<'c, 'a>, PassError> {
        self.value("llvm.load", &[pointer], ty, &[("ordering", self.long(0))])
    }

    /// A word as an index.
    fn index(&self, word: Value<'c, 'a>) -> Result<Value<'c, 'a>, PassError> {
        self.value("arith.index_castui", &[word], Type::index(self.context), &[])
    }

    /// Calls the function at an address.
    fn call(
        &self,
        function: Value<'c, 'a>,
        arguments: &[Value<'c, 'a>],
        result: Option<Type<'c>>,
    ) -> Result<Option<Value<'c, 'a>>, PassError> {
        let operands: Vec<Value<'c, 'a>> =
            std::iter::once(function).chain(arguments.iter().copied()).collect();
        let segments = DenseI32ArrayAttribute::new(self.context, &[operands.len() as i32, 0]).into();
        let bundles = DenseI32ArrayAttribute::new(self.context, &[]).into();
        let attributes = [("operandSegmentSizes", segments), ("op_bundle_sizes", bundles)];
        let results: Vec<Type<'c>> = result.into_iter().collect();
        let op = self.op("llvm.call", &operands, &results, &attributes)?;
        Ok(op.results().next().map(Value::from))
    }
}

/// The operations of a block.
fn operations<'c: 'a, 'a>(block: Option<BlockRef<'c, 'a>>) -> impl Iterator<Item = OperationRef<'c, 'a>> {
    std::iter::successors(block.and_then(|block| block.first_operation()), |op| op.next_in_block())
}

/// The blocks of a region.
fn blocks<'c: 'a, 'a>(region: &impl RegionLike<'c, 'a>) -> Vec<BlockRef<'c, 'a>> {
    std::iter::successors(region.first_block(), |block| block.next_in_region()).collect()
}

/// All operations of a region, those inside others too.
fn nested<'c: 'a, 'a>(region: &impl RegionLike<'c, 'a>) -> Vec<OperationRef<'c, 'a>> {
    let mut all = Vec::new();
    for block in blocks(region) {
        for op in operations(Some(block)) {
            all.push(op);
            all.extend(op.regions().flat_map(|region: RegionRef<'c, 'a>| nested(&region)));
        }
    }
    all
}

/// Replaces an operation by values.
fn replace<'c, 'a>(op: OperationRef<'c, 'a>, values: &[Value<'c, 'a>]) {
    for (result, value) in op.results().zip(values) {
        // SAFETY: the value is defined just before the op, so that it dominates all uses.
        unsafe { mlir_sys::mlirValueReplaceAllUsesOfWith(result.to_raw(), value.to_raw()) };
    }
    // SAFETY: nothing uses the op, and callers let go of it.
    unsafe { mlir_sys::mlirOperationDestroy(op.to_raw()) };
}

/// Makes every pointer one of this CPU.
fn drop_address_spaces<'c>(region: &Region<'c>, context: &'c Context) -> Result<(), PassError> {
    let pointer = llvm::r#type::pointer(context, 0);
    let change = |value: Value<'c, '_>| {
        if address_space(value.r#type()).is_some_and(|space| space != 0) {
            value.set_type(pointer);
        }
    };
    let all = nested(region);
    let inner = all.iter().flat_map(|op| op.regions()).flat_map(|region| blocks(&region));
    for block in blocks(region).into_iter().chain(inner) {
        for index in 0..block.argument_count() {
            change(block.argument(index)?.into());
        }
    }
    all.iter().flat_map(|op| op.results()).for_each(|result| change(result.into()));
    Ok(())
}

/// The address space of a pointer.
fn address_space(ty: Type<'_>) -> Option<u32> {
    // SAFETY: the type is valid, and asked for its space only if it has one.
    unsafe {
        mlir_sys::mlirTypeIsALLVMPointerType(ty.to_raw())
            .then(|| mlir_sys::mlirLLVMPointerTypeGetAddressSpace(ty.to_raw()))
    }
}

/// The bytes of a type that memory can hold.
fn byte_size(ty: Type<'_>) -> Option<u64> {
    if let Ok(integer) = IntegerType::try_from(ty) {
        return Some(u64::from(integer.width()).div_ceil(8));
    }
    if ty.is_vector() {
        // SAFETY: the type is a vector, thus shaped.
        let (extent, element) = unsafe {
            let element = mlir_sys::mlirShapedTypeGetElementType(ty.to_raw());
            (mlir_sys::mlirShapedTypeGetDimSize(ty.to_raw(), 0), Type::from_raw(element))
        };
        return byte_size(element)?.checked_mul(u64::try_from(extent).ok()?);
    }
    // The C API tells an array's element but not its extent, which is the first number of its text.
    let text = ty.to_string();
    let (extent, _) = text.strip_prefix("!llvm.array<")?.split_once(' ')?;
    // SAFETY: the type is an array.
    let element = unsafe { Type::from_raw(mlir_sys::mlirLLVMArrayTypeGetElementType(ty.to_raw())) };
    byte_size(element)?.checked_mul(extent.parse().ok()?)
}

fn text(op: OperationRef<'_, '_>, name: &str) -> String {
    let value = op.attribute(name).ok().and_then(|a| StringAttribute::try_from(a).ok());
    value.map(|value| value.value().to_string()).unwrap_or_default()
}

fn integer(op: OperationRef<'_, '_>, name: &str) -> Option<i64> {
    op.attribute(name).ok().and_then(|a| IntegerAttribute::try_from(a).ok()).map(|a| a.value())
}

fn extents(op: OperationRef<'_, '_>, name: &str) -> Option<[i32; 3]> {
    let all = op.attribute(name).ok().and_then(|a| DenseI32ArrayAttribute::try_from(a).ok())?;
    Some([all.element(0).ok()?, all.element(1).ok()?, all.element(2).ok()?])
}

/// The number of a `gpu` dimension.
fn dimension(op: OperationRef<'_, '_>) -> Option<usize> {
    let dimension = op.attribute("dimension").ok()?;
    let context = context_of(op);
    ["#gpu<dim x>", "#gpu<dim y>", "#gpu<dim z>"]
        .iter()
        .position(|text| Attribute::parse(context, text) == Some(dimension))
}
