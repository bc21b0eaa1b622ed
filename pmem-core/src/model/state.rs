//! The state of the model: one immutable value that a snapshot is, and a change makes anew.

use super::arena::{Arena, Memory, PrimedSpan};
#[cfg(feature = "std")]
use super::record::Location;
use super::record::{Alias, Placement, RegionRecord, Role, WindowId};
use super::shelf::Shelf;
use super::table::Home;
use super::topology::{ArenaInfo, Link, Topology};
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::Mapping;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Prot};

/// The present windows of an interconnect, to the right and to the left; `None` is a closed one.
type LinkWindows = [Vec<Option<AddrRange>>; 2];

/// Arenas, interconnects and regions at one moment.
///
/// Cloning shares everything; a later change copies only what it touches.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) topology: Arc<Topology>,
    arenas: Shelf<ArenaId, Arc<Arena>>,
    windows: Shelf<LinkId, Arc<LinkWindows>>,
    /// Regions that are not where they were made: handles look here.
    #[cfg(feature = "std")]
    moved: Shelf<RegionId, Moved>,
    /// What people call regions, where they do.
    region_names: Shelf<RegionId, Arc<str>>,
    pub(crate) sequence: u64,
}

/// A region that was moved: where it starts, and where it did when it was made; nowhere while it is parked.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) start: Option<u64>,
    pub(crate) made_at: Option<u64>,
}

impl State {
    /// The number of the change that made it; 0 is the empty state.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// All arenas, oldest id first.
    pub fn arenas(&self) -> impl Iterator<Item = (ArenaId, &ArenaInfo, &Arena)> {
        self.topology.arenas().filter_map(|(id, info)| Some((id, info, self.arena(id)?)))
    }

    /// All interconnects, oldest id first.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.topology.links()
    }

    /// One arena's contents.
    #[inline]
    pub fn arena(&self, arena: ArenaId) -> Option<&Arena> {
        self.arenas.get(arena).map(|a| &**a)
    }

    /// One arena's name and type.
    pub fn info(&self, arena: ArenaId) -> Option<&ArenaInfo> {
        self.topology.info(arena)
    }

    /// One interconnect.
    pub fn link(&self, link: LinkId) -> Option<&Link> {
        self.topology.link(link).map(|l| &**l)
    }

    /// The arena of that name, the oldest if there are several.
    pub fn arena_named(&self, name: &str) -> Option<ArenaId> {
        self.topology.arenas().find(|(_, info)| info.name == name).map(|(id, _)| id)
    }

    /// Where the window `piece` of a direction stands now; `None` if it is closed or not there.
    pub fn window(&self, link: LinkId, way: Way, piece: u32) -> Option<AddrRange> {
        *self.windows.get(link)?[way as usize].get(piece as usize)?
    }

    /// The windows of a direction as they stand now; `None` is a closed one.
    pub fn windows(&self, link: LinkId, way: Way) -> &[Option<AddrRange>] {
        self.windows.get(link).map_or(&[], |windows| &windows[way as usize])
    }

    /// What a region amounts to: its attributes, or for an alias its target's, narrowed by what it and the
    /// interconnects on the way let through.
    pub fn effective(&self, record: &RegionRecord) -> Attrs {
        match record.role {
            Role::Own => record.attrs,
            Role::Alias(alias) => {
                let seen = self.target(&alias).map_or(record.attrs, |target| self.effective(&target));
                let leg = alias.leg();
                seen.with_prot(seen.prot() & record.attrs.prot() & self.leg_prot(leg))
            }
        }
    }

    /// What an alias stands for: where its address says, or parked.
    pub(super) fn target(&self, alias: &Alias) -> Option<RegionRecord> {
        let far = self.arena(self.link(alias.link)?.far(alias.way))?;
        let placed = far.region_at(alias.to).map(|(_, record)| record).filter(|r| r.id == alias.target);
        placed.or_else(|| far.parked.get(&alias.target).map(|(_, record)| *record))
    }

    /// What accesses a leg lets through.
    pub(crate) fn leg_prot(&self, leg: WindowId) -> Prot {
        let Some(link) = self.link(leg.link) else { return Prot::empty() };
        match &link.direction(leg.way).mapping {
            Mapping::Closed => Prot::empty(),
            Mapping::Identity | Mapping::Interleave(_) => Prot::RWX,
            Mapping::Windows(w) => w.pieces().get(leg.piece as usize).map_or(Prot::empty(), |w| w.prot_of()),
            Mapping::Table(table) => table.prot_of(),
        }
    }

    pub(super) fn set_arena(&mut self, arena: ArenaId, new: Option<ArenaInfo>) {
        match &new {
            Some(_) if self.arenas.contains_key(arena) => {}
            Some(_) => self.arenas.insert(arena, Arc::default()),
            None => self.arenas.remove(arena),
        }
        Arc::make_mut(&mut self.topology).set_arena(arena, new);
    }

    pub(super) fn set_link(&mut self, id: LinkId, new: Option<Arc<Link>>) {
        let old = self.topology.link(id).cloned();
        // A direction whose mapping stays has its windows as they are.
        let stays = [Way::ToRight, Way::ToLeft].map(|way| {
            let both = old.as_ref().zip(new.as_ref());
            both.is_some_and(|(old, new)| old.direction(way).mapping.is_alike(&new.direction(way).mapping))
        });
        let changes = || [Way::ToRight, Way::ToLeft].into_iter().filter(|way| !stays[*way as usize]);
        if let Some(old) = &old {
            changes().for_each(|way| self.claim(id, old, way, false));
        }
        Arc::make_mut(&mut self.topology).set_link(id, new.clone());
        let Some(new) = new else { return self.windows.remove(id) };
        let mut windows =
            self.windows.get(id).map_or_else(LinkWindows::default, |windows| (**windows).clone());
        for way in changes() {
            windows[way as usize] =
                new.direction(way).mapping.pieces().iter().map(|w| w.floor_of()).collect();
        }
        self.windows.insert(id, Arc::new(windows));
        changes().for_each(|way| self.claim(id, &new, way, true));
    }

    /// Puts a direction of an interconnect in front of what it takes, or takes it away.
    fn claim(&mut self, id: LinkId, link: &Link, way: Way, there: bool) {
        let mapping = &link.direction(way).mapping;
        let windows = self.windows(id, way).to_vec();
        let Some(arena) = self.arena_mut(link.near(way)) else { return };
        let leg = |piece| WindowId { link: id, way, piece };
        match mapping {
            Mapping::Closed => {}
            Mapping::Identity => arena.set_fallback(leg(0), there),
            Mapping::Windows(w) if w.yields() => arena.set_fallback(leg(0), there),
            Mapping::Windows(_) => windows
                .into_iter()
                .zip(0..)
                .filter_map(|(range, piece)| Some((range?, piece)))
                .for_each(|(range, piece)| arena.set_behind(range, leg(piece), there)),
            Mapping::Interleave(share) => arena.set_behind(share.input(), leg(0), there),
            Mapping::Table(table) => {
                table.parts_in(AddrRange::ALL).for_each(|part| arena.set_behind(part, leg(0), there));
            }
        }
    }

    pub(super) fn set_span(&mut self, arena: ArenaId, range: AddrRange, new: Option<PrimedSpan>) {
        if let Some(arena) = self.arena_mut(arena) {
            arena.set_span(range, new);
        }
    }

    pub(super) fn set_window(
        &mut self,
        link: LinkId,
        way: Way,
        piece: u32,
        old: Option<AddrRange>,
        new: Option<AddrRange>,
    ) {
        let Some(near) = self.link(link).map(|l| l.near(way)) else { return };
        if let Some(window) =
            self.windows.get_mut(link).and_then(|w| Arc::make_mut(w)[way as usize].get_mut(piece as usize))
        {
            *window = new;
        }
        let leg = WindowId { link, way, piece };
        if let Some(arena) = self.arena_mut(near) {
            old.into_iter().for_each(|range| arena.set_behind(range, leg, false));
            new.into_iter().for_each(|range| arena.set_behind(range, leg, true));
        }
    }

    /// Takes a region from its place, and tells what it was there.
    pub(super) fn lift(&mut self, region: RegionId, home: Home, memory: &mut Memory) -> Option<Placement> {
        let (arena, (seat, record)) = match home {
            Home::Nowhere => return None,
            Home::At(arena, start) => (arena, self.arena_mut(arena)?.unseat(start, memory)?),
            Home::Parked(arena) => (arena, self.arena_mut(arena)?.unpark(region)?),
        };
        debug_assert_eq!(record.id, region);
        Some(Placement { arena, seat, record })
    }

    /// Puts a region to its place.
    pub(super) fn place(&mut self, new: &Placement, memory: &mut Memory) {
        if let Some(arena) = self.arena_mut(new.arena) {
            arena.seat(new.seat, &new.record, memory);
        }
    }

    /// Takes note that a region was moved.
    #[cfg(feature = "std")]
    pub(super) fn note_move(&mut self, region: RegionId, from: Location, to: Location) {
        let start = |seat: Location| seat.range().map(AddrRange::start);
        let (from, to) = (start(from), start(to));
        if from == to {
            return;
        }
        match self.moved.get_mut(region) {
            Some(moved) => moved.start = to,
            None => self.moved.insert(region, Moved { start: to, made_at: from }),
        }
    }

    /// Forgets a region that is gone for good.
    pub(super) fn forget(&mut self, region: RegionId) {
        #[cfg(feature = "std")]
        if self.moved.contains_key(region) {
            self.moved.remove(region);
        }
        self.set_region_name(region, None);
    }

    pub(super) fn set_region_name(&mut self, region: RegionId, name: Option<Arc<str>>) {
        match name {
            Some(name) => self.region_names.insert(region, name),
            None if self.region_names.contains_key(region) => self.region_names.remove(region),
            None => {}
        }
    }

    /// What people call a region, if anything.
    pub fn region_name(&self, region: RegionId) -> Option<&str> {
        self.region_names.get(region).map(|name| &**name)
    }

    /// Where a region is that is not where it was made.
    #[cfg(feature = "std")]
    pub(crate) fn moved(&self, region: RegionId) -> Option<Moved> {
        self.moved.get(region).copied()
    }

    pub(super) fn arena_mut(&mut self, arena: ArenaId) -> Option<&mut Arena> {
        self.arenas.get_mut(arena).map(Arc::make_mut)
    }
}
