//! The invariants of the model. Checked by tests, in debug builds, and when a model is loaded.

use super::arena::{Arena, SpanState, inclusive};
use super::ids::Ids;
use super::record::{RegionRecord, Role, WindowId};
use super::state::State;
use crate::id::{ArenaId, LinkId, Owner, RegionId, Way};
use crate::mapping::Mapping;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Occupant};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Primed space overlaps what lies behind an interconnect.
    #[error("{arena}: primed space {range} overlaps addresses that an interconnect claims")]
    PrimedBehind {
        /// The arena.
        arena: ArenaId,
        /// The addresses.
        range: AddrRange,
    },
    /// Space is lent, but no window covers it.
    #[error("{arena}: {range} is lent, but no window covers it")]
    LentToNobody {
        /// The arena.
        arena: ArenaId,
        /// The addresses.
        range: AddrRange,
    },
    /// Two interconnects claim the same address, and are not shares of one interleave.
    #[error("{arena}: {range} lies behind more than one interconnect")]
    BehindTwo {
        /// The arena.
        arena: ArenaId,
        /// The addresses.
        range: AddrRange,
    },
    /// A region is not in space that admits it.
    #[error("{region} at {range} is not in space that allows its attributes")]
    Misplaced {
        /// The region.
        region: RegionId,
        /// Its addresses.
        range: AddrRange,
    },
    /// The index disagrees with spans and windows about whether addresses are free.
    #[error("{arena}: the index calls {range} {found}, but spans and windows disagree")]
    Index {
        /// The arena.
        arena: ArenaId,
        /// The addresses.
        range: AddrRange,
        /// What the index says they are.
        found: &'static str,
    },
    /// An alias does not match its target.
    #[error("{alias} does not match its target {target}")]
    Alias {
        /// The alias.
        alias: RegionId,
        /// The region it should refer to.
        target: RegionId,
    },
    /// A floating window is not the hull of its floor and of the aliases through it, or leaves its limit.
    #[error("{link} {way}: window {piece} does not match its floor and the aliases through it")]
    Window {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The index of the window, from 0.
        piece: u32,
    },
    /// A region is not where the id table says, or has more aliases than references.
    #[error("{region} is not where the id table says, or has fewer references than aliases")]
    Entry {
        /// The region.
        region: RegionId,
    },
}

impl State {
    /// Checks every invariant of the model. Takes time proportional to the model's size.
    ///
    /// # Errors
    /// [`Broken`] names the first invariant that does not hold: a bug in this crate, or a state that was tampered
    /// with.
    pub fn check(&self) -> Result<(), Broken> {
        let regions = self.arenas().map(|(_, _, arena)| arena.regions().count() + arena.parked.len()).sum();
        for (id, ..) in self.arenas() {
            self.check_chains(id, regions)?;
            self.check_decoding(id)?;
            self.check_index(id)?;
            self.check_regions(id)?;
            self.check_parked(id)?;
        }
        self.links().try_for_each(|(link, _)| self.check_windows(link))
    }

    /// Checks that every chain of aliases ends at a region: a chain longer than the number of regions is a cycle.
    fn check_chains(&self, id: ArenaId, regions: usize) -> Result<(), Broken> {
        let Some(arena) = self.arena(id) else { return Ok(()) };
        for (_, record) in arena.regions().map(|(range, r)| (range.len(), r)).chain(arena.parked()) {
            let next = |record: &RegionRecord| self.target(&record.alias()?);
            if core::iter::successors(Some(record), next).nth(regions).is_some() {
                let target = record.alias().map_or(record.id, |alias| alias.target);
                return Err(Broken::Alias { alias: record.id, target });
            }
        }
        Ok(())
    }

    fn check_decoding(&self, id: ArenaId) -> Result<(), Broken> {
        let Some(arena) = self.arena(id) else { return Ok(()) };
        for (range, span) in arena.spans() {
            match span.state {
                SpanState::Lent => {
                    if !covered(range, arena.windows_in(range).map(|(r, _)| r)) {
                        return Err(Broken::LentToNobody { arena: id, range });
                    }
                }
                SpanState::Open | SpanState::Sealed => {
                    if let Some((range, _)) = arena.windows_in(range).next() {
                        return Err(Broken::PrimedBehind { arena: id, range });
                    }
                }
            }
        }
        for (range, legs) in arena.windows().filter(|(_, legs)| legs.len() > 1) {
            let shares: Vec<_> = legs
                .iter()
                .filter_map(|leg| match &self.link(leg.link)?.direction(leg.way).mapping {
                    Mapping::Interleave(share) => Some(*share),
                    _ => None,
                })
                .collect();
            let disjoint = |i: usize| shares[i + 1..].iter().all(|other| shares[i].shares_with(other));
            if shares.len() != legs.len() || !(0..shares.len()).all(disjoint) {
                return Err(Broken::BehindTwo { arena: id, range });
            }
        }
        Ok(())
    }

    fn check_index(&self, id: ArenaId) -> Result<(), Broken> {
        let Some(arena) = self.arena(id) else { return Ok(()) };
        let bad = |range, found| Err(Broken::Index { arena: id, range, found });
        for entry in arena.space().entries_in(AddrRange::ALL) {
            let range = entry.range;
            let open = arena
                .spans_in(range)
                .filter(|(_, span)| span.state != SpanState::Sealed)
                .map(|(r, _)| r)
                .chain(arena.windows_in(range).map(|(r, _)| r));
            match entry.occupant {
                Occupant::Gap if !covered(range, open) => return bad(range, "a gap"),
                Occupant::Hole
                    if arena.spans.overlaps(&inclusive(range)) || arena.windows_in(range).count() > 0 =>
                {
                    return bad(range, "a hole");
                }
                Occupant::Sealed if !covered(range, arena.spans_in(range).map(|(r, _)| r)) => {
                    return bad(range, "sealed");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_regions(&self, id: ArenaId) -> Result<(), Broken> {
        let Some(arena) = self.arena(id) else { return Ok(()) };
        for (range, record) in arena.regions() {
            match record.role {
                Role::Own => {
                    // A region may lie in space that has become bad since it was allocated.
                    let spans = || {
                        let spans = arena.spans_in(range).filter(|(_, span)| span.state != SpanState::Lent);
                        spans.map(|(range, span)| (range, span.sound()))
                    };
                    let alike =
                        || spans().all(|(_, s)| spans().next().is_some_and(|(_, f)| f.attrs == s.attrs));
                    if !covered(range, spans().map(|(r, _)| r))
                        || !alike()
                        || !spans().all(|(_, s)| s.admits(record.attrs))
                    {
                        return Err(Broken::Misplaced { region: record.id, range });
                    }
                }
                Role::Alias(alias) => {
                    let stands = || {
                        let link = self.link(alias.link).filter(|link| link.near(alias.way) == id)?;
                        let (there, target) = self.arena(link.far(alias.way))?.region_at(alias.to)?;
                        let leg = alias.leg();
                        let is = target.id == alias.target
                            && there.start() == alias.to
                            && there.len() == range.len();
                        let leads = self.translate(id, range.start(), leg) == Some(alias.to);
                        let fits = match &link.direction(alias.way).mapping {
                            Mapping::Windows(w) if !w.yields() => {
                                w.pieces().get(alias.piece as usize)?.carries(self.effective(&target).props())
                            }
                            Mapping::Table(table) => range.start() % table.page() == alias.to % table.page(),
                            _ => true,
                        };
                        (is && leads && fits && decodes(arena, range, leg)).then_some(())
                    };
                    stands().ok_or(Broken::Alias { alias: record.id, target: alias.target })?;
                }
            }
        }
        Ok(())
    }

    /// Checks that each parked alias has a parked target of the same size.
    fn check_parked(&self, id: ArenaId) -> Result<(), Broken> {
        let Some(arena) = self.arena(id) else { return Ok(()) };
        for (len, record) in arena.parked() {
            let Some(alias) = record.alias() else { continue };
            let link = self.link(alias.link).filter(|link| link.near(alias.way) == id);
            let far = link.and_then(|link| self.arena(link.far(alias.way)));
            if far.and_then(|far| far.parked.get(&alias.target)).is_none_or(|(there, _)| *there != len) {
                return Err(Broken::Alias { alias: record.id, target: alias.target });
            }
        }
        Ok(())
    }

    fn check_windows(&self, id: LinkId) -> Result<(), Broken> {
        let Some(link) = self.link(id) else { return Ok(()) };
        for way in [Way::ToRight, Way::ToLeft] {
            for (window, piece) in link.direction(way).mapping.pieces().iter().zip(0..) {
                let now = self.window(id, way, piece);
                if now != self.hull(id, way, piece) || now.is_some_and(|now| !window.limit().covers(now)) {
                    return Err(Broken::Window { link: id, way, piece });
                }
            }
        }
        Ok(())
    }

    /// Returns the addresses that a window must cover: the hull of its floor and of the aliases through it. `None` if
    /// it must be closed.
    pub(crate) fn hull(&self, id: LinkId, way: Way, piece: u32) -> Option<AddrRange> {
        let link = self.link(id)?;
        let window = link.direction(way).mapping.pieces().get(piece as usize)?;
        if window.is_fixed() {
            return window.floor_of();
        }
        let through = self.arena(link.near(way))?.regions_in(window.limit()).filter(|(_, record)| {
            record.alias().is_some_and(|a| (a.link, a.way, a.piece) == (id, way, piece))
        });
        through
            .map(|(range, _)| range.rounded(window.granule()))
            .chain(window.floor_of())
            .reduce(AddrRange::hull)
    }

    /// Checks the writer's table against the state.
    pub(crate) fn check_ids(&self, ids: &Ids) -> Result<(), Broken> {
        for (region, entry) in ids.regions.iter() {
            let broken = Err(Broken::Entry { region });
            let is_there = ids.placement(self, region).is_some();
            let stands = |alias: &RegionId| {
                let placement = ids.placement(self, *alias);
                placement.and_then(|p| p.record.alias()).is_some_and(|alias| alias.target == region)
            };
            let aliases = ids.aliases(region);
            if !is_there || !aliases.iter().all(stands) || (entry.count as usize) < aliases.len() {
                return broken;
            }
            let owner = ids.placement(self, region).map(|placement| placement.record.owner);
            if owner.is_some_and(|owner| owner != Owner::default() && !ids.is_owned_by(owner, region)) {
                return broken;
            }
        }
        Ok(())
    }
}

/// Whether all of `range` goes through `leg`: the leg claims it or, if the leg yields, no arena claims it.
fn decodes(arena: &Arena, range: AddrRange, leg: WindowId) -> bool {
    if arena.fallbacks().contains(&WindowId { piece: 0, ..leg }) {
        return arena.windows_in(range).next().is_none() && arena.spans_in(range).next().is_none();
    }
    covered(range, arena.windows_in(range).filter(|(_, legs)| legs.contains(&leg)).map(|(part, _)| part))
}

/// Whether `parts`, in any order, cover all of `range`.
fn covered(range: AddrRange, parts: impl Iterator<Item = AddrRange>) -> bool {
    let mut parts: Vec<AddrRange> = parts.collect();
    parts.sort_unstable_by_key(|part| part.start());
    let mut next = Some(range.start());
    for part in parts {
        match next {
            Some(addr) if part.start() <= addr => {
                next = next.max(part.end()).filter(|_| part.end().is_some());
            }
            _ => break,
        }
    }
    next.is_none_or(|addr| addr > range.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::model::{Arena, Location, Memory};
    use crate::{ArenaType, Attrs, Manager, Mapping, Request, Window, Windows};

    fn range(start: u64, end: u64) -> AddrRange {
        AddrRange::new(start, end).unwrap()
    }

    /// RAM with a region and a sealed part, seen by a window.
    fn sound() -> (State, ArenaId) {
        let mut pmem = Manager::new();
        let [cpu, ram] = ["cpu", "ram"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
        pmem.prime(ram, range(0, 0x4000), Attrs::ram()).unwrap();
        pmem.seal(ram, range(0x3000, 0x4000)).unwrap();
        pmem.alloc(ram, &Request::new(0x1000)).unwrap();
        let window = Window::fixed(range(0x8000, 0xc000), 0).unwrap();
        pmem.connect(cpu, ram, Mapping::Windows(Windows::new([window]).unwrap()), Metric::new(1)).unwrap();
        (pmem.state().clone(), ram)
    }

    #[test]
    fn an_index_that_differs_from_what_is_there_is_named() {
        let (state, ram) = sound();
        assert_eq!(state.check(), Ok(()));
        let broken = |with: &dyn Fn(&mut Arena)| {
            let mut state = state.clone();
            with(state.arena_mut(ram).unwrap());
            state.check()
        };
        let index = |range, found| Err(Broken::Index { arena: ram, range, found });
        assert_eq!(
            broken(&|arena| arena.space.open(range(0x5000, 0x6000))),
            index(range(0x5000, 0x6000), "a gap")
        );
        assert_eq!(
            broken(&|arena| arena.space.open(range(0x3000, 0x4000))),
            index(range(0x1000, 0x4000), "a gap")
        );
        assert_eq!(
            broken(&|arena| arena.space.close(range(0x1000, 0x2000))),
            index(range(0x1000, 0x2000), "a hole")
        );
        assert_eq!(
            broken(&|arena| arena.space.seal(range(0x5000, 0x6000))),
            index(range(0x5000, 0x6000), "sealed")
        );
    }

    #[test]
    fn an_alias_of_what_is_elsewhere_is_named() {
        let mut pmem = Manager::new();
        let [cpu, ram] = ["cpu", "ram"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
        pmem.prime(ram, range(0, 0x4000), Attrs::ram()).unwrap();
        pmem.connect(cpu, ram, Mapping::window(range(0x8000, 0xc000), 0).unwrap(), Metric::new(1)).unwrap();
        let region = pmem.alloc(ram, &Request::exactly(range(0x1000, 0x2000))).unwrap();
        let alias = pmem.map(cpu, region).unwrap();
        for at in [range(0x800, 0x2000), range(0x1000, 0x1800), range(0x2000, 0x3000)] {
            let mut state = pmem.state().clone();
            let mut memory = Memory::default();
            let here = state.arena_mut(ram).unwrap();
            let (_, record) = here.unseat(0x1000, &mut memory).unwrap();
            here.seat(Location::At(at), &record, &mut memory);
            assert_eq!(state.check(), Err(Broken::Alias { alias, target: region }), "{at}");
        }
    }

    #[test]
    fn what_is_short_by_one_address_is_not_covered() {
        let whole = range(4, 8);
        assert!(covered(whole, [range(6, 8), range(0, 6)].into_iter()));
        assert!(covered(whole, [range(4, 9)].into_iter()));
        assert!(!covered(whole, [range(4, 7)].into_iter()));
        assert!(!covered(whole, [range(5, 8)].into_iter()));
        assert!(!covered(whole, [range(4, 6), range(7, 8)].into_iter()));
        assert!(covered(AddrRange::ALL, [AddrRange::ALL].into_iter()));
    }
}
