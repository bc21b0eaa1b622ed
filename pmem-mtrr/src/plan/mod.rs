//! The fewest registers that make every address a type that it may be.
//!
//! The space is halved again and again; a register is a node of that tree with a type. What a node needs depends on its
//! addresses and on the nearest register around it alone, for an optimum nests registers in no other way than write back
//! around write through or uncacheable, and any type around uncacheable. So one pass from the leaves up, with one cost for
//! each type around and one for each default type, gives the minimum for all five defaults at once (`count`); a second
//! one, for one default, notes its choices and reads them back (`build`). With fewer registers than that takes, a third
//! form shares them out so that the fewest bytes lose their type (`budget`).
//!
//! Nothing here takes memory from a heap. `count` and `build` do not call themselves either: a way down has at most [`DEPTH`] nodes, which
//! lie in an array. `budget` does, as deep as that: see [`STACK`].

mod budget;
mod build;
mod count;
mod low;
mod node;
mod pieces;

pub use budget::Budgeted;
pub use build::{Plan, Refusal, Room, Rung};
pub use count::Optimum;
pub use low::LowRefusal;
pub use pieces::Piece;

use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{MAX_VARIABLE, Register, Width};
use core::fmt;

/// How many nodes a way down has at most: one for each bit of an address above the page, and the root.
pub const DEPTH: usize = 41;

/// What [`Planner::within`], which calls itself [`DEPTH`] times at most, takes of the stack, in bytes; the others take half of it.
/// Measured by `cargo xtask firmware`.
pub const STACK: usize = 24 * 1024;

/// Addresses, and which types they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Whole pages.
    pub span: Span,
    /// One type if it is required, several if there is a choice.
    pub allowed: TypeSet,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'p> {
    /// How wide physical addresses are.
    pub width: Width,
    /// In order of address, apart from each other.
    pub wants: &'p [Want],
    /// What addresses may be that no want is about.
    pub elsewhere: TypeSet,
    /// Where AMD's rule makes the default write back up to, from 4 GiB ([`crate::Setting::tom2`]).
    pub tom2: Option<u64>,
    /// Whether the fixed ranges decide below 1 MiB, so that no variable register need care.
    pub fixed: bool,
    /// The types that the processor knows.
    pub available: TypeSet,
    /// Registers programmed now: preferred to others as long as that costs none.
    pub present: &'p [Register],
    /// Registers that stay whatever is asked for. They count.
    pub pinned: &'p [Register],
}

impl<'p> Problem<'p> {
    /// What lies elsewhere is uncacheable, the fixed ranges decide below 1 MiB, the processor knows all types, and nothing is
    /// programmed yet.
    pub const fn new(width: Width, wants: &'p [Want]) -> Self {
        Self {
            width,
            wants,
            elsewhere: TypeSet::only(MemType::Uc),
            tom2: None,
            fixed: true,
            available: TypeSet::ANY,
            present: &[],
            pinned: &[],
        }
    }
}

/// Why a problem makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A want is empty, not of whole pages, or ends above the address width.
    Span(Span),
    /// A want begins before the one before it ends.
    Order(Span),
    /// A want allows no type that the processor knows.
    Nothing(Span),
    /// More room is needed for pieces: this many.
    Pieces(usize),
    /// More room is needed for choices: this many.
    Choices(usize),
    /// More room is needed for the way down: this many.
    Rungs(usize),
    /// More room is needed for costs: this many.
    Costs(usize),
    /// The pinned registers alone are more than processors have.
    Pinned(usize),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => {
                write!(f, "{span} is empty, not of whole 4 KiB pages, or beyond the address width")
            }
            Self::Order(span) => write!(f, "{span} begins before the range before it ends"),
            Self::Nothing(span) => write!(f, "{span} may be no type that the processor has"),
            Self::Pieces(n) => write!(f, "room for {n} pieces is needed"),
            Self::Choices(n) => write!(f, "room for {n} choices is needed"),
            Self::Rungs(n) => write!(f, "room for {n} rungs is needed"),
            Self::Costs(n) => write!(f, "room for {n} costs is needed"),
            Self::Pinned(n) => write!(f, "{n} pinned registers are more than a processor has"),
        }
    }
}

impl core::error::Error for Bad {}

/// Up to as many registers as a processor can have.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    all: [Option<Register>; MAX_VARIABLE],
    len: usize,
}

impl Registers {
    pub(crate) const fn new() -> Self {
        Self { all: [None; MAX_VARIABLE], len: 0 }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&mut self, register: Register) -> bool {
        let Some(slot) = self.all.get_mut(self.len) else { return false };
        *slot = Some(register);
        self.len += 1;
        true
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pinned first, then in order of address, wide before narrow.
    pub fn iter(&self) -> impl Iterator<Item = Register> + '_ {
        self.all.iter().flatten().copied()
    }
}

/// A problem cut in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'p> {
    problem: Problem<'p>,
    pieces: &'p [Piece],
}

impl<'p> Planner<'p> {
    /// Cuts a problem in pieces. Room for twice as many as there are wants, and 4, is always enough.
    ///
    /// # Errors
    /// [`Bad`] names what makes no sense.
    pub fn new(problem: Problem<'p>, room: &'p mut [Piece]) -> Result<Self, Bad> {
        if problem.pinned.len() > MAX_VARIABLE {
            return Err(Bad::Pinned(problem.pinned.len()));
        }
        if let Some(end) = problem.tom2.filter(|end| end & 0xfff != 0) {
            return Err(Bad::Span(Span { start: 1 << 32, end }));
        }
        Ok(Self { pieces: pieces::cut(&problem, room)?, problem })
    }
}
