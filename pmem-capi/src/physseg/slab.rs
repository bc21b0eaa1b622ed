//! Slabs: arrays of `struct vm_page` that are divided among segments.

use super::node::Node;
use rangemap::RangeSet;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{c_int, c_void};
use std::ops::Range;

const ENOMEM: c_int = 12;
const EINVAL: c_int = 22;

/// An array of pages.
struct Slab {
    base: usize,
    count: usize,
    page: usize,
    /// The pages that some segment has.
    taken: RangeSet<usize>,
    /// An upper bound for the length of a run of free pages.
    room: usize,
    /// The number of pieces the taken pages may be in, including a spare one that each change needs. NetBSD's
    /// extent(9) has storage for that many at boot. `None` if there is no limit.
    descriptors: Option<usize>,
    /// Whether it came from the host's allocator.
    ours: bool,
    /// The number of segments that have this slab.
    segments: usize,
}

/// All slabs, numbered from 1, and the segments that have them.
#[derive(Default)]
pub(super) struct Slabs {
    slabs: Vec<Option<Slab>>,
    /// Numbers that can be given to new slabs.
    unused: Vec<usize>,
    /// The slabs that have free pages, ordered by their upper bound.
    roomy: BTreeSet<(usize, usize)>,
    of: HashMap<usize, usize>,
}

impl Slab {
    fn has_descriptor(&self) -> bool {
        self.descriptors.is_none_or(|max| self.taken.iter().count() < max)
    }

    /// Takes the lowest run of `count` free pages.
    fn take(&mut self, count: usize) -> Option<*mut c_void> {
        if count == 0 || !self.has_descriptor() {
            return None;
        }
        let gap = self.taken.gaps(&(0..self.count)).find(|gap| gap.len() >= count)?;
        self.taken.insert(gap.start..gap.start + count);
        Some(std::ptr::with_exposed_provenance_mut(self.base + gap.start * self.page))
    }

    /// Returns the length of the run of free pages around these, which are free.
    fn around(&self, pages: &Range<usize>) -> usize {
        let below = self.taken.overlapping(0..pages.start).next_back();
        let above = self.taken.overlapping(pages.end..self.count).next();
        above.map_or(self.count, |taken| taken.start) - below.map_or(0, |taken| taken.end)
    }

    /// Returns the index of a page; `None` if it is not in this slab.
    fn index(&self, at: *mut c_void) -> Option<usize> {
        let index = at.addr().checked_sub(self.base)? / self.page;
        (index < self.count).then_some(index)
    }
}

impl Slabs {
    pub(super) fn add(
        &mut self,
        pages: *mut c_void,
        count: usize,
        page: usize,
        descriptors: Option<usize>,
        ours: bool,
    ) -> usize {
        let base = pages.expose_provenance();
        let (page, taken) = (page.max(1), RangeSet::new());
        let slab = Slab { base, count, page, taken, room: 0, descriptors, ours, segments: 0 };
        let number = self.unused.pop().unwrap_or_else(|| {
            self.slabs.push(None);
            self.slabs.len()
        });
        self.slabs[number - 1] = Some(slab);
        self.has_room(number, count);
        number
    }

    /// Sets the upper bound for a slab's runs of free pages.
    fn has_room(&mut self, number: usize, room: usize) {
        let Some(slab) = self.get(number) else { return };
        let old = std::mem::replace(&mut slab.room, room);
        self.roomy.remove(&(old, number));
        if room > 0 {
            self.roomy.insert((room, number));
        }
    }

    fn get(&mut self, slab: usize) -> Option<&mut Slab> {
        self.slabs.get_mut(slab.checked_sub(1)?)?.as_mut()
    }

    /// Returns a segment's slab.
    pub(super) fn of(&self, node: *mut Node) -> Option<usize> {
        self.of.get(&node.addr()).copied()
    }

    /// Sets a segment's slab.
    pub(super) fn set(&mut self, node: *mut Node, slab: usize) {
        self.of.insert(node.addr(), slab);
        if let Some(slab) = self.get(slab) {
            slab.segments += 1;
        }
    }

    /// Gives another segment the same slab.
    pub(super) fn share(&mut self, node: *mut Node, other: *mut Node) {
        if let Some(slab) = self.of(node) {
            self.set(other, slab);
        }
    }

    /// Returns what a node shows as its `ext`: the slab's number, for comparing.
    pub(super) fn shown(&self, slab: usize) -> *mut c_void {
        std::ptr::without_provenance_mut(slab)
    }

    /// Takes pages of one slab.
    pub(super) fn take(&mut self, number: usize, count: usize) -> Option<*mut c_void> {
        let slab = self.get(number)?;
        let taken = slab.take(count);
        if slab.taken.gaps(&(0..slab.count)).next().is_none() {
            self.has_room(number, 0);
        } else if taken.is_none() && slab.has_descriptor() && count > 0 {
            // A failed search proves that no run is this long, so that later searches can pass the slab over.
            let room = slab.room.min(count - 1);
            self.has_room(number, room);
        }
        taken
    }

    /// Takes pages of any slab that has room. Slabs with little room come first, so that large runs stay whole.
    pub(super) fn take_anywhere(&mut self, count: usize) -> Option<(usize, *mut c_void)> {
        let mut from = (count, 0);
        while let Some(&(room, number)) = self.roomy.range(from..).next() {
            if let Some(at) = self.take(number, count) {
                return Some((number, at));
            }
            // The upper bound was too high, or there is no descriptor. Go on behind this slab.
            from = (room, number + 1);
        }
        None
    }

    /// Gives pages back, as NetBSD's extent(9) does: returns 0, EINVAL, or ENOMEM.
    pub(super) fn give(&mut self, node: *mut Node, at: *mut c_void, count: usize) -> c_int {
        let Some(number) = self.of(node) else { return EINVAL };
        let Some(slab) = self.get(number) else { return EINVAL };
        let Some(index) = slab.index(at).filter(|_| count > 0) else { return EINVAL };
        if slab.taken.gaps(&(index..index.saturating_add(count))).next().is_some() {
            return EINVAL;
        }
        if !slab.has_descriptor() {
            return ENOMEM;
        }
        self.free(number, index..index + count);
        0
    }

    fn free(&mut self, number: usize, pages: Range<usize>) {
        let Some(slab) = self.get(number) else { return };
        slab.taken.remove(pages.clone());
        let room = slab.room.max(slab.around(&pages));
        self.has_room(number, room);
    }

    /// Gives a segment's pages back. This cannot fail: only `give` needs a descriptor.
    pub(super) fn put_back(&mut self, node: *mut Node, at: *mut c_void, count: usize) {
        let Some(number) = self.of(node) else { return };
        if let Some(slab) = self.get(number)
            && let Some(index) = slab.index(at)
        {
            self.free(number, index..index + count);
        }
    }

    /// Removes a segment's slab, and the slab itself once no segment has it. Returns its address and size if it came
    /// from the host, to be freed by the caller.
    pub(super) fn forget(&mut self, node: *mut Node) -> Option<(*mut c_void, usize)> {
        let number = self.of.remove(&node.addr())?;
        let slab = self.get(number)?;
        slab.segments -= 1;
        if slab.segments > 0 {
            return None;
        }
        let memory = (std::ptr::with_exposed_provenance_mut(slab.base), slab.count * slab.page);
        let ours = slab.ours;
        self.has_room(number, 0);
        self.slabs[number - 1] = None;
        self.unused.push(number);
        ours.then_some(memory)
    }
}
