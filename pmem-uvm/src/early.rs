//! Memory before there is a heap: a memory map of fixed size that hands out page frames and later becomes a [`Uvm`].

use crate::error::UvmError;
use crate::frame::{FRAMES, FrameRange};
use crate::page::PageWords;
use crate::segment::Plug;
use crate::settings::Settings;
use crate::uvm::Uvm;
use core::fmt;
use pmem_space::FirmwareMemory;

/// The kind of a range in a boot loader's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Memory that can be handed out.
    Usable,
    /// Memory that is there but taken: by firmware, the kernel's image, or a module.
    Reserved,
    /// Addresses that are not memory, or that nobody declares to be: devices, or what firmware keeps to itself. No
    /// pages are kept for them.
    NotMemory,
    /// Memory that does not work.
    Bad,
}

impl From<FirmwareMemory> for Kind {
    /// Interprets a type of a firmware memory map as it holds once boot services have ended. Boot services memory is
    /// usable then; all other memory that firmware keeps is reserved.
    fn from(kind: FirmwareMemory) -> Self {
        match kind {
            FirmwareMemory::Usable | FirmwareMemory::Boot => Self::Usable,
            FirmwareMemory::Unusable => Self::Bad,
            kind if kind.is_memory() => Self::Reserved,
            _ => Self::NotMemory,
        }
    }
}

/// The state of a range of the map. Where ranges overlap, the greater state wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Free,
    Used,
    Reserved,
    NotMemory,
    Bad,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
    state: State,
}

/// Why an operation on an early memory map failed. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EarlyError {
    /// The change would need more ranges than the map has room for.
    Full {
        /// The number of ranges that the map has room for.
        ranges: usize,
    },
    /// Part of the range has been handed out already.
    Overlap(FrameRange),
    /// The range is not entirely free memory.
    NotFree(FrameRange),
    /// The range was not entirely handed out.
    NotUsed(FrameRange),
    /// There is no free run of this many page frames that meets the request.
    NoFit {
        /// The number of page frames asked for.
        count: u64,
    },
    /// The host cannot reach the page frames in which pages were to be kept.
    Unreachable(FrameRange),
    /// The [`Uvm`] could not take over the memory.
    Uvm(UvmError),
}

impl fmt::Display for EarlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { ranges } => write!(f, "the memory map is full: it has room for {ranges} ranges"),
            Self::Overlap(range) => write!(f, "part of {range} is already allocated"),
            Self::NotFree(range) => write!(f, "{range} is not all free memory"),
            Self::NotUsed(range) => write!(f, "{range} is not entirely allocated"),
            Self::NoFit { count } => write!(f, "no free run of {count:#x} page frames"),
            Self::Unreachable(range) => write!(f, "the direct map does not reach {range}"),
            Self::Uvm(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for EarlyError {}

/// The host's way to reach physical memory, usually a mapping at a fixed offset.
pub trait DirectMap {
    /// Returns the memory of these page frames as an array of page records; `None` if it cannot be reached. From now
    /// on these page frames belong to the manager. The host must zero them and keep them reachable for good.
    fn pages(&mut self, frames: FrameRange) -> Option<&'static [PageWords]>;
}

/// A memory map of at most `N` ranges that needs no heap. A kernel hands page frames out of it until it has a
/// [`Uvm`].
///
/// # Examples
/// Load a boot loader's map, keep the kernel's image, and allocate 1 MiB aligned to its size:
///
/// ```
/// use pmem_uvm::{EarlyAllocator, FrameRange, Kind};
///
/// let mut early = EarlyAllocator::<16>::new();
/// early.plug([
///     (FrameRange::new(0x0, 0x9f)?, Kind::Usable),
///     (FrameRange::new(0x100, 0x7f00)?, Kind::Usable),
/// ])?;
/// early.reserve(FrameRange::new(0x100, 0x180)?)?;
/// let table = early.alloc_run(0x100, 0x100, 0x1000)?;
/// assert_eq!(table, FrameRange::new(0x300, 0x100)?);
/// assert_eq!(early.free_frames(), 0x9f + 0x7f00 - 0x180 - 0x100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EarlyAllocator<const N: usize> {
    /// In ascending order and disjoint. Adjacent spans differ in state.
    spans: [Span; N],
    len: usize,
}

impl<const N: usize> Default for EarlyAllocator<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> EarlyAllocator<N> {
    /// Makes an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { spans: [Span { start: 0, end: 0, state: State::Reserved }; N], len: 0 }
    }

    /// Adds a boot loader's map; the order does not matter. Ranges may overlap, as those of firmware do once they are
    /// rounded to whole pages. The worst kind wins then: bad, then not memory, then reserved.
    ///
    /// # Errors
    /// [`EarlyError::Full`]; [`EarlyError::Overlap`] for memory that was handed out. Nothing is added then.
    pub fn plug(&mut self, map: impl IntoIterator<Item = (FrameRange, Kind)>) -> Result<(), EarlyError> {
        let mut new = self.clone();
        for (range, kind) in map {
            let state = match kind {
                Kind::Usable => State::Free,
                Kind::Reserved => State::Reserved,
                Kind::NotMemory => State::NotMemory,
                Kind::Bad => State::Bad,
            };
            let mut from = range.start();
            while from < range.end() {
                from = new.lay(from, range, state)?;
            }
        }
        *self = new;
        Ok(())
    }

    /// Lays `state` over the part of `range` from `from` on that has one state so far, or none. Returns where that
    /// part ends.
    fn lay(&mut self, from: u64, range: FrameRange, state: State) -> Result<u64, EarlyError> {
        let next = self.spans().iter().find(|span| span.end > from).copied();
        match next.filter(|span| span.start <= from) {
            Some(Span { state: State::Used, .. }) => Err(EarlyError::Overlap(range)),
            Some(there) => {
                let end = there.end.min(range.end());
                if let Some(part) = FrameRange::between(from, end).filter(|_| state > there.state) {
                    self.change(part, there.state, state, EarlyError::Overlap(part))?;
                }
                Ok(end)
            }
            None => {
                let end = next.map_or(range.end(), |next| next.start.min(range.end()));
                self.insert(Span { start: from, end, state })?;
                Ok(end)
            }
        }
    }

    /// Reserves free memory for somebody else.
    ///
    /// # Errors
    /// [`EarlyError::NotFree`], [`EarlyError::Full`].
    pub fn reserve(&mut self, range: FrameRange) -> Result<(), EarlyError> {
        self.change(range, State::Free, State::Reserved, EarlyError::NotFree(range))
    }

    /// Hands out the lowest free page frame.
    ///
    /// # Errors
    /// [`EarlyError::NoFit`] if none is free; [`EarlyError::Full`] if one is, but the map has no room to record that
    /// it is taken.
    pub fn alloc(&mut self) -> Result<u64, EarlyError> {
        self.alloc_run(1, 1, FRAMES).map(FrameRange::start)
    }

    /// Hands out the lowest `count` consecutive page frames that start at a multiple of `align` and all lie below
    /// `limit`. All three are in page frames.
    ///
    /// # Errors
    /// [`EarlyError::NoFit`], also if `count` is 0 or `align` is not a power of two; [`EarlyError::Full`].
    pub fn alloc_run(&mut self, count: u64, align: u64, limit: u64) -> Result<FrameRange, EarlyError> {
        let none = EarlyError::NoFit { count };
        if count == 0 || !align.is_power_of_two() {
            return Err(none);
        }
        let place = |span: &Span| {
            let start = span.start.checked_next_multiple_of(align)?;
            let end = start.checked_add(count)?;
            if span.state == State::Free && end <= span.end.min(limit) {
                FrameRange::between(start, end)
            } else {
                None
            }
        };
        let run = self.spans().iter().find_map(place).ok_or(none)?;
        self.change(run, State::Free, State::Used, EarlyError::NotFree(run))?;
        Ok(run)
    }

    /// Takes back what was handed out, or part of it.
    ///
    /// # Errors
    /// [`EarlyError::NotUsed`], [`EarlyError::Full`].
    pub fn free(&mut self, range: FrameRange) -> Result<(), EarlyError> {
        self.change(range, State::Used, State::Free, EarlyError::NotUsed(range))
    }

    /// The number of free page frames.
    #[must_use]
    pub fn free_frames(&self) -> u64 {
        self.spans().iter().filter(|span| span.state == State::Free).map(|span| span.end - span.start).sum()
    }

    /// Turns the map into a [`Uvm`] on node 0 and free list 0, and leaves nothing here: what the [`Uvm`] has must not
    /// be handed out twice.
    ///
    /// Each stretch of memory becomes a segment. What was handed out becomes allocated pages, reserved memory stays
    /// reserved, and bad memory is retired. No pages are kept for a stretch that is entirely reserved, nor for a
    /// reserved range at either end of a stretch that is larger than everything in the stretch that is not reserved.
    /// The page records lie in memory cut from the map. Segments and the index of free pages, about one bit a page,
    /// come from the heap.
    ///
    /// # Errors
    /// [`EarlyError::NoFit`] if no stretch has room for the page records; [`EarlyError::Full`] if the map has no room
    /// to record where they are; [`EarlyError::Unreachable`] if the host cannot reach that memory;
    /// [`EarlyError::Uvm`] if the heap has no memory for the segments. The map is unchanged then. If you try again,
    /// the host is asked for page records again.
    ///
    /// # Examples
    /// ```
    /// use pmem_uvm::{DirectMap, EarlyAllocator, FrameRange, Kind, PageState, PageWords, Settings};
    ///
    /// /// A kernel returns the page frames through its direct map; a test makes memory up.
    /// struct Heap;
    ///
    /// impl DirectMap for Heap {
    ///     fn pages(&mut self, frames: FrameRange) -> Option<&'static [PageWords]> {
    ///         let entries = frames.count() * 4096 / size_of::<PageWords>() as u64;
    ///         Some(Box::leak((0..entries).map(|_| PageWords::default()).collect()))
    ///     }
    /// }
    ///
    /// let mut early = EarlyAllocator::<16>::new();
    /// early.plug([(FrameRange::new(0x100, 0x1000)?, Kind::Usable)])?;
    /// let table = early.alloc()?;
    /// let uvm = early.promote(Settings::default(), &mut Heap)?;
    /// assert_eq!(uvm.page(table).map(|page| page.state()), Some(PageState::Allocated));
    /// // 24 bytes for each of 0x1000 pages.
    /// assert_eq!((uvm.uvmexp().reserved, early.free_frames()), (24, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn promote(&mut self, settings: Settings, direct: &mut dyn DirectMap) -> Result<Uvm, EarlyError> {
        let uvm = self.clone().into_uvm(settings, direct)?;
        *self = Self::new();
        Ok(uvm)
    }

    fn into_uvm(mut self, settings: Settings, direct: &mut dyn DirectMap) -> Result<Uvm, EarlyError> {
        let mut uvm = Uvm::new(settings);
        let mut from = 0;
        while let Some(stretch) = self.stretch_after(from) {
            let bytes = stretch.count() * size_of::<PageWords>() as u64;
            let home = self.alloc_run(bytes.div_ceil(1 << settings.pageshift()), 1, FRAMES)?;
            self.change(home, State::Used, State::Reserved, EarlyError::NotUsed(home))?;
            let pages = direct.pages(home).ok_or(EarlyError::Unreachable(home))?;
            uvm.plug_with(&Plug::new(stretch).avail(None), pages).map_err(EarlyError::Uvm)?;
            from = stretch.end();
        }
        // Page records were cut out of free memory until now, so only here is it known what is left.
        for span in self.spans() {
            let Some(range) = FrameRange::between(span.start, span.end) else { continue };
            match span.state {
                State::Free => uvm.free_reserved(range),
                State::Used => uvm.adopt(range),
                State::Bad => uvm.retire(range),
                State::Reserved | State::NotMemory => Ok(()),
            }
            .map_err(EarlyError::Uvm)?;
        }
        Ok(uvm)
    }

    /// Returns the first stretch of memory without holes, at or above `from`, that is not entirely reserved. A
    /// reserved range at either end is cut off if it is larger than everything that is not reserved.
    fn stretch_after(&self, from: u64) -> Option<FrameRange> {
        let is_memory = |span: &&Span| span.state != State::NotMemory;
        let mut rest = self.spans();
        loop {
            let first = rest.iter().position(|span| span.start >= from && is_memory(&span))?;
            rest = rest.get(first..)?;
            let joins = |pair: &&[Span]| pair[0].end == pair[1].start && is_memory(&&pair[1]);
            let count = 1 + rest.windows(2).take_while(joins).count();
            let (mut spans, after) = rest.split_at_checked(count)?;
            let frames = |span: &Span| span.end - span.start;
            let used: u64 = spans.iter().filter(|span| span.state != State::Reserved).map(frames).sum();
            let too_much = |span: &Span| span.state == State::Reserved && frames(span) > used;
            while let [first, others @ ..] = spans
                && too_much(first)
            {
                spans = others;
            }
            while let [others @ .., last] = spans
                && too_much(last)
            {
                spans = others;
            }
            if let ([first, ..], [.., last]) = (spans, spans)
                && used > 0
            {
                return FrameRange::between(first.start, last.end);
            }
            rest = after;
        }
    }

    fn spans(&self) -> &[Span] {
        self.spans.get(..self.len).unwrap_or(&[])
    }

    /// Changes the state of a range that is entirely in the state `from`.
    fn change(
        &mut self,
        range: FrameRange,
        from: State,
        to: State,
        error: EarlyError,
    ) -> Result<(), EarlyError> {
        let covers =
            |span: &Span| span.state == from && span.start <= range.start() && range.end() <= span.end;
        let at = self.spans().iter().position(covers).ok_or(error)?;
        let mut new = self.clone();
        let old = new.remove(at);
        for rest in [(old.start, range.start()), (range.end(), old.end)] {
            if rest.0 < rest.1 {
                new.insert(Span { start: rest.0, end: rest.1, state: from })?;
            }
        }
        new.insert(Span { start: range.start(), end: range.end(), state: to })?;
        *self = new;
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Span {
        let span = self.spans[at];
        self.spans.copy_within(at + 1..self.len, at);
        self.len -= 1;
        span
    }

    /// Inserts a span that overlaps no other, and joins it with neighbours in the same state.
    fn insert(&mut self, mut span: Span) -> Result<(), EarlyError> {
        let mut at = self.spans().partition_point(|other| other.start < span.start);
        if at < self.len && self.spans[at].start == span.end && self.spans[at].state == span.state {
            span.end = self.remove(at).end;
        }
        if at > 0 && self.spans[at - 1].end == span.start && self.spans[at - 1].state == span.state {
            at -= 1;
            span.start = self.remove(at).start;
        }
        if self.len == N {
            return Err(EarlyError::Full { ranges: N });
        }
        self.spans.copy_within(at..self.len, at + 1);
        self.spans[at] = span;
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageState;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    fn range(start: u64, count: u64) -> FrameRange {
        FrameRange::new(start, count).unwrap()
    }

    /// Memory that stands for what is reached at a fixed distance.
    struct Leak;

    impl DirectMap for Leak {
        fn pages(&mut self, frames: FrameRange) -> Option<&'static [PageWords]> {
            let entries = (frames.count() << 12) / size_of::<PageWords>() as u64;
            Some(Box::leak((0..entries).map(|_| PageWords::default()).collect()))
        }
    }

    proptest! {
            #[test]
        fn the_worst_of_what_is_said_holds(
            map in proptest::collection::vec((0u64..60, 1u64..40, 0u8..4), 1..8),
        ) {
            let mut early = EarlyAllocator::<64>::new();
            let kinds = [Kind::Usable, Kind::Reserved, Kind::NotMemory, Kind::Bad];
            let ranges = map.iter().map(|(start, count, kind)| (range(*start, *count), kinds[usize::from(*kind)]));
            early.plug(ranges).unwrap();
            let states = [State::Free, State::Reserved, State::NotMemory, State::Bad];
            for frame in 0..100 {
                let said = map.iter().filter(|(start, count, _)| (*start..start + count).contains(&frame));
                let worst = said.map(|(.., kind)| states[usize::from(*kind)]).max();
                let found = early.spans().iter().find(|span| (span.start..span.end).contains(&frame));
                prop_assert_eq!(found.map(|span| span.state), worst);
            }
        }
    }

    #[test]
    fn it_is_made_at_compile_time() {
        static EARLY: EarlyAllocator<4> = EarlyAllocator::new();
        assert_eq!(EARLY.free_frames(), 0);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut early = EarlyAllocator::<3>::new();
        early.plug([(range(0, 100), Kind::Usable)]).unwrap();
        assert_eq!(early.alloc(), Ok(0));
        assert_eq!(
            early.plug([(range(200, 1), Kind::Bad), (range(0, 2), Kind::Bad)]),
            Err(EarlyError::Overlap(range(0, 2)))
        );
        early.free(range(0, 1)).unwrap();
        early.reserve(range(50, 10)).unwrap();
        assert_eq!(early.reserve(range(20, 1)), Err(EarlyError::Full { ranges: 3 }));
        assert_eq!(early.reserve(range(49, 2)), Err(EarlyError::NotFree(range(49, 2))));
        assert_eq!(early.free_frames(), 90);
        assert_eq!(early.alloc_run(60, 1, FRAMES), Err(EarlyError::NoFit { count: 60 }));
        // The lowest page joins no neighbour; there is no room for one range more.
        assert_eq!(early.alloc(), Err(EarlyError::Full { ranges: 3 }));
    }

    /// A PC with 128 MiB: the holes of HyperTransport and of the configuration space are reserved, and would take more pages than there are.
    #[test]
    fn pages_are_kept_of_memory_alone() {
        struct Count(u64);
        impl DirectMap for Count {
            fn pages(&mut self, frames: FrameRange) -> Option<&'static [PageWords]> {
                self.0 += frames.count();
                Leak.pages(frames)
            }
        }
        let frames = |start: u64, end: u64| FrameRange::between(start >> 12, end >> 12).unwrap();
        for beyond in [Kind::Reserved, Kind::NotMemory] {
            let mut early = EarlyAllocator::<32>::new();
            let map = [
                (frames(0, 0x9f000), Kind::Usable),
                (frames(0x9f000, 0xa0000), Kind::Reserved),
                (frames(0x10_0000, 0x7fe_0000), Kind::Usable),
                (frames(0x7fe_0000, 0x800_0000), Kind::Reserved),
                (frames(0x800_0000, 0x1800_0000), beyond),
                (frames(0xb000_0000, 0xc000_0000), beyond),
                (frames(0xfd_0000_0000, 0x100_0000_0000), beyond),
            ];
            early.plug(map).unwrap();
            let free = early.free_frames();
            let mut direct = Count(0);
            let uvm = early.promote(Settings::default(), &mut direct).unwrap();
            let reserved = if beyond == Kind::Reserved { 1 } else { 1 + 0x20 };
            assert_eq!(uvm.uvmexp().reserved, reserved + direct.0, "{beyond:?}");
            assert_eq!((uvm.nsegments(), uvm.uvmexp().npages), (2, free - direct.0), "{beyond:?}");
            assert!(direct.0 < 200, "{} page frames for pages", direct.0);
        }
    }

    #[test]
    fn what_was_handed_out_survives() {
        let mut early = EarlyAllocator::<32>::new();
        let map = [
            (0x10, 0x90, Kind::Usable),
            (0x100, 0x8000, Kind::Usable),
            (0x8100, 0x10, Kind::Bad),
            (0x10_0000, 0x2000, Kind::Usable),
        ];
        early.plug(map.map(|(start, count, kind)| (range(start, count), kind))).unwrap();
        early.reserve(range(0x100, 0x400)).unwrap();
        let one = early.alloc().unwrap();
        let low = early.alloc_run(16, 16, 0x1000).unwrap();
        let high = early.alloc_run(0x1000, 0x1000, FRAMES).unwrap();
        assert_eq!((one, low, high), (0x10, range(0x20, 16), range(0x1000, 0x1000)));
        let total = early.free_frames();
        let mut uvm = early.promote(Settings::default(), &mut Leak).unwrap();
        let counters = uvm.uvmexp();
        let taken = [0x90u64, 0x8010, 0x2000].map(|pages| (pages * 24).div_ceil(4096)).iter().sum::<u64>();
        assert_eq!(counters.free, total - taken);
        assert_eq!(counters.physmem, 0x90 + 0x8010 + 0x2000);
        assert_eq!(counters.npages, counters.free + 1 + 16 + 0x1000);
        assert_eq!(counters.retired, 0x10);
        for frame in low.frames().chain(high.frames()).chain([one]) {
            assert_eq!(uvm.page(frame).unwrap().state(), PageState::Allocated);
            uvm.pagefree(frame).unwrap();
        }
        assert_eq!(uvm.uvmexp().free, uvm.uvmexp().npages);
        assert_eq!(uvm.nsegments(), 3);
        uvm.unplug(range(0x10_0000, 0x2000)).unwrap();
        assert_eq!(uvm.uvmexp().physmem, 0x90 + 0x8010);
        assert_eq!(early.alloc(), Err(EarlyError::NoFit { count: 1 }), "nothing is left");
    }

    #[test]
    fn what_cannot_become_pages_stays() {
        struct Nowhere;
        impl DirectMap for Nowhere {
            fn pages(&mut self, _: FrameRange) -> Option<&'static [PageWords]> {
                None
            }
        }
        let mut early = EarlyAllocator::<4>::new();
        early.plug([(range(16, 0x1000), Kind::Usable)]).unwrap();
        let refused = early.promote(Settings::default(), &mut Nowhere).unwrap_err();
        assert!(matches!(refused, EarlyError::Unreachable(_)), "{refused}");
        assert_eq!((early.free_frames(), early.alloc()), (0x1000, Ok(16)));
    }

    proptest! {
        #[test]
        fn agrees_with_one_entry_a_frame(
            steps in proptest::collection::vec((0u8..4, 0u64..200, 1u64..30, 0u32..5), 1..40),
        ) {
            let mut early = EarlyAllocator::<24>::new();
            let mut oracle: BTreeMap<u64, State> = BTreeMap::new();
            for (what, start, count, align) in steps {
                let at = range(start, count);
                let all = |state| (start..start + count).all(|frame| oracle.get(&frame) == Some(&state));
                let (done, may, new) = match what {
                    0 => {
                        let used = (start..start + count).any(|f| oracle.get(&f) == Some(&State::Used));
                        (early.plug([(at, Kind::Usable)]), !used, State::Free)
                    }
                    1 => (early.reserve(at), all(State::Free), State::Reserved),
                    2 => (early.free(at), all(State::Used), State::Free),
                    _ => {
                        let align = 1 << align;
                        let fits = |s: &u64| (*s..s + count).all(|f| oracle.get(&f) == Some(&State::Free));
                        let lowest = (0..240).step_by(align).find(|s| fits(s));
                        let got = early.alloc_run(count, align as u64, FRAMES);
                        if got != Err(EarlyError::Full { ranges: 24 }) {
                            prop_assert_eq!(got.ok().map(FrameRange::start), lowest);
                            if let Ok(run) = got {
                                oracle.extend(run.frames().map(|frame| (frame, State::Used)));
                            }
                        }
                        continue;
                    }
                };
                if done != Err(EarlyError::Full { ranges: 24 }) {
                    prop_assert_eq!(done.is_ok(), may);
                    for frame in at.frames().filter(|_| may) {
                        let there = oracle.entry(frame).or_insert(new);
                        // What is said again is no better than before.
                        *there = if what == 0 { *there } else { new };
                    }
                }
                let flat: Vec<(u64, State)> =
                    early.spans().iter().flat_map(|s| (s.start..s.end).map(|f| (f, s.state))).collect();
                prop_assert_eq!(flat, oracle.iter().map(|(f, s)| (*f, *s)).collect::<Vec<_>>());
                prop_assert!(early.spans().windows(2).all(|p| p[0].end < p[1].start || p[0].state != p[1].state));
            }
        }
    }
}
