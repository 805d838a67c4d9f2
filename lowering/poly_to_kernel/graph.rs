//! The polynomial program of one block as a graph: what is computed limb by limb, and what is put where.
//!
//! The graph knows values and nodes by number. A *cell* is memory for one polynomial or a tensor of them: an
//! argument, a carried value of a loop, the parts of a tensor. Views (`extract_limbs`, `tensor.extract` of
//! memory, automorphisms of tensors) are no nodes but belong to how a node reads its operand; aggregates
//! (`concat_limbs`, `tensor.from_elements`, `tensor.insert`, loop results, function results) are cells that
//! `Put` nodes write, so that a polynomial is computed where it is wanted.

use super::{Built, Val, error};
use ceria_dialects::poly::Form;
use ceria_runtime::format::basis::{Basis, Prime};
use melior::ir::OperationRef;
use std::collections::BTreeMap;

/// A value of the graph.
pub type ValueId = usize;
/// Memory for polynomials.
pub type CellId = usize;
/// One constant for each prime.
pub type Constants = BTreeMap<Prime, u64>;

/// Where a galois element comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Element<'c> {
    /// Entry of a `galois` table.
    Entry(String, Val<'c>),
    /// A constant.
    Constant(i64),
}

/// How a node uses an operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Access<'c> {
    /// Limb by limb: from a tile at hand, or loaded.
    Tile,
    /// Limb by limb, words permuted by an automorphism: loaded.
    Permuted(Element<'c>),
    /// All of it, from memory.
    Memory,
}

/// What an operand of a node refers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A value of the graph, at these primes.
    Value(ValueId, Basis),
    /// Zero.
    Zero,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand<'c> {
    /// What it refers to.
    pub source: Source,
    /// How it is read.
    pub access: Access<'c>,
}

impl<'c> Operand<'c> {
    /// A limb-by-limb operand.
    pub fn tile(source: Source) -> Self {
        Self { source, access: Access::Tile }
    }
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Kind<'c> {
    /// The operand itself.
    Copy,
    Add,
    Sub,
    Neg,
    Mul,
    /// Operand 0 plus operand 1 times operand 2.
    Mac,
    MulConst(Constants),
    AddConst(Constants),
    /// As `MulConst`, where the operand lacks the primes whose constant is zero.
    ScaleUp(Constants),
    Ntt,
    Intt,
    /// Conversion from a basis, the operand's, multiplied by the factors already.
    Bconv(Basis),
    /// Digits (operand 0) times key (operand 1).
    InnerProduct,
    /// Sum over a range of entries of a table (lower, upper) of entries times chosen values (operand 0).
    WeightedSum {
        weights: String,
        choice: String,
        range: [Val<'c>; 2],
    },
    /// Writes operand 0 to a cell.
    Put(CellId),
    /// A loop: operands are what it reads from outside.
    Loop(usize),
    /// A call.
    Call(usize),
    /// A copy of a whole tensor from one cell to another.
    CopyCell(CellId, CellId),
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct Node<'c> {
    /// What it does.
    pub kind: Kind<'c>,
    /// The primes it does it for; none for loops, calls and copies of cells.
    pub basis: Basis,
    /// What it reads.
    pub operands: Vec<Operand<'c>>,
    /// The values it makes.
    pub results: Vec<ValueId>,
    /// Cells it reads or writes beyond those of operands and results.
    pub touches: Vec<CellId>,
    /// Nodes that must be complete before it for the sake of memory.
    pub after: Vec<usize>,
}

impl Node<'_> {
    /// Whether it is done limb by limb, in a kernel.
    pub fn in_kernel(&self) -> bool {
        !matches!(self.kind, Kind::Loop(_) | Kind::Call(_) | Kind::CopyCell(..))
    }
}

/// What a value is.
#[derive(Clone, Debug)]
pub struct Info {
    /// The primes of the polynomial, or of each of the tensor.
    pub basis: Basis,
    /// The extents of a tensor; empty for a polynomial.
    pub shape: Vec<i64>,
    /// Words of a limb that are stored, when fewer than N.
    pub period: u32,
    /// Coefficients or evaluations.
    pub form: Form,
    /// Whether the words in memory are multiplied by 2^32.
    pub montgomery: bool,
    /// Where it is in memory, for values that do not come from a kernel's tile.
    pub cell: Option<CellId>,
    /// The nodes that must be complete before it can be read from its cell.
    pub ready: Vec<usize>,
}

/// Where a cell is.
#[derive(Clone, Debug)]
pub enum Home<'c> {
    /// A buffer that exists.
    Buffer(Val<'c>),
    /// A buffer to be allocated here.
    Fresh,
    /// A part of another cell.
    Part(CellId, Vec<Index<'c>>),
}

/// A coordinate.
#[derive(Clone, Debug)]
pub enum Index<'c> {
    /// Known.
    Constant(i64),
    /// An index value of the program that is lowered.
    Value(Val<'c>),
}

/// Memory for a polynomial or a tensor.
#[derive(Clone, Debug)]
pub struct Cell<'c> {
    /// Where it is.
    pub home: Home<'c>,
    /// The primes of its limbs.
    pub basis: Basis,
    /// The extents of a tensor; empty for a polynomial.
    pub shape: Vec<i64>,
    /// Words of a limb.
    pub words: i64,
}

/// The graph of a block.
#[derive(Default)]
pub struct Graph<'c> {
    /// All values.
    pub values: Vec<Info>,
    /// Nodes in the order of the program.
    pub nodes: Vec<Node<'c>>,
    /// All cells.
    pub cells: Vec<Cell<'c>>,
    /// Loops and calls.
    pub ops: Vec<OperationRef<'c, 'c>>,
}

impl<'c> Graph<'c> {
    /// A new value.
    pub fn value(&mut self, info: Info) -> ValueId {
        self.values.push(info);
        self.values.len() - 1
    }

    /// A new cell.
    pub fn cell(&mut self, cell: Cell<'c>) -> CellId {
        self.cells.push(cell);
        self.cells.len() - 1
    }

    /// A new node.
    pub fn node(
        &mut self,
        kind: Kind<'c>,
        basis: Basis,
        operands: Vec<Operand<'c>>,
        results: Vec<ValueId>,
    ) -> usize {
        self.nodes.push(Node { kind, basis, operands, results, touches: Vec::new(), after: Vec::new() });
        self.nodes.len() - 1
    }

    /// The outermost cell around a cell.
    pub fn root(&self, cell: CellId) -> CellId {
        match &self.cells[cell].home {
            Home::Part(parent, _) => self.root(*parent),
            _ => cell,
        }
    }

    /// Keeps what is used, for the primes it is used for, and splits nodes whose results are used in two disjoint
    /// parts, the limbs that a mod-down drops and those it keeps, into one node a part.
    pub fn demanded(self) -> Built<Graph<'c>> {
        let Graph { values, nodes, cells, ops } = self;
        let mut demands: Vec<Vec<Basis>> = vec![Vec::new(); values.len()];
        // For each node the parts it is needed for, in reverse order of the program.
        let mut parts_of: Vec<Vec<Basis>> = vec![Vec::new(); nodes.len()];
        for (number, node) in nodes.iter().enumerate().rev() {
            let parts = match node.kind {
                Kind::Put(_) | Kind::Loop(_) | Kind::Call(_) | Kind::CopyCell(..) => vec![node.basis.clone()],
                _ => {
                    let wanted: Vec<_> = node.results.iter().flat_map(|&r| demands[r].clone()).collect();
                    disjoint(wanted)
                }
            };
            for part in &parts {
                for operand in &node.operands {
                    if let (Source::Value(value, basis), need) = (&operand.source, need(node, operand, part))
                    {
                        let need = need.unwrap_or_else(|| basis.clone());
                        if !need.is_empty() && !demands[*value].contains(&need) {
                            demands[*value].push(need);
                        }
                    }
                }
            }
            parts_of[number] = parts;
        }
        let mut graph = Graph { values, nodes: Vec::new(), cells, ops };
        // What became of each value: its parts.
        let mut variants: BTreeMap<ValueId, Vec<(Basis, ValueId)>> = BTreeMap::new();
        let mut moved: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        for (number, node) in nodes.into_iter().enumerate() {
            let split = parts_of[number].len() > 1 || node.in_kernel();
            for part in &parts_of[number] {
                let mut clone = node.clone();
                clone.basis = part.clone();
                if split && !matches!(node.kind, Kind::Put(_)) {
                    for result in &mut clone.results {
                        let mut info = graph.values[*result].clone();
                        info.basis = part.clone();
                        let fresh = graph.value(info);
                        variants.entry(*result).or_default().push((part.clone(), fresh));
                        *result = fresh;
                    }
                }
                clone.after = clone.after.iter().flat_map(|&earlier| moved[earlier].clone()).collect();
                for operand in &mut clone.operands {
                    let need = need(&node, operand, part);
                    if let Source::Value(value, basis) = &operand.source {
                        let need = need.unwrap_or_else(|| basis.clone());
                        operand.source = if need.is_empty() {
                            Source::Zero
                        } else {
                            Source::Value(variant(&variants, *value, &need)?, need)
                        };
                    }
                }
                moved[number].push(graph.nodes.len());
                graph.nodes.push(clone);
            }
        }
        for info in &mut graph.values {
            info.ready = info.ready.iter().flat_map(|&node| moved[node].clone()).collect();
        }
        Ok(graph)
    }
}

/// Which primes of an operand a node needs to do its work for `part`; none if that does not depend on the part.
fn need(node: &Node<'_>, operand: &Operand<'_>, part: &Basis) -> Option<Basis> {
    let Source::Value(_, basis) = &operand.source else { return None };
    match (&node.kind, &operand.access) {
        (Kind::Loop(_) | Kind::Call(_) | Kind::CopyCell(..), _) => None,
        (_, Access::Memory) => None,
        _ => Some(part.intersect(basis)),
    }
}

/// Demanded bases as parts: what a mod-down drops and what it keeps, or else their union.
fn disjoint(wanted: Vec<Basis>) -> Vec<Basis> {
    let mut parts: Vec<Basis> = Vec::new();
    for basis in wanted {
        if !parts.contains(&basis) {
            parts.push(basis);
        }
    }
    let apart = (0..parts.len()).all(|i| (0..i).all(|j| parts[i].is_disjoint(&parts[j])));
    // Only what a mod-down drops is worth kernels of its own; the limbs of digits stay together, as many tiles.
    let special = parts.iter().any(|basis| basis.p_len() > 0);
    if parts.len() < 2 || (apart && special && parts.len() == 2) {
        parts.sort();
        return parts;
    }
    vec![parts.iter().fold(Basis::empty(), |union, basis| union.union(basis))]
}

fn variant(
    variants: &BTreeMap<ValueId, Vec<(Basis, ValueId)>>,
    value: ValueId,
    need: &Basis,
) -> Built<ValueId> {
    let Some(parts) = variants.get(&value) else { return Ok(value) };
    match parts.iter().find(|(basis, _)| need.is_subset(basis)) {
        Some((_, part)) => Ok(*part),
        None => Err(error(format!("the primes {need} of a value were not asked for"))),
    }
}
