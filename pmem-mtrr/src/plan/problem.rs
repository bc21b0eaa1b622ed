//! The question that a planner answers.

use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{Register, Width};
use core::fmt;

/// The most nodes on a path down: one for each bit of an address above the page, and the root.
pub const DEPTH: usize = 41;

/// The stack that [`Planner::within`](super::Planner::within) takes, in bytes; it recurses [`DEPTH`] deep at most. The
/// other functions take half of that. Measured by `cargo xtask firmware`.
pub const STACK: usize = 24 * 1024;

/// A range of addresses, and the types that it may have.
///
/// # Examples
/// A framebuffer should be write-combining, but uncacheable will do:
///
/// ```
/// use pmem_mtrr::{MemType, Piece, Planner, Problem, Requirement, Span, TypeSet, Width};
///
/// let framebuffer = Requirement {
///     span: Span { start: 0xd000_0000, end: 0xe000_0000 },
///     allowed: TypeSet::of(&[MemType::Wc, MemType::Uc]),
/// };
/// let (wants, mut room) = ([framebuffer], [Piece::default(); 6]);
/// let planner = Planner::new(Problem::new(Width::DEFAULT, &wants), &mut room)?;
/// // `Problem::new` wants everything else uncacheable, so the default type alone does it all.
/// assert_eq!(planner.optimum().with(MemType::Uc), Some(0));
/// # Ok::<(), pmem_mtrr::InvalidProblem>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The addresses: whole 4 KiB pages.
    pub span: Span,
    /// The types: one if it is required, several if there is a choice.
    pub allowed: TypeSet,
}

/// The question for a planner: what each address may be, and what is given.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'p> {
    /// The width of physical addresses.
    pub width: Width,
    /// The requirements: disjoint, and in order of address.
    pub wants: &'p [Requirement],
    /// The types allowed for addresses that no requirement covers.
    pub elsewhere: TypeSet,
    /// The end, exclusive, of the range from 4 GiB up in which AMD's rule makes the default write-back
    /// ([`crate::Setting::tom2`]), a multiple of 4 KiB; `None` if the rule is not in effect.
    pub tom2: Option<u64>,
    /// Whether the fixed ranges decide below 1 MiB, so that variable registers can hold anything there.
    pub fixed: bool,
    /// The types that the processor has.
    pub available: TypeSet,
    /// Registers programmed now: the plan keeps them where that takes no more registers.
    pub present: &'p [Register],
    /// Registers that stay whatever else is asked for. They count towards the total.
    pub pinned: &'p [Register],
}

impl<'p> Problem<'p> {
    /// Creates a problem in which addresses elsewhere must be uncacheable, the fixed ranges decide below 1 MiB, the
    /// processor has all types, and nothing is programmed yet.
    #[must_use]
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

/// The error for a problem that makes no sense, or for which there is too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidProblem {
    /// A requirement's span is empty, is not whole pages, or ends above the address width; or `tom2` is not whole pages.
    Span(Span),
    /// A requirement's span begins before the one before it ends.
    Order(Span),
    /// A requirement, or `elsewhere` for the space above the last one, allows no type that the processor has.
    Nothing(Span),
    /// Too little room for pieces; holds the number that is enough.
    Pieces(usize),
    /// Too little room for choices; holds the number that is enough.
    Choices(usize),
    /// Too little room for the path; holds the number of nodes that is enough.
    Path(usize),
    /// Too little room for costs; holds the number that is enough.
    Costs(usize),
    /// More pinned registers than a processor has; holds their number.
    Pinned(usize),
}

impl fmt::Display for InvalidProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => {
                write!(
                    f,
                    "{span} is empty, not made of whole 4 KiB pages, or ends above the physical address width"
                )
            }
            Self::Order(span) => write!(
                f,
                "{span} starts before the range listed before it ends: list disjoint ranges in order of address"
            ),
            Self::Nothing(span) => write!(f, "{span} allows no memory type that the processor supports"),
            Self::Pieces(n) => write!(f, "too little room: {n} pieces are needed"),
            Self::Choices(n) => write!(f, "too little room: {n} choices are needed"),
            Self::Path(n) => write!(f, "too little room: a path of {n} nodes is needed"),
            Self::Costs(n) => write!(f, "too little room: {n} costs are needed"),
            Self::Pinned(n) => write!(f, "{n} pinned registers are too many: a processor has at most 40"),
        }
    }
}

impl core::error::Error for InvalidProblem {}
