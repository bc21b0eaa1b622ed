//! The verbs of [`Manager`], each a change of its own. They do what the verbs of [`Plan`] do, and in addition return
//! [`Error::Refused`] or [`Error::Failed`] if a driver does not go along.

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

/// Makes a method for each verb of a plan that runs it as a change of its own.
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
    /// Creates an arena in which nothing is primed. Names need not be unique.
    ///
    /// # Errors
    /// None of its own; a driver may refuse or fail.
    create_arena(name: impl Into<String>, kind: ArenaType) -> ArenaId;
    /// Renames an arena.
    ///
    /// # Errors
    /// [`Error::NoArena`].
    name_arena(arena: ArenaId, name: impl Into<String>) -> ();
    /// Removes an arena that holds no region and that no interconnect joins. Its primed space goes with it.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::ArenaBusy`] names the region or interconnect that still uses it.
    remove_arena(arena: ArenaId) -> ();
    /// Connects two arenas (`pmem_arena_connect`). `mapping` turns addresses of `left` into addresses of `right`; its
    /// [inverse](Mapping::inverse) serves the other direction. Both directions cost `metric`.
    ///
    /// # Errors
    /// As [`Self::connect_asymmetric`].
    connect(left: ArenaId, right: ArenaId, mapping: Mapping, metric: Metric) -> LinkId;
    /// Connects two arenas with a mapping and a metric for each direction. The floor of a floating window may lie
    /// over free primed space, which is then lent to the window.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::JoinsItself`], [`Error::OpenButUnreachable`]; [`Error::Occupied`] names what
    /// already has the addresses that the mapping claims.
    connect_asymmetric(left: ArenaId, right: ArenaId, to_right: Direction, to_left: Direction) -> LinkId;
    /// Connects an arena to all targets of an interleaved range, one interconnect per target. Chunks of `granularity`
    /// bytes of `input` rotate over the targets; in each target they follow one another from the given address on.
    /// The opposite directions are closed.
    ///
    /// # Errors
    /// As [`Self::connect_asymmetric`]; [`Error::Mapping`] for what no decoder can do.
    ///
    /// # Examples
    /// Two CXL devices, interleaved every 4 KiB:
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Metric};
    ///
    /// let mut pmem = Manager::new();
    /// let host = pmem.create_arena("host", ArenaType::VIEW)?;
    /// let mut targets = Vec::new();
    /// for name in ["CXL 0", "CXL 1"] {
    ///     let device = pmem.create_arena(name, ArenaType::CXL)?;
    ///     pmem.prime(device, AddrRange::new(0, 0x1000_0000)?, Attrs::ram())?;
    ///     targets.push((device, 0));
    /// }
    /// let window = AddrRange::sized(0x20_0000_0000, 0x2000_0000)?;
    /// pmem.interleave(host, window, 0x1000, Metric::new(20), &targets)?;
    ///
    /// let place = pmem.state().resolve(host, 0x20_0000_3010).accepted().ok_or("undecoded")?;
    /// assert_eq!((place.arena, place.addr), (targets[1].0, 0x1010));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    interleave(near: ArenaId, input: AddrRange, granularity: u32, metric: Metric, targets: &[(ArenaId, u64)]) -> alloc::vec::Vec<LinkId>;
    /// Disconnects two arenas. No alias may go through the interconnect.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::LinkBusy`] names an alias that goes through.
    disconnect(link: LinkId) -> ();
    /// Names an interconnect. The empty string removes the name.
    ///
    /// # Errors
    /// [`Error::NoLink`].
    name_link(link: LinkId, name: impl Into<String>) -> ();
    /// Sets the cost of crossing an interconnect in one direction. Existing aliases stay on the path they were made
    /// on.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::OpenButUnreachable`] if the direction is open and `metric` is
    /// [`Metric::UNREACHABLE`].
    set_metric(link: LinkId, way: Way, metric: Metric) -> ();
    /// Sets the measured performance of one direction of an interconnect.
    ///
    /// # Errors
    /// [`Error::NoLink`].
    set_performance(link: LinkId, way: Way, performance: Performance) -> ();
    /// Replaces the mapping of one direction of an interconnect. No alias may go through the old one.
    ///
    /// # Errors
    /// [`Error::NoLink`]; [`Error::LinkBusy`] names an alias that goes through; [`Error::OpenButUnreachable`];
    /// [`Error::Occupied`] names what already has the addresses that the new mapping claims.
    set_mapping(link: LinkId, way: Way, mapping: Mapping) -> ();
    /// Sets what a floating window covers even when nothing goes through it, like a bridge whose base and limit
    /// registers were programmed by someone else. `None` lets the window close as far as no alias needs it. The
    /// window may open over free primed space, which is lent to it.
    ///
    /// # Errors
    /// [`Error::NoLink`], [`Error::NoWindow`], [`Error::FixedWindow`]; [`Error::Mapping`] for a floor that leaves the
    /// window's limit or is not a multiple of its granule; [`Error::WindowBlocked`] names what the window would have
    /// to cover but may not.
    set_floor(link: LinkId, way: Way, piece: u32, floor: Option<AddrRange>) -> ();
    /// Gives an arena `range` to allocate from, with default attributes for its regions (`pmem_arena_prime`).
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the primed space, window or alias that is already there.
    prime(arena: ArenaId, range: AddrRange, attrs: Attrs) -> ();
    /// Stops allocation from `range`. Regions already there stay.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the part that is not primed, or that is lent to a window.
    seal(arena: ArenaId, range: AddrRange) -> ();
    /// Allows allocation from `range` again.
    ///
    /// # Errors
    /// As [`Self::seal`].
    unseal(arena: ArenaId, range: AddrRange) -> ();
    /// Marks `range` as bad RAM. It is not allocated again, even when the regions that are there now are released.
    /// Returns those regions, so that you can ask their owners to leave. Drivers and observers of the arena's space
    /// see the bad part as an edit with [`Usage::BROKEN`](pmem_space::Usage::BROKEN).
    ///
    /// # Errors
    /// As [`Self::seal`].
    ///
    /// # Examples
    /// A machine check reports one bad page:
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Request};
    ///
    /// let mut pmem = Manager::new();
    /// let dimm = pmem.create_arena("DIMM A1", ArenaType::RAM)?;
    /// pmem.prime(dimm, AddrRange::new(0, 0x4000)?, Attrs::ram())?;
    /// let buffer = pmem.alloc(dimm, &Request::new(0x2000))?;
    ///
    /// let victims = pmem.retire(dimm, AddrRange::new(0x1000, 0x2000)?)?;
    /// assert_eq!(victims, [buffer]);
    /// pmem.decref(buffer)?;
    /// // The lower page is free again, the bad one is not.
    /// let next = pmem.alloc(dimm, &Request::new(0x2000))?;
    /// assert_eq!(pmem.range(next)?.start(), 0x2000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    retire(arena: ArenaId, range: AddrRange) -> alloc::vec::Vec<RegionId>;
    /// Takes `range` away from an arena. To empty a range first: seal it, wait until its regions are released, then
    /// unprime it.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the part that is not primed, the part that is lent, or a region
    /// that is there.
    unprime(arena: ArenaId, range: AddrRange) -> ();
    /// Allocates a region that meets the request, with one reference (`pmem_alloc`).
    ///
    /// If the request's maximum metric is above zero, it also tries arenas whose regions can be made visible in
    /// `arena` at no more than that cost, nearest first. The result is always visible in `arena`: a region of it, or
    /// an alias, which then holds the only reference on its target.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::Fit`], [`Error::Range`], [`Error::Caching`]; [`Error::Prot`] if the interconnects allow
    /// less access than asked; [`Error::NoSpace`] gives the largest gap; for an exact range [`Error::Occupied`] names what is there. If several arenas were tried, the error is from the one that
    /// came closest.
    alloc(arena: ArenaId, request: &Request) -> RegionId;
    /// Allocates a region without an address: parked, with the request's length, attributes and owner, and one
    /// reference. [`Self::unpark`] gives it a place later. Use it for something that wants an address and has none,
    /// such as a BAR that did not fit.
    ///
    /// Attributes that the request does not give are empty: there is no space yet whose defaults could be taken.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Range`] for a length of 0; [`Error::Caching`].
    alloc_parked(arena: ArenaId, request: &Request) -> RegionId;
    /// Names a region. The empty string removes the name.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    name_region(region: RegionId, name: impl Into<String>) -> ();
    /// Sets a region's attributes (`pmem_set`). For an alias only `prot` can be set, to at most its target's.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Prot`] if the space, the target or the interconnect does not allow the protection;
    /// [`Error::SpaceAttrs`] if the space under the region does not admit the attributes; [`Error::NotPassed`] if a
    /// window through which the region is seen does not carry it with these properties; [`Error::AliasAttrs`] for an
    /// alias's usage or properties.
    set(region: RegionId, attrs: Attrs) -> ();
    /// Sets whether a region may be moved.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    set_pin(region: RegionId, pin: Pin) -> ();
    /// Sets the owner of a region.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    set_owner(region: RegionId, owner: Owner) -> ();
    /// Adds a reference to a region (`pmem_incref`).
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Condemned`] if the count is already zero; [`Error::TooManyRefs`].
    incref(region: RegionId) -> ();
    /// Makes a region visible in `arena` (`pmem_map`). Returns the region itself if it belongs to `arena`, otherwise
    /// an alias, which everyone who maps the region there shares. Either gets one more reference.
    ///
    /// Bridge windows are widened as needed; a translation table takes free input space. Of several paths it takes
    /// the cheapest that lets the region through. No path goes through the same table twice.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::NoRegion`], [`Error::IsParked`], [`Error::Condemned`]; [`Error::Unreachable`] if
    /// no path joins the arenas; [`Error::NoRoute`] says what blocks the last path tried.
    map(arena: ArenaId, region: RegionId) -> RegionId;
    /// Makes a region visible at a place that meets `spot`, in addresses of `arena`: a fixed IOMMU input address,
    /// say. Otherwise like [`Self::map`].
    ///
    /// # Errors
    /// As [`Self::map`]; [`Error::NoSpace`] if the region belongs to `arena` itself but lies elsewhere.
    map_at(arena: ArenaId, region: RegionId, spot: impl Into<Constraints>) -> RegionId;
    /// Moves a region within its arena, to `start`. Its aliases follow.
    ///
    /// # Errors
    /// As [`Self::relocate_all`].
    relocate(region: RegionId, start: u64) -> ();
    /// Moves several regions at once, each within its arena. They may take one another's places. Aliases through
    /// windows move along, and the windows with them. An alias in a translation table keeps its address, unless the
    /// region's offset within a page changes.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::IsParked`], [`Error::Twice`]; [`Error::Range`] if a region
    /// would end past 2^64; [`Error::Pinned`] names what may not move; [`Error::Occupied`] and
    /// [`Error::WindowBlocked`] name what is in the way; [`Error::NotPassed`], [`Error::Misaligned`] or
    /// [`Error::NoSpace`] if an alias cannot follow.
    ///
    /// # Examples
    /// A guest swaps two BARs with decoding off:
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Request};
    ///
    /// let mut pmem = Manager::new();
    /// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
    /// pmem.prime(pci, AddrRange::new(0xe000_0000, 0xe000_2000)?, Attrs::device())?;
    /// let first = pmem.alloc(pci, &Request::new(0x1000))?;
    /// let second = pmem.alloc(pci, &Request::new(0x1000))?;
    /// assert!(pmem.relocate(first, 0xe000_1000).is_err(), "one at a time, each is in the other's way");
    /// pmem.relocate_all(&[(first, 0xe000_1000), (second, 0xe000_0000)])?;
    /// assert_eq!(pmem.range(second)?.start(), 0xe000_0000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    relocate_all(moves: &[(RegionId, u64)]) -> ();
    /// Resizes a region to `len` bytes. Its start does not change. A parked region only records the new size.
    ///
    /// # Errors
    /// As [`Self::relocate_all`]; [`Error::Range`] if `len` is 0 or the region would end past 2^64.
    resize(region: RegionId, len: u64) -> ();
    /// Takes a region off its addresses. It keeps its size, owner, attributes, count and aliases.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::IsParked`], [`Error::Pinned`]; [`Error::Range`] for a region
    /// of all 2^64 bytes, whose size does not fit a number.
    park(region: RegionId) -> ();
    /// Gives a parked region addresses again: among the places in `spot` at which the region and all its aliases can
    /// be, the one that the policy selects. Length and attributes are those of the region.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsAlias`], [`Error::NotParked`], [`Error::Pinned`], [`Error::NoSpace`]; for an exact
    /// place [`Error::Occupied`] names what is there. If an alias cannot follow: [`Error::WindowBlocked`],
    /// [`Error::NotPassed`] or [`Error::Misaligned`].
    unpark(region: RegionId, spot: impl Into<Constraints>) -> ();
}
