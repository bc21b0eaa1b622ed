//! Kernel messages that bear on addresses: what the kernel did, and the numbers that it started from.

use super::ResourceKind;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// A kernel's remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// SRAT covers only part of RAM.
    Covered {
        /// MiB that are in nodes.
        covered: u64,
        /// MiB of RAM.
        ram: u64,
    },
    /// RAM that belongs to no node.
    NoNode(AddrRange),
    /// The kernel rejected SLIT.
    DistancesRefused,
    /// The kernel clipped a host bridge's window.
    Clipped {
        /// First and last address before, inclusive; the last may be below the first.
        window: (u64, u64),
        /// The e820 entry that it was clipped for; `None` if the kernel does not say.
        entry: Option<AddrRange>,
    },
    /// A host bridge's window, in the words of old kernels: first and last address, inclusive.
    HostWindow(u64, u64),
    /// Configuration space that is not reserved.
    EcamUnreserved {
        /// Its addresses.
        range: AddrRange,
        /// It is reserved nowhere, so the kernel does not use it. Otherwise only ACPI's devices do not reserve it.
        anywhere: bool,
    },
    /// Configuration space that covers only some buses: the first and last one, inclusive.
    EcamPartial(u8, u8),
    /// The kernel found a BAR or window that no window above forwards.
    Unclaimed {
        /// The function.
        function: Address,
        /// The register.
        kind: ResourceKind,
        /// Its addresses.
        range: AddrRange,
    },
    /// The kernel assigned a BAR or window.
    Assigned {
        /// The function.
        function: Address,
        /// The register.
        kind: ResourceKind,
        /// Its addresses.
        range: AddrRange,
    },
    /// EFI memory-mapped I/O that the kernel removed from its map.
    EfiMmio(AddrRange),
    /// DMAR lists an IOMMU at address 0.
    UnitAtZero,
    /// An IOMMU whose registers read as all ones; their address.
    UnitSilent(u64),
    /// Id of an I/O APIC that the IOMMU's table lacks.
    IoApicMissing(u32),
    /// EFI's map has an invalid entry.
    EfiInvalid,
    /// A range of persistent memory that is not aligned.
    Misaligned(AddrRange),
    /// Two device tree nodes overlap: name, first address and end (exclusive) of each.
    NodesOverlap([(String, u64, u64); 2]),
    /// A device tree node that reserves memory: name, first address and end (exclusive).
    NodeReserves(String, u64, u64),
    /// The kernel's own image was not marked as RAM.
    ImageNotRam,
    /// A range that the kernel removed from its map.
    Removed(AddrRange),
    /// Memory below the kernel's start, which it does not use.
    BelowKernel(AddrRange),
    /// `memmap=` on the command line: length in bytes, `$` (reserved) or `!` (persistent), first address.
    MemMap(u64, char, u64),
    /// A CXL device's decoder lies in no CXL window.
    NoWindow {
        /// The device.
        device: String,
        /// The decoder.
        decoder: String,
        /// Its addresses.
        range: AddrRange,
    },
    /// A CXL window has a target that does not exist.
    NoTarget(AddrRange),
    /// CXL ranges that the kernel finds out of order: the region's, and the other.
    Order(AddrRange, AddrRange),
    /// A CXL port's decoder is not programmed as the region needs.
    Setup {
        /// The port.
        port: String,
        /// Interleave ways and granularity in bytes that the region needs.
        wanted: (u32, u32),
        /// Interleave ways and granularity in bytes that the decoder has.
        found: (u32, u32),
        /// The decoder is committed.
        enabled: bool,
        /// The region's addresses.
        range: AddrRange,
    },
    /// Hot-plugged memory that is not a whole number of blocks: bytes per block, first address, length in bytes.
    HotPlug(u64, u64, u64),
}
