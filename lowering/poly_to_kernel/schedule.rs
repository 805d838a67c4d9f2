//! Which nodes share a kernel, and in which order kernels, loops and calls run.
//!
//! Nodes with the same primes are done by one kernel as long as no one waits for another through memory: a
//! node joins the first item that comes after everything it reads, or in which what it reads limb by limb is
//! computed. Both polynomials of a ciphertext meet in one kernel this way. After scheduling, `place[n]` is
//! the item of node `n`; each item's nodes are in the order of the program.
//!
//! What streams much memory does not share a kernel with its like: rotations that share their digits are done one
//! after the other, so that at each time the key of one is read, and their kernels are the same.

use super::graph::{Access, Graph, Home, Kind, Node, Source};
use ceria_runtime::format::basis::Basis;

/// Nodes of one kernel at most; more would only cost cache.
const LARGEST: usize = 24;

/// Base conversions of one kernel at most: those of both polynomials of a ciphertext.
const CONVERSIONS: usize = 2;

/// A kernel, or one loop, call or copy of a cell.
pub struct Item {
    /// The primes of the kernel; none for loops and calls.
    pub basis: Option<Basis>,
    /// The nodes, in the order of the program.
    pub nodes: Vec<usize>,
}

/// The items of a block, in order.
pub struct Schedule {
    /// Kernels, loops and calls.
    pub items: Vec<Item>,
    /// The item of each node.
    pub place: Vec<usize>,
}

impl Schedule {
    /// Schedules a graph.
    pub fn new(graph: &Graph<'_>) -> Self {
        let mut schedule = Schedule { items: Vec::new(), place: vec![0; graph.nodes.len()] };
        let mut producer = vec![None; graph.values.len()];
        for (number, node) in graph.nodes.iter().enumerate() {
            for &result in &node.results {
                producer[result] = Some(number);
            }
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            let earliest = schedule.earliest(graph, &producer, node);
            let item = schedule.item_for(graph, node, earliest);
            schedule.place[number] = item;
            schedule.items[item].nodes.push(number);
        }
        schedule
    }

    /// The first item in which the node can be.
    fn earliest(&self, graph: &Graph<'_>, producer: &[Option<usize>], node: &Node<'_>) -> usize {
        let mut earliest = 0;
        for operand in &node.operands {
            let Source::Value(value, _) = &operand.source else { continue };
            match producer[*value] {
                Some(maker) if !graph.nodes[maker].in_kernel() => {
                    earliest = earliest.max(self.place[maker] + 1)
                }
                Some(maker) => {
                    let here = operand.access == Access::Tile && same_tile(&graph.nodes[maker], node);
                    earliest = earliest.max(self.place[maker] + usize::from(!here));
                }
                None => {
                    for &maker in &graph.values[*value].ready {
                        earliest = earliest.max(self.place[maker] + 1);
                    }
                }
            }
        }
        for &before in &node.after {
            // Within one kernel all loads come before all stores, and a tile touches its own limbs only.
            let shared = is_aligned(graph, &graph.nodes[before], node);
            earliest = earliest.max(self.place[before] + usize::from(!shared));
        }
        earliest
    }

    /// The item that the node joins, or a new one at the end.
    fn item_for(&mut self, graph: &Graph<'_>, node: &Node<'_>, earliest: usize) -> usize {
        if node.in_kernel() {
            for number in earliest..self.items.len() {
                let item = &self.items[number];
                if item.basis.as_ref() == Some(&node.basis) && has_room(graph, item, node) {
                    return number;
                }
            }
        }
        let basis = node.in_kernel().then(|| node.basis.clone());
        self.items.push(Item { basis, nodes: Vec::new() });
        self.items.len() - 1
    }
}

/// Whether a node may join a kernel.
fn has_room(graph: &Graph<'_>, item: &Item, node: &Node<'_>) -> bool {
    let count = |like: fn(&Kind<'_>) -> bool| {
        item.nodes.iter().filter(|&&number| like(&graph.nodes[number].kind)).count()
    };
    let sums: fn(&Kind<'_>) -> bool = |kind| matches!(kind, Kind::InnerProduct | Kind::WeightedSum { .. });
    let conversions: fn(&Kind<'_>) -> bool = |kind| matches!(kind, Kind::Bconv(_));
    item.nodes.len() < LARGEST
        && !(sums(&node.kind) && count(sums) >= 1)
        && !(conversions(&node.kind) && count(conversions) >= CONVERSIONS)
}

/// Whether one node can take the other's result as a tile.
pub fn same_tile(maker: &Node<'_>, user: &Node<'_>) -> bool {
    maker.in_kernel()
        && user.in_kernel()
        && maker.basis == user.basis
        && !matches!(&user.kind, Kind::ScaleUp(constants) if lacks_limbs(user, constants.len()))
}

/// Whether the operand of a `ScaleUp` has fewer limbs than the result.
pub fn lacks_limbs(node: &Node<'_>, _: usize) -> bool {
    match node.operands.first().map(|operand| &operand.source) {
        Some(Source::Value(_, basis)) => *basis != node.basis,
        _ => false,
    }
}

/// Whether `reader` reads, limb by limb and for the same primes, what `writer` overwrites.
fn is_aligned(graph: &Graph<'_>, reader: &Node<'_>, writer: &Node<'_>) -> bool {
    if !reader.in_kernel() || !writer.in_kernel() || reader.basis != writer.basis {
        return false;
    }
    let Kind::Put(target) = writer.kind else { return false };
    let target = graph.root(target);
    reader.operands.iter().all(|operand| match &operand.source {
        Source::Value(value, basis) => match graph.values[*value].cell {
            Some(cell) if graph.root(cell) == target => {
                let whole = !matches!(graph.cells[cell].home, Home::Part(..));
                operand.access == Access::Tile && *basis == reader.basis && whole
            }
            _ => true,
        },
        Source::Zero => true,
    })
}
