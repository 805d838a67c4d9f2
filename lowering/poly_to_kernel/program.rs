//! From the graph of a block to the host program: kernels, launches, loops, calls, buffers and their lifetimes.

use super::body::{self, Argument, Plan, cell_of, is_local};
use super::build::{Builder, poly_type};
use super::graph::{Cell, CellId, Graph, Home, Index, Kind, Source, ValueId};
use super::host::{Bound, Host, Memory};
use super::schedule::Schedule;
use super::{Built, Val, error, op_error};
use melior::ir::attribute::FlatSymbolRefAttribute;
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationLike;
use melior::ir::{Block, BlockRef, OperationRef, Region, RegionLike, Type, ValueLike};
use std::collections::HashMap;

type Op<'c> = OperationRef<'c, 'c>;

/// Lowers one block into the current place of the host program. The terminator is left to the caller.
pub fn lower_block<'c>(
    host: &mut Host<'c>,
    block: BlockRef<'c, 'c>,
    arguments: &[(Val<'c>, Memory<'c>)],
    outputs: &[Memory<'c>],
    in_loop: bool,
) -> Built<()> {
    let graph = Builder::build(host, block, arguments, outputs, in_loop)?;
    let schedule = Schedule::new(&graph);
    let mut program = Program { host, homes: HashMap::new(), buffers: HashMap::new(), graph, schedule };
    program.settle();
    program.emit()
}

struct Program<'h, 'c> {
    host: &'h mut Host<'c>,
    graph: Graph<'c>,
    schedule: Schedule,
    /// The cells of values that kernels make and others read.
    homes: HashMap<ValueId, CellId>,
    /// The buffers of fresh cells.
    buffers: HashMap<CellId, Val<'c>>,
}

impl<'c> Program<'_, 'c> {
    /// Gives a cell to each value that is read from memory and has none.
    fn settle(&mut self) {
        let words = self.host.params().n() as i64;
        for item in 0..self.schedule.items.len() {
            let nodes = self.schedule.items[item].nodes.clone();
            let mut makers = HashMap::new();
            for &number in &nodes {
                let node = &self.graph.nodes[number];
                node.results.iter().for_each(|&result| {
                    makers.insert(result, number);
                });
            }
            for &number in &nodes {
                let node = &self.graph.nodes[number];
                let remote: Vec<ValueId> = node
                    .operands
                    .iter()
                    .filter(|operand| !is_local(&self.graph, &makers, node, operand))
                    .filter_map(|operand| match operand.source {
                        Source::Value(value, _) => Some(value),
                        Source::Zero => None,
                    })
                    .collect();
                for value in remote {
                    if self.graph.values[value].cell.is_none() && !self.homes.contains_key(&value) {
                        let basis = self.graph.values[value].basis.clone();
                        let cell =
                            self.graph.cell(Cell { home: Home::Fresh, basis, shape: Vec::new(), words });
                        self.homes.insert(value, cell);
                    }
                }
            }
        }
    }

    /// The fresh cells that a node reads or writes.
    fn touched(&self, number: usize) -> Built<Vec<CellId>> {
        let node = &self.graph.nodes[number];
        let mut cells = node.touches.clone();
        for operand in &node.operands {
            if let Source::Value(value, _) = operand.source
                && (self.graph.values[value].cell.is_some() || self.homes.contains_key(&value))
            {
                cells.push(cell_of(&self.graph, &self.homes, value)?);
            }
        }
        if let Kind::Put(cell) = node.kind {
            cells.push(cell);
        }
        cells.extend(node.results.iter().filter_map(|result| self.homes.get(result)));
        let fresh = |cell: &CellId| matches!(self.graph.cells[*cell].home, Home::Fresh);
        Ok(cells.into_iter().map(|cell| self.graph.root(cell)).filter(fresh).collect())
    }

    fn emit(&mut self) -> Built<()> {
        let mut first: Vec<Vec<CellId>> = vec![Vec::new(); self.schedule.items.len()];
        let mut last = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for (number, item) in self.schedule.items.iter().enumerate() {
            for &node in &item.nodes {
                for cell in self.touched(node)? {
                    if seen.insert(cell) {
                        first[number].push(cell);
                    }
                    last.insert(cell, number);
                }
            }
        }
        for (number, cells) in first.into_iter().enumerate() {
            for cell in cells {
                let shape = &self.graph.cells[cell];
                let extents = Host::extents(&shape.shape, &shape.basis, shape.words);
                let buffer = self.host.alloc(&extents)?;
                self.buffers.insert(cell, buffer);
            }
            self.item(number)?;
            let mut dead: Vec<CellId> =
                last.iter().filter(|&(_, &item)| item == number).map(|(&cell, _)| cell).collect();
            dead.sort_unstable();
            for cell in dead {
                if let Some(&buffer) = self.buffers.get(&cell) {
                    self.host.free(buffer)?;
                }
            }
        }
        Ok(())
    }

    /// The buffer of a cell, at the current place of the host program.
    fn buffer(&mut self, cell: CellId) -> Built<Val<'c>> {
        match self.graph.cells[cell].home.clone() {
            Home::Buffer(buffer) => Ok(buffer),
            Home::Fresh => {
                self.buffers.get(&cell).copied().ok_or_else(|| error("a buffer is used before it exists"))
            }
            Home::Part(parent, indices) => {
                let whole = self.buffer(parent)?;
                let mut values = Vec::new();
                for index in indices {
                    values.push(match index {
                        Index::Constant(constant) => self.host.index(constant)?,
                        Index::Value(value) => self.host.scalar(value)?,
                    });
                }
                self.host.subview(whole, &values)
            }
        }
    }

    fn item(&mut self, number: usize) -> Built<()> {
        let nodes = self.schedule.items[number].nodes.clone();
        if let Some(basis) = self.schedule.items[number].basis.clone() {
            return self.kernel(&nodes, &basis);
        }
        for node in nodes {
            match self.graph.nodes[node].kind {
                Kind::CopyCell(from, to) => {
                    let (from, to) = (self.buffer(from)?, self.buffer(to)?);
                    self.host.copy(from, to)?;
                }
                Kind::Loop(op) => self.for_loop(node, self.graph.ops[op])?,
                Kind::Call(op) => self.call(node, self.graph.ops[op])?,
                _ => return Err(error("a node without a kernel")),
            }
        }
        Ok(())
    }

    fn kernel(&mut self, nodes: &[usize], basis: &ceria_runtime::format::basis::Basis) -> Built<()> {
        let wanted = body::arguments(&self.graph, nodes, &self.homes)?;
        let mut arguments = Vec::new();
        let mut values = Vec::new();
        for argument in wanted {
            let value = match &argument {
                Argument::Cell(cell) => self.buffer(*cell)?,
                Argument::Table(name) => self.host.table_buffer(name)?,
                Argument::Permutation(element) => self.host.permutation(element)?,
                Argument::Index(value) => *value,
            };
            values.push(value);
            arguments.push((argument, value.r#type()));
        }
        let plan = Plan { graph: &self.graph, basis, nodes, homes: &self.homes, arguments: &arguments };
        let stem = kernel_stem(&self.graph, nodes);
        let built = {
            let host: &Host<'c> = self.host;
            body::build(host, &plan, "kernel")?
        };
        let name = self.host.kernel(&stem, built)?;
        self.host.launch(&name, &values)
    }

    fn memory(&mut self, value: ValueId) -> Built<Memory<'c>> {
        let cell = cell_of(&self.graph, &self.homes, value)?;
        let buffer = self.buffer(cell)?;
        let info = &self.graph.values[value];
        Ok(Memory {
            buffer,
            basis: self.graph.cells[cell].basis.clone(),
            shape: info.shape.clone(),
            words: self.graph.cells[cell].words,
            period: info.period,
            form: info.form,
            montgomery: info.montgomery,
        })
    }

    fn for_loop(&mut self, node: usize, op: Op<'c>) -> Built<()> {
        let operands = self.graph.nodes[node].operands.clone();
        for (value, operand) in self.host.reads(op).into_iter().zip(operands) {
            let bound = match operand.source {
                Source::Value(id, _) => Bound::Memory(self.memory(id)?),
                Source::Zero => Bound::Zero,
            };
            self.host.bind(value, bound);
        }
        let bounds = (0..3).map(|i| self.host.scalar(op.operand(i)?)).collect::<Built<Vec<_>>>()?;
        let body = Host::body(op)?;
        let cells = self.graph.nodes[node].touches.clone();
        let mut arguments = Vec::new();
        for (index, cell) in cells.into_iter().enumerate() {
            let argument: Val<'c> = body.argument(index + 1)?.into();
            let (shape, rns) =
                poly_type(argument.r#type()).ok_or_else(|| op_error(&op, "carries no polynomial"))?;
            let buffer = self.buffer(cell)?;
            let held = &self.graph.cells[cell];
            arguments.push((
                argument,
                Memory {
                    buffer,
                    basis: held.basis.clone(),
                    shape,
                    words: held.words,
                    period: rns.period(),
                    form: rns.form(),
                    montgomery: false,
                },
            ));
        }
        let region = Region::new();
        let block = region.append_block(Block::new(&[(Type::index(self.host.context()), op.location())]));
        // SAFETY: the block moves with its region into the loop, which the function keeps.
        let block: BlockRef<'c, 'c> = unsafe { BlockRef::from_raw(block.to_raw()) };
        let counter: Val<'c> = block.argument(0)?.into();
        self.host.bind(body.argument(0)?.into(), Bound::Scalar(counter));
        let previous = self.host.enter(block);
        let lowered = lower_block(self.host, body, &arguments, &[], true);
        let location = self.host.location();
        self.host.locate(op.location());
        let end = self.host.builder("scf.yield").build()?;
        block.append_operation(end);
        self.host.leave(previous);
        self.host.locate(location);
        lowered?;
        let builder = self.host.builder("scf.for").add_operands(&bounds).add_regions([region]);
        let op = builder.build()?;
        self.host.push(op).map(|_| ())
    }

    fn call(&mut self, node: usize, op: Op<'c>) -> Built<()> {
        let mut buffers = Vec::new();
        for operand in self.graph.nodes[node].operands.clone() {
            let Source::Value(value, _) = operand.source else {
                return Err(op_error(&op, "passes zero"));
            };
            buffers.push(self.memory(value)?.buffer);
        }
        for cell in self.graph.nodes[node].touches.clone() {
            buffers.push(self.buffer(cell)?);
        }
        let callee = FlatSymbolRefAttribute::try_from(op.attribute("callee")?)?;
        let callee =
            self.host.named("callee", FlatSymbolRefAttribute::new(self.host.context(), callee.value()));
        let call = self.host.builder("func.call").add_attributes(&[callee]).add_operands(&buffers).build()?;
        self.host.push(call).map(|_| ())
    }
}

/// What the kernel does, for its name.
fn kernel_stem(graph: &Graph<'_>, nodes: &[usize]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for &number in nodes {
        let word = match &graph.nodes[number].kind {
            Kind::Ntt => "ntt",
            Kind::Intt => "intt",
            Kind::Bconv(_) => "bconv",
            Kind::InnerProduct => "switch",
            Kind::WeightedSum { .. } => "sum",
            Kind::Mul | Kind::Mac => "mul",
            Kind::Add | Kind::Sub | Kind::Neg | Kind::AddConst(_) => "add",
            Kind::MulConst(_) | Kind::ScaleUp(_) => "scale",
            _ => continue,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() { "copy".into() } else { words.join("_") }
}
