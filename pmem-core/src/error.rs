//! What can be wrong with a request. Every variant names the culprit.

use crate::driver::{Fault, Mismatch, Phase, Veto};
use crate::id::{ArenaId, DriverId, LinkId, RegionId, Way};
use crate::mapping::MappingError;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use pmem_space::{AddrRange, CachingConflict, FitError, Prot, RangeError};

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A region or alias, and its addresses.
    Region(RegionId, AddrRange),
    /// A parked region.
    Parked(RegionId),
    /// What lies behind an interconnect, and the addresses.
    Link(LinkId, AddrRange),
    /// Primed space.
    Primed(AddrRange),
    /// Sealed space.
    Sealed(AddrRange),
    /// Space whose defaults do not admit the request: protection, prefetchability, bad RAM.
    Unfit(AddrRange),
    /// Space whose defaults differ from those of the space before it: no region lies across both.
    Border(AddrRange),
    /// Addresses that are not primed.
    Unprimed(AddrRange),
    /// The limit of a window.
    Limit(LinkId, AddrRange),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region, range) => write!(f, "{region} at {range}"),
            Self::Parked(region) => write!(f, "{region}, which is parked"),
            Self::Link(link, range) => write!(f, "{link} at {range}"),
            Self::Primed(range) => write!(f, "primed space {range}"),
            Self::Sealed(range) => write!(f, "sealed space {range}"),
            Self::Unfit(range) => write!(f, "space {range}, whose attributes do not admit it"),
            Self::Border(range) => write!(f, "space {range}, whose defaults differ"),
            Self::Unprimed(range) => write!(f, "space {range}, which is not primed"),
            Self::Limit(link, range) => write!(f, "the limit {range} of {link}'s window"),
        }
    }
}

/// Why a request was not carried out. Nothing was changed, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The numbers make no range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The numbers make no request.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The properties contradict each other.
    #[error(transparent)]
    Caching(#[from] CachingConflict),
    /// The numbers make no mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// No such arena.
    #[error("there is no {0}")]
    NoArena(ArenaId),
    /// No such interconnect.
    #[error("there is no {0}")]
    NoLink(LinkId),
    /// No such region: it never was, or it has been released.
    #[error("there is no {0}")]
    NoRegion(RegionId),
    /// No such driver.
    #[error("there is no {0}")]
    NoDriver(DriverId),
    /// An interconnect joins two arenas.
    #[error("an interconnect cannot join {0} to itself")]
    JoinsItself(ArenaId),
    /// A mapping leads somewhere, but its metric says that nothing does.
    #[error("from {from} to {to}: the mapping is open, but its metric is unreachable")]
    OpenButUnreachable {
        /// Where from.
        from: ArenaId,
        /// Where to.
        to: ArenaId,
    },
    /// The arena or interconnect is still used.
    #[error("{arena} is still in use by {by}")]
    ArenaBusy {
        /// Which.
        arena: ArenaId,
        /// By what.
        by: Holder,
    },
    /// An alias still goes through the interconnect.
    #[error("{link} is still in use by {by}")]
    LinkBusy {
        /// Which.
        link: LinkId,
        /// By what.
        by: Holder,
    },
    /// The addresses are not free for it.
    #[error("{arena}: {range} meets {by}")]
    Occupied {
        /// Where.
        arena: ArenaId,
        /// What was asked for.
        range: AddrRange,
        /// What is in the way, the lowest of it.
        by: Holder,
    },
    /// No place in the arena fits.
    #[error(
        "{arena}: no space for {len:#x} bytes aligned to {align:#x} in {window}; largest gap is {largest:#x} bytes"
    )]
    NoSpace {
        /// Where.
        arena: ArenaId,
        /// The bytes asked for.
        len: u64,
        /// The alignment asked for.
        align: u64,
        /// The window asked for, as seen.
        window: AddrRange,
        /// The largest gap that the attributes allow, in bytes; 0 is none.
        largest: u64,
    },
    /// Two arenas are not joined.
    #[error("{to} cannot be reached from {from}")]
    Unreachable {
        /// Where from.
        from: ArenaId,
        /// Where to.
        to: ArenaId,
    },
    /// Every way to the other arena stops at something.
    #[error("{region} cannot be seen from {from}: {why}")]
    NoRoute {
        /// Which.
        region: RegionId,
        /// Where from.
        from: ArenaId,
        /// The hops that were tried.
        tried: usize,
        /// What the last one met.
        why: alloc::boxed::Box<Error>,
    },
    /// The interconnect does not let the region through.
    #[error("{link} {way} does not pass {region} at {range}")]
    NotPassed {
        /// Which interconnect.
        link: LinkId,
        /// Which direction.
        way: Way,
        /// Which region.
        region: RegionId,
        /// Its addresses.
        range: AddrRange,
    },
    /// The direction has no such window, or none that claims.
    #[error("{link} {way} has no window {piece}")]
    NoWindow {
        /// Which interconnect.
        link: LinkId,
        /// Which direction.
        way: Way,
        /// Which window, from 0.
        piece: u32,
    },
    /// A window that never changes is to have a floor.
    #[error("{link} {way}: window {piece} is fixed")]
    FixedWindow {
        /// Which interconnect.
        link: LinkId,
        /// Which direction.
        way: Way,
        /// Which window.
        piece: u32,
    },
    /// A window that must grow meets something.
    #[error("{link} {way}: window {piece} cannot grow to {window}: it meets {by}")]
    WindowBlocked {
        /// Which interconnect.
        link: LinkId,
        /// Which direction.
        way: Way,
        /// Which window.
        piece: u32,
        /// What it would be.
        window: AddrRange,
        /// What is in the way.
        by: Holder,
    },
    /// More is asked for than the space or the target lets through.
    #[error("{region}: {} is not within {}", asked.words(), allowed.words())]
    Prot {
        /// Which.
        region: RegionId,
        /// What was asked for.
        asked: Prot,
        /// What is allowed.
        allowed: Prot,
    },
    /// An alias has its target's usage and properties.
    #[error("{region} is an alias: only its protection can be narrowed")]
    AliasAttrs {
        /// Which.
        region: RegionId,
    },
    /// The space that the region is in does not admit the attributes.
    #[error("{region} at {range}: its space does not admit the attributes")]
    SpaceAttrs {
        /// Which.
        region: RegionId,
        /// Where.
        range: AddrRange,
    },
    /// An alias would no longer be at a multiple of what was asked for when it was allocated.
    #[error("{region} would be seen at {at:#x}, which is no multiple of {align:#x}")]
    Misaligned {
        /// Which.
        region: RegionId,
        /// Where it would be.
        at: u64,
        /// The alignment asked for, in bytes.
        align: u64,
    },
    /// The verb is for regions, not for aliases.
    #[error("{0} is an alias: it moves with what it stands for")]
    IsAlias(RegionId),
    /// The region, or an alias of it, is pinned.
    #[error("{region} cannot move: {pinned} is pinned")]
    Pinned {
        /// Which.
        region: RegionId,
        /// What is pinned.
        pinned: RegionId,
    },
    /// The region is parked.
    #[error("{0} is parked")]
    IsParked(RegionId),
    /// The region is not parked.
    #[error("{0} is not parked")]
    NotParked(RegionId),
    /// The same region is named twice.
    #[error("{0} is named twice")]
    Twice(RegionId),
    /// A reference was to be given up that only aliases hold.
    #[error("{region} has {refs} references, all of them its aliases'")]
    NotHeld {
        /// Which.
        region: RegionId,
        /// How many.
        refs: u32,
    },
    /// The handle's reference has been given up already.
    #[error("the reference to {0} has been given up already")]
    Spent(RegionId),
    /// The region's last reference is gone; zero is final.
    #[error("{0} is condemned: its last reference is gone")]
    Condemned(RegionId),
    /// A count cannot go higher.
    #[error("{0} has too many references")]
    TooManyRefs(RegionId),
    /// A driver refused the change.
    #[error("{name} refused: {veto}")]
    Refused {
        /// Which.
        driver: DriverId,
        /// Its name.
        name: String,
        /// Why.
        veto: Veto,
    },
    /// A driver failed; the change was undone.
    #[error("{name} failed in {phase}: {fault}{}", Degraded(degraded))]
    Failed {
        /// Which.
        driver: DriverId,
        /// Its name.
        name: String,
        /// Where.
        phase: Phase,
        /// How.
        fault: Fault,
        /// Drivers that also failed to undo: their hardware is not what the model says until they resync.
        degraded: Vec<DriverId>,
    },
    /// A driver's hardware is not what the model says.
    #[error("{name}: {mismatch}")]
    Differs {
        /// Which.
        driver: DriverId,
        /// Its name.
        name: String,
        /// Where, and how.
        mismatch: Mismatch,
    },
    /// The caller gave up its transaction.
    #[error("abandoned by its caller")]
    Abandoned,
    /// A verb that writes was called from inside a driver's callback.
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
