//! Requests for an allocation.

use super::spot::Constraints;
use crate::error::Error;
use crate::id::{ArenaId, Owner};
use crate::metric::Metric;
use crate::model::Pin;
use pmem_space::{AddrRange, ArenaType, Attrs, Fit, Policy, Props, Prot, Usage};

/// The criteria of an allocation: the arguments of `pmem_alloc`, and a few that it lacks.
///
/// Window, alignment, boundary and exact address hold for the addresses as the requesting arena sees them. Attributes
/// that you do not give are the defaults of the space that is found.
///
/// # Examples
/// A 64 KiB DMA buffer that a 32-bit device can reach and that does not cross a 64 KiB boundary:
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Policy, Request, Usage};
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// pmem.prime(ram, AddrRange::new(0, 0x2_0000_0000)?, Attrs::ram())?;
///
/// let request = Request::new(0x1_0000)
///     .window(AddrRange::new(0, 0x1_0000_0000)?)
///     .align(0x1000)
///     .boundary(0x1_0000)
///     .policy(Policy::LastFit)
///     .usage(Usage::DMABUF);
/// let buffer = pmem.alloc(ram, &request)?;
/// assert_eq!(pmem.range(buffer)?, AddrRange::new(0xffff_0000, 0x1_0000_0000)?);
/// assert_eq!(pmem.attrs(buffer)?.usage(), Usage::DMABUF);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Returns a request for `len` bytes anywhere in the arena itself, at the lowest address that fits.
    #[must_use]
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

    /// Returns a request for exactly `range`.
    #[must_use]
    pub const fn exactly(range: AddrRange) -> Self {
        let spot = Constraints { exactly: Some(range), ..Constraints::at(range.start()) };
        Self { spot, ..Self::new(range.len()) }
    }

    /// Requires this start address.
    #[must_use]
    pub const fn at(self, start: u64) -> Self {
        let spot = Constraints { start: Some(start), exactly: None, ..self.spot };
        Self { spot, ..self }
    }

    /// Requires the region to lie inside `window`.
    #[must_use]
    pub const fn window(self, window: AddrRange) -> Self {
        let spot = Constraints { window, ..self.spot };
        Self { spot, ..self }
    }

    /// Aligns the start to a multiple of `align` bytes, a power of two.
    #[must_use]
    pub const fn align(self, align: u64) -> Self {
        Self { spot: self.spot.align(align), ..self }
    }

    /// Keeps the region from crossing a multiple of `boundary` bytes, a power of two.
    #[must_use]
    pub const fn boundary(self, boundary: u64) -> Self {
        Self { spot: self.spot.boundary(boundary), ..self }
    }

    /// Sets which of the places that fit is taken; [`Policy::FirstFit`] by default.
    #[must_use]
    pub const fn policy(self, policy: Policy) -> Self {
        Self { spot: self.spot.policy(policy), ..self }
    }

    /// Bounds the search time of first and last fit; see [`Constraints::visits`].
    #[must_use]
    pub const fn visits(self, visits: u32) -> Self {
        Self { spot: self.spot.visits(visits), ..self }
    }

    /// Sets what the region is used for.
    #[must_use]
    pub const fn usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Sets the accesses that the region needs.
    #[must_use]
    pub const fn prot(self, prot: Prot) -> Self {
        Self { prot: Some(prot), ..self }
    }

    /// Sets the properties of the region.
    #[must_use]
    pub const fn props(self, props: Props) -> Self {
        Self { props: Some(props), ..self }
    }

    /// Sets the owner.
    #[must_use]
    pub const fn owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Pins the region: it will not be moved.
    #[must_use]
    pub const fn pinned(self) -> Self {
        Self { pin: Pin::Pinned, ..self }
    }

    /// Also accepts space in other arenas, cheapest first, if it can be made visible at a cost of at most
    /// `max_metric`.
    #[must_use]
    pub const fn max_metric(self, max_metric: Metric) -> Self {
        Self { max_metric, ..self }
    }

    /// Accepts only arenas that have every type in `kind`: RAM, say, and not whichever bus is nearer. Empty means any
    /// arena.
    #[must_use]
    pub const fn of_type(self, kind: ArenaType) -> Self {
        Self { kind, ..self }
    }

    /// Accepts only space of this arena. If it is not the requesting arena, the region is made visible there.
    #[must_use]
    pub const fn in_arena(self, arena: ArenaId) -> Self {
        Self { arena: Some(arena), ..self }
    }

    /// Returns the window, narrowed to the exact place if one is requested.
    ///
    /// # Errors
    /// [`Error::Range`] if the exact range would end past 2^64.
    pub(crate) fn place(&self) -> Result<AddrRange, Error> {
        self.spot.place(self.len)
    }

    /// Returns the search criteria for the index, given that an address is seen at itself plus `phase`.
    pub(crate) fn fit(&self, window: AddrRange, phase: u64) -> Result<Fit, Error> {
        self.spot.fit(self.len, window, phase)
    }

    /// Returns the attributes of the region in space with these defaults.
    pub(crate) fn attrs(&self, defaults: Attrs) -> Result<Attrs, Error> {
        Ok(Attrs::new(
            // Bad RAM must be asked for by name: `BROKEN` is never inherited from the space.
            self.usage.unwrap_or(defaults.usage().difference(Usage::BROKEN)),
            self.prot.unwrap_or(defaults.prot()),
            self.props.unwrap_or(defaults.props()),
        )?)
    }
}

impl From<&Request> for Constraints {
    /// Takes over where the request wants its region, and nothing else.
    fn from(request: &Request) -> Self {
        request.spot
    }
}
