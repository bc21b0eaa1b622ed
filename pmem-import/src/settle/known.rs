//! What an architecture defines at an address, whether or not a source lists it.

use pmem_core::AddrRange;

/// A range that an architecture gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// The first address.
    pub first: u64,
    /// The last address, inclusive.
    pub last: u64,
    /// What is there.
    pub name: &'static str,
    /// Applies only to processors of AMD and compatible ones.
    amd: bool,
}

impl WellKnown {
    /// Returns its addresses.
    #[must_use]
    pub fn range(&self) -> AddrRange {
        AddrRange::inclusive(self.first, self.last).unwrap_or(AddrRange::ALL)
    }
}

const fn known(first: u64, last: u64, name: &'static str) -> WellKnown {
    WellKnown { first, last, name, amd: false }
}

/// A PC's fixed ranges (Intel SDM volume 3, 11.4.1 and 11.11; chipset datasheets; AMD I/O
/// Virtualization 3.07, 2.1.2).
const PC: &[WellKnown] = &[
    known(0xa_0000, 0xb_ffff, "legacy VGA frame buffer"),
    known(0xc_0000, 0xd_ffff, "legacy option ROMs"),
    known(0xe_0000, 0xf_ffff, "legacy system ROM"),
    known(0xfec0_0000, 0xfec0_0fff, "I/O APIC"),
    known(0xfed0_0000, 0xfed0_03ff, "HPET"),
    known(0xfed4_0000, 0xfed4_4fff, "TPM"),
    known(0xfee0_0000, 0xfeef_ffff, "local APIC and message signalled interrupts"),
    WellKnown {
        first: 0xfd_0000_0000,
        last: 0xff_ffff_ffff,
        name: "HyperTransport's own addresses: no memory, no devices, no DMA",
        amd: true,
    },
];

/// Returns what the architecture defines at an address.
pub fn well_known(addr: u64, is_x86: bool, is_amd: bool) -> Option<&'static WellKnown> {
    PC.iter().find(|known| is_x86 && (is_amd || !known.amd) && (known.first..=known.last).contains(&addr))
}
