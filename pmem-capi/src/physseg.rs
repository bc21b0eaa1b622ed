//! `uvm_physseg.h`: NetBSD's interface, as its kernels and tests know it. What it does is in the manual page uvm_hotplug(9) and in
//! the comments here where that leaves things open; the native interface is [`pmem_uvm::Uvm`].
//!
//! Nodes are the C side's to read, and their bounds to write; what must not be lost is kept beside them.

mod host;
mod node;
mod slab;

pub use host::Host;
use node::Node;
use pmem_uvm::{FrameMap, FrameRange};
use slab::Slabs;
use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A page frame number, `paddr_t` in C.
type Pfn = usize;
/// What getters say of an invalid handle.
const NOWHERE: Pfn = Pfn::MAX;

/// The segments of the bound host.
struct Physseg {
    host: Host,
    /// Where each segment is, for look-ups; nodes by address.
    map: FrameMap<Handle>,
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

/// The address of a node. It is only followed where a caller vouches for it, or the map does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Handle(*mut Node);

// SAFETY: a handle is an address. What it leads to is only touched under the lock on `Physseg`, or by the C side, whose calls
// are its own to serialise.
unsafe impl Send for Handle {}
// SAFETY: as above; a shared handle only gives its address away.
unsafe impl Sync for Handle {}

static PHYSSEG: Mutex<Option<Physseg>> = Mutex::new(None);

/// The bound host's segments. Without a host there is nothing to do but abort: not even its panic is known.
fn physseg() -> Bound {
    let guard = PHYSSEG.lock().unwrap_or_else(PoisonError::into_inner);
    if guard.is_none() {
        std::process::abort();
    }
    Bound(guard)
}

struct Bound(MutexGuard<'static, Option<Physseg>>);

impl std::ops::Deref for Bound {
    type Target = Physseg;

    fn deref(&self) -> &Physseg {
        self.0.as_ref().unwrap_or_else(|| std::process::abort())
    }
}

impl std::ops::DerefMut for Bound {
    fn deref_mut(&mut self) -> &mut Physseg {
        self.0.as_mut().unwrap_or_else(|| std::process::abort())
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

    fn neighbour(&self, found: Option<(FrameRange, &Handle)>) -> *mut Node {
        found.map_or(ptr::null_mut(), |(_, handle)| handle.0)
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

    /// Puts a node where the map leads to.
    fn map_to(&mut self, start: Pfn, end: Pfn, node: *mut Node) {
        if let Ok(range) = FrameRange::new(start as u64, (end - start) as u64) {
            self.map.insert(range, Handle(node));
        }
    }

    fn find(&self, pfn: Pfn) -> Option<(*mut Node, Range<Pfn>)> {
        let (range, handle) = self.map.get(pfn as u64)?;
        Some((handle.0, range.start() as Pfn..range.end() as Pfn))
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
    *PHYSSEG.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
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
    /// The first page frame; −1 for an invalid handle.
    uvm_physseg_get_start: start;
    /// The page frame after the last; −1 for an invalid handle.
    uvm_physseg_get_end: end;
    /// The first page frame that is available; −1 for an invalid handle.
    uvm_physseg_get_avail_start: avail_start;
    /// The page frame after the last that is available; −1 for an invalid handle.
    uvm_physseg_get_avail_end: avail_end;
}

/// The page of a segment by its place in it; an invalid handle is fatal.
///
/// # Safety
/// The handle came from this interface, and has so many pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_pg(handle: *mut Node, index: Pfn) -> *mut c_void {
    let (bound, node) = physseg().must(handle, c"uvm_physseg_get_pg: invalid handle");
    bound.page(&node, index)
}

/// The page of an address, in one look-up; null if no segment has it (`uvm_phys_to_vm_page`).
#[unsafe(no_mangle)]
pub extern "C" fn uvm_phys_to_vm_page(paddr: Pfn) -> *mut c_void {
    let bound = physseg();
    let pfn = paddr >> bound.host.page_shift;
    let Some((handle, range)) = bound.find(pfn) else { return ptr::null_mut() };
    // SAFETY: what the map leads to is one of the nodes that are there.
    let node = unsafe { handle.read() };
    if node.pgs.is_null() { ptr::null_mut() } else { bound.page(&node, pfn - range.start) }
}

/// What the pmap keeps of a segment; an invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_pmseg(handle: *mut Node) -> *mut c_void {
    let _ = physseg().must(handle, c"uvm_physseg_get_pmseg: invalid handle");
    handle.wrapping_add(1).cast()
}

/// A segment's free list; an invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_free_list(handle: *mut Node) -> c_int {
    physseg().must(handle, c"uvm_physseg_get_free_list: invalid handle").1.free_list
}

/// Where a search in a segment should start; an invalid handle is fatal.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_start_hint(handle: *mut Node) -> c_uint {
    physseg().must(handle, c"uvm_physseg_get_start_hint: invalid handle").1.start_hint
}

/// Says where a search in a segment should start; `false` for an invalid handle.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_start_hint(handle: *mut Node, hint: c_uint) -> bool {
    let bound = physseg();
    if bound.valid(handle).is_none() {
        return false;
    }
    // SAFETY: it is valid, so it leads to a node.
    unsafe { (*handle).start_hint = hint };
    true
}

/// The segment above; null past the last, and for an invalid handle.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_get_next(handle: *mut Node) -> *mut Node {
    let bound = physseg();
    let above = |node: Node| bound.neighbour(bound.map.at_or_after(node.end.max(node.start + 1) as u64));
    bound.valid(handle).map_or(ptr::null_mut(), above)
}

/// The segment below; null past the first, and for an invalid handle.
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

/// The lowest segment; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_first() -> *mut Node {
    let bound = physseg();
    bound.neighbour(bound.map.at_or_after(0))
}

/// The highest segment; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_last() -> *mut Node {
    let bound = physseg();
    bound.neighbour(bound.map.at_or_before(u64::MAX))
}

/// The highest page frame of any segment; −1 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_get_highest_frame() -> Pfn {
    physseg().map.at_or_before(u64::MAX).map_or(NOWHERE, |(range, _)| range.end() as Pfn - 1)
}

/// The segment that a page frame is in, and its place there; null, and nothing written, if it is in none.
///
/// # Safety
/// `offset` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_find(pfn: Pfn, offset: *mut Pfn) -> *mut Node {
    let Some((handle, range)) = physseg().find(pfn) else { return ptr::null_mut() };
    if !offset.is_null() {
        // SAFETY: the caller's.
        unsafe { offset.write(pfn - range.start) };
    }
    handle
}

/// Memory for nodes: at boot from an array, afterwards from the host, with nothing locked meanwhile.
fn alloc(mut bound: Bound, bytes: usize) -> (Bound, *mut c_void) {
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
fn free(mut bound: Bound, at: *mut c_void, bytes: usize) {
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

/// Plugs page frames. Before there are pages, they are only noted; afterwards they get pages of a slab that has room, or of
/// one made for them, and are freed to the page allocator.
///
/// # Safety
/// `out` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_plug(pfn: Pfn, pages: usize, out: *mut *mut Node) -> bool {
    let mut bound = physseg();
    let Ok(range) = FrameRange::new(pfn as u64, pages as u64) else { return false };
    // What another thread plugs, or the host while it is asked for memory, is as good as there.
    if bound.find(pfn).is_some() || bound.coming.iter().any(|other| other.intersect(range).is_some()) {
        return false;
    }
    if bound.map.overlapping(range).next().is_some() {
        bound.panic(c"uvm_physseg_plug: overlaps a segment above it");
    }
    bound.coming.push(range);
    // SAFETY: the caller's.
    let plugged = unsafe { plug(bound, pfn, pages, out) };
    physseg().coming.retain(|other| *other != range);
    plugged
}

/// Plugs page frames that nobody else has or plugs.
///
/// # Safety
/// `out` is null or may be written to.
unsafe fn plug(bound: Bound, pfn: Pfn, pages: usize, out: *mut *mut Node) -> bool {
    let size = bound.node_size();
    let (bound, at) = alloc(bound, size);
    if at.is_null() {
        return false;
    }
    let handle: *mut Node = at.cast();
    // SAFETY: the memory is a node's, new and zeroed.
    unsafe {
        (*handle).start = pfn;
        (*handle).end = pfn + pages;
        (*handle).avail_start = pfn;
        (*handle).avail_end = pfn + pages;
    }
    // Once one segment has pages, the page allocator is at work.
    // SAFETY: what the map leads to is one of the nodes that are there.
    let hot = bound.given && bound.map.iter().any(|(_, handle)| unsafe { !(*handle.0).pgs.is_null() });
    // SAFETY: the node is new, and ours.
    if !(if hot {
        unsafe { plug_hot(bound, handle, pfn, pages) }
    } else {
        plug_cold(bound, handle, pfn, pages)
    }) {
        free(physseg(), at, size);
        return false;
    }
    if !out.is_null() {
        // SAFETY: the caller's.
        unsafe { out.write(handle) };
    }
    true
}

fn plug_cold(mut bound: Bound, handle: *mut Node, pfn: Pfn, pages: usize) -> bool {
    bound.map_to(pfn, pfn + pages, handle);
    true
}

/// Gives a new segment its pages.
///
/// # Safety
/// The handle leads to a new node.
unsafe fn plug_hot(mut bound: Bound, handle: *mut Node, pfn: Pfn, pages: usize) -> bool {
    let host = bound.host;
    let found = bound.slabs.take_anywhere(pages);
    drop(bound);
    let (slab, at) = match found {
        Some(found) => found,
        None => {
            let Some(bytes) = pages.checked_mul(host.vm_page_size) else { return false };
            let memory = host.alloc_zeroed(bytes);
            if memory.is_null() {
                return false;
            }
            let mut bound = physseg();
            let slab = bound.slabs.add(memory, pages, host.vm_page_size, None, true);
            let Some(at) = bound.slabs.take(slab, pages) else { return false };
            (slab, at)
        }
    };
    // SAFETY: the slab has room for so many pages at `at`, and nobody else has it; the node is the caller's.
    unsafe {
        at.cast::<u8>().write_bytes(0, pages * host.vm_page_size);
        (*handle).ext = physseg().slabs.shown(slab);
    }
    host.add_physmem(pages);
    host.pdpol_reinit();
    let mut bound = physseg();
    bound.slabs.set(handle, slab);
    bound.map_to(pfn, pfn + pages, handle);
    drop(bound);
    // SAFETY: the node is in use and has no pages yet; these are its.
    unsafe { uvm_physseg_init_seg(handle, at) };
    true
}

/// Unplugs page frames of one segment; `false`, and nothing done, if they are not all in one. Taking the last segment is
/// fatal. The pages go back to their slab, and a slab without any goes back to the allocator, if it came from there.
///
/// # Safety
/// Nobody uses the pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_unplug(pfn: Pfn, pages: usize) -> bool {
    let bound = physseg();
    let Some((handle, whole)) = bound.find(pfn) else { return false };
    let end = match pfn.checked_add(pages) {
        Some(end) if pages > 0 && end <= whole.end => end,
        _ => return false,
    };
    let Some(old) = bound.valid(handle) else { return false };
    let (front, back) = (pfn == whole.start, end == whole.end);
    if front && back && bound.map.len() == 1 {
        bound.panic(c"uvm_physseg_unplug: out of memory: the last segment");
    }
    let size = bound.node_size();
    let (mut bound, tail) = if front || back { (bound, ptr::null_mut()) } else { alloc(bound, size) };
    if !front && !back && tail.is_null() {
        return false;
    }
    let tail: *mut Node = tail.cast();
    let host = bound.host;
    let was = bound.nodes.get(&handle.addr()).cloned().unwrap_or(0..0);
    let clip = |from: Pfn, to: Pfn| was.start.max(from)..was.end.min(to).max(was.start.max(from));
    let counted = clip(pfn, end).len();
    if !old.pgs.is_null() {
        let at = bound.page(&old, pfn - whole.start);
        bound.slabs.put_back(handle, at, pages);
    }
    let after = if old.pgs.is_null() { old.pgs } else { bound.page(&old, end - whole.start) };
    bound.map.remove(whole.start as u64);
    let mut memory = None;
    // SAFETY: `handle` is one of the nodes that are there, and `tail`, where there is one, a new node of the same size.
    unsafe {
        if !front && !back {
            // The tail inherits list, hint and what the pmap keeps; what was not available stays so.
            handle.cast::<u8>().copy_to_nonoverlapping(tail.cast(), size);
            (*tail).start = end;
            (*tail).end = whole.end;
            (*tail).avail_start = old.avail_start.clamp(end, whole.end);
            (*tail).avail_end = old.avail_end.max(end);
            (*tail).pgs = after;
            (*handle).end = pfn;
            (*handle).avail_start = old.avail_start.min(pfn);
            (*handle).avail_end = old.avail_end.min(pfn);
            bound.slabs.share(handle, tail);
            bound.nodes.insert(tail.addr(), clip(end, whole.end));
            bound.map_to(end, whole.end, tail);
        } else if front && !back {
            (*handle).start = end;
            (*handle).avail_start = end;
            (*handle).pgs = after;
        } else if !front {
            (*handle).end = pfn;
            (*handle).avail_end = pfn;
        }
    }
    if front && back {
        memory = bound.slabs.forget(handle);
        // SAFETY: as above; handles to it are invalid from now on, also where it stays readable.
        unsafe { handle.cast::<u8>().write_bytes(0, size) };
        free(bound, handle.cast(), size);
    } else {
        let left = if front { end..whole.end } else { whole.start..pfn };
        bound.nodes.insert(handle.addr(), clip(left.start, left.end));
        bound.map_to(left.start, left.end, handle);
        drop(bound);
    }
    if let Some((at, bytes)) = memory {
        host.free(at, bytes);
    }
    host.sub_npages(counted);
    if host.page_init_done() {
        host.sub_physmem(pages);
    }
    true
}

/// Loads page frames at boot, part of them available, on a free list. Fatal after `page_init_done`, for a bad free list, for
/// `start` not below `end`, and where a segment is.
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
    // SAFETY: `handle` may be written to.
    if !unsafe { uvm_physseg_plug(start, end - start, &mut handle) } {
        physseg().panic(c"uvm_page_physload: uvm_physseg_plug() failed at boot");
    }
    // SAFETY: it was plugged, so it leads to a node in use.
    unsafe {
        (*handle).avail_start = avail_start;
        (*handle).avail_end = avail_end;
        (*handle).free_list = list;
    }
    handle
}

/// Takes one available page from the front of a segment, else from its end, at boot.
///
/// # Safety
/// The handle leads to a segment in use; `out` may be written to.
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
    // SAFETY: the caller's.
    unsafe { take_one(bound, pfn, out) }
}

/// Takes the first available page of a segment, whatever its list, at boot.
///
/// # Safety
/// The handle leads to a segment in use; `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_page_physunload_force(handle: *mut Node, _list: c_int, out: *mut Pfn) -> bool {
    let (bound, node) = physseg().must(handle, c"uvm_page_physunload_force: invalid handle");
    if bound.host.page_init_done() {
        bound.panic(c"uvm_page_physunload_force: after page_init_done");
    }
    if node.avail_start >= node.avail_end {
        return false;
    }
    // SAFETY: the caller's.
    unsafe { take_one(bound, node.avail_start, out) }
}

/// Unplugs one page frame, and says its address in bytes.
///
/// # Safety
/// `out` may be written to, and nobody uses the page.
unsafe fn take_one(bound: Bound, pfn: Pfn, out: *mut Pfn) -> bool {
    let address = pfn << bound.host.page_shift;
    drop(bound);
    // SAFETY: the caller's.
    unsafe {
        let taken = uvm_physseg_unplug(pfn, 1);
        if taken {
            out.write(address);
        }
        taken
    }
}

/// Sets the first page frame that is available.
///
/// # Safety
/// The handle leads to a segment in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_avail_start(handle: *mut Node, pfn: Pfn) {
    let (bound, node) = physseg().must(handle, c"uvm_physseg_set_avail_start: invalid handle");
    if !(node.start..node.avail_end).contains(&pfn) {
        bound.panic(
            c"uvm_physseg_set_avail_start: not between the segment's start and the end of what is available",
        );
    }
    drop(bound);
    // SAFETY: it is valid, so it leads to a node.
    unsafe { (*handle).avail_start = pfn };
}

/// Sets the page frame after the last that is available.
///
/// # Safety
/// The handle leads to a segment in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_avail_end(handle: *mut Node, pfn: Pfn) {
    let (bound, node) = physseg().must(handle, c"uvm_physseg_set_avail_end: invalid handle");
    if pfn <= node.avail_start || pfn > node.end {
        bound.panic(
            c"uvm_physseg_set_avail_end: not between the start of what is available and the segment's end",
        );
    }
    drop(bound);
    // SAFETY: it is valid, so it leads to a node.
    unsafe { (*handle).avail_end = pfn };
}

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

/// Gives a segment its pages: each is told its address, and those that are available are counted and freed to the page
/// allocator.
///
/// # Safety
/// The handle leads to a node without pages; `pages` leads to as many `struct vm_page` as it has page frames.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_init_seg(handle: *mut Node, pages: *mut c_void) {
    let mut bound = physseg();
    if handle.is_null() || pages.is_null() {
        bound.panic(c"uvm_physseg_init_seg: no segment, or no pages");
    }
    // SAFETY: the caller's.
    let node = unsafe {
        if !(*handle).pgs.is_null() {
            bound.panic(c"uvm_physseg_init_seg: the segment has pages");
        }
        (*handle).pgs = pages;
        handle.read()
    };
    bound.given = true;
    let host = bound.host;
    let at = |pfn: Pfn| pages.wrapping_byte_add((pfn - node.start) * host.vm_page_size);
    for pfn in node.start..node.end {
        // SAFETY: the page is one of the caller's array, and its address lies where the host says.
        unsafe {
            at(pfn).byte_add(host.vm_page_phys_addr).cast::<Pfn>().write_unaligned(pfn << host.page_shift)
        };
    }
    let counted = node.start.max(node.avail_start)..node.end.min(node.avail_end);
    if let Some(known) = bound.nodes.get_mut(&handle.addr()) {
        *known = counted.clone();
    }
    // The page allocator looks segments up.
    drop(bound);
    for pfn in counted {
        host.add_npages(1);
        host.pagefree(at(pfn));
    }
}

/// Makes a slab of memory for pages a segment's.
///
/// # Safety
/// The handle leads to a node; `pages` leads to `count` `struct vm_page`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_chomp_slab(handle: *mut Node, pages: *mut c_void, count: usize) {
    let mut bound = physseg();
    let host = bound.host;
    // At boot there is one region descriptor of extent(9) for each node.
    let descriptors = if host.page_init_done() { None } else { usize::try_from(host.physseg_max).ok() };
    let slab = bound.slabs.add(pages, count, host.vm_page_size, descriptors, false);
    // SAFETY: the caller's.
    let in_use = unsafe { !(*handle).pgs.is_null() };
    // What the segment's pages are in stays, for as long as anybody can tell.
    let memory = bound.slabs.forget(handle).filter(|_| !in_use);
    bound.slabs.set(handle, slab);
    // SAFETY: the caller's.
    unsafe { (*handle).ext = bound.slabs.shown(slab) };
    drop(bound);
    if let Some((at, bytes)) = memory {
        host.free(at, bytes);
    }
}

/// Takes pages from a segment's slab, the lowest that are free; a segment without one takes over its predecessor's. Null if there
/// is no room, or NetBSD's extent(9) would have no descriptor. At boot, having no slab at all is fatal.
///
/// # Safety
/// The handle leads to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_alloc_from_slab(handle: *mut Node, count: usize) -> *mut c_void {
    let mut bound = physseg();
    if bound.slabs.of(handle).is_none() {
        // SAFETY: the caller's.
        let start = unsafe { (*handle).start };
        let below = start.checked_sub(1).and_then(|pfn| bound.map.at_or_before(pfn as u64));
        let slab = below.and_then(|(_, below)| bound.slabs.of(below.0));
        let Some(slab) = slab.filter(|_| !bound.host.page_init_done()) else {
            bound.panic(c"uvm_physseg_seg_alloc_from_slab: no slab");
        };
        bound.slabs.set(handle, slab);
        // SAFETY: the caller's.
        unsafe { (*handle).ext = bound.slabs.shown(slab) };
    }
    let slab = bound.slabs.of(handle);
    slab.and_then(|slab| bound.slabs.take(slab, count)).unwrap_or(ptr::null_mut())
}

/// Gives pages back to a segment's slab.
///
/// # Safety
/// The handle leads to a node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_seg_free_to_slab(
    handle: *mut Node,
    pages: *mut c_void,
    count: usize,
) -> c_int {
    physseg().slabs.give(handle, pages, count)
}
