//! The entries of a [`Space`](crate::Space): ranges, and what occupies them.

use crate::range::AddrRange;

/// What occupies an address of a [`Space`](crate::Space).
///
/// # Examples
/// An aperture is opened, a BAR is placed in it, and the rest is sealed:
///
/// ```
/// use pmem_space::{AddrRange, Occupant, Space};
///
/// let mut space = Space::new();
/// let aperture = AddrRange::sized(0xe000_0000, 0x10_0000)?;
/// assert_eq!(space.at(0xe000_0000).occupant, Occupant::Hole);
/// space.open(aperture);
/// assert_eq!(space.at(0xe000_0000).occupant, Occupant::Gap);
/// space.insert(AddrRange::sized(0xe000_0000, 0x4000)?, "nvme0 BAR 0")?;
/// space.seal(aperture);
/// assert_eq!(space.at(0xe000_0000).occupant, Occupant::Taken("nvme0 BAR 0"));
/// assert_eq!(space.at(0xe000_4000).occupant, Occupant::Sealed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant<T> {
    /// Free space: it can be allocated.
    Gap,
    /// No address space here: nothing can be allocated until it is opened.
    Hole,
    /// Address space from which nothing more can be allocated.
    Sealed,
    /// Taken; holds the value that was inserted.
    Taken(T),
}

/// A range, and what occupies all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The addresses. Gaps, holes and sealed space are as long as they can be: neighbours of one kind are one entry.
    pub range: AddrRange,
    /// What occupies the addresses.
    pub occupant: Occupant<T>,
}
