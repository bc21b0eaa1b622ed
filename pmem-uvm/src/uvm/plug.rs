//! Plugging and unplugging page frames, merging segments, and changing zones.

use super::Uvm;
use crate::counters::{add, sub};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::free::room;
use crate::page::{PageFlags, PageState, PageWords, Pages, is_memory_for};
use crate::segment::{Arrival, Held, Plug, Segment, SegmentId, Zone};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// An upper bound, in bytes, for a segment and the other small things that a plug allocates.
const SMALL: usize = 1024;

impl Uvm {
    /// Plugs page frames (`uvm_physseg_plug`, `uvm_page_physload`). Allocates 24 bytes a page and the pages' part of
    /// the index. It makes sure of all that memory first, so a failure changes nothing.
    ///
    /// # Errors
    /// [`UvmError::FreeList`], [`UvmError::Avail`]; [`UvmError::Overlap`] names the segment that is there;
    /// [`UvmError::Storage`] if there is no memory for the pages, or their addresses end past 2^64;
    /// [`UvmError::Kept`] while memory must stay as it is.
    pub fn plug(&mut self, plug: &Plug) -> Result<SegmentId, UvmError> {
        self.plug_beside(plug, 0)
    }

    /// As [`Self::plug`], but also makes sure that the heap has `others` more bytes for the caller.
    pub(crate) fn plug_beside(&mut self, plug: &Plug, others: usize) -> Result<SegmentId, UvmError> {
        self.check_plug(plug)?;
        let pages = Pages::new(plug.range.count()).ok_or(UvmError::Storage { range: plug.range })?;
        self.place(plug, pages, others)
    }

    /// As [`Self::plug`], keeping the pages in memory that the host provides for good: one entry a page, all zero.
    ///
    /// # Errors
    /// As [`Self::plug`]; [`UvmError::Storage`] if there are too few entries.
    pub fn plug_with(&mut self, plug: &Plug, pages: &'static [PageWords]) -> Result<SegmentId, UvmError> {
        self.check_plug(plug)?;
        if (pages.len() as u64) < plug.range.count() {
            return Err(UvmError::Storage { range: plug.range });
        }
        self.place(plug, Pages::Direct(pages), 0)
    }

    fn check_plug(&self, plug: &Plug) -> Result<(), UvmError> {
        self.check_kept()?;
        let Plug { range, avail, free_list, .. } = *plug;
        self.check_list(free_list)?;
        if let Some(avail) = avail.filter(|avail| !range.covers(*avail)) {
            return Err(UvmError::Avail { range, avail });
        }
        if range.bytes(self.settings.pageshift()).is_none() {
            return Err(UvmError::Storage { range });
        }
        if let Some((_, held)) = self.map.overlapping(range).next() {
            let (segment, at) = (held.segment.id, held.segment.range);
            return Err(UvmError::Overlap { range, segment, at });
        }
        Ok(())
    }

    /// Returns the bucket for a plug's free pages with room for them; `None` if there is no memory for that and for
    /// everything else that a plug allocates.
    fn make_room(&mut self, plug: &Plug, others: usize) -> Option<u32> {
        let Plug { range, free_list, node, merges, .. } = *plug;
        let known = self.orders.find(node, free_list, Zone::Normal);
        let mut new = self.new_map();
        let there = match known {
            Some(at) => self.buckets[at as usize].map.make_room(range),
            None => new.make_room(range) && room(&mut self.buckets, 1) && self.orders.make_room(),
        };
        // A merge replaces the entries of both neighbours as well.
        let beside = range.start().checked_sub(1).into_iter().chain([range.end()]);
        let neighbours = beside.filter_map(|frame| self.map.get(frame)).filter(|_| merges);
        let joined: usize = neighbours.map(|(at, _)| 4 * self.map.bytes_to_insert(at)).sum();
        let segments =
            if self.segments.len() == self.segments.capacity() { 64 * self.segments.len() } else { 0 };
        let bytes = self.map.bytes_to_insert(range) + joined + segments + SMALL + others;
        let enough = there && is_memory_for(bytes);
        enough.then(|| known.unwrap_or_else(|| self.add_bucket(node, free_list, Zone::Normal, new)))
    }

    fn place(&mut self, plug: &Plug, pages: Pages, others: usize) -> Result<SegmentId, UvmError> {
        let bucket = self.make_room(plug, others).ok_or(UvmError::Storage { range: plug.range })?;
        let Plug { range, avail, free_list, node, attrs, arrival, merges, zeroed } = *plug;
        let state = if arrival == Arrival::Online { PageState::Free } else { PageState::Offline };
        let flags = if zeroed { PageFlags::ZERO } else { PageFlags::empty() };
        for frame in range.frames() {
            let Some(page) = pages.get(frame - range.start()) else { break };
            let avail = avail.is_some_and(|avail| avail.contains(frame));
            match (avail, arrival) {
                (true, _) => page.reset(state, flags),
                (false, Arrival::Offline) => page.reset_own(),
                (false, Arrival::Online) => page.reset(PageState::Reserved, flags),
            }
        }
        let id = self.segments.insert_with_key(|id| {
            let (start_hint, host) = (AtomicU32::new(0), AtomicU64::new(0));
            Arc::new(Segment { id, range, avail, free_list, node, attrs, start_hint, host })
        });
        let segment = self.segments[id].clone();
        self.map.insert(range, Held { pages, first: range.start(), segment, bucket });
        let available = avail.map_or(0, FrameRange::count);
        let held = &mut self.buckets[bucket as usize];
        held.map.hold(range);
        held.idle.count(PageState::Reserved, range.count() - available, true);
        held.idle.count(state, available, true);
        let counters = &self.counters;
        add(&counters.physmem, range.count());
        add(&counters.reserved, range.count() - available);
        match (arrival, avail) {
            (Arrival::Online, Some(avail)) => {
                add(&counters.npages, available);
                self.free(bucket, avail, zeroed);
            }
            (Arrival::Online, None) => {}
            (Arrival::Offline, _) => add(&counters.offline, available),
        }
        self.map_changed();
        Ok(if merges { self.merge(id) } else { id })
    }

    /// Merges a segment with neighbours that are like it, including the host's word, and whose available parts join
    /// its own. The lowest of them keeps its id, and the other ids become stale. Returns the id of the merged
    /// segment.
    pub fn merge(&mut self, id: SegmentId) -> SegmentId {
        let Some(segment) = self.segments.get(id).cloned() else { return id };
        let below = segment.range.start().checked_sub(1).and_then(|frame| self.map.get(frame));
        let above = self.map.get(segment.range.end());
        let like = |held: Option<(FrameRange, &Held)>| {
            held.map(|(_, held)| held.segment.clone()).filter(|other| other.is_like(&segment))
        };
        let joins = |lower: &Segment, upper: &Segment| match (lower.avail, upper.avail) {
            (Some(below), Some(above)) => below.end() == above.start(),
            _ => true,
        };
        let below = like(below).filter(|below| joins(below, &segment));
        let above = like(above).filter(|above| joins(&segment, above));
        // The available part must be one range. A segment without available pages can join one neighbour that has
        // some, but not both: the range would cover the segment too.
        let between = segment.avail.is_none() && below.as_ref().is_some_and(|below| below.avail.is_some());
        let above = above.filter(|above| !between || above.avail.is_none());
        let lowest = below.as_ref().unwrap_or(&segment);
        let highest = above.as_ref().unwrap_or(&segment);
        let Some(range) = FrameRange::between(lowest.range.start(), highest.range.end()) else { return id };
        if range == segment.range {
            return id;
        }
        let all = [below.as_ref(), Some(&segment), above.as_ref()];
        let avails: Vec<FrameRange> = all.into_iter().flatten().filter_map(|s| s.avail).collect();
        let avail = match (avails.first(), avails.last()) {
            (Some(first), Some(last)) => FrameRange::between(first.start(), last.end()),
            _ => None,
        };
        let kept = lowest.id;
        let joined = Arc::new(Segment { avail, ..lowest.over(kept, range) });
        for other in all.into_iter().flatten().filter(|other| other.id != kept) {
            self.segments.remove(other.id);
        }
        self.segments[kept] = joined.clone();
        self.recut(range, |held| Some(Held { segment: joined.clone(), ..held }));
        self.map_changed();
        kept
    }

    /// Sets the zone of page frames. Allocates memory if that changes anything.
    pub(crate) fn set_zone(&mut self, range: FrameRange, zone: Zone) {
        let mut from = range.start();
        let mut changed = false;
        while let Some((entry, held)) = self.map.at_or_after(from)
            && entry.start() < range.end()
        {
            from = entry.end();
            let (segment, old) = (held.segment.clone(), held.bucket);
            let Some(part) = entry.intersect(range) else { continue };
            if self.buckets[old as usize].zone == zone {
                continue;
            }
            // A cache hands out its pages whatever their zone, so none of these may stay in one.
            if self.pages_in(part).any(|(_, page)| page.state() == PageState::Cached) {
                self.drain_caches();
            }
            changed = true;
            let free = self.take_free(part) > 0;
            let states = self.count_states(part);
            let new = self.bucket(segment.node, segment.free_list, zone);
            self.buckets[old as usize].idle.count_all(&states, false);
            self.buckets[new as usize].idle.count_all(&states, true);
            // Free pages can only be given to a bucket that holds their frames.
            self.buckets[new as usize].map.hold(part);
            self.buckets[old as usize].map.let_go(part);
            self.recut(part, |held| Some(Held { bucket: new, ..held }));
            if free {
                self.free_again(part);
            }
        }
        if changed {
            self.rejoin(range);
            self.map_changed();
        }
    }

    /// Joins entries of the map that are next to each other and alike, in a range and at its ends.
    fn rejoin(&mut self, range: FrameRange) {
        let mut from = range.start().saturating_sub(1);
        while let Some((entry, held)) = self.map.at_or_after(from)
            && entry.start() <= range.end()
        {
            let held = held.clone();
            let mut whole = entry;
            let mut parts = Vec::new();
            while let Some((next, other)) = self.map.at_or_after(whole.end())
                && next.start() == whole.end()
                && other.is_like(&held)
            {
                whole = FrameRange::between(whole.start(), next.end()).unwrap_or(whole);
                parts.push(next.start());
            }
            if !parts.is_empty() {
                self.map.remove(entry.start());
                parts.into_iter().for_each(|start| drop(self.map.remove(start)));
                self.map.insert(whole, held);
            }
            from = whole.end();
        }
    }

    /// Replaces what the map says of `range` by `new`, or removes it where `new` is `None`. Parts of entries outside
    /// stay.
    fn recut(&mut self, range: FrameRange, new: impl Fn(Held) -> Option<Held>) {
        let mut from = range.start();
        while let Some((entry, held)) = self.map.at_or_after(from)
            && entry.start() < range.end()
        {
            let held = held.clone();
            from = entry.end();
            self.map.remove(entry.start());
            for rest in entry.minus(range).into_iter().flatten() {
                self.map.insert(rest, held.clone());
            }
            if let (Some(part), Some(new)) = (entry.intersect(range), new(held)) {
                self.map.insert(part, new);
            }
        }
    }

    /// Unplugs page frames (`uvm_physseg_unplug`), of any number of segments: all of them or none. What is left of a
    /// segment keeps its properties, and the lower part keeps the id. The memory of the pages is freed once no part
    /// of their plug is left and no reader refers to it.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`] names what is not plugged; [`UvmError::Page`] a page that is allocated or held back;
    /// [`UvmError::Lent`] if the range overlaps an area; [`UvmError::Kept`] while memory must stay as it is.
    pub fn unplug(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_kept()?;
        self.check_not_lent(range)?;
        self.check_drained(range, "neither allocated nor held back", |info, _| info.state.is_idle())?;
        self.forget(range);
        Ok(())
    }

    /// Removes page frames, all of which are idle.
    fn forget(&mut self, range: FrameRange) {
        let free = self.take_free(range);
        let [mut reserved, mut retired, mut offline] = [0; 3];
        let mut rest = Some(range);
        while let Some((part, bucket)) = rest.and_then(|rest| self.first_part(rest)) {
            let states = self.count_states(part);
            self.buckets[bucket as usize].idle.count_all(&states, false);
            reserved += states[PageState::Reserved as usize];
            retired += states[PageState::Retired as usize];
            offline += states[PageState::Offline as usize];
            rest = FrameRange::between(part.end(), range.end());
        }
        // Idle pages that are managed are free, so only those leave `npages`.
        let counters = &self.counters;
        sub(&counters.npages, free);
        sub(&counters.reserved, reserved);
        sub(&counters.retired, retired);
        sub(&counters.offline, offline);
        sub(&counters.physmem, range.count());
        let lowest = |uvm: &Self| uvm.map.overlapping(range).next().map(|(_, held)| held.segment.clone());
        while let Some(segment) = lowest(self) {
            let [below, above] = segment.range.minus(range);
            let Some(gone) = segment.range.intersect(range) else { break };
            for (entry, held) in self.map.overlapping(gone) {
                if let Some(part) = entry.intersect(gone) {
                    self.buckets[held.bucket as usize].map.let_go(part);
                }
            }
            self.recut(gone, |_| None);
            match below {
                Some(below) => {
                    let head = Arc::new(segment.over(segment.id, below));
                    self.segments[segment.id] = head.clone();
                    self.recut(below, |held| Some(Held { segment: head.clone(), ..held }));
                }
                None if above.is_none() => drop(self.segments.remove(segment.id)),
                None => {}
            }
            if let Some(above) = above {
                // If both parts stay, the upper becomes a new segment. If only the upper stays, it keeps the id.
                let tail = if below.is_some() {
                    let id = self.segments.insert_with_key(|id| Arc::new(segment.over(id, above)));
                    self.segments[id].clone()
                } else {
                    let tail = Arc::new(segment.over(segment.id, above));
                    self.segments[segment.id] = tail.clone();
                    tail
                };
                self.recut(above, |held| Some(Held { segment: tail.clone(), ..held }));
            }
        }
        self.map_changed();
    }
}
