//! The layout of a model's RAM: the page frames it has as one arena sees them, and what each should be.

use crate::frame::FrameRange;
use crate::page::PageState;
use crate::settings::Settings;
use alloc::vec::Vec;
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Metric, Role, SpanState, State, Usage, ViewTarget};

/// What the model asks of page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    /// The arena that the memory belongs to.
    pub arena: ArenaId,
    /// The default attributes of the space.
    pub attrs: Attrs,
    /// The free list.
    pub free_list: u8,
    /// The NUMA node.
    pub node: u32,
    /// `Free`, or `Offline` where the space is sealed, `Reserved` where a region is, `Retired` where the memory is
    /// bad.
    pub state: PageState,
}

impl Ram {
    /// Whether the only difference is that this memory has gone bad by itself.
    pub(crate) fn is_bad_like(&self, other: &Self) -> bool {
        self.state == PageState::Retired && self.is_like(other)
    }

    /// Whether both can be part of one segment.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Self { state: other.state, ..*self } == *other
    }
}

/// A stretch of a RAM arena that the viewer sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) arena: ArenaId,
    seen: AddrRange,
    /// Where the stretch starts in the arena.
    start: u64,
    cost: Metric,
}

impl Sight {
    /// Converts a range of the arena to the addresses at which this stretch shows it; `None` if it does not.
    pub(crate) fn seen_of(&self, range: AddrRange) -> Option<AddrRange> {
        let local = self.own()?.intersect(range)?;
        AddrRange::sized(self.seen.start() + (local.start() - self.start), local.len()).ok()
    }

    /// The stretch as a range of the arena.
    fn own(&self) -> Option<AddrRange> {
        AddrRange::sized(self.start, self.seen.len()).ok()
    }

    /// Returns the parts of this stretch that another does not show as well.
    fn without(&self, other: &Self) -> Vec<Self> {
        let (Some(own), Some(gone)) = (self.own(), other.own()) else { return Vec::new() };
        if !own.overlaps(gone) {
            return Vec::from([*self]);
        }
        let part = |own: AddrRange| Some(Self { seen: self.seen_of(own)?, start: own.start(), ..*self });
        own.minus(gone).into_iter().flatten().filter_map(part).collect()
    }

    /// Returns the range of the arena that this stretch shows inside `window`.
    fn local(&self, window: AddrRange) -> Option<AddrRange> {
        let part = self.seen.intersect(window)?;
        AddrRange::sized(self.start + (part.start() - self.seen.start()), part.len()).ok()
    }
}

/// Retires the last page that was added: a page shared by two regions is bad if either of them is.
fn retire_last(wanted: &mut Vec<(FrameRange, Ram)>, ram: Ram) {
    let Some((last, of)) = wanted.pop() else { return };
    let bad = (FrameRange::one(last.end() - 1), Ram { state: PageState::Retired, ..ram });
    wanted.extend(FrameRange::between(last.start(), last.end() - 1).map(|rest| (rest, of)));
    wanted.extend(bad.0.map(|page| (page, bad.1)));
}

/// Removes duplicates: memory that is seen in several places counts once, where it is nearest and, among equals,
/// lowest. Returns what is left in ascending order.
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

/// The layout of a model's RAM in page frames: the viewer, the nodes, and the free lists.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric};
/// use pmem_uvm::{FrameRange, Layout, Settings};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("cpu", ArenaType::VIEW)?;
/// let cxl = pmem.create_arena("cxl", ArenaType::RAM)?;
/// pmem.prime(cxl, AddrRange::new(0, 0x100_0000)?, Attrs::ram())?;
/// let window = Mapping::window(AddrRange::new(0x8000_0000, 0x9000_0000)?, 0)?;
/// pmem.connect(cpu, cxl, window, Metric::new(10))?;
///
/// // Memory of up to cost 1 is on list 0. This is slower, and so on list 1.
/// let layout = Layout::new(cpu).node(cxl, 1).free_lists([Metric::new(1)]);
/// let frames = layout.frames(pmem.state(), Settings::default());
/// let [(range, ram)] = frames[..] else { return Err("one range".into()) };
/// assert_eq!(range, FrameRange::new(0x8_0000, 0x1000)?);
/// assert_eq!((ram.node, ram.free_list), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    viewer: ArenaId,
    nodes: Vec<(ArenaId, u32)>,
    /// Arenas whose memory is of a kind of its own.
    apart: Vec<(ArenaId, u8)>,
    /// For each free list, the kind and the greatest metric of its memory.
    lists: Vec<(u8, Metric)>,
}

impl Layout {
    /// Lays RAM out as `viewer` sees it: a CPU's view or the system bus.
    #[must_use]
    pub fn new(viewer: ArenaId) -> Self {
        Self { viewer, nodes: Vec::new(), apart: Vec::new(), lists: Vec::new() }
    }

    /// Sets the NUMA node of an arena. The default is node 0.
    #[must_use]
    pub fn node(mut self, arena: ArenaId, node: u32) -> Self {
        self.nodes.push((arena, node));
        self
    }

    /// Puts an arena's memory on a free list of its own because it is special, such as high-bandwidth memory or
    /// memory behind CXL. Lists are ordered by kind; the memory of all other arenas is of kind 0.
    #[must_use]
    pub fn apart(mut self, arena: ArenaId, kind: u8) -> Self {
        self.apart.push((arena, kind));
        self
    }

    /// Sets the greatest metric of the memory on free list 0, 1, and so on. Slower memory goes on the list after the
    /// last. Without this, each metric has a list of its own. Memory of another kind than 0 (see
    /// [`apart`](Self::apart)) goes on the list after the last.
    #[must_use]
    pub fn free_lists(mut self, up_to: impl IntoIterator<Item = Metric>) -> Self {
        self.lists = up_to.into_iter().map(|metric| (0, metric)).collect();
        self
    }

    /// Returns the page frames of the RAM in ascending order, and what each should be. A page counts if all of it is
    /// RAM. Memory that is seen in several places counts where it is nearest. Memory behind tables and interleaves is
    /// not followed.
    #[must_use]
    pub fn frames(&self, state: &State, settings: Settings) -> Vec<(FrameRange, Ram)> {
        self.wanted(state, &self.look(state), AddrRange::ALL, settings)
    }

    /// Whether the viewer is an arena of this state.
    pub(crate) fn is_of(&self, state: &State) -> bool {
        state.arena(self.viewer).is_some()
    }

    /// Fixes the free lists as they are for this state, unless they are fixed already or there is no memory. Returns
    /// whether it fixed them.
    pub(crate) fn settle(&mut self, state: &State) -> bool {
        let was = self.lists.is_empty();
        self.lists = self.lists_of(&self.look(state));
        was && !self.lists.is_empty()
    }

    /// Forgets the free lists.
    pub(crate) fn unsettle(&mut self) {
        self.lists.clear();
    }

    /// Returns the kind and the metric of a stretch, which decide on its free list.
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

    /// Returns the RAM that the viewer sees, in ascending order of address.
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

    /// Returns what the model asks of the page frames in a window.
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
