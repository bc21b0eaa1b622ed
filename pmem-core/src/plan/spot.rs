//! Where a region or alias is to lie.

use crate::error::Error;
use crate::id::ArenaId;
use pmem_space::{AddrRange, Fit, Policy};

/// Where a region or alias is to lie: in a window or at an exact start, aligned, within a boundary, and by which
/// policy if several places fit. Addresses are those that the requesting arena sees.
///
/// # Examples
/// A GPU expects its command ring at I/O virtual address 0x10_0000:
/// ```
/// use pmem_core::{
///     AddrRange, ArenaType, Attrs, Constraints, Direction, Manager, Mapping, Metric, Request, Table,
/// };
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// let gpu = pmem.create_arena("GPU domain", ArenaType::VIEW)?;
/// pmem.prime(ram, AddrRange::new(0, 0x4000_0000)?, Attrs::ram())?;
/// let table = Mapping::Table(Table::new(AddrRange::new(0, 0x1_0000_0000)?, 0x1000)?);
/// pmem.connect_asymmetric(gpu, ram, Direction::new(table, Metric::new(1)), Direction::closed())?;
///
/// let ring = pmem.alloc(ram, &Request::new(0x4000).align(0x1000))?;
/// let mapped = pmem.map_at(gpu, ring, Constraints::at(0x10_0000))?;
/// assert_eq!(pmem.range(mapped)?, AddrRange::sized(0x10_0000, 0x4000)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    pub(crate) window: AddrRange,
    /// The required start address, if the caller fixed one.
    pub(crate) start: Option<u64>,
    /// The required range, if the caller fixed one. Kept beside `start` because all 2^64 bytes have no length.
    pub(crate) exactly: Option<AddrRange>,
    pub(crate) align: u64,
    pub(crate) boundary: Option<u64>,
    pub(crate) policy: Policy,
    pub(crate) visits: u32,
}

impl Default for Constraints {
    fn default() -> Self {
        Self::anywhere()
    }
}

impl From<&Self> for Constraints {
    fn from(spot: &Self) -> Self {
        *spot
    }
}

impl Constraints {
    /// Returns no constraints: the lowest address that fits.
    #[must_use]
    pub const fn anywhere() -> Self {
        Self {
            window: AddrRange::ALL,
            start: None,
            exactly: None,
            align: 1,
            boundary: None,
            policy: Policy::FirstFit,
            visits: u32::MAX,
        }
    }

    /// Requires this start address.
    #[must_use]
    pub const fn at(start: u64) -> Self {
        Self { start: Some(start), ..Self::anywhere() }
    }

    /// Requires the place to lie inside `window`.
    #[must_use]
    pub const fn within(window: AddrRange) -> Self {
        Self { window, ..Self::anywhere() }
    }

    /// Aligns the start to a multiple of `align` bytes, a power of two.
    #[must_use]
    pub const fn align(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// Keeps the place from crossing a multiple of `boundary` bytes, a power of two.
    #[must_use]
    pub const fn boundary(self, boundary: u64) -> Self {
        Self { boundary: Some(boundary), ..self }
    }

    /// Sets which of the places that fit is taken; [`Policy::FirstFit`] by default.
    #[must_use]
    pub const fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Bounds the search time of first and last fit. After about `visits` gaps that turn out not to fit, the search
    /// takes any gap that is sure to fit, if there is one. The place may then not be the lowest or highest
    /// ([`Fit::visits`]).
    #[must_use]
    pub const fn visits(self, visits: u32) -> Self {
        Self { visits, ..self }
    }

    /// Returns the window, narrowed to the exact place for `len` bytes if one is required.
    ///
    /// # Errors
    /// [`Error::Range`] if the exact range would end past 2^64.
    pub(crate) fn place(&self, len: u64) -> Result<AddrRange, Error> {
        match (self.exactly, self.start) {
            (Some(range), _) => Ok(range),
            (None, Some(start)) => Ok(AddrRange::sized(start, len)?),
            (None, None) => Ok(self.window),
        }
    }

    /// Returns the search criteria for `len` bytes, given that an address is seen at itself plus `phase`.
    pub(crate) fn fit(&self, len: u64, window: AddrRange, phase: u64) -> Result<Fit, Error> {
        let fit = Fit::new(len)?.window(window).align(self.align)?.phase(phase);
        let fit = fit.policy(self.policy).visits(self.visits);
        Ok(match self.boundary {
            Some(boundary) => fit.boundary(boundary)?,
            None => fit,
        })
    }

    /// Returns the error that no place for `len` bytes meets the constraints.
    pub(crate) fn no_space(&self, arena: ArenaId, len: u64, largest: u64) -> Error {
        let window = self.place(len).unwrap_or(self.window);
        Error::NoSpace { arena, len, align: self.align, window, largest }
    }
}
