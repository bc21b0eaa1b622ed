//! Requests for free space, and the place in one gap where a request fits.

use crate::range::AddrRange;
use core::fmt;

/// Which of the places that fit a search returns.
///
/// # Examples
/// A page fits in a 64 KiB gap and in a 4 KiB gap above it. First fit takes the lower gap, good fit the smaller one:
///
/// ```
/// use pmem_space::{AddrRange, Fit, Policy, Space};
///
/// let mut mmio: Space<&str> = Space::new();
/// let (large, small) = (AddrRange::sized(0xfd00_0000, 0x1_0000)?, AddrRange::sized(0xfe00_0000, 0x1000)?);
/// mmio.open(large);
/// mmio.open(small);
/// let page = Fit::new(0x1000)?.align(0x1000)?;
/// assert_eq!(mmio.find(&page), Some(AddrRange::sized(large.start(), 0x1000)?));
/// assert_eq!(mmio.find(&page.policy(Policy::GoodFit)), Some(small));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The lowest place that fits, exactly; see [`Fit::visits`].
    #[default]
    FirstFit,
    /// The highest place that fits, exactly; see [`Fit::visits`].
    LastFit,
    /// A place in the lowest gap that is certain to fit: it lies inside the window, and its largest naturally aligned
    /// block alone guarantees the fit. (A gap at address 0 is tried in any case.) First fit if no gap is certain.
    InstantFit,
    /// A place in the gap that is certain to fit, as above, and whose largest naturally aligned block is the smallest;
    /// of several such gaps, the lowest. First fit if no gap is certain.
    GoodFit,
}

/// The error for numbers that do not make a valid [`Fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitError {
    /// The length is 0.
    NoLength,
    /// The alignment is not a power of two.
    Align(u64),
    /// The boundary is not a power of two.
    Boundary(u64),
    /// The boundary is smaller than the length: every place would cross one.
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
            Self::NoLength => write!(f, "the length is 0: ask for at least one byte"),
            Self::Align(align) => write!(f, "alignment {align:#x} is not a power of two"),
            Self::Boundary(boundary) => write!(f, "boundary {boundary:#x} is not a power of two"),
            Self::BoundaryTooSmall { boundary, len } => {
                write!(
                    f,
                    "{len:#x} bytes always cross a boundary of {boundary:#x} bytes: ask for less, or for a larger boundary"
                )
            }
        }
    }
}

impl core::error::Error for FitError {}

/// A request for free space: a number of bytes inside a window, aligned, within a boundary.
///
/// Alignment and boundary hold for the address *as seen from elsewhere*: the local address plus the phase, modulo 2^64.
/// The window is in local addresses.
///
/// # Examples
/// An ISA DMA buffer lies below 16 MiB and crosses no multiple of 64 KiB:
///
/// ```
/// use pmem_space::{AddrRange, Fit};
///
/// let buffer = Fit::new(0x4000)?.align(0x1000)?.boundary(0x1_0000)?.window(AddrRange::new(0, 0x100_0000)?);
/// // The lowest 16 KiB of this gap, at 0x8e000, would cross 0x90000.
/// let gap = AddrRange::new(0x8_e000, 0x9_8000)?;
/// assert_eq!(buffer.lowest_in(gap), Some(AddrRange::sized(0x9_0000, 0x4000)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Creates a request for `len` bytes anywhere, first fit, without alignment.
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

    /// Restricts the place to `window`, in local addresses.
    #[must_use]
    pub const fn window(mut self, window: AddrRange) -> Self {
        self.window = window;
        self
    }

    /// Aligns the start, as seen from elsewhere, to a multiple of `align` bytes.
    ///
    /// # Errors
    /// [`FitError::Align`] if `align` is not a power of two.
    pub const fn align(mut self, align: u64) -> Result<Self, FitError> {
        if !align.is_power_of_two() {
            return Err(FitError::Align(align));
        }
        self.align = align;
        Ok(self)
    }

    /// Sets the phase: address `a` is seen from elsewhere at `a + phase`, modulo 2^64.
    ///
    /// # Examples
    /// A bridge shows its local address 0 to the CPU at 0xe000_8000. The BAR is aligned as the CPU sees it:
    ///
    /// ```
    /// use pmem_space::{AddrRange, Fit};
    ///
    /// let bar = Fit::new(0x4000)?.align(0x1_0000)?.phase(0xe000_8000);
    /// let place = bar.lowest_in(AddrRange::new(0, 0x4_0000)?).ok_or("no room")?;
    /// assert_eq!(place.start(), 0x8000);
    /// assert_eq!((place.start() + bar.phase_of()) % 0x1_0000, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn phase(mut self, phase: u64) -> Self {
        self.phase = phase;
        self
    }

    /// Keeps the place, as seen from elsewhere, from crossing a multiple of `boundary` bytes.
    ///
    /// # Errors
    /// [`FitError::Boundary`] if it is not a power of two, [`FitError::BoundaryTooSmall`] if it is below the length.
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

    /// Sets which of the places that fit the search returns.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Bounds the time of first and last fit. After about `visits` gaps that turn out not to fit, the search takes a
    /// gap that is certain to fit, though it may not hold the lowest or highest place
    /// ([`Found::exact`](crate::Found::exact)). If no gap is certain, it examines them all.
    #[must_use]
    pub const fn visits(mut self, visits: u32) -> Self {
        self.visits = visits;
        self
    }

    /// Returns the number of gaps that the search may try in vain; `u32::MAX` by default.
    #[must_use]
    pub const fn visits_of(&self) -> u32 {
        self.visits
    }

    /// Returns the window, in local addresses.
    #[must_use]
    pub const fn window_of(&self) -> AddrRange {
        self.window
    }

    /// Returns the length in bytes, which is never 0.
    #[expect(clippy::len_without_is_empty, reason = "it is never 0")]
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The former name of [`Self::len`].
    #[deprecated(note = "`len`")]
    #[must_use]
    pub const fn len_of(&self) -> u64 {
        self.len()
    }

    /// Returns the alignment in bytes of the start as seen from elsewhere: a power of two, 1 by default.
    #[must_use]
    pub const fn align_of(&self) -> u64 {
        self.align
    }

    /// Returns what is added to a local address, modulo 2^64, to give the address as seen from elsewhere.
    #[must_use]
    pub const fn phase_of(&self) -> u64 {
        self.phase
    }

    /// Returns the boundary in bytes, or `None` if there is none. A place, as seen from elsewhere, crosses no multiple
    /// of it.
    #[must_use]
    pub const fn boundary_of(&self) -> Option<u64> {
        self.boundary
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy_of(&self) -> Policy {
        self.policy
    }

    /// Returns whether `range` is a place that fits: its length, window, alignment and boundary.
    #[must_use]
    pub fn admits(&self, range: AddrRange) -> bool {
        let seen = range.start().wrapping_add(self.phase);
        range.len() == self.len
            && self.window.covers(range)
            && seen & (self.align - 1) == 0
            && self.keeps_boundary(seen)
    }

    /// Returns the lowest place inside `gap` that fits, if there is one.
    #[must_use]
    pub fn lowest_in(&self, gap: AddrRange) -> Option<AddrRange> {
        let gap = gap.intersect(self.window)?;
        let start = self.aligned_up(gap.start(), self.align)?;
        let seen = start.wrapping_add(self.phase);
        let start = if self.keeps_boundary(seen) {
            start
        } else {
            // Go to the next boundary. A place that starts on one cannot cross the next, as it is no longer than the
            // boundary. Of two powers of two the larger is a multiple of the other, so the place stays aligned.
            self.aligned_up(start, self.boundary.unwrap_or(1).max(self.align))?
        };
        AddrRange::sized(start, self.len).ok().filter(|place| gap.covers(*place))
    }

    /// Returns the highest place inside `gap` that fits, if there is one.
    #[must_use]
    pub fn highest_in(&self, gap: AddrRange) -> Option<AddrRange> {
        let gap = gap.intersect(self.window)?;
        let top = gap.last().checked_sub(self.len - 1)?;
        let start = self.aligned_down(top, self.align)?;
        let seen = start.wrapping_add(self.phase);
        let start = if self.keeps_boundary(seen) {
            start
        } else {
            // Move down until the last byte is the last one before the boundary, then align. Only an alignment smaller
            // than the boundary gets here, so aligning down cannot reach the boundary below.
            let boundary = self.boundary.unwrap_or(1);
            let over = seen.wrapping_add(self.len - 1) & (boundary - 1);
            self.aligned_down(start.checked_sub(over.checked_add(1)?)?, self.align)?
        };
        AddrRange::sized(start, self.len).ok().filter(|place| gap.covers(*place))
    }

    /// Whether the place seen at `seen` crosses no boundary: its first and last byte agree in the bits above it.
    fn keeps_boundary(&self, seen: u64) -> bool {
        self.boundary.is_none_or(|b| seen & !(b - 1) == seen.wrapping_add(self.len - 1) & !(b - 1))
    }

    /// The lowest address from `addr` up that is seen at a multiple of `align`, if there is one below 2^64.
    fn aligned_up(&self, addr: u64, align: u64) -> Option<u64> {
        let over = addr.wrapping_add(self.phase) & (align - 1);
        if over == 0 { Some(addr) } else { addr.checked_add(align - over) }
    }

    /// The highest address from `addr` down that is seen at a multiple of `align`, if there is one.
    fn aligned_down(&self, addr: u64, align: u64) -> Option<u64> {
        addr.checked_sub(addr.wrapping_add(self.phase) & (align - 1))
    }
}
