//! What a PCI bridge forwards downstream (PCI-to-PCI Bridge Architecture 1.2, section 3.2.5).
//!
//! Each window is kept as its registers hold it. A window whose base is above its limit is closed. Base and limit of zero with
//! nothing above are what a register reads that is not there (section 3.2.5.9): whether it is, only writing tells, so that
//! [`is_blank`](IoWindow::is_blank) says that this is in doubt.

/// The I/O window: steps of 4 KiB, of 16 or 32 address bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IoWindow {
    /// The base register: four address bits, and how wide it is.
    pub base: u8,
    /// The limit register.
    pub limit: u8,
    /// The upper half of the base.
    pub base_upper: u16,
    /// The upper half of the limit.
    pub limit_upper: u16,
}

impl IoWindow {
    /// The step of base and limit, in ports.
    pub const GRANULE: u64 = 0x1000;

    /// The registers for a window from `first` to `last`, of 32 address bits if `wide`; `None` if it is not of whole steps, or does
    /// not fit.
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

    /// A closed window.
    #[must_use]
    pub const fn closed(wide: bool) -> Self {
        let kind = wide as u8;
        Self { base: 0xf0 | kind, limit: kind, base_upper: 0, limit_upper: 0 }
    }

    /// Whether it has 32 address bits.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.base & 0xf == 1
    }

    /// The first and the last port; `None` if it is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let wide = self.is_wide() as u64;
        let first = (((self.base & 0xf0) as u64) << 8) | (wide * ((self.base_upper as u64) << 16));
        let last = (((self.limit & 0xf0) as u64) << 8) | (wide * ((self.limit_upper as u64) << 16)) | 0xfff;
        if first <= last { Some((first, last)) } else { None }
    }

    /// Whether all that it holds is zero, as it is where it is not implemented.
    #[must_use]
    pub const fn is_blank(self) -> bool {
        (self.base | self.limit) & 0xf0 == 0 && self.base_upper == 0 && self.limit_upper == 0
    }
}

/// The memory window: steps of 1 MiB, below 4 GiB. Every bridge has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryWindow {
    /// The base register: twelve address bits.
    pub base: u16,
    /// The limit register.
    pub limit: u16,
}

impl MemoryWindow {
    /// The step of base and limit, in bytes.
    pub const GRANULE: u64 = 0x10_0000;
    /// A closed window.
    pub const CLOSED: Self = Self { base: 0xfff0, limit: 0 };

    /// The registers for a window from `first` to `last`; `None` if it is not of whole steps, or does not fit.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if last > 0xffff_ffff || !is_whole(first, last, Self::GRANULE) {
            return None;
        }
        Some(Self { base: (first >> 16) as u16 & 0xfff0, limit: (last >> 16) as u16 & 0xfff0 })
    }

    /// The first and the last address; `None` if it is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let first = ((self.base & 0xfff0) as u64) << 16;
        let last = ((self.limit & 0xfff0) as u64) << 16 | 0xf_ffff;
        if first <= last { Some((first, last)) } else { None }
    }
}

/// The prefetchable window: steps of 1 MiB, of 32 or 64 address bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrefetchableWindow {
    /// The base register: twelve address bits, and how wide it is.
    pub base: u16,
    /// The limit register.
    pub limit: u16,
    /// The upper half of the base.
    pub base_upper: u32,
    /// The upper half of the limit.
    pub limit_upper: u32,
}

impl PrefetchableWindow {
    /// The step of base and limit, in bytes.
    pub const GRANULE: u64 = 0x10_0000;

    /// The registers for a window from `first` to `last`, of 64 address bits if `wide`; `None` if it is not of whole steps, or does
    /// not fit.
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

    /// A closed window.
    #[must_use]
    pub const fn closed(wide: bool) -> Self {
        let kind = wide as u16;
        Self { base: 0xfff0 | kind, limit: kind, base_upper: 0, limit_upper: 0 }
    }

    /// Whether it has 64 address bits.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.base & 0xf == 1
    }

    /// The first and the last address; `None` if it is closed.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        let wide = self.is_wide() as u64;
        let first = (((self.base & 0xfff0) as u64) << 16) | (wide * ((self.base_upper as u64) << 32));
        let last =
            (((self.limit & 0xfff0) as u64) << 16) | (wide * ((self.limit_upper as u64) << 32)) | 0xf_ffff;
        if first <= last { Some((first, last)) } else { None }
    }

    /// Whether all that it holds is zero, as it is where it is not implemented.
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
