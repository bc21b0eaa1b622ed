//! One arena: which of its addresses are its own, which lie behind an interconnect, and what is taken.

use super::record::{Alias, Location, Pin, RegionRecord, Role, WindowId};
use crate::id::{Owner, RegionId};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Pool, Space, Usage};
use rangemap::RangeInclusiveMap;

/// Whether primed space may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SpanState {
    /// It may. Becomes `Sealed` by seal, `Lent` when a bridge's window opens over it.
    Open,
    /// Nothing more of it is handed out; what is there stays. Becomes `Open` by unseal.
    Sealed,
    /// A floating window covers it: it belongs to what lies behind. Becomes `Open` when the window shrinks.
    Lent,
}

/// Primed space: what may be allocated, and the defaults there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrimedSpan {
    /// Defaults; `prot` is also the upper bound for regions.
    pub attrs: Attrs,
    /// Whether it may be handed out.
    pub state: SpanState,
}

impl PrimedSpan {
    /// Whether a region with these attributes may lie here: `prot` within bounds, nothing that is not
    /// prefetchable in prefetchable space, nothing at all but bad RAM in bad RAM.
    pub fn admits(&self, attrs: Attrs) -> bool {
        use pmem_space::Props;
        self.attrs.prot().contains(attrs.prot())
            && (attrs.props().contains(Props::PREFETCH) || !self.attrs.props().contains(Props::PREFETCH))
            && (attrs.usage().contains(Usage::BROKEN) || !self.attrs.usage().contains(Usage::BROKEN))
    }
}

impl PrimedSpan {
    /// The same if it were not bad.
    pub(super) fn sound(self) -> Self {
        Self { attrs: self.attrs.with_usage(self.attrs.usage().difference(Usage::BROKEN)), ..self }
    }
}

/// A record as the index keeps it, in 20 bytes: what it is an alias of is kept apart, for few are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(super) id: RegionId,
    owner: [u32; 2],
    pub(super) attrs: Attrs,
    /// [`PINNED`], [`ALIAS`], and from [`ALIGN`] on the alignment.
    flags: u8,
}

const PINNED: u8 = 1;
const ALIAS: u8 = 2;
/// From here on in the flags, the alignment as a power of two.
const ALIGN: u32 = 2;

impl Kept {
    fn of(record: &RegionRecord) -> Self {
        let RegionRecord { id, attrs, owner, role, pin, align } = *record;
        let pinned = if pin == Pin::Pinned { PINNED } else { 0 };
        let alias = if role == Role::Own { 0 } else { ALIAS };
        Self {
            id,
            owner: [owner.0 as u32, (owner.0 >> 32) as u32],
            attrs,
            flags: pinned | alias | align << ALIGN,
        }
    }

    fn is_alias(self) -> bool {
        self.flags & ALIAS != 0
    }

    #[inline]
    fn record(self, alias: Option<Alias>) -> RegionRecord {
        let owner = Owner(u64::from(self.owner[1]) << 32 | u64::from(self.owner[0]));
        let pin = if self.flags & PINNED != 0 { Pin::Pinned } else { Pin::Movable };
        RegionRecord {
            id: self.id,
            attrs: self.attrs,
            owner,
            role: alias.map_or(Role::Own, Role::Alias),
            pin,
            align: self.flags >> ALIGN,
        }
    }
}

/// Memory for changes of arenas' indices, set aside before they begin.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    regions: Pool<Kept>,
    aliases: Pool<Option<Alias>>,
}

/// Consecutive physical addresses of one type.
///
/// An address is the arena's own (a span), or lies behind an interconnect (a window, or a table's or
/// interleave's input), or neither; what is neither is passed on by mappings that yield.
///
/// # Invariants
/// Open and sealed spans never overlap what lies behind an interconnect.
#[derive(Clone, Debug)]
pub struct Arena {
    pub(super) spans: Arc<RangeInclusiveMap<u64, PrimedSpan>>,
    /// Each value is sorted; more than one leg only for the shares of one interleave.
    pub(super) behind: Arc<RangeInclusiveMap<u64, Vec<WindowId>>>,
    /// Directions that yield, lowest interconnect first.
    pub(super) fallbacks: Arc<Vec<WindowId>>,
    pub(super) space: Space<Kept>,
    /// By place: what the aliases stand for.
    aliases: Option<Space<Option<Alias>>>,
    pub(super) parked: Arc<BTreeMap<RegionId, (u64, RegionRecord)>>,
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            spans: Arc::default(),
            behind: Arc::default(),
            fallbacks: Arc::default(),
            space: Space::new(),
            aliases: None,
            parked: Arc::default(),
        }
    }
}

impl Arena {
    /// Primed space, in order of address; neighbours that are alike are one.
    pub fn spans(&self) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans.iter().map(|(range, span)| (from_inclusive(range), *span))
    }

    /// Primed space that overlaps `range`, each piece cut to it.
    pub fn spans_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans
            .overlapping(inclusive(range))
            .filter_map(move |(r, span)| Some((from_inclusive(r).intersect(range)?, *span)))
    }

    /// The span at an address.
    pub fn span_at(&self, addr: u64) -> Option<(AddrRange, PrimedSpan)> {
        self.spans.get_key_value(&addr).map(|(range, span)| (from_inclusive(range), *span))
    }

    /// What lies behind interconnects, in order of address.
    pub fn windows(&self) -> impl Iterator<Item = (AddrRange, &[WindowId])> + '_ {
        self.behind.iter().map(|(range, legs)| (from_inclusive(range), &legs[..]))
    }

    /// What lies behind interconnects and overlaps `range`, each piece cut to it.
    pub fn windows_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, &[WindowId])> + '_ {
        self.behind
            .overlapping(inclusive(range))
            .filter_map(move |(r, legs)| Some((from_inclusive(r).intersect(range)?, &legs[..])))
    }

    /// What an address lies behind.
    pub fn behind(&self, addr: u64) -> &[WindowId] {
        self.behind.get(&addr).map_or(&[], |legs| &legs[..])
    }

    /// The directions that take what the arena decodes in no other way.
    pub fn fallbacks(&self) -> &[WindowId] {
        &self.fallbacks
    }

    /// Regions and aliases, in order of address.
    pub fn regions(&self) -> impl DoubleEndedIterator<Item = (AddrRange, RegionRecord)> + '_ {
        self.regions_in(AddrRange::ALL)
    }

    /// Regions and aliases that overlap `range`, in order of address, whole.
    pub fn regions_in(
        &self,
        range: AddrRange,
    ) -> impl DoubleEndedIterator<Item = (AddrRange, RegionRecord)> + '_ {
        self.space.taken_in(range).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// The region or alias at an address.
    #[inline]
    pub fn region_at(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.get(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// The nearest region or alias that ends below an address.
    pub fn region_before(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.before(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// The nearest region or alias that starts above an address.
    pub fn region_after(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.after(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// Regions that claim no address, with their sizes in bytes.
    pub fn parked(&self) -> impl Iterator<Item = (u64, RegionRecord)> + '_ {
        self.parked.values().copied()
    }

    /// Free, open space inside `range`, cut to it, in order of address.
    pub fn free_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans_in(range)
            .filter(|(_, span)| span.state == SpanState::Open)
            .flat_map(|(part, span)| self.space.gaps_in(part).map(move |gap| (gap, span)))
    }

    /// Whether an alias may be in it.
    pub(super) fn has_aliases(&self) -> bool {
        self.aliases.is_some()
    }

    /// The index of what is taken and what is free.
    pub(crate) fn space(&self) -> &Space<Kept> {
        &self.space
    }

    /// Whether nothing is primed, nothing taken, and no interconnect leads out of it.
    pub fn is_blank(&self) -> bool {
        self.spans.is_empty()
            && self.behind.is_empty()
            && self.fallbacks.is_empty()
            && self.parked.is_empty()
            && self.regions().next().is_none()
    }

    #[inline]
    fn record(&self, range: AddrRange, kept: Kept) -> RegionRecord {
        let alias = || self.aliases.as_ref()?.get(range.start())?.1;
        kept.record(if kept.is_alias() { alias() } else { None })
    }

    pub(super) fn set_span(&mut self, range: AddrRange, new: Option<PrimedSpan>) {
        let spans = Arc::make_mut(&mut self.spans);
        match new {
            Some(span) => spans.insert(inclusive(range), span),
            None => spans.remove(inclusive(range)),
        }
        self.rebase(range);
    }

    /// Puts `leg` in front of `range`, or takes it away.
    pub(super) fn set_behind(&mut self, range: AddrRange, leg: WindowId, there: bool) {
        let old: Vec<(AddrRange, Vec<WindowId>)> =
            self.windows_in(range).map(|(r, legs)| (r, legs.to_vec())).collect();
        let behind = Arc::make_mut(&mut self.behind);
        behind.remove(inclusive(range));
        let mut bare = alloc::vec![range];
        for (part, mut legs) in old {
            bare = bare
                .into_iter()
                .flat_map(|r| if r.overlaps(part) { r.minus(part) } else { [Some(r), None] })
                .flatten()
                .collect();
            legs.retain(|l| *l != leg);
            if there {
                legs.push(leg);
                legs.sort_unstable();
            }
            if !legs.is_empty() {
                behind.insert(inclusive(part), legs);
            }
        }
        if there {
            bare.into_iter().for_each(|part| behind.insert(inclusive(part), alloc::vec![leg]));
        }
        self.rebase(range);
    }

    pub(super) fn set_fallback(&mut self, leg: WindowId, there: bool) {
        let fallbacks = Arc::make_mut(&mut self.fallbacks);
        fallbacks.retain(|l| *l != leg);
        if there {
            fallbacks.push(leg);
            fallbacks.sort_unstable();
        }
    }

    /// Sets aside what a change of one region here may need, and what undoes it, before anything changes.
    fn set_aside(&self, memory: &mut Memory) {
        self.space.fill_pool(&mut memory.regions);
        if let Some(aliases) = &self.aliases {
            aliases.fill_pool(&mut memory.aliases);
        }
    }

    pub(super) fn seat(&mut self, seat: Location, record: &RegionRecord, memory: &mut Memory) {
        match seat {
            Location::At(range) => {
                self.set_aside(memory);
                let kept = Kept::of(record);
                let mut space = self.space.pooled(&mut memory.regions);
                if space.insert(range, kept).is_err() {
                    // Space that an alias through a mapping that yields takes is a hole until then.
                    space.open(range);
                    let placed = space.insert(range, kept);
                    debug_assert!(placed.is_ok(), "planned onto taken space: {placed:?}");
                }
                if let Role::Alias(alias) = record.role {
                    let aliases = self.aliases.get_or_insert_with(|| {
                        let mut none = Space::new();
                        none.open(AddrRange::ALL);
                        none
                    });
                    let placed = aliases.pooled(&mut memory.aliases).insert(range, Some(alias));
                    debug_assert!(placed.is_ok(), "{placed:?}");
                }
            }
            Location::Parked(len) => {
                Arc::make_mut(&mut self.parked).insert(record.id, (len, *record));
            }
        }
    }

    /// Takes out the region that starts at `start`, and tells what it was.
    pub(super) fn unseat(&mut self, start: u64, memory: &mut Memory) -> Option<(Location, RegionRecord)> {
        self.set_aside(memory);
        let (range, kept) = self.space.pooled(&mut memory.regions).remove(start)?;
        let alias = match &mut self.aliases {
            Some(aliases) if kept.is_alias() => {
                aliases.pooled(&mut memory.aliases).remove(start).and_then(|(_, alias)| alias)
            }
            _ => None,
        };
        // Removal leaves a gap, which is what open space should be.
        let open = self
            .span_at(start)
            .is_some_and(|(whole, span)| whole.covers(range) && span.state != SpanState::Sealed);
        if !open {
            self.rebase(range);
        }
        Some((Location::At(range), kept.record(alias)))
    }

    /// Takes out a parked region, and tells what it was.
    pub(super) fn unpark(&mut self, region: RegionId) -> Option<(Location, RegionRecord)> {
        let (len, record) = Arc::make_mut(&mut self.parked).remove(&region)?;
        Some((Location::Parked(len), record))
    }

    /// Makes what is not taken in `range` a gap, sealed or a hole, as spans and windows say.
    fn rebase(&mut self, range: AddrRange) {
        self.space.close(range);
        for (r, span) in self.spans.overlapping(inclusive(range)) {
            let Some(part) = from_inclusive(r).intersect(range) else { continue };
            match span.state {
                SpanState::Open | SpanState::Lent => self.space.open(part),
                SpanState::Sealed => self.space.seal(part),
            }
        }
        for (r, _) in self.behind.overlapping(inclusive(range)) {
            if let Some(part) = from_inclusive(r).intersect(range) {
                self.space.open(part);
            }
        }
    }
}

/// The form in which `rangemap` keeps ranges that may end at 2^64.
pub(crate) fn inclusive(range: AddrRange) -> core::ops::RangeInclusive<u64> {
    range.start()..=range.last()
}

pub(crate) fn from_inclusive(range: &core::ops::RangeInclusive<u64>) -> AddrRange {
    // `rangemap` refuses an empty range at insertion.
    AddrRange::inclusive(*range.start(), *range.end()).unwrap_or(AddrRange::ALL)
}
