//! A map from page frames to what is plugged there. A look-up takes a bounded number of steps, and readers share the
//! map by cloning it.

use crate::frame::{FRAMES, FrameRange};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

/// The base-2 logarithm of the slots of a node. A slot at the lowest level covers 2^9 page frames (2 MiB of 4 KiB
/// pages); at the levels above it covers 1 GiB, 512 GiB, 256 TiB and 128 PiB.
const BITS: u32 = 9;
const SLOTS: u64 = 1 << BITS;

/// A map from disjoint ranges of page frames to values.
///
/// It is a radix tree of at most five levels. A slot that only one range reaches into holds that range, on whatever
/// level, so the tree is only as deep as its densest part needs. Cloning shares everything; a later change copies the
/// shared nodes on its path.
///
/// # Examples
/// ```
/// use pmem_uvm::{FrameMap, FrameRange};
///
/// let mut map = FrameMap::new();
/// assert!(map.insert(FrameRange::new(0x100, 0x80)?, "DIMM 0"));
/// assert!(!map.insert(FrameRange::new(0x17f, 0x80)?, "DIMM 1"), "they overlap");
///
/// // A clone keeps what a later change removes.
/// let before = map.clone();
/// map.remove(0x100);
/// assert!(map.get(0x120).is_none());
/// assert_eq!(before.get(0x120).map(|(_, name)| *name), Some("DIMM 0"));
/// # Ok::<(), pmem_uvm::FrameRangeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameMap<V> {
    root: Slot<V>,
    /// The root covers 2^`shift` page frames, from 0 on.
    shift: u32,
    len: usize,
}

#[derive(Clone, Debug)]
enum Slot<V> {
    Empty,
    /// The only range that reaches into this slot.
    One(Placed<V>),
    Node(Arc<[Slot<V>]>),
    /// On the lowest level: the ranges that reach into this slot, in ascending order.
    Several(Arc<[Placed<V>]>),
}

#[derive(Clone, Debug)]
struct Placed<V> {
    range: FrameRange,
    value: V,
}

impl<V> Placed<V> {
    #[inline]
    fn at(&self, frame: u64) -> Option<(FrameRange, &V)> {
        self.range.contains(frame).then_some((self.range, &self.value))
    }
}

impl<V> Default for FrameMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> FrameMap<V> {
    /// Makes an empty map. Does not allocate.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: Slot::Empty, shift: BITS, len: 0 }
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the range that contains a page frame, and its value. This takes at most five steps, plus a search in
    /// one slot's list where several ranges share 512 page frames.
    #[inline]
    pub fn get(&self, frame: u64) -> Option<(FrameRange, &V)> {
        // A map of one range has it right in the root.
        if let Slot::One(placed) = &self.root {
            return placed.at(frame);
        }
        let mut slot = &self.root;
        let mut shift = self.shift;
        if frame >> shift != 0 {
            return None;
        }
        loop {
            match slot {
                Slot::One(placed) => return placed.at(frame),
                Slot::Node(slots) => {
                    shift -= BITS;
                    slot = slots.get((frame >> shift & (SLOTS - 1)) as usize)?;
                }
                Slot::Empty => return None,
                Slot::Several(list) => {
                    return list.get(list.partition_point(|p| p.range.end() <= frame))?.at(frame);
                }
            }
        }
    }

    /// Returns the lowest range that ends above `frame`.
    pub fn at_or_after(&self, frame: u64) -> Option<(FrameRange, &V)> {
        let placed = self.root.at_or_after(frame, 0, self.shift)?;
        Some((placed.range, &placed.value))
    }

    /// Returns the highest range that starts at or below `frame`.
    pub fn at_or_before(&self, frame: u64) -> Option<(FrameRange, &V)> {
        let placed = self.root.at_or_before(frame, 0, self.shift)?;
        Some((placed.range, &placed.value))
    }

    /// Iterates over the ranges that overlap `window`, in ascending order.
    pub fn overlapping(&self, window: FrameRange) -> impl Iterator<Item = (FrameRange, &V)> + '_ {
        let mut from = window.start();
        core::iter::from_fn(move || {
            let found = self.at_or_after(from).filter(|(range, _)| range.start() < window.end())?;
            from = found.0.end();
            Some(found)
        })
    }

    /// Iterates over all ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (FrameRange, &V)> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let found = self.at_or_after(from)?;
            from = found.0.end();
            Some(found)
        })
    }
}

impl<V: Clone> FrameMap<V> {
    /// Inserts a value for `range`. Returns `false`, and changes nothing, if a range of the map overlaps it.
    pub fn insert(&mut self, range: FrameRange, value: V) -> bool {
        if self.at_or_after(range.start()).is_some_and(|(other, _)| other.overlaps(range)) {
            return false;
        }
        while (range.end() - 1) >> self.shift != 0 {
            self.rise();
        }
        self.root.insert(&Placed { range, value }, 0, self.shift);
        self.len += 1;
        true
    }

    /// Returns an upper bound in bytes for what [`Self::insert`] allocates, including what it frees again meanwhile.
    pub(crate) fn bytes_to_insert(&self, range: FrameRange) -> usize {
        let mut shift = self.shift;
        let mut bytes = 0;
        while (range.end() - 1) >> shift != 0 {
            shift += BITS;
            bytes += self.root.bytes_to_rise();
        }
        match &self.root {
            // The same range may be about to be inserted again.
            Slot::One(old) if old.range.overlaps(range) => bytes,
            Slot::One(old) => bytes + bytes_of_two::<V>(old.range, range, 0, shift),
            root if range.start() >> self.shift == 0 => {
                bytes + root.bytes_to_insert(range, 0, self.shift, false)
            }
            _ => bytes,
        }
    }

    /// Returns an upper bound in bytes for inserting ranges of `grain` page frames, a power of two, that together
    /// make up `range`. All other ranges in the map must have that size too.
    pub(crate) fn bytes_to_fill(&self, range: FrameRange, grain: u64) -> usize {
        let pieces = range.count().div_ceil(grain);
        let last = range.end() - 1;
        let mut shift = self.shift;
        while last >> shift != 0 {
            shift += BITS;
        }
        let risen = (shift - self.shift) / BITS;
        // A slot becomes a node only if two ranges reach into it, so no level gets more new nodes than there are
        // pieces.
        let levels = (2..=shift / BITS).map(|level| level * BITS).filter(|bits| grain >> bits == 0);
        let nodes: u64 = levels.map(|bits| ((last >> bits) - (range.start() >> bits) + 1).min(pieces)).sum();
        let listed = 2 * (pieces + SLOTS.div_ceil(grain)) as usize * bytes_of::<Placed<V>>(1);
        nodes as usize * bytes_of::<Slot<V>>(SLOTS as usize)
            + risen as usize * self.root.bytes_to_rise()
            + listed
    }

    /// Removes the range that starts at `start` and returns it with its value.
    pub fn remove(&mut self, start: u64) -> Option<(FrameRange, V)> {
        let (range, value) = self.get(start).filter(|(range, _)| range.start() == start)?;
        let value = value.clone();
        self.root.remove(range, 0, self.shift);
        self.len -= 1;
        Some((range, value))
    }

    /// Makes the root cover 2^9 times as many page frames.
    fn rise(&mut self) {
        self.shift += BITS;
        self.root = match mem::replace(&mut self.root, Slot::Empty) {
            Slot::Several(list) => {
                let mut root = Slot::Empty;
                list.iter().for_each(|placed| root.insert(placed, 0, self.shift));
                root
            }
            Slot::Node(below) => {
                // The old node covers the page frames from 0, so it moves into the first slot.
                let mut below = Some(below);
                let first = |i: u64| below.take_if(|_| i == 0).map_or(Slot::Empty, Slot::Node);
                Slot::Node((0..SLOTS).map(first).collect())
            }
            alone => alone,
        };
    }
}

fn node<V>() -> Arc<[Slot<V>]> {
    (0..SLOTS).map(|_| Slot::Empty).collect()
}

/// The bytes of a shared array of `count` items, with its two reference counts.
const fn bytes_of<T>(count: usize) -> usize {
    2 * size_of::<usize>() + count * size_of::<T>()
}

/// Returns an upper bound in bytes for a slot of 2^`shift` page frames that gets a second range.
fn bytes_of_two<V>(old: FrameRange, new: FrameRange, base: u64, shift: u32) -> usize {
    if shift == BITS {
        return bytes_of::<Placed<V>>(2);
    }
    let below = shift - BITS;
    let (old_slots, new_slots) = (slots_of(old, base, below), slots_of(new, base, below));
    // Only a slot that both ranges reach into needs a node below it.
    let both = old_slots.filter(|i| new_slots.contains(i));
    let more: usize = both.map(|i| bytes_of_two::<V>(old, new, base + ((i as u64) << below), below)).sum();
    bytes_of::<Slot<V>>(SLOTS as usize) + more
}

/// The slots of a node at `base` that a range reaches into; each slot covers 2^`shift` page frames.
fn slots_of(range: FrameRange, base: u64, shift: u32) -> core::ops::RangeInclusive<usize> {
    let from = range.start().saturating_sub(base) >> shift;
    let to = (range.end() - 1 - base) >> shift;
    from as usize..=to.min(SLOTS - 1) as usize
}

impl<V> Slot<V> {
    fn at_or_after(&self, frame: u64, base: u64, shift: u32) -> Option<&Placed<V>> {
        match self {
            Self::Empty => None,
            Self::One(placed) => Some(placed).filter(|p| p.range.end() > frame),
            Self::Several(list) => list.get(list.partition_point(|p| p.range.end() <= frame)),
            Self::Node(slots) => {
                let shift = shift - BITS;
                let from = frame.saturating_sub(base) >> shift;
                let slots = slots.iter().enumerate().skip(usize::try_from(from).unwrap_or(usize::MAX));
                slots.into_iter().find_map(|(i, s)| s.at_or_after(frame, base + ((i as u64) << shift), shift))
            }
        }
    }

    fn at_or_before(&self, frame: u64, base: u64, shift: u32) -> Option<&Placed<V>> {
        match self {
            Self::Empty => None,
            Self::One(placed) => Some(placed).filter(|p| p.range.start() <= frame),
            Self::Several(list) => {
                list.get(list.partition_point(|p| p.range.start() <= frame).checked_sub(1)?)
            }
            Self::Node(slots) => {
                let shift = shift - BITS;
                let to = frame.checked_sub(base)? >> shift;
                let slots =
                    slots.iter().enumerate().take(usize::try_from(to + 1).unwrap_or(usize::MAX)).rev();
                slots
                    .into_iter()
                    .find_map(|(i, s)| s.at_or_before(frame, base + ((i as u64) << shift), shift))
            }
        }
    }
}

impl<V: Clone> Slot<V> {
    /// Returns an upper bound in bytes for moving this root below a new one.
    fn bytes_to_rise(&self) -> usize {
        match self {
            Self::Empty | Self::One(_) => 0,
            Self::Node(_) => bytes_of::<Slot<V>>(SLOTS as usize),
            // The ranges are inserted again one by one, each time into a new list.
            Self::Several(list) => {
                bytes_of::<Slot<V>>(SLOTS as usize) + 2 * bytes_of::<Placed<V>>(list.len())
            }
        }
    }

    /// Returns an upper bound in bytes for [`Self::insert`]; `shared` if somebody else refers to the node that
    /// contains this slot.
    fn bytes_to_insert(&self, new: FrameRange, base: u64, shift: u32, shared: bool) -> usize {
        match self {
            Self::Empty => 0,
            Self::Several(list) => bytes_of::<Placed<V>>(list.len() + 1),
            Self::One(old) if old.range.overlaps(new) => 0,
            Self::One(old) => bytes_of_two::<V>(old.range, new, base, shift),
            Self::Node(slots) => {
                let shift = shift - BITS;
                let shared = shared || Arc::strong_count(slots) > 1;
                let copied = if shared { bytes_of::<Slot<V>>(slots.len()) } else { 0 };
                let below =
                    |i: usize| slots[i].bytes_to_insert(new, base + ((i as u64) << shift), shift, shared);
                copied + slots_of(new, base, shift).map(below).sum::<usize>()
            }
        }
    }

    /// Inserts a range that overlaps nothing here.
    fn insert(&mut self, new: &Placed<V>, base: u64, shift: u32) {
        match self {
            Self::Empty => *self = Self::One(new.clone()),
            Self::Several(list) => {
                let at = list.partition_point(|p| p.range.start() < new.range.start());
                let (below, above) = list.split_at(at);
                *list = below.iter().chain([new]).chain(above).cloned().collect();
            }
            Self::Node(slots) => {
                let shift = shift - BITS;
                let slots = Arc::make_mut(slots);
                for i in slots_of(new.range, base, shift) {
                    slots[i].insert(new, base + ((i as u64) << shift), shift);
                }
            }
            Self::One(old) => {
                let old = old.clone();
                *self = if shift == BITS {
                    let both = if old.range.start() < new.range.start() {
                        [old, new.clone()]
                    } else {
                        [new.clone(), old]
                    };
                    Self::Several(Arc::new(both))
                } else {
                    let mut below = Self::Node(node());
                    below.insert(&old, base, shift);
                    below.insert(new, base, shift);
                    below
                };
            }
        }
    }

    fn remove(&mut self, range: FrameRange, base: u64, shift: u32) {
        match self {
            Self::Empty => {}
            Self::One(_) => *self = Self::Empty,
            Self::Several(list) => {
                let rest: Vec<Placed<V>> = list.iter().filter(|p| p.range != range).cloned().collect();
                *self = match <[Placed<V>; 1]>::try_from(rest) {
                    Ok([one]) => Self::One(one),
                    Err(rest) => Self::Several(rest.into()),
                };
            }
            Self::Node(slots) => {
                let below = shift - BITS;
                let slots = Arc::make_mut(slots);
                for i in slots_of(range, base, below) {
                    slots[i].remove(range, base + ((i as u64) << below), below);
                }
                if slots.iter().all(|slot| matches!(slot, Self::Empty)) {
                    *self = Self::Empty;
                }
            }
        }
    }
}

/// Every page frame is within reach of a root.
const _: () = assert!(FRAMES <= 1 << (6 * BITS));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Ranges near each other, across the borders of slots, and far up.
    fn ranges() -> impl Strategy<Value = FrameRange> {
        let near = (0u64..2048, 1u64..300);
        let wide = (0u64..1 << 20, 1u64..1 << 19);
        let far = (0u64..64, 1u64..40).prop_map(|(start, count)| (FRAMES - 200 + start, count));
        prop_oneof![near, wide, far].prop_map(|(start, count)| FrameRange::new(start, count).unwrap())
    }

    proptest! {
        #[test]
        fn what_pieces_take_is_known_before(
            others in proptest::collection::vec(0u64..1 << 20, 0..40),
            (start, count, grain) in (0u64..64, 1u64..80, 3u32..16),
        ) {
            let mut map = FrameMap::new();
            for other in others {
                map.insert(FrameRange::new(other << grain, 1 << grain).unwrap(), 0);
            }
            let range = FrameRange::new(start << grain, count << grain).unwrap();
            let bytes = map.bytes_to_fill(range, 1 << grain) as u64;
            let took = allocation_counter::measure(|| {
                for piece in 0..count {
                    map.insert(FrameRange::new((start + piece) << grain, 1 << grain).unwrap(), 1);
                }
            });
            prop_assert!(took.bytes_max <= bytes, "{took:?}, and {bytes} were said");
        }

        #[test]
        fn finds_what_an_ordered_map_finds(
            steps in proptest::collection::vec((any::<bool>(), ranges()), 1..80),
            asked in proptest::collection::vec(prop_oneof![0u64..4096, 0u64..1 << 21, FRAMES - 200..FRAMES + 9], 40),
        ) {
            let mut map = FrameMap::new();
            let mut oracle: BTreeMap<u64, (FrameRange, usize)> = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (i, (insert, range)) in steps.into_iter().enumerate() {
                if insert {
                    let free = oracle.values().all(|(other, _)| !other.overlaps(range));
                    let bytes = map.bytes_to_insert(range) as u64;
                    let took = allocation_counter::measure(|| assert_eq!(map.insert(range, i), free));
                    prop_assert!(!free || took.bytes_max <= bytes, "{took:?}, and {bytes} were said");
                    if free {
                        oracle.insert(range.start(), (range, i));
                    }
                } else {
                    let at = oracle.range(range.start()..).next().map_or(range.start(), |(start, _)| *start);
                    prop_assert_eq!(map.remove(at), oracle.remove(&at));
                }
                if i % 16 == 0 {
                    snapshots.push((map.clone(), oracle.clone()));
                }
            }
            snapshots.push((map, oracle));
            for (map, oracle) in snapshots {
                prop_assert_eq!(map.len(), oracle.len());
                let all: Vec<_> = map.iter().map(|(range, v)| (range, *v)).collect();
                prop_assert_eq!(all, oracle.values().copied().collect::<Vec<_>>());
                for &frame in &asked {
                    let found = oracle.values().find(|(range, _)| range.contains(frame)).copied();
                    prop_assert_eq!(map.get(frame).map(|(range, v)| (range, *v)), found);
                    let after = oracle.values().find(|(range, _)| range.end() > frame).copied();
                    prop_assert_eq!(map.at_or_after(frame).map(|(range, v)| (range, *v)), after);
                    let before = oracle.values().rev().find(|(range, _)| range.start() <= frame).copied();
                    prop_assert_eq!(map.at_or_before(frame).map(|(range, v)| (range, *v)), before);
                }
            }
        }
    }
}
