//! What is asked of an allocation.

use super::spot::Constraints;
use crate::error::Error;
use crate::id::{ArenaId, Owner};
use crate::metric::Metric;
use crate::model::Pin;
use pmem_space::{AddrRange, ArenaType, Attrs, Fit, Policy, Props, Prot, Usage};

/// The criteria of an allocation: `pmem_alloc`'s arguments, and what it lacks.
///
/// Window, alignment, boundary and exact address are as seen from the arena that is asked. Attributes that are
/// not given are the defaults of the space that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) len: u64,
    pub(crate) spot: Constraints,
    pub(crate) usage: Option<Usage>,
    pub(crate) prot: Option<Prot>,
    pub(crate) props: Option<Props>,
    pub(crate) owner: Owner,
    pub(crate) pin: Pin,
    pub(crate) max_metric: Metric,
    pub(crate) kind: ArenaType,
    pub(crate) arena: Option<ArenaId>,
}

impl Request {
    /// Asks for `len` bytes anywhere in the arena itself.
    pub const fn new(len: u64) -> Self {
        Self {
            len,
            spot: Constraints::anywhere(),
            usage: None,
            prot: None,
            props: None,
            owner: Owner(0),
            pin: Pin::Movable,
            max_metric: Metric::ZERO,
            kind: ArenaType::empty(),
            arena: None,
        }
    }

    /// Asks for exactly `range`.
    pub const fn exactly(range: AddrRange) -> Self {
        let spot = Constraints { exactly: Some(range), ..Constraints::at(range.start()) };
        Self { spot, ..Self::new(range.len()) }
    }

    /// Asks for exactly this start.
    #[must_use]
    pub const fn at(self, start: u64) -> Self {
        let spot = Constraints { start: Some(start), exactly: None, ..self.spot };
        Self { spot, ..self }
    }

    /// Keeps it inside `window`.
    #[must_use]
    pub const fn window(self, window: AddrRange) -> Self {
        let spot = Constraints { window, ..self.spot };
        Self { spot, ..self }
    }

    /// Aligns its start to a multiple of `align` bytes, a power of two.
    #[must_use]
    pub const fn align(self, align: u64) -> Self {
        Self { spot: self.spot.align(align), ..self }
    }

    /// Keeps it from crossing a multiple of `boundary` bytes, a power of two.
    #[must_use]
    pub const fn boundary(self, boundary: u64) -> Self {
        Self { spot: self.spot.boundary(boundary), ..self }
    }

    /// Chooses among the places that fit.
    #[must_use]
    pub const fn policy(self, policy: Policy) -> Self {
        Self { spot: self.spot.policy(policy), ..self }
    }

    /// Bounds the time of first and last fit: [`Constraints::visits`].
    #[must_use]
    pub const fn visits(self, visits: u32) -> Self {
        Self { spot: self.spot.visits(visits), ..self }
    }

    /// Says what it is used for.
    #[must_use]
    pub const fn usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Says what accesses it needs.
    #[must_use]
    pub const fn prot(self, prot: Prot) -> Self {
        Self { prot: Some(prot), ..self }
    }

    /// Says what properties it has.
    #[must_use]
    pub const fn props(self, props: Props) -> Self {
        Self { props: Some(props), ..self }
    }

    /// Says whose it is.
    #[must_use]
    pub const fn owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Says that it must not move.
    #[must_use]
    pub const fn pinned(self) -> Self {
        Self { pin: Pin::Pinned, ..self }
    }

    /// Accepts space in other arenas that can be made visible at no more than this cost, cheapest first.
    #[must_use]
    pub const fn max_metric(self, max_metric: Metric) -> Self {
        Self { max_metric, ..self }
    }

    /// Wants space only in arenas of this type: RAM, say, and not whatever bus is nearer.
    #[must_use]
    pub const fn of_type(self, kind: ArenaType) -> Self {
        Self { kind, ..self }
    }

    /// Wants space only in this arena: where the one that asks sees it, if that is another.
    #[must_use]
    pub const fn in_arena(self, arena: ArenaId) -> Self {
        Self { arena: Some(arena), ..self }
    }

    /// The window, cut to the exact place where one is asked for.
    ///
    /// # Errors
    /// [`Error::Range`] if the exact range would end past 2^64.
    pub(crate) fn place(&self) -> Result<AddrRange, Error> {
        self.spot.place(self.len)
    }

    /// The place that is looked for, in addresses that are seen at themselves plus `phase`.
    pub(crate) fn fit(&self, window: AddrRange, phase: u64) -> Result<Fit, Error> {
        self.spot.fit(self.len, window, phase)
    }

    /// The attributes of the region in space with these defaults.
    pub(crate) fn attrs(&self, defaults: Attrs) -> Result<Attrs, Error> {
        Ok(Attrs::new(
            // Bad RAM is got only by asking for it.
            self.usage.unwrap_or(defaults.usage().difference(Usage::BROKEN)),
            self.prot.unwrap_or(defaults.prot()),
            self.props.unwrap_or(defaults.props()),
        )?)
    }
}

impl From<&Request> for Constraints {
    /// Where a request wants its region, whatever that is.
    fn from(request: &Request) -> Self {
        request.spot
    }
}
