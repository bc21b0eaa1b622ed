//! The kinds of memory that firmware reports: one vocabulary for every memory map, whichever firmware made it.

use core::fmt;

/// The kind of a range in a firmware memory map.
///
/// E820 (ACPI 6.5, section 15) and UEFI (UEFI 2.10, section 7.2) number the kinds differently, and Linux, FreeBSD and
/// boot loaders have their own names for them. This type is what they all mean.
///
/// # Examples
/// Decoding entries of both maps:
///
/// ```
/// use pmem_space::FirmwareMemory;
///
/// assert_eq!(FirmwareMemory::from_e820(1), FirmwareMemory::Usable);
/// assert_eq!(FirmwareMemory::from_efi(7, FirmwareMemory::EFI_SPECIAL_PURPOSE), FirmwareMemory::SpecialPurpose);
/// assert!(FirmwareMemory::AcpiNvs.is_memory() && !FirmwareMemory::AcpiNvs.is_usable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FirmwareMemory {
    /// Memory that anybody can use.
    Usable,
    /// Memory of the boot loader or of firmware's boot services, which anybody can use once the kernel runs.
    Boot,
    /// Memory that a guest under TDX or SEV-SNP must accept before it uses it (EFI type 15).
    Unaccepted,
    /// Memory that firmware sets aside for a special purpose, such as high bandwidth (EFI attribute `SP`; E820
    /// `soft reserved`).
    SpecialPurpose,
    /// Memory that keeps its contents without power (E820 types 7 and 12, EFI type 14).
    Persistent,
    /// Memory of firmware services that stay while the system runs.
    Runtime,
    /// Memory that holds ACPI tables, which anybody can use once they are read.
    AcpiTables,
    /// Memory that firmware keeps across sleep.
    AcpiNvs,
    /// Kept by firmware: memory, or addresses that something else decodes; the map does not say which.
    Reserved,
    /// Memory that does not work.
    Unusable,
    /// Device addresses.
    Mmio,
    /// A type that the specifications do not define.
    Unknown,
}

impl FirmwareMemory {
    /// The EFI descriptor attribute (`SP`) that marks memory set aside for a special purpose.
    pub const EFI_SPECIAL_PURPOSE: u64 = 0x4_0000;

    /// Decodes an E820 type (ACPI 6.5, table 15.3; 7 and 12 are persistent, 0xefffffff is Linux's `soft reserved`).
    #[must_use]
    pub const fn from_e820(kind: u32) -> Self {
        match kind {
            1 => Self::Usable,
            2 => Self::Reserved,
            3 => Self::AcpiTables,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 | 12 => Self::Persistent,
            0xefff_ffff => Self::SpecialPurpose,
            _ => Self::Unknown,
        }
    }

    /// Decodes a UEFI memory type, given the descriptor's attributes (UEFI 2.10, table 7.10).
    #[must_use]
    pub const fn from_efi(kind: u32, attributes: u64) -> Self {
        match kind {
            0 => Self::Reserved,
            1..=4 => Self::Boot,
            5 | 6 => Self::Runtime,
            7 if attributes & Self::EFI_SPECIAL_PURPOSE != 0 => Self::SpecialPurpose,
            7 => Self::Usable,
            8 => Self::Unusable,
            9 => Self::AcpiTables,
            10 => Self::AcpiNvs,
            11 | 12 => Self::Mmio,
            13 => Self::Runtime,
            14 => Self::Persistent,
            15 => Self::Unaccepted,
            _ => Self::Unknown,
        }
    }

    /// Returns whether this is certainly memory, and so should be cached.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        !matches!(self, Self::Reserved | Self::Unusable | Self::Mmio | Self::Unknown)
    }

    /// Returns whether an operating system allocates this like any other memory.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Usable | Self::Boot | Self::Unaccepted)
    }

    /// Returns the kind that holds where ranges of two kinds overlap: `other` if this kind is usable, else this kind.
    /// As in Linux, where the higher E820 type wins, reserved memory is thus never allocated.
    ///
    /// # Examples
    /// Two entries overlap; the reserved one wins, whichever comes first:
    ///
    /// ```
    /// use pmem_space::FirmwareMemory::{Reserved, Usable};
    ///
    /// assert_eq!(Usable.over(Reserved), Reserved);
    /// assert_eq!(Reserved.over(Usable), Reserved);
    /// ```
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        if self.is_usable() { other } else { self }
    }

    /// Returns the name, in Linux's words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Boot => "boot services",
            Self::Unaccepted => "unaccepted",
            Self::SpecialPurpose => "soft reserved",
            Self::Persistent => "persistent",
            Self::Runtime => "runtime services",
            Self::AcpiTables => "ACPI data",
            Self::AcpiNvs => "ACPI NVS",
            Self::Reserved => "reserved",
            Self::Unusable => "unusable",
            Self::Mmio => "MMIO",
            Self::Unknown => "unknown type",
        }
    }
}

impl fmt::Display for FirmwareMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_wins_over_usable_whichever_is_said_first() {
        for (a, b) in [
            (FirmwareMemory::Usable, FirmwareMemory::Reserved),
            (FirmwareMemory::Boot, FirmwareMemory::AcpiNvs),
        ] {
            assert_eq!((a.over(b), b.over(a)), (b, b));
        }
    }

    /// ACPI 6.5, table 15.3, with what Linux adds; UEFI 2.10, table 7.10.
    #[test]
    fn the_numbers_are_the_specifications() {
        use FirmwareMemory::*;
        let e820: [FirmwareMemory; 13] = core::array::from_fn(|kind| FirmwareMemory::from_e820(kind as u32));
        let unknown = Unknown;
        assert_eq!(e820[..6], [unknown, Usable, Reserved, AcpiTables, AcpiNvs, Unusable]);
        assert_eq!(e820[6..], [unknown, Persistent, unknown, unknown, unknown, unknown, Persistent]);
        assert_eq!(FirmwareMemory::from_e820(0xefff_ffff), SpecialPurpose);
        let efi: [FirmwareMemory; 17] = core::array::from_fn(|kind| FirmwareMemory::from_efi(kind as u32, 0));
        assert_eq!(efi[..8], [Reserved, Boot, Boot, Boot, Boot, Runtime, Runtime, Usable]);
        assert_eq!(
            efi[8..],
            [Unusable, AcpiTables, AcpiNvs, Mmio, Mmio, Runtime, Persistent, Unaccepted, unknown]
        );
        let special = |kind| FirmwareMemory::from_efi(kind, FirmwareMemory::EFI_SPECIAL_PURPOSE);
        assert_eq!((special(7), special(3), special(14)), (SpecialPurpose, Boot, Persistent));
    }

    #[test]
    fn what_is_usable_is_memory() {
        for kind in (0..20)
            .map(FirmwareMemory::from_e820)
            .chain((0..20).map(|kind| FirmwareMemory::from_efi(kind, 0)))
        {
            assert!(kind.is_memory() || !kind.is_usable(), "{kind}");
        }
        assert_eq!(FirmwareMemory::from_e820(20), FirmwareMemory::Unknown);
    }
}
