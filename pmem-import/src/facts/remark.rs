//! What kernels remark of addresses: evidence of what the kernel did, and of numbers that it had before it.

use super::ResourceKind;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// SRAT covers so many MiB of so many of RAM.
    Covered {
        /// MiB in nodes.
        covered: u64,
        /// MiB of RAM.
        ram: u64,
    },
    /// RAM that is in no node.
    NoNode(AddrRange),
    /// SLIT is not used.
    DistancesRefused,
    /// A window of a host bridge was cut.
    Clipped {
        /// Its first and last address before.
        window: (u64, u64),
        /// For the sake of what, where it is said.
        entry: Option<AddrRange>,
    },
    /// A window of a host bridge, in words of old kernels: the first and the last address.
    HostWindow(u64, u64),
    /// Configuration space that is not reserved: not among ACPI's devices, or nowhere.
    EcamUnreserved {
        /// Where it is.
        range: AddrRange,
        /// Nowhere.
        anywhere: bool,
    },
    /// Configuration space of some buses only, the first and the last.
    EcamPartial(u8, u8),
    /// A BAR or window that nothing above forwards, as the kernel sees it.
    Unclaimed {
        /// Whose.
        function: Address,
        /// What of it.
        kind: ResourceKind,
        /// Where.
        range: AddrRange,
    },
    /// A BAR or window that is assigned.
    Assigned {
        /// Whose.
        function: Address,
        /// What of it.
        kind: ResourceKind,
        /// Where.
        range: AddrRange,
    },
    /// EFI memory-mapped I/O that the kernel took out of its map.
    EfiMmio(AddrRange),
    /// An IOMMU at address 0.
    UnitAtZero,
    /// An IOMMU whose registers answer all ones.
    UnitSilent(u64),
    /// An I/O APIC that the table of an IOMMU lacks.
    IoApicMissing(u32),
    /// An entry of EFI's map that is none.
    EfiInvalid,
    /// A range of persistent memory that is not aligned.
    Misaligned(AddrRange),
    /// Two nodes of a device tree share memory: each with its name, its first address and its end.
    NodesOverlap([(String, u64, u64); 2]),
    /// A node of a device tree reserves memory: its name, its first address and its end.
    NodeReserves(String, u64, u64),
    /// The kernel's own image was not in RAM.
    ImageNotRam,
    /// A range that the kernel took out of the map.
    Removed(AddrRange),
    /// Memory below where the kernel begins is not used.
    BelowKernel(AddrRange),
    /// Memory settings of the command line: how many bytes, `$` or `!`, the first address.
    MemMap(u64, char, u64),
    /// A CXL device's decoder is in no window.
    NoWindow {
        /// The device.
        device: String,
        /// The decoder.
        decoder: String,
        /// Its addresses.
        range: AddrRange,
    },
    /// A CXL window has a target that is not there.
    NoTarget(AddrRange),
    /// CXL: ranges that are out of order, as the kernel sees it: that of the region, and the other.
    Order(AddrRange, AddrRange),
    /// CXL: a decoder of a bridge or switch is otherwise than the region wants it.
    Setup {
        /// The decoder: its port.
        port: String,
        /// Ways and bytes of a piece that are wanted.
        wanted: (u32, u32),
        /// Those that are there.
        found: (u32, u32),
        /// The decoder is in force.
        enabled: bool,
        /// The addresses.
        range: AddrRange,
    },
    /// Hot-plugged memory that is no whole block: bytes of a block, the first address, bytes.
    HotPlug(u64, u64, u64),
}
