//! `uvm_page.h`: areas that are set aside, lent to movable pages, and claimed.

use crate::hotplug::migrate;
use crate::page::{CList, Paddr, alone, beside, frames, request, status};
use std::ffi::c_int;

/// Sets the page frames `start..end` aside and lends them to movable pages.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_area_lend(start: Paddr, end: Paddr) -> c_int {
    status(frames(start, end).and_then(|range| beside(range, |uvm| uvm.lend(range))))
}

/// Takes the area `start..end` back.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_area_take_back(start: Paddr, end: Paddr) -> c_int {
    status(frames(start, end).and_then(|range| beside(range, |uvm| uvm.take_back(range, &mut migrate))))
}

/// Claims a run out of the areas between two addresses. All numbers are in bytes.
///
/// # Safety
/// `list` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_area_claim(
    size: usize,
    low: Paddr,
    high: Paddr,
    align: Paddr,
    boundary: Paddr,
    list: *mut CList,
) -> c_int {
    let claimed = request(size, low, high, align, boundary, 1)
        .and_then(|request| alone(|uvm| uvm.claim(&request, &mut migrate)));
    status(claimed.map(|pages| {
        // SAFETY: the caller guarantees that `list` is valid for writes.
        unsafe { list.write(pages.into()) };
    }))
}
