//! The body of one kernel: the nodes of an item as operations on tiles.
//!
//! A tile stands for its words times one *pending* constant a prime. Montgomery products leave a factor of
//! 2^32, plaintexts from memory one of 2^-32; constants are multiplied into what is pending, and applied at the
//! latest moment, by the inverse NTT if there is one to apply them for free. Loads come first and stores last,
//! so that a kernel may overwrite what it reads limb by limb.

use super::graph::{Access, CellId, Constants, Element, Graph, Kind, Node, Operand, Source, ValueId};
use super::host::Host;
use super::schedule::same_tile;
use super::{Built, Val, error};
use ceria_dialects::kernel::{ModuliAttr, TileType};
use ceria_runtime::format::basis::{Basis, Prime};
use ceria_runtime::format::primes::{inv_mod, mul_mod};
use melior::ir::attribute::{DenseI64ArrayAttribute, StringAttribute};
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::{Attribute, Block, BlockRef, Identifier, Location, Operation, Region, RegionLike, Type};
use std::collections::HashMap;

/// An argument of a kernel, as the host program names it.
#[derive(Clone, PartialEq)]
pub enum Argument<'c> {
    /// The buffer of a cell.
    Cell(CellId),
    /// The whole buffer of a table.
    Table(String),
    /// The permutation of a Galois element.
    Permutation(Element<'c>),
    /// An index.
    Index(Val<'c>),
}

/// What building a kernel needs to know.
pub struct Plan<'p, 'c> {
    /// The graph of the block.
    pub graph: &'p Graph<'c>,
    /// The primes of the kernel.
    pub basis: &'p Basis,
    /// The nodes, in order.
    pub nodes: &'p [usize],
    /// Cells of values that are read from memory.
    pub homes: &'p HashMap<ValueId, CellId>,
    /// The arguments with the types of their buffers, in order.
    pub arguments: &'p [(Argument<'c>, Type<'c>)],
}

/// The arguments of a kernel, in the order in which the nodes name them.
pub fn arguments<'c>(
    graph: &Graph<'c>,
    nodes: &[usize],
    homes: &HashMap<ValueId, CellId>,
) -> Built<Vec<Argument<'c>>> {
    let mut found: Vec<Argument<'c>> = Vec::new();
    let mut note = |argument: Argument<'c>| {
        if !found.contains(&argument) {
            found.push(argument);
        }
    };
    let makers = makers(graph, nodes);
    for &number in nodes {
        let node = &graph.nodes[number];
        for operand in &node.operands {
            let Source::Value(value, _) = &operand.source else { continue };
            if is_local(graph, &makers, node, operand) {
                continue;
            }
            note(Argument::Cell(cell_of(graph, homes, *value)?));
            if let Access::Permuted(element) = &operand.access {
                note(Argument::Permutation(element.clone()));
            }
        }
        match &node.kind {
            Kind::WeightedSum { weights, choice, range } => {
                note(Argument::Table(weights.clone()));
                note(Argument::Table(choice.clone()));
                range.iter().for_each(|&index| note(Argument::Index(index)));
            }
            Kind::Put(cell) => note(Argument::Cell(*cell)),
            _ => {}
        }
        for result in &node.results {
            if let Some(&cell) = homes.get(result) {
                note(Argument::Cell(cell));
            }
        }
    }
    Ok(found)
}

fn makers(graph: &Graph<'_>, nodes: &[usize]) -> HashMap<ValueId, usize> {
    let mut makers = HashMap::new();
    for &number in nodes {
        for &result in &graph.nodes[number].results {
            makers.insert(result, number);
        }
    }
    makers
}

/// Whether a node takes an operand as a tile of the same kernel.
pub fn is_local<'c>(
    graph: &Graph<'c>,
    makers: &HashMap<ValueId, usize>,
    node: &Node<'c>,
    operand: &Operand<'c>,
) -> bool {
    let Source::Value(value, _) = &operand.source else { return true };
    operand.access == Access::Tile
        && makers.get(value).is_some_and(|&maker| same_tile(&graph.nodes[maker], node))
}

/// The cell that a value is read from.
pub fn cell_of(graph: &Graph<'_>, homes: &HashMap<ValueId, CellId>, value: ValueId) -> Built<CellId> {
    let cell = graph.values[value].cell.or_else(|| homes.get(&value).copied());
    cell.ok_or_else(|| error("a value is read from memory but has none"))
}

/// A value limb by limb; see the [module documentation](self).
#[derive(Clone)]
struct Tile<'c> {
    words: Words<'c>,
    /// One constant a prime; none is 1.
    pending: Option<Vec<u32>>,
}

#[derive(Clone, Copy)]
enum Words<'c> {
    Ready(Val<'c>),
    /// The inverse NTT of a tile, not yet emitted.
    Intt(Val<'c>),
}

struct Body<'p, 'c> {
    plan: &'p Plan<'p, 'c>,
    host: &'p Host<'c>,
    location: Location<'c>,
    block: BlockRef<'c, 'c>,
    moduli: Vec<u32>,
    makers: HashMap<ValueId, usize>,
    tiles: HashMap<ValueId, Tile<'c>>,
    loaded: Vec<((ValueId, Access<'c>), Tile<'c>)>,
    stores: Vec<(Val<'c>, CellId)>,
}

/// Builds the kernel `name`.
pub fn build<'c>(host: &Host<'c>, plan: &Plan<'_, 'c>, name: &str) -> Built<Operation<'c>> {
    let location = host.location();
    let region = Region::new();
    let types: Vec<_> = plan.arguments.iter().map(|(_, ty)| (*ty, location)).collect();
    let block = region.append_block(Block::new(&types));
    // SAFETY: the block lives in the region, which the finished op owns; it is used while the op is built only.
    let block: BlockRef<'c, 'c> = unsafe { BlockRef::from_raw(block.to_raw()) };
    let mut body = Body {
        plan,
        host,
        location,
        block,
        moduli: host.params().primes(plan.basis),
        makers: makers(plan.graph, plan.nodes),
        tiles: HashMap::new(),
        loaded: Vec::new(),
        stores: Vec::new(),
    };
    for &number in plan.nodes {
        body.node(&plan.graph.nodes[number])?;
    }
    body.finish()?;
    let attributes = [
        host.named("sym_name", StringAttribute::new(host.context(), name)),
        host.named("moduli", ModuliAttr::new(host.context(), plan.basis).map_err(error)?),
    ];
    let builder = OperationBuilder::new("kernel.func", location).add_attributes(&attributes);
    Ok(builder.add_regions([region]).build()?)
}

impl<'c> Body<'_, 'c> {
    // Emission.

    fn emit(
        &mut self,
        name: &str,
        operands: &[Val<'c>],
        attributes: &[(Identifier<'c>, Attribute<'c>)],
        results: usize,
    ) -> Built<Vec<Val<'c>>> {
        let tile: Type<'c> = TileType::new(self.host.context()).map_err(error)?.into();
        let builder = OperationBuilder::new(name, self.location).add_operands(operands);
        let op = builder.add_attributes(attributes).add_results(&vec![tile; results]).build()?;
        let op = self.block.append_operation(op);
        Ok(op.results().map(Into::into).collect())
    }

    fn one(
        &mut self,
        name: &str,
        operands: &[Val<'c>],
        attributes: &[(Identifier<'c>, Attribute<'c>)],
    ) -> Built<Val<'c>> {
        self.emit(name, operands, attributes, 1)?.pop().ok_or_else(|| error("an op has no result"))
    }

    fn array(&self, name: &str, values: &[i64]) -> (Identifier<'c>, Attribute<'c>) {
        self.host.named(name, DenseI64ArrayAttribute::new(self.host.context(), values))
    }

    fn words(&self, constants: &[u32]) -> Vec<i64> {
        constants.iter().map(|&c| i64::from(c)).collect()
    }

    fn argument(&self, wanted: &Argument<'c>) -> Built<Val<'c>> {
        let place = self.plan.arguments.iter().position(|(argument, _)| argument == wanted);
        let place = place.ok_or_else(|| error("a kernel lacks an argument"))?;
        Ok(self.block.argument(place)?.into())
    }

    // Pending constants.

    fn times(&self, a: &Option<Vec<u32>>, b: &Option<Vec<u32>>) -> Option<Vec<u32>> {
        let product = match (a, b) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (Some(a), Some(b)) => {
                let moduli = self.moduli.iter();
                moduli.zip(a.iter().zip(b)).map(|(&q, (&a, &b))| mul_mod(a, b, q)).collect()
            }
        };
        if product.iter().all(|&c| c == 1) { None } else { Some(product) }
    }

    /// 2^32 modulo each prime.
    fn montgomery(&self) -> Option<Vec<u32>> {
        Some(self.moduli.iter().map(|&q| ((1u64 << 32) % u64::from(q)) as u32).collect())
    }

    fn inverse_montgomery(&self) -> Option<Vec<u32>> {
        Some(self.moduli.iter().map(|&q| inv_mod(((1u64 << 32) % u64::from(q)) as u32, q)).collect())
    }

    /// The constants of a node for the kernel's primes.
    fn constants(&self, constants: &Constants) -> Vec<u32> {
        let of = |prime: Prime| constants.get(&prime).copied().unwrap_or_default() as u32;
        self.plan.basis.iter().map(of).collect()
    }

    fn ready(value: Val<'c>) -> Tile<'c> {
        Tile { words: Words::Ready(value), pending: None }
    }

    /// The words of a tile without what is pending.
    fn raw(&mut self, tile: &Tile<'c>) -> Built<Val<'c>> {
        match tile.words {
            Words::Ready(value) => Ok(value),
            Words::Intt(input) => self.one("kernel.intt", &[input], &[]),
        }
    }

    /// The words of a tile with what is pending.
    fn force(&mut self, tile: &Tile<'c>) -> Built<Val<'c>> {
        let Some(pending) = &tile.pending else { return self.raw(tile) };
        let constants = self.words(pending);
        match tile.words {
            Words::Intt(input) => {
                let scale = self.array("scale", &constants);
                self.one("kernel.intt", &[input], &[scale])
            }
            Words::Ready(value) => {
                let constants = self.array("constants", &constants);
                self.one("kernel.mul_const", &[value], &[constants])
            }
        }
    }

    /// Two tiles with the same constants pending.
    fn aligned(&mut self, a: &Tile<'c>, b: &Tile<'c>) -> Built<(Val<'c>, Val<'c>, Option<Vec<u32>>)> {
        if a.pending == b.pending {
            return Ok((self.raw(a)?, self.raw(b)?, a.pending.clone()));
        }
        Ok((self.force(a)?, self.force(b)?, None))
    }

    // Operands.

    /// Where in a buffer over `held` the kernel's limbs are; none if they are all of it in order. Primes that the
    /// buffer lacks read its first limb.
    fn limbs(&self, held: &Basis) -> Option<Vec<i64>> {
        let place = |prime| held.position(prime).unwrap_or_default() as i64;
        if held == self.plan.basis { None } else { Some(self.plan.basis.iter().map(place).collect()) }
    }

    fn limbs_attribute(&self, name: &str, held: &Basis) -> Vec<(Identifier<'c>, Attribute<'c>)> {
        self.limbs(held).map(|limbs| self.array(name, &limbs)).into_iter().collect()
    }

    fn tile(&mut self, node: &Node<'c>, index: usize) -> Built<Tile<'c>> {
        let operand = node.operands.get(index).ok_or_else(|| error("a node lacks an operand"))?.clone();
        let Source::Value(value, _) = operand.source else {
            let zeros = vec![0; self.moduli.len()];
            let constants = self.array("constants", &zeros);
            return Ok(Self::ready(self.one("kernel.splat", &[], &[constants])?));
        };
        if is_local(self.plan.graph, &self.makers, node, &operand)
            && let Some(tile) = self.tiles.get(&value)
        {
            return Ok(tile.clone());
        }
        let load = (value, operand.access.clone());
        if let Some((_, tile)) = self.loaded.iter().find(|(known, _)| *known == load) {
            return Ok(tile.clone());
        }
        let info = &self.plan.graph.values[value];
        let (montgomery, period) = (info.montgomery, info.period);
        let cell = cell_of(self.plan.graph, self.plan.homes, value)?;
        let held = self.plan.graph.cells[cell].basis.clone();
        let buffer = self.argument(&Argument::Cell(cell))?;
        let limbs = self.limbs_attribute("limbs", &held);
        let words = match &operand.access {
            Access::Permuted(element) => {
                let permutation = self.argument(&Argument::Permutation(element.clone()))?;
                self.one("kernel.load_permuted", &[buffer, permutation], &limbs)?
            }
            _ if period != 0 => self.one("kernel.load_periodic", &[buffer], &limbs)?,
            _ => self.one("kernel.load", &[buffer], &limbs)?,
        };
        let pending = if montgomery { self.inverse_montgomery() } else { None };
        let tile = Tile { words: Words::Ready(words), pending };
        self.loaded.push((load, tile.clone()));
        Ok(tile)
    }

    /// The buffer of an operand that is read as a whole.
    fn buffer(&self, node: &Node<'c>, index: usize) -> Built<(Val<'c>, Basis, bool)> {
        let Some(Source::Value(value, _)) = node.operands.get(index).map(|operand| &operand.source) else {
            return Err(error("a node reads zero as a whole"));
        };
        let cell = cell_of(self.plan.graph, self.plan.homes, *value)?;
        let montgomery = self.plan.graph.values[*value].montgomery;
        Ok((self.argument(&Argument::Cell(cell))?, self.plan.graph.cells[cell].basis.clone(), montgomery))
    }

    // Nodes.

    fn product(&mut self, node: &Node<'c>, a: usize, b: usize) -> Built<Tile<'c>> {
        let (a, b) = (self.tile(node, a)?, self.tile(node, b)?);
        let pending = self.times(&self.times(&a.pending, &b.pending), &self.montgomery());
        let operands = [self.raw(&a)?, self.raw(&b)?];
        Ok(Tile { words: Words::Ready(self.one("kernel.mulm", &operands, &[])?), pending })
    }

    fn node(&mut self, node: &Node<'c>) -> Built<()> {
        let results = match &node.kind {
            Kind::Copy => vec![self.tile(node, 0)?],
            Kind::Add | Kind::Sub => {
                let (a, b) = (self.tile(node, 0)?, self.tile(node, 1)?);
                let (a, b, pending) = self.aligned(&a, &b)?;
                let name = if matches!(node.kind, Kind::Add) { "kernel.addm" } else { "kernel.subm" };
                vec![Tile { words: Words::Ready(self.one(name, &[a, b], &[])?), pending }]
            }
            Kind::Neg => {
                let a = self.tile(node, 0)?;
                let words = self.raw(&a)?;
                vec![Tile {
                    words: Words::Ready(self.one("kernel.negm", &[words], &[])?),
                    pending: a.pending,
                }]
            }
            Kind::Mul => vec![self.product(node, 0, 1)?],
            Kind::Mac => {
                let sum = self.tile(node, 0)?;
                let product = self.product(node, 1, 2)?;
                let (a, b, pending) = self.aligned(&sum, &product)?;
                vec![Tile { words: Words::Ready(self.one("kernel.addm", &[a, b], &[])?), pending }]
            }
            Kind::MulConst(constants) | Kind::ScaleUp(constants) => {
                let a = self.tile(node, 0)?;
                let pending = self.times(&a.pending, &Some(self.constants(constants)));
                vec![Tile { words: a.words, pending }]
            }
            Kind::AddConst(constants) => {
                let a = self.tile(node, 0)?;
                let words = self.force(&a)?;
                let constants = self.array("constants", &self.words(&self.constants(constants)));
                vec![Self::ready(self.one("kernel.add_const", &[words], &[constants])?)]
            }
            Kind::Ntt => {
                let a = self.tile(node, 0)?;
                let words = self.raw(&a)?;
                vec![Tile { words: Words::Ready(self.one("kernel.ntt", &[words], &[])?), pending: a.pending }]
            }
            Kind::Intt => {
                let a = self.tile(node, 0)?;
                let words = self.raw(&a)?;
                vec![Tile { words: Words::Intt(words), pending: a.pending }]
            }
            Kind::Bconv(from) => {
                let (buffer, held, _) = self.buffer(node, 0)?;
                let moduli = ModuliAttr::new(self.host.context(), from).map_err(error)?;
                let mut attributes = vec![self.host.named("from", moduli)];
                if held != *from {
                    let places: Vec<i64> =
                        from.iter().map(|prime| held.position(prime).unwrap_or_default() as i64).collect();
                    attributes.push(self.array("limbs", &places));
                }
                vec![Self::ready(self.one("kernel.bconv_tile", &[buffer], &attributes)?)]
            }
            Kind::InnerProduct => self.inner_product(node)?,
            Kind::WeightedSum { weights, choice, range } => {
                self.weighted_sum(node, weights, choice, range)?
            }
            Kind::Put(cell) => {
                let tile = self.tile(node, 0)?;
                let words = self.force(&tile)?;
                self.stores.push((words, *cell));
                Vec::new()
            }
            Kind::Loop(_) | Kind::Call(_) | Kind::CopyCell(..) => {
                return Err(error("a kernel cannot loop or call"));
            }
        };
        for (&result, tile) in node.results.iter().zip(results) {
            self.tiles.insert(result, tile.clone());
            if let Some(&cell) = self.plan.homes.get(&result) {
                let words = self.force(&tile)?;
                self.tiles.insert(result, Self::ready(words));
                self.stores.push((words, cell));
            }
        }
        Ok(())
    }

    /// Sums of Montgomery products, as tiles with what is pending.
    fn sums(
        &mut self,
        operands: &[Val<'c>],
        segments: [i32; 6],
        attributes: Vec<(Identifier<'c>, Attribute<'c>)>,
        count: usize,
    ) -> Built<Vec<Tile<'c>>> {
        let text = format!("array<i32: {}>", segments.map(|s| s.to_string()).join(", "));
        let segments = Attribute::parse(self.host.context(), &text).ok_or_else(|| error("no segments"))?;
        let mut attributes = attributes;
        attributes.push(self.host.named("operandSegmentSizes", segments));
        let results = self.emit("kernel.weighted_sum", operands, &attributes, count)?;
        Ok(results.into_iter().map(Self::ready).collect())
    }

    fn inner_product(&mut self, node: &Node<'c>) -> Built<Vec<Tile<'c>>> {
        let (digits, digit_basis, montgomery) = self.buffer(node, 0)?;
        let (key, key_basis, key_montgomery) = self.buffer(node, 1)?;
        let mut operands = vec![digits, key];
        let mut segments = [1, 1, 0, 0, 0, 0];
        if let Some(Access::Permuted(element)) = node.operands.first().map(|operand| &operand.access) {
            operands.push(self.argument(&Argument::Permutation(element.clone()))?);
            segments[5] = 1;
        }
        let mut attributes = self.limbs_attribute("weight_limbs", &digit_basis);
        attributes.extend(self.limbs_attribute("value_limbs", &key_basis));
        let mut tiles = self.sums(&operands, segments, attributes, node.results.len())?;
        if !montgomery && !key_montgomery {
            let pending = self.montgomery();
            tiles.iter_mut().for_each(|tile| tile.pending = pending.clone());
        }
        Ok(tiles)
    }

    fn weighted_sum(
        &mut self,
        node: &Node<'c>,
        weights: &str,
        choice: &str,
        range: &[Val<'c>; 2],
    ) -> Built<Vec<Tile<'c>>> {
        let (values, value_basis, _) = self.buffer(node, 0)?;
        let entry = self.host.table(weights)?.entry;
        let held = ceria_dialects::poly::RnsType::try_from(entry).map_err(error)?.basis();
        let operands = [
            self.argument(&Argument::Table(weights.into()))?,
            values,
            self.argument(&Argument::Index(range[0]))?,
            self.argument(&Argument::Index(range[1]))?,
            self.argument(&Argument::Table(choice.into()))?,
        ];
        let mut attributes = self.limbs_attribute("weight_limbs", &held);
        attributes.extend(self.limbs_attribute("value_limbs", &value_basis));
        self.sums(&operands, [1, 1, 1, 1, 1, 0], attributes, node.results.len())
    }

    fn finish(&mut self) -> Built<()> {
        for (words, cell) in std::mem::take(&mut self.stores) {
            let held = self.plan.graph.cells[cell].basis.clone();
            let buffer = self.argument(&Argument::Cell(cell))?;
            let limbs = self.limbs_attribute("limbs", &held);
            self.emit("kernel.store", &[words, buffer], &limbs, 0)?;
        }
        Ok(())
    }
}
