//! Why a request fails. Every variant names the culprit.

use crate::driver::{Fault, Mismatch, Phase, Veto};
use crate::id::{ArenaId, DriverId, LinkId, RegionId, Way};
use crate::mapping::MappingError;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use pmem_space::{AddrRange, CachingConflict, FitError, Prot, RangeError};

/// What blocks a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A region or alias, and the addresses it occupies.
    Region(RegionId, AddrRange),
    /// A parked region, which has no addresses.
    Parked(RegionId),
    /// An interconnect, and the addresses it claims.
    Link(LinkId, AddrRange),
    /// Primed space at these addresses.
    Primed(AddrRange),
    /// Sealed or lent space at these addresses.
    Sealed(AddrRange),
    /// Space whose default attributes do not admit the request: protection, prefetchability or bad RAM.
    Unfit(AddrRange),
    /// Space whose defaults differ from those of the space below it. No region may straddle the two.
    Border(AddrRange),
    /// Addresses that were never primed.
    Unprimed(AddrRange),
    /// The limit of a window, which the window may not leave.
    Limit(LinkId, AddrRange),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region, range) => write!(f, "{region} at {range}"),
            Self::Parked(region) => write!(f, "{region} (parked)"),
            Self::Link(link, range) => write!(f, "{link} at {range}"),
            Self::Primed(range) => write!(f, "primed space {range}"),
            Self::Sealed(range) => write!(f, "sealed space {range}"),
            Self::Unfit(range) => write!(f, "space {range}, whose attributes do not allow it"),
            Self::Border(range) => {
                write!(f, "space {range}, whose default attributes differ from those below it")
            }
            Self::Unprimed(range) => write!(f, "unprimed space {range}"),
            Self::Limit(link, range) => write!(f, "addresses outside the window limit {range} of {link}"),
        }
    }
}

/// Why a request failed. An error leaves the model unchanged; [`Error::Failed`] says which hardware is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The numbers do not make a valid range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The size, alignment or boundary of an allocation is invalid.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// More than one caching mode is set.
    #[error(transparent)]
    Caching(#[from] CachingConflict),
    /// The numbers do not make a valid mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// There is no such arena.
    #[error("{0} does not exist")]
    NoArena(ArenaId),
    /// There is no such interconnect.
    #[error("{0} does not exist")]
    NoLink(LinkId),
    /// There is no such region: it never existed, or it has been released.
    #[error("{0} does not exist")]
    NoRegion(RegionId),
    /// There is no such driver.
    #[error("{0} does not exist")]
    NoDriver(DriverId),
    /// Both ends of an interconnect are the same arena; it must join two.
    #[error("an interconnect cannot join {0} to itself")]
    JoinsItself(ArenaId),
    /// A mapping lets addresses through, but its metric is [`Metric::UNREACHABLE`](crate::Metric::UNREACHABLE).
    #[error(
        "from {from} to {to}: the mapping lets addresses through, but its metric is unreachable; close the mapping or give it a finite metric"
    )]
    OpenButUnreachable {
        /// The arena that the mapping leads out of.
        from: ArenaId,
        /// The arena that the mapping leads into.
        to: ArenaId,
    },
    /// The arena cannot be removed: it holds a region, or an interconnect joins it.
    #[error("{arena} is still in use by {by}")]
    ArenaBusy {
        /// The arena that was to be removed.
        arena: ArenaId,
        /// The region or interconnect that still uses it.
        by: Holder,
    },
    /// The interconnect or its mapping cannot be changed: an alias goes through it.
    #[error("{link} is still in use by {by}")]
    LinkBusy {
        /// The interconnect.
        link: LinkId,
        /// An alias that goes through it.
        by: Holder,
    },
    /// The addresses are not available.
    #[error("{arena}: {range} is not available: it overlaps {by}")]
    Occupied {
        /// The arena of the addresses.
        arena: ArenaId,
        /// The addresses asked for.
        range: AddrRange,
        /// What is in the way; of several of the same kind, the lowest.
        by: Holder,
    },
    /// No place in the arena meets the request.
    #[error(
        "{arena}: no space for {len:#x} bytes aligned to {align:#x} in {window}; largest gap is {largest:#x} bytes"
    )]
    NoSpace {
        /// The arena that was searched.
        arena: ArenaId,
        /// The size asked for, in bytes.
        len: u64,
        /// The alignment asked for, in bytes.
        align: u64,
        /// The window asked for, as the requesting arena sees it.
        window: AddrRange,
        /// The largest gap, in bytes, whose attributes allow the request; 0 if there is none, or if no gap could help.
        largest: u64,
    },
    /// No mapping leads from one arena to the other.
    #[error("no path leads from {from} to {to}; connect them first")]
    Unreachable {
        /// The arena that should see the other.
        from: ArenaId,
        /// The arena that cannot be reached.
        to: ArenaId,
    },
    /// Every path to the region is blocked.
    #[error("{region} cannot be made visible in {from}: {why}")]
    NoRoute {
        /// The region that was to be made visible.
        region: RegionId,
        /// The arena that should see it.
        from: ArenaId,
        /// The number of hops found blocked.
        tried: usize,
        /// What blocked the last hop tried.
        why: alloc::boxed::Box<Error>,
    },
    /// The interconnect does not let the region through.
    #[error("{link} {way} does not let {region} at {range} through")]
    NotPassed {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The region.
        region: RegionId,
        /// The region's addresses, at the far end of the direction or in its own arena.
        range: AddrRange,
    },
    /// The direction has no claiming window with this index: its mapping is not made of windows, its windows yield,
    /// or the index is out of range.
    #[error("{link} {way} has no claiming window {piece}")]
    NoWindow {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The index of the window, from 0.
        piece: u32,
    },
    /// A floor was given for a fixed window, which never changes.
    #[error("{link} {way}: window {piece} is fixed; only floating windows have a floor to set")]
    FixedWindow {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The index of the window, from 0.
        piece: u32,
    },
    /// A floating window cannot grow: it would cover something it may not.
    #[error("{link} {way}: window {piece} cannot grow to {window}: it would cover {by}")]
    WindowBlocked {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The index of the window, from 0.
        piece: u32,
        /// The addresses that the window would have to cover.
        window: AddrRange,
        /// What is in the way.
        by: Holder,
    },
    /// More access is asked for than the space, the target or the interconnects allow.
    #[error("{region}: access {} is more than the allowed {}", asked.words(), allowed.words())]
    Prot {
        /// The region or alias.
        region: RegionId,
        /// The protection asked for.
        asked: Prot,
        /// The most that is allowed.
        allowed: Prot,
    },
    /// Usage or properties were given for an alias. It takes both from its target; only `prot` can be set.
    #[error("{region} is an alias: only its protection can be set; set the rest on its target")]
    AliasAttrs {
        /// The alias.
        region: RegionId,
    },
    /// The space under the region does not admit the attributes.
    #[error("{region} at {range}: its space does not allow these attributes")]
    SpaceAttrs {
        /// The region.
        region: RegionId,
        /// Its addresses.
        range: AddrRange,
    },
    /// An alias would move to an address that breaks the alignment requested when it was made.
    #[error("{region} would move to {at:#x}, which is not a multiple of its alignment {align:#x}")]
    Misaligned {
        /// The alias.
        region: RegionId,
        /// The address it would get.
        at: u64,
        /// The alignment requested, in bytes.
        align: u64,
    },
    /// The verb applies only to regions. An alias moves with its target.
    #[error("{0} is an alias: move its target instead")]
    IsAlias(RegionId),
    /// The region cannot move: it, or an alias of it, is pinned.
    #[error("{region} cannot move: {pinned} is pinned")]
    Pinned {
        /// The region that was to move.
        region: RegionId,
        /// The region or alias that is pinned.
        pinned: RegionId,
    },
    /// The region is parked, so it has no address.
    #[error("{0} is parked")]
    IsParked(RegionId),
    /// The region is not parked.
    #[error("{0} is not parked")]
    NotParked(RegionId),
    /// One call names the same region twice.
    #[error("{0} appears twice in one call")]
    Twice(RegionId),
    /// The reference cannot be given up: the region's aliases hold all that are left.
    #[error("all {refs} references to {region} are held by its aliases; unmap those first")]
    NotHeld {
        /// The region.
        region: RegionId,
        /// The number of references, all held by aliases.
        refs: u32,
    },
    /// The handle's reference has already been given up.
    #[error("the reference to {0} has already been released")]
    Spent(RegionId),
    /// The region's count has reached zero. A driver keeps the region, but no new reference can be taken.
    #[error("{0} is condemned: its last reference is gone, and a driver has not let go of it")]
    Condemned(RegionId),
    /// The region already has the maximum of 2^31 − 1 references.
    #[error("{0} has too many references")]
    TooManyRefs(RegionId),
    /// A driver refused the change.
    #[error("{name} refused: {veto}")]
    Refused {
        /// The driver; the null id if it refused its own registration.
        driver: DriverId,
        /// The driver's name.
        name: String,
        /// The driver's reason.
        veto: Veto,
    },
    /// A driver failed to resync, or failed in a change, which was then rolled back.
    #[error("{name} failed in {phase}: {fault}{}", Degraded(degraded))]
    Failed {
        /// The driver that failed.
        driver: DriverId,
        /// The driver's name.
        name: String,
        /// The phase in which it failed.
        phase: Phase,
        /// What the hardware did not do.
        fault: Fault,
        /// Drivers that failed to resync or to roll back. Their hardware differs from the model until they resync.
        degraded: Vec<DriverId>,
    },
    /// A driver's hardware differs from the model.
    #[error("{name}: {mismatch}")]
    Differs {
        /// The driver.
        driver: DriverId,
        /// The driver's name.
        name: String,
        /// The first difference found.
        mismatch: Mismatch,
    },
    /// The caller abandoned its own transaction.
    #[error("the transaction was abandoned by its caller")]
    Abandoned,
    /// A driver's callback called a verb that changes the model.
    #[error("a driver's callback cannot change the model")]
    InCallback,
}

struct Degraded<'e>(&'e [DriverId]);

impl fmt::Display for Degraded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, driver) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "; degraded: " } else { ", " })?;
            write!(f, "{driver}")?;
        }
        Ok(())
    }
}
