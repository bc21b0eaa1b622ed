//! What the module's C half and its library exchange: `library.h`.

use crate::layout::structures;
use crate::user::Region;

structures! {
    /// A span of the physical address space.
    Found = "pmem_span" {
        /// The first address.
        start: u64,
        /// The last address.
        last: u64,
        /// 1 memory, 2 reserved, 4 a PCI bus.
        kind: u32,
        /// 0.
        reserved: u32,
    }

    /// A claim, and what the kernel knows of where it is.
    Claim = "pmem_claim" {
        /// What is asked for.
        region: Region,
        /// The file that asks.
        session: u64,
        /// The device: domain, bus, device and function, and the BAR's number in the lowest byte.
        device: u64,
        /// The first address of the host bridge's window that the BAR is in.
        window_start: u64,
        /// Its last address.
        window_last: u64,
        /// Whether the BAR is prefetchable: reads change nothing, and writes may be merged.
        prefetchable: u32,
        /// The process that asks.
        holder: u32,
    }

    /// What there is, for who asks meanwhile.
    Figures = "pmem_figures" {
        /// How many arenas.
        arenas: u32,
        /// How many claims are held.
        regions: u32,
        /// How many nobody holds any more, whose registers could not be written yet.
        pending: u32,
        /// How many ended with their device, and that their files have not let go of.
        ended: u32,
    }
}
