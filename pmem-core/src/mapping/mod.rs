//! How an interconnect turns addresses of one arena into addresses of the other.

mod interleave;
mod table;
mod window;

pub use interleave::Interleave;
pub use table::Table;
pub use window::{Admits, Window, Windows};

use alloc::vec::Vec;
use pmem_space::AddrRange;

/// How one direction of an interconnect turns addresses of one arena into addresses of the other. Only
/// [`Mapping::Identity`] translates every address; the others are partial.
///
/// A mapping either *claims* its input, so that nothing else in the arena may decode it, or *yields*: it takes only
/// addresses that nothing else in the arena decodes, like a subtractive decoder (PCI Local Bus 3.0, 3.6.1).
///
/// # Examples
/// A host bridge shows the CPU a PCI bus at the addresses that the bus itself uses:
/// ```
/// use pmem_core::{AddrRange, Mapping};
///
/// let aperture = AddrRange::new(0xe000_0000, 0xf000_0000)?;
/// let down = Mapping::window(aperture, 0xe000_0000)?;
/// assert!(!down.yields(), "a window claims its input");
///
/// // Devices reach the CPU's side with what their own bus does not decode.
/// let up = down.inverse();
/// assert!(up.yields());
/// assert!(Mapping::Identity.yields());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapping {
    /// Lets nothing through.
    #[default]
    Closed,
    /// Passes every address on unchanged, and yields (`pmem_mapping_identity` of the proposal).
    Identity,
    /// Passes ranges on, each with an offset, like a bridge's windows. They claim or yield together.
    Windows(Windows),
    /// One target's share of an interleaved range. The shares of a set claim the range together.
    Interleave(Interleave),
    /// A translation table, such as an IOMMU's. It claims its input range; each alias in that range is an entry.
    Table(Table),
}

/// Why numbers do not make a valid mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The granule is not a power of two.
    #[error("granule {0:#x} is not a power of two")]
    Granule(u64),
    /// A bound is not a multiple of the granule; or an interleave's length is not a multiple of ways times granularity.
    #[error("{range} is not aligned to the granule {granule:#x}")]
    Misaligned {
        /// The range whose bound is misaligned.
        range: AddrRange,
        /// The granule, in bytes.
        granule: u64,
    },
    /// The range leaves the window's limit.
    #[error("{range} is not inside the limit {limit}")]
    Limit {
        /// The range.
        range: AddrRange,
        /// The limit it must stay within.
        limit: AddrRange,
    },
    /// The window floats. Only fixed windows can yield.
    #[error("the window within {0} floats: only fixed windows can yield")]
    Floating(AddrRange),
    /// The output would wrap past 2^64.
    #[error("{range} moved by {offset:#x} wraps past 2^64")]
    Wraps {
        /// The input range.
        range: AddrRange,
        /// The offset that is added to it.
        offset: u64,
    },
    /// Two windows of one mapping take the same input.
    #[error("windows {0} and {1} overlap")]
    Overlap(AddrRange, AddrRange),
    /// No decoder has this number of targets (CXL 3.1, 8.2.4.20.7: 1, 2, 4, 8, 16, 3, 6, 12).
    #[error("{0} interleave ways are not possible (expected 1, 2, 3, 4, 6, 8, 12 or 16)")]
    Ways(u8),
    /// No decoder has this granularity: it must be a power of two from 256 bytes to 16 KiB.
    #[error("interleave granularity {0} is not a power of two from 256 to 16384")]
    Granularity(u32),
    /// The position is not below the number of targets.
    #[error("interleave position {position} must be below the number of ways, {ways}")]
    Position {
        /// The position, from 0.
        position: u8,
        /// The number of targets.
        ways: u8,
    },
}

impl Mapping {
    /// Returns a mapping of one fixed window: `input` leads to the addresses that start at `output`.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the output would end past 2^64.
    pub fn window(input: AddrRange, output: u64) -> Result<Self, MappingError> {
        Ok(Self::Windows(Windows::new([Window::fixed(input, output)?])?))
    }

    /// Returns a mapping of fixed windows: each `input` leads to the addresses that start at its `output`.
    ///
    /// # Errors
    /// [`MappingError`] if an output wraps or two inputs overlap.
    pub fn windows(pairs: impl IntoIterator<Item = (AddrRange, u64)>) -> Result<Self, MappingError> {
        let windows: Result<Vec<_>, _> =
            pairs.into_iter().map(|(input, output)| Window::fixed(input, output)).collect();
        Ok(Self::Windows(Windows::new(windows?)?))
    }

    /// Returns the mapping that [`Manager::connect`](crate::Manager::connect) uses for the opposite direction: the
    /// inverse, as a mapping that yields.
    ///
    /// The inverse of a table or an interleave is [`Mapping::Closed`]: an IOMMU translates what devices access, not
    /// what CPUs access.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self {
            Self::Identity => Self::Identity,
            Self::Windows(windows) => Self::Windows(windows.inverse()),
            Self::Closed | Self::Interleave(_) | Self::Table(_) => Self::Closed,
        }
    }

    /// Whether both translate alike, now or after windows have moved: they differ at most in the floors of windows.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Windows(windows), Self::Windows(others)) => windows.is_alike(others),
            _ => self == other,
        }
    }

    /// Returns the windows; empty for the other kinds of mapping.
    pub(crate) fn pieces(&self) -> &[Window] {
        match self {
            Self::Windows(windows) => windows.pieces(),
            _ => &[],
        }
    }

    /// Whether the mapping takes only what nothing else in the arena decodes.
    #[must_use]
    pub fn yields(&self) -> bool {
        match self {
            Self::Identity => true,
            Self::Windows(windows) => windows.yields(),
            _ => false,
        }
    }

    /// Whether the mapping can never let anything through.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
