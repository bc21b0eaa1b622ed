//! What firmware says that memory is: one vocabulary for every map, whoever reads it.

use core::fmt;

/// What a range of a firmware's memory map is.
///
/// E820 (ACPI 6.5, section 15) and UEFI (UEFI 2.10, section 7.2) number these differently, and Linux, FreeBSD and boot loaders name
/// them in their own words; this is what they mean.
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
    /// Memory for anybody.
    Usable,
    /// Memory of the boot loader and of firmware's boot services: for anybody once the kernel runs.
    Boot,
    /// Memory that has to be accepted first, as guests under TDX and SEV-SNP do (EFI 15).
    Unaccepted,
    /// Memory that firmware means for a special purpose, such as high bandwidth (EFI attribute `SP`; E820 `soft reserved`).
    SpecialPurpose,
    /// Memory that keeps its content without power (E820 7, EFI 14).
    Persistent,
    /// Memory of firmware's services that stay while the system runs.
    Runtime,
    /// Memory with ACPI's tables, for anybody once they are read.
    AcpiTables,
    /// Memory that firmware keeps across sleep.
    AcpiNvs,
    /// Kept by firmware: memory, or addresses that something else decodes, nobody says which.
    Reserved,
    /// Memory that does not work.
    Unusable,
    /// Addresses of devices.
    Mmio,
    /// A type that is not defined.
    Unknown,
}

impl FirmwareMemory {
    /// The attribute of an EFI descriptor that marks memory for a special purpose.
    pub const EFI_SPECIAL_PURPOSE: u64 = 0x4_0000;

    /// What a type of E820 means (ACPI 6.5, table 15.3; 7 and 12 are persistent, 0xefffffff is Linux's `soft reserved`).
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

    /// What a type of UEFI means, given the descriptor's attributes (UEFI 2.10, table 7.10).
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

    /// Whether it surely is memory, and so is to be cached.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        !matches!(self, Self::Reserved | Self::Unusable | Self::Mmio | Self::Unknown)
    }

    /// Whether an operating system hands it out as it hands out any memory.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Usable | Self::Boot | Self::Unaccepted)
    }

    /// What of two ranges that overlap holds where they do, as Linux has it: the higher type of E820 wins, so that what is reserved is
    /// never handed out.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        if self.is_usable() { other } else { self }
    }

    /// What it is, in Linux's words.
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
