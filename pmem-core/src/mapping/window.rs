//! Windows: ranges that an interconnect passes on with an offset.

use super::MappingError;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Props, Prot};
use rangemap::RangeInclusiveMap;

/// Which regions a window carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Admits {
    /// Every region.
    #[default]
    Anything,
    /// Only prefetchable regions, like a PCI bridge's prefetchable window.
    Prefetchable,
}

/// A range that an interconnect passes on, with an offset.
///
/// A *fixed* window never changes. A *floating* window covers the hull of its floor and of the aliases that go
/// through it, rounded out to its granule: exactly what a bridge's base and limit registers can express.
///
/// # Examples
/// A PCI bridge's memory window floats below 4 GiB in steps of 1 MiB:
/// ```
/// use pmem_core::{AddrRange, Window};
///
/// let window = Window::floating(AddrRange::new(0x8000_0000, 0x1_0000_0000)?, 0x10_0000)?;
/// assert_eq!(window.floor_of(), None, "closed until something goes through it");
/// assert!(!window.is_fixed());
///
/// // Firmware left the window open over 2 MiB: keep it open even when nothing needs it.
/// let window = window.floor(AddrRange::new(0xfe00_0000, 0xfe20_0000)?)?;
/// assert!(window.floor(AddrRange::new(0xfe00_0000, 0xfe00_8000)?).is_err(), "not a multiple of 1 MiB");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The addresses the window may cover, in its input arena.
    limit: AddrRange,
    /// The addresses the window covers even when nothing goes through it. A fixed window's floor is its limit.
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
    /// Returns a window over `input` that never changes. Its output starts at `output`.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the output would end past 2^64.
    pub fn fixed(input: AddrRange, output: u64) -> Result<Self, MappingError> {
        let floating = Self::floating(input, 1)?.offset(output.wrapping_sub(input.start()))?;
        Ok(Self { floor: Some(input), floats: false, ..floating })
    }

    /// Returns a closed window that may open anywhere in `limit`, in steps of `granule` bytes. Its offset is 0.
    ///
    /// # Errors
    /// [`MappingError`] if `granule` is not a power of two, or `limit` is not a multiple of it.
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

    /// Keeps the window open over `floor` even when nothing goes through it.
    ///
    /// # Errors
    /// [`MappingError`] if `floor` leaves the limit or is not a multiple of the granule.
    pub fn floor(self, floor: AddrRange) -> Result<Self, MappingError> {
        if floor.rounded(self.granule) != floor {
            return Err(MappingError::Misaligned { range: floor, granule: self.granule });
        }
        if !self.limit.covers(floor) {
            return Err(MappingError::Limit { range: floor, limit: self.limit });
        }
        Ok(Self { floor: Some(floor), ..self })
    }

    /// Makes the window fixed.
    #[cfg(feature = "serde")]
    pub(crate) const fn settled(self) -> Self {
        Self { floats: false, ..self }
    }

    /// Lets the window close when nothing goes through it.
    #[must_use]
    pub(crate) const fn without_floor(self) -> Self {
        Self { floor: None, ..self }
    }

    /// Sets the offset, which is added to each address modulo 2^64.
    ///
    /// # Errors
    /// [`MappingError::Wraps`] if the limit's output would wrap.
    pub fn offset(self, offset: u64) -> Result<Self, MappingError> {
        match self.limit.shifted(offset) {
            Some(_) => Ok(Self { offset, ..self }),
            None => Err(MappingError::Wraps { range: self.limit, offset }),
        }
    }

    /// Restricts the window to prefetchable regions.
    #[must_use]
    pub const fn prefetchable(self) -> Self {
        Self { admits: Admits::Prefetchable, ..self }
    }

    /// Restricts the accesses that the window lets through to `prot`.
    #[must_use]
    pub const fn prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }

    /// Returns the addresses that the window may cover.
    #[must_use]
    pub const fn limit(&self) -> AddrRange {
        self.limit
    }

    /// The former name of [`Self::limit`].
    #[deprecated(note = "`limit`")]
    #[must_use]
    pub const fn limit_of(&self) -> AddrRange {
        self.limit()
    }

    /// Returns the addresses that the window covers when nothing goes through it; `None` if it closes then.
    #[must_use]
    pub const fn floor_of(&self) -> Option<AddrRange> {
        self.floor
    }

    /// Returns the granule, in bytes.
    #[must_use]
    pub const fn granule(&self) -> u64 {
        self.granule
    }

    /// The former name of [`Self::granule`].
    #[deprecated(note = "`granule`")]
    #[must_use]
    pub const fn granule_of(&self) -> u64 {
        self.granule()
    }

    /// Returns the offset, which is added to each address modulo 2^64.
    #[must_use]
    pub const fn offset_of(&self) -> u64 {
        self.offset
    }

    /// Returns which regions the window carries.
    #[must_use]
    pub const fn admits(&self) -> Admits {
        self.admits
    }

    /// The former name of [`Self::admits`].
    #[deprecated(note = "`admits`")]
    #[must_use]
    pub const fn admits_of(&self) -> Admits {
        self.admits()
    }

    /// Returns the accesses that the window lets through.
    #[must_use]
    pub const fn prot_of(&self) -> Prot {
        self.prot
    }

    /// Whether the window never changes.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        !self.floats
    }

    /// Whether the window may carry a region with these properties.
    #[must_use]
    pub fn carries(&self, props: Props) -> bool {
        self.admits == Admits::Anything || props.contains(Props::PREFETCH)
    }

    /// Returns the window that leads back: fixed, over everything that this one can ever put out.
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
///
/// # Examples
/// A PCI-to-PCI bridge has one window for memory and one for prefetchable memory:
/// ```
/// use pmem_core::{AddrRange, Mapping, MappingError, Window, Windows};
///
/// let below_4g = AddrRange::new(0x8000_0000, 0x1_0000_0000)?;
/// let memory = Window::floating(below_4g, 0x10_0000)?;
/// let prefetchable = Window::floating(below_4g, 0x10_0000)?.prefetchable();
/// let windows = Windows::new([memory, prefetchable])?;
/// assert_eq!(windows.pieces().len(), 2);
/// assert!(!windows.yields());
///
/// // Only fixed windows can decode subtractively.
/// assert!(matches!(windows.clone().yielding(), Err(MappingError::Floating(limit)) if limit == below_4g));
/// let mapping = Mapping::Windows(windows);
/// assert!(!mapping.is_closed(), "closed windows can still open");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    pieces: Vec<Window>,
    yields: bool,
    /// For windows that yield: their indices in order of address.
    by_address: Vec<u32>,
    /// Indices in order of possible output, each with the highest output address of it and all before it.
    by_output: Vec<(u32, u64)>,
}

impl Windows {
    /// Returns windows that claim their input.
    ///
    /// # Errors
    /// [`MappingError::Overlap`] if two floors or fixed windows overlap.
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

    /// Turns these into windows that yield: they take only what nothing else in the arena decodes.
    ///
    /// # Errors
    /// [`MappingError::Floating`] names the limit of a window that is not fixed.
    pub fn yielding(self) -> Result<Self, MappingError> {
        match self.pieces.iter().find(|w| !w.is_fixed()) {
            Some(w) => Err(MappingError::Floating(w.limit)),
            None => Ok(Self::yielding_all(self.pieces)),
        }
    }

    /// Returns windows that yield; all must be fixed.
    fn yielding_all(pieces: Vec<Window>) -> Self {
        let mut by_address: Vec<u32> = (0..).zip(&pieces).map(|(piece, _)| piece).collect();
        by_address.sort_unstable_by_key(|piece| pieces.get(*piece as usize).map(|w| w.limit.start()));
        Self { by_output: by_output(&pieces), pieces, yields: true, by_address }
    }

    /// Returns the windows in the order in which they were given.
    #[must_use]
    pub fn pieces(&self) -> &[Window] {
        &self.pieces
    }

    /// Whether the windows take only what nothing else in the arena decodes.
    #[must_use]
    pub const fn yields(&self) -> bool {
        self.yields
    }

    /// Returns a copy with one window replaced. The new window may differ from the old only in its floor.
    pub(crate) fn with_piece(&self, piece: u32, window: Window) -> Self {
        let mut new = self.clone();
        if let Some(old) = new.pieces.get_mut(piece as usize) {
            *old = window;
        }
        new
    }

    /// Whether both are equal apart from floors.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let shape = |window: &Window| Window { floor: None, ..*window };
        self.yields == other.yields && self.pieces.iter().map(shape).eq(other.pieces.iter().map(shape))
    }

    /// For windows that yield: returns the window that takes `addr`, and its index.
    pub(crate) fn piece_at(&self, addr: u64) -> Option<(u32, &Window)> {
        let after = self.by_address.partition_point(|piece| self.start(*piece).is_some_and(|s| s <= addr));
        let piece = *self.by_address.get(after.checked_sub(1)?)?;
        let window = self.pieces.get(piece as usize).filter(|w| w.limit.contains(addr))?;
        Some((piece, window))
    }

    /// For windows that yield: returns those that take part of `range`, in order of address.
    pub(crate) fn pieces_in(&self, range: AddrRange) -> impl Iterator<Item = (u32, &Window)> {
        let ends =
            |piece: &u32| self.pieces.get(*piece as usize).is_none_or(|w| w.limit.last() < range.start());
        let first = self.by_address.partition_point(ends);
        let rest = self.by_address.get(first..).unwrap_or_default();
        rest.iter()
            .filter_map(|piece| Some((*piece, self.pieces.get(*piece as usize)?)))
            .take_while(move |(_, w)| w.limit.start() <= range.last())
    }

    /// Returns the windows that may put out part of `range`.
    pub(crate) fn pieces_onto(&self, range: AddrRange) -> impl Iterator<Item = (u32, &Window)> {
        let output = |piece: u32| {
            let window = self.pieces.get(piece as usize)?;
            Some((window, window.limit.shifted(window.offset)?))
        };
        let starts_by =
            |(piece, _): &(u32, u64)| output(*piece).is_none_or(|(_, o)| o.start() <= range.last());
        let count = self.by_output.partition_point(starts_by);
        let candidates = self.by_output.get(..count).unwrap_or_default().iter().rev();
        // From the highest output start down. Once the running maximum is below `range`, no earlier output can reach
        // it.
        candidates.take_while(move |(_, last)| *last >= range.start()).filter_map(move |(piece, _)| {
            let (window, output) = output(*piece)?;
            output.overlaps(range).then_some((*piece, window))
        })
    }

    fn start(&self, piece: u32) -> Option<u64> {
        self.pieces.get(piece as usize).map(|w| w.limit.start())
    }

    /// Returns the windows that lead back; they yield. Where two floating windows can lead to the same output, the
    /// inverse of the first one has it.
    pub(super) fn inverse(&self) -> Self {
        let mut outputs: RangeInclusiveMap<u64, Window> = RangeInclusiveMap::new();
        for window in self.pieces.iter().rev().filter_map(Window::inverse) {
            // Inserted last to first, so that an earlier window overwrites a later one. The range kept here is cut
            // below.
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
