//! Changing a region's attributes, pin, name and owner.

use super::Plan;
use crate::error::Error;
use crate::id::{Owner, RegionId};
use crate::model::{Alias, Edit, Location, Pin, Placement, RegionRecord, Role};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{Attrs, Props};

impl Plan<'_> {
    /// Returns a region's effective attributes (`pmem_get`). For an alias these are its target's, with the protection
    /// narrowed by the alias and by the interconnects on the path.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn attrs(&self, region: RegionId) -> Result<Attrs, Error> {
        Ok(self.state().effective(&self.placement(region)?.record))
    }

    /// Sets a region's attributes (`pmem_set`). For an alias only `prot` can be set, to at most its target's.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Prot`] if the space, the target or the interconnect does not allow the protection;
    /// [`Error::SpaceAttrs`] if the space under the region does not admit the attributes; [`Error::NotPassed`] if a
    /// window through which the region is seen does not carry it with these properties; [`Error::AliasAttrs`] for an
    /// alias's usage or properties.
    pub fn set(&mut self, region: RegionId, attrs: Attrs) -> Result<(), Error> {
        let placement = self.placement(region)?;
        let record = match placement.record.role {
            Role::Own => {
                self.check_carried(region, attrs.props())?;
                self.check_own(&placement, attrs)?
            }
            Role::Alias(_) => self.check_alias(&placement, attrs)?,
        };
        if record == placement.record {
            return Ok(());
        }
        // Aliases inherit from the region: report those whose effective attributes change with it.
        let seen = self.seen_attrs(region);
        self.replace(region, Some(Placement { record, ..placement }));
        for (alias, old) in seen {
            let placement = self.placement(alias)?;
            let new = self.state().effective(&placement.record);
            if old != new {
                self.push(Edit::Effective { placement, old, new });
            }
        }
        Ok(())
    }

    /// Returns the effective attributes of all aliases of a region, and of their aliases.
    fn seen_attrs(&self, region: RegionId) -> Vec<(RegionId, Attrs)> {
        let mut out: Vec<(RegionId, Attrs)> = Vec::new();
        let mut open: Vec<RegionId> = self.aliases(region).to_vec();
        while let Some(alias) = open.pop() {
            out.extend(self.attrs(alias).ok().map(|attrs| (alias, attrs)));
            open.extend_from_slice(self.aliases(alias));
        }
        out
    }

    /// Sets whether a region may be moved.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn set_pin(&mut self, region: RegionId, pin: Pin) -> Result<(), Error> {
        let placement = self.placement(region)?;
        let record = RegionRecord { pin, ..placement.record };
        self.replace(region, Some(Placement { record, ..placement }));
        Ok(())
    }

    /// Names a region. The empty string removes the name.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn name_region(&mut self, region: RegionId, name: impl Into<String>) -> Result<(), Error> {
        self.placement(region)?;
        let old = self.state().region_name(region).map(Arc::from);
        let new = Some(name.into()).filter(|name| !name.is_empty()).map(Arc::from);
        if old != new {
            self.push(Edit::Name { region, old, new });
        }
        Ok(())
    }

    /// Sets the owner of a region.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn set_owner(&mut self, region: RegionId, owner: Owner) -> Result<(), Error> {
        let placement = self.placement(region)?;
        let record = RegionRecord { owner, ..placement.record };
        self.replace(region, Some(Placement { record, ..placement }));
        Ok(())
    }

    fn check_own(&self, placement: &Placement, attrs: Attrs) -> Result<RegionRecord, Error> {
        let record = RegionRecord { attrs, ..placement.record };
        let region = record.id;
        if let Location::At(range) = placement.seat {
            for (_, span) in self.arena(placement.arena)?.spans_in(range) {
                let (asked, allowed) = (attrs.prot(), span.attrs.prot());
                if !allowed.contains(asked) {
                    return Err(Error::Prot { region, asked, allowed });
                }
                if !span.admits(attrs) {
                    return Err(Error::SpaceAttrs { region, range });
                }
            }
        }
        Ok(record)
    }

    /// Checks that every window through which the region is seen may carry these properties.
    fn check_carried(&self, region: RegionId, props: Props) -> Result<(), Error> {
        for alias in self.aliases(region) {
            let Some(Alias { link, way, piece, .. }) = self.placement(*alias)?.record.alias() else {
                continue;
            };
            let mapping = &self.link(link)?.direction(way).mapping;
            let window = mapping.pieces().get(piece as usize).filter(|_| !mapping.yields());
            if let (Ok(range), Some(false)) = (self.range(region), window.map(|w| w.carries(props))) {
                return Err(Error::NotPassed { link, way, region, range });
            }
            self.check_carried(*alias, props)?;
        }
        Ok(())
    }

    fn check_alias(&self, placement: &Placement, attrs: Attrs) -> Result<RegionRecord, Error> {
        let record = placement.record;
        let Role::Alias(alias) = record.role else { return Err(Error::AliasAttrs { region: record.id }) };
        let target = self.attrs(alias.target)?;
        if (attrs.usage(), attrs.props()) != (target.usage(), target.props()) {
            return Err(Error::AliasAttrs { region: record.id });
        }
        let leg = alias.leg();
        let allowed = target.prot() & self.state().leg_prot(leg);
        if !allowed.contains(attrs.prot()) {
            return Err(Error::Prot { region: record.id, asked: attrs.prot(), allowed });
        }
        Ok(RegionRecord { attrs: record.attrs.with_prot(attrs.prot()), ..record })
    }
}
