//! What the addresses of an arena are, and what a region is used for, with the proposal's numbers.

use bitflags::bitflags;
use core::fmt;

bitflags! {
    /// The type of an arena (`enum pmem_type`; the values from 0x08 on are ours).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct ArenaType: u16 {
        /// Memory.
        const RAM = 0x01;
        /// Read-only memory.
        const ROM = 0x02;
        /// The memory space of a PCI bus.
        const PCI = 0x04;
        /// I/O ports.
        const IO = 0x08;
        /// Bus numbers.
        const BUS = 0x10;
        /// What an initiator sees: a CPU's or the system's view of the bus.
        const VIEW = 0x20;
        /// Memory behind CXL.
        const CXL = 0x40;
    }

    /// What a region is used for (`enum pmem_use`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Usage: u8 {
        /// Instructions.
        const TEXT = 0x01;
        /// Buffers that devices read and write.
        const DMABUF = 0x02;
        /// Data.
        const DATA = 0x04;
        /// Device registers.
        const DEVREGS = 0x08;
        /// A frame buffer.
        const FRAMEBUF = 0x10;
        /// Bad: never handed out.
        const BROKEN = 0x20;
    }

    /// What accesses are let through (`enum pmem_prot`).
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
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Props: u8 {
        /// Write-through caching.
        const WTHRU = 0x01;
        /// Write-back caching.
        const WBACK = 0x02;
        /// Write combining.
        const WCOMB = 0x04;
        /// No caching.
        const UNCACHED = 0x08;
        /// Reads have no side effects.
        const PREFETCH = 0x10;
    }
}

impl Props {
    /// The bits of which at most one may be set.
    pub const CACHING: Self = Self::WTHRU.union(Self::WBACK).union(Self::WCOMB).union(Self::UNCACHED);

    /// The caching mode, if one is given.
    pub fn caching(self) -> Self {
        self & Self::CACHING
    }
}

impl Prot {
    /// Loads and stores.
    pub const RW: Self = Self::READ.union(Self::WRITE);
    /// Loads, stores and fetches.
    pub const RWX: Self = Self::RW.union(Self::EXEC);
}

macro_rules! words {
    ($($flags:ty),*) => {$(
        impl $flags {
            /// The flags as lower-case words joined by `+`, or `-` for none.
            pub fn words(self) -> impl fmt::Display {
                Words(move || self.iter_names().map(|(name, _)| name))
            }

            /// Reads what [`Self::words`] writes; `None` if a word is no flag.
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

/// Starts the words over each time they are shown.
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

/// Usage, protection and properties, of a region or as the default of primed space.
///
/// # Invariants
/// At most one caching mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attrs {
    usage: Usage,
    prot: Prot,
    props: Props,
}

/// Two caching modes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachingConflict(pub Props);

impl fmt::Display for CachingConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than one caching mode: {}", self.0.words())
    }
}

impl core::error::Error for CachingConflict {}

impl Attrs {
    /// Makes attributes: the only door.
    ///
    /// # Errors
    /// [`CachingConflict`] if `props` holds more than one of WTHRU, WBACK, WCOMB and UNCACHED.
    pub fn new(usage: Usage, prot: Prot, props: Props) -> Result<Self, CachingConflict> {
        if props.caching().bits().count_ones() > 1 {
            return Err(CachingConflict(props.caching()));
        }
        Ok(Self { usage, prot, props })
    }

    /// Data that may be read and written, cached write-back: what RAM is primed with.
    pub const fn ram() -> Self {
        Self { usage: Usage::DATA, prot: Prot::RWX, props: Props::WBACK }
    }

    /// Uncached device registers: what bus space is primed with.
    pub const fn device() -> Self {
        Self { usage: Usage::DEVREGS, prot: Prot::RW, props: Props::UNCACHED }
    }

    /// What it is used for.
    pub const fn usage(self) -> Usage {
        self.usage
    }

    /// What accesses are let through.
    pub const fn prot(self) -> Prot {
        self.prot
    }

    /// How accesses are carried out.
    pub const fn props(self) -> Props {
        self.props
    }

    /// The same with another usage.
    #[must_use]
    pub const fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same with another protection.
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
