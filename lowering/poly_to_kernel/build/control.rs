//! Loops, calls and terminators in the graph of a block: each loop or call is one node, which waits for what it reads and
//! after which its results are there.

use super::*;
use std::collections::HashSet;

impl<'c> Builder<'_, 'c> {
    /// What a loop or call reads: nodes to wait for, and operands that keep memory alive.
    fn reads(&mut self, values: &[Val<'c>]) -> Built<Vec<Operand<'c>>> {
        let mut operands = Vec::new();
        for &value in values {
            let source = match self.permuted.get(&key(value)) {
                Some(_) => return Err(error("a loop reads an automorphism of a tensor from outside")),
                None => self.source(value)?,
            };
            operands.push(Operand { source, access: Access::Memory });
        }
        Ok(operands)
    }

    pub(super) fn for_loop(&mut self, op: Op<'c>) -> Built<()> {
        for index in 0..3 {
            self.host.scalar(operand(op, index)?)?;
        }
        let mut ready = Vec::new();
        let mut cells = Vec::new();
        for index in 0..op.result_count() {
            let value = result(op, index)?;
            if poly_type(value.r#type()).is_none() {
                return Err(op_error(&op, "carries a value that is no polynomial"));
            }
            let cell = self.cell_of(value)?;
            cells.push(cell);
            self.put(operand(op, index + 3)?, cell, &mut ready)?;
        }
        let outside = outside_values(op)?;
        let operands = self.reads(&outside)?;
        self.graph.ops.push(op);
        let number = self.graph.ops.len() - 1;
        let node = self.graph.node(Kind::Loop(number), Basis::empty(), operands, Vec::new());
        self.graph.nodes[node].touches = cells;
        self.graph.nodes[node].after = ready;
        self.host.note_reads(op, &outside);
        for index in 0..op.result_count() {
            self.aggregate(op, index, vec![node])?;
        }
        Ok(())
    }

    pub(super) fn call(&mut self, op: Op<'c>) -> Built<()> {
        let mut operands = Vec::new();
        for index in 0..op.operand_count() {
            let value = operand(op, index)?;
            let (shape, rns) =
                poly_type(value.r#type()).ok_or_else(|| op_error(&op, "passes no polynomial"))?;
            let mut source = self.source(value)?;
            let exact = match &source {
                Source::Zero => false,
                Source::Value(id, _) => {
                    let cell = self.graph.values[*id].cell;
                    cell.is_none_or(|cell| self.graph.cells[cell].basis == rns.basis())
                }
            };
            if !exact && shape.is_empty() {
                let copy = self.tile_value(&rns.basis(), rns.form());
                self.graph.node(Kind::Copy, rns.basis(), vec![Operand::tile(source)], vec![copy]);
                source = Source::Value(copy, rns.basis());
            }
            operands.push(Operand { source, access: Access::Memory });
        }
        let cells = (0..op.result_count())
            .map(|index| self.cell_of(result(op, index)?))
            .collect::<Built<Vec<_>>>()?;
        self.graph.ops.push(op);
        let number = self.graph.ops.len() - 1;
        let node = self.graph.node(Kind::Call(number), Basis::empty(), operands, Vec::new());
        self.graph.nodes[node].touches = cells;
        for index in 0..op.result_count() {
            self.aggregate(op, index, vec![node])?;
        }
        Ok(())
    }

    pub(super) fn terminator(&mut self, op: Op<'c>, targets: &Targets) -> Built<()> {
        if op.operand_count() != targets.cells.len() {
            return Err(op_error(&op, "returns something that is no polynomial"));
        }
        let carried: Vec<ValueId> = self.carried.iter().map(|&(value, _)| value).collect();
        let mut moves = Vec::new();
        for (index, &cell) in targets.cells.iter().enumerate() {
            let value = operand(op, index)?;
            let mut source = self.source(value)?;
            // A carried value that moves to another place is read before anything is overwritten.
            if let Source::Value(id, basis) = &source
                && carried.contains(id)
                && self.graph.values[*id].cell != Some(cell)
            {
                if !self.graph.values[*id].shape.is_empty() {
                    return Err(op_error(&op, "exchanges tensors between iterations"));
                }
                let basis = basis.clone();
                let copy = self.tile_value(&basis, self.graph.values[*id].form);
                self.graph.node(Kind::Copy, basis.clone(), vec![Operand::tile(source)], vec![copy]);
                source = Source::Value(copy, basis);
                self.known.insert(key(value), source);
            }
            moves.push((value, cell));
        }
        for (value, cell) in moves {
            let first = self.graph.nodes.len();
            self.put(value, cell, &mut Vec::new())?;
            let Some(&(argument, _)) = self.carried.iter().find(|&&(_, own)| own == cell) else { continue };
            let reads =
                |operand: &Operand<'c>| matches!(&operand.source, Source::Value(v, _) if *v == argument);
            let readers: Vec<usize> =
                (0..first).filter(|&n| self.graph.nodes[n].operands.iter().any(reads)).collect();
            for node in &mut self.graph.nodes[first..] {
                node.after.extend(&readers);
            }
        }
        Ok(())
    }
}

/// The polynomials from outside that a loop's body uses.
fn outside_values<'c>(op: Op<'c>) -> Built<Vec<Val<'c>>> {
    let mut inside = HashSet::new();
    let mut used = Vec::new();
    let mut blocks = vec![op.region(0)?.first_block()];
    while let Some(block) = blocks.pop() {
        let Some(block) = block else { continue };
        for index in 0..block.argument_count() {
            inside.insert(key(block.argument(index)?.into()));
        }
        let mut next = block.first_operation();
        while let Some(inner) = next {
            for value in inner.operands() {
                if poly_type(value.r#type()).is_some() {
                    used.push(value);
                }
            }
            for value in inner.results() {
                inside.insert(key(value.into()));
            }
            for region in inner.regions() {
                blocks.push(region.first_block());
            }
            next = inner.next_in_block();
        }
    }
    let mut seen = HashSet::new();
    used.retain(|value| !inside.contains(&key(*value)) && seen.insert(key(*value)));
    Ok(used)
}
