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
use std::ffi::{c_int, c_uint, c_void};
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
    /// Nodes that are handed out before memory can be allocated.
    boot: Vec<u64>,
    boot_used: usize,
    /// Whether any segment was given pages: until then a plug is one at boot.
    given: bool,
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
        if handle.is_null() {
            return None;
        }
        // SAFETY: a handle that is not null leads to a node: the caller's part of every function of the header. Nodes that are
        // no longer in use stay readable, and have no pages.
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
            self.boot = vec![0; (size * max).div_ceil(8)];
        }
        let count = bytes / size;
        if count == 0 || count > max - self.boot_used.min(max) {
            return None;
        }
        let at = self.boot_used * size;
        self.boot_used += count;
        // Nodes are aligned to words, and so is the array; the offset is inside, for no more than `max` are handed out.
        Some(self.boot.as_mut_ptr().wrapping_byte_add(at).cast())
    }

    fn is_boot(&self, at: *const c_void) -> bool {
        let start = self.boot.as_ptr().addr();
        (start..start + self.boot.len() * 8).contains(&at.addr())
    }

    /// Memory for `bytes`; `None` if there is none.
    fn alloc(&mut self, bytes: usize) -> Result<*mut c_void, &'static std::ffi::CStr> {
        if self.host.page_init_done() {
            return Ok(self.host.alloc_zeroed(bytes));
        }
        if !bytes.is_multiple_of(self.node_size()) {
            return Err(c"uvm_physseg_alloc: at boot only whole nodes are allocated");
        }
        self.boot_nodes(bytes).ok_or(c"uvm_physseg_alloc: more than VM_PHYSSEG_MAX segments at boot")
    }

    fn free(&self, at: *mut c_void, bytes: usize) {
        // What came from the boot array goes nowhere.
        if self.host.page_init_done() && !self.is_boot(at) {
            self.host.free(at, bytes);
        }
    }

    /// Makes the map agree with a node whose bounds were changed here.
    fn remap(&mut self, old: Option<Pfn>, handle: *mut Node) {
        if let Some(start) = old {
            self.map.remove(start as u64);
        }
        // SAFETY: the node is in use: the callers have just written to it.
        let node = unsafe { handle.read() };
        if let Ok(range) = FrameRange::new(node.start as u64, (node.end - node.start) as u64) {
            self.map.insert(range, Handle(handle));
        }
    }

    /// The pages of a segment's own that were counted: those that are available.
    fn counted(&self, node: &Node, from: Pfn, to: Pfn) -> Pfn {
        if node.pgs.is_null() {
            return 0;
        }
        node.avail_end.min(to).saturating_sub(node.avail_start.max(from))
    }

    fn find(&self, pfn: Pfn) -> Option<(*mut Node, Pfn)> {
        let (range, handle) = self.map.get(pfn as u64)?;
        Some((handle.0, pfn - range.start() as Pfn))
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
    // SAFETY: the caller's.
    let host = unsafe { host.read() };
    let bound = Physseg {
        host,
        map: FrameMap::new(),
        slabs: Slabs::default(),
        boot: Vec::new(),
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
    physseg().map = FrameMap::new();
}

/// Whether a handle is valid: before `page_init_done` any that is not null, afterwards one that has pages.
///
/// # Safety
/// A handle that is not null came from this interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_valid_p(handle: *mut Node) -> bool {
    physseg().valid(handle).is_some()
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
    let above = |node: Node| bound.neighbour(bound.map.at_or_after(node.end as u64));
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
    let Some((handle, at)) = physseg().find(pfn) else { return ptr::null_mut() };
    if !offset.is_null() {
        // SAFETY: the caller's.
        unsafe { offset.write(at) };
    }
    handle
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
    if bound.find(pfn).is_some() {
        return false;
    }
    if bound.map.overlapping(range).next().is_some() {
        bound.panic(c"uvm_physseg_plug: overlaps a segment above it");
    }
    let size = bound.node_size();
    let handle: *mut Node = match bound.alloc(size) {
        Ok(at) if at.is_null() => return false,
        Ok(at) => at.cast(),
        Err(message) => bound.panic(message),
    };
    // SAFETY: the memory is a node's, new and zeroed.
    unsafe {
        (*handle).start = pfn;
        (*handle).end = pfn + pages;
        (*handle).avail_start = pfn;
        (*handle).avail_end = pfn + pages;
    }
    // Once one segment has pages, the page allocator is at work.
    // SAFETY: nodes in the map are in use.
    let hot = bound.given && bound.map.iter().any(|(_, handle)| unsafe { !(*handle.0).pgs.is_null() });
    if hot {
        let host = bound.host;
        let Some((slab, at)) = bound.slabs.take_anywhere(&host, pages) else {
            bound.free(handle.cast(), size);
            return false;
        };
        bound.slabs.set(handle, slab);
        // SAFETY: the slab has room for so many pages at `at`, and nobody else has it; the node is ours.
        unsafe {
            at.cast::<u8>().write_bytes(0, pages * host.vm_page_size);
            (*handle).ext = bound.slabs.shown(slab);
        }
        bound.remap(None, handle);
        drop(bound);
        host.add_physmem(pages);
        host.pdpol_reinit();
        // SAFETY: the node is in use and has no pages yet; these are its.
        unsafe { uvm_physseg_init_seg(handle, at) };
    } else {
        bound.remap(None, handle);
        drop(bound);
    }
    if !out.is_null() {
        // SAFETY: the caller's.
        unsafe { out.write(handle) };
    }
    true
}

/// Unplugs page frames of one segment; `false`, and nothing done, if they are not all in one. Taking the last segment is
/// fatal. The pages go back to their slab, and a slab without any goes back to the allocator, if it came from there.
///
/// # Safety
/// Nobody uses the pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_unplug(pfn: Pfn, pages: usize) -> bool {
    let mut bound = physseg();
    let Some((handle, offset)) = bound.find(pfn) else { return false };
    // SAFETY: nodes in the map are in use.
    let old = unsafe { handle.read() };
    let end = match pfn.checked_add(pages) {
        Some(end) if pages > 0 && end <= old.end => end,
        _ => return false,
    };
    let (front, back) = (offset == 0, end == old.end);
    if front && back && bound.map.len() == 1 {
        bound.panic(c"uvm_physseg_unplug: out of memory: the last segment");
    }
    let size = bound.node_size();
    let mut tail: *mut Node = ptr::null_mut();
    if !front && !back {
        tail = match bound.alloc(size) {
            Ok(at) if at.is_null() => return false,
            Ok(at) => at.cast(),
            Err(message) => bound.panic(message),
        };
    }
    let host = bound.host;
    let counted = bound.counted(&old, pfn, end);
    if !old.pgs.is_null() {
        let at = bound.page(&old, offset);
        bound.slabs.put_back(&host, handle, at, pages);
    }
    let after = bound.page(&old, end - old.start);
    // SAFETY: `handle` is a node in use, and `tail`, where there is one, a new node of the same size.
    unsafe {
        match (front, back) {
            (true, true) => {
                bound.map.remove(old.start as u64);
                bound.slabs.forget(&host, handle);
                handle.cast::<u8>().write_bytes(0, size);
                bound.free(handle.cast(), size);
            }
            (true, false) => {
                (*handle).start = end;
                (*handle).avail_start = end;
                (*handle).pgs = if old.pgs.is_null() { old.pgs } else { after };
                bound.remap(Some(old.start), handle);
            }
            (false, true) => {
                (*handle).end = pfn;
                (*handle).avail_end = pfn;
                bound.remap(Some(old.start), handle);
            }
            (false, false) => {
                // The tail inherits list, hint and what the pmap keeps; what was not available stays so.
                handle.cast::<u8>().copy_to_nonoverlapping(tail.cast(), size);
                (*tail).start = end;
                (*tail).avail_start = old.avail_start.clamp(end, old.end);
                (*tail).avail_end = old.avail_end.max(end);
                (*tail).pgs = if old.pgs.is_null() { old.pgs } else { after };
                (*handle).end = pfn;
                (*handle).avail_start = old.avail_start.min(pfn);
                (*handle).avail_end = old.avail_end.min(pfn);
                bound.slabs.share(handle, tail);
                bound.remap(Some(old.start), handle);
                bound.remap(None, tail);
            }
        }
    }
    drop(bound);
    host.sub_npages(counted);
    if host.page_init_done() && !old.pgs.is_null() {
        host.sub_physmem(pages);
    }
    true
}

/// Loads page frames at boot, part of them available, on a free list. Fatal after `page_init_done`, for a bad free list, and for
/// `start` not below `end`.
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
        return ptr::null_mut();
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
    let _ = physseg().must(handle, c"uvm_physseg_set_avail_start: invalid handle");
    // SAFETY: it is valid, so it leads to a node.
    unsafe { (*handle).avail_start = pfn };
}

/// Sets the page frame after the last that is available.
///
/// # Safety
/// The handle leads to a segment in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_set_avail_end(handle: *mut Node, pfn: Pfn) {
    let _ = physseg().must(handle, c"uvm_physseg_set_avail_end: invalid handle");
    // SAFETY: it is valid, so it leads to a node.
    unsafe { (*handle).avail_end = pfn };
}

/// Allocates nodes: before `page_init_done` whole ones from an array of `VM_PHYSSEG_MAX`, afterwards as many bytes as asked for,
/// zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn uvm_physseg_alloc(bytes: usize) -> *mut c_void {
    let mut bound = physseg();
    match bound.alloc(bytes) {
        Ok(at) => at,
        Err(message) => bound.panic(message),
    }
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
    bound.free(at, bytes);
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
    // The page allocator looks segments up.
    drop(bound);
    for pfn in node.start.max(node.avail_start)..node.end.min(node.avail_end) {
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
    bound.slabs.forget(&host, handle);
    bound.slabs.set(handle, slab);
    // SAFETY: the caller's.
    unsafe { (*handle).ext = bound.slabs.shown(slab) };
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
