//! If you write a kernel: from the boot loader's memory map, before there is a heap, to pages with owners.
//!
//! `tests/recipes.rs` has recipes for the memory maps of `bootloader_api`, `multiboot2` and `uefi`, and for the
//! `x86_64` crate's `FrameAllocator`: iterators that turn their entries into [`Kind`]s, and an allocator on top
//! of [`EarlyAllocator`].

use pmem_uvm::{
    DirectMap, EarlyAllocator, FrameRange, Kind, PageListRequest, PageOwner, PageRequest, PageWords,
    Reserves, Settings,
};
use std::error::Error;
use std::fmt::Write;

/// What E820 reports on an old PC, in page frames: start, count, kind.
const MAP: [(u64, u64, Kind); 5] = [
    (0x0, 0x9f, Kind::Usable),
    (0xf0, 0x10, Kind::Reserved),
    (0x100, 0x7ff00, Kind::Usable),
    (0x80000, 0x100, Kind::Bad),
    (0x100000, 0x40000, Kind::Usable),
];
/// Where the loader put the kernel: start and count, in page frames.
const KERNEL: (u64, u64) = (0x100, 0x400);

/// A kernel keeps the allocator in a `static`: it is built at compile time, and never grows.
static EARLY: EarlyAllocator<32> = EarlyAllocator::new();

/// Memory in place of a kernel's direct map. A kernel makes the slice from the address, which is its one unsafe
/// line, and zeroes the memory first.
struct Distance;

impl DirectMap for Distance {
    fn pages(&mut self, frames: FrameRange) -> Option<&'static [PageWords]> {
        let entries = (frames.count() << 12) / size_of::<PageWords>() as u64;
        Some(Box::leak((0..entries).map(|_| PageWords::default()).collect()))
    }
}

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut early = EARLY.clone();
    let range = |start, count| FrameRange::new(start, count);
    let map: Result<Vec<_>, _> =
        MAP.into_iter().map(|(start, count, kind)| Ok((range(start, count)?, kind))).collect();
    early.plug(map.map_err(|error: pmem_uvm::FrameRangeError| error)?)?;
    early.reserve(range(KERNEL.0, KERNEL.1)?)?;
    writeln!(out, "{} MiB free before the heap", early.free_frames() >> 8)?;

    // Page tables, one frame at a time; the heap, in one piece; a buffer within reach of an old DMA engine.
    let table = early.alloc()?;
    let heap = early.alloc_run(0x1000, 0x200, u64::MAX)?;
    let dma = early.alloc_run(16, 16, 0x1000)?;
    writeln!(out, "page table at frame {table:#x}, heap {heap}, DMA buffer {dma}")?;

    // Once there is a heap, everything becomes pages. What was handed out stays in use.
    let mut uvm = early.promote(Settings::default(), &mut Distance)?;
    uvm.set_reserves(Reserves { pagedaemon: 16, kernel: 64, freemin: 256, freetarg: 1024 });
    let counters = uvm.uvmexp();
    writeln!(
        out,
        "{} segments, {} pages, {} free, {} reserved, {} bad",
        uvm.nsegments(),
        counters.npages,
        counters.free,
        counters.reserved,
        counters.retired
    )?;
    let page = uvm.pagealloc(&PageRequest::new().owner(PageOwner::Object { key: 7, offset: 0x3000 }))?;
    writeln!(out, "page {page:#x}: {:?}", uvm.page(page).ok_or("no page")?.info().owner)?;
    let huge = uvm.pglistalloc(&PageListRequest::new(512)?.align(512)?.runs(1)?)?;
    let runs: Vec<String> = uvm.runs(&huge).map(|run| run.to_string()).collect();
    writeln!(out, "a huge page at {}", runs.join(" "))?;
    uvm.pglistfree(huge);
    dma.frames().try_for_each(|frame| uvm.pagefree(frame))?;
    writeln!(out, "{} free once the DMA buffer is given back", uvm.uvmexp().free)?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
