//! Memory for nodes.

use super::{Bound, physseg};
use std::ffi::c_void;

/// Allocates memory for nodes: before `page_init_done` whole nodes from an array of `VM_PHYSSEG_MAX`, afterwards any
/// number of bytes. The memory is zeroed; null if there is none after boot.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_alloc(bytes: usize) -> *mut c_void {
    alloc(physseg(), bytes).1
}

/// Frees memory from [`uvm_physseg_alloc`]. Before `page_init_done` only whole nodes can be freed, and they are not
/// reused.
///
/// # Safety
/// After `page_init_done`, `at` came from [`uvm_physseg_alloc`] with this size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_free(at: *mut c_void, bytes: usize) {
    let bound = physseg();
    if !bound.host.page_init_done() && !bytes.is_multiple_of(bound.node_size()) {
        bound.panic(c"uvm_physseg_free: at boot only whole nodes are freed");
    }
    free(bound, at, bytes);
}

/// Allocates memory for nodes: at boot from an array, afterwards from the host, with the lock released meanwhile.
pub(super) fn alloc(mut bound: Bound, bytes: usize) -> (Bound, *mut c_void) {
    if !bound.host.page_init_done() {
        if !bytes.is_multiple_of(bound.node_size()) {
            bound.panic(c"uvm_physseg_alloc: at boot only whole nodes are allocated");
        }
        return match bound.boot_nodes(bytes) {
            Some(at) => (bound, at),
            None => bound.panic(c"uvm_physseg_alloc: more than VM_PHYSSEG_MAX segments at boot"),
        };
    }
    let host = bound.host;
    drop(bound);
    let at = host.alloc_zeroed(bytes);
    let mut bound = physseg();
    if !at.is_null() && bytes >= bound.node_size() {
        bound.learn(at.cast());
    }
    (bound, at)
}

/// Frees nodes, with the lock released meanwhile. Nodes of the boot array are not reused.
pub(super) fn free(mut bound: Bound, at: *mut c_void, bytes: usize) {
    let host = bound.host;
    let goes = host.page_init_done() && !bound.is_boot(at);
    bound.nodes.remove(&at.addr());
    let slab = bound.slabs.forget(at.cast());
    drop(bound);
    if let Some((pages, bytes)) = slab {
        host.free(pages, bytes);
    }
    if goes {
        host.free(at, bytes);
    }
}
