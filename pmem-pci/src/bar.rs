//! Base address registers (PCI Local Bus 3.0, section 6.2.5.1).

use core::fmt;

/// The value of a base address register (BAR): what it decodes, and where. The size is not part of the value.
///
/// # Examples
/// A 64-bit prefetchable BAR takes two slots of the header; an I/O BAR follows it:
/// ```
/// use pmem_pci::Bar;
///
/// let slots = [0xe000_000c, 0x38, 0xe001];
/// let framebuffer = Bar::Memory { base: 0x38_e000_0000, wide: true, prefetchable: true };
/// assert_eq!(Bar::decode(&slots, 0), Some(framebuffer));
/// assert_eq!(Bar::decode(&slots, 1), None, "the upper half of slot 0");
/// assert_eq!(Bar::decode(&slots, 2), Some(Bar::Io { base: 0xe000 }));
/// assert_eq!(framebuffer.encode(), (0xe000_000c, Some(0x38)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// A range of I/O ports.
    Io {
        /// The first port. The two lowest bits of the register are not part of it.
        base: u32,
    },
    /// A range of memory addresses.
    Memory {
        /// The first address on the bus. The four lowest bits of the register are not part of it.
        base: u64,
        /// Whether the address has 64 bits, so that the register takes two slots.
        wide: bool,
        /// Whether reads have no side effects, so that a bridge may prefetch.
        prefetchable: bool,
    },
}

impl Bar {
    /// Decodes the register that begins in `slots[n]`, including the next slot if it is 64 bits wide. Returns
    /// `None` if there is no such slot, if the slot is the upper half of another register, or if the upper half
    /// is missing.
    ///
    /// An unimplemented BAR cannot be distinguished from one that holds address 0: both decode as memory at 0.
    #[must_use]
    pub fn decode(slots: &[u32], n: usize) -> Option<Self> {
        bars(slots).find(|(slot, _)| *slot == n).map(|(_, bar)| bar)
    }

    /// Returns the contents of the register's slots: the lower half, and the upper half if it is 64 bits wide.
    #[must_use]
    pub const fn encode(self) -> (u32, Option<u32>) {
        match self {
            Self::Io { base } => (base & !3 | 1, None),
            Self::Memory { base, wide, prefetchable } => {
                let low = base as u32 & !0xf | (prefetchable as u32) << 3 | (wide as u32) << 2;
                (low, if wide { Some((base >> 32) as u32) } else { None })
            }
        }
    }

    /// Returns the first port or address.
    #[must_use]
    pub const fn base(self) -> u64 {
        match self {
            Self::Io { base } => base as u64,
            Self::Memory { base, .. } => base,
        }
    }

    /// Returns `true` if the register decodes I/O ports rather than memory.
    #[must_use]
    pub const fn is_io(self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { base } => write!(f, "I/O at {base:#x}"),
            Self::Memory { base, wide, prefetchable } => {
                let (bits, pref) =
                    (if *wide { 64 } else { 32 }, if *prefetchable { ", prefetchable" } else { "" });
                write!(f, "memory at {base:#x} ({bits}-bit{pref})")
            }
        }
    }
}

/// Iterates over the BARs in a header's slots, each with the index of the slot it begins in. The upper half of
/// a 64-bit BAR is skipped. A 64-bit BAR in the last slot has no upper half and is left out.
pub fn bars(slots: &[u32]) -> impl Iterator<Item = (usize, Bar)> + '_ {
    let mut next = 0;
    core::iter::from_fn(move || {
        loop {
            let n = next;
            let low = *slots.get(n)?;
            next += 1;
            if low & 1 != 0 {
                return Some((n, Bar::Io { base: low & !3 }));
            }
            let (wide, prefetchable) = (low & 6 == 4, low & 8 != 0);
            let high = if wide { slots.get(next).copied() } else { Some(0) };
            next += usize::from(wide);
            if let Some(high) = high {
                let base = u64::from(high) << 32 | u64::from(low & !0xf);
                return Some((n, Bar::Memory { base, wide, prefetchable }));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_wide_register_takes_two_slots() {
        let slots = [0xe000_000c, 0x38, 0x0000_e001, 0, 0xfe84_0000, 0xf000_0004];
        let all: Vec<_> = bars(&slots).collect();
        assert_eq!(
            all,
            [
                (0, Bar::Memory { base: 0x38_e000_0000, wide: true, prefetchable: true }),
                (2, Bar::Io { base: 0xe000 }),
                (3, Bar::Memory { base: 0, wide: false, prefetchable: false }),
                (4, Bar::Memory { base: 0xfe84_0000, wide: false, prefetchable: false }),
            ],
            "and the last one has no room for its upper half"
        );
        assert_eq!(Bar::decode(&slots, 1), None);
        assert_eq!(Bar::decode(&slots, 2), Some(Bar::Io { base: 0xe000 }));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(base: u64, wide: bool, prefetchable: bool, io: bool) {
            let bar = match io {
                true => Bar::Io { base: base as u32 & !3 },
                false => {
                    let base = if wide { base } else { base & 0xffff_ffff };
                    Bar::Memory { base: base & !0xf, wide, prefetchable }
                }
            };
            let (low, high) = bar.encode();
            prop_assert_eq!(Bar::decode(&[low, high.unwrap_or(0)], 0), Some(bar));
        }
    }
}
