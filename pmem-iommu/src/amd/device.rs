//! Device table entries (2.2.2.1), 32 bytes each. They select a requester's page tables and control its interrupts.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// How a requester's accesses are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They pass untranslated (mode 0).
    Passed,
    /// They are translated by page tables.
    Translated {
        /// The address of the root table.
        table: u64,
        /// The number of levels, 1 to 6.
        levels: u8,
    },
}

/// How fixed and arbitrated interrupts are handled (bits 189:188).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptControl {
    /// They are aborted: a write to the interrupt range is an error.
    Refused,
    /// They pass unmapped.
    Passed,
    /// They are remapped.
    Remapped,
    /// A reserved value.
    Reserved,
}

/// A device table entry as four 64-bit words, lowest first.
///
/// # Examples
///
/// ```
/// use pmem_iommu::RequesterId;
/// use pmem_iommu::amd::{DeviceEntry, Mode};
///
/// // Give the NIC at 3b:00.0 the page tables of domain 9.
/// let mode = Mode::Translated { table: 0x7000, levels: 3 };
/// let entry = DeviceEntry::new(mode, 9);
/// assert_eq!(DeviceEntry::at(0x10_0000, RequesterId::new(0x3b, 0, 0)), 0x17_6000);
/// assert_eq!((entry.mode(), entry.permits()), (Some(mode), (true, true)));
/// assert_eq!(DeviceEntry::refused().permits(), (false, false));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceEntry(pub [u64; 4]);

impl DeviceEntry {
    /// Returns the address of a requester's entry in the device table at `table`.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 32 * id.0 as u64
    }

    /// Creates an entry that allows reads and writes, in the given mode and domain. The entry does not control
    /// interrupts, so they pass unmapped.
    #[must_use]
    pub const fn new(mode: Mode, domain: u16) -> Self {
        let (levels, table) = match mode {
            Mode::Passed => (0, 0),
            Mode::Translated { table, levels } => (levels as u64 & 7, table & 0xf_ffff_ffff_f000),
        };
        Self([table | levels << 9 | 3 << 61 | 3, domain as u64, 0, 0])
    }

    /// Creates an entry that allows neither reads nor writes. It does not control interrupts, so they pass
    /// unmapped: an I/O APIC sends its interrupts with a requester id too.
    #[must_use]
    pub const fn refused() -> Self {
        Self([3, 0, 0, 0])
    }

    /// Returns whether the entry is valid. Accesses of a requester without a valid entry pass untranslated.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        bit(self.0[0], 0)
    }

    /// Returns how accesses are handled; `None` if the entry does not control them.
    #[must_use]
    pub const fn mode(self) -> Option<Mode> {
        let [low, ..] = self.0;
        if !(bit(low, 0) && bit(low, 1)) {
            return None;
        }
        match bits(low, 11, 9) as u8 {
            0 => Some(Mode::Passed),
            levels => Some(Mode::Translated { table: low & 0xf_ffff_ffff_f000, levels }),
        }
    }

    /// Returns whether the entry allows reads, and whether it allows writes. The page tables can restrict both
    /// further.
    #[must_use]
    pub const fn permits(self) -> (bool, bool) {
        (bit(self.0[0], 61), bit(self.0[0], 62))
    }

    /// Returns whether the requester has guest page tables, and whether it can make page requests. The control
    /// register must enable both.
    #[must_use]
    pub const fn has_guest(self) -> (bool, bool) {
        (bit(self.0[0], 55), bit(self.0[0], 52))
    }

    /// Returns the domain.
    #[must_use]
    pub const fn domain(self) -> u16 {
        bits(self.0[1], 15, 0) as u16
    }

    /// Returns how interrupts are handled; `None` if the entry does not control them.
    #[must_use]
    pub const fn interrupts(self) -> Option<InterruptControl> {
        if !bit(self.0[2], 0) {
            return None;
        }
        Some(match bits(self.0[2], 61, 60) {
            0 => InterruptControl::Refused,
            1 => InterruptControl::Passed,
            2 => InterruptControl::Remapped,
            _ => InterruptControl::Reserved,
        })
    }
}
