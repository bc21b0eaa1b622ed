//! A unit's registers (11.4): where they are, and what they say. Offsets and widths are in bytes.

use crate::bits::{bit, bits};

/// Version, 4 bytes.
pub const VERSION: u64 = 0x00;
/// [`Capability`], 8 bytes.
pub const CAPABILITY: u64 = 0x08;
/// [`ExtendedCapability`], 8 bytes.
pub const EXTENDED_CAPABILITY: u64 = 0x10;
/// Global command, 4 bytes: see the bits below.
pub const COMMAND: u64 = 0x18;
/// Global status, 4 bytes: the same bits.
pub const STATUS: u64 = 0x1c;
/// Where the root table is, 8 bytes.
pub const ROOT_TABLE: u64 = 0x20;
/// Context command, 8 bytes: see [`context_command`].
pub const CONTEXT_COMMAND: u64 = 0x28;
/// Fault status, 4 bytes: see [`super::Status`].
pub const FAULT_STATUS: u64 = 0x34;
/// Fault event control, 4 bytes: bit 31 masks interrupts.
pub const FAULT_CONTROL: u64 = 0x38;
/// Protected memory, 4 bytes.
pub const PROTECTED_MEMORY: u64 = 0x64;
/// The queue's head, 8 bytes: the byte offset of the descriptor that the unit fetches next.
pub const QUEUE_HEAD: u64 = 0x80;
/// The queue's tail, 8 bytes: the byte offset of the descriptor that is written next.
pub const QUEUE_TAIL: u64 = 0x88;
/// Where the queue is, 8 bytes: its size is 2^(bits 2:0) pages.
pub const QUEUE_ADDRESS: u64 = 0x90;

/// [`COMMAND`]: addresses are translated.
pub const TRANSLATION: u32 = 1 << 31;
/// [`COMMAND`]: the root table is the one that [`ROOT_TABLE`] says.
pub const SET_ROOT_TABLE: u32 = 1 << 30;
/// [`COMMAND`]: what is buffered for tables in memory is written.
pub const FLUSH_WRITES: u32 = 1 << 27;
/// [`COMMAND`]: the queue is fetched.
pub const QUEUE: u32 = 1 << 26;
/// [`COMMAND`]: interrupts are remapped.
pub const INTERRUPTS: u32 = 1 << 25;
/// Bits of the command that stay; the others are done once and read as 0 or as done (11.4.4).
pub const LASTING: u32 = TRANSLATION | QUEUE | INTERRUPTS | 1 << 28 | 1 << 23;

/// What a unit can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability(pub u64);

impl Capability {
    /// How many domains it tells apart.
    #[must_use]
    pub const fn domains(self) -> u32 {
        1 << (4 + 2 * bits(self.0, 2, 0) as u32)
    }

    /// Writes to memory must be flushed before it sees them.
    #[must_use]
    pub const fn needs_flush(self) -> bool {
        bit(self.0, 4)
    }

    /// It may remember that nothing is mapped: as emulated units do.
    #[must_use]
    pub const fn caches_absent(self) -> bool {
        bit(self.0, 7)
    }

    /// Whether tables of so many levels are walked.
    #[must_use]
    pub const fn walks(self, levels: u8) -> bool {
        3 <= levels && levels <= 5 && bit(self.0, 8 + levels as u32 - 2)
    }

    /// Bits of the addresses that it takes (MGAW).
    #[must_use]
    pub const fn width(self) -> u32 {
        bits(self.0, 21, 16) as u32 + 1
    }

    /// Bit 0: pages of 2 MiB, bit 1: of 1 GiB.
    #[must_use]
    pub const fn large_pages(self) -> u8 {
        bits(self.0, 37, 34) as u8
    }

    /// Single pages can be invalidated.
    #[must_use]
    pub const fn invalidates_pages(self) -> bool {
        bit(self.0, 39)
    }

    /// Up to 2^this pages can be invalidated at once.
    #[must_use]
    pub const fn most_pages(self) -> u32 {
        bits(self.0, 53, 48) as u32
    }

    /// Where its fault records are, and how many.
    #[must_use]
    pub const fn faults(self) -> (u64, u32) {
        (bits(self.0, 33, 24) * 16, bits(self.0, 47, 40) as u32 + 1)
    }
}

/// What else it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedCapability(pub u64);

impl ExtendedCapability {
    /// It looks into processors' caches when it walks tables.
    #[must_use]
    pub const fn is_coherent(self) -> bool {
        bit(self.0, 0)
    }

    /// It has a queue of invalidations.
    #[must_use]
    pub const fn has_queue(self) -> bool {
        bit(self.0, 1)
    }

    /// Devices may ask for translations.
    #[must_use]
    pub const fn has_ats(self) -> bool {
        bit(self.0, 2)
    }

    /// It remaps interrupts.
    #[must_use]
    pub const fn remaps_interrupts(self) -> bool {
        bit(self.0, 3)
    }

    /// Devices can be let through untranslated.
    #[must_use]
    pub const fn passes_through(self) -> bool {
        bit(self.0, 6)
    }

    /// It has tables for requests with PASID (scalable mode).
    #[must_use]
    pub const fn is_scalable(self) -> bool {
        bit(self.0, 43)
    }

    /// Where the registers are by which translations are invalidated: an address, and eight bytes on the command.
    #[must_use]
    pub const fn invalidation(self) -> u64 {
        bits(self.0, 17, 8) * 16
    }
}

/// Bit 63 of [`CONTEXT_COMMAND`] and of the register that invalidates translations: it is not done yet.
pub const BUSY: u64 = 1 << 63;
/// Bits of [`CONTEXT_COMMAND`] that say how many contexts were forgotten (11.4.5); 0 if the command was wrong.
pub const CONTEXTS_DONE: u64 = 3 << 59;
/// Bits of the register that invalidates translations that say how many were forgotten (11.4.8.1); 0 if the command was wrong.
pub const TRANSLATIONS_DONE: u64 = 3 << 57;

/// What is written to [`CONTEXT_COMMAND`] to have all contexts forgotten (11.4.5).
#[must_use]
pub const fn context_command() -> u64 {
    BUSY | 1 << 61
}

/// What is written to have a domain's translations forgotten, or all (11.4.8): reads and writes that wait are finished before.
#[must_use]
pub const fn translation_command(domain: Option<u16>) -> u64 {
    let drain = 3 << 48;
    match domain {
        None => BUSY | 1 << 60 | drain,
        Some(domain) => BUSY | 2 << 60 | drain | (domain as u64) << 32,
    }
}

/// What is written to have 2^`order` pages of a domain forgotten: first the address, then the command. `tables` has what is kept of tables
/// forgotten as well.
#[must_use]
pub const fn page_command(domain: u16, address: u64, order: u32, tables: bool) -> (u64, u64) {
    let hint = if tables { 0 } else { 1 << 6 };
    (address & !0xfff | hint | (order as u64 & 0x3f), BUSY | 3 << 60 | 3 << 48 | (domain as u64) << 32)
}
