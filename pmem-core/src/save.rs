//! Saving a manager and loading it again. Ids are kept, everything is checked, and drivers register again.

use crate::id::{ArenaId, LinkId, Owner, RegionId, Way};
use crate::manager::Manager;
use crate::mapping::{Admits, Interleave, Mapping, MappingError, Table, Window, Windows};
use crate::metric::{Metric, Performance};
use crate::model::{
    Alias, ArenaInfo, Broken, Direction, Edit, Ids, Link, Location, Memory, Pin, Placement, PrimedSpan,
    RegionRecord, Role, SpanState, State, Working,
};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, ArenaType, Attrs, CachingConflict, Props, Prot, RangeError, Usage};
use serde::{Deserialize, Serialize};

/// The version of the format that this crate writes, and the only one it reads.
pub const SAVED_VERSION: u32 = 3;

/// A manager in a form that can be serialized. It does not contain drivers or the journal.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Request, Saved};
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// pmem.prime(ram, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
/// let kernel = pmem.alloc(ram, &Request::exactly(AddrRange::new(0x4_0000, 0x6_0000)?))?;
///
/// let json = serde_json::to_string(&pmem.save())?;
/// let saved: Saved = serde_json::from_str(&json)?;
/// let loaded = Manager::load(saved)?;
/// assert_eq!(loaded.range(kernel)?, pmem.range(kernel)?, "ids stay valid");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    version: u32,
    sequence: u64,
    ids: Ids,
    arenas: Vec<SavedArena>,
    links: Vec<SavedLink>,
    regions: Vec<SavedRegion>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedArena {
    id: ArenaId,
    name: String,
    kind: u16,
    spans: Vec<SavedSpan>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSpan {
    start: u64,
    last: u64,
    attrs: SavedAttrs,
    state: SpanState,
}

/// Usage, protection and properties, as bits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct SavedAttrs(u8, u8, u8);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLink {
    id: LinkId,
    left: ArenaId,
    right: ArenaId,
    to_right: SavedDirection,
    to_left: SavedDirection,
    #[serde(default)]
    name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedDirection {
    mapping: SavedMapping,
    metric: u32,
    performance: Performance,
    /// The addresses that the windows cover: first and last, both inclusive. `None` is a closed window.
    windows: Vec<Option<(u64, u64)>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedMapping {
    Closed,
    Identity,
    Windows {
        yields: bool,
        pieces: Vec<SavedWindow>,
    },
    Interleave {
        input: (u64, u64),
        ways: u8,
        granularity: u32,
        position: u8,
        output: u64,
    },
    Table {
        input: (u64, u64),
        page: u64,
        prot: u8,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holes: Vec<(u64, u64)>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedWindow {
    limit: (u64, u64),
    floor: Option<(u64, u64)>,
    granule: u64,
    offset: u64,
    admits: Admits,
    prot: u8,
    floats: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedRegion {
    id: RegionId,
    arena: ArenaId,
    seat: SavedSeat,
    attrs: SavedAttrs,
    owner: Owner,
    pin: Pin,
    align: u8,
    #[serde(default)]
    name: Option<String>,
    alias: Option<SavedAlias>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedSeat {
    At(u64, u64),
    Parked(u64),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedAlias {
    target: RegionId,
    link: LinkId,
    way: Way,
    piece: u32,
    to: u64,
}

/// Why a saved manager cannot be loaded: it was damaged or tampered with, or has another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The format has another version.
    #[error("format version {0} is not supported; this build reads version {SAVED_VERSION}")]
    Version(u32),
    /// An id, or an id that the element refers to, is unknown, or is used twice.
    #[error("{what}[{index}]: its id, or one that it refers to, is unknown or used twice")]
    Id {
        /// The list that contains the element.
        what: &'static str,
        /// The index of the element, from 0.
        index: usize,
    },
    /// The table of ids names more or fewer things than are saved.
    #[error("the id table lists {named} {what}, but {saved} are saved")]
    Missing {
        /// The list.
        what: &'static str,
        /// The number of ids in the table.
        named: usize,
        /// The number of elements in the list.
        saved: usize,
    },
    /// The numbers do not make a valid range.
    #[error("{what}[{index}]: {error}")]
    Range {
        /// The list that contains the element.
        what: &'static str,
        /// The index of the element, from 0.
        index: usize,
        /// Why they do not.
        error: RangeError,
    },
    /// The attributes have unknown bits, or more than one caching mode.
    #[error("{what}[{index}]: unknown attribute bits, or more than one caching mode")]
    Attrs {
        /// The list that contains the element.
        what: &'static str,
        /// The index of the element, from 0.
        index: usize,
    },
    /// The numbers do not make a valid mapping.
    #[error("interconnects[{index}]: {error}")]
    Mapping {
        /// The index of the interconnect, from 0.
        index: usize,
        /// Why they do not.
        error: MappingError,
    },
    /// Two elements overlap.
    #[error("{what}[{index}]: {range} overlaps another")]
    Overlap {
        /// The list that contains the element.
        what: &'static str,
        /// The index of the element, from 0.
        index: usize,
        /// The range of the element that overlaps an earlier one.
        range: AddrRange,
    },
    /// The parts are valid but do not make a valid model.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Manager {
    /// Returns everything except the drivers and the journal in a form that can be serialized.
    pub fn save(&self) -> Saved {
        let state = self.state();
        let arenas = state.arenas().map(|(id, info, arena)| SavedArena {
            id,
            name: info.name.clone(),
            kind: info.kind.bits(),
            spans: arena
                .spans()
                .map(|(r, s)| SavedSpan {
                    start: r.start(),
                    last: r.last(),
                    attrs: s.attrs.into(),
                    state: s.state,
                })
                .collect(),
        });
        let links = state.links().map(|(id, link)| SavedLink {
            id,
            left: link.left,
            right: link.right,
            to_right: SavedDirection::of(&link.to_right, state.windows(id, Way::ToRight)),
            to_left: SavedDirection::of(&link.to_left, state.windows(id, Way::ToLeft)),
            name: link.name.clone(),
        });
        Saved {
            version: SAVED_VERSION,
            sequence: state.sequence(),
            ids: self.ids().clone(),
            arenas: arenas.collect(),
            links: links.collect(),
            regions: self
                .regions()
                .map(|(id, placement)| SavedRegion::of(id, &placement, state.region_name(id)))
                .collect(),
        }
    }

    /// Restores a saved manager. Ids are what they were; stale ids stay stale.
    ///
    /// # Errors
    /// [`LoadError`] names the first thing that is wrong.
    pub fn load(saved: Saved) -> Result<Self, LoadError> {
        if saved.version != SAVED_VERSION {
            return Err(LoadError::Version(saved.version));
        }
        let mut state = State::default();
        let mut ids = saved.ids;
        // A value that never went through serialization still has the places; the regions below say them again.
        ids.forget_places();
        check_ids("arenas", saved.arenas.iter().map(|a| ids.arenas.contains(a.id)), ids.arenas.len())?;
        check_ids("interconnects", saved.links.iter().map(|l| ids.links.contains(l.id)), ids.links.len())?;
        check_ids("regions", saved.regions.iter().map(|r| ids.regions.contains(r.id)), ids.regions.len())?;
        let mut memory = Memory::default();
        let mut working = Working { state: &mut state, ids: &mut ids, memory: &mut memory };
        for (index, arena) in saved.arenas.into_iter().enumerate() {
            load_arena(&mut working, index, arena)?;
        }
        for (index, link) in saved.links.into_iter().enumerate() {
            load_link(&mut working, index, link)?;
        }
        for (index, region) in saved.regions.into_iter().enumerate() {
            load_region(&mut working, index, region)?;
        }
        state.sequence = saved.sequence;
        state.check()?;
        state.check_ids(&ids)?;
        Ok(Self::with_state(state, ids))
    }
}

fn check_ids(
    what: &'static str,
    known: impl ExactSizeIterator<Item = bool>,
    named: usize,
) -> Result<(), LoadError> {
    let saved = known.len();
    for (index, known) in known.enumerate() {
        if !known {
            return Err(LoadError::Id { what, index });
        }
    }
    if saved == named { Ok(()) } else { Err(LoadError::Missing { what, named, saved }) }
}

fn load_arena(working: &mut Working<'_>, index: usize, saved: SavedArena) -> Result<(), LoadError> {
    let arena = saved.id;
    if working.state.arena(arena).is_some() {
        return Err(LoadError::Id { what: "arenas", index });
    }
    let kind = ArenaType::from_bits(saved.kind).ok_or(LoadError::Attrs { what: "arenas", index })?;
    working.apply(&Edit::Arena { arena, old: None, new: Some(ArenaInfo { name: saved.name, kind }) });
    for span in saved.spans {
        let range = range("arenas", index, (span.start, span.last))?;
        if working.state.arena(arena).is_some_and(|a| a.spans_in(range).next().is_some()) {
            return Err(LoadError::Overlap { what: "arenas", index, range });
        }
        let attrs = span.attrs.attrs().ok_or(LoadError::Attrs { what: "arenas", index })?;
        working.apply(&Edit::Span {
            arena,
            range,
            old: None,
            new: Some(PrimedSpan { attrs, state: span.state }),
        });
    }
    Ok(())
}

fn load_link(working: &mut Working<'_>, index: usize, saved: SavedLink) -> Result<(), LoadError> {
    let id = saved.id;
    let ends = [saved.left, saved.right].iter().all(|end| working.state.arena(*end).is_some());
    if working.state.link(id).is_some() || !ends || saved.left == saved.right {
        return Err(LoadError::Id { what: "interconnects", index });
    }
    let error = |error| LoadError::Mapping { index, error };
    let link = Link {
        left: saved.left,
        right: saved.right,
        to_right: saved.to_right.direction(index)?.map_err(error)?,
        to_left: saved.to_left.direction(index)?.map_err(error)?,
        name: saved.name,
    };
    working.apply(&Edit::Link { link: id, old: None, new: Some(Arc::new(link)) });
    for (way, direction) in [(Way::ToRight, &saved.to_right), (Way::ToLeft, &saved.to_left)] {
        let now = working.state.windows(id, way).to_vec();
        if now.len() != direction.windows.len() {
            return Err(LoadError::Missing {
                what: "windows",
                named: now.len(),
                saved: direction.windows.len(),
            });
        }
        for ((piece, old), new) in (0..).zip(now).zip(&direction.windows) {
            let new = new.map(|bounds| range("interconnects", index, bounds)).transpose()?;
            if old != new {
                working.apply(&Edit::Window { link: id, way, piece, old, new });
            }
        }
    }
    Ok(())
}

fn load_region(working: &mut Working<'_>, index: usize, saved: SavedRegion) -> Result<(), LoadError> {
    let region = saved.id;
    let id = LoadError::Id { what: "regions", index };
    let Some(arena) = working.state.arena(saved.arena) else { return Err(id) };
    if working.ids.count(region).is_some() {
        return Err(id);
    }
    let seat = match saved.seat {
        SavedSeat::At(start, last) => {
            let range = range("regions", index, (start, last))?;
            if arena.regions_in(range).next().is_some() {
                return Err(LoadError::Overlap { what: "regions", index, range });
            }
            Location::At(range)
        }
        SavedSeat::Parked(len) => Location::Parked(
            AddrRange::sized(0, len)
                .map_err(|error| LoadError::Range { what: "regions", index, error })?
                .len(),
        ),
    };
    let role = match saved.alias {
        None => Role::Own,
        Some(SavedAlias { target, link, way, piece, to }) => {
            if !working.ids.regions.contains(target) || target == region {
                return Err(id);
            }
            Role::Alias(Alias { target, link, way, piece, to })
        }
    };
    let attrs = saved.attrs.attrs().ok_or(LoadError::Attrs { what: "regions", index })?;
    let align =
        Some(saved.align).filter(|align| *align < 64).ok_or(LoadError::Attrs { what: "regions", index })?;
    let record = RegionRecord { id: region, attrs, owner: saved.owner, role, pin: saved.pin, align };
    let new = Some(Placement { arena: saved.arena, seat, record });
    working.apply(&Edit::Region { region, old: None, new });
    if let Some(name) = saved.name {
        working.apply(&Edit::Name { region, old: None, new: Some(name.into()) });
    }
    Ok(())
}

fn range(what: &'static str, index: usize, (start, last): (u64, u64)) -> Result<AddrRange, LoadError> {
    AddrRange::inclusive(start, last).map_err(|error| LoadError::Range { what, index, error })
}

fn bounds(range: AddrRange) -> (u64, u64) {
    (range.start(), range.last())
}

impl From<Attrs> for SavedAttrs {
    fn from(attrs: Attrs) -> Self {
        Self(attrs.usage().bits(), attrs.prot().bits(), attrs.props().bits())
    }
}

impl SavedAttrs {
    fn attrs(self) -> Option<Attrs> {
        let (usage, prot, props) =
            (Usage::from_bits(self.0)?, Prot::from_bits(self.1)?, Props::from_bits(self.2)?);
        Attrs::new(usage, prot, props).map_err(|CachingConflict(_)| ()).ok()
    }
}

impl SavedRegion {
    fn of(id: RegionId, placement: &Placement, name: Option<&str>) -> Self {
        let Placement { arena, seat, record } = *placement;
        Self {
            id,
            arena,
            seat: match seat {
                Location::At(range) => SavedSeat::At(range.start(), range.last()),
                Location::Parked(len) => SavedSeat::Parked(len),
            },
            attrs: record.attrs.into(),
            owner: record.owner,
            pin: record.pin,
            align: record.align,
            name: name.map(String::from),
            alias: record.alias().map(|Alias { target, link, way, piece, to }| SavedAlias {
                target,
                link,
                way,
                piece,
                to,
            }),
        }
    }
}

impl SavedDirection {
    fn of(direction: &Direction, windows: &[Option<AddrRange>]) -> Self {
        Self {
            mapping: SavedMapping::of(&direction.mapping),
            metric: direction.metric.get(),
            performance: direction.performance,
            windows: windows.iter().map(|w| w.map(bounds)).collect(),
        }
    }

    fn direction(&self, index: usize) -> Result<Result<Direction, MappingError>, LoadError> {
        let mapping = self.mapping.mapping(index)?;
        Ok(mapping.map(|mapping| Direction {
            mapping,
            metric: Metric::new(self.metric),
            performance: self.performance,
        }))
    }
}

impl SavedMapping {
    fn of(mapping: &Mapping) -> Self {
        match mapping {
            Mapping::Closed => Self::Closed,
            Mapping::Identity => Self::Identity,
            Mapping::Windows(windows) => Self::Windows {
                yields: windows.yields(),
                pieces: windows.pieces().iter().map(SavedWindow::of).collect(),
            },
            Mapping::Interleave(share) => Self::Interleave {
                input: bounds(share.input()),
                ways: share.ways(),
                granularity: share.granularity(),
                position: share.position(),
                output: share.output().start(),
            },
            Mapping::Table(table) => {
                let holes = table.holes().iter().copied().map(bounds).collect();
                Self::Table {
                    input: bounds(table.input()),
                    page: table.page(),
                    prot: table.prot_of().bits(),
                    holes,
                }
            }
        }
    }

    fn mapping(&self, index: usize) -> Result<Result<Mapping, MappingError>, LoadError> {
        let range = |bounds| range("interconnects", index, bounds);
        let prot = |bits| Prot::from_bits(bits).ok_or(LoadError::Attrs { what: "interconnects", index });
        Ok(match self {
            Self::Closed => Ok(Mapping::Closed),
            Self::Identity => Ok(Mapping::Identity),
            Self::Windows { yields, pieces } => {
                let mut windows = Vec::with_capacity(pieces.len());
                for piece in pieces {
                    let (limit, floor) = (range(piece.limit)?, piece.floor.map(range).transpose()?);
                    match piece.window(limit, floor, prot(piece.prot)?) {
                        Ok(window) => windows.push(window),
                        Err(error) => return Ok(Err(error)),
                    }
                }
                let windows = Windows::new(windows);
                let windows = if *yields { windows.and_then(Windows::yielding) } else { windows };
                windows.map(Mapping::Windows)
            }
            Self::Interleave { input, ways, granularity, position, output } => {
                Interleave::new(range(*input)?, *ways, *granularity, *position, *output)
                    .map(Mapping::Interleave)
            }
            Self::Table { input, page, prot: bits, holes } => {
                let (input, prot) = (range(*input)?, prot(*bits)?);
                let holes = holes.iter().copied().map(range).collect::<Result<Vec<_>, _>>()?;
                let table = Table::new(input, *page);
                table.map(|table| Mapping::Table(holes.into_iter().fold(table.prot(prot), Table::without)))
            }
        })
    }
}

impl SavedWindow {
    fn of(window: &Window) -> Self {
        Self {
            limit: bounds(window.limit()),
            floor: window.floor_of().map(bounds),
            granule: window.granule(),
            offset: window.offset_of(),
            admits: window.admits(),
            prot: window.prot_of().bits(),
            floats: !window.is_fixed(),
        }
    }

    fn window(&self, limit: AddrRange, floor: Option<AddrRange>, prot: Prot) -> Result<Window, MappingError> {
        let window = Window::floating(limit, self.granule)?.offset(self.offset)?.prot(prot);
        let window = match floor {
            Some(floor) => window.floor(floor)?,
            None => window,
        };
        let window = if self.admits == Admits::Prefetchable { window.prefetchable() } else { window };
        if self.floats {
            return Ok(window);
        }
        // A fixed window always covers all of its limit.
        match floor.filter(|floor| *floor == limit) {
            Some(_) => Ok(window.settled()),
            None => Err(MappingError::Limit { range: floor.unwrap_or(limit), limit }),
        }
    }
}
