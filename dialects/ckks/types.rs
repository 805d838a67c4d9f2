//! Placements, and ciphertext and plaintext types made of them.

use super::{CtType, PtType};
use ceria_runtime::format::scale::Scale;
use melior::{
    Context,
    ir::{Type, Value, ValueLike},
};
use std::fmt;

/// The level of an unplaced type's encoding.
const UNPLACED: i64 = -1;

/// Level and scale of a placed ciphertext or plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The level.
    pub level: u32,
    /// The exact scale.
    pub scale: Scale,
}

impl Placement {
    /// A placement.
    pub fn new(level: u32, scale: Scale) -> Self {
        Self { level, scale }
    }

    /// A level with its canonical scale.
    pub fn canonical(level: u32) -> Self {
        Self { level, scale: Scale::level(level) }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {} at scale {}", self.level, self.scale)
    }
}

impl<'c> CtType<'c> {
    /// The type of a ciphertext; without placement it is unplaced.
    pub fn of(context: &'c Context, placement: Option<&Placement>, size: u32) -> Result<Self, String> {
        match placement {
            Some(Placement { level, scale }) => Self::new(context, i64::from(*level), scale, i64::from(size)),
            None => Self::new(context, UNPLACED, &Scale::one(), i64::from(size)),
        }
    }

    /// Level and scale; none when unplaced.
    pub fn placement(&self) -> Option<Placement> {
        let level = u32::try_from(self.level()).ok()?;
        Some(Placement { level, scale: self.scale() })
    }

    /// The number of components.
    pub fn components(&self) -> u32 {
        self.size().max(0) as u32
    }
}

impl<'c> PtType<'c> {
    /// The type of a plaintext; without placement it is unplaced.
    pub fn of(context: &'c Context, placement: Option<&Placement>) -> Result<Self, String> {
        match placement {
            Some(Placement { level, scale }) => Self::new(context, i64::from(*level), scale),
            None => Self::new(context, UNPLACED, &Scale::one()),
        }
    }

    /// Level and scale; none when unplaced.
    pub fn placement(&self) -> Option<Placement> {
        let level = u32::try_from(self.level()).ok()?;
        Some(Placement { level, scale: self.scale() })
    }
}

/// The ciphertext type of a value.
pub fn ct<'c>(value: Value<'c, '_>) -> Result<CtType<'c>, String> {
    CtType::try_from(value.r#type())
}

/// The plaintext type of a value.
pub fn pt<'c>(value: Value<'c, '_>) -> Result<PtType<'c>, String> {
    PtType::try_from(value.r#type())
}

/// Whether a type is a ciphertext.
pub fn is_ct(ty: Type<'_>) -> bool {
    CtType::try_from(ty).is_ok()
}
