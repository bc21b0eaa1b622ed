//! Slabs: arrays of `struct vm_page` of which segments have parts.

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
    /// Which pages are some segment's.
    taken: RangeSet<usize>,
    /// No run of free pages is longer.
    room: usize,
    /// How many pieces the taken pages may be in, and one more for as long as something is changed: what NetBSD's extent(9) has
    /// storage for at boot.
    descriptors: Option<usize>,
    /// Whether it came from the host's allocator.
    ours: bool,
    /// How many segments it is said to be of.
    segments: usize,
}

/// All slabs, by number from 1, and which of them segments have.
#[derive(Default)]
pub(super) struct Slabs {
    slabs: Vec<Option<Slab>>,
    /// Numbers that may be given again.
    unused: Vec<usize>,
    /// Slabs that have pages to give, by their room.
    roomy: BTreeSet<(usize, usize)>,
    of: HashMap<usize, usize>,
}

impl Slab {
    fn has_descriptor(&self) -> bool {
        self.descriptors.is_none_or(|max| self.taken.iter().count() < max)
    }

    /// The lowest pages that are free, as many as asked for.
    fn take(&mut self, count: usize) -> Option<*mut c_void> {
        if count == 0 || !self.has_descriptor() {
            return None;
        }
        let gap = self.taken.gaps(&(0..self.count)).find(|gap| gap.len() >= count)?;
        self.taken.insert(gap.start..gap.start + count);
        Some(std::ptr::with_exposed_provenance_mut(self.base + gap.start * self.page))
    }

    /// How many pages around these, which are free, are free.
    fn around(&self, pages: &Range<usize>) -> usize {
        let below = self.taken.overlapping(0..pages.start).next_back();
        let above = self.taken.overlapping(pages.end..self.count).next();
        above.map_or(self.count, |taken| taken.start) - below.map_or(0, |taken| taken.end)
    }

    /// Where a page is in it.
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

    /// Says how long a slab's runs of free pages are at most.
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

    /// A segment's slab.
    pub(super) fn of(&self, node: *mut Node) -> Option<usize> {
        self.of.get(&node.addr()).copied()
    }

    /// Says which slab a segment has pages of.
    pub(super) fn set(&mut self, node: *mut Node, slab: usize) {
        self.of.insert(node.addr(), slab);
        if let Some(slab) = self.get(slab) {
            slab.segments += 1;
        }
    }

    /// Says that another segment has pages of the same slab.
    pub(super) fn share(&mut self, node: *mut Node, other: *mut Node) {
        if let Some(slab) = self.of(node) {
            self.set(other, slab);
        }
    }

    /// What a node shows as its `ext`: a number, for whoever compares.
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
            let room = slab.room.min(count - 1);
            self.has_room(number, room);
        }
        taken
    }

    /// Takes pages of a slab that has room, of little rather than of much.
    pub(super) fn take_anywhere(&mut self, count: usize) -> Option<(usize, *mut c_void)> {
        let mut from = (count, 0);
        while let Some(&(room, number)) = self.roomy.range(from..).next() {
            if let Some(at) = self.take(number, count) {
                return Some((number, at));
            }
            from = (room, number + 1);
        }
        None
    }

    /// Gives pages back, as NetBSD's extent(9) does.
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

    /// Gives pages of a segment back, which cannot fail: descriptors are only for who asks.
    pub(super) fn put_back(&mut self, node: *mut Node, at: *mut c_void, count: usize) {
        let Some(number) = self.of(node) else { return };
        if let Some(slab) = self.get(number)
            && let Some(index) = slab.index(at)
        {
            self.free(number, index..index + count);
        }
    }

    /// Forgets which slab a segment has, and a slab that no segment has. What came from the host is the caller's to give back.
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
