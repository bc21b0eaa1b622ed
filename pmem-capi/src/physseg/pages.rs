//! Pages of segments, and the slabs that they come from.

use super::{Pfn, node::Node, physseg};
use std::ffi::{c_int, c_void};
use std::ptr;

/// Gives a segment its pages. Each page is told its address, and those that are available are counted and freed to
/// the page allocator.
///
/// # Safety
/// The handle points to a node without pages, and `pages` points to one `struct vm_page` for each of its page frames.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_init_seg(handle: *mut Node, pages: *mut c_void) {
    let mut bound = physseg();
    if handle.is_null() || pages.is_null() {
        bound.panic(c"uvm_physseg_init_seg: no segment, or no pages");
    }
    // SAFETY: the handle is not null, so the caller guarantees that it points to a node.
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
        // SAFETY: the page is in the caller's array, and its address is where the host says.
        unsafe {
            at(pfn).byte_add(host.vm_page_phys_addr).cast::<Pfn>().write_unaligned(pfn << host.page_shift);
        };
    }
    let counted = node.start.max(node.avail_start)..node.end.min(node.avail_end);
    if let Some(known) = bound.nodes.get_mut(&handle.addr()) {
        *known = counted.clone();
    }
    // The page allocator looks segments up, which takes the lock.
    drop(bound);
    for pfn in counted {
        host.add_npages(1);
        host.pagefree(at(pfn));
    }
}

/// Makes a slab of memory for pages the slab of a segment.
///
/// # Safety
/// The handle points to a node, and `pages` points to `count` `struct vm_page`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_chomp_slab(handle: *mut Node, pages: *mut c_void, count: usize) {
    let mut bound = physseg();
    let host = bound.host;
    // At boot, extent(9) has one region descriptor for each node.
    let descriptors = if host.page_init_done() { None } else { usize::try_from(host.physseg_max).ok() };
    let slab = bound.slabs.add(pages, count, host.vm_page_size, descriptors, false);
    // SAFETY: the caller guarantees that the handle points to a node.
    let in_use = unsafe { !(*handle).pgs.is_null() };
    // If the segment already has pages, their memory must stay.
    let memory = bound.slabs.forget(handle).filter(|_| !in_use);
    bound.slabs.set(handle, slab);
    // SAFETY: the caller guarantees that the handle points to a node.
    unsafe { (*handle).ext = bound.slabs.shown(slab) };
    drop(bound);
    if let Some((at, bytes)) = memory {
        host.free(at, bytes);
    }
}

/// Takes the lowest free pages from a segment's slab. A segment without a slab takes over that of the segment below,
/// at boot; if there is none, or after boot, that is fatal. Returns null if there is no room, or where NetBSD's
/// extent(9) would have no descriptor.
///
/// # Safety
/// The handle points to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_alloc_from_slab(handle: *mut Node, count: usize) -> *mut c_void {
    let mut bound = physseg();
    if bound.slabs.of(handle).is_none() {
        // SAFETY: the caller guarantees that the handle points to a node.
        let start = unsafe { (*handle).start };
        let below = start.checked_sub(1).and_then(|pfn| bound.map.at_or_before(pfn as u64));
        let slab = below.and_then(|(_, below)| bound.slabs.of(below.node));
        let Some(slab) = slab.filter(|_| !bound.host.page_init_done()) else {
            bound.panic(c"uvm_physseg_seg_alloc_from_slab: no slab");
        };
        bound.slabs.set(handle, slab);
        // SAFETY: as above.
        unsafe { (*handle).ext = bound.slabs.shown(slab) };
    }
    let slab = bound.slabs.of(handle);
    slab.and_then(|slab| bound.slabs.take(slab, count)).unwrap_or(ptr::null_mut())
}

/// Gives pages back to a segment's slab.
///
/// # Safety
/// The handle points to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_free_to_slab(
    handle: *mut Node,
    pages: *mut c_void,
    count: usize,
) -> c_int {
    physseg().slabs.give(handle, pages, count)
}
