//! Entries of the device table (2.2.2.1), of 32 bytes: which table a requester has, and what becomes of its interrupts.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// What becomes of a requester's accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// They are let through as they are (mode 0).
    Passed,
    /// They are translated by a table of so many levels, 1 to 6.
    Translated {
        /// The table.
        table: u64,
        /// Its levels.
        levels: u8,
    },
}

/// What becomes of interrupts of fixed or arbitrated kind (bits 189:188).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptControl {
    /// They are refused: a write to the range of interrupts is an error.
    Refused,
    /// They are let through as they are.
    Passed,
    /// They are remapped.
    Remapped,
    /// Reserved.
    Reserved,
}

/// An entry, as the four words that it has; words are given, the lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceEntry(pub [u64; 4]);

impl DeviceEntry {
    /// Where the entry of a requester is.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 32 * id.0 as u64
    }

    /// Accesses as the mode says, read and write, of a domain. It says nothing of interrupts, which then pass as they are.
    #[must_use]
    pub const fn new(mode: Mode, domain: u16) -> Self {
        let (levels, table) = match mode {
            Mode::Passed => (0, 0),
            Mode::Translated { table, levels } => (levels as u64 & 7, table & 0xf_ffff_ffff_f000),
        };
        Self([table | levels << 9 | 3 << 61 | 3, domain as u64, 0, 0])
    }

    /// One of a requester that may neither read nor write. It says nothing of interrupts, which then pass as they are: those of an I/O APIC
    /// come by an id as well.
    #[must_use]
    pub const fn refused() -> Self {
        Self([3, 0, 0, 0])
    }

    /// Whether it says anything; accesses of a requester without a valid entry are let through.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        bit(self.0[0], 0)
    }

    /// What becomes of accesses; `None` if the entry says nothing of them.
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

    /// Whether reads are let through, and writes, as far as the tables permit them.
    #[must_use]
    pub const fn permits(self) -> (bool, bool) {
        (bit(self.0[0], 61), bit(self.0[0], 62))
    }

    /// Whether the requester has a guest's tables, and page requests: both need what the control register enables.
    #[must_use]
    pub const fn has_guest(self) -> (bool, bool) {
        (bit(self.0[0], 55), bit(self.0[0], 52))
    }

    /// The domain.
    #[must_use]
    pub const fn domain(self) -> u16 {
        bits(self.0[1], 15, 0) as u16
    }

    /// What becomes of interrupts; `None` if the entry says nothing of them.
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
