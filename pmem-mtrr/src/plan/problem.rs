//! What a planner is asked.

use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{Register, Width};
use core::fmt;

/// How many nodes a way down has at most: one for each bit of an address above the page, and the root.
pub const DEPTH: usize = 41;

/// What [`Planner::within`](super::Planner::within), which calls itself [`DEPTH`] times at most, takes of the stack, in bytes; the others take half of it.
/// Measured by `cargo xtask firmware`.
pub const STACK: usize = 24 * 1024;

/// Addresses, and which types they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
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
    pub wants: &'p [Requirement],
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
    pub const fn new(width: Width, wants: &'p [Requirement]) -> Self {
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
pub enum InvalidProblem {
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
    Path(usize),
    /// More room is needed for costs: this many.
    Costs(usize),
    /// The pinned registers alone are more than processors have.
    Pinned(usize),
}

impl fmt::Display for InvalidProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => {
                write!(f, "{span} is empty, not of whole 4 KiB pages, or beyond the address width")
            }
            Self::Order(span) => write!(f, "{span} begins before the range before it ends"),
            Self::Nothing(span) => write!(f, "{span} may be no type that the processor has"),
            Self::Pieces(n) => write!(f, "room for {n} pieces is needed"),
            Self::Choices(n) => write!(f, "room for {n} choices is needed"),
            Self::Path(n) => write!(f, "room for a path of {n} nodes is needed"),
            Self::Costs(n) => write!(f, "room for {n} costs is needed"),
            Self::Pinned(n) => write!(f, "{n} pinned registers are more than a processor has"),
        }
    }
}

impl core::error::Error for InvalidProblem {}
