//! How an interconnect turns addresses of one arena into addresses of the other.

mod interleave;
mod table;
mod window;

pub use interleave::Interleave;
pub use table::Table;
pub use window::{Admits, Window, Windows};

use alloc::vec::Vec;
use pmem_space::AddrRange;

/// A function from the addresses of one arena to those of another; partial, except for [`Mapping::Identity`].
///
/// A mapping either *claims* its input, so that nothing else in the arena may decode it, or *yields*: it takes
/// only what the arena decodes in no other way, as a subtractive decoder does (PCI Local Bus 3.0, 3.6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapping {
    /// Lets nothing through.
    #[default]
    Closed,
    /// Every address to the same address; yields (`pmem_mapping_identity` of the proposal).
    Identity,
    /// Ranges moved by an offset; a bridge's windows.
    Windows(Windows),
    /// One target's share of an interleaved range; claims it together with the other targets.
    Interleave(Interleave),
    /// A translation table such as an IOMMU's: claims its input range, in which each alias is an entry.
    Table(Table),
}

/// Why numbers do not make a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The granule is no power of two.
    #[error("granule {0:#x} is not a power of two")]
    Granule(u64),
    /// A bound is no multiple of the granule.
    #[error("{range} is not a multiple of the granule {granule:#x}")]
    Misaligned {
        /// The range.
        range: AddrRange,
        /// The granule in bytes.
        granule: u64,
    },
    /// The range leaves the limit.
    #[error("{range} leaves its limit {limit}")]
    Limit {
        /// The range.
        range: AddrRange,
        /// What it must stay within.
        limit: AddrRange,
    },
    /// The output would wrap at 2^64.
    #[error("{range} moved by {offset:#x} wraps past 2^64")]
    Wraps {
        /// The input.
        range: AddrRange,
        /// What is added to it.
        offset: u64,
    },
    /// Two windows of one mapping take the same input.
    #[error("windows {0} and {1} overlap")]
    Overlap(AddrRange, AddrRange),
    /// The number of targets is none that a decoder has (CXL 3.1, 8.2.4.20.7: 1, 2, 4, 8, 16, 3, 6, 12).
    #[error("{0} interleave ways: not 1, 2, 3, 4, 6, 8, 12 or 16")]
    Ways(u8),
    /// The granularity is none that a decoder has (256 bytes to 16 KiB, powers of two).
    #[error("interleave granularity {0} is not a power of two from 256 to 16384")]
    Granularity(u32),
    /// The position is not below the number of targets.
    #[error("interleave position {position} of {ways} ways")]
    Position {
        /// The position.
        position: u8,
        /// The number of targets.
        ways: u8,
    },
}

impl Mapping {
    /// One fixed window: `input` to the addresses that start at `output`.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the output would end past 2^64.
    pub fn window(input: AddrRange, output: u64) -> Result<Self, MappingError> {
        Ok(Self::Windows(Windows::new([Window::fixed(input, output)?])?))
    }

    /// Fixed windows: each `input` to the addresses that start at its `output`.
    ///
    /// # Errors
    /// [`MappingError`] if an output wraps or two inputs overlap.
    pub fn windows(pairs: impl IntoIterator<Item = (AddrRange, u64)>) -> Result<Self, MappingError> {
        let windows: Result<Vec<_>, _> =
            pairs.into_iter().map(|(input, output)| Window::fixed(input, output)).collect();
        Ok(Self::Windows(Windows::new(windows?)?))
    }

    /// What serves the other direction unless told otherwise: the inverse, as a mapping that yields.
    ///
    /// A table and an interleave have none: an IOMMU translates what devices access, not what CPUs do.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self {
            Self::Identity => Self::Identity,
            Self::Windows(windows) => Self::Windows(windows.inverse()),
            Self::Closed | Self::Interleave(_) | Self::Table(_) => Self::Closed,
        }
    }

    /// Whether both lead the same addresses to the same places, or may: all is alike but the floors of windows.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Windows(windows), Self::Windows(others)) => windows.is_alike(others),
            _ => self == other,
        }
    }

    /// The windows, of which the other kinds have none.
    pub(crate) fn pieces(&self) -> &[Window] {
        match self {
            Self::Windows(windows) => windows.pieces(),
            _ => &[],
        }
    }

    /// Whether it takes only what nothing else in the arena decodes.
    pub fn yields(&self) -> bool {
        match self {
            Self::Identity => true,
            Self::Windows(windows) => windows.yields(),
            _ => false,
        }
    }

    /// Whether it lets nothing through, now or ever.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
