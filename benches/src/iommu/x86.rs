//! The x86_64 crate's mapper, whose interface is unsafe.

use super::peers::page;
use super::{Mapper, PAGE};
use x86_64::structures::paging::mapper::{Mapper as _, OffsetPageTable};
use x86_64::structures::paging::{
    FrameAllocator, Page, PageTable, PageTableFlags, PhysFrame, Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

struct Frames;

// SAFETY: every page is allocated by this program, and returned only once.
#[expect(unsafe_code, reason = "the library asks for it")]
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        Some(PhysFrame::containing_address(PhysAddr::new(page() as u64)))
    }
}

struct Ours(OffsetPageTable<'static>);

#[expect(unsafe_code, reason = "the library asks for it")]
pub fn mapper() -> Box<dyn Mapper> {
    // The upper half belongs to the kernel. Pages have identical virtual and physical addresses here.
    let table: &'static mut PageTable = Box::leak(Box::new(PageTable::new()));
    // SAFETY: no processor walks these tables, and all of them are at their own addresses.
    Box::new(Ours(unsafe { OffsetPageTable::new(table, VirtAddr::new(0)) }))
}

impl Mapper for Ours {
    #[expect(unsafe_code, reason = "the library asks for it")]
    fn map(&mut self, at: u64, target: u64, len: u64) {
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
        if (at | target | len) & 0x1f_ffff == 0 {
            let (page, frame) = (
                Page::<Size2MiB>::containing_address(VirtAddr::new(at)),
                PhysFrame::containing_address(PhysAddr::new(target)),
            );
            // SAFETY: no processor walks these tables.
            let done = unsafe { self.0.map_to(page, frame, flags, &mut Frames) };
            done.expect("nothing is there").ignore();
            return;
        }
        for n in 0..len / PAGE {
            let page = Page::<Size4KiB>::containing_address(VirtAddr::new(at + n * PAGE));
            let frame = PhysFrame::containing_address(PhysAddr::new(target + n * PAGE));
            // SAFETY: as above.
            let done = unsafe { self.0.map_to(page, frame, flags, &mut Frames) };
            done.expect("nothing is there").ignore();
        }
    }

    fn unmap(&mut self, at: u64, len: u64) {
        if len == 2 << 20 {
            let page = Page::<Size2MiB>::containing_address(VirtAddr::new(at));
            self.0.unmap(page).expect("it is there").1.ignore();
            return;
        }
        for n in 0..len / PAGE {
            let page = Page::<Size4KiB>::containing_address(VirtAddr::new(at + n * PAGE));
            self.0.unmap(page).expect("it is there").1.ignore();
        }
    }
}
