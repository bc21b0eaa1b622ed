//! A unit's registers (11.4): their offsets, bits and values. Offsets and widths are in bytes.

use crate::bits::{bit, bits};

/// Version, 4 bytes.
pub const VERSION: u64 = 0x00;
/// [`Capability`], 8 bytes.
pub const CAPABILITY: u64 = 0x08;
/// [`ExtendedCapability`], 8 bytes.
pub const EXTENDED_CAPABILITY: u64 = 0x10;
/// Global command, 4 bytes. Its bits follow below.
pub const COMMAND: u64 = 0x18;
/// Global status, 4 bytes, with the same bits as [`COMMAND`].
pub const STATUS: u64 = 0x1c;
/// The address of the root table, 8 bytes.
pub const ROOT_TABLE: u64 = 0x20;
/// Context command, 8 bytes: see [`context_command`].
pub const CONTEXT_COMMAND: u64 = 0x28;
/// Fault status, 4 bytes: see [`super::Status`].
pub const FAULT_STATUS: u64 = 0x34;
/// Fault event control, 4 bytes. Bit 31 masks the interrupt.
pub const FAULT_CONTROL: u64 = 0x38;
/// Protected memory enable, 4 bytes.
pub const PROTECTED_MEMORY: u64 = 0x64;
/// The head of the queue, 8 bytes: the byte offset of the descriptor that the unit fetches next.
pub const QUEUE_HEAD: u64 = 0x80;
/// The tail of the queue, 8 bytes: the byte offset at which software writes the next descriptor.
pub const QUEUE_TAIL: u64 = 0x88;
/// The address of the queue, 8 bytes. Its size is 2^(bits 2:0) pages.
pub const QUEUE_ADDRESS: u64 = 0x90;

/// [`COMMAND`]: enables translation.
pub const TRANSLATION: u32 = 1 << 31;
/// [`COMMAND`]: makes the unit use the root table in [`ROOT_TABLE`].
pub const SET_ROOT_TABLE: u32 = 1 << 30;
/// [`COMMAND`]: flushes buffered writes to tables in memory.
pub const FLUSH_WRITES: u32 = 1 << 27;
/// [`COMMAND`]: enables the invalidation queue.
pub const QUEUE: u32 = 1 << 26;
/// [`COMMAND`]: enables interrupt remapping.
pub const INTERRUPTS: u32 = 1 << 25;
/// The bits of [`COMMAND`] that persist. The others trigger a single action, and then read as 0 or as done
/// (11.4.4).
pub const LASTING: u32 = TRANSLATION | QUEUE | INTERRUPTS | 1 << 28 | 1 << 23;

/// The capabilities of a unit.
///
/// # Examples
///
/// The register of a client CPU, as Linux prints it at boot:
///
/// ```
/// use pmem_iommu::vtd::Capability;
///
/// let cap = Capability(0x00d2_008c_4066_0462);
/// assert_eq!((cap.domains(), cap.width()), (256, 39));
/// assert!(cap.walks(4) && !cap.walks(3));
/// assert!(cap.invalidates_pages());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability(pub u64);

impl Capability {
    /// Returns the number of domains that the unit supports.
    #[must_use]
    pub const fn domains(self) -> u32 {
        1 << (4 + 2 * bits(self.0, 2, 0) as u32)
    }

    /// Returns whether software must flush writes to memory before the unit sees them.
    #[must_use]
    pub const fn needs_flush(self) -> bool {
        bit(self.0, 4)
    }

    /// Returns whether the unit can cache that an address is unmapped, as emulated units do.
    #[must_use]
    pub const fn caches_absent(self) -> bool {
        bit(self.0, 7)
    }

    /// Returns whether the unit walks tables with this number of levels.
    #[must_use]
    pub const fn walks(self, levels: u8) -> bool {
        3 <= levels && levels <= 5 && bit(self.0, 8 + levels as u32 - 2)
    }

    /// Returns the width of the input addresses, in bits (MGAW).
    #[must_use]
    pub const fn width(self) -> u32 {
        bits(self.0, 21, 16) as u32 + 1
    }

    /// Returns the supported large pages. Bit 0: 2 MiB. Bit 1: 1 GiB.
    #[must_use]
    pub const fn large_pages(self) -> u8 {
        bits(self.0, 37, 34) as u8
    }

    /// Returns whether single pages can be invalidated.
    #[must_use]
    pub const fn invalidates_pages(self) -> bool {
        bit(self.0, 39)
    }

    /// Returns the largest number of pages that one command can invalidate, as a power of two.
    #[must_use]
    pub const fn most_pages(self) -> u32 {
        bits(self.0, 53, 48) as u32
    }

    /// Returns the offset of the fault records, and their number.
    #[must_use]
    pub const fn faults(self) -> (u64, u32) {
        (bits(self.0, 33, 24) * 16, bits(self.0, 47, 40) as u32 + 1)
    }
}

/// More capabilities of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedCapability(pub u64);

impl ExtendedCapability {
    /// Returns whether table walks snoop processor caches.
    #[must_use]
    pub const fn is_coherent(self) -> bool {
        bit(self.0, 0)
    }

    /// Returns whether the unit has an invalidation queue.
    #[must_use]
    pub const fn has_queue(self) -> bool {
        bit(self.0, 1)
    }

    /// Returns whether devices can request translations (ATS).
    #[must_use]
    pub const fn has_ats(self) -> bool {
        bit(self.0, 2)
    }

    /// Returns whether the unit can remap interrupts.
    #[must_use]
    pub const fn remaps_interrupts(self) -> bool {
        bit(self.0, 3)
    }

    /// Returns whether the unit can pass requests of chosen devices untranslated.
    #[must_use]
    pub const fn passes_through(self) -> bool {
        bit(self.0, 6)
    }

    /// Returns whether the unit has tables for requests with PASID (scalable mode).
    #[must_use]
    pub const fn is_scalable(self) -> bool {
        bit(self.0, 43)
    }

    /// Returns the offset of the registers that invalidate translations: first the address register, 8 bytes
    /// further the command register.
    #[must_use]
    pub const fn invalidation(self) -> u64 {
        bits(self.0, 17, 8) * 16
    }
}

/// Bit 63 of [`CONTEXT_COMMAND`] and of the register that invalidates translations: the command is still running.
pub const BUSY: u64 = 1 << 63;
/// [`CONTEXT_COMMAND`]: the bits that report which scope was invalidated (11.4.5); 0 if the command was wrong.
pub const CONTEXTS_DONE: u64 = 3 << 59;
/// In the register that invalidates translations: the bits that report which scope was invalidated (11.4.8.1); 0 if
/// the command was wrong.
pub const TRANSLATIONS_DONE: u64 = 3 << 57;

/// Returns the value for [`CONTEXT_COMMAND`] that invalidates all context entries (11.4.5).
#[must_use]
pub const fn context_command() -> u64 {
    BUSY | 1 << 61
}

/// Returns the command that invalidates the translations of a domain, or all if `domain` is `None` (11.4.8). It
/// drains pending reads and writes first.
#[must_use]
pub const fn translation_command(domain: Option<u16>) -> u64 {
    let drain = 3 << 48;
    match domain {
        None => BUSY | 1 << 60 | drain,
        Some(domain) => BUSY | 2 << 60 | drain | (domain as u64) << 32,
    }
}

/// Returns the address and the command that invalidate 2^`order` pages of a domain. Write the address first. With
/// `tables`, cached tables are invalidated as well.
#[must_use]
pub const fn page_command(domain: u16, address: u64, order: u32, tables: bool) -> (u64, u64) {
    let hint = if tables { 0 } else { 1 << 6 };
    (address & !0xfff | hint | (order as u64 & 0x3f), BUSY | 3 << 60 | 3 << 48 | (domain as u64) << 32)
}
