//! The structures that the module's C half and its library exchange: `library.h`.

use crate::layout::structures;
use crate::user::Region;

structures! {
    /// A span of the physical address space.
    Found = "pmem_span" {
        /// The first address.
        start: u64,
        /// The last address, inclusive.
        last: u64,
        /// The kind of span: 1 for memory, 2 for reserved, 4 for a PCI bus.
        kind: u32,
        /// Reserved, 0.
        reserved: u32,
    }

    /// A claim, with what the kernel knows about its location.
    Claim = "pmem_claim" {
        /// The region that is requested.
        region: Region,
        /// The file that makes the request.
        session: u64,
        /// The device: domain, bus, device and function, with the number of the BAR in the lowest byte.
        device: u64,
        /// The first address of the host bridge window that contains the BAR.
        window_start: u64,
        /// The last address of that window, inclusive.
        window_last: u64,
        /// Whether the BAR is prefetchable: reads have no side effects, and writes can be merged.
        prefetchable: u32,
        /// The process that makes the request.
        holder: u32,
    }

    /// Figures for those who ask while the library is busy.
    Figures = "pmem_figures" {
        /// The number of arenas.
        arenas: u32,
        /// The number of held claims.
        regions: u32,
        /// The number of claims that nobody holds any more, but whose registers could not be written yet.
        pending: u32,
        /// The number of claims that ended with their device, and that their files have not released yet.
        ended: u32,
    }
}
