//! Where something is to lie.

use crate::error::Error;
use crate::id::ArenaId;
use pmem_space::{AddrRange, Fit, Policy};

/// Where something is to lie: in a window or at an exact start, aligned, within a boundary, and which of the places that fit. As seen
/// from the arena that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    pub(crate) window: AddrRange,
    /// Where exactly it must start.
    pub(crate) start: Option<u64>,
    /// Where exactly it must be: all of 2^64 bytes have no length.
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
    /// At the lowest address that will do.
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

    /// Exactly from this address on.
    pub const fn at(start: u64) -> Self {
        Self { start: Some(start), ..Self::anywhere() }
    }

    /// Inside `window`.
    pub const fn within(window: AddrRange) -> Self {
        Self { window, ..Self::anywhere() }
    }

    /// Aligns its start to a multiple of `align` bytes, a power of two.
    #[must_use]
    pub const fn align(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// Keeps it from crossing a multiple of `boundary` bytes, a power of two.
    #[must_use]
    pub const fn boundary(self, boundary: u64) -> Self {
        Self { boundary: Some(boundary), ..self }
    }

    /// Chooses among the places that fit.
    #[must_use]
    pub const fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Bounds the time of first and last fit: after about so many gaps that turned out not to fit, a gap that surely
    /// does is taken, if there is one, and is then not the lowest or highest ([`Fit::visits`]).
    #[must_use]
    pub const fn visits(self, visits: u32) -> Self {
        Self { visits, ..self }
    }

    /// The window, cut to the exact place of `len` bytes where one is asked for.
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

    /// The place of `len` bytes that is looked for, in addresses that are seen at themselves plus `phase`.
    pub(crate) fn fit(&self, len: u64, window: AddrRange, phase: u64) -> Result<Fit, Error> {
        let fit = Fit::new(len)?.window(window).align(self.align)?.phase(phase);
        let fit = fit.policy(self.policy).visits(self.visits);
        Ok(match self.boundary {
            Some(boundary) => fit.boundary(boundary)?,
            None => fit,
        })
    }

    /// The error that there is no such place for `len` bytes.
    pub(crate) fn no_space(&self, arena: ArenaId, len: u64, largest: u64) -> Error {
        let window = self.place(len).unwrap_or(self.window);
        Error::NoSpace { arena, len, align: self.align, window, largest }
    }
}
