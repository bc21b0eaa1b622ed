//! One arena: which addresses are its own, which lie behind an interconnect, and which are taken.

use super::record::{Alias, Location, Pin, RegionRecord, Role, WindowId};
use crate::id::{Owner, RegionId};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Pool, Space, Usage};
use rangemap::RangeInclusiveMap;

/// Whether primed space can be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SpanState {
    /// The space can be allocated. Seal makes it `Sealed`; a floating window that opens over it makes it `Lent`.
    Open,
    /// Nothing more is allocated from the space; regions already there stay. Unseal makes it `Open`.
    Sealed,
    /// A floating window covers the space, so it belongs to what lies behind the window. It becomes `Open` when the
    /// window shrinks.
    Lent,
}

/// Primed space: addresses that an arena allocates from, with their default attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrimedSpan {
    /// The default attributes of regions here. `prot` is also the most that a region may have.
    pub attrs: Attrs,
    /// Whether the space can be allocated.
    pub state: SpanState,
}

impl PrimedSpan {
    /// Whether a region with these attributes may lie here: its `prot` must be within the default's, only a
    /// prefetchable region may lie in prefetchable space, and only one marked [`Usage::BROKEN`] in bad RAM.
    #[must_use]
    pub fn admits(&self, attrs: Attrs) -> bool {
        use pmem_space::Props;
        self.attrs.prot().contains(attrs.prot())
            && (attrs.props().contains(Props::PREFETCH) || !self.attrs.props().contains(Props::PREFETCH))
            && (attrs.usage().contains(Usage::BROKEN) || !self.is_broken())
    }
}

impl PrimedSpan {
    /// Whether a request that does not ask for bad RAM can be served from here: the space is [`SpanState::Open`] and
    /// not [broken](Self::is_broken).
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.state == SpanState::Open && !self.is_broken()
    }

    /// Whether the space is bad RAM: its default usage has [`Usage::BROKEN`].
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.attrs.usage().contains(Usage::BROKEN)
    }

    /// Returns this span without its [`Usage::BROKEN`] mark.
    pub(super) fn sound(self) -> Self {
        Self { attrs: self.attrs.with_usage(self.attrs.usage().difference(Usage::BROKEN)), ..self }
    }
}

/// A region's record as the index keeps it, in 20 bytes. What an alias refers to is kept elsewhere: aliases are few.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(super) id: RegionId,
    owner: [u32; 2],
    pub(super) attrs: Attrs,
    /// [`PINNED`] and [`ALIAS`]; the bits from [`ALIGN`] up hold the alignment.
    flags: u8,
}

const PINNED: u8 = 1;
const ALIAS: u8 = 2;
/// The first bit of `flags` that holds the alignment, which is stored as a power of two.
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

/// Memory for changes to the arenas' indices, set aside before a change begins.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    regions: Pool<Kept>,
    aliases: Pool<Option<Alias>>,
}

/// Consecutive physical addresses of one type.
///
/// An address is either the arena's own (in a span), or behind an interconnect (in a window, or in the input of a
/// table or an interleave), or neither. Mappings that yield pass on what is neither.
///
/// # Invariants
/// Open and sealed spans never overlap what lies behind an interconnect.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Request};
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// pmem.prime(ram, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
/// let kernel = pmem.alloc(ram, &Request::exactly(AddrRange::new(0x4_0000, 0x6_0000)?))?;
///
/// let arena = pmem.state().arena(ram).ok_or("no such arena")?;
/// assert_eq!(arena.region_at(0x5_1234).map(|(_, record)| record.id), Some(kernel));
/// assert_eq!(arena.region_at(0x6_0000), None, "the end is exclusive");
/// assert_eq!(arena.largest_free(AddrRange::ALL), Some(AddrRange::new(0x6_0000, 0x10_0000)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arena {
    pub(super) spans: Arc<RangeInclusiveMap<u64, PrimedSpan>>,
    /// Each value is sorted. Only the shares of one interleave put more than one leg behind the same address.
    pub(super) behind: Arc<RangeInclusiveMap<u64, Vec<WindowId>>>,
    /// The directions that yield, lowest interconnect first.
    pub(super) fallbacks: Arc<Vec<WindowId>>,
    pub(super) space: Space<Kept>,
    /// The targets of aliases, by the alias's address. `None` until there is the first alias.
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
    /// Returns the primed space, in order of address. Equal neighbours are joined.
    pub fn spans(&self) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans.iter().map(|(range, span)| (from_inclusive(range), *span))
    }

    /// Returns the primed space that overlaps `range`, each piece cut to it.
    pub fn spans_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans
            .overlapping(inclusive(range))
            .filter_map(move |(r, span)| Some((from_inclusive(r).intersect(range)?, *span)))
    }

    /// Returns the whole span that contains `addr`; `None` if the address is not primed.
    #[must_use]
    pub fn span_at(&self, addr: u64) -> Option<(AddrRange, PrimedSpan)> {
        self.spans.get_key_value(&addr).map(|(range, span)| (from_inclusive(range), *span))
    }

    /// Returns the ranges that lie behind interconnects, in order of address, each with the legs that take it.
    pub fn windows(&self) -> impl Iterator<Item = (AddrRange, &[WindowId])> + '_ {
        self.behind.iter().map(|(range, legs)| (from_inclusive(range), &legs[..]))
    }

    /// Returns the ranges behind interconnects that overlap `range`, each cut to it.
    pub fn windows_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, &[WindowId])> + '_ {
        self.behind
            .overlapping(inclusive(range))
            .filter_map(move |(r, legs)| Some((from_inclusive(r).intersect(range)?, &legs[..])))
    }

    /// Returns the legs that claim `addr`; empty if it lies behind no interconnect.
    #[must_use]
    pub fn behind(&self, addr: u64) -> &[WindowId] {
        self.behind.get(&addr).map_or(&[], |legs| &legs[..])
    }

    /// Returns the directions that take what nothing in the arena decodes, lowest interconnect first.
    #[must_use]
    pub fn fallbacks(&self) -> &[WindowId] {
        &self.fallbacks
    }

    /// Returns regions and aliases, in order of address.
    #[must_use]
    pub fn regions(&self) -> impl DoubleEndedIterator<Item = (AddrRange, RegionRecord)> + '_ {
        self.regions_in(AddrRange::ALL)
    }

    /// Returns the regions and aliases that overlap `range`, in order of address, uncut.
    #[must_use]
    pub fn regions_in(
        &self,
        range: AddrRange,
    ) -> impl DoubleEndedIterator<Item = (AddrRange, RegionRecord)> + '_ {
        self.space.taken_in(range).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// Returns the region or alias that contains `addr`.
    #[inline]
    #[must_use]
    pub fn region_at(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.get(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// Returns the nearest region or alias that lies entirely below `addr`.
    #[must_use]
    pub fn region_before(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.before(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// Returns the nearest region or alias that starts above `addr`.
    #[must_use]
    pub fn region_after(&self, addr: u64) -> Option<(AddrRange, RegionRecord)> {
        self.space.after(addr).map(|(range, kept)| (range, self.record(range, kept)))
    }

    /// Returns the parked regions and aliases, each with its size in bytes.
    pub fn parked(&self) -> impl Iterator<Item = (u64, RegionRecord)> + '_ {
        self.parked.values().copied()
    }

    /// Returns the free space inside `range`, cut to it, in order of address: no region lies there, and the space
    /// [is available](PrimedSpan::is_available).
    pub fn free_in(&self, range: AddrRange) -> impl Iterator<Item = (AddrRange, PrimedSpan)> + '_ {
        self.spans_in(range)
            .filter(|(_, span)| span.is_available())
            .flat_map(|(part, span)| self.space.gaps_in(part).map(move |gap| (gap, span)))
    }

    /// Whether the arena has ever held an alias.
    pub(super) fn has_aliases(&self) -> bool {
        self.aliases.is_some()
    }

    /// Returns the index of taken and free space.
    pub(crate) fn space(&self) -> &Space<Kept> {
        &self.space
    }

    /// Whether the arena is empty: nothing primed, no region, no alias, nothing parked, and no interconnect that
    /// takes any of its addresses.
    #[must_use]
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

    /// Puts `range` behind `leg` (`there`), or removes it from behind it.
    pub(super) fn set_behind(&mut self, range: AddrRange, leg: WindowId, there: bool) {
        let old: Vec<(AddrRange, Vec<WindowId>)> =
            self.windows_in(range).map(|(r, legs)| (r, legs.to_vec())).collect();
        let behind = Arc::make_mut(&mut self.behind);
        // The map holds one list of legs per range: rewrite every part that overlaps, then fill what had no list.
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

    /// Sets aside the memory that changing one region here may take, and that undoing it may take, before anything
    /// changes.
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
                    // An alias of a yielding mapping takes undecoded addresses, which are a hole in the index until
                    // now.
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

    /// Removes the region that starts at `start`. Returns where it was, and its record.
    pub(super) fn unseat(&mut self, start: u64, memory: &mut Memory) -> Option<(Location, RegionRecord)> {
        self.set_aside(memory);
        let (range, kept) = self.space.pooled(&mut memory.regions).remove(start)?;
        let alias = match &mut self.aliases {
            Some(aliases) if kept.is_alias() => {
                aliases.pooled(&mut memory.aliases).remove(start).and_then(|(_, alias)| alias)
            }
            _ => None,
        };
        // Removal leaves a gap in the index. That is already right for open and lent space; the rest is rebuilt.
        let open = self
            .span_at(start)
            .is_some_and(|(whole, span)| whole.covers(range) && span.state != SpanState::Sealed);
        if !open {
            self.rebase(range);
        }
        Some((Location::At(range), kept.record(alias)))
    }

    /// Removes a parked region. Returns its size, and its record.
    pub(super) fn unpark(&mut self, region: RegionId) -> Option<(Location, RegionRecord)> {
        let (len, record) = Arc::make_mut(&mut self.parked).remove(&region)?;
        Some((Location::Parked(len), record))
    }

    /// Rebuilds the index over the untaken part of `range`: gap, sealed or hole, as spans and windows demand.
    fn rebase(&mut self, range: AddrRange) {
        self.space.close(range);
        for (r, span) in self.spans.overlapping(inclusive(range)) {
            let Some(part) = from_inclusive(r).intersect(range) else { continue };
            match span.state {
                SpanState::Open | SpanState::Lent => self.space.open(part),
                SpanState::Sealed => self.space.seal(part),
            }
        }
        // Addresses behind an interconnect are open, but only its aliases go there.
        for (r, _) in self.behind.overlapping(inclusive(range)) {
            if let Some(part) = from_inclusive(r).intersect(range) {
                self.space.open(part);
            }
        }
    }
}

/// Converts a range to the form that `rangemap` keeps, which can end at 2^64.
pub(crate) fn inclusive(range: AddrRange) -> core::ops::RangeInclusive<u64> {
    range.start()..=range.last()
}

pub(crate) fn from_inclusive(range: &core::ops::RangeInclusive<u64>) -> AddrRange {
    // `rangemap` rejects an empty range at insertion, so none is ever stored.
    AddrRange::inclusive(*range.start(), *range.end()).unwrap_or(AddrRange::ALL)
}
