//! The flattened view of an observed arena, updated from one change to the next.

use super::deltas::{Delta, Effective};
use super::spans::{Spans, differences, joined};
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::Mapping;
use crate::model::{Edit, Link, Look, Placement, State, ViewTarget};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use pmem_space::{AddrRange, Prot};
use rangemap::RangeInclusiveMap;

/// How an arena is seen: the offset added to an address there to give the address as seen, and the accesses let
/// through.
type View = (u64, Prot);
/// By address as seen: the arenas that the survey expanded there, and how it saw each.
type Seen = RangeInclusiveMap<u64, Vec<(ArenaId, View)>>;

/// The flattened view of an observed arena.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flat {
    spans: Spans,
    seen: Seen,
    /// The inverse of `seen`, by arena and address in that arena: finds what an edit of the arena affects.
    looked: BTreeMap<ArenaId, RangeInclusiveMap<u64, Vec<View>>>,
}

impl State {
    /// Returns what an arena sees, as ranges of effective attributes and places. [`Delta`]s report their changes.
    /// Leaves out addresses that nothing decodes, ambiguous addresses, loops, table inputs without an entry, and
    /// interleaved ranges.
    ///
    /// # Examples
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Prot, Window, Windows};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
    /// let rom = pmem.create_arena("boot flash", ArenaType::ROM)?;
    /// pmem.prime(rom, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
    /// // The chipset decodes reads and fetches of the flash just below 4 GiB, but no writes.
    /// let below_4g = AddrRange::new(0xfff0_0000, 0x1_0000_0000)?;
    /// let decoder = Window::fixed(below_4g, 0)?.prot(Prot::READ | Prot::EXEC);
    /// pmem.connect(cpu, rom, Mapping::Windows(Windows::new([decoder])?), Metric::new(1))?;
    ///
    /// let sees = pmem.state().sees(cpu);
    /// let (range, effective) = sees[0];
    /// assert_eq!((sees.len(), range), (1, below_4g));
    /// assert_eq!(effective.attrs.prot(), Prot::READ | Prot::EXEC);
    /// assert_eq!(effective.place(0xffff_fff0), (rom, 0xf_fff0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sees(&self, viewer: ArenaId) -> Vec<(AddrRange, Effective)> {
        let (spans, _) = look(self, viewer, AddrRange::ALL);
        spans.iter().filter_map(|(span, what)| Some((from_inclusive(span)?, *what))).collect()
    }
}

/// What a change does to a flattened view: the parts of it that were surveyed again.
pub(crate) struct Update {
    parts: Vec<Part>,
    deltas: Vec<Delta>,
}

struct Part {
    window: AddrRange,
    old: Spans,
    new: Spans,
    /// The new arenas and offsets; `None` if only attributes changed and these stay.
    seen: Option<Seen>,
}

impl Update {
    fn of(parts: Vec<Part>) -> Self {
        let deltas = parts.iter().flat_map(|part| differences(&part.old, &part.new));
        Self { deltas: joined(deltas.collect()), parts }
    }

    /// Returns how the view changes.
    pub(crate) fn deltas(&self) -> &[Delta] {
        &self.deltas
    }
}

impl Flat {
    pub(crate) fn of(state: &State, viewer: ArenaId) -> Self {
        let (spans, seen) = look(state, viewer, AddrRange::ALL);
        let mut new = Self { spans, ..Self::default() };
        new.set_seen(AddrRange::ALL, seen);
        new
    }

    /// Computes how `edits`, which lead to `after`, update the view.
    pub(crate) fn update(&self, viewer: ArenaId, edits: &[Edit], after: &State) -> Update {
        if let Some(parts) = self.repainted(edits, after) {
            return Update::of(parts);
        }
        // Survey again exactly where the view shows an address that some edit touches.
        let mut windows: Vec<AddrRange> = Vec::new();
        for (arena, range) in touched(edits, after) {
            let looked = self.looked.get(&arena).into_iter();
            for (part, views) in looked.flat_map(|looked| looked.overlapping(inclusive(range))) {
                let Some(part) = from_inclusive(part).and_then(|part| part.intersect(range)) else {
                    continue;
                };
                windows.extend(views.iter().filter_map(|(back, _)| part.shifted(*back)));
            }
        }
        windows.sort_unstable_by_key(|window| window.start());
        // Join windows that touch, so that each address is surveyed once.
        windows.dedup_by(|next, last| {
            let touches = last.end().is_none_or(|end| next.start() <= end);
            if touches {
                *last = last.hull(*next);
            }
            touches
        });
        let part = |window: AddrRange| {
            let (new, seen) = look(after, viewer, window);
            Part { window, old: cut(&self.spans, window), new, seen: Some(seen) }
        };
        Update::of(windows.into_iter().map(part).collect())
    }

    /// Handles the common case without a survey: the edits only create, remove or alter regions in place, and every
    /// address concerned is seen as one place. Returns the new attributes there; `None` if a survey is needed.
    fn repainted(&self, edits: &[Edit], after: &State) -> Option<Vec<Part>> {
        let mut out = Vec::new();
        for edit in edits {
            let (old, new) = match edit {
                Edit::Count { .. } | Edit::Name { .. } => continue,
                Edit::Region { old, new, .. } => (old, new),
                _ => return None,
            };
            let whole = match (old, new) {
                (Some(old), Some(new)) if old.seat != new.seat => return None,
                (Some(one), _) | (None, Some(one)) => one,
                (None, None) => continue,
            };
            let (None, Some(range)) = (whole.record.alias(), whole.seat.range()) else { return None };
            let looked = self.looked.get(&whole.arena).into_iter();
            for (part, views) in looked.flat_map(|looked| looked.overlapping(inclusive(range))) {
                let part = from_inclusive(part)?.intersect(range)?;
                for (back, prot) in views {
                    let window = part.shifted(*back)?;
                    let offset = 0u64.wrapping_sub(*back);
                    let old = cut(&self.spans, window);
                    let is_its_own = |what: &Effective| (what.arena, what.offset) == (whole.arena, offset);
                    if old.gaps(&inclusive(window)).next().is_some()
                        || !old.iter().all(|(_, what)| is_its_own(what))
                    {
                        return None;
                    }
                    let mut new = Spans::new();
                    for (here, attrs, taken) in after.own_in(whole.arena, part) {
                        let attrs = attrs.with_prot(attrs.prot() & *prot);
                        let what = Effective { attrs, taken, arena: whole.arena, offset };
                        new.insert(inclusive(here.shifted(*back)?), what);
                    }
                    out.push(Part { window, old, new, seen: None });
                }
            }
        }
        out.sort_unstable_by_key(|part| part.window.start());
        let apart = out.windows(2).all(|pair| !pair[0].window.overlaps(pair[1].window));
        apart.then_some(out)
    }

    /// Advances the view by an update.
    pub(crate) fn apply(&mut self, update: Update) {
        for Delta { range, new, .. } in update.deltas {
            match new {
                Some(what) => self.spans.insert(inclusive(range), what),
                None => self.spans.remove(inclusive(range)),
            }
        }
        for Part { window, seen, .. } in update.parts {
            if let Some(seen) = seen.filter(|seen| cut(&self.seen, window) != *seen) {
                self.set_seen(window, seen);
            }
        }
    }

    /// Records which arenas are seen in `window`, in place of what was recorded before.
    fn set_seen(&mut self, window: AddrRange, new: Seen) {
        for (range, looks) in cut(&self.seen, window) {
            for (arena, view) in looks {
                let Some(looked) = self.looked.get_mut(&arena) else { continue };
                change(looked, &range, view, |views| views.retain(|other| *other != view));
                if looked.is_empty() {
                    self.looked.remove(&arena);
                }
            }
        }
        self.seen.remove(inclusive(window));
        for (range, looks) in new.iter() {
            for (arena, view) in looks {
                let looked = self.looked.entry(*arena).or_default();
                change(looked, range, *view, |views| {
                    let place =
                        views.partition_point(|other| (other.0, other.1.bits()) < (view.0, view.1.bits()));
                    views.insert(place, *view);
                });
                if looked.is_empty() {
                    self.looked.remove(arena);
                }
            }
        }
        self.seen.extend(new);
    }

    /// Whether both views are equal.
    pub(crate) fn sees_as(&self, other: &Self) -> bool {
        (&self.spans, &self.seen, &self.looked) == (&other.spans, &other.seen, &other.looked)
    }
}

/// Changes the views recorded for those addresses of an arena that are seen at `seen`.
fn change(
    looked: &mut RangeInclusiveMap<u64, Vec<View>>,
    seen: &RangeInclusive<u64>,
    (back, _): View,
    with: impl Fn(&mut Vec<View>),
) {
    let there = from_inclusive(seen).and_then(|seen| seen.shifted(0u64.wrapping_sub(back)));
    let Some(there) = there.map(inclusive) else { return };
    let mut parts: Vec<(RangeInclusive<u64>, Vec<View>)> =
        looked.overlapping(&there).map(|(r, views)| (both(r, &there), views.clone())).collect();
    parts.extend(looked.gaps(&there).map(|gap| (gap, Vec::new())));
    looked.remove(there);
    for (part, mut views) in parts {
        with(&mut views);
        if !views.is_empty() {
            looked.insert(part, views);
        }
    }
}

/// Surveys what `viewer` sees in `window` of `state`, and which arenas it sees there.
fn look(state: &State, viewer: ArenaId, window: AddrRange) -> (Spans, Seen) {
    let (pieces, looks) = state.looked_at(viewer, window);
    let mut spans = Spans::new();
    for piece in pieces {
        if let ViewTarget::Local { arena, start, region, attrs, .. } = piece.what {
            let offset = start.wrapping_sub(piece.seen.start());
            let effective = Effective { attrs, taken: region.is_some(), arena, offset };
            spans.insert(inclusive(piece.seen), effective);
        }
    }
    // Several looks can cover an address. Sweep over where they begin and end, and count each kind of look.
    let mut borders: Vec<(u64, bool, (ArenaId, u64, u8))> = Vec::new();
    for (range, look) in looks.iter().filter_map(|look: &Look| Some((look.seen()?, look))) {
        let view = (look.arena, look.back, look.prot.bits());
        borders.push((range.start(), true, view));
        borders.extend(range.end().map(|end| (end, false, view)));
    }
    borders.sort_unstable();
    let mut seen = Seen::new();
    let mut here: BTreeMap<(ArenaId, u64, u8), u32> = BTreeMap::new();
    let mut borders = borders.into_iter().peekable();
    while let Some((at, begins, look)) = borders.next() {
        let count = here.entry(look).or_insert(0);
        *count = if begins { *count + 1 } else { *count - 1 };
        if *count == 0 {
            here.remove(&look);
        }
        let next = borders.peek().map(|(next, ..)| *next);
        if next != Some(at) && !here.is_empty() {
            let views =
                here.keys().map(|(arena, back, prot)| (*arena, (*back, Prot::from_bits_retain(*prot))));
            seen.insert(at..=next.map_or(u64::MAX, |next| next - 1), views.collect());
        }
    }
    (spans, seen)
}

/// Returns the part of a map in `window`.
fn cut<V: Clone + Eq>(map: &RangeInclusiveMap<u64, V>, window: AddrRange) -> RangeInclusiveMap<u64, V> {
    let window = inclusive(window);
    map.overlapping(&window).map(|(range, value)| (both(range, &window), value.clone())).collect()
}

fn both(a: &RangeInclusive<u64>, b: &RangeInclusive<u64>) -> RangeInclusive<u64> {
    *a.start().max(b.start())..=*a.end().min(b.end())
}

fn inclusive(range: AddrRange) -> RangeInclusive<u64> {
    range.start()..=range.last()
}

fn from_inclusive(range: &RangeInclusive<u64>) -> Option<AddrRange> {
    AddrRange::inclusive(*range.start(), *range.end()).ok()
}

/// Returns the addresses of arenas whose meaning the edits may change.
fn touched(edits: &[Edit], after: &State) -> Vec<(ArenaId, AddrRange)> {
    let mut out: Vec<(ArenaId, AddrRange)> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Count { .. } | Edit::Name { .. } | Edit::Arena { .. } | Edit::Effective { .. } => {}
            Edit::Span { arena, range, .. } => out.push((*arena, *range)),
            Edit::Region { old, new, .. } => {
                let both = [old, new].into_iter().flatten().filter(|p| changes_meaning(p, after));
                out.extend(both.filter_map(|p| Some((p.arena, p.seat.range()?))));
            }
            Edit::Window { link, way, old, new, .. } => {
                let near = joined_by(*link, edits, after).map(|link| link.near(*way));
                out.extend([old, new].into_iter().flatten().filter_map(|range| Some((near?, *range))));
            }
            Edit::Link { old, new, .. } => {
                for link in [old, new].into_iter().flatten() {
                    for way in [Way::ToRight, Way::ToLeft] {
                        let near = link.near(way);
                        let taken = taken_by(&link.direction(way).mapping, near, after);
                        out.extend(taken.into_iter().map(|range| (near, range)));
                    }
                }
            }
        }
    }
    out
}

/// Whether a region determines what its addresses mean. An alias through a claiming window does so only if it narrows
/// the access: the window is there without it.
fn changes_meaning(placement: &Placement, after: &State) -> bool {
    let Some(alias) = placement.record.alias() else { return true };
    let mapping = after.link(alias.link).map(|link| &link.direction(alias.way).mapping);
    match mapping {
        Some(Mapping::Windows(windows)) if !windows.yields() => placement.record.attrs.prot() != Prot::RWX,
        _ => true,
    }
}

/// Returns an interconnect that exists after these edits, or that they remove.
fn joined_by<'e>(id: LinkId, edits: &'e [Edit], after: &'e State) -> Option<&'e Link> {
    let gone = || {
        edits.iter().find_map(|edit| match edit {
            Edit::Link { link, old: Some(old), .. } if *link == id => Some(&**old),
            _ => None,
        })
    };
    after.link(id).or_else(gone)
}

/// Returns the addresses of `near` that a mapping takes.
fn taken_by(mapping: &Mapping, near: ArenaId, after: &State) -> Vec<AddrRange> {
    match mapping {
        Mapping::Closed => Vec::new(),
        Mapping::Identity => after.undecoded(near, AddrRange::ALL),
        Mapping::Windows(windows) => windows.pieces().iter().filter_map(|w| w.floor_of()).collect(),
        Mapping::Interleave(share) => Vec::from([share.input()]),
        Mapping::Table(table) => table.parts_in(AddrRange::ALL).collect(),
    }
}
