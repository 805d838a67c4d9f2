//! How the elements of a tensor sit in the slots of one or several ciphertexts.
//!
//! A [`Layout`] is an ordered list of pieces, most significant first, in two parts:
//!
//! ```text
//! [ 0:6:4 | R:2, 0:4:1, 1:32:1, G:2, 2:32:1 ]
//!   ^^^^^   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
//!   which ciphertext        which slot
//! ```
//!
//! | piece | meaning of its index `i`, `0 <= i < extent` |
//! |---|---|
//! | `dim:extent:stride` | adds `i * stride` to the coordinate of `dim` |
//! | `R:extent` | copy number `i`: every copy holds the same values |
//! | `R:extent:roll` | copy number `i`, rotated left by `i * roll` within the slots below the piece |
//! | `G:extent` | a gap: slots with `i > 0` are unused |
//!
//! The number of a ciphertext (or slot) is the mixed-radix number of the indices of its part. The bar and the
//! ciphertext part are left out when there is one ciphertext.
//!
//! What holds for every `Layout` that exists (the constructor and the parser verify it):
//!
//! * slot extents are powers of two and their product is the number of slots;
//! * ciphertext pieces are `dim` pieces; their extents are any numbers;
//! * the pieces of a dimension form a mixed-radix number: sorted by stride they start at 1 and each stride is
//!   the previous stride times the previous extent;
//! * no extent is below 2.
//!
//! Whether a layout suits a tensor depends on its shape: [`Layout::verify_shape`]. A dimension's extents may
//! multiply to more than its size; the slots of coordinates outside the tensor are unused like gaps.
//!
//! **Unused slots** are zero when a tensor is packed and when it leaves a linear operator. An elementwise
//! function `f` leaves `f(0)` there. So a consumer must not read them, but may rely on their being as small as
//! the image of zero: a range that bounds the values has to include it.

use std::fmt;

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::text::{TextParam, WordReader};

/// The largest number of slots or ciphertexts a layout may span.
const MAX_SPAN: u64 = 1 << 32;

/// What is wrong with a layout, or with a layout for a shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// The text is not a list of pieces.
    #[error("{0}")]
    Syntax(String),
    /// An extent is 0 or 1.
    #[error("piece `{0}` has extent {1}: an extent is at least 2 (leave out a piece of extent 1)")]
    Extent(Piece, u32),
    /// A slot extent is not a power of two.
    #[error("slot piece `{0}` has extent {1}, which is not a power of two")]
    NotPowerOfTwo(Piece, u32),
    /// Replication or a gap among the ciphertext pieces.
    #[error("piece `{0}` stands left of `|`: only `dim:extent:stride` pieces may number ciphertexts")]
    CiphertextPiece(Piece),
    /// The pieces of a dimension do not form a mixed-radix number.
    #[error(
        "piece `{piece}` of dimension {dim} has stride {found}, but the pieces with smaller strides cover \
         {expected} coordinates, so the stride has to be {expected}"
    )]
    Stride {
        /// The dimension.
        dim: u32,
        /// The piece whose stride is wrong.
        piece: Piece,
        /// Its stride.
        found: u32,
        /// The stride it has to have.
        expected: u64,
    },
    /// A roll that does nothing or goes round more than once.
    #[error("piece `{piece}` rolls by {roll}: it stands above {block} slots, so a roll is between 1 and {}", block - 1)]
    Roll {
        /// The replication piece.
        piece: Piece,
        /// Its roll.
        roll: u32,
        /// The number of slots below the piece.
        block: u64,
    },
    /// More slots or ciphertexts than anything can have.
    #[error("the layout spans {0} slots and ciphertexts, more than any ciphertext has")]
    TooLarge(u64),
    /// A piece names a dimension that the tensor lacks.
    #[error(
        "the layout has pieces of dimension {dim}, but the tensor {} has {rank} dimensions",
        show_shape(shape)
    )]
    Rank {
        /// The dimension.
        dim: u32,
        /// The number of dimensions of the tensor.
        rank: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The pieces of a dimension cover fewer coordinates than it has.
    #[error(
        "dimension {dim} of the tensor {} has {size} coordinates, but the layout covers {covered}",
        show_shape(shape)
    )]
    Coverage {
        /// The dimension.
        dim: usize,
        /// Its size.
        size: usize,
        /// The coordinates that the layout's pieces cover.
        covered: u64,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The layout does not fill the slots of a ciphertext exactly.
    #[error("the layout fills {found} slots, but a ciphertext has {expected}; add an `R:` or `G:` piece")]
    Slots {
        /// The slots that the layout fills.
        found: usize,
        /// The slots that a ciphertext has.
        expected: usize,
    },
    /// Packed data does not have the layout's number of ciphertexts or slots.
    #[error("{0}")]
    Data(String),
}

fn show_shape(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    if sizes.is_empty() { "of rank 0".into() } else { sizes.join("x") }
}

/// One piece of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Piece {
    /// `dim:extent:stride`: index `i` adds `i * stride` to the coordinate of `dim`.
    Dim {
        /// The dimension of the tensor.
        dim: u32,
        /// The number of values of the index.
        extent: u32,
        /// What one step of the index adds to the coordinate.
        stride: u32,
    },
    /// `R:extent` or `R:extent:roll`: copies, copy `i` rotated left by `i * roll` slots.
    Replicate {
        /// The number of copies.
        extent: u32,
        /// The rotation from one copy to the next, 0 for plain copies.
        roll: u32,
    },
    /// `G:extent`: only index 0 is used.
    Gap {
        /// One more than the number of unused positions.
        extent: u32,
    },
}

impl Piece {
    /// A `dim:extent:stride` piece.
    pub fn dim(dim: u32, extent: u32, stride: u32) -> Self {
        Self::Dim { dim, extent, stride }
    }

    /// Plain copies.
    pub fn replicate(extent: u32) -> Self {
        Self::Replicate { extent, roll: 0 }
    }

    /// A gap.
    pub fn gap(extent: u32) -> Self {
        Self::Gap { extent }
    }

    /// The number of values of the piece's index.
    pub fn extent(&self) -> u32 {
        match *self {
            Self::Dim { extent, .. } | Self::Replicate { extent, .. } | Self::Gap { extent } => extent,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dim { dim, extent, stride } => write!(f, "{dim}:{extent}:{stride}"),
            Self::Replicate { extent, roll: 0 } => write!(f, "R:{extent}"),
            Self::Replicate { extent, roll } => write!(f, "R:{extent}:{roll}"),
            Self::Gap { extent } => write!(f, "G:{extent}"),
        }
    }
}

/// A place in packed data: a slot of a ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The number of the ciphertext.
    pub ciphertext: u32,
    /// The slot in it.
    pub slot: u32,
}

/// Where every element of a tensor sits, all copies included.
#[derive(Debug, Clone)]
pub struct Places {
    copies: usize,
    places: Vec<Place>,
}

impl Places {
    /// The number of copies of each element.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// The places of an element (given by its row-major number), in ascending order.
    pub fn of(&self, element: usize) -> &[Place] {
        &self.places[element * self.copies..(element + 1) * self.copies]
    }
}

/// How the elements of a tensor sit in ciphertexts and slots; see the [module documentation](self).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Layout {
    ciphertexts: Vec<Piece>,
    slots: Vec<Piece>,
}

impl Layout {
    /// A layout from its two lists of pieces, most significant first.
    pub fn new(ciphertexts: Vec<Piece>, slots: Vec<Piece>) -> Result<Self, LayoutError> {
        let layout = Self { ciphertexts, slots };
        layout.verify()?;
        Ok(layout)
    }

    /// Like [`Layout::new`], but drops pieces of extent 1 and merges neighbours that are one piece.
    pub fn simplified(ciphertexts: Vec<Piece>, slots: Vec<Piece>) -> Result<Self, LayoutError> {
        Self::new(merge(ciphertexts), merge(slots))
    }

    /// The row-major layout of a tensor: every dimension padded to a power of two, the last one in the lowest
    /// slots, copies above to fill the slots. A tensor that is too large is split along its leading dimensions.
    pub fn row_major(shape: &[usize], slots: usize) -> Result<Self, LayoutError> {
        let order: Vec<usize> = (0..shape.len()).collect();
        Self::ordered(shape, &order, slots)
    }

    /// Like [`Layout::row_major`] with the dimensions in another order, most significant first. Dimensions that
    /// are not in the list must have size 1.
    pub fn ordered(shape: &[usize], order: &[usize], slots: usize) -> Result<Self, LayoutError> {
        let mut room = slots as u64;
        let mut low = Vec::new();
        let mut high = Vec::new();
        for &dim in order.iter().rev() {
            let size = shape.get(dim).copied().unwrap_or(1);
            let extent = (size as u64).next_power_of_two();
            let here = extent.min(room);
            if here > 1 {
                low.push(Piece::dim(dim as u32, here as u32, 1));
            }
            let rest = (size as u64).div_ceil(here);
            if rest > 1 {
                high.push(Piece::dim(dim as u32, rest as u32, here as u32));
            }
            room /= here;
        }
        low.push(Piece::replicate(room as u32));
        low.reverse();
        high.reverse();
        let layout = Self::simplified(high, low)?;
        layout.verify_shape(shape)?;
        Ok(layout)
    }

    /// The pieces that number the ciphertexts.
    pub fn ciphertext_pieces(&self) -> &[Piece] {
        &self.ciphertexts
    }

    /// The pieces that number the slots.
    pub fn slot_pieces(&self) -> &[Piece] {
        &self.slots
    }

    /// The number of ciphertexts.
    pub fn ciphertexts(&self) -> usize {
        self.ciphertexts.iter().map(|p| p.extent() as usize).product()
    }

    /// The number of slots of each ciphertext.
    pub fn slots(&self) -> usize {
        self.slots.iter().map(|p| p.extent() as usize).product()
    }

    /// The number of slots after which the contents repeat: the slots below the leading plain copies.
    pub fn period(&self) -> usize {
        let leading = self.slots.iter().take_while(|p| matches!(p, Piece::Replicate { roll: 0, .. }));
        self.slots() / leading.map(|p| p.extent() as usize).product::<usize>()
    }

    /// The number of copies of each element.
    pub fn copies(&self) -> usize {
        let copies = self.slots.iter().filter(|p| matches!(p, Piece::Replicate { .. }));
        copies.map(|p| p.extent() as usize).product()
    }

    /// The number of coordinates of each dimension that the pieces cover.
    pub fn covered(&self, dim: usize) -> u64 {
        self.ciphertexts
            .iter()
            .chain(&self.slots)
            .map(|p| match *p {
                Piece::Dim { dim: d, extent, .. } if d as usize == dim => u64::from(extent),
                _ => 1,
            })
            .product()
    }

    fn verify(&self) -> Result<(), LayoutError> {
        for piece in &self.ciphertexts {
            if !matches!(piece, Piece::Dim { .. }) {
                return Err(LayoutError::CiphertextPiece(*piece));
            }
        }
        let mut span = 1u64;
        for piece in self.ciphertexts.iter().chain(&self.slots) {
            if piece.extent() < 2 {
                return Err(LayoutError::Extent(*piece, piece.extent()));
            }
            span = span.saturating_mul(u64::from(piece.extent()));
            if span > MAX_SPAN {
                return Err(LayoutError::TooLarge(span));
            }
        }
        let mut block = self.slots.iter().map(|p| u64::from(p.extent())).product::<u64>();
        for piece in &self.slots {
            if !piece.extent().is_power_of_two() {
                return Err(LayoutError::NotPowerOfTwo(*piece, piece.extent()));
            }
            block /= u64::from(piece.extent());
            if let Piece::Replicate { roll, .. } = *piece
                && roll != 0
                && u64::from(roll) >= block
            {
                return Err(LayoutError::Roll { piece: *piece, roll, block });
            }
        }
        self.verify_strides()
    }

    /// The pieces of each dimension form a mixed-radix number.
    fn verify_strides(&self) -> Result<(), LayoutError> {
        let mut pieces: Vec<(u32, u32, u32)> = Vec::new();
        for piece in self.ciphertexts.iter().chain(&self.slots) {
            if let Piece::Dim { dim, extent, stride } = *piece {
                pieces.push((dim, stride, extent));
            }
        }
        pieces.sort_unstable();
        let mut expected = 1u64;
        let mut previous = None;
        for (dim, stride, extent) in pieces {
            if previous != Some(dim) {
                expected = 1;
                previous = Some(dim);
            }
            if u64::from(stride) != expected {
                let piece = Piece::dim(dim, extent, stride);
                return Err(LayoutError::Stride { dim, piece, found: stride, expected });
            }
            expected *= u64::from(extent);
        }
        Ok(())
    }

    /// Whether a tensor of this shape fits: every dimension that is larger than 1 is covered.
    pub fn verify_shape(&self, shape: &[usize]) -> Result<(), LayoutError> {
        for piece in self.ciphertexts.iter().chain(&self.slots) {
            if let Piece::Dim { dim, .. } = *piece
                && dim as usize >= shape.len()
            {
                return Err(LayoutError::Rank { dim, rank: shape.len(), shape: shape.to_vec() });
            }
        }
        for (dim, &size) in shape.iter().enumerate() {
            let covered = self.covered(dim);
            if (size as u64) > covered {
                return Err(LayoutError::Coverage { dim, size, covered, shape: shape.to_vec() });
            }
        }
        Ok(())
    }

    /// Whether the layout fills ciphertexts of this many slots.
    pub fn verify_slots(&self, slots: usize) -> Result<(), LayoutError> {
        let found = self.slots();
        if found == slots { Ok(()) } else { Err(LayoutError::Slots { found, expected: slots }) }
    }

    /// The row-major number of the element that sits in a slot, `None` for an unused slot.
    pub fn element_at(&self, shape: &[usize], ciphertext: usize, slot: usize) -> Option<usize> {
        let mut coordinates = vec![0usize; shape.len()];
        self.coordinates_at(ciphertext, slot, &mut coordinates)?;
        flatten(shape, &coordinates)
    }

    /// Writes the coordinates that a slot stands for; `None` inside a gap. They may lie outside the tensor.
    fn coordinates_at(&self, ciphertext: usize, slot: usize, coordinates: &mut [usize]) -> Option<()> {
        coordinates.fill(0);
        let mut block = self.ciphertexts();
        let mut rest = ciphertext;
        for piece in &self.ciphertexts {
            block /= piece.extent() as usize;
            if let Piece::Dim { dim, stride, .. } = *piece {
                *coordinates.get_mut(dim as usize)? += rest / block * stride as usize;
            }
            rest %= block;
        }
        let mut block = self.slots();
        let mut rest = slot;
        for piece in &self.slots {
            block /= piece.extent() as usize;
            let index = rest / block;
            rest %= block;
            match *piece {
                Piece::Dim { dim, stride, .. } => {
                    *coordinates.get_mut(dim as usize)? += index * stride as usize;
                }
                Piece::Replicate { roll, .. } => rest = (rest + index * roll as usize) % block,
                Piece::Gap { .. } if index > 0 => return None,
                Piece::Gap { .. } => {}
            }
        }
        Some(())
    }

    /// Where every element of a tensor sits.
    pub fn places(&self, shape: &[usize]) -> Result<Places, LayoutError> {
        self.verify_shape(shape)?;
        let copies = self.copies();
        let elements: usize = shape.iter().product();
        let mut places = vec![Place { ciphertext: 0, slot: 0 }; elements * copies];
        let mut filled = vec![0usize; elements];
        let mut coordinates = vec![0usize; shape.len()];
        for ciphertext in 0..self.ciphertexts() {
            for slot in 0..self.slots() {
                if self.coordinates_at(ciphertext, slot, &mut coordinates).is_none() {
                    continue;
                }
                if let Some(element) = flatten(shape, &coordinates) {
                    places[element * copies + filled[element]] =
                        Place { ciphertext: ciphertext as u32, slot: slot as u32 };
                    filled[element] += 1;
                }
            }
        }
        Ok(Places { copies, places })
    }

    /// The slots of each ciphertext with the tensor in them, unused slots zero.
    pub fn pack(&self, tensor: &ArrayViewD<'_, f64>) -> Result<Vec<Vec<f64>>, LayoutError> {
        let places = self.places(tensor.shape())?;
        let mut packed = vec![vec![0.0; self.slots()]; self.ciphertexts()];
        for (element, value) in tensor.iter().enumerate() {
            for place in places.of(element) {
                packed[place.ciphertext as usize][place.slot as usize] = *value;
            }
        }
        Ok(packed)
    }

    /// The tensor that the slots hold; of several copies the first one is read.
    pub fn unpack<S: AsRef<[f64]>>(&self, shape: &[usize], packed: &[S]) -> Result<ArrayD<f64>, LayoutError> {
        let places = self.places(shape)?;
        if packed.len() != self.ciphertexts() {
            return Err(LayoutError::Data(format!(
                "the layout has {} ciphertexts, the data {}",
                self.ciphertexts(),
                packed.len()
            )));
        }
        if let Some(wrong) = packed.iter().find(|c| c.as_ref().len() != self.slots()) {
            return Err(LayoutError::Data(format!(
                "the layout has {} slots, the data {}",
                self.slots(),
                wrong.as_ref().len()
            )));
        }
        let elements: usize = shape.iter().product();
        let values = (0..elements)
            .map(|e| {
                let place = places.of(e)[0];
                packed[place.ciphertext as usize].as_ref()[place.slot as usize]
            })
            .collect();
        ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| LayoutError::Data(e.to_string()))
    }

    /// Which slots of each ciphertext hold an element.
    pub fn used(&self, shape: &[usize]) -> Result<Vec<Vec<bool>>, LayoutError> {
        let places = self.places(shape)?;
        let mut used = vec![vec![false; self.slots()]; self.ciphertexts()];
        for place in &places.places {
            used[place.ciphertext as usize][place.slot as usize] = true;
        }
        Ok(used)
    }

    /// Parses the text form, e.g. `[0:6:4 | R:2, 0:4:1]`. The brackets may be left out.
    pub fn parse(text: &str) -> Result<Self, LayoutError> {
        let text = text.trim();
        let inner = match (text.strip_prefix('['), text.ends_with(']')) {
            (Some(rest), true) => &rest[..rest.len() - 1],
            (None, false) => text,
            _ => return Err(LayoutError::Syntax("unbalanced brackets in a layout".into())),
        };
        let mut parts = inner.split('|');
        let first = parts.next().unwrap_or_default();
        let second = parts.next();
        if parts.next().is_some() {
            return Err(LayoutError::Syntax("a layout has at most one `|`".into()));
        }
        match second {
            Some(second) => Self::new(parse_pieces(first)?, parse_pieces(second)?),
            None => Self::new(Vec::new(), parse_pieces(first)?),
        }
    }
}

const REPLICATE_WORD: i64 = -1;
const GAP_WORD: i64 = -2;

/// The row-major number of coordinates, `None` outside the tensor.
fn flatten(shape: &[usize], coordinates: &[usize]) -> Option<usize> {
    let mut element = 0;
    for (&size, &c) in shape.iter().zip(coordinates) {
        if c >= size {
            return None;
        }
        element = element * size + c;
    }
    Some(element)
}

/// Drops pieces of extent 1 and merges neighbours that count on.
fn merge(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces.into_iter().filter(|p| p.extent() != 1) {
        let joined = match (merged.last(), piece) {
            (Some(Piece::Gap { extent: a }), Piece::Gap { extent: b }) => {
                Some(Piece::Gap { extent: a.saturating_mul(b) })
            }
            (Some(Piece::Replicate { extent: a, roll: 0 }), Piece::Replicate { extent: b, roll: 0 }) => {
                Some(Piece::replicate(a.saturating_mul(b)))
            }
            (
                Some(&Piece::Dim { dim: d, extent: a, stride: high }),
                Piece::Dim { dim, extent: b, stride: low },
            ) if d == dim && u64::from(high) == u64::from(b) * u64::from(low) => {
                Some(Piece::dim(dim, a.saturating_mul(b), low))
            }
            _ => None,
        };
        match joined {
            Some(joined) => {
                merged.pop();
                merged.push(joined);
            }
            None => merged.push(piece),
        }
    }
    merged
}

fn parse_pieces(text: &str) -> Result<Vec<Piece>, LayoutError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|piece| parse_piece(piece.trim())).collect()
}

fn parse_piece(text: &str) -> Result<Piece, LayoutError> {
    let fields: Vec<&str> = text.split(':').map(str::trim).collect();
    let number = |field: &str| {
        field
            .parse::<u32>()
            .map_err(|_| LayoutError::Syntax(format!("`{field}` in piece `{text}` is not a number")))
    };
    match fields.as_slice() {
        ["R", extent] => Ok(Piece::replicate(number(extent)?)),
        ["R", extent, roll] => Ok(Piece::Replicate { extent: number(extent)?, roll: number(roll)? }),
        ["G", extent] => Ok(Piece::gap(number(extent)?)),
        [dim, extent, stride] => {
            Ok(Piece::Dim { dim: number(dim)?, extent: number(extent)?, stride: number(stride)? })
        }
        _ => Err(LayoutError::Syntax(format!(
            "`{text}` is not a piece: write `dim:extent:stride`, `R:extent`, `R:extent:roll` or `G:extent`"
        ))),
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |pieces: &[Piece]| pieces.iter().map(Piece::to_string).collect::<Vec<_>>().join(", ");
        if self.ciphertexts.is_empty() {
            write!(f, "[{}]", list(&self.slots))
        } else {
            write!(f, "[{} | {}]", list(&self.ciphertexts), list(&self.slots))
        }
    }
}

impl TextParam for Layout {
    const NAME: &'static str = "layout";

    fn parse(text: &str) -> Result<Self, String> {
        Layout::parse(text).map_err(|e| e.to_string())
    }

    /// The number of ciphertext pieces, then three words for each piece.
    fn to_words(&self) -> Vec<i64> {
        let mut words = vec![self.ciphertexts.len() as i64];
        for piece in self.ciphertexts.iter().chain(&self.slots) {
            words.extend(match *piece {
                Piece::Dim { dim, extent, stride } => [i64::from(dim), i64::from(extent), i64::from(stride)],
                Piece::Replicate { extent, roll } => [REPLICATE_WORD, i64::from(extent), i64::from(roll)],
                Piece::Gap { extent } => [GAP_WORD, i64::from(extent), 0],
            });
        }
        words
    }

    fn from_words(words: &[i64]) -> Result<Self, String> {
        let mut reader = WordReader::new("layout", words);
        let count = reader.count()?;
        let mut pieces = Vec::new();
        for _ in 0..(words.len() - 1) / 3 {
            let (kind, extent, last) = (reader.word()?, reader.u32()?, reader.u32()?);
            pieces.push(match kind {
                REPLICATE_WORD => Piece::Replicate { extent, roll: last },
                GAP_WORD if last == 0 => Piece::Gap { extent },
                dim => {
                    let dim =
                        u32::try_from(dim).map_err(|_| format!("layout: piece kind {dim} is unknown"))?;
                    Piece::Dim { dim, extent, stride: last }
                }
            });
        }
        reader.finish()?;
        if count > pieces.len() {
            return Err(format!("layout: {count} ciphertext pieces among {} pieces", pieces.len()));
        }
        let slots = pieces.split_off(count);
        Self::new(pieces, slots).map_err(|e| e.to_string())
    }
}

impl std::str::FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Layout {
    type Error = LayoutError;

    fn try_from(text: String) -> Result<Self, LayoutError> {
        Self::parse(&text)
    }
}

impl From<Layout> for String {
    fn from(layout: Layout) -> Self {
        layout.to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests;
