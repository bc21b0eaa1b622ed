//! Which page frames a model's RAM has, as one arena sees it, and what each is to be.

use crate::frame::FrameRange;
use crate::page::PageState;
use crate::settings::Settings;
use alloc::vec::Vec;
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Metric, Role, SpanState, State, Usage, ViewTarget};

/// What page frames are to be, by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// The arena that they are of.
    pub arena: ArenaId,
    /// The defaults of the space.
    pub attrs: Attrs,
    /// The free list.
    pub free_list: u8,
    /// The NUMA node.
    pub node: u32,
    /// `Free`, or `Offline` where the space is sealed, `Reserved` where a region is, `Retired` where it is bad.
    pub state: PageState,
}

impl Ram {
    /// Whether it differs only in having gone bad by itself.
    pub(crate) fn is_bad_like(&self, other: &Self) -> bool {
        self.state == PageState::Retired && self.is_like(other)
    }

    /// Whether it can be part of the same segment.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Self { state: other.state, ..*self } == *other
    }
}

/// A stretch of a RAM arena that the viewer sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) arena: ArenaId,
    seen: AddrRange,
    /// Where it begins in the arena.
    start: u64,
    cost: Metric,
}

impl Sight {
    /// What of it an arena's own range is, as seen.
    pub(crate) fn seen_of(&self, range: AddrRange) -> Option<AddrRange> {
        let local = self.own()?.intersect(range)?;
        AddrRange::sized(self.seen.start() + (local.start() - self.start), local.len()).ok()
    }

    /// The arena's own range.
    fn own(&self) -> Option<AddrRange> {
        AddrRange::sized(self.start, self.seen.len()).ok()
    }

    /// What of it another does not see as well.
    fn without(&self, other: &Self) -> Vec<Self> {
        let (Some(own), Some(gone)) = (self.own(), other.own()) else { return Vec::new() };
        if !own.overlaps(gone) {
            return Vec::from([*self]);
        }
        let part = |own: AddrRange| Some(Self { seen: self.seen_of(own)?, start: own.start(), ..*self });
        own.minus(gone).into_iter().flatten().filter_map(part).collect()
    }

    /// The arena's own range of it inside `window`.
    fn local(&self, window: AddrRange) -> Option<AddrRange> {
        let part = self.seen.intersect(window)?;
        AddrRange::sized(self.start + (part.start() - self.seen.start()), part.len()).ok()
    }
}

/// A page that two regions share is bad if one of them is.
fn retire_last(wanted: &mut Vec<(FrameRange, Ram)>, ram: Ram) {
    let Some((last, of)) = wanted.pop() else { return };
    let bad = (FrameRange::one(last.end() - 1), Ram { state: PageState::Retired, ..ram });
    wanted.extend(FrameRange::between(last.start(), last.end() - 1).map(|rest| (rest, of)));
    wanted.extend(bad.0.map(|page| (page, bad.1)));
}

/// Memory that is seen at several places is memory once: where it is nearest, and lowest. What is left of sights, in order.
fn once(mut sights: Vec<Sight>) -> Vec<Sight> {
    sights.sort_by_key(|sight| (sight.cost, sight.seen.start()));
    let mut kept: Vec<Sight> = Vec::new();
    for sight in sights {
        let mut parts: Vec<Sight> = Vec::from([sight]);
        for before in kept.iter().filter(|other| other.arena == sight.arena) {
            parts = parts.iter().flat_map(|part| part.without(before)).collect();
        }
        kept.extend(parts);
    }
    kept.sort_by_key(|sight| sight.seen.start());
    kept
}

/// How a model's RAM is laid out in page frames: as whom, which nodes, which free lists.
#[derive(Clone, Debug)]
pub struct Layout {
    viewer: ArenaId,
    nodes: Vec<(ArenaId, u32)>,
    /// Arenas whose memory is of a kind of its own.
    apart: Vec<(ArenaId, u8)>,
    /// The kind and the metric up to which memory is on each free list.
    lists: Vec<(u8, Metric)>,
}

impl Layout {
    /// As `viewer`, a CPU's view or the system bus, sees it.
    pub fn new(viewer: ArenaId) -> Self {
        Self { viewer, nodes: Vec::new(), apart: Vec::new(), lists: Vec::new() }
    }

    /// Says which NUMA node an arena is; node 0 if nothing is said.
    #[must_use]
    pub fn node(mut self, arena: ArenaId, node: u32) -> Self {
        self.nodes.push((arena, node));
        self
    }

    /// Says that an arena's memory is of a kind of its own, and so on a free list of its own: memory of high bandwidth, say, or behind CXL.
    /// Kinds follow one another by their number; what nothing is said of is of kind 0.
    #[must_use]
    pub fn apart(mut self, arena: ArenaId, kind: u8) -> Self {
        self.apart.push((arena, kind));
        self
    }

    /// Says up to which metric memory is on free list 0, 1, …; slower memory is on the list after the last. Without this, each
    /// metric that there is has a list of its own. Of another kind than 0 (see [`apart`](Self::apart)), memory is on the list after the last.
    #[must_use]
    pub fn free_lists(mut self, up_to: impl IntoIterator<Item = Metric>) -> Self {
        self.lists = up_to.into_iter().map(|metric| (0, metric)).collect();
        self
    }

    /// What page frames the RAM has, in order, and what each is to be. A page counts if all of it is RAM. Memory that is
    /// seen at several places counts where it is nearest; memory behind tables and interleaves is not followed.
    pub fn frames(&self, state: &State, settings: Settings) -> Vec<(FrameRange, Ram)> {
        self.wanted(state, &self.look(state), AddrRange::ALL, settings)
    }

    /// Whether there is an arena that sees it.
    pub(crate) fn is_of(&self, state: &State) -> bool {
        state.arena(self.viewer).is_some()
    }

    /// Keeps the free lists as they are for this state, unless they are kept already or there is no memory; whether it does.
    pub(crate) fn settle(&mut self, state: &State) -> bool {
        let was = self.lists.is_empty();
        self.lists = self.lists_of(&self.look(state));
        was && !self.lists.is_empty()
    }

    /// Forgets which free lists there are.
    pub(crate) fn unsettle(&mut self) {
        self.lists.clear();
    }

    /// The kind and the metric of a stretch of memory: what decides on its free list.
    fn order(&self, sight: &Sight) -> (u8, Metric) {
        let kind = self.apart.iter().find(|(arena, _)| *arena == sight.arena).map_or(0, |(_, kind)| *kind);
        (kind, sight.cost)
    }

    fn lists_of(&self, sights: &[Sight]) -> Vec<(u8, Metric)> {
        if !self.lists.is_empty() {
            return self.lists.clone();
        }
        let mut lists: Vec<(u8, Metric)> = sights.iter().map(|sight| self.order(sight)).collect();
        lists.sort_unstable();
        lists.dedup();
        lists
    }

    /// The RAM that the viewer sees, in order of address.
    pub(crate) fn look(&self, state: &State) -> Vec<Sight> {
        let mut sights: Vec<Sight> = Vec::new();
        for piece in state.view(self.viewer) {
            let ViewTarget::Local { arena, start, .. } = piece.what else { continue };
            if !state.info(arena).is_some_and(|info| info.kind.contains(ArenaType::RAM)) {
                continue;
            }
            let (seen, cost) = (piece.seen, piece.cost);
            match sights.last_mut() {
                Some(last)
                    if (last.arena, last.cost) == (arena, cost)
                        && last.seen.end() == Some(seen.start())
                        && last.start.wrapping_add(last.seen.len()) == start =>
                {
                    last.seen = AddrRange::inclusive(last.seen.start(), seen.last()).unwrap_or(last.seen);
                }
                _ => sights.push(Sight { arena, seen, start, cost }),
            }
        }
        once(sights)
    }

    /// What the model wants of the page frames of a window.
    pub(crate) fn wanted(
        &self,
        state: &State,
        sights: &[Sight],
        window: AddrRange,
        settings: Settings,
    ) -> Vec<(FrameRange, Ram)> {
        let mut wanted = Vec::new();
        let order = self.lists_of(sights);
        let (shift, lists) = (settings.pageshift(), settings.free_lists_of());
        for sight in sights {
            let (Some(local), Some(arena)) = (sight.local(window), state.arena(sight.arena)) else {
                continue;
            };
            let list = order.partition_point(|list| *list < self.order(sight));
            let free_list = u8::try_from(list).unwrap_or(u8::MAX).min(lists - 1);
            let node =
                self.nodes.iter().find(|(arena, _)| *arena == sight.arena).map_or(0, |(_, node)| *node);
            for (range, span) in arena.spans_in(local) {
                let whole = match span.state {
                    SpanState::Open if span.attrs.usage().contains(Usage::BROKEN) => PageState::Retired,
                    SpanState::Open => PageState::Free,
                    SpanState::Sealed => PageState::Offline,
                    SpanState::Lent => continue,
                };
                let Some(frames) = sight.seen_of(range).and_then(|seen| FrameRange::inside(seen, shift))
                else {
                    continue;
                };
                let ram = Ram { arena: sight.arena, attrs: span.attrs, free_list, node, state: whole };
                let mut from = frames.start();
                for (at, record) in arena.regions_in(range) {
                    let usage = record.attrs.usage();
                    let around = sight.seen_of(at).and_then(|seen| FrameRange::around(seen, shift));
                    let taken = around
                        .and_then(|a| FrameRange::between(a.start().max(from), a.end().min(frames.end())));
                    if record.role != Role::Own || usage.is_empty() {
                        continue;
                    }
                    let bad = usage.contains(Usage::BROKEN);
                    if bad && from > frames.start() && around.is_some_and(|around| around.start() < from) {
                        retire_last(&mut wanted, ram);
                    }
                    let Some(taken) = taken else { continue };
                    let state = if bad { PageState::Retired } else { PageState::Reserved };
                    wanted.extend(FrameRange::between(from, taken.start()).map(|rest| (rest, ram)));
                    wanted.push((taken, Ram { state, ..ram }));
                    from = taken.end();
                }
                wanted.extend(FrameRange::between(from, frames.end()).map(|rest| (rest, ram)));
            }
        }
        wanted.sort_unstable_by_key(|(range, _)| range.start());
        wanted
    }
}
