//! Reading, finding and setting segments.

use super::node::{Node, Pfn, Plugged};
use super::{NOWHERE, look, physseg};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

macro_rules! bounds {
    ($($(#[$doc:meta])* $name:ident: $field:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// A handle that is not null came from this interface.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(handle: *mut Node) -> Pfn {
            physseg().valid(handle).map_or(NOWHERE, |node| node.$field)
        }
    )*};
}

bounds! {
    /// Returns the first page frame; −1 for an invalid handle.
    uvm_physseg_get_start: start;
    /// Returns the page frame after the last; −1 for an invalid handle.
    uvm_physseg_get_end: end;
    /// Returns the first available page frame; −1 for an invalid handle.
    uvm_physseg_get_avail_start: avail_start;
    /// Returns the page frame after the last available one; −1 for an invalid handle.
    uvm_physseg_get_avail_end: avail_end;
}

/// Returns a page of a segment by its index. An invalid handle is fatal.
///
/// # Safety
/// The handle came from this interface, and the segment has more than `index` pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_pg(handle: *mut Node, index: Pfn) -> *mut c_void {
    if let Some(page) = look(|seen| seen.page_of_last(handle, index)) {
        return page;
    }
    let (bound, node) = physseg().must(handle, c"uvm_physseg_get_pg: invalid handle");
    bound.page(&node, index)
}

/// Returns the page of an address in one look-up; null if no segment has it (`uvm_phys_to_vm_page`).
#[unsafe(no_mangle)]
pub extern "C" fn uvm_phys_to_vm_page(paddr: Pfn) -> *mut c_void {
    look(|seen| {
        let pfn = paddr >> seen.page_shift;
        seen.find(pfn).map_or(ptr::null_mut(), |(plugged, range)| seen.page(plugged, pfn - range.start))
    })
}

/// Returns the pmap's data of a segment. An invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_pmseg(handle: *mut Node) -> *mut c_void {
    let _ = physseg().must(handle, c"uvm_physseg_get_pmseg: invalid handle");
    handle.wrapping_add(1).cast()
}

/// Returns a segment's free list. An invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_free_list(handle: *mut Node) -> c_int {
    physseg().must(handle, c"uvm_physseg_get_free_list: invalid handle").1.free_list
}

/// Returns where a search in a segment should start. An invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_start_hint(handle: *mut Node) -> c_uint {
    physseg().must(handle, c"uvm_physseg_get_start_hint: invalid handle").1.start_hint
}

/// Sets where a search in a segment should start; `false` for an invalid handle.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_start_hint(handle: *mut Node, hint: c_uint) -> bool {
    let bound = physseg();
    if bound.valid(handle).is_none() {
        return false;
    }
    // SAFETY: the handle is valid, so it points to a node.
    unsafe { (*handle).start_hint = hint };
    true
}

/// Sets the first available page frame. An invalid handle is fatal, and so is a page frame below the segment's start
/// or not below the end of what is available.
///
/// # Safety
/// The handle points to a segment in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_avail_start(handle: *mut Node, pfn: Pfn) {
    let (bound, node) = physseg().must(handle, c"uvm_physseg_set_avail_start: invalid handle");
    if !(node.start..node.avail_end).contains(&pfn) {
        bound.panic(
            c"uvm_physseg_set_avail_start: not between the segment's start and the end of what is available",
        );
    }
    drop(bound);
    // SAFETY: the handle is valid, so it points to a node.
    unsafe { (*handle).avail_start = pfn };
}

/// Sets the page frame after the last available one. An invalid handle is fatal, and so is a page frame above the
/// segment's end or not above the start of what is available.
///
/// # Safety
/// The handle points to a segment in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_avail_end(handle: *mut Node, pfn: Pfn) {
    let (bound, node) = physseg().must(handle, c"uvm_physseg_set_avail_end: invalid handle");
    if pfn <= node.avail_start || pfn > node.end {
        bound.panic(
            c"uvm_physseg_set_avail_end: not between the start of what is available and the segment's end",
        );
    }
    drop(bound);
    // SAFETY: the handle is valid, so it points to a node.
    unsafe { (*handle).avail_end = pfn };
}

/// Returns the next higher segment; null for the highest, and for an invalid handle.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_next(handle: *mut Node) -> *mut Node {
    let bound = physseg();
    let above = |node: Node| bound.neighbour(bound.map.at_or_after(node.end.max(node.start + 1) as u64));
    bound.valid(handle).map_or(ptr::null_mut(), above)
}

/// Returns the next lower segment; null for the lowest, and for an invalid handle.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_prev(handle: *mut Node) -> *mut Node {
    let bound = physseg();
    let below = |node: Node| {
        let below = node.start.checked_sub(1).and_then(|pfn| bound.map.at_or_before(pfn as u64));
        bound.neighbour(below)
    };
    bound.valid(handle).map_or(ptr::null_mut(), below)
}

/// Returns the lowest segment; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_first() -> *mut Node {
    let bound = physseg();
    bound.neighbour(bound.map.at_or_after(0))
}

/// Returns the highest segment; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_last() -> *mut Node {
    let bound = physseg();
    bound.neighbour(bound.map.at_or_before(u64::MAX))
}

/// Returns the highest page frame of any segment; −1 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_highest_frame() -> Pfn {
    physseg().map.at_or_before(u64::MAX).map_or(NOWHERE, |(range, _)| range.end() as Pfn - 1)
}

/// Returns the segment of a page frame and writes the page frame's index in it. Returns null, and writes nothing, if
/// it is in none.
///
/// # Safety
/// `offset` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_find(pfn: Pfn, offset: *mut Pfn) -> *mut Node {
    let Some((Plugged { node, .. }, range)) = look(|seen| seen.find(pfn)) else { return ptr::null_mut() };
    if !offset.is_null() {
        // SAFETY: `offset` is not null, so the caller guarantees that it is valid for writes.
        unsafe { offset.write(pfn - range.start) };
    }
    node
}
