//! `uvm_physseg.h`: NetBSD's interface, as its kernels and tests know it. What it does is in the manual page uvm_hotplug(9) and in
//! the comments here where that leaves things open; the native interface is [`pmem_uvm::Uvm`].
//!
//! Nodes are the C side's to read, and their bounds to write; what must not be lost is kept beside them.

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

/// What getters say of an invalid handle.
const NOWHERE: Pfn = Pfn::MAX;

/// The segments of the bound host.
struct Physseg {
    host: Host,
    /// Where each segment is, for look-ups; nodes by address.
    map: FrameMap<Plugged>,
    slabs: Slabs,
    /// By address, the nodes that may be looked at, with the page frames of each that were counted in `npages`.
    nodes: HashMap<usize, Range<Pfn>, BuildHasherDefault<Addresses>>,
    /// Nodes that are handed out before memory can be allocated; they stay for good, for handles do.
    /// Their address, exposed, and how many bytes they have.
    boot: Range<usize>,
    boot_used: usize,
    /// Page frames that are being plugged: while the host is asked for memory nothing is locked.
    coming: Vec<FrameRange>,
    /// Whether any segment was given pages: until then a plug is one at boot.
    given: bool,
}

/// Spreads addresses: they come from an allocator, and nobody chooses them to collide.
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

/// The bound host's segments. Without a host there is nothing to do but abort: not even its panic is known.
fn physseg() -> Bound {
    let guard = PHYSSEG.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        std::process::abort();
    }
    Bound { guard, changed: false }
}

/// Calls `run` with what this thread saw of the segments, if nothing changed since, or sees now.
#[inline]
fn look<T>(run: impl Fn(&mut Seen) -> T) -> T {
    let now = || {
        let bound = physseg();
        Seen::new(bound.map.clone(), &bound.host)
    };
    seen::look(now, run)
}

/// The lock on the segments. Whoever gets at them to change them is noted.
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
    /// Lets go of the lock, and calls the host's panic: it may come back here on its way down.
    fn panic(self, message: &std::ffi::CStr) -> ! {
        let host = self.host;
        drop(self);
        host.panic(message)
    }

    /// A handle's node, if the handle is valid.
    fn valid(&self, handle: *mut Node) -> Option<Node> {
        if !self.nodes.contains_key(&handle.addr()) {
            return None;
        }
        // SAFETY: it is one of the nodes that are there.
        let node = unsafe { handle.read() };
        (!self.host.page_init_done() || !node.pgs.is_null()).then_some(node)
    }

    /// A handle's node; an invalid one is fatal.
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

    /// Nodes before memory can be allocated: in one piece, and never again once they were freed.
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
        // Nodes are aligned to words, and so is the array; the offset is inside, for no more than `max` are handed out.
        let first: *mut c_void = ptr::with_exposed_provenance_mut(self.boot.start + self.boot_used * size);
        self.boot_used += count;
        (0..count).for_each(|i| self.learn(first.wrapping_byte_add(i * size).cast()));
        Some(first)
    }

    fn is_boot(&self, at: *const c_void) -> bool {
        self.boot.contains(&at.addr())
    }

    /// Says that a node may be looked at; none of its page frames is counted yet.
    fn learn(&mut self, node: *mut Node) {
        self.nodes.insert(node.addr(), 0..0);
    }

    /// Puts a node, and the pages that it has, where the map leads to.
    fn map_to(&mut self, start: Pfn, end: Pfn, node: *mut Node, pages: *mut c_void) {
        if let Ok(range) = FrameRange::new(start as u64, (end - start) as u64) {
            self.map.insert(range, Plugged { node, pages });
        }
    }

    fn find(&self, pfn: Pfn) -> Option<(*mut Node, Range<Pfn>)> {
        let (range, plugged) = self.map.get(pfn as u64)?;
        Some((plugged.node, range.start() as Pfn..range.end() as Pfn))
    }

    /// The page array entry `index` of a segment.
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
    // SAFETY: the caller's.
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

/// How many segments there are.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_nentries() -> usize {
    physseg().map.len()
}

/// The size of a node in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_node_size() -> usize {
    physseg().node_size()
}

/// Forgets all segments. Nodes that were handed out before memory could be allocated stay handed out.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_init() {
    let mut bound = physseg();
    bound.map = FrameMap::new();
    bound.slabs = Slabs::default();
    bound.given = false;
}

/// Whether a handle is valid: before `page_init_done` any that is not null, afterwards one that has pages.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_valid_p(handle: *mut Node) -> bool {
    let bound = physseg();
    bound.valid(handle).is_some() || !handle.is_null() && !bound.host.page_init_done()
}
