//! The rules, as `pmem lint --explain` prints them.

/// A lint rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's id, such as `N1`.
    pub id: &'static str,
    /// The severity of its findings; several are separated by commas, and `-` means that it makes none.
    pub severity: &'static str,
    /// What the rule finds.
    pub finds: &'static str,
    /// The reason or specification behind it, and what does not count.
    pub because: &'static str,
}

/// All rules: nodes, CXL, PCI, IOMMUs, the memory map, memory types, persistent and hot-plugged memory.
pub const RULES: &[Rule] = &[
    Rule {
        id: "N1",
        severity: "error",
        finds: "RAM (e820 usable, EFI conventional, boot and loader memory), 1 MiB or more above 1 MiB, in no enabled memory entry of SRAT; hot-pluggable entries and CXL windows count",
        because: "x86 Linux drops all of SRAT (numa_meminfo_cover_memory; memblock_validate_numa_coverage with 1 MiB of slack)",
    },
    Rule {
        id: "N2",
        severity: "error",
        finds: "enabled memory entries of different domains share addresses",
        because: "Linux refuses the table (numa_cleanup_meminfo). Entries are compared, never a kernel's sentence, whose range may be its own",
    },
    Rule {
        id: "N3",
        severity: "warn",
        finds: "enabled memory entries of one domain share addresses",
        because: "Linux joins them. Kernels of 2.6 print how far a node reaches so far: from such a log nothing is said",
    },
    Rule {
        id: "N4",
        severity: "-",
        finds: "an entry that is not enabled, or of no bytes",
        because: "it says nothing (ACPI 6.5, 5.2.16.2), and no finding is made of it",
    },
    Rule {
        id: "N5",
        severity: "info",
        finds: "a hot-pluggable entry with no RAM",
        because: "hypervisors list all of the space",
    },
    Rule {
        id: "N6",
        severity: "info",
        finds: "a CXL window that is in part in SRAT, or not at all",
        because: "Linux stretches the domain over the window, or makes a node for it (acpi_parse_cfmws)",
    },
    Rule {
        id: "N7",
        severity: "warn",
        finds: "SLIT: a distance within a domain that is not 10, or one between domains of 10 or less",
        because: "the table is not used (slit_valid); 255 is unreachable (ACPI 6.5, 5.2.17)",
    },
    Rule {
        id: "N8",
        severity: "info",
        finds: "SLIT: a distance that differs between the two directions",
        because: "sub-NUMA clustering does it: never more than a line",
    },
    Rule {
        id: "N9",
        severity: "warn, error",
        finds: "a domain of SRAT that SLIT lacks; error if SLIT is shorter than its number of localities requires",
        because: "more localities than nodes are right: domains may begin at 1",
    },
    Rule {
        id: "N10",
        severity: "warn",
        finds: "memory for which every initiator's entry of HMAT is 0 or 0xffff",
        because: "both mean that there is no value (hmat_normalize)",
    },
    Rule {
        id: "N11",
        severity: "warn",
        finds: "HMAT: latency of a domain to its own memory below 10 ns or above 10 us, bandwidth below 1 GB/s",
        because: "revision 1 counts 100 ps, revision 2 ps (hmat_normalize); test beds have values of no meaning",
    },
    Rule {
        id: "N12",
        severity: "info",
        finds: "two targets that HMAT and SLIT rank in opposite order",
        because: "memory of high bandwidth may be put far on purpose",
    },
    Rule {
        id: "N13",
        severity: "info, warn",
        finds: "a domain with processors and without memory; warn where modules are listed on several packages",
        because: "sockets may be empty; domains with memory alone are right",
    },
    Rule {
        id: "N14",
        severity: "warn",
        finds: "a memory block or more of RAM that no node's memory blocks have, where nodes have blocks",
        because: "Linux has memory in blocks of 128 MiB or more; what fills none is left out",
    },
    Rule {
        id: "C1",
        severity: "error",
        finds: "a CXL window whose base or size is no multiple of 256 MiB, or its size no multiple of 256 MiB for each way",
        because: "cxl_acpi_cfmws_verify; CXL 3.2, table 9-22. A window at 0 that ends where devices begin is permitted",
    },
    Rule {
        id: "C2",
        severity: "error",
        finds: "a decoder in force, below the root, whose range is not inside one window",
        because: "the union of windows is no window; endpoints with addresses of their own (AMD family 1Ah) are left out",
    },
    Rule {
        id: "C3",
        severity: "error",
        finds: "along the way from root to endpoint: another product of ways than the endpoint's, or address bits taken twice or not at all",
        because: "a decoder selects the bits from log2(granularity) on, log2(ways) of them; one of one way selects none",
    },
    Rule {
        id: "C4",
        severity: "error",
        finds: "a region whose granularity is not that of its window of several ways, or whose ways are not the window's times a power of two",
        because: "interleave_granularity_store, interleave_ways_store",
    },
    Rule {
        id: "C5",
        severity: "error",
        finds: "devices that follow one another in a region, below one bridge, in a window that goes from bridge to bridge",
        because: "cxl_region_attach_position",
    },
    Rule {
        id: "C6",
        severity: "error",
        finds: "on one port, decoders that are not in order of address",
        because: "CXL 3.1, 8.2.4.20.12; old kernels complain of tables that are right",
    },
    Rule {
        id: "C7",
        severity: "warn",
        finds: "a window with a target that is no host bridge; a host bridge without a window: info",
        because: "a window for what may be plugged in may be empty",
    },
    Rule {
        id: "C8",
        severity: "warn, error",
        finds: "a window that meets RAM which is not soft-reserved, or another window: error if the targets differ",
        because: "a window at 0 is legal",
    },
    Rule {
        id: "C9",
        severity: "warn",
        finds: "soft-reserved memory in a window that regions do not fill exactly",
        because: "Linux then gives all of it to dax; how /proc/iomem nests says nothing",
    },
    Rule {
        id: "P1",
        severity: "error, warn",
        finds: "a reserved or EFI memory-mapped range that cuts a host bridge's window in part, or lies inside it; error with a BAR or window on it",
        because: "a range that has all of the window says that it is the bus's. Kernels of 2010 to 2022 cut windows, and keep the larger part",
    },
    Rule {
        id: "P2",
        severity: "error",
        finds: "BARs or windows of one bus that share addresses, with decoding on",
        because: "windows that are closed, and what sizing left in registers that are off, do not count",
    },
    Rule {
        id: "P3",
        severity: "warn, info",
        finds: "a BAR or bridge's window in no window of the host bridge; info if it is reserved",
        because: "windows join where they touch and have one offset; ROMs at the top of 4 GiB are left from sizing",
    },
    Rule {
        id: "P4",
        severity: "warn, info",
        finds: "configuration space that nothing reserves; info if only EFI or e820 does",
        because: "PNP0C02 must (PCI Firmware 3.3, 4.1.2)",
    },
    Rule {
        id: "P5",
        severity: "error, warn, info",
        finds: "configuration space inside a host bridge's window, not reserved; error with a BAR on it; fewer buses than the bridge's: info",
        because: "MCFG's base is bus 0's, whatever the first bus",
    },
    Rule {
        id: "P6",
        severity: "warn",
        finds: "a fixed range of an ACPI device inside a bridge's window",
        because: "one cause may give thirty complaints, and is one finding",
    },
    Rule { id: "P7", severity: "error", finds: "a BAR in RAM", because: "guests have the host's map" },
    Rule {
        id: "P8",
        severity: "info",
        finds: "a BAR that is not prefetchable inside a prefetchable window",
        because: "fine where all of the way is PCI Express",
    },
    Rule {
        id: "P9",
        severity: "warn",
        finds: "a base address register that is not where the kernel's map has it, while the function decodes memory",
        because: "through one window of a host bridge registers are all as far from the CPUs' addresses; most of them tell how far, and several that differ alike are another window",
    },
    Rule {
        id: "P10",
        severity: "info",
        finds: "RAM that devices of a host bridge do not reach (dma-ranges)",
        because: "as on boards whose bridges reach the first 1 or 3 GiB",
    },
    Rule {
        id: "I1",
        severity: "error, warn, info",
        finds: "memory that firmware shares with devices (RMRR), in RAM: error; in no entry of the map: warn; in ACPI NVS, or over several entries: info",
        because: "the system never hands out NVS (arch_rmrr_sanity_check)",
    },
    Rule {
        id: "I2",
        severity: "warn, info",
        finds: "RMRR that is no whole number of pages, or past the host's width; 0x0..0x1000: info",
        because: "0x0..0x1 is what firmware leaves for none",
    },
    Rule {
        id: "I3",
        severity: "error",
        finds: "a unit (DRHD) at 0, not aligned, past the host's width, or whose registers read all ones",
        because: "all units are looked at: the one that has all others is the last",
    },
    Rule {
        id: "I4",
        severity: "warn",
        finds: "I/O APICs of DMAR or IVRS that MADT has not, or the other way round",
        because: "interrupts are not remapped; translation of memory stays",
    },
    Rule {
        id: "I5",
        severity: "warn",
        finds: "memory blocks of IVRS that are no whole pages, or are in RAM",
        because: "exclusion ranges (flag bit 3) are common",
    },
    Rule {
        id: "M1",
        severity: "warn",
        finds: "nodes of /reserved-memory that share addresses",
        because: "the log prints ends behind the last byte",
    },
    Rule {
        id: "M2",
        severity: "warn",
        finds: "entries of EFI's map of no pages, or that wrap",
        because: "efi_memmap_entry_valid",
    },
    Rule {
        id: "M3",
        severity: "error",
        finds: "a memmap= range with $ or ! that meets the kernel's image",
        because: "its place is random, and changes at each boot",
    },
    Rule {
        id: "M4",
        severity: "warn",
        finds: "EFI's map and e820 that call a range RAM and reserved",
        because: "soft-reserved memory, NVS and memory-mapped I/O differ by design",
    },
    Rule {
        id: "M5",
        severity: "info",
        finds: "memory below where the kernel begins, more than 2 MiB",
        because: "firmware of RISC-V has 2 MiB there",
    },
    Rule {
        id: "T1",
        severity: "error, info",
        finds: "RAM that is write-back neither by a register nor by the default; AMD above 4 GiB without the registers shown: info",
        because: "AMD: up to TOM2 memory is write-back if SYSCFG bit 22 is set",
    },
    Rule {
        id: "T2",
        severity: "warn",
        finds: "a write-back register over a BAR",
        because: "a default of write-back with registers that uncache is right; drivers' wishes are no finding",
    },
    Rule {
        id: "S1",
        severity: "error",
        finds: "a namespace whose begin or end is no multiple of 2 MiB",
        because: "memremap_compat_align; both ends count",
    },
    Rule {
        id: "S2",
        severity: "warn",
        finds: "persistent memory that shares a section of 128 MiB with RAM, on kernels before 5.3",
        because: "later kernels add parts of sections",
    },
    Rule {
        id: "S3",
        severity: "error",
        finds: "hot-plugged memory whose begin or size is no multiple of the memory block",
        because: "check_hotplug_memory_range; blocks are of 128 MiB to 2 GiB",
    },
];
