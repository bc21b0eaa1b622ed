//! The windows that a PCI bridge forwards downstream (PCI-to-PCI Bridge Architecture 1.2, section 3.2.5).
//!
//! Each window keeps its registers as they are. A window whose base is above its limit is closed. A window that
//! is not implemented reads as all zeros (section 3.2.5.9). Only a write can tell it from an open window at
//! address 0, so [`is_blank`](IoWindow::is_blank) reports the doubtful case.

/// The I/O window: a granule of 4 KiB, and 16 or 32 address bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IoWindow {
    /// The base register: address bits 15 to 12, and the number of address bits in the low half.
    pub base: u8,
    /// The limit register, laid out like the base. The last port is inclusive.
    pub limit: u8,
    /// The upper 16 bits of the base.
    pub base_upper: u16,
    /// The upper 16 bits of the limit.
    pub limit_upper: u16,
}

impl IoWindow {
    /// The granule of base and limit, in ports.
    pub const GRANULE: u64 = 0x1000;

    /// Creates a window from port `first` to port `last` inclusive, with 32 address bits if `wide`. Returns
    /// `None` if the range is not a whole number of granules or does not fit into the registers.
    #[must_use]
    pub const fn new(first: u64, last: u64, wide: bool) -> Option<Self> {
        let most = if wide { 0xffff_ffff } else { 0xffff };
        if first > last
            || last > most
            || !first.is_multiple_of(Self::GRANULE)
            || last % Self::GRANULE != Self::GRANULE - 1
        {
            return None;
        }
        let kind = wide as u8;
        Some(Self {
            base: (first >> 8) as u8 & 0xf0 | kind,
            limit: (last >> 8) as u8 & 0xf0 | kind,
            base_upper: (first >> 16) as u16,
            limit_upper: (last >> 16) as u16,
        })
    }

    /// Creates a closed window.
    #[must_use]
    pub const fn closed(wide: bool) -> Self {
        let kind = wide as u8;
        Self { base: 0xf0 | kind, limit: kind, base_upper: 0, limit_upper: 0 }
    }

    /// Returns `true` if the window has 32 address bits.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.base & 0xf == 1
    }

    /// Returns the first and the last port, both inclusive; `None` if the window is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let wide = self.is_wide() as u64;
        let first = (((self.base & 0xf0) as u64) << 8) | (wide * ((self.base_upper as u64) << 16));
        let last = (((self.limit & 0xf0) as u64) << 8) | (wide * ((self.limit_upper as u64) << 16)) | 0xfff;
        if first <= last { Some((first, last)) } else { None }
    }

    /// Returns `true` if all address bits are zero, as they are in a window that is not implemented.
    #[must_use]
    pub const fn is_blank(self) -> bool {
        (self.base | self.limit) & 0xf0 == 0 && self.base_upper == 0 && self.limit_upper == 0
    }
}

/// The memory window: a granule of 1 MiB, below 4 GiB. Every bridge has one.
///
/// # Examples
/// ```
/// use pmem_pci::MemoryWindow;
///
/// let window = MemoryWindow::new(0xfe40_0000, 0xfe9f_ffff).ok_or("not of whole MiB")?;
/// assert_eq!((window.base, window.limit), (0xfe40, 0xfe90));
/// assert_eq!(window.range(), Some((0xfe40_0000, 0xfe9f_ffff)));
/// assert_eq!(MemoryWindow::CLOSED.range(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryWindow {
    /// The base register: address bits 31 to 20.
    pub base: u16,
    /// The limit register, laid out like the base. The last address is inclusive.
    pub limit: u16,
}

impl MemoryWindow {
    /// The granule of base and limit, in bytes.
    pub const GRANULE: u64 = 0x10_0000;
    /// A closed window.
    pub const CLOSED: Self = Self { base: 0xfff0, limit: 0 };

    /// Creates a window from `first` to `last` inclusive. Returns `None` if the range is not a whole number of granules
    /// or ends above 4 GiB.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if last > 0xffff_ffff || !is_whole(first, last, Self::GRANULE) {
            return None;
        }
        Some(Self { base: (first >> 16) as u16 & 0xfff0, limit: (last >> 16) as u16 & 0xfff0 })
    }

    /// Returns the first and the last address, both inclusive; `None` if the window is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let first = ((self.base & 0xfff0) as u64) << 16;
        let last = ((self.limit & 0xfff0) as u64) << 16 | 0xf_ffff;
        if first <= last { Some((first, last)) } else { None }
    }
}

/// The prefetchable window: a granule of 1 MiB, and 32 or 64 address bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrefetchableWindow {
    /// The base register: address bits 31 to 20, and the number of address bits in the low four bits.
    pub base: u16,
    /// The limit register, laid out like the base. The last address is inclusive.
    pub limit: u16,
    /// The upper 32 bits of the base.
    pub base_upper: u32,
    /// The upper 32 bits of the limit.
    pub limit_upper: u32,
}

impl PrefetchableWindow {
    /// The granule of base and limit, in bytes.
    pub const GRANULE: u64 = 0x10_0000;

    /// Creates a window from `first` to `last` inclusive, with 64 address bits if `wide`. Returns `None` if the
    /// range is not a whole number of granules or does not fit into the registers.
    #[must_use]
    pub const fn new(first: u64, last: u64, wide: bool) -> Option<Self> {
        if (!wide && last > 0xffff_ffff) || !is_whole(first, last, Self::GRANULE) {
            return None;
        }
        let kind = wide as u16;
        Some(Self {
            base: (first >> 16) as u16 & 0xfff0 | kind,
            limit: (last >> 16) as u16 & 0xfff0 | kind,
            base_upper: (first >> 32) as u32,
            limit_upper: (last >> 32) as u32,
        })
    }

    /// Creates a closed window.
    #[must_use]
    pub const fn closed(wide: bool) -> Self {
        let kind = wide as u16;
        Self { base: 0xfff0 | kind, limit: kind, base_upper: 0, limit_upper: 0 }
    }

    /// Returns `true` if the window has 64 address bits.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.base & 0xf == 1
    }

    /// Returns the first and the last address, both inclusive; `None` if the window is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let wide = self.is_wide() as u64;
        let first = (((self.base & 0xfff0) as u64) << 16) | (wide * ((self.base_upper as u64) << 32));
        let last =
            (((self.limit & 0xfff0) as u64) << 16) | (wide * ((self.limit_upper as u64) << 32)) | 0xf_ffff;
        if first <= last { Some((first, last)) } else { None }
    }

    /// Returns `true` if all address bits are zero, as they are in a window that is not implemented.
    #[must_use]
    pub const fn is_blank(self) -> bool {
        (self.base | self.limit) & 0xfff0 == 0 && self.base_upper == 0 && self.limit_upper == 0
    }
}

const fn is_whole(first: u64, last: u64, granule: u64) -> bool {
    first <= last && first.is_multiple_of(granule) && last % granule == granule - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn closed_windows_have_no_range() {
        for wide in [false, true] {
            assert_eq!(IoWindow::closed(wide).range(), None);
            assert_eq!(PrefetchableWindow::closed(wide).range(), None);
            assert!(!IoWindow::closed(wide).is_blank() && !PrefetchableWindow::closed(wide).is_blank());
        }
        assert_eq!(MemoryWindow::CLOSED.range(), None);
        assert!(IoWindow { base: 1, limit: 1, ..IoWindow::default() }.is_blank());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(IoWindow::new(0x1_0000, 0x1_0fff, false), None, "above 64 KiB");
        assert_eq!(IoWindow::new(0x1000, 0x17ff, true), None, "half a step");
        assert_eq!(MemoryWindow::new(0xfff0_0000, 0x1_000f_ffff), None, "across 4 GiB");
        assert_eq!(PrefetchableWindow::new(0x1_0000_0000, 0x1_000f_ffff, false), None, "above 4 GiB");
        assert_eq!(PrefetchableWindow::new(0x10_0000, 0xf_ffff, true), None, "empty");
    }

    proptest! {
        #[test]
        fn windows_are_what_they_were_made_of(base in 0u64..0xffff, steps in 1u64..0x100, wide: bool, high: u32) {
            let (first, last) = (base << 12, ((base + steps) << 12) - 1);
            if let Some(window) = IoWindow::new(first, last, wide) {
                prop_assert_eq!((window.range(), window.is_wide()), (Some((first, last)), wide));
            } else {
                prop_assert!(!wide && last > 0xffff);
            }
            let first = base << 20 | if wide { u64::from(high) << 32 } else { 0 };
            let Some(last) = first.checked_add((steps << 20) - 1) else { return Ok(()) };
            if let Some(window) = PrefetchableWindow::new(first, last, wide) {
                prop_assert_eq!((window.range(), window.is_wide()), (Some((first, last)), wide));
            } else {
                prop_assert!(!wide && last > 0xffff_ffff);
            }
            match MemoryWindow::new(first, last) {
                Some(window) => prop_assert_eq!(window.range(), Some((first, last))),
                None => prop_assert!(last > 0xffff_ffff),
            }
        }
    }
}
