//! Libraries for processors' page tables with safe interfaces.

use super::Mapper;
use aarch64_paging::descriptor::Stage2Attributes;
use aarch64_paging::linearmap::LinearMap;
use aarch64_paging::paging::{Constraints, MemoryRegion, Stage2};
use memory_addr::{PhysAddr, VirtAddr};
use page_table_entry::MappingFlags;
use page_table_entry::x86_64::X64PTE;
use page_table_multiarch::{PageTable64, PagingHandler, PagingMetaData};
use std::cell::RefCell;

/// A page that somebody else writes.
#[repr(align(4096))]
#[expect(dead_code, reason = "it is written by its address")]
pub struct Page([u64; 512]);

thread_local! {
    static FREE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Allocates a page of this program's memory. Its virtual address serves as its physical one.
pub fn page() -> usize {
    let free = FREE.with_borrow_mut(Vec::pop);
    free.unwrap_or_else(|| Box::leak(Box::new(Page([0; 512]))) as *mut Page as usize)
}

struct X64;

impl PagingMetaData for X64 {
    const LEVELS: usize = 4;
    const PA_MAX_BITS: usize = 52;
    const VA_MAX_BITS: usize = 48;
    type VirtAddr = VirtAddr;
    fn flush_tlb(_: Option<VirtAddr>) {}
}

struct Frames;

impl PagingHandler for Frames {
    fn alloc_frames(num: usize, _: usize) -> Option<PhysAddr> {
        (num == 1).then(|| PhysAddr::from(page()))
    }
    fn dealloc_frames(at: PhysAddr, _: usize) {
        FREE.with_borrow_mut(|free| free.push(at.into()));
    }
    fn phys_to_virt(at: PhysAddr) -> VirtAddr {
        VirtAddr::from(usize::from(at))
    }
}

struct Multiarch(PageTable64<X64, X64PTE, Frames>);

pub fn multiarch() -> Box<dyn Mapper> {
    Box::new(Multiarch(PageTable64::try_new().expect("there is memory")))
}

impl Mapper for Multiarch {
    fn map(&mut self, at: u64, target: u64, len: u64) {
        let to = |addr: VirtAddr| PhysAddr::from((usize::from(addr) as u64 - at + target) as usize);
        let flags = MappingFlags::READ | MappingFlags::WRITE;
        let at = VirtAddr::from(at as usize);
        self.0.cursor().map_region(at, to, len as usize, flags, true).expect("nothing is there");
    }
    fn unmap(&mut self, at: u64, len: u64) {
        self.0.cursor().unmap_region(VirtAddr::from(at as usize), len as usize).expect("it is there");
    }
}

/// It maps with one fixed offset, so its targets are its own; only page sizes are comparable.
struct Aarch64(LinearMap<Stage2>);

pub fn aarch64() -> Box<dyn Mapper> {
    Box::new(Aarch64(LinearMap::new(0, 0, Stage2)))
}

impl Aarch64 {
    fn set(&mut self, at: u64, target: u64, len: u64, flags: Stage2Attributes) {
        let range = MemoryRegion::new(at as usize, (at + len) as usize);
        // Use small pages where we do.
        let blocks = if (at ^ target) & 0x1f_ffff == 0 {
            Constraints::empty()
        } else {
            Constraints::NO_BLOCK_MAPPINGS
        };
        self.0.map_range_with_constraints(&range, flags, blocks).expect("it is mapped");
    }
}

impl Mapper for Aarch64 {
    fn map(&mut self, at: u64, target: u64, len: u64) {
        let flags =
            Stage2Attributes::VALID | Stage2Attributes::S2AP_ACCESS_RW | Stage2Attributes::ACCESS_FLAG;
        self.set(at, target, len, flags);
    }
    fn unmap(&mut self, at: u64, len: u64) {
        self.set(at, at, len, Stage2Attributes::empty());
    }
}
