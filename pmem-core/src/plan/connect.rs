//! Connecting arenas by interconnects, changing interconnects, and disconnecting them.

use super::Plan;
use super::lend::{may_show, unlent};
use crate::error::{Error, Holder};
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::{Interleave, Mapping, MappingError, Window};
use crate::metric::{Metric, Performance};
use crate::model::{Direction, Edit, Link, RegionRecord};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::AddrRange;

impl Plan<'_> {
    /// Connects two arenas (`pmem_arena_connect`). `mapping` turns addresses of `left` into addresses of `right`; its
    /// [inverse](Mapping::inverse) serves the other direction. Both directions cost `metric`.
    ///
    /// # Errors
    /// As [`Self::connect_asymmetric`].
    pub fn connect(
        &mut self,
        left: ArenaId,
        right: ArenaId,
        mapping: Mapping,
        metric: Metric,
    ) -> Result<LinkId, Error> {
        let back = mapping.inverse();
        self.connect_asymmetric(left, right, Direction::new(mapping, metric), Direction::new(back, metric))
    }

    /// Connects two arenas with a mapping and a metric for each direction.
    ///
    /// The floor of a floating window may lie over free primed space, which is then lent to the window.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::JoinsItself`], [`Error::OpenButUnreachable`]; [`Error::Occupied`] names what
    /// already has the addresses that the mapping claims.
    pub fn connect_asymmetric(
        &mut self,
        left: ArenaId,
        right: ArenaId,
        to_right: Direction,
        to_left: Direction,
    ) -> Result<LinkId, Error> {
        self.arena(left)?;
        self.arena(right)?;
        if left == right {
            return Err(Error::JoinsItself(left));
        }
        self.atomically(|plan| {
            let link = Link { left, right, to_right, to_left, name: String::new() };
            for way in [Way::ToRight, Way::ToLeft] {
                let Direction { mapping, metric, .. } = link.direction(way);
                if !mapping.is_closed() && !metric.is_reachable() {
                    return Err(Error::OpenButUnreachable { from: link.near(way), to: link.far(way) });
                }
                plan.make_way(link.near(way), mapping)?;
            }
            let id = plan.working.ids.links.insert();
            plan.push(Edit::Link { link: id, old: None, new: Some(Arc::new(link)) });
            Ok(id)
        })
    }

    /// Connects an arena to all targets of an interleaved range, one interconnect per target. Chunks of `granularity`
    /// bytes of `input` rotate over the targets; in each target they follow one another from the given address on.
    /// The opposite directions are closed.
    ///
    /// # Errors
    /// As [`Self::connect_asymmetric`]; [`Error::Mapping`] for what no decoder can do.
    pub fn interleave(
        &mut self,
        near: ArenaId,
        input: AddrRange,
        granularity: u32,
        metric: Metric,
        targets: &[(ArenaId, u64)],
    ) -> Result<Vec<LinkId>, Error> {
        let ways = u8::try_from(targets.len()).unwrap_or(u8::MAX);
        self.atomically(|plan| {
            let share = |(position, (target, output)): (u8, &(ArenaId, u64))| {
                let share = Interleave::new(input, ways, granularity, position, *output)?;
                let there = Direction::new(Mapping::Interleave(share), metric);
                plan.connect_asymmetric(near, *target, there, Direction::closed())
            };
            if targets.is_empty() {
                return Err(MappingError::Ways(0).into());
            }
            (0..).zip(targets).map(share).collect()
        })
    }

    /// Names an interconnect. The empty string removes the name.
    ///
    /// # Errors
    /// [`Error::NoLink`].
    pub fn name_link(&mut self, link: LinkId, name: impl Into<String>) -> Result<(), Error> {
        let name = name.into();
        self.edit_link(link, |link| link.name = name)
    }

    /// Sets the cost of crossing an interconnect in one direction. Existing aliases stay on the path they were made
    /// on.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::OpenButUnreachable`] if the direction is open and `metric` is
    /// [`Metric::UNREACHABLE`].
    pub fn set_metric(&mut self, id: LinkId, way: Way, metric: Metric) -> Result<(), Error> {
        let link = self.link(id)?;
        if !link.direction(way).mapping.is_closed() && !metric.is_reachable() {
            return Err(Error::OpenButUnreachable { from: link.near(way), to: link.far(way) });
        }
        self.edit_link(id, |link| link.direction_mut(way).metric = metric)
    }

    /// Sets the measured performance of one direction of an interconnect.
    ///
    /// # Errors
    /// [`Error::NoLink`].
    pub fn set_performance(&mut self, link: LinkId, way: Way, performance: Performance) -> Result<(), Error> {
        self.edit_link(link, |link| link.direction_mut(way).performance = performance)
    }

    /// Replaces the mapping of one direction of an interconnect. No alias may go through the old one.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::LinkBusy`] names an alias that goes through; [`Error::OpenButUnreachable`];
    /// [`Error::Occupied`] names what already has the addresses that the new mapping claims.
    pub fn set_mapping(&mut self, id: LinkId, way: Way, mapping: Mapping) -> Result<(), Error> {
        let link = self.link(id)?;
        let (near, far, metric) = (link.near(way), link.far(way), link.direction(way).metric);
        let floors = floors(&link.direction(way).mapping);
        if !mapping.is_closed() && !metric.is_reachable() {
            return Err(Error::OpenButUnreachable { from: near, to: far });
        }
        self.check_unused(id, [way])?;
        // Close first: what the old mapping claims and borrows may be claimed by the new one.
        self.atomically(|plan| {
            plan.edit_link(id, |link| link.direction_mut(way).mapping = Mapping::Closed)?;
            floors.into_iter().try_for_each(|floor| plan.set_spans(near, floor, unlent))?;
            plan.make_way(near, &mapping)?;
            plan.edit_link(id, |link| link.direction_mut(way).mapping = mapping)
        })
    }

    /// Changes an interconnect that stays in place.
    pub(super) fn edit_link(&mut self, link: LinkId, change: impl FnOnce(&mut Link)) -> Result<(), Error> {
        let old = self.link(link)?.clone();
        let mut new = old.clone();
        change(&mut new);
        if new != old {
            self.push(Edit::Link { link, old: Some(Arc::new(old)), new: Some(Arc::new(new)) });
        }
        Ok(())
    }

    /// Checks that no alias goes through these directions.
    fn check_unused(&self, id: LinkId, ways: impl IntoIterator<Item = Way>) -> Result<(), Error> {
        if self.working.ids.through(id) == 0 {
            return Ok(());
        }
        let link = self.link(id)?;
        for way in ways {
            let near = self.arena(link.near(way))?;
            let through = |record: &RegionRecord| {
                record.alias().is_some_and(|alias| (alias.link, alias.way) == (id, way))
            };
            let seated = near.regions().find(|(_, record)| through(record));
            let parked = || near.parked().find(|(_, record)| through(record));
            let by = seated
                .map(|(range, record)| Holder::Region(record.id, range))
                .or_else(|| parked().map(|(_, record)| Holder::Parked(record.id)));
            if let Some(by) = by {
                return Err(Error::LinkBusy { link: id, by });
            }
        }
        Ok(())
    }

    /// Disconnects two arenas. No alias may go through the interconnect.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::LinkBusy`] names an alias that goes through.
    pub fn disconnect(&mut self, id: LinkId) -> Result<(), Error> {
        self.check_unused(id, [Way::ToRight, Way::ToLeft])?;
        let link = Arc::new(self.link(id)?.clone());
        self.push(Edit::Link { link: id, old: Some(Arc::clone(&link)), new: None });
        for way in [Way::ToRight, Way::ToLeft] {
            for floor in floors(&link.direction(way).mapping) {
                self.set_spans(link.near(way), floor, unlent)?;
            }
        }
        Ok(())
    }

    /// Checks that what a mapping claims is free to be claimed, and lends primed space to floating windows.
    fn make_way(&mut self, arena: ArenaId, mapping: &Mapping) -> Result<(), Error> {
        match mapping {
            Mapping::Closed | Mapping::Identity => Ok(()),
            Mapping::Windows(windows) if windows.yields() => Ok(()),
            Mapping::Windows(windows) => {
                windows
                    .pieces()
                    .iter()
                    .filter(|w| w.is_fixed())
                    .try_for_each(|w| self.check_claim(arena, w.limit()))?;
                for (window, floor) in windows.pieces().iter().filter_map(|w| Some((w, w.floor_of()?))) {
                    if window.is_fixed() {
                        continue;
                    }
                    self.check_behind(arena, floor)?;
                    self.check_floor(arena, floor, window)?;
                    self.lend(arena, floor)?;
                }
                Ok(())
            }
            Mapping::Interleave(share) => {
                // A further share of an interleave set joins the shares already there.
                let others: Vec<_> = self.arena(arena)?.windows_in(share.input()).collect();
                let of_one_set = |(range, legs): &(AddrRange, &[crate::model::WindowId])| {
                    *range == share.input()
                        && legs.iter().all(|leg| {
                            let mapping = self.state().link(leg.link).map(|l| &l.direction(leg.way).mapping);
                            matches!(mapping, Some(Mapping::Interleave(other)) if other.shares_with(share))
                        })
                };
                if others.len() == 1 && of_one_set(&others[0]) {
                    return Ok(());
                }
                self.check_claim(arena, share.input())
            }
            Mapping::Table(table) => {
                table.parts_in(AddrRange::ALL).try_for_each(|part| self.check_claim(arena, part))
            }
        }
    }

    fn check_claim(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        if let Some((span, _)) = self.arena(arena)?.spans_in(range).next() {
            return Err(Error::Occupied { arena, range, by: Holder::Primed(span) });
        }
        self.check_behind(arena, range)
    }

    /// Checks that nothing lies behind `range` and that no region is in it.
    fn check_behind(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let behind = here.windows_in(range).next().map(|(r, legs)| Holder::Link(legs[0].link, r));
        let taken = || here.regions_in(range).next().map(|(r, record)| Holder::Region(record.id, r));
        behind.or_else(taken).map_or(Ok(()), |by| Err(Error::Occupied { arena, range, by }))
    }

    /// Checks that a window may open over the primed space in its floor.
    fn check_floor(&self, arena: ArenaId, range: AddrRange, window: &Window) -> Result<(), Error> {
        let unfit = self.arena(arena)?.spans_in(range).find(|(_, span)| !may_show(window, span.attrs));
        let by = unfit.map(|(span, _)| Holder::Unfit(span));
        by.map_or(Ok(()), |by| Err(Error::Occupied { arena, range, by }))
    }
}

/// Returns the floors of the floating windows.
fn floors(mapping: &Mapping) -> Vec<AddrRange> {
    mapping.pieces().iter().filter(|w| !w.is_fixed()).filter_map(|w| w.floor_of()).collect()
}
