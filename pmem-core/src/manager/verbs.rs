//! The verbs: each is a change of its own. [`Plan`] says what they do and why they may not; to those errors come [`Error::Refused`]
//! and [`Error::Failed`] of the drivers.

use super::manager::Manager;
use crate::error::Error;
use crate::id::{ArenaId, LinkId, Owner, RegionId, Way};
use crate::mapping::Mapping;
use crate::metric::{Metric, Performance};
use crate::model::{Direction, Pin};
#[cfg(doc)]
use crate::plan::Plan;
use crate::plan::{Constraints, Request};
use alloc::string::String;
use pmem_space::{AddrRange, ArenaType, Attrs};

/// A change of one verb of a plan, for each.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $made:ty;)*) => {
        impl Manager {
            $($(#[$doc])*
            pub fn $name(&mut self, $($arg: $type),*) -> Result<$made, Error> {
                self.transaction(|plan| plan.$name($($arg),*))
            })*
        }
    };
}

verbs! {
    /// Creates an arena, with nothing primed: [`Plan::create_arena`].
    create_arena(name: impl Into<String>, kind: ArenaType) -> ArenaId;
    /// Gives an arena another name: [`Plan::name_arena`].
    name_arena(arena: ArenaId, name: impl Into<String>) -> ();
    /// Removes an arena that nothing is in and nothing joins: [`Plan::remove_arena`].
    remove_arena(arena: ArenaId) -> ();
    /// Joins two arenas, with the mapping's inverse for the way back (`pmem_arena_connect`): [`Plan::connect`].
    connect(left: ArenaId, right: ArenaId, mapping: Mapping, metric: Metric) -> LinkId;
    /// Joins two arenas by a mapping and a metric for each direction: [`Plan::connect_asymmetric`].
    connect_asymmetric(left: ArenaId, right: ArenaId, to_right: Direction, to_left: Direction) -> LinkId;
    /// Joins an arena to all targets of an interleaved range: [`Plan::interleave`].
    interleave(near: ArenaId, input: AddrRange, granularity: u32, metric: Metric, targets: &[(ArenaId, u64)]) -> alloc::vec::Vec<LinkId>;
    /// Parts two arenas: [`Plan::disconnect`].
    disconnect(link: LinkId) -> ();
    /// Gives an interconnect a name: [`Plan::name_link`].
    name_link(link: LinkId, name: impl Into<String>) -> ();
    /// Says what it costs to cross an interconnect: [`Plan::set_metric`].
    set_metric(link: LinkId, way: Way, metric: Metric) -> ();
    /// Says what has been measured of an interconnect: [`Plan::set_performance`].
    set_performance(link: LinkId, way: Way, performance: Performance) -> ();
    /// Gives a direction of an interconnect another mapping: [`Plan::set_mapping`].
    set_mapping(link: LinkId, way: Way, mapping: Mapping) -> ();
    /// Says what a floating window covers even when nothing goes through it: [`Plan::set_floor`].
    set_floor(link: LinkId, way: Way, piece: u32, floor: Option<AddrRange>) -> ();
    /// Gives an arena a range to allocate from (`pmem_arena_prime`): [`Plan::prime`].
    prime(arena: ArenaId, range: AddrRange, attrs: Attrs) -> ();
    /// Hands out nothing more of a range: [`Plan::seal`].
    seal(arena: ArenaId, range: AddrRange) -> ();
    /// Hands a range out again: [`Plan::unseal`].
    unseal(arena: ArenaId, range: AddrRange) -> ();
    /// Says that a range is bad, and gives the regions that are there: [`Plan::retire`].
    retire(arena: ArenaId, range: AddrRange) -> alloc::vec::Vec<RegionId>;
    /// Takes a range away from an arena: [`Plan::unprime`].
    unprime(arena: ArenaId, range: AddrRange) -> ();
    /// Reserves a region, with one reference (`pmem_alloc`): [`Plan::alloc`].
    alloc(arena: ArenaId, request: &Request) -> RegionId;
    /// Reserves a region that has no address yet: [`Plan::alloc_parked`].
    alloc_parked(arena: ArenaId, request: &Request) -> RegionId;
    /// Gives a region a name: [`Plan::name_region`].
    name_region(region: RegionId, name: impl Into<String>) -> ();
    /// Sets a region's attributes, of an alias its protection (`pmem_set`): [`Plan::set`].
    set(region: RegionId, attrs: Attrs) -> ();
    /// Says whether a region may be moved: [`Plan::set_pin`].
    set_pin(region: RegionId, pin: Pin) -> ();
    /// Says whose a region is: [`Plan::set_owner`].
    set_owner(region: RegionId, owner: Owner) -> ();
    /// Counts another reference to a region (`pmem_incref`): [`Plan::incref`].
    incref(region: RegionId) -> ();
    /// Makes a region visible in an arena, with one reference more (`pmem_map`): [`Plan::map`].
    map(arena: ArenaId, region: RegionId) -> RegionId;
    /// Makes a region visible in an arena at a place that is asked for: [`Plan::map_at`].
    map_at(arena: ArenaId, region: RegionId, spot: impl Into<Constraints>) -> RegionId;
    /// Moves a region, and what depends on where it is: [`Plan::relocate`].
    relocate(region: RegionId, start: u64) -> ();
    /// Moves several regions at once: [`Plan::relocate_all`].
    relocate_all(moves: &[(RegionId, u64)]) -> ();
    /// Makes a region longer or shorter, where it is: [`Plan::resize`].
    resize(region: RegionId, len: u64) -> ();
    /// Takes a region off its addresses, and keeps all else of it: [`Plan::park`].
    park(region: RegionId) -> ();
    /// Gives a parked region addresses again: [`Plan::unpark`].
    unpark(region: RegionId, spot: impl Into<Constraints>) -> ();
}
