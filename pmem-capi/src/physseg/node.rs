//! A segment as C sees it.

use std::ffi::{c_int, c_uint, c_void};

/// `struct uvm_physseg_node`; what the pmap keeps follows at once.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Node {
    links: [usize; 3],
    /// The first page frame.
    pub start: usize,
    /// The page frame after the last.
    pub end: usize,
    /// The first that is available.
    pub avail_start: usize,
    /// The one after the last that is available.
    pub avail_end: usize,
    /// Its pages, once it has them.
    pub pgs: *mut c_void,
    /// The slab that they are from; only shown.
    pub ext: *mut c_void,
    /// The free list.
    pub free_list: c_int,
    /// Where a search should start.
    pub start_hint: c_uint,
}
