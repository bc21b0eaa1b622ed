//! Making a region of one arena visible in another: a chain of aliases, one per arena crossed.

use super::way::{Hop, Wanted};
use super::{Constraints, Plan};
use crate::error::Error;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::metric::Metric;
use crate::model::{Alias, Location, Pin, Placement, RegionRecord, Role, WindowId};
use pmem_space::{AddrRange, Attrs, Props, Prot, Usage};

impl Plan<'_> {
    /// Makes a region visible in `arena` (`pmem_map`). Returns the region itself if it belongs to `arena`, otherwise
    /// an alias, which everyone who maps the region there shares. Either gets one more reference.
    ///
    /// Bridge windows are widened as needed; a translation table takes free input space. Of several paths it takes
    /// the cheapest that lets the region through. No path goes through the same table twice.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::NoRegion`], [`Error::IsParked`], [`Error::Condemned`]; [`Error::Unreachable`] if
    /// no path joins the arenas; [`Error::NoRoute`] says what blocks the last path tried.
    pub fn map(&mut self, arena: ArenaId, region: RegionId) -> Result<RegionId, Error> {
        self.map_where(arena, region, None)
    }

    /// Makes a region visible at a place that meets `spot`, in addresses of `arena`: a fixed IOMMU input address,
    /// say. Otherwise like [`Self::map`].
    ///
    /// # Errors
    /// As [`Self::map`]; [`Error::NoSpace`] if the region belongs to `arena` itself but lies elsewhere.
    pub fn map_at(
        &mut self,
        arena: ArenaId,
        region: RegionId,
        spot: impl Into<Constraints>,
    ) -> Result<RegionId, Error> {
        self.map_where(arena, region, Some(&spot.into()))
    }

    fn map_where(
        &mut self,
        arena: ArenaId,
        region: RegionId,
        spot: Option<&Constraints>,
    ) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let placement = self.placement(region)?;
        if placement.arena == arena {
            if let Some(spot) = spot {
                self.check_asked(arena, self.range(region)?, spot)?;
            }
            self.incref(region)?;
            return Ok(region);
        }
        if self.refs(region)? == 0 {
            return Err(Error::Condemned(region));
        }
        self.range(region)?;
        self.show(&Wanted { region, from: arena, max: Metric::FARTHEST, spot })
    }

    /// Builds the aliases of `target` along a path, from the target back to the viewer. The last alias, in the
    /// viewer's arena, must meet `wanted`.
    ///
    /// # Errors
    /// The index of the hop that fails, counted from the viewer, and why. The aliases built so far remain for the
    /// caller to undo.
    pub(super) fn chain(
        &mut self,
        way: &[Hop],
        target: RegionId,
        wanted: Option<&Constraints>,
    ) -> Result<RegionId, (usize, Error)> {
        // A new alias already has one reference, for whoever asked for it: the next alias, or in the end the caller.
        let (mut seen, mut is_new) = (target, false);
        for (i, hop) in way.iter().enumerate().rev() {
            let wanted = wanted.filter(|_| i == 0);
            let there = self.alias_through(seen, (hop.leg.link, hop.leg.way), wanted);
            let made = match there {
                Some((alias, ..)) if self.refs(alias) == Ok(0) => Err(Error::Condemned(alias)),
                Some((alias, ..)) => Ok((alias, false)),
                None => self.add_alias(seen, is_new, hop, wanted).map(|alias| (alias, true)),
            };
            // If a table has no room for an entry, blame the hop that shows too little of the table's input: the
            // first after the table before it.
            let since = || way[..i].iter().rposition(|hop| self.table(hop.leg).is_some());
            let blamed = if hop.entry.is_some() { since().map_or(0, |before| before + 1) } else { i };
            (seen, is_new) = made.map_err(|error| (blamed, error))?;
        }
        if !is_new {
            self.count_up(seen).map_err(|error| (0, error))?;
        }
        Ok(seen)
    }

    /// Returns the existing alias of `target` through a crossing that meets `wanted`, with its leg and its addresses.
    pub(super) fn alias_through(
        &self,
        target: RegionId,
        crossing: (LinkId, Way),
        wanted: Option<&Constraints>,
    ) -> Option<(RegionId, WindowId, AddrRange)> {
        self.aliases_through(target, crossing).find_map(|id| {
            let placement = self.placement(id).ok()?;
            let (leg, at) = (placement.record.alias()?.leg(), placement.seat.range()?);
            let wanted = wanted.is_none_or(|wanted| self.check_asked(placement.arena, at, wanted).is_ok());
            wanted.then_some((id, leg, at))
        })
    }

    /// Returns the aliases of `target` through one direction.
    fn aliases_through(
        &self,
        target: RegionId,
        crossing: (LinkId, Way),
    ) -> impl Iterator<Item = RegionId> + '_ {
        let through = move |id: &RegionId| {
            let alias = self.placement(*id).ok().and_then(|placement| placement.record.alias());
            alias.is_some_and(|alias| (alias.link, alias.way) == crossing)
        };
        self.aliases(target).iter().copied().filter(through)
    }

    /// Creates an alias of `target` with one reference. It holds a reference on the target, which is counted here
    /// unless `is_counted`.
    fn add_alias(
        &mut self,
        target: RegionId,
        is_counted: bool,
        hop: &Hop,
        wanted: Option<&Constraints>,
    ) -> Result<RegionId, Error> {
        let WindowId { link, way, piece } = hop.leg;
        let to = self.range(target)?;
        let owner = self.placement(target)?.record.owner;
        let arena = self.link(link)?.near(way);
        let refused = Error::NotPassed { link, way, region: target, range: to };
        let range = match &hop.entry {
            Some(entry) => self.entry_seat(hop.leg, to, entry, wanted, None)?,
            None => {
                let at = self.before_leg(hop.leg, to).ok_or(refused)?;
                wanted.map_or(Ok(()), |wanted| self.check_asked(arena, at, wanted))?;
                self.open_seat(hop.leg, at, target, to)?;
                at
            }
        };
        let id = self.working.ids.regions.insert(1);
        let attrs = Attrs::new(Usage::empty(), Prot::RWX, Props::empty())?;
        let role = Role::Alias(Alias { target, link, way, piece, to: to.start() });
        let align = wanted.map_or(0, |wanted| wanted.align.trailing_zeros() as u8);
        let record = RegionRecord { id, attrs, owner, role, pin: Pin::Movable, align };
        self.put_in(Placement { arena, seat: Location::At(range), record });
        if !is_counted {
            self.count_up(target)?;
        }
        Ok(id)
    }
}
