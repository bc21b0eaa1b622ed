//! The state of the model: an immutable value. A snapshot is one; a change produces the next.

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

/// The current windows of an interconnect, to the right and to the left. `None` is a closed window.
type LinkWindows = [Vec<Option<AddrRange>>; 2];

/// Arenas, interconnects and regions at one moment.
///
/// A clone shares everything with the original; a later change copies only what it touches.
///
/// # Examples
/// A CPU reads a device register. The state says which arena decodes the address, and where:
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
/// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
/// let aperture = AddrRange::new(0xe000_0000, 0xf000_0000)?;
/// pmem.prime(pci, aperture, Attrs::device())?;
/// pmem.connect(cpu, pci, Mapping::window(aperture, 0xe000_0000)?, Metric::new(1))?;
/// let bar = pmem.alloc(pci, &Request::new(0x4000).align(0x4000))?;
///
/// let snapshot = pmem.state().clone();
/// pmem.relocate(bar, 0xe800_0000)?;
/// let region_at = |state: &pmem_core::State, addr| state.resolve(cpu, addr).accepted().and_then(|p| p.region);
/// assert_eq!(region_at(&snapshot, 0xe000_0010), Some(bar), "a snapshot never changes");
/// assert_eq!(region_at(pmem.state(), 0xe000_0010), None);
/// assert_eq!(region_at(pmem.state(), 0xe800_0010), Some(bar));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) topology: Arc<Topology>,
    arenas: Shelf<ArenaId, Arc<Arena>>,
    windows: Shelf<LinkId, Arc<LinkWindows>>,
    /// Regions that have moved since they were made. Handles look here first.
    #[cfg(feature = "std")]
    moved: Shelf<RegionId, Moved>,
    /// The names of regions that have one.
    region_names: Shelf<RegionId, Arc<str>>,
    pub(crate) sequence: u64,
}

/// A region that has moved: its current start and the start it was made with. `None` means parked.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) start: Option<u64>,
    pub(crate) made_at: Option<u64>,
}

impl State {
    /// Returns the number of the change that produced this state; 0 for the empty state.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns all arenas, lowest id first. Ids reuse indices, so this need not be the order of creation.
    pub fn arenas(&self) -> impl Iterator<Item = (ArenaId, &ArenaInfo, &Arena)> {
        self.topology.arenas().filter_map(|(id, info)| Some((id, info, self.arena(id)?)))
    }

    /// Returns all interconnects, lowest id first.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.topology.links()
    }

    /// Returns the contents of an arena; `None` if there is no such arena.
    #[inline]
    #[must_use]
    pub fn arena(&self, arena: ArenaId) -> Option<&Arena> {
        self.arenas.get(arena).map(|a| &**a)
    }

    /// Returns the name and type of an arena; `None` if there is no such arena.
    #[must_use]
    pub fn info(&self, arena: ArenaId) -> Option<&ArenaInfo> {
        self.topology.info(arena)
    }

    /// Returns an interconnect; `None` if there is no such interconnect.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&Link> {
        self.topology.link(link).map(|l| &**l)
    }

    /// Returns the arena with this name; the one with the lowest id if several share it, `None` if none has it.
    #[must_use]
    pub fn arena_named(&self, name: &str) -> Option<ArenaId> {
        self.topology.arenas().find(|(_, info)| info.name == name).map(|(id, _)| id)
    }

    /// Returns the addresses that window `piece` of a direction covers now; `None` if it is closed or does not exist.
    #[must_use]
    pub fn window(&self, link: LinkId, way: Way, piece: u32) -> Option<AddrRange> {
        *self.windows.get(link)?[way as usize].get(piece as usize)?
    }

    /// Returns the addresses that the windows of a direction cover now. `None` is a closed window.
    #[must_use]
    pub fn windows(&self, link: LinkId, way: Way) -> &[Option<AddrRange>] {
        self.windows.get(link).map_or(&[], |windows| &windows[way as usize])
    }

    /// Returns a region's effective attributes. For an alias these are its target's, with `prot` narrowed by the
    /// alias itself and by the interconnects on the path.
    #[must_use]
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

    /// Returns the target of an alias, whether it has addresses or is parked.
    pub(super) fn target(&self, alias: &Alias) -> Option<RegionRecord> {
        let far = self.arena(self.link(alias.link)?.far(alias.way))?;
        let placed = far.region_at(alias.to).map(|(_, record)| record).filter(|r| r.id == alias.target);
        placed.or_else(|| far.parked.get(&alias.target).map(|(_, record)| *record))
    }

    /// Returns the accesses that a leg lets through.
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
        // A direction whose mapping does not change keeps its windows where they are.
        let stays = [Way::ToRight, Way::ToLeft].map(|way| {
            let both = old.as_ref().zip(new.as_ref());
            both.is_some_and(|(old, new)| old.direction(way).mapping.is_alike(&new.direction(way).mapping))
        });
        let changes = || [Way::ToRight, Way::ToLeft].into_iter().filter(|way| !stays[*way as usize]);
        // Release the old claims while the old interconnect is in place; make the new ones once the new one is.
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

    /// Puts the input of a direction behind the interconnect (`there`), or frees it again.
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

    /// Takes a region out of its arena. Returns where it was, and its record.
    pub(super) fn lift(&mut self, region: RegionId, home: Home, memory: &mut Memory) -> Option<Placement> {
        let (arena, (seat, record)) = match home {
            Home::Nowhere => return None,
            Home::At(arena, start) => (arena, self.arena_mut(arena)?.unseat(start, memory)?),
            Home::Parked(arena) => (arena, self.arena_mut(arena)?.unpark(region)?),
        };
        debug_assert_eq!(record.id, region);
        Some(Placement { arena, seat, record })
    }

    /// Puts a region in its arena.
    pub(super) fn place(&mut self, new: &Placement, memory: &mut Memory) {
        if let Some(arena) = self.arena_mut(new.arena) {
            arena.seat(new.seat, &new.record, memory);
        }
    }

    /// Records that a region moved.
    #[cfg(feature = "std")]
    pub(super) fn note_move(&mut self, region: RegionId, from: Location, to: Location) {
        let start = |seat: Location| seat.range().map(AddrRange::start);
        let (from, to) = (start(from), start(to));
        if from == to {
            return;
            // `made_at` is set by the first move and never changes, so handles need not be told of moves.
        }
        match self.moved.get_mut(region) {
            Some(moved) => moved.start = to,
            None => self.moved.insert(region, Moved { start: to, made_at: from }),
        }
    }

    /// Forgets a region that no longer exists.
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

    /// Returns a region's name; `None` if it has none.
    #[must_use]
    pub fn region_name(&self, region: RegionId) -> Option<&str> {
        self.region_names.get(region).map(|name| &**name)
    }

    /// Returns where a region is, if it has moved since it was made.
    #[cfg(feature = "std")]
    pub(crate) fn moved(&self, region: RegionId) -> Option<Moved> {
        self.moved.get(region).copied()
    }

    pub(super) fn arena_mut(&mut self, arena: ArenaId) -> Option<&mut Arena> {
        self.arenas.get_mut(arena).map(Arc::make_mut)
    }
}
