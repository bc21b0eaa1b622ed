//! Pages of segments, and the slabs that they come from.

use super::{Pfn, node::Node, physseg};
use std::ffi::{c_int, c_void};
use std::ptr;

/// Gives a segment its pages: each is told its address, and those that are available are counted and freed to the page
/// allocator.
///
/// # Safety
/// The handle leads to a node without pages; `pages` leads to as many `struct vm_page` as it has page frames.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_init_seg(handle: *mut Node, pages: *mut c_void) {
    let mut bound = physseg();
    if handle.is_null() || pages.is_null() {
        bound.panic(c"uvm_physseg_init_seg: no segment, or no pages");
    }
    // SAFETY: the caller's.
    let node = unsafe {
        if !(*handle).pgs.is_null() {
            bound.panic(c"uvm_physseg_init_seg: the segment has pages");
        }
        (*handle).pgs = pages;
        handle.read()
    };
    bound.given = true;
    if let Some((_, range)) = bound.find(node.start).filter(|(found, _)| *found == handle) {
        bound.map.remove(range.start as u64);
        bound.map_to(range.start, range.end, handle, pages);
    }
    let host = bound.host;
    let at = |pfn: Pfn| pages.wrapping_byte_add((pfn - node.start) * host.vm_page_size);
    for pfn in node.start..node.end {
        // SAFETY: the page is one of the caller's array, and its address lies where the host says.
        unsafe {
            at(pfn).byte_add(host.vm_page_phys_addr).cast::<Pfn>().write_unaligned(pfn << host.page_shift)
        };
    }
    let counted = node.start.max(node.avail_start)..node.end.min(node.avail_end);
    if let Some(known) = bound.nodes.get_mut(&handle.addr()) {
        *known = counted.clone();
    }
    // The page allocator looks segments up.
    drop(bound);
    for pfn in counted {
        host.add_npages(1);
        host.pagefree(at(pfn));
    }
}

/// Makes a slab of memory for pages a segment's.
///
/// # Safety
/// The handle leads to a node; `pages` leads to `count` `struct vm_page`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_chomp_slab(handle: *mut Node, pages: *mut c_void, count: usize) {
    let mut bound = physseg();
    let host = bound.host;
    // At boot there is one region descriptor of extent(9) for each node.
    let descriptors = if host.page_init_done() { None } else { usize::try_from(host.physseg_max).ok() };
    let slab = bound.slabs.add(pages, count, host.vm_page_size, descriptors, false);
    // SAFETY: the caller's.
    let in_use = unsafe { !(*handle).pgs.is_null() };
    // What the segment's pages are in stays, for as long as anybody can tell.
    let memory = bound.slabs.forget(handle).filter(|_| !in_use);
    bound.slabs.set(handle, slab);
    // SAFETY: the caller's.
    unsafe { (*handle).ext = bound.slabs.shown(slab) };
    drop(bound);
    if let Some((at, bytes)) = memory {
        host.free(at, bytes);
    }
}

/// Takes pages from a segment's slab, the lowest that are free; a segment without one takes over its predecessor's. Null if there
/// is no room, or NetBSD's extent(9) would have no descriptor. At boot, having no slab at all is fatal.
///
/// # Safety
/// The handle leads to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_alloc_from_slab(handle: *mut Node, count: usize) -> *mut c_void {
    let mut bound = physseg();
    if bound.slabs.of(handle).is_none() {
        // SAFETY: the caller's.
        let start = unsafe { (*handle).start };
        let below = start.checked_sub(1).and_then(|pfn| bound.map.at_or_before(pfn as u64));
        let slab = below.and_then(|(_, below)| bound.slabs.of(below.node));
        let Some(slab) = slab.filter(|_| !bound.host.page_init_done()) else {
            bound.panic(c"uvm_physseg_seg_alloc_from_slab: no slab");
        };
        bound.slabs.set(handle, slab);
        // SAFETY: the caller's.
        unsafe { (*handle).ext = bound.slabs.shown(slab) };
    }
    let slab = bound.slabs.of(handle);
    slab.and_then(|slab| bound.slabs.take(slab, count)).unwrap_or(ptr::null_mut())
}

/// Gives pages back to a segment's slab.
///
/// # Safety
/// The handle leads to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_free_to_slab(
    handle: *mut Node,
    pages: *mut c_void,
    count: usize,
) -> c_int {
    physseg().slabs.give(handle, pages, count)
}
