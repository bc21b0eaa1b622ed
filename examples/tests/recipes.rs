//! Recipes: the memory maps of others become [`EarlyAllocator`]'s, and it becomes the allocator that others want.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use multiboot2::{MemoryArea, MemoryAreaType, MemoryMapTag};
use pmem_uvm::{EarlyAllocator, FrameRange, Kind};
use uefi::mem::memory_map::{MemoryDescriptor, MemoryType};
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, FrameDeallocator, PhysFrame, Size4KiB};

/// Whole pages of what may be handed out; all pages that anything else touches.
fn frames(start: u64, end: u64, kind: Kind) -> Option<(FrameRange, Kind)> {
    let bytes = pmem_core::AddrRange::new(start, end).ok()?;
    let range = match kind {
        Kind::Usable => FrameRange::inside(bytes, 12),
        _ => FrameRange::around(bytes, 12),
    };
    Some((range?, kind))
}

/// `bootloader_api`: what the kernel's entry point is given.
fn of_bootloader(regions: &[MemoryRegion]) -> impl Iterator<Item = (FrameRange, Kind)> + '_ {
    regions.iter().filter_map(|region| {
        let kind = match region.kind {
            MemoryRegionKind::Usable => Kind::Usable,
            MemoryRegionKind::Bootloader => Kind::Reserved,
            // What firmware says of it was not translated: memory or not, nobody knows.
            _ => Kind::NotMemory,
        };
        frames(region.start, region.end, kind)
    })
}

/// `multiboot2`: `BootInformation::memory_map_tag`.
fn of_multiboot2(tag: &MemoryMapTag) -> impl Iterator<Item = (FrameRange, Kind)> + '_ {
    tag.memory_areas().iter().filter_map(|area| {
        let kind = match area.typ() {
            MemoryAreaType::Available => Kind::Usable,
            MemoryAreaType::Defective => Kind::Bad,
            MemoryAreaType::AcpiAvailable | MemoryAreaType::ReservedHibernate => Kind::Reserved,
            // Type 2 is also what addresses of chipsets are called.
            _ => Kind::NotMemory,
        };
        frames(area.start_address(), area.end_address(), kind)
    })
}

/// `uefi`: `MemoryMap::entries` after boot services are gone; their memory is free by then.
fn of_uefi<'m>(
    entries: impl Iterator<Item = &'m MemoryDescriptor>,
) -> impl Iterator<Item = (FrameRange, Kind)> {
    entries.filter_map(|entry| {
        let kind = match entry.ty {
            MemoryType::CONVENTIONAL | MemoryType::BOOT_SERVICES_CODE | MemoryType::BOOT_SERVICES_DATA => {
                Kind::Usable
            }
            MemoryType::UNUSABLE => Kind::Bad,
            MemoryType::RESERVED => Kind::NotMemory,
            MemoryType::MMIO | MemoryType::MMIO_PORT_SPACE => return None,
            _ => Kind::Reserved,
        };
        Some((FrameRange::new(entry.phys_start >> 12, entry.page_count).ok()?, kind))
    })
}

/// `x86_64`: what `OffsetPageTable::map_to` takes new page tables from.
struct Frames<'e, const N: usize>(&'e mut EarlyAllocator<N>);

// SAFETY: `EarlyAllocator` hands a frame out once, until it is given back.
unsafe impl<const N: usize> FrameAllocator<Size4KiB> for Frames<'_, N> {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0.alloc().ok().map(|frame| PhysFrame::containing_address(PhysAddr::new(frame << 12)))
    }
}

impl<const N: usize> FrameDeallocator<Size4KiB> for Frames<'_, N> {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        let range = FrameRange::new(frame.start_address().as_u64() >> 12, 1);
        // What is not ours to take back stays where it is.
        let _ = range.map(|range| self.0.free(range));
    }
}

#[test]
fn bootloader_api() {
    let region = |start, end, kind| MemoryRegion { start, end, kind };
    let regions = [
        region(0x1000, 0x9fc00, MemoryRegionKind::Usable),
        region(0x10_0000, 0x20_0800, MemoryRegionKind::Bootloader),
        region(0x20_1000, 0x80_0000, MemoryRegionKind::Usable),
    ];
    let mut early = EarlyAllocator::<8>::new();
    early.plug(of_bootloader(&regions)).unwrap();
    assert_eq!(early.free_frames(), 0x9e + 0x5ff);
}

#[test]
fn multiboot2() {
    let tag = MemoryMapTag::new(&[
        MemoryArea::new(0, 0x9fc00, MemoryAreaType::Available),
        MemoryArea::new(0x9f800, 0x400, MemoryAreaType::AcpiAvailable),
        MemoryArea::new(0x9fc00, 0x400, MemoryAreaType::Reserved),
        MemoryArea::new(0x10_0000, 0x100_0000, MemoryAreaType::Available),
        MemoryArea::new(0x110_0000, 0x1000, MemoryAreaType::Defective),
    ]);
    let mut early = EarlyAllocator::<8>::new();
    early.plug(of_multiboot2(&tag)).unwrap();
    assert_eq!(early.free_frames(), 0x9f + 0x1000);
}

#[test]
fn uefi() {
    let entry = |ty, phys_start, page_count| MemoryDescriptor {
        ty,
        phys_start,
        page_count,
        ..MemoryDescriptor::default()
    };
    let entries = [
        entry(MemoryType::BOOT_SERVICES_DATA, 0x1000, 0x9f),
        entry(MemoryType::RUNTIME_SERVICES_DATA, 0x10_0000, 0x10),
        entry(MemoryType::CONVENTIONAL, 0x20_0000, 0x1000),
        entry(MemoryType::MMIO, 0xfec0_0000, 1),
    ];
    let mut early = EarlyAllocator::<8>::new();
    early.plug(of_uefi(entries.iter())).unwrap();
    assert_eq!(early.free_frames(), 0x109f);
}

#[test]
fn x86_64() {
    let mut early = EarlyAllocator::<8>::new();
    early.plug([(FrameRange::new(0x100, 4).unwrap(), Kind::Usable)]).unwrap();
    let mut frames = Frames(&mut early);
    let frame = frames.allocate_frame().unwrap();
    assert_eq!(frame.start_address().as_u64(), 0x10_0000);
    assert_eq!(frames.allocate_frame().unwrap().start_address().as_u64(), 0x10_1000);
    // SAFETY: nothing uses the frame.
    unsafe { frames.deallocate_frame(frame) };
    assert_eq!(frames.allocate_frame(), Some(frame));
}
