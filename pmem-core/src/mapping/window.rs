//! Windows: ranges that are passed on with an offset.

use super::MappingError;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Props, Prot};
use rangemap::RangeInclusiveMap;

/// Which regions a window may carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Admits {
    /// Any region.
    #[default]
    Anything,
    /// Only prefetchable regions: a PCI bridge's prefetchable window.
    Prefetchable,
}

/// A range that an interconnect passes on, with an offset.
///
/// A *fixed* window is what it is. A *floating* window is the hull of its floor and of the aliases that go
/// through it, rounded to its granule: what a bridge's base and limit registers can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Where the window may be, in addresses of its input arena.
    limit: AddrRange,
    /// What it covers even when nothing goes through it. A fixed window's floor is its limit.
    floor: Option<AddrRange>,
    /// In bytes; a power of two.
    granule: u64,
    /// Added to an input address, modulo 2^64, to give the output address.
    offset: u64,
    admits: Admits,
    prot: Prot,
    floats: bool,
}

impl Window {
    /// Makes a window over `input` that never changes; its output starts at `output`.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the output would end past 2^64.
    pub fn fixed(input: AddrRange, output: u64) -> Result<Self, MappingError> {
        let floating = Self::floating(input, 1)?.offset(output.wrapping_sub(input.start()))?;
        Ok(Self { floor: Some(input), floats: false, ..floating })
    }

    /// Makes a window that may be opened anywhere in `limit`, in steps of `granule` bytes, and is closed now.
    ///
    /// # Errors
    /// [`MappingError`] if the granule is no power of two, or the limit no multiple of it.
    pub fn floating(limit: AddrRange, granule: u64) -> Result<Self, MappingError> {
        if !granule.is_power_of_two() {
            return Err(MappingError::Granule(granule));
        }
        if limit.rounded(granule) != limit {
            return Err(MappingError::Misaligned { range: limit, granule });
        }
        let (admits, prot) = (Admits::Anything, Prot::RWX);
        Ok(Self { limit, floor: None, granule, offset: 0, admits, prot, floats: true })
    }

    /// Covers `floor` even when nothing goes through it.
    ///
    /// # Errors
    /// [`MappingError`] if it leaves the limit or is no multiple of the granule.
    pub fn floor(self, floor: AddrRange) -> Result<Self, MappingError> {
        if floor.rounded(self.granule) != floor {
            return Err(MappingError::Misaligned { range: floor, granule: self.granule });
        }
        if !self.limit.covers(floor) {
            return Err(MappingError::Limit { range: floor, limit: self.limit });
        }
        Ok(Self { floor: Some(floor), ..self })
    }

    /// Never changes.
    #[cfg(feature = "serde")]
    pub(crate) const fn settled(self) -> Self {
        Self { floats: false, ..self }
    }

    /// Covers nothing when nothing goes through it.
    #[must_use]
    pub(crate) const fn without_floor(self) -> Self {
        Self { floor: None, ..self }
    }

    /// Adds `offset`, modulo 2^64, to each address.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the limit's output would wrap.
    pub fn offset(self, offset: u64) -> Result<Self, MappingError> {
        match self.limit.shifted(offset) {
            Some(_) => Ok(Self { offset, ..self }),
            None => Err(MappingError::Wraps { range: self.limit, offset }),
        }
    }

    /// Carries only prefetchable regions.
    #[must_use]
    pub const fn prefetchable(self) -> Self {
        Self { admits: Admits::Prefetchable, ..self }
    }

    /// Lets only these accesses through.
    #[must_use]
    pub const fn prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }

    /// Where it may be.
    pub const fn limit(&self) -> AddrRange {
        self.limit
    }

    /// The former name of [`Self::limit`].
    #[deprecated(note = "`limit`")]
    pub const fn limit_of(&self) -> AddrRange {
        self.limit()
    }

    /// What it covers when nothing goes through it.
    pub const fn floor_of(&self) -> Option<AddrRange> {
        self.floor
    }

    /// Its granule in bytes.
    pub const fn granule(&self) -> u64 {
        self.granule
    }

    /// The former name of [`Self::granule`].
    #[deprecated(note = "`granule`")]
    pub const fn granule_of(&self) -> u64 {
        self.granule()
    }

    /// What is added to an address, modulo 2^64.
    pub const fn offset_of(&self) -> u64 {
        self.offset
    }

    /// Which regions it may carry.
    pub const fn admits(&self) -> Admits {
        self.admits
    }

    /// The former name of [`Self::admits`].
    #[deprecated(note = "`admits`")]
    pub const fn admits_of(&self) -> Admits {
        self.admits()
    }

    /// What accesses it lets through.
    pub const fn prot_of(&self) -> Prot {
        self.prot
    }

    /// Whether it never changes.
    pub const fn is_fixed(&self) -> bool {
        !self.floats
    }

    /// Whether it may carry a region with these properties.
    pub fn carries(&self, props: Props) -> bool {
        self.admits == Admits::Anything || props.contains(Props::PREFETCH)
    }

    /// The window that undoes it: fixed, over all that it may ever put out.
    fn inverse(&self) -> Option<Self> {
        let limit = self.limit.shifted(self.offset)?;
        let back = 0u64.wrapping_sub(self.offset);
        Some(Self { limit, floor: Some(limit), granule: 1, offset: back, floats: false, ..*self })
    }
}

/// The windows of one direction of an interconnect.
///
/// # Invariants
/// Floors and fixed windows are disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    pieces: Vec<Window>,
    yields: bool,
    /// Of windows that yield: which they are, by address.
    by_address: Vec<u32>,
    /// Which they are, by where their outputs may start, each with the last address that it or one before may put out.
    by_output: Vec<(u32, u64)>,
}

impl Windows {
    /// Makes windows that claim their input.
    ///
    /// # Errors
    /// [`MappingError::Overlap`] if two of them overlap as they start out.
    pub fn new(pieces: impl IntoIterator<Item = Window>) -> Result<Self, MappingError> {
        let pieces: Vec<Window> = pieces.into_iter().collect();
        let mut floors: Vec<AddrRange> = pieces.iter().filter_map(Window::floor_of).collect();
        floors.sort_unstable_by_key(|floor| floor.start());
        for pair in floors.windows(2) {
            if pair[0].overlaps(pair[1]) {
                return Err(MappingError::Overlap(pair[0], pair[1]));
            }
        }
        Ok(Self { by_output: by_output(&pieces), pieces, yields: false, by_address: Vec::new() })
    }

    /// The same windows, which take only what the arena decodes in no other way.
    ///
    /// # Errors
    /// [`MappingError::Misaligned`] names a floating window: only fixed ones can yield.
    pub fn yielding(self) -> Result<Self, MappingError> {
        match self.pieces.iter().find(|w| !w.is_fixed()) {
            Some(w) => Err(MappingError::Misaligned { range: w.limit, granule: w.granule }),
            None => Ok(Self::yielding_all(self.pieces)),
        }
    }

    /// Windows that yield, all fixed.
    fn yielding_all(pieces: Vec<Window>) -> Self {
        let mut by_address: Vec<u32> = (0..).zip(&pieces).map(|(piece, _)| piece).collect();
        by_address.sort_unstable_by_key(|piece| pieces.get(*piece as usize).map(|w| w.limit.start()));
        Self { by_output: by_output(&pieces), pieces, yields: true, by_address }
    }

    /// The windows, in the order in which they were given.
    pub fn pieces(&self) -> &[Window] {
        &self.pieces
    }

    /// Whether they take only what nothing else in the arena decodes.
    pub const fn yields(&self) -> bool {
        self.yields
    }

    /// The same, but for one window, which must differ only in its floor.
    pub(crate) fn with_piece(&self, piece: u32, window: Window) -> Self {
        let mut new = self.clone();
        if let Some(old) = new.pieces.get_mut(piece as usize) {
            *old = window;
        }
        new
    }

    /// Whether both are the same, apart from floors.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let shape = |window: &Window| Window { floor: None, ..*window };
        self.yields == other.yields && self.pieces.iter().map(shape).eq(other.pieces.iter().map(shape))
    }

    /// Of windows that yield: the one that takes an address, and its number.
    pub(crate) fn piece_at(&self, addr: u64) -> Option<(u32, &Window)> {
        let after = self.by_address.partition_point(|piece| self.start(*piece).is_some_and(|s| s <= addr));
        let piece = *self.by_address.get(after.checked_sub(1)?)?;
        let window = self.pieces.get(piece as usize).filter(|w| w.limit.contains(addr))?;
        Some((piece, window))
    }

    /// Of windows that yield: those that take part of `range`, in order of address.
    pub(crate) fn pieces_in(&self, range: AddrRange) -> impl Iterator<Item = (u32, &Window)> {
        let ends =
            |piece: &u32| self.pieces.get(*piece as usize).is_none_or(|w| w.limit.last() < range.start());
        let first = self.by_address.partition_point(ends);
        let rest = self.by_address.get(first..).unwrap_or_default();
        rest.iter()
            .filter_map(|piece| Some((*piece, self.pieces.get(*piece as usize)?)))
            .take_while(move |(_, w)| w.limit.start() <= range.last())
    }

    /// Those that may put out part of `range`.
    pub(crate) fn pieces_onto(&self, range: AddrRange) -> impl Iterator<Item = (u32, &Window)> {
        let output = |piece: u32| {
            let window = self.pieces.get(piece as usize)?;
            Some((window, window.limit.shifted(window.offset)?))
        };
        let starts_by =
            |(piece, _): &(u32, u64)| output(*piece).is_none_or(|(_, o)| o.start() <= range.last());
        let count = self.by_output.partition_point(starts_by);
        let candidates = self.by_output.get(..count).unwrap_or_default().iter().rev();
        candidates.take_while(move |(_, last)| *last >= range.start()).filter_map(move |(piece, _)| {
            let (window, output) = output(*piece)?;
            output.overlaps(range).then_some((*piece, window))
        })
    }

    fn start(&self, piece: u32) -> Option<u64> {
        self.pieces.get(piece as usize).map(|w| w.limit.start())
    }

    /// The windows that undo them, which yield. Where two floating windows may lead to the same output, the first
    /// one's inverse has it.
    pub(super) fn inverse(&self) -> Self {
        let mut outputs: RangeInclusiveMap<u64, Window> = RangeInclusiveMap::new();
        for window in self.pieces.iter().rev().filter_map(Window::inverse) {
            // What counts is which one it was, not where it is cut.
            outputs.insert(window.limit.start()..=window.limit.last(), window);
        }
        let cut = |(range, window): (core::ops::RangeInclusive<u64>, Window)| {
            let limit = AddrRange::inclusive(*range.start(), *range.end()).ok()?;
            Some(Window { limit, floor: Some(limit), ..window })
        };
        Self::yielding_all(outputs.into_iter().filter_map(cut).collect())
    }
}

fn by_output(pieces: &[Window]) -> Vec<(u32, u64)> {
    let output = |(piece, window): (u32, &Window)| Some((piece, window.limit.shifted(window.offset)?));
    let mut all: Vec<(u32, AddrRange)> = (0..).zip(pieces).filter_map(output).collect();
    all.sort_unstable_by_key(|(_, output)| output.start());
    let mut farthest = 0;
    let last = |(piece, output): (u32, AddrRange)| {
        farthest = output.last().max(farthest);
        (piece, farthest)
    };
    all.into_iter().map(last).collect()
}
