//! A segment as C sees it.

use std::ffi::{c_int, c_uint, c_void};

/// A page frame number, `paddr_t` in C.
pub type Pfn = usize;

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

/// The addresses of a node and of its pages, if it has any. They are only followed where a caller vouches for them, or the map does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plugged {
    pub(super) node: *mut Node,
    pub(super) pages: *mut c_void,
}

// SAFETY: these are addresses. What they lead to is only touched under the lock on `Physseg`, or by the C side, whose calls
// are its own to serialise.
unsafe impl Send for Plugged {}
// SAFETY: as above; what is shared only gives its addresses away.
unsafe impl Sync for Plugged {}
