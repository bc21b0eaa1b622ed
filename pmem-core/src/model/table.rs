//! The table of regions by id: where each is, and its reference count. Entries never move, so a change never waits
//! for other entries to be copied.

use crate::id::{ArenaId, RegionId};
use alloc::boxed::Box;
use alloc::vec::Vec;
use slotmap::Key;

/// Where the state holds a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In no arena. Occurs only inside a change.
    Nowhere,
    /// In an arena, starting at this address.
    At(ArenaId, u64),
    /// In an arena, parked.
    Parked(ArenaId),
}

/// What the writer keeps about a region apart from the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The references held, those of aliases included.
    pub(crate) count: u32,
    pub(crate) home: Home,
}

/// A slot of the table, in 20 bytes: an entry, or a slot that is free.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// An entry: the region's start, in halves. A free slot: the index of the next free slot.
    start: [u32; 2],
    /// The index of the arena's id; 0 for a region in no arena.
    arena: u32,
    /// Odd while the slot has an entry, as in `slotmap`: every use of a slot has its own version.
    version: u32,
    /// The count, and in [`PARKED`] whether the region is parked.
    refs: u32,
}

const PARKED: u32 = 1 << 31;
/// The most references that a region may have: 2^31 − 1.
pub(crate) const MAX_REFS: u32 = PARKED - 1;
const PAGE: usize = 128;
/// The version of a slot that cannot have another id. Even, as of every slot that is free.
const USED_UP: u32 = u32::MAX - 1;

impl Slot {
    /// Returns a slot that was never used, followed in the free list by slot `next`.
    fn vacant(next: u64) -> Self {
        let mut slot = Self { start: [0; 2], arena: 0, version: 0, refs: 0 };
        slot.set_start(next);
        slot
    }

    #[inline]
    fn start(&self) -> u64 {
        u64::from(self.start[1]) << 32 | u64::from(self.start[0])
    }

    #[inline]
    fn set_start(&mut self, start: u64) {
        self.start = [start as u32, (start >> 32) as u32];
    }

    fn is_used(&self) -> bool {
        self.version & 1 == 1
    }
}

/// The regions by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    #[expect(clippy::vec_box, reason = "pages are not to move when there is one more")]
    pages: Vec<Box<[Slot; PAGE]>>,
    /// The head of the free list; past the end if all slots are in use. Slot 0 is the null id, never used.
    free: u64,
    used: usize,
    /// The id of each arena that holds regions, by index. An arena is removed only when it holds none, so an index is
    /// not ambiguous.
    arenas: Vec<ArenaId>,
}

fn place(id: RegionId) -> (usize, u32) {
    let raw = id.data().as_ffi();
    (raw as u32 as usize, (raw >> 32) as u32)
}

fn id(place: usize, version: u32) -> RegionId {
    RegionId::from_raw(u64::from(version) << 32 | place as u64)
}

impl Table {
    #[inline]
    fn slot(&self, region: RegionId) -> Option<&Slot> {
        let (place, version) = place(region);
        let slot = &self.pages.get(place / PAGE)?[place % PAGE];
        (slot.version == version && slot.is_used()).then_some(slot)
    }

    #[inline]
    fn slot_mut(&mut self, region: RegionId) -> Option<&mut Slot> {
        let (place, version) = place(region);
        let slot = &mut self.pages.get_mut(place / PAGE)?[place % PAGE];
        (slot.version == version && slot.is_used()).then_some(slot)
    }

    #[inline]
    fn entry(&self, slot: &Slot) -> Entry {
        let home = match self.arenas.get(slot.arena as usize) {
            Some(arena) if slot.arena != 0 && slot.refs & PARKED != 0 => Home::Parked(*arena),
            Some(arena) if slot.arena != 0 => Home::At(*arena, slot.start()),
            _ => Home::Nowhere,
        };
        Entry { count: slot.refs & !PARKED, home }
    }

    /// Returns the number of ids in use.
    #[cfg(feature = "serde")]
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    #[inline]
    pub(crate) fn get(&self, region: RegionId) -> Option<Entry> {
        self.slot(region).map(|slot| self.entry(slot))
    }

    #[cfg(feature = "serde")]
    pub(crate) fn contains(&self, region: RegionId) -> bool {
        self.slot(region).is_some()
    }

    /// Makes sure that a slot is free.
    #[inline]
    pub(crate) fn reserve(&mut self) {
        if self.free as usize >= self.pages.len() * PAGE || self.free == 0 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.pages.len() * PAGE;
        let mut page = Box::new([Slot::vacant(0); PAGE]);
        // Chains the new slots. The last one points past the end, where the next page will begin.
        page.iter_mut().zip(first as u64 + 1..).for_each(|(slot, next)| slot.set_start(next));
        self.pages.push(page);
        self.free = first.max(1) as u64;
    }

    /// Takes an id into use for a region in no arena yet, with `count` references.
    pub(crate) fn insert(&mut self, count: u32) -> RegionId {
        self.reserve();
        let place = self.free as usize;
        let slot = &mut self.pages[place / PAGE][place % PAGE];
        self.free = slot.start();
        slot.version |= 1;
        slot.refs = count.min(MAX_REFS);
        slot.arena = 0;
        self.used += 1;
        id(place, slot.version)
    }

    /// Retires an id for good.
    pub(crate) fn remove(&mut self, region: RegionId) {
        let free = self.free;
        let Some(slot) = self.slot_mut(region) else { return };
        // A slot whose versions are used up is never reused: a new id would equal an old one. It keeps a version of
        // its own, which no id has: 0 is that of slots never used, and what is saved would be read as one.
        let next = slot.version.checked_add(1);
        slot.version = next.unwrap_or(USED_UP);
        slot.set_start(free);
        self.used -= 1;
        if next.is_some() {
            self.free = place(region).0 as u64;
        }
    }

    #[inline]
    pub(crate) fn set_count(&mut self, region: RegionId, count: u32) {
        if let Some(slot) = self.slot_mut(region) {
            slot.refs = (slot.refs & PARKED) | count.min(MAX_REFS);
        }
    }

    #[inline]
    pub(crate) fn set_home(&mut self, region: RegionId, home: Home) {
        let (arena, start, parked) = match home {
            Home::Nowhere => (ArenaId::null(), 0, 0),
            Home::At(arena, start) => (arena, start, 0),
            Home::Parked(arena) => (arena, 0, PARKED),
        };
        let index = if home == Home::Nowhere { 0 } else { arena.data().as_ffi() as u32 };
        if self.arenas.get(index as usize) != Some(&arena) {
            self.know(index as usize, arena);
        }
        let Some(slot) = self.slot_mut(region) else { return };
        slot.set_start(start);
        (slot.arena, slot.refs) = (index, (slot.refs & !PARKED) | parked);
    }

    #[cold]
    fn know(&mut self, index: usize, arena: ArenaId) {
        if self.arenas.len() <= index {
            self.arenas.resize(index + 1, ArenaId::null());
        }
        self.arenas[index] = arena;
    }

    /// Iterates over all regions in the order of their slots: oldest first, except where slots were reused.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RegionId, Entry)> + '_ {
        let slots = self.pages.iter().flat_map(|page| page.iter()).enumerate();
        slots.filter(|(_, slot)| slot.is_used()).map(|(i, slot)| (id(i, slot.version), self.entry(slot)))
    }
}

#[cfg(feature = "serde")]
mod saved {
    use super::{MAX_REFS, PAGE, PARKED, Slot, Table};
    use alloc::vec::Vec;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// A slot: its version, and its count if it has an entry.
    #[derive(Serialize, Deserialize)]
    struct Place(u32, Option<u32>);

    /// The slots, and the free list of those used before, next one first.
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Saved {
        places: Vec<Place>,
        free: Vec<u32>,
    }

    /// Saves only ids and counts. The state says where regions are.
    impl Serialize for Table {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let slots = self.pages.iter().flat_map(|page| page.iter()).skip(1);
            let mut places: Vec<Place> =
                slots.map(|s| Place(s.version, s.is_used().then_some(s.refs & !PARKED))).collect();
            while places.pop_if(|place| place.0 == 0).is_some() {}
            let used_before = |place: &u64| {
                let place = *place as usize;
                self.pages.get(place / PAGE).is_some_and(|page| page[place % PAGE].version != 0)
            };
            let next = |place: &u64| {
                let place = *place as usize;
                self.pages.get(place / PAGE).map(|page| page[place % PAGE].start())
            };
            let free = core::iter::successors(Some(self.free), next).take_while(used_before);
            Saved { places, free: free.map(|place| place as u32).collect() }.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Table {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let Saved { places, free } = Saved::deserialize(deserializer)?;
            let mut table = Self::default();
            if u32::try_from(places.len()).is_err() {
                return Err(D::Error::custom("more regions than there are ids"));
            }
            while table.pages.len() * PAGE <= places.len() {
                table.grow();
            }
            for (i, Place(version, count)) in (1..).zip(&places) {
                if (version & 1 == 1) != count.is_some() || count.is_some_and(|count| count > MAX_REFS) {
                    return Err(D::Error::custom(format_args!("region id {i} is broken")));
                }
                let slot = &mut table.pages[i / PAGE][i % PAGE];
                *slot = Slot { version: *version, refs: count.unwrap_or(0), ..Slot::vacant(0) };
                table.used += usize::from(count.is_some());
            }
            // Rebuild the free list back to front: used slots in their saved order, then slots never used.
            let end = (table.pages.len() * PAGE) as u64;
            let never = (1..end as usize).filter(|i| table.pages[i / PAGE][i % PAGE].version == 0);
            let mut order: Vec<u64> =
                free.iter().map(|place| u64::from(*place)).chain(never.map(|i| i as u64)).collect();
            let mut next = end;
            let mut once = alloc::collections::BTreeSet::new();
            while let Some(place) = order.pop() {
                let slot =
                    table.pages.get_mut(place as usize / PAGE).map(|page| &mut page[place as usize % PAGE]);
                let Some(slot) = slot.filter(|slot| !slot.is_used() && place != 0 && once.insert(place))
                else {
                    return Err(D::Error::custom(format_args!(
                        "free region id {place} is in use, or free twice"
                    )));
                };
                slot.set_start(next);
                next = place;
            }
            table.free = next;
            Ok(table)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_id_that_was_given_up_names_nothing_again() {
        let (mut table, mut model, mut gone) = (Table::default(), BTreeMap::new(), Vec::new());
        for i in 0..3000u32 {
            let id = table.insert(i);
            assert!(!gone.contains(&id));
            model.insert(id, i);
            if i % 3 != 0 {
                let id = *model.keys().nth(i as usize * 7 % model.len()).unwrap();
                model.remove(&id);
                table.remove(id);
                table.remove(id);
                gone.push(id);
            }
        }
        assert!(gone.iter().all(|id| table.get(*id).is_none()));
        let listed: BTreeMap<RegionId, u32> = table.iter().map(|(id, entry)| (id, entry.count)).collect();
        assert_eq!(listed, model);
        assert_eq!(table.used, model.len());
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_slot_whose_versions_are_used_up_is_not_reused_even_if_saved() {
        let mut table = Table::default();
        let first = table.insert(1);
        let at = place(first).0;
        table.pages[at / PAGE][at % PAGE].version = u32::MAX;
        let last = id(at, u32::MAX);
        table.remove(last);
        let saved = serde_json::to_string(&table).unwrap();
        let mut read: Table = serde_json::from_str(&saved).unwrap();
        for table in [&mut table, &mut read] {
            assert!(table.get(last).is_none() && table.used == 0);
            let ids: Vec<RegionId> = (0..2 * PAGE as u32).map(|n| table.insert(n)).collect();
            assert!(ids.iter().all(|id| place(*id).0 != at), "the slot came back");
        }
    }

    #[test]
    fn counts_and_homes_do_not_mix() {
        let mut table = Table::default();
        let (id, arena) = (table.insert(MAX_REFS), ArenaId::from_raw(1 << 32 | 7));
        for home in [Home::At(arena, u64::MAX), Home::Parked(arena), Home::Nowhere, Home::At(arena, 0)] {
            table.set_home(id, home);
            assert_eq!(table.get(id), Some(Entry { count: MAX_REFS, home }));
        }
        table.set_home(id, Home::Parked(arena));
        table.set_count(id, 3);
        assert_eq!(table.get(id), Some(Entry { count: 3, home: Home::Parked(arena) }));
    }
}
