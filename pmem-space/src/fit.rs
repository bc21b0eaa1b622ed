//! What is looked for in the free space, and where in one gap it fits.

use crate::range::AddrRange;
use core::fmt;

/// Which of the places that fit is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The lowest address, exactly.
    #[default]
    FirstFit,
    /// The highest address, exactly.
    LastFit,
    /// Found without looking twice: the lowest gap whose largest naturally aligned block holds the request whatever
    /// else the gap is like; only where there is none, first fit.
    InstantFit,
    /// The lowest of those gaps whose largest naturally aligned block is the smallest that holds the request; only
    /// where there is none, first fit.
    GoodFit,
}

/// Why numbers do not make a [`Fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitError {
    /// The length is 0.
    NoLength,
    /// The alignment is no power of two.
    Align(u64),
    /// The boundary is no power of two.
    Boundary(u64),
    /// A range of this length crosses every boundary.
    BoundaryTooSmall {
        /// The boundary in bytes.
        boundary: u64,
        /// The length in bytes.
        len: u64,
    },
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLength => write!(f, "length 0"),
            Self::Align(align) => write!(f, "alignment {align:#x} is not a power of two"),
            Self::Boundary(boundary) => write!(f, "boundary {boundary:#x} is not a power of two"),
            Self::BoundaryTooSmall { boundary, len } => {
                write!(f, "{len:#x} bytes cannot keep within a boundary of {boundary:#x}")
            }
        }
    }
}

impl core::error::Error for FitError {}

/// What is looked for: so many bytes inside a window, aligned, within a boundary.
///
/// Alignment and boundary hold for the address *as seen from elsewhere*, which is the local address plus the
/// phase (modulo 2^64); the window is local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    window: AddrRange,
    len: u64,
    align: u64,
    phase: u64,
    boundary: Option<u64>,
    policy: Policy,
    visits: u32,
}

impl Fit {
    /// Looks for `len` bytes anywhere, first fit, with no alignment.
    ///
    /// # Errors
    /// [`FitError::NoLength`] if `len` is 0.
    pub const fn new(len: u64) -> Result<Self, FitError> {
        if len == 0 {
            return Err(FitError::NoLength);
        }
        let window = AddrRange::ALL;
        Ok(Self {
            window,
            len,
            align: 1,
            phase: 0,
            boundary: None,
            policy: Policy::FirstFit,
            visits: u32::MAX,
        })
    }

    /// Keeps the place inside `window`.
    #[must_use]
    pub const fn window(mut self, window: AddrRange) -> Self {
        self.window = window;
        self
    }

    /// Aligns the start, as seen, to a multiple of `align` bytes.
    ///
    /// # Errors
    /// [`FitError::Align`] if `align` is no power of two.
    pub const fn align(mut self, align: u64) -> Result<Self, FitError> {
        if !align.is_power_of_two() {
            return Err(FitError::Align(align));
        }
        self.align = align;
        Ok(self)
    }

    /// Says that an address is seen at itself plus `phase`, modulo 2^64.
    #[must_use]
    pub const fn phase(mut self, phase: u64) -> Self {
        self.phase = phase;
        self
    }

    /// Keeps the place, as seen, from crossing a multiple of `boundary` bytes.
    ///
    /// # Errors
    /// [`FitError::Boundary`] if it is no power of two, [`FitError::BoundaryTooSmall`] if it is below the length.
    pub const fn boundary(mut self, boundary: u64) -> Result<Self, FitError> {
        if !boundary.is_power_of_two() {
            return Err(FitError::Boundary(boundary));
        }
        if boundary < self.len {
            return Err(FitError::BoundaryTooSmall { boundary, len: self.len });
        }
        self.boundary = Some(boundary);
        Ok(self)
    }

    /// Chooses among the places that fit.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Looks at no more than about this many gaps which turn out not to fit, before a gap is taken that always fits, if
    /// there is one: bounds the time of first and last fit, whose answer is then not the lowest or highest place.
    #[must_use]
    pub const fn visits(mut self, visits: u32) -> Self {
        self.visits = visits;
        self
    }

    /// The gaps that may be looked at in vain.
    pub const fn visits_of(&self) -> u32 {
        self.visits
    }

    /// The window, in local addresses.
    pub const fn window_of(&self) -> AddrRange {
        self.window
    }

    /// The length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "it is never 0")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The former name of [`Self::len`].
    #[deprecated(note = "`len`")]
    pub const fn len_of(&self) -> u64 {
        self.len()
    }

    /// What the start, as seen, is a multiple of, in bytes.
    pub const fn align_of(&self) -> u64 {
        self.align
    }

    /// What is added to an address, modulo 2^64, to give it as it is seen.
    pub const fn phase_of(&self) -> u64 {
        self.phase
    }

    /// What no multiple of is crossed, in bytes.
    pub const fn boundary_of(&self) -> Option<u64> {
        self.boundary
    }

    /// The policy.
    pub const fn policy_of(&self) -> Policy {
        self.policy
    }

    /// Whether `range` is a place that fits.
    pub fn admits(&self, range: AddrRange) -> bool {
        let seen = range.start().wrapping_add(self.phase);
        range.len() == self.len
            && self.window.covers(range)
            && seen & (self.align - 1) == 0
            && self.keeps_boundary(seen)
    }

    /// The lowest place inside `gap`.
    pub fn lowest_in(&self, gap: AddrRange) -> Option<AddrRange> {
        let gap = gap.intersect(self.window)?;
        let start = self.aligned_up(gap.start(), self.align)?;
        let seen = start.wrapping_add(self.phase);
        let start = if self.keeps_boundary(seen) {
            start
        } else {
            // At least the alignment: a place at a multiple of both never crosses.
            self.aligned_up(start, self.boundary.unwrap_or(1).max(self.align))?
        };
        AddrRange::sized(start, self.len).ok().filter(|place| gap.covers(*place))
    }

    /// The highest place inside `gap`.
    pub fn highest_in(&self, gap: AddrRange) -> Option<AddrRange> {
        let gap = gap.intersect(self.window)?;
        let top = gap.last().checked_sub(self.len - 1)?;
        let start = self.aligned_down(top, self.align)?;
        let seen = start.wrapping_add(self.phase);
        let start = if self.keeps_boundary(seen) {
            start
        } else {
            let boundary = self.boundary.unwrap_or(1);
            let over = seen.wrapping_add(self.len - 1) & (boundary - 1);
            self.aligned_down(start.checked_sub(over.checked_add(1)?)?, self.align)?
        };
        AddrRange::sized(start, self.len).ok().filter(|place| gap.covers(*place))
    }

    fn keeps_boundary(&self, seen: u64) -> bool {
        self.boundary.is_none_or(|b| seen & !(b - 1) == seen.wrapping_add(self.len - 1) & !(b - 1))
    }

    fn aligned_up(&self, addr: u64, align: u64) -> Option<u64> {
        let over = addr.wrapping_add(self.phase) & (align - 1);
        if over == 0 { Some(addr) } else { addr.checked_add(align - over) }
    }

    fn aligned_down(&self, addr: u64, align: u64) -> Option<u64> {
        addr.checked_sub(addr.wrapping_add(self.phase) & (align - 1))
    }
}
