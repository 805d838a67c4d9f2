//! Kernels as Rust data: what a `kernel.func` says.
//!
//! The verifiers, the interpreter and the lowerings read kernels through this; [`Kernel::decode`](super::decode) makes it
//! from the operation. Such a kernel satisfies all local rules: shapes agree with the launch grid, limb maps stay
//! inside buffers, constants are residues, and buffers that are stored to are not read in a way that would make
//! tiles depend on one another.

/// A value of type `!kernel.tile`, numbered from 0 in a kernel.
pub type Tile = usize;

/// An argument of the kernel, by number.
pub type Argument = usize;

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A buffer of this shape.
    Buffer(Vec<usize>),
    /// A number.
    Index,
}

/// The limb of a buffer for each prime of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limbs {
    /// One a prime.
    pub rows: Vec<usize>,
}

/// One operation on tiles.
#[allow(missing_docs, reason = "fields are named like the operands of the operations")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TileOp {
    /// `kernel.load`
    Load { buffer: Argument, limbs: Limbs, result: Tile },
    /// `kernel.load_permuted`
    LoadPermuted { buffer: Argument, permutation: Argument, limbs: Limbs, result: Tile },
    /// `kernel.load_periodic`
    LoadPeriodic { buffer: Argument, limbs: Limbs, period: usize, result: Tile },
    /// `kernel.store`
    Store { tile: Tile, buffer: Argument, limbs: Limbs },
    /// `kernel.splat`
    Splat { constants: Vec<u32>, result: Tile },
    /// `kernel.addm`
    Add { lhs: Tile, rhs: Tile, result: Tile },
    /// `kernel.subm`
    Sub { lhs: Tile, rhs: Tile, result: Tile },
    /// `kernel.mulm`
    Mul { lhs: Tile, rhs: Tile, result: Tile },
    /// `kernel.negm`
    Neg { input: Tile, result: Tile },
    /// `kernel.macm`
    Mac { accumulator: Tile, lhs: Tile, rhs: Tile, result: Tile },
    /// `kernel.mul_const`
    MulConst { input: Tile, constants: Vec<u32>, result: Tile },
    /// `kernel.add_const`
    AddConst { input: Tile, constants: Vec<u32>, result: Tile },
    /// `kernel.ntt`
    Ntt { input: Tile, result: Tile },
    /// `kernel.intt`
    Intt { input: Tile, scale: Option<Vec<u32>>, result: Tile },
    /// `kernel.bconv_tile`: source primes and the row of each in the buffer.
    Bconv { buffer: Argument, from: Vec<u32>, rows: Vec<usize>, result: Tile },
    /// `kernel.weighted_sum`
    WeightedSum(WeightedSum),
}

/// `kernel.weighted_sum`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedSum {
    /// Buffer of weights, `entries x limbs x period`.
    pub weights: Argument,
    /// Words of a limb of a weight.
    pub period: usize,
    /// The limb of the weights for each prime.
    pub weight_limbs: Limbs,
    /// Buffer of values, `count x K x limbs x N`.
    pub values: Argument,
    /// The limb of the values for each prime.
    pub value_limbs: Limbs,
    /// Arguments with the first entry and the one past the last.
    pub range: Option<(Argument, Argument)>,
    /// The value of each entry.
    pub choice: Option<Argument>,
    /// Permutation of the weights' words.
    pub permutation: Option<Argument>,
    /// K results.
    pub results: Vec<Tile>,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its symbol.
    pub name: String,
    /// How often each prime's tile is run.
    pub batch: usize,
    /// The primes.
    pub moduli: Vec<u32>,
    /// The ring degree.
    pub n: usize,
    /// Its arguments.
    pub arguments: Vec<ArgumentKind>,
    /// Its operations, in order.
    pub body: Vec<TileOp>,
    /// The number of tile values.
    pub tiles: usize,
}

impl Kernel {
    /// The number of tiles that a launch runs: tile `b * moduli + i` is prime `i` of batch `b`.
    pub fn grid(&self) -> usize {
        self.batch * self.moduli.len()
    }

    /// The shape of a buffer argument.
    pub fn shape(&self, argument: Argument) -> &[usize] {
        match &self.arguments[argument] {
            ArgumentKind::Buffer(shape) => shape,
            ArgumentKind::Index => &[],
        }
    }

    /// The word at which the row of a tile begins in a buffer of rank 2 or 3.
    pub fn row_offset(&self, buffer: Argument, limb: usize, batch: usize) -> usize {
        let shape = self.shape(buffer);
        let words = shape[shape.len() - 1];
        let limbs = shape[shape.len() - 2];
        let batch = if shape.len() == 3 { batch } else { 0 };
        (batch * limbs + limb) * words
    }

    /// Whether an argument is stored to.
    pub fn is_stored(&self, argument: Argument) -> bool {
        self.body.iter().any(|op| matches!(op, TileOp::Store { buffer, .. } if *buffer == argument))
    }

    /// Tiles may run in any order: what is stored is read by its own tile only, and before.
    pub(super) fn check_independence(&self) -> Result<(), String> {
        for argument in 0..self.arguments.len() {
            let stores: Vec<(usize, &Limbs)> = self
                .body
                .iter()
                .enumerate()
                .filter_map(|(i, op)| match op {
                    TileOp::Store { buffer, limbs, .. } if *buffer == argument => Some((i, limbs)),
                    _ => None,
                })
                .collect();
            let Some(&(first, limbs)) = stores.first() else { continue };
            let mut rows = limbs.rows.clone();
            rows.sort_unstable();
            rows.dedup();
            if rows.len() < limbs.rows.len() {
                return Err(format!("stores limb of argument {argument} from two tiles"));
            }
            if self.batch > 1 && self.shape(argument).len() < 3 {
                return Err(format!("stores argument {argument} from every tile of the batch"));
            }
            let disjoint = |a: &Limbs, b: &Limbs| a.rows.iter().all(|row| !b.rows.contains(row));
            if stores[1..].iter().any(|(_, other)| !disjoint(limbs, other)) {
                return Err(format!("stores a limb of argument {argument} twice"));
            }
            for (i, op) in self.body.iter().enumerate() {
                if let TileOp::Load { buffer, limbs: loaded, .. } = op
                    && *buffer == argument
                {
                    if stores.iter().any(|(_, stored)| loaded != *stored && !disjoint(loaded, stored)) {
                        return Err(format!("loads limbs of argument {argument} that other tiles store"));
                    }
                    if i > first {
                        return Err(format!("loads argument {argument} after storing to it"));
                    }
                } else if op.gathers().contains(&argument) {
                    return Err(format!("reads all of argument {argument}, to which it also stores"));
                }
            }
        }
        Ok(())
    }
}

impl TileOp {
    /// Buffers that the operation reads beyond the tile's own words.
    fn gathers(&self) -> Vec<Argument> {
        match self {
            Self::LoadPermuted { buffer, permutation, .. } => vec![*buffer, *permutation],
            Self::LoadPeriodic { buffer, .. } | Self::Bconv { buffer, .. } => vec![*buffer],
            Self::WeightedSum(sum) => [Some(sum.weights), Some(sum.values), sum.choice, sum.permutation]
                .into_iter()
                .flatten()
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The tiles it reads.
    pub fn operands(&self) -> Vec<Tile> {
        match self {
            Self::Store { tile, .. } => vec![*tile],
            Self::Add { lhs, rhs, .. } | Self::Sub { lhs, rhs, .. } | Self::Mul { lhs, rhs, .. } => {
                vec![*lhs, *rhs]
            }
            Self::Mac { accumulator, lhs, rhs, .. } => vec![*accumulator, *lhs, *rhs],
            Self::Neg { input, .. }
            | Self::MulConst { input, .. }
            | Self::AddConst { input, .. }
            | Self::Ntt { input, .. }
            | Self::Intt { input, .. } => vec![*input],
            _ => Vec::new(),
        }
    }

    /// The tiles it makes.
    pub fn results(&self) -> Vec<Tile> {
        match self {
            Self::Store { .. } => Vec::new(),
            Self::WeightedSum(sum) => sum.results.clone(),
            Self::Load { result, .. }
            | Self::LoadPermuted { result, .. }
            | Self::LoadPeriodic { result, .. }
            | Self::Splat { result, .. }
            | Self::Add { result, .. }
            | Self::Sub { result, .. }
            | Self::Mul { result, .. }
            | Self::Neg { result, .. }
            | Self::Mac { result, .. }
            | Self::MulConst { result, .. }
            | Self::AddConst { result, .. }
            | Self::Ntt { result, .. }
            | Self::Intt { result, .. }
            | Self::Bconv { result, .. } => vec![*result],
        }
    }
}
