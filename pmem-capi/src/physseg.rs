//! `uvm_physseg.h`: NetBSD's interface, as its kernels and tests know it. The manual page uvm_hotplug(9) says what it
//! does, and the comments here where that leaves a point open. The native interface is [`pmem_uvm::Uvm`].
//!
//! The C side may read nodes and write their bounds. Anything that must not be lost is kept separately.

mod boot;
mod host;
mod memory;
mod node;
mod pages;
mod plug;
mod seen;
mod segment;
mod slab;

pub use boot::{uvm_page_physload, uvm_page_physunload, uvm_page_physunload_force};
pub use host::Host;
pub use memory::{uvm_physseg_alloc, uvm_physseg_free};
use node::{Node, Pfn, Plugged};
pub use pages::{
    uvm_physseg_init_seg, uvm_physseg_seg_alloc_from_slab, uvm_physseg_seg_chomp_slab,
    uvm_physseg_seg_free_to_slab,
};
pub use plug::{uvm_physseg_plug, uvm_physseg_unplug};
use pmem_uvm::{FrameMap, FrameRange};
use seen::Seen;
pub use segment::{
    uvm_phys_to_vm_page, uvm_physseg_find, uvm_physseg_get_avail_end, uvm_physseg_get_avail_start,
    uvm_physseg_get_end, uvm_physseg_get_first, uvm_physseg_get_free_list, uvm_physseg_get_highest_frame,
    uvm_physseg_get_last, uvm_physseg_get_next, uvm_physseg_get_pg, uvm_physseg_get_pmseg,
    uvm_physseg_get_prev, uvm_physseg_get_start, uvm_physseg_get_start_hint, uvm_physseg_set_avail_end,
    uvm_physseg_set_avail_start, uvm_physseg_set_start_hint,
};
use slab::Slabs;
use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The result of getters for an invalid handle.
const NOWHERE: Pfn = Pfn::MAX;

/// The segments of the bound host.
struct Physseg {
    host: Host,
    /// For look-ups: the node and the pages of each segment, by page frame.
    map: FrameMap<Plugged>,
    slabs: Slabs,
    /// The nodes that may be read, by address, each with those of its page frames that were counted in `npages`.
    nodes: HashMap<usize, Range<Pfn>, BuildHasherDefault<Addresses>>,
    /// The array of nodes for use before memory can be allocated: its exposed addresses. Nodes in it are never
    /// reused, because handles to them stay around.
    boot: Range<usize>,
    boot_used: usize,
    /// Page frames that are being plugged. The lock is not held while the host allocates memory for them.
    coming: Vec<FrameRange>,
    /// Whether any segment was given pages. Until then every plug is one at boot.
    given: bool,
}

/// A hash for addresses. They come from an allocator, so nobody can choose them to collide.
#[derive(Default)]
struct Addresses(u64);

impl Hasher for Addresses {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

static PHYSSEG: Mutex<Option<Physseg>> = Mutex::new(None);

/// Locks the bound host's segments. Without a host all this can do is abort: it does not even know a panic function.
fn physseg() -> Bound {
    let guard = PHYSSEG.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        std::process::abort();
    }
    Bound { guard, changed: false }
}

/// Calls `run` with the segments as this thread last saw them, or with a fresh copy if anything has changed since.
#[inline]
fn look<T>(run: impl Fn(&mut Seen) -> T) -> T {
    let now = || {
        let bound = physseg();
        Seen::new(bound.map.clone(), &bound.host)
    };
    seen::look(now, run)
}

/// The lock on the segments. Taking it mutably counts as a change.
struct Bound {
    guard: MutexGuard<'static, Option<Physseg>>,
    changed: bool,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.changed {
            seen::changed();
        }
    }
}

impl std::ops::Deref for Bound {
    type Target = Physseg;

    fn deref(&self) -> &Physseg {
        self.guard.as_ref().unwrap_or_else(|| std::process::abort())
    }
}

impl std::ops::DerefMut for Bound {
    fn deref_mut(&mut self) -> &mut Physseg {
        if !self.changed {
            self.changed = true;
            seen::forget();
        }
        self.guard.as_mut().unwrap_or_else(|| std::process::abort())
    }
}

impl Bound {
    /// Releases the lock and calls the host's panic, which may call this interface again.
    fn panic(self, message: &std::ffi::CStr) -> ! {
        let host = self.host;
        drop(self);
        host.panic(message)
    }

    /// Returns a handle's node if the handle is valid.
    fn valid(&self, handle: *mut Node) -> Option<Node> {
        if !self.nodes.contains_key(&handle.addr()) {
            return None;
        }
        // SAFETY: it is one of the nodes that may be read.
        let node = unsafe { handle.read() };
        (!self.host.page_init_done() || !node.pgs.is_null()).then_some(node)
    }

    /// Returns a handle's node. An invalid handle is fatal.
    fn must(self, handle: *mut Node, what: &'static std::ffi::CStr) -> (Self, Node) {
        match self.valid(handle) {
            Some(node) => (self, node),
            None => self.panic(what),
        }
    }
}

impl Physseg {
    fn node_size(&self) -> usize {
        (size_of::<Node>() + self.host.pmseg_size).next_multiple_of(align_of::<Node>())
    }

    fn neighbour(&self, found: Option<(FrameRange, &Plugged)>) -> *mut Node {
        found.map_or(ptr::null_mut(), |(_, plugged)| plugged.node)
    }

    /// Hands out nodes from the boot array, in one piece. They are never handed out again, even after they are freed.
    fn boot_nodes(&mut self, bytes: usize) -> Option<*mut c_void> {
        let size = self.node_size();
        let max = usize::try_from(self.host.physseg_max).unwrap_or(0);
        if self.boot.is_empty() {
            let words: &'static mut [u64] = vec![0; (size * max).div_ceil(8)].leak();
            let start = words.as_mut_ptr().expose_provenance();
            self.boot = start..start + size * max;
        }
        let count = bytes / size;
        if count == 0 || count > max - self.boot_used.min(max) {
            return None;
        }
        // Both nodes and the array are aligned to words. The offset is inside the array, because no more than `max`
        // nodes are handed out.
        let first: *mut c_void = ptr::with_exposed_provenance_mut(self.boot.start + self.boot_used * size);
        self.boot_used += count;
        (0..count).for_each(|i| self.learn(first.wrapping_byte_add(i * size).cast()));
        Some(first)
    }

    fn is_boot(&self, at: *const c_void) -> bool {
        self.boot.contains(&at.addr())
    }

    /// Records that a node may be read. None of its page frames is counted yet.
    fn learn(&mut self, node: *mut Node) {
        self.nodes.insert(node.addr(), 0..0);
    }

    /// Maps page frames to a node and its pages.
    fn map_to(&mut self, start: Pfn, end: Pfn, node: *mut Node, pages: *mut c_void) {
        if let Ok(range) = FrameRange::new(start as u64, (end - start) as u64) {
            self.map.insert(range, Plugged { node, pages });
        }
    }

    fn find(&self, pfn: Pfn) -> Option<(*mut Node, Range<Pfn>)> {
        let (range, plugged) = self.map.get(pfn as u64)?;
        Some((plugged.node, range.start() as Pfn..range.end() as Pfn))
    }

    /// Returns entry `index` of a segment's page array.
    fn page(&self, node: &Node, index: Pfn) -> *mut c_void {
        node.pgs.wrapping_byte_add(index.wrapping_mul(self.host.vm_page_size))
    }
}

/// Binds what the embedding kernel owns.
///
/// # Safety
/// `host` points to a `struct uvm_physseg_host` whose members are what the header says, for as long as it is bound.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_bind(host: *const Host) {
    if host.is_null() {
        std::process::abort();
    }
    // SAFETY: the caller guarantees that `host` points to a host.
    let host = unsafe { host.read() };
    let bound = Physseg {
        host,
        map: FrameMap::new(),
        slabs: Slabs::default(),
        nodes: HashMap::default(),
        coming: Vec::new(),
        boot: 0..0,
        boot_used: 0,
        given: false,
    };
    let mut guard = PHYSSEG.lock().unwrap_or_else(PoisonError::into_inner);
    *guard = Some(bound);
    seen::changed();
}

/// Returns the number of segments.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_nentries() -> usize {
    physseg().map.len()
}

/// Returns the size of a node in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_node_size() -> usize {
    physseg().node_size()
}

/// Forgets all segments. Nodes that were handed out of the boot array are not reused.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_init() {
    let mut bound = physseg();
    bound.map = FrameMap::new();
    bound.slabs = Slabs::default();
    bound.given = false;
}

/// Returns whether a handle is valid: before `page_init_done` any that is not null, afterwards one whose segment has
/// pages.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_valid_p(handle: *mut Node) -> bool {
    let bound = physseg();
    bound.valid(handle).is_some() || !handle.is_null() && !bound.host.page_init_done()
}
