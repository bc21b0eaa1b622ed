//! Plugging and unplugging segments.

use super::memory::{alloc, free};
use super::pages::uvm_physseg_init_seg;
use super::{Bound, Pfn, node::Node, physseg};
use pmem_uvm::FrameRange;
use std::ptr;

/// Plugs page frames. Before there are pages, they are only recorded. Afterwards they get pages from a slab that has
/// room, or from a new one, and are freed to the page allocator. Returns `false` if something is plugged at `pfn` or
/// memory is short. Overlapping a segment that starts above `pfn` is fatal.
///
/// # Safety
/// `out` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uvm_physseg_plug(pfn: Pfn, pages: usize, out: *mut *mut Node) -> bool {
    let mut bound = physseg();
    let Ok(range) = FrameRange::new(pfn as u64, pages as u64) else { return false };
    // Page frames that another thread is plugging, or the host while it allocates memory for us, count as plugged.
    if bound.find(pfn).is_some() || bound.coming.iter().any(|other| other.intersect(range).is_some()) {
        return false;
    }
    if bound.map.overlapping(range).next().is_some() {
        bound.panic(c"uvm_physseg_plug: overlaps a segment above it");
    }
    bound.coming.push(range);
    // SAFETY: the caller guarantees that `out` is null or valid for writes.
    let plugged = unsafe { plug(bound, pfn, pages, out) };
    physseg().coming.retain(|other| *other != range);
    plugged
}

/// Plugs page frames that nobody else has plugged or is plugging.
///
/// # Safety
/// `out` is null or valid for writes.
unsafe fn plug(bound: Bound, pfn: Pfn, pages: usize, out: *mut *mut Node) -> bool {
    let size = bound.node_size();
    let (bound, at) = alloc(bound, size);
    if at.is_null() {
        return false;
    }
    let handle: *mut Node = at.cast();
    // SAFETY: the memory is a new, zeroed node.
    unsafe {
        (*handle).start = pfn;
        (*handle).end = pfn + pages;
        (*handle).avail_start = pfn;
        (*handle).avail_end = pfn + pages;
    }
    // Once one segment has pages, the page allocator is running.
    let hot = bound.given && bound.map.iter().any(|(_, plugged)| !plugged.pages.is_null());
    // SAFETY: the node is new, and nobody else has it.
    if !(if hot {
        unsafe { plug_hot(bound, handle, pfn, pages) }
    } else {
        plug_cold(bound, handle, pfn, pages)
    }) {
        free(physseg(), at, size);
        return false;
    }
    if !out.is_null() {
        // SAFETY: `out` is not null, so the caller guarantees that it is valid for writes.
        unsafe { out.write(handle) };
    }
    true
}

fn plug_cold(mut bound: Bound, handle: *mut Node, pfn: Pfn, pages: usize) -> bool {
    bound.map_to(pfn, pfn + pages, handle, ptr::null_mut());
    true
}

/// Gives a new segment its pages.
///
/// # Safety
/// The handle points to a new node.
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
    // SAFETY: the slab has room for `pages` pages at `at`, and nobody else has them. The caller guarantees that the
    // handle points to a node.
    unsafe {
        at.cast::<u8>().write_bytes(0, pages * host.vm_page_size);
        (*handle).ext = physseg().slabs.shown(slab);
    }
    host.add_physmem(pages);
    host.pdpol_reinit();
    let mut bound = physseg();
    bound.slabs.set(handle, slab);
    bound.map_to(pfn, pfn + pages, handle, ptr::null_mut());
    drop(bound);
    // SAFETY: the node is in use and has no pages yet; `at` points to pages for all its page frames.
    unsafe { uvm_physseg_init_seg(handle, at) };
    true
}

/// Unplugs page frames of one segment. Returns `false`, and changes nothing, if they are not all in one. Taking the
/// last segment is fatal. The pages go back to their slab; a slab without segments goes back to the allocator if it
/// came from there.
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
    // SAFETY: `handle` is one of the nodes that may be read, and `tail`, if there is one, is a new node of the same
    // size.
    unsafe {
        if !front && !back {
            // The tail inherits the free list, the hint and the pmap's data. What was not available stays so.
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
            bound.map_to(end, whole.end, tail, after);
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
        // SAFETY: as above. Handles to the node are invalid from now on, even where its memory stays readable.
        unsafe { handle.cast::<u8>().write_bytes(0, size) };
        free(bound, handle.cast(), size);
    } else {
        let left = if front { end..whole.end } else { whole.start..pfn };
        bound.nodes.insert(handle.addr(), clip(left.start, left.end));
        bound.map_to(left.start, left.end, handle, if front { after } else { old.pgs });
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
