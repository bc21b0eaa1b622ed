//! Memory at boot: loaded, and taken page by page before there are pages.

use super::plug::{uvm_physseg_plug, uvm_physseg_unplug};
use super::{Bound, Pfn, node::Node, physseg};
use std::ffi::c_int;
use std::ptr;

/// Loads page frames at boot, part of them available, on a free list. Fatal after `page_init_done`, for a bad free
/// list, if `start` is not below `end`, and where a segment is already.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_page_physload(
    start: Pfn,
    end: Pfn,
    avail_start: Pfn,
    avail_end: Pfn,
    list: c_int,
) -> *mut Node {
    let bound = physseg();
    if bound.host.page_init_done() {
        bound.panic(c"uvm_page_physload: after page_init_done");
    }
    if !(0..bound.host.nfreelist).contains(&list) {
        bound.panic(c"uvm_page_physload: bad free list");
    }
    if start >= end {
        bound.panic(c"uvm_page_physload: start >= end");
    }
    drop(bound);
    let mut handle = ptr::null_mut();
    // SAFETY: `handle` is valid for writes.
    if !unsafe { uvm_physseg_plug(start, end - start, &mut handle) } {
        physseg().panic(c"uvm_page_physload: uvm_physseg_plug() failed at boot");
    }
    // SAFETY: the plug succeeded, so `handle` points to a node in use.
    unsafe {
        (*handle).avail_start = avail_start;
        (*handle).avail_end = avail_end;
        (*handle).free_list = list;
    }
    handle
}

/// Takes one available page from the front of a segment, or else from its end, at boot.
///
/// # Safety
/// The handle points to a segment in use, and `out` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_page_physunload(handle: *mut Node, list: c_int, out: *mut Pfn) -> bool {
    let (bound, node) = physseg().must(handle, c"uvm_page_physunload: invalid handle");
    if bound.host.page_init_done() {
        bound.panic(c"uvm_page_physunload: after page_init_done");
    }
    let pfn = match node {
        _ if node.free_list != list || node.avail_start >= node.avail_end => return false,
        _ if node.avail_start == node.start => node.avail_start,
        _ if node.avail_end == node.end => node.avail_end - 1,
        _ => return false,
    };
    // SAFETY: the caller guarantees that `out` is valid for writes; at boot nobody uses the page yet.
    unsafe { take_one(bound, pfn, out) }
}

/// Takes the first available page of a segment, whatever its free list, at boot.
///
/// # Safety
/// The handle points to a segment in use, and `out` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_page_physunload_force(handle: *mut Node, _list: c_int, out: *mut Pfn) -> bool {
    let (bound, node) = physseg().must(handle, c"uvm_page_physunload_force: invalid handle");
    if bound.host.page_init_done() {
        bound.panic(c"uvm_page_physunload_force: after page_init_done");
    }
    if node.avail_start >= node.avail_end {
        return false;
    }
    // SAFETY: the caller guarantees that `out` is valid for writes; at boot nobody uses the page yet.
    unsafe { take_one(bound, node.avail_start, out) }
}

/// Unplugs one page frame and writes its address in bytes.
///
/// # Safety
/// `out` is valid for writes, and nobody uses the page.
unsafe fn take_one(bound: Bound, pfn: Pfn, out: *mut Pfn) -> bool {
    let address = pfn << bound.host.page_shift;
    drop(bound);
    // SAFETY: the caller guarantees both.
    unsafe {
        let taken = uvm_physseg_unplug(pfn, 1);
        if taken {
            out.write(address);
        }
        taken
    }
}
