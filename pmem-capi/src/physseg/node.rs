//! A segment as C sees it.

use std::ffi::{c_int, c_uint, c_void};

/// A page frame number: `paddr_t` in C.
pub type Pfn = usize;

/// `struct uvm_physseg_node`. The pmap's data follows it directly.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Node {
    links: [usize; 3],
    /// The first page frame.
    pub start: usize,
    /// The page frame after the last.
    pub end: usize,
    /// The first available page frame.
    pub avail_start: usize,
    /// The page frame after the last available one.
    pub avail_end: usize,
    /// The array of its pages; null until it has them.
    pub pgs: *mut c_void,
    /// The number of the slab that the pages are from. It is only shown to C.
    pub ext: *mut c_void,
    /// The free list.
    pub free_list: c_int,
    /// Where a search should start.
    pub start_hint: c_uint,
}

/// The addresses of a node and of its pages, null if it has none. They are only dereferenced where a caller or the
/// map vouches for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plugged {
    pub(super) node: *mut Node,
    pub(super) pages: *mut c_void,
}

// SAFETY: these are addresses. What they point to is only touched under the lock on `Physseg`, or by the C side,
// which serialises its own calls.
unsafe impl Send for Plugged {}
// SAFETY: as above. A shared reference only gives out the addresses.
unsafe impl Sync for Plugged {}
