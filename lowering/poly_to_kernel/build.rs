//! From the ops of a block to its graph.
//!
//! Two walks: backwards, to give every aggregate its cell (a function result's own buffer, the element of a
//! tensor that it becomes, memory of its own); then forwards, to make the nodes. Index arithmetic is emitted
//! into the new program on the way, since it depends on nothing that kernels do.

mod control;

use super::graph::{
    Access, Cell, CellId, Constants, Element, Graph, Home, Index, Info, Kind, Operand, Source, ValueId,
};
use super::host::{Bound, Host, Memory};
use super::{Built, Val, error, op_error};
use ceria_dialects::interpret::name_of;
use ceria_dialects::poly::ops::{defining_op, i64_array, symbol, use_count};
use ceria_dialects::poly::{Form, RnsType, TableKind, infer};
use ceria_runtime::format::basis::Basis;
use melior::ir::RegionLike;
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationLike;
use melior::ir::{BlockRef, OperationRef, Type, ValueLike};
use std::collections::HashMap;

type Op<'c> = OperationRef<'c, 'c>;

/// Where the terminator's operands go.
pub struct Targets {
    /// The cell of each operand.
    pub cells: Vec<CellId>,
}

/// Shape and primes of a polynomial or a tensor of polynomials; none for other types.
pub fn poly_type(ty: Type<'_>) -> Option<(Vec<i64>, RnsType<'_>)> {
    if let Ok(rns) = RnsType::try_from(ty) {
        return Some((Vec::new(), rns));
    }
    let (shape, rns) = infer::rns_tensor(ty).ok()?;
    Some((shape.into_iter().map(|d| d as i64).collect(), rns))
}

/// Builds the graph of one block.
pub struct Builder<'b, 'c> {
    host: &'b mut Host<'c>,
    graph: Graph<'c>,
    /// Values of the program by address.
    known: HashMap<usize, Source>,
    /// Elements of automorphisms that are applied when a tensor is read.
    permuted: HashMap<usize, (Source, Element<'c>)>,
    /// The cell of each aggregate, by address.
    cells: HashMap<usize, CellId>,
    /// Carried values of the loop whose body this is: their values and the cells they are in.
    carried: Vec<(ValueId, CellId)>,
}

fn key(value: Val<'_>) -> usize {
    value.to_raw().ptr as usize
}

fn operand<'c>(op: Op<'c>, index: usize) -> Built<Val<'c>> {
    Ok(op.operand(index)?)
}

fn result<'c>(op: Op<'c>, index: usize) -> Built<Val<'c>> {
    Ok(op.result(index)?.into())
}

impl<'b, 'c> Builder<'b, 'c> {
    /// Builds the graph of a block. `arguments` are the buffers of its arguments that are polynomials, `outputs`
    /// those that the terminator's operands go to; in a loop the two are the same.
    pub fn build(
        host: &'b mut Host<'c>,
        block: BlockRef<'c, 'c>,
        arguments: &[(Val<'c>, Memory<'c>)],
        outputs: &[Memory<'c>],
        in_loop: bool,
    ) -> Built<Graph<'c>> {
        let mut this = Builder {
            host,
            graph: Graph::default(),
            known: HashMap::new(),
            permuted: HashMap::new(),
            cells: HashMap::new(),
            carried: Vec::new(),
        };
        let mut argument_cells = Vec::new();
        for (argument, memory) in arguments {
            let value = this.external(memory);
            if let Some(cell) = this.graph.values[value].cell {
                argument_cells.push((value, cell));
            }
            let (_, rns) =
                poly_type(argument.r#type()).ok_or_else(|| error("an argument is no polynomial"))?;
            this.known.insert(key(*argument), Source::Value(value, rns.basis()));
        }
        let targets = if in_loop {
            this.carried = argument_cells.clone();
            Targets { cells: argument_cells.iter().map(|&(_, cell)| cell).collect() }
        } else {
            Targets { cells: outputs.iter().map(|memory| this.memory_cell(memory)).collect() }
        };
        let mut ops = Vec::new();
        let mut next = block.first_operation();
        while let Some(op) = next {
            ops.push(op);
            next = op.next_in_block();
        }
        for &op in ops.iter().rev() {
            this.place(op, &targets)?;
        }
        for &op in &ops {
            this.translate(op, &targets)?;
        }
        this.graph.demanded()
    }

    fn memory_cell(&mut self, memory: &Memory<'c>) -> CellId {
        self.graph.cell(Cell {
            home: Home::Buffer(memory.buffer),
            basis: memory.basis.clone(),
            shape: memory.shape.clone(),
            words: memory.words,
        })
    }

    /// A value that is in memory already.
    fn external(&mut self, memory: &Memory<'c>) -> ValueId {
        let cell = self.memory_cell(memory);
        self.graph.value(Info {
            basis: memory.basis.clone(),
            shape: memory.shape.clone(),
            period: memory.period,
            form: memory.form,
            montgomery: memory.montgomery,
            cell: Some(cell),
            ready: Vec::new(),
        })
    }

    // Backwards: cells of aggregates.

    /// Whether a value has a cell rather than a tile: an aggregate made in this block.
    fn is_aggregate(&self, value: Val<'c>) -> bool {
        defining_op(value).is_some_and(|op| {
            matches!(
                name_of(op).as_str(),
                "poly.concat_limbs"
                    | "tensor.from_elements"
                    | "tensor.insert"
                    | "tensor.empty"
                    | "scf.for"
                    | "func.call"
            )
        })
    }

    /// Puts an aggregate that is used only here into a cell; otherwise it is copied later.
    fn claim(&mut self, value: Val<'c>, cell: CellId) {
        if self.is_aggregate(value) && use_count(value) == 1 && !self.cells.contains_key(&key(value)) {
            self.cells.insert(key(value), cell);
        }
    }

    fn part(&mut self, parent: CellId, indices: Vec<Index<'c>>) -> CellId {
        let outer = &self.graph.cells[parent];
        let shape = outer.shape[indices.len().min(outer.shape.len())..].to_vec();
        let (basis, words) = (outer.basis.clone(), outer.words);
        self.graph.cell(Cell { home: Home::Part(parent, indices), basis, shape, words })
    }

    /// The cell of an aggregate; memory of its own if nothing claimed it.
    fn cell_of(&mut self, value: Val<'c>) -> Built<CellId> {
        if let Some(&cell) = self.cells.get(&key(value)) {
            return Ok(cell);
        }
        let (shape, rns) = poly_type(value.r#type()).ok_or_else(|| error("a value is no polynomial"))?;
        let words = self.host.params().n() as i64;
        let cell = self.graph.cell(Cell { home: Home::Fresh, basis: rns.basis(), shape, words });
        self.cells.insert(key(value), cell);
        Ok(cell)
    }

    fn place(&mut self, op: Op<'c>, targets: &Targets) -> Built<()> {
        match name_of(op).as_str() {
            "func.return" | "scf.yield" => {
                for (index, &cell) in targets.cells.iter().enumerate() {
                    self.claim(operand(op, index)?, cell);
                }
            }
            "poly.concat_limbs" => {
                let cell = self.cell_of(result(op, 0)?)?;
                for index in 0..op.operand_count() {
                    self.claim(operand(op, index)?, cell);
                }
            }
            "tensor.from_elements" if poly_type(result(op, 0)?.r#type()).is_some() => {
                let cell = self.cell_of(result(op, 0)?)?;
                for index in 0..op.operand_count() {
                    let part = self.part(cell, self.coordinates(cell, index));
                    self.claim(operand(op, index)?, part);
                }
            }
            "tensor.insert" if poly_type(result(op, 0)?.r#type()).is_some() => {
                let cell = self.cell_of(result(op, 0)?)?;
                self.claim(operand(op, 1)?, cell);
                let part = self.part(cell, insert_indices(op)?);
                self.claim(operand(op, 0)?, part);
            }
            "scf.for" => {
                for index in 0..op.result_count() {
                    let cell = self.cell_of(result(op, index)?)?;
                    self.claim(operand(op, index + 3)?, cell);
                }
            }
            "func.call" => {
                for index in 0..op.result_count() {
                    self.cell_of(result(op, index)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The coordinates of element `index` of a tensor in row-major order.
    fn coordinates(&self, cell: CellId, mut index: usize) -> Vec<Index<'c>> {
        let mut coordinates = Vec::new();
        for &extent in self.graph.cells[cell].shape.iter().rev() {
            coordinates.push(Index::Constant((index % extent as usize) as i64));
            index /= extent as usize;
        }
        coordinates.reverse();
        coordinates
    }

    // Forwards: nodes.

    fn rns(value: Val<'c>) -> Built<RnsType<'c>> {
        infer::rns_of(value).map_err(error)
    }

    /// What a value of the program is in the graph.
    fn source(&mut self, value: Val<'c>) -> Built<Source> {
        if let Some(source) = self.known.get(&key(value)) {
            return Ok(source.clone());
        }
        let (_, rns) = poly_type(value.r#type()).ok_or_else(|| error("a value is no polynomial"))?;
        let source = match self.host.bound(value) {
            Some(Bound::Memory(memory)) => Source::Value(self.external(&memory), rns.basis()),
            Some(Bound::Zero) => Source::Zero,
            _ => return Err(error("a value is used that was not lowered")),
        };
        self.known.insert(key(value), source.clone());
        Ok(source)
    }

    fn compute(&mut self, op: Op<'c>, kind: Kind<'c>, operands: Vec<Operand<'c>>) -> Built<()> {
        let mut results = Vec::new();
        let mut basis = Basis::empty();
        for index in 0..op.result_count() {
            let value = result(op, index)?;
            let rns = Self::rns(value)?;
            basis = rns.basis();
            let id = self.tile_value(&basis, rns.form());
            self.known.insert(key(value), Source::Value(id, basis.clone()));
            results.push(id);
        }
        self.graph.node(kind, basis, operands, results);
        Ok(())
    }

    fn tile_value(&mut self, basis: &Basis, form: Form) -> ValueId {
        self.graph.value(Info {
            basis: basis.clone(),
            shape: Vec::new(),
            period: 0,
            form,
            montgomery: false,
            cell: None,
            ready: Vec::new(),
        })
    }

    fn tiles(&mut self, op: Op<'c>) -> Built<Vec<Operand<'c>>> {
        (0..op.operand_count()).map(|index| Ok(Operand::tile(self.source(operand(op, index)?)?))).collect()
    }

    fn constants(&self, op: Op<'c>) -> Built<Constants> {
        let basis = Self::rns(result(op, 0)?)?.basis();
        let constants = i64_array(op, "constants").map_err(error)?;
        Ok(basis.iter().zip(constants.into_iter().map(|c| c as u64)).collect())
    }

    fn translate(&mut self, op: Op<'c>, targets: &Targets) -> Built<()> {
        let name = name_of(op);
        match name.as_str() {
            "poly.add" => self.binary(op, Kind::Add),
            "poly.sub" => self.binary(op, Kind::Sub),
            "poly.mul" => self.binary(op, Kind::Mul),
            "poly.mac" => self.binary(op, Kind::Mac),
            "poly.neg" => self.binary(op, Kind::Neg),
            "poly.ntt" => self.binary(op, Kind::Ntt),
            "poly.intt" => self.binary(op, Kind::Intt),
            "poly.mul_const" => {
                let constants = self.constants(op)?;
                self.binary(op, Kind::MulConst(constants))
            }
            "poly.add_const" => {
                let constants = self.constants(op)?;
                self.binary(op, Kind::AddConst(constants))
            }
            "poly.scale_up" => {
                let (from, to) = (Self::rns(operand(op, 0)?)?.basis(), Self::rns(result(op, 0)?)?.basis());
                let constants = self.host.products(&to.difference(&from), &to)?;
                let mut operands = self.tiles(op)?;
                self.permute_on_load(&mut operands);
                self.compute(op, Kind::ScaleUp(constants), operands)
            }
            "poly.zero" => {
                self.known.insert(key(result(op, 0)?), Source::Zero);
                Ok(())
            }
            "poly.extract_limbs" => {
                let value = result(op, 0)?;
                let basis = Self::rns(value)?.basis();
                let source = match self.source(operand(op, 0)?)? {
                    Source::Value(of, _) => Source::Value(of, basis),
                    Source::Zero => Source::Zero,
                };
                self.known.insert(key(value), source);
                Ok(())
            }
            "poly.automorphism" => self.automorphism(op),
            "poly.bconv" => self.bconv(op),
            "poly.concat_limbs" => self.concat(op),
            "poly.inner_product" => self.inner_product(op),
            "poly.weighted_sum" => self.weighted_sum(op),
            "poly.at" => self.at(op),
            "tensor.empty" => self.aggregate(op, 0, Vec::new()),
            "tensor.from_elements" => {
                let cell = self.cell_of(result(op, 0)?)?;
                let mut ready = Vec::new();
                for index in 0..op.operand_count() {
                    let coordinates = self.coordinates(cell, index);
                    self.put_part(operand(op, index)?, cell, coordinates, &mut ready)?;
                }
                self.aggregate(op, 0, ready)
            }
            "tensor.insert" => self.insert(op),
            "tensor.extract" => self.extract(op),
            "scf.for" => self.for_loop(op),
            "func.call" => self.call(op),
            "func.return" | "scf.yield" => self.terminator(op, targets),
            _ if name.starts_with("arith.") => self.host.clone_scalar(op),
            _ => Err(op_error(&op, "cannot be lowered to kernels (expand key switching first)")),
        }
    }

    fn binary(&mut self, op: Op<'c>, kind: Kind<'c>) -> Built<()> {
        let operands = self.tiles(op)?;
        self.compute(op, kind, operands)
    }

    /// Reads the images of automorphisms from where their operands are. What adds limbs cannot take them as tiles, so
    /// that they would be written and read for it.
    fn permute_on_load(&self, operands: &mut [Operand<'c>]) {
        for operand in operands {
            let Source::Value(value, basis) = &operand.source else { continue };
            let Some(node) = self.graph.nodes.iter().rev().find(|node| node.results.contains(value)) else {
                continue;
            };
            if let (
                Kind::Copy,
                [Operand { source: Source::Value(of, _), access: Access::Permuted(element) }],
            ) = (&node.kind, &node.operands[..])
            {
                let source = Source::Value(*of, basis.clone());
                *operand = Operand { source, access: Access::Permuted(element.clone()) };
            }
        }
    }

    fn element(&mut self, value: Val<'c>) -> Built<Element<'c>> {
        if let Some(element) = self.host.element(value) {
            return Ok(element);
        }
        match ceria_dialects::poly::ops::constant_index(value) {
            Some(constant) => Ok(Element::Constant(constant)),
            None => Err(error("a Galois element is neither a constant nor an entry of a table")),
        }
    }

    fn automorphism(&mut self, op: Op<'c>) -> Built<()> {
        let element = self.element(operand(op, 1)?)?;
        let source = self.source(operand(op, 0)?)?;
        let value = result(op, 0)?;
        let Some((shape, rns)) = poly_type(value.r#type()) else {
            return Err(op_error(&op, "has no polynomial"));
        };
        if rns.form() != Form::Eval {
            return Err(op_error(&op, "is lowered in evaluation form only"));
        }
        if shape.is_empty() {
            let operands = vec![Operand { source, access: Access::Permuted(element) }];
            return self.compute(op, Kind::Copy, operands);
        }
        self.permuted.insert(key(value), (source, element));
        Ok(())
    }

    fn bconv(&mut self, op: Op<'c>) -> Built<()> {
        let from = Self::rns(operand(op, 0)?)?.basis();
        let mut source = self.source(operand(op, 0)?)?;
        if !op.has_attribute("prescaled") {
            let scaled = self.tile_value(&from, Form::Coeff);
            let factors = self.host.conversion_factors(&from)?;
            self.graph.node(Kind::MulConst(factors), from.clone(), vec![Operand::tile(source)], vec![scaled]);
            source = Source::Value(scaled, from.clone());
        }
        let operands = vec![Operand { source, access: Access::Memory }];
        self.compute(op, Kind::Bconv(from), operands)
    }

    fn concat(&mut self, op: Op<'c>) -> Built<()> {
        let cell = self.cell_of(result(op, 0)?)?;
        let mut ready = Vec::new();
        for index in 0..op.operand_count() {
            self.put(operand(op, index)?, cell, &mut ready)?;
        }
        self.aggregate(op, 0, ready)
    }

    fn inner_product(&mut self, op: Op<'c>) -> Built<()> {
        let digits = operand(op, 0)?;
        let (source, access) = match self.permuted.get(&key(digits)) {
            Some((source, element)) => (source.clone(), Access::Permuted(element.clone())),
            None => (self.source(digits)?, Access::Memory),
        };
        let key = self.source(operand(op, 1)?)?;
        let operands = vec![Operand { source, access }, Operand { source: key, access: Access::Memory }];
        self.compute(op, Kind::InnerProduct, operands)
    }

    fn weighted_sum(&mut self, op: Op<'c>) -> Built<()> {
        let range = [self.host.scalar(operand(op, 1)?)?, self.host.scalar(operand(op, 2)?)?];
        let weights = symbol(op, "weights").map_err(error)?;
        let choice = symbol(op, "choice").map_err(error)?;
        let operands = vec![Operand { source: self.source(operand(op, 0)?)?, access: Access::Memory }];
        self.compute(op, Kind::WeightedSum { weights, choice, range }, operands)
    }

    fn at(&mut self, op: Op<'c>) -> Built<()> {
        let name = symbol(op, "table").map_err(error)?;
        let index = self.host.scalar(operand(op, 0)?)?;
        let value = result(op, 0)?;
        let table = self.host.table(&name)?;
        match table.kind {
            TableKind::Galois => self.host.bind_element(value, Element::Entry(name, index)),
            TableKind::Index => self.host.read(value, &name, index),
            _ => {
                let memory = self.host.entry(&name, index)?;
                let (shape, rns) =
                    poly_type(value.r#type()).ok_or_else(|| op_error(&op, "gives no polynomial"))?;
                // A key may be read with fewer digits than it has: the leading ones.
                if shape.first() > memory.shape.first() || shape.get(1..) != memory.shape.get(1..) {
                    return Err(op_error(&op, "reads a key with more digits than its table holds"));
                }
                let entry = self.external(&memory);
                self.known.insert(key(value), Source::Value(entry, rns.basis()));
                Ok(())
            }
        }
    }

    /// Makes the result of an op the contents of its cell, complete when `ready` are.
    fn aggregate(&mut self, op: Op<'c>, index: usize, ready: Vec<usize>) -> Built<()> {
        let value = result(op, index)?;
        let cell = self.cell_of(value)?;
        let (shape, rns) = poly_type(value.r#type()).ok_or_else(|| op_error(&op, "makes no polynomial"))?;
        let id = self.graph.value(Info {
            basis: rns.basis(),
            shape,
            period: 0,
            form: rns.form(),
            montgomery: false,
            cell: Some(cell),
            ready,
        });
        self.known.insert(key(value), Source::Value(id, rns.basis()));
        Ok(())
    }

    /// Makes sure that a polynomial or tensor is in a cell when `ready` are complete.
    fn put(&mut self, value: Val<'c>, cell: CellId, ready: &mut Vec<usize>) -> Built<()> {
        let source = self.source(value)?;
        if let Source::Value(id, _) = &source
            && self.graph.values[*id].cell == Some(cell)
        {
            ready.extend(self.graph.values[*id].ready.iter().copied());
            return Ok(());
        }
        let (shape, rns) = poly_type(value.r#type()).ok_or_else(|| error("a value is no polynomial"))?;
        if shape.is_empty() {
            ready.push(self.graph.node(
                Kind::Put(cell),
                rns.basis(),
                vec![Operand::tile(source)],
                Vec::new(),
            ));
            return Ok(());
        }
        if defining_op(value).is_some_and(|op| name_of(op) == "tensor.empty") {
            return Ok(());
        }
        let Source::Value(id, _) = &source else { return Err(error("a tensor is zero")) };
        let Some(from) = self.graph.values[*id].cell else { return Err(error("a tensor is not in memory")) };
        let operands = vec![Operand { source: source.clone(), access: Access::Memory }];
        let copy = self.graph.node(Kind::CopyCell(from, cell), Basis::empty(), operands, Vec::new());
        self.graph.nodes[copy].touches = vec![from, cell];
        ready.push(copy);
        Ok(())
    }

    fn put_part(
        &mut self,
        value: Val<'c>,
        cell: CellId,
        indices: Vec<Index<'c>>,
        ready: &mut Vec<usize>,
    ) -> Built<()> {
        let part = match self.cells.get(&key(value)) {
            Some(&claimed) if self.is_part(claimed, cell) => claimed,
            _ => self.part(cell, indices),
        };
        self.put(value, part, ready)
    }

    fn is_part(&self, inner: CellId, outer: CellId) -> bool {
        matches!(self.graph.cells[inner].home, Home::Part(parent, _) if parent == outer)
    }

    fn insert(&mut self, op: Op<'c>) -> Built<()> {
        let cell = self.cell_of(result(op, 0)?)?;
        let mut ready = Vec::new();
        self.put(operand(op, 1)?, cell, &mut ready)?;
        let copied: Vec<usize> = ready
            .iter()
            .copied()
            .filter(|&n| matches!(self.graph.nodes[n].kind, Kind::CopyCell(..)))
            .collect();
        let before = ready.len();
        self.put_part(operand(op, 0)?, cell, insert_indices(op)?, &mut ready)?;
        for &node in &ready[before..] {
            self.graph.nodes[node].after.extend(&copied);
        }
        self.aggregate(op, 0, ready)
    }

    /// An element of a tensor that is in memory.
    fn extract(&mut self, op: Op<'c>) -> Built<()> {
        let Source::Value(tensor, _) = self.source(operand(op, 0)?)? else {
            return Err(op_error(&op, "reads a tensor that is zero"));
        };
        let info = self.graph.values[tensor].clone();
        let Some(cell) = info.cell else { return Err(op_error(&op, "reads a tensor that is not in memory")) };
        let indices =
            (1..op.operand_count()).map(|i| Ok(Index::Value(operand(op, i)?))).collect::<Built<Vec<_>>>()?;
        let part = self.part(cell, indices);
        let value = result(op, 0)?;
        let basis = Self::rns(value)?.basis();
        let id = self.graph.value(Info { shape: Vec::new(), cell: Some(part), ..info });
        self.known.insert(key(value), Source::Value(id, basis));
        Ok(())
    }
}

/// The coordinates of a `tensor.insert`.
fn insert_indices<'c>(op: Op<'c>) -> Built<Vec<Index<'c>>> {
    (2..op.operand_count()).map(|index| Ok(Index::Value(operand(op, index)?))).collect()
}
