//! Moving regions: relocate, resize, park, unpark. A region keeps its id, owner and count; its aliases follow it.

use super::seat::Entry;
use super::{Constraints, Plan, Request};
use crate::error::Error;
use crate::id::{LinkId, RegionId, Way};
use crate::mapping::Mapping;
use crate::model::{Alias, Location, Pin, Placement, RegionRecord, Role};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Policy, RangeError};

impl Plan<'_> {
    /// Moves a region within its arena, to `start`.
    ///
    /// # Errors
    /// As [`Self::relocate_all`].
    pub fn relocate(&mut self, region: RegionId, start: u64) -> Result<(), Error> {
        self.relocate_all(&[(region, start)])
    }

    /// Moves several regions at once, each within its arena. They may take one another's places. Aliases through
    /// windows move along, and the windows with them. An alias in a translation table keeps its address, unless the
    /// region's offset within a page changes.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::IsParked`], [`Error::Twice`]; [`Error::Range`] if a region
    /// would end past 2^64; [`Error::Pinned`] names what may not move; [`Error::Occupied`] and
    /// [`Error::WindowBlocked`] name what is in the way; [`Error::NotPassed`], [`Error::Misaligned`] or
    /// [`Error::NoSpace`] if an alias cannot follow.
    pub fn relocate_all(&mut self, moves: &[(RegionId, u64)]) -> Result<(), Error> {
        let mut seats = Vec::with_capacity(moves.len());
        for (region, start) in moves {
            let range = self.range(*region)?;
            let wraps = RangeError::Wraps { start: *start, len: range.len() };
            let range = range.shifted(start.wrapping_sub(range.start())).ok_or(wraps)?;
            seats.push((*region, Location::At(range)));
        }
        self.atomically(|plan| plan.reseat(&seats))
    }

    /// Resizes a region to `len` bytes. Its start does not change. A parked region only records the new size.
    ///
    /// # Errors
    /// As [`Self::relocate_all`]; [`Error::Range`] if `len` is 0 or the region would end past 2^64.
    pub fn resize(&mut self, region: RegionId, len: u64) -> Result<(), Error> {
        let seat = match self.placement(region)?.seat {
            Location::At(range) => Location::At(AddrRange::sized(range.start(), len)?),
            Location::Parked(_) => Location::Parked(AddrRange::sized(0, len)?.len()),
        };
        self.atomically(|plan| plan.reseat(&[(region, seat)]))
    }

    /// Takes a region off its addresses. It keeps its size, owner, attributes, count and aliases.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::IsParked`], [`Error::Pinned`]; [`Error::Range`] for a region
    /// of all 2^64 bytes, whose size does not fit a number.
    pub fn park(&mut self, region: RegionId) -> Result<(), Error> {
        let range = self.range(region)?;
        let len = range.len();
        if range == AddrRange::ALL {
            return Err(RangeError::Wraps { start: 0, len }.into());
        }
        self.atomically(|plan| plan.reseat(&[(region, Location::Parked(len))]))
    }

    /// Gives a parked region addresses again: among the places in `spot` at which the region and all its aliases can
    /// be, the one that the policy selects. Length and attributes are those of the region.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::NotParked`], [`Error::Pinned`], [`Error::NoSpace`]; for an exact
    /// place [`Error::Occupied`] names what is there. If an alias cannot follow: [`Error::WindowBlocked`],
    /// [`Error::NotPassed`] or [`Error::Misaligned`].
    pub fn unpark(&mut self, region: RegionId, spot: impl Into<Constraints>) -> Result<(), Error> {
        let spot = spot.into();
        let Placement { arena, seat, record } = self.placement(region)?;
        let Location::Parked(len) = seat else { return Err(Error::NotParked(region)) };
        let wanted = Request { spot, ..Request::new(len) }
            .usage(record.attrs.usage())
            .prot(record.attrs.prot())
            .props(record.attrs.props());
        if spot.start.is_some() {
            let place = spot.place(len)?;
            if !wanted.fit(spot.window, 0)?.admits(place) {
                return Err(self.no_space(arena, &wanted, 0));
            }
            return self.atomically(|plan| plan.reseat(&[(region, Location::At(place))]));
        }
        // Try the first place that fits the region alone. If its aliases cannot follow, search only where they can.
        let mut windows = Vec::from([spot.window]);
        let mut last = None;
        for open in [false, true] {
            if open {
                windows = self.open_for(region, windows);
            }
            if spot.policy == Policy::LastFit {
                windows.reverse();
            }
            for window in &windows {
                let found = self.find(arena, &wanted, &wanted.fit(*window, 0)?)?;
                let Some((place, _)) = found else { continue };
                match self.atomically(|plan| plan.reseat(&[(region, Location::At(place))])) {
                    Ok(()) => return Ok(()),
                    Err(error) => last = Some(error),
                }
            }
            if last.is_none() {
                break;
            }
        }
        Err(last.unwrap_or_else(|| self.no_space(arena, &wanted, self.largest(arena, &wanted, spot.window))))
    }

    /// Returns the parts of `windows` at which every alias of a region can follow it, in order of address.
    fn open_for(&self, region: RegionId, mut windows: Vec<AddrRange>) -> Vec<AddrRange> {
        for id in self.aliases(region).to_vec() {
            let Some(alias) = self.placement(id).ok().and_then(|placement| placement.record.alias()) else {
                continue;
            };
            let mut open: Vec<AddrRange> = Vec::new();
            for window in &windows {
                for leg in self.legs_onto((alias.link, alias.way), *window) {
                    if self.table(leg).is_some() {
                        open.push(*window);
                        continue;
                    }
                    let Some(before) = self.before_leg(leg, *window) else { continue };
                    let moved = window.start().wrapping_sub(before.start());
                    let seats = self.open_for(id, self.open_to(leg, before));
                    open.extend(seats.into_iter().filter_map(|seat| seat.shifted(moved)));
                }
            }
            open.sort_unstable_by_key(|range| (range.start(), range.last()));
            windows = open;
        }
        windows
    }

    /// Lifts every region and what moves with it, then puts all of them down again. Regions can therefore swap
    /// places.
    fn reseat(&mut self, moves: &[(RegionId, Location)]) -> Result<(), Error> {
        for (i, (region, seat)) in moves.iter().enumerate() {
            if moves[..i].iter().any(|(earlier, _)| earlier == region) {
                return Err(Error::Twice(*region));
            }
            let placement = self.placement(*region)?;
            if placement.record.alias().is_some() {
                return Err(Error::IsAlias(*region));
            }
            let lands = matches!((placement.seat, *seat), (Location::At(_), Location::At(_)));
            self.lift(*region, *region, seat.len(), lands)?;
        }
        for (region, seat) in moves {
            let Location::At(range) = *seat else { continue };
            let placement = self.placement(*region)?;
            self.check_free(placement.arena, range, &placement.record)?;
            self.replace(*region, Some(Placement { seat: *seat, ..placement }));
        }
        moves.iter().try_for_each(|(region, _)| self.settle(*region))
    }

    /// Parks `region`, and those of its aliases that cannot stay where they are. `lands` says that the mover is
    /// lifted only to be put down elsewhere.
    fn lift(&mut self, mover: RegionId, region: RegionId, len: u64, lands: bool) -> Result<(), Error> {
        let placement = self.placement(region)?;
        if placement.record.pin == Pin::Pinned {
            return Err(Error::Pinned { region: mover, pinned: region });
        }
        for alias in self.aliases(region).to_vec() {
            // An entry of a table can stay: only what it leads to changes.
            let stays = lands && len == placement.seat.len() && self.page_of(alias)?.is_some();
            if !stays {
                self.lift(mover, alias, len, lands)?;
            } else if self.placement(alias)?.record.pin == Pin::Pinned {
                return Err(Error::Pinned { region: mover, pinned: alias });
            }
        }
        if placement.seat != Location::Parked(len) {
            self.replace(region, Some(Placement { seat: Location::Parked(len), ..placement }));
        }
        match placement.record.alias() {
            Some(alias) => self.shrink(alias.leg()),
            None => Ok(()),
        }
    }

    /// Puts the aliases of a region that has addresses again where they belong.
    fn settle(&mut self, region: RegionId) -> Result<(), Error> {
        let Some(range) = self.placement(region)?.seat.range() else { return Ok(()) };
        for id in self.aliases(region).to_vec() {
            if let (Some(page), Some(at)) = (self.page_of(id)?, self.placement(id)?.seat.range())
                && at.start() % page != range.start() % page
            {
                // The entry's offset within its page no longer matches its target's.
                self.lift(region, id, range.len(), true)?;
            }
            let placement = self.placement(id)?;
            let Role::Alias(alias) = placement.record.role else { continue };
            let (seat, piece) = match placement.seat {
                Location::At(_) => (placement.seat, alias.piece),
                Location::Parked(_) => {
                    let before = self.address_before(id);
                    let align = 1 << placement.record.align;
                    let (at, piece) = self.alias_seat(region, (alias.link, alias.way), align, before)?;
                    if at.start() & (align - 1) != 0 {
                        return Err(Error::Misaligned { region: id, at: at.start(), align });
                    }
                    (Location::At(at), piece)
                }
            };
            let role = Role::Alias(Alias { to: range.start(), piece, ..alias });
            let new = Placement { seat, record: RegionRecord { role, ..placement.record }, ..placement };
            if new != placement {
                self.replace(id, Some(new));
            }
            if seat != placement.seat {
                self.settle(id)?;
            }
        }
        Ok(())
    }

    /// Finds where the alias of `region` goes through one direction, and opens a window for it. In a table it keeps
    /// the address `before` if possible.
    fn alias_seat(
        &mut self,
        region: RegionId,
        (link, way): (LinkId, Way),
        align: u64,
        before: Option<u64>,
    ) -> Result<(AddrRange, u32), Error> {
        let spot = Constraints::anywhere().align(align);
        let range = self.range(region)?;
        let mut last = Error::NotPassed { link, way, region, range };
        for leg in self.legs_onto((link, way), range) {
            let seat = match (self.table(leg), self.before_leg(leg, range)) {
                (Some(table), _) => {
                    let entry = Entry { windows: Vec::from([table.input()]), back: Some(0) };
                    self.entry_seat(leg, range, &entry, Some(&spot), before)
                }
                (None, Some(at)) => self.open_seat(leg, at, region, range).map(|()| at),
                (None, None) => continue,
            };
            match seat {
                Ok(at) => return Ok((at, leg.piece)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns the page size of the table in which an alias is an entry; `None` if it is not in a table.
    fn page_of(&self, id: RegionId) -> Result<Option<u64>, Error> {
        let Some(alias) = self.placement(id)?.record.alias() else { return Ok(None) };
        Ok(match &self.link(alias.link)?.direction(alias.way).mapping {
            Mapping::Table(table) => Some(table.page()),
            _ => None,
        })
    }

    /// Returns the address that a region had before this change lifted it.
    fn address_before(&self, id: RegionId) -> Option<u64> {
        self.edits.iter().find_map(|edit| match edit {
            crate::model::Edit::Region { region, old: Some(old), .. } if *region == id => {
                old.seat.range().map(AddrRange::start)
            }
            _ => None,
        })
    }
}
