//! Memory for nodes.

use super::{Bound, physseg};
use std::ffi::c_void;

/// Allocates nodes: before `page_init_done` whole ones from an array of `VM_PHYSSEG_MAX`, afterwards as many bytes as asked for,
/// zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_alloc(bytes: usize) -> *mut c_void {
    alloc(physseg(), bytes).1
}

/// Frees what [`uvm_physseg_alloc`] gave: before `page_init_done` whole nodes only, which are then lost.
///
/// # Safety
/// `at` came from [`uvm_physseg_alloc`] with this size, if `page_init_done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_free(at: *mut c_void, bytes: usize) {
    let bound = physseg();
    if !bound.host.page_init_done() && !bytes.is_multiple_of(bound.node_size()) {
        bound.panic(c"uvm_physseg_free: at boot only whole nodes are freed");
    }
    free(bound, at, bytes);
}

/// Memory for nodes: at boot from an array, afterwards from the host, with nothing locked meanwhile.
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

/// Gives nodes back, with nothing locked meanwhile. What came from the boot array goes nowhere.
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
