//! Types of arenas and attributes of regions, with the proposal's numbers.

use bitflags::bitflags;
use core::fmt;

bitflags! {
    /// The type of an arena (`enum pmem_type`; the values from 0x08 up are pmem's own).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct ArenaType: u16 {
        /// Random-access memory.
        const RAM = 0x01;
        /// Read-only memory.
        const ROM = 0x02;
        /// The memory space of a PCI bus.
        const PCI = 0x04;
        /// I/O ports.
        const IO = 0x08;
        /// PCI bus numbers.
        const BUS = 0x10;
        /// An initiator's view: the addresses that a CPU, or the system as a whole, sees on the bus.
        const VIEW = 0x20;
        /// Memory behind CXL.
        const CXL = 0x40;
    }

    /// What a region is used for (`enum pmem_use`).
    ///
    /// # Examples
    /// A network card's receive ring holds data that the device writes:
    ///
    /// ```
    /// use pmem_space::Usage;
    ///
    /// let ring = Usage::DATA | Usage::DMABUF;
    /// assert_eq!(ring.words().to_string(), "dmabuf+data");
    /// assert_eq!(Usage::from_words("dmabuf+data"), Some(ring));
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Usage: u8 {
        /// Code: instructions that processors fetch.
        const TEXT = 0x01;
        /// Buffers that devices read and write.
        const DMABUF = 0x02;
        /// Data that processors load and store.
        const DATA = 0x04;
        /// Device registers.
        const DEVREGS = 0x08;
        /// A framebuffer.
        const FRAMEBUF = 0x10;
        /// Broken memory, which is never allocated.
        const BROKEN = 0x20;
    }

    /// Which accesses are allowed (`enum pmem_prot`).
    ///
    /// # Examples
    /// An option ROM allows loads and fetches, but no stores:
    ///
    /// ```
    /// use pmem_space::Prot;
    ///
    /// let rom = Prot::READ | Prot::EXEC;
    /// assert!(!rom.contains(Prot::WRITE));
    /// assert_eq!(rom & Prot::RW, Prot::READ);
    /// assert_eq!(rom.words().to_string(), "read+exec");
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Prot: u8 {
        /// Loads.
        const READ = 0x01;
        /// Stores.
        const WRITE = 0x02;
        /// Instruction fetches.
        const EXEC = 0x04;
    }

    /// How accesses are carried out (`enum pmem_props`).
    ///
    /// # Examples
    /// A prefetchable BAR can be mapped write-combining:
    ///
    /// ```
    /// use pmem_space::Props;
    ///
    /// let bar = Props::PREFETCH | Props::WCOMB;
    /// assert_eq!(bar.caching(), Props::WCOMB);
    /// assert_eq!(bar.words().to_string(), "wcomb+prefetch");
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Props: u8 {
        /// Write-through caching.
        const WTHRU = 0x01;
        /// Write-back caching.
        const WBACK = 0x02;
        /// Write-combining.
        const WCOMB = 0x04;
        /// Uncached.
        const UNCACHED = 0x08;
        /// Prefetchable: reads have no side effects.
        const PREFETCH = 0x10;
    }
}

impl Props {
    /// The caching modes. At most one of these bits may be set.
    pub const CACHING: Self = Self::WTHRU.union(Self::WBACK).union(Self::WCOMB).union(Self::UNCACHED);

    /// Returns the caching-mode bits alone; empty if no mode is set.
    #[must_use]
    pub fn caching(self) -> Self {
        self & Self::CACHING
    }
}

impl Prot {
    /// Loads and stores.
    pub const RW: Self = Self::READ.union(Self::WRITE);
    /// Loads, stores and instruction fetches.
    pub const RWX: Self = Self::RW.union(Self::EXEC);
}

macro_rules! words {
    ($($flags:ty),*) => {$(
        impl $flags {
            /// Displays the flags as lower-case words joined by `+`, or as `-` if none is set.
            pub fn words(self) -> impl fmt::Display {
                Words(move || self.iter_names().map(|(name, _)| name))
            }

            /// Parses what [`Self::words`] displays, in either case; `None` if a word is not a flag.
            pub fn from_words(text: &str) -> Option<Self> {
                if text == "-" {
                    return Some(Self::empty());
                }
                text.split('+').try_fold(Self::empty(), |all, word| {
                    let (_, flag) = Self::all().iter_names().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
                    Some(all | flag)
                })
            }
        }
    )*};
}
words!(ArenaType, Usage, Prot, Props);

/// Displays names of flags. Holds a closure rather than an iterator, so that it can be displayed repeatedly.
struct Words<F>(F);

impl<F: Fn() -> I, I: Iterator<Item = &'static str>> fmt::Display for Words<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for name in (self.0)() {
            if any {
                f.write_str("+")?;
            }
            any = true;
            name.chars().try_for_each(|c| write!(f, "{}", c.to_ascii_lowercase()))?;
        }
        if any { Ok(()) } else { f.write_str("-") }
    }
}

/// The usage, protection and properties of a region, or the defaults that space is primed with.
///
/// # Invariants
/// At most one caching mode is set.
///
/// # Examples
/// A framebuffer is mapped write-combining. No region has two caching modes at once:
///
/// ```
/// use pmem_space::{Attrs, Props, Prot, Usage};
///
/// let framebuffer = Attrs::new(Usage::FRAMEBUF, Prot::RW, Props::WCOMB)?;
/// assert_eq!(framebuffer.to_string(), "framebuf read+write wcomb");
///
/// let read_only = framebuffer.with_prot(Prot::READ);
/// assert_eq!(read_only.props(), Props::WCOMB);
/// assert!(Attrs::new(Usage::DATA, Prot::RW, Props::WBACK | Props::WTHRU).is_err());
/// # Ok::<(), pmem_space::CachingConflict>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attrs {
    usage: Usage,
    prot: Prot,
    props: Props,
}

/// The error for more than one caching mode; holds the modes that conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachingConflict(pub Props);

impl fmt::Display for CachingConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conflicting caching modes: {} (choose one)", self.0.words())
    }
}

impl core::error::Error for CachingConflict {}

impl Attrs {
    /// Creates attributes. Every other constructor fixes the properties, so two caching modes never get in.
    ///
    /// # Errors
    /// [`CachingConflict`] if `props` holds more than one of `WTHRU`, `WBACK`, `WCOMB` and `UNCACHED`.
    pub fn new(usage: Usage, prot: Prot, props: Props) -> Result<Self, CachingConflict> {
        if props.caching().bits().count_ones() > 1 {
            return Err(CachingConflict(props.caching()));
        }
        Ok(Self { usage, prot, props })
    }

    /// Returns the defaults of RAM: data that can be read, written and executed, cached write-back.
    #[must_use]
    pub const fn ram() -> Self {
        Self { usage: Usage::DATA, prot: Prot::RWX, props: Props::WBACK }
    }

    /// Returns the defaults of bus space: device registers that can be read and written, uncached.
    #[must_use]
    pub const fn device() -> Self {
        Self { usage: Usage::DEVREGS, prot: Prot::RW, props: Props::UNCACHED }
    }

    /// Returns what the addresses are used for.
    #[must_use]
    pub const fn usage(self) -> Usage {
        self.usage
    }

    /// Returns which accesses are allowed.
    #[must_use]
    pub const fn prot(self) -> Prot {
        self.prot
    }

    /// Returns how accesses are carried out.
    #[must_use]
    pub const fn props(self) -> Props {
        self.props
    }

    /// Returns these attributes with another usage.
    #[must_use]
    pub const fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// Returns these attributes with another protection.
    #[must_use]
    pub const fn with_prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }
}

impl fmt::Display for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.usage.words(), self.prot.words(), self.props.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_numbers_are_the_proposals() {
        assert_eq!((Props::WTHRU.bits(), Props::WBACK.bits(), Props::WCOMB.bits()), (1, 2, 4));
        assert_eq!((Props::UNCACHED.bits(), Props::PREFETCH.bits()), (8, 0x10));
        assert_eq!((Prot::READ.bits(), Prot::WRITE.bits(), Prot::EXEC.bits()), (1, 2, 4));
        assert_eq!((ArenaType::RAM.bits(), ArenaType::ROM.bits(), ArenaType::PCI.bits()), (1, 2, 4));
        let uses = [Usage::TEXT, Usage::DMABUF, Usage::DATA, Usage::DEVREGS, Usage::FRAMEBUF, Usage::BROKEN];
        assert_eq!(uses.map(|u| u.bits()), [1, 2, 4, 8, 0x10, 0x20]);
    }

    #[test]
    fn two_caching_modes_are_refused() {
        let both = Props::WBACK | Props::WCOMB;
        assert_eq!(Attrs::new(Usage::DATA, Prot::RW, both | Props::PREFETCH), Err(CachingConflict(both)));
        assert!(Attrs::new(Usage::DATA, Prot::RW, Props::WCOMB | Props::PREFETCH).is_ok());
    }

    #[test]
    fn words_are_read_back() {
        assert_eq!(Prot::RW.words().to_string(), "read+write");
        assert_eq!(Prot::from_words("read+write"), Some(Prot::RW));
        assert_eq!(Usage::empty().words().to_string(), "-");
        assert_eq!(Usage::from_words("-"), Some(Usage::empty()));
        assert_eq!(Props::from_words("fast"), None);
    }
}
