//! Base address registers (PCI Local Bus 3.0, section 6.2.5.1).

use core::fmt;

/// What a base address register decodes, as far as its value says: not how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// I/O ports.
    Io {
        /// The first port; the two lowest bits are not part of it.
        base: u32,
    },
    /// Memory.
    Memory {
        /// The first address; the four lowest bits are not part of it.
        base: u64,
        /// The register takes two slots, and its address 64 bits.
        wide: bool,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

impl Bar {
    /// Reads the register in `slots[n]`, and in the next slot where it is 64 bits wide; `None` if there is no such slot, it is the
    /// upper half of another, or half of it is missing.
    ///
    /// A slot of zero is not told from a register that holds address 0: both read as memory at 0.
    #[must_use]
    pub fn decode(slots: &[u32], n: usize) -> Option<Self> {
        bars(slots).find(|(slot, _)| *slot == n).map(|(_, bar)| bar)
    }

    /// What the register's slots hold: one, or two.
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

    /// The first port or address.
    #[must_use]
    pub const fn base(self) -> u64 {
        match self {
            Self::Io { base } => base as u64,
            Self::Memory { base, .. } => base,
        }
    }

    /// Whether it decodes I/O ports rather than memory.
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

/// The registers in a header's slots, each with the slot that it begins in. The upper half of a 64-bit register is no register of
/// its own; a 64-bit register without room for its upper half is left out.
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
                let base = (high as u64) << 32 | (low & !0xf) as u64;
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
