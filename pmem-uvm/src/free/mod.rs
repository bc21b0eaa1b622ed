//! The free map: finds a single free page in a few steps and a run of free pages in logarithmic time.

mod inner;
mod leaf;
mod walk;

use crate::frame::FrameRange;
use alloc::vec::Vec;
use inner::{Inner, LEVELS, NONE, bits_of};
use leaf::{LEAF_BITS, Leaf, Summary, leaf_frames, length};
use pmem_space::Fit;

/// The free pages among the page frames that it holds: a radix tree over page frame numbers with bitmaps as leaves.
///
/// Page frames are *held* before they can be given to the map. Only [`Self::hold`] and [`Self::let_go`] allocate or
/// free memory.
///
/// Whether a subtree has a free page, and whether it is all free, is exact at every moment. So both ends of a run are
/// found in as many steps as there are levels. Two more facts are upper bounds: the longest run in a subtree and its
/// largest naturally aligned block. Giving pages raises the bounds at once. Taking pages leaves them, and a search
/// that finds less than they promise lowers them.
///
/// Each page that is taken makes at most one leaf promise too much, and each search that is misled corrects it. So
/// searching takes amortised logarithmic time where the length of the run decides. The bounds do not say where runs
/// lie relative to an alignment larger than their length, nor how long a run is that covers a whole leaf. A search
/// examines each leaf that only these rule out, at some nanoseconds apiece.
#[derive(Clone, Debug)]
pub(crate) struct FreeMap {
    leaves: Nodes<Leaf>,
    inners: Nodes<Inner>,
    /// The index of a leaf if `height` is 0, else of an inner node.
    root: u32,
    height: usize,
    /// The number of page frames held.
    held: u64,
    free: u64,
    zeroed: u64,
    /// Whether pages are asked for by colour. Only then does the map keep track of the colours that are free.
    coloured: bool,
}

/// Nodes by index. Unused ones are kept for later.
#[derive(Clone, Debug)]
struct Nodes<T> {
    all: Vec<T>,
    unused: Vec<u32>,
}

impl<T> Nodes<T> {
    fn add(&mut self, node: T) -> u32 {
        if let Some(at) = self.unused.pop() {
            self.all[at as usize] = node;
            return at;
        }
        self.all.push(node);
        // Room for all nodes to become unused, so that letting go never allocates.
        self.unused.reserve(self.all.len());
        self.all.len() as u32 - 1
    }

    /// Makes room for `more` nodes and returns whether there is memory for it.
    fn make_room(&mut self, more: usize) -> bool {
        let unused = self.all.len() + more - self.unused.len();
        room(&mut self.all, more) && room(&mut self.unused, unused)
    }
}

/// Makes room in a vector, as it grows by itself, or exactly enough if there is no memory for that. Returns whether
/// there is memory.
pub(crate) fn room<T>(all: &mut Vec<T>, more: usize) -> bool {
    all.try_reserve(more).or_else(|_| all.try_reserve_exact(more)).is_ok()
}

/// What a search needs.
struct Need<'f> {
    fit: &'f Fit,
    /// The length in pages of the place: shorter runs are of no use.
    longest: u32,
    /// The order plus one of the naturally aligned block that every place starts with.
    order: u8,
}

impl Need<'_> {
    fn of(fit: &Fit) -> Need<'_> {
        let longest = length(fit.len());
        // A place starts at a multiple of `align` and is `len` long. So the largest power of two that is no more than
        // either gives a block at its start that is naturally aligned and all free.
        let order = fit.align_of().trailing_zeros().min(fit.len().ilog2()) as u8;
        Need { fit, longest, order: order + 1 }
    }

    /// Whether a place can start in a subtree of 2^`bits` page frames with this summary.
    fn may_be_in(&self, summary: Summary, bits: u32) -> bool {
        // A block larger than the subtree covers it whole, and then its summary says that it is all free.
        summary.longest >= self.longest && summary.order >= self.order.min(bits as u8 + 1)
    }
}

impl FreeMap {
    pub(crate) const fn new(coloured: bool) -> Self {
        Self {
            leaves: Nodes { all: Vec::new(), unused: Vec::new() },
            inners: Nodes { all: Vec::new(), unused: Vec::new() },
            root: NONE,
            height: 0,
            held: 0,
            free: 0,
            zeroed: 0,
            coloured,
        }
    }

    /// The number of page frames held.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The number of free pages.
    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    /// The number of free pages that are known to be zeroed.
    pub(crate) fn zeroed(&self) -> u64 {
        self.zeroed
    }

    /// The size of the map in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.all.capacity() * size_of::<Leaf>()
            + self.inners.all.capacity() * size_of::<Inner>()
            + (self.leaves.unused.capacity() + self.inners.unused.capacity()) * size_of::<u32>()
    }

    /// Allocates the memory that [`Self::hold`] needs for a range; returns whether there is enough.
    pub(crate) fn make_room(&mut self, range: FrameRange) -> bool {
        let last = range.end() - 1;
        let needed = (0..LEVELS).find(|height| last >> bits_of(*height) == 0).unwrap_or(LEVELS);
        let height = needed.max(self.height);
        let nodes = |height: usize| (last >> bits_of(height)) - (range.start() >> bits_of(height)) + 1;
        let inners: u64 = (1..=height).map(nodes).sum();
        // The root rises step by step over what is there, or over a leaf at page frame 0 if nothing is.
        let spine = height - self.height;
        self.leaves.make_room(nodes(0) as usize + 1) && self.inners.make_room(inners as usize + spine)
    }

    /// Makes room for page frames, none of which is free yet. Allocates memory.
    pub(crate) fn hold(&mut self, range: FrameRange) {
        // Allocate exactly enough at once. If there is no memory, the growth below fails and reports it.
        self.make_room(range);
        while self.root == NONE || (range.end() - 1) >> self.bits() != 0 {
            self.rise();
        }
        for (base, part) in leaves_of(range) {
            let leaf = self.leaf_at(base);
            self.leaves.all[leaf as usize].held += part.count() as u32;
        }
        self.held += range.count();
    }

    /// Gives up page frames, none of which is free any more. Their nodes are kept for later use, and freed once
    /// nothing is held.
    pub(crate) fn let_go(&mut self, range: FrameRange) {
        for (base, part) in leaves_of(range) {
            let Some(leaf) = self.path(base).map(|path| path.leaf) else { continue };
            let node = &mut self.leaves.all[leaf as usize];
            node.held -= part.count() as u32;
            if node.held == 0 {
                debug_assert!(node.is_empty(), "{part} is let go of and has free pages");
                self.drop_leaf(base);
            }
        }
        self.held -= range.count();
        if self.held == 0 {
            *self = Self::new(self.coloured);
        }
    }

    /// Frees pages that are held and not free.
    pub(crate) fn give(&mut self, range: FrameRange, zeroed: bool) {
        // Single pages and short runs lie in one leaf, and need no iterator.
        match only_leaf_of(range) {
            Some(base) => self.give_in(base, range, zeroed),
            None => leaves_of(range).for_each(|(base, part)| self.give_in(base, part, zeroed)),
        }
        self.free += range.count();
        self.zeroed += if zeroed { range.count() } else { 0 };
    }

    fn give_in(&mut self, base: u64, part: FrameRange, zeroed: bool) {
        let (from, to) = within(base, part);
        let Some(path) = self.path(base) else { return };
        let leaf = &mut self.leaves.all[path.leaf as usize];
        debug_assert_eq!(leaf.count(from, to), 0, "{part} is free already");
        leaf.give(from, to, zeroed);
        self.gave(&path, part, zeroed);
        self.raise(&path, base, (from, to));
    }

    /// Takes pages that are all free.
    pub(crate) fn take(&mut self, range: FrameRange) {
        match only_leaf_of(range) {
            Some(base) => self.take_in(base, range),
            None => leaves_of(range).for_each(|(base, part)| self.take_in(base, part)),
        }
        self.free -= range.count();
    }

    fn take_in(&mut self, base: u64, part: FrameRange) {
        let (from, to) = within(base, part);
        let Some(path) = self.path(base) else { return };
        let leaf = &mut self.leaves.all[path.leaf as usize];
        debug_assert_eq!(u64::from(leaf.count(from, to)), part.count(), "{part} is not free");
        self.zeroed -= u64::from(leaf.take(from, to));
        self.took(&path, part);
    }

    /// Takes a free page whose number modulo 64 is in `colours`, from the lowest leaf that has one: a zeroed one if
    /// `zeroed` and there is any, otherwise preferably one that is not. Also returns whether the page is zeroed.
    pub(crate) fn pop(&mut self, colours: u64, zeroed: bool) -> Option<(u64, bool)> {
        let found = if zeroed && self.zeroed > 0 { self.find(colours, true) } else { None };
        let (frame, clean) = found.or_else(|| self.find(colours, false))?;
        self.take(FrameRange::one(frame)?);
        Some((frame, clean))
    }

    /// Finds a free page of these colours in the lowest leaf that has one; if `zeroed`, only a zeroed page will do.
    fn find(&self, colours: u64, zeroed: bool) -> Option<(u64, bool)> {
        if self.root == NONE {
            return None;
        }
        self.find_below(self.root, self.height, 0, colours, zeroed)
    }

    fn find_below(
        &self,
        node: u32,
        height: usize,
        base: u64,
        colours: u64,
        zeroed: bool,
    ) -> Option<(u64, bool)> {
        let Some(below) = height.checked_sub(1) else {
            let leaf = &self.leaves.all[node as usize];
            let (at, clean) = leaf.pick(colours, zeroed).filter(|(_, clean)| !zeroed || *clean)?;
            return Some((base + u64::from(at), clean));
        };
        let inner = &self.inners.all[node as usize];
        let mut some = if zeroed { inner.zeroed } else { inner.some };
        while some != 0 {
            let i = some.trailing_zeros() as usize & 63;
            some &= some - 1;
            // A child may have a free page of the colour and a zeroed page without having one that is both. The
            // search then goes on with the next child.
            if self.coloured && inner.colours[i] & colours == 0 {
                continue;
            }
            let found = self.find_below(
                inner.child[i],
                below,
                base + ((i as u64) << bits_of(below)),
                colours,
                zeroed,
            );
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether a page is free.
    pub(crate) fn is_free(&self, frame: u64) -> bool {
        self.path(frame & !(leaf_frames() - 1)).is_some_and(|path| {
            self.leaves.all[path.leaf as usize].is_free((frame & (leaf_frames() - 1)) as u32)
        })
    }

    /// Returns the run of free pages around a free page; `None` if the page is not free.
    pub(crate) fn run_at(&self, frame: u64) -> Option<FrameRange> {
        if !self.is_free(frame) {
            return None;
        }
        FrameRange::between(self.run_start(frame), self.next(frame, false))
    }

    /// Iterates over the runs of free pages that overlap `window`, cut to it, in ascending order.
    pub(crate) fn runs(&self, window: FrameRange) -> impl Iterator<Item = FrameRange> + '_ {
        let mut from = window.start();
        core::iter::from_fn(move || {
            let start = self.next(from, true);
            let run = FrameRange::between(start, self.next(start, false).min(window.end()))?;
            from = run.end();
            Some(run)
        })
    }

    /// Finds the lowest place that fits.
    pub(crate) fn search(&mut self, fit: &Fit) -> Option<FrameRange> {
        let window = fit.window_of();
        let last = window.last().checked_sub(fit.len() - 1)?;
        if self.root == NONE {
            return None;
        }
        let mut from = window.start();
        self.search_below(self.root, self.height, 0, &mut from, last, &Need::of(fit))
    }

    /// Returns the longest run of free pages, the lowest of equals.
    pub(crate) fn longest(&mut self) -> Option<FrameRange> {
        // If there is a run of some length, there is one of every shorter length, so bisect. Extending each hit to
        // its whole run saves rounds. Nothing longer than the last hit exists, and `search` returns the lowest.
        let (mut low, mut high) = (0, self.free.min(u64::from(u32::MAX)));
        let mut best = None;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match Fit::new(middle).ok().and_then(|fit| self.search(&fit)) {
                Some(found) => {
                    best = self.run_at(found.start());
                    low = best.map_or(middle, |run| run.count());
                }
                None => high = middle - 1,
            }
        }
        best
    }

    /// Finds the lowest place in this subtree that starts in `from..=last`. Moves `from` behind the runs that turned
    /// out not to fit.
    fn search_below(
        &mut self,
        node: u32,
        height: usize,
        base: u64,
        from: &mut u64,
        last: u64,
        need: &Need<'_>,
    ) -> Option<FrameRange> {
        let Some(below) = height.checked_sub(1) else {
            return self.search_leaf(node, base, from, last, need.fit);
        };
        let bits = bits_of(below);
        let mut some = self.inners.all[node as usize].some;
        while some != 0 {
            let i = some.trailing_zeros() as usize & 63;
            some &= some - 1;
            let start = base + ((i as u64) << bits);
            if start > last {
                return None;
            }
            let inner = &self.inners.all[node as usize];
            // If the alignment is larger than the child, only the child's start can be aligned.
            let aligned = start & (need.fit.align_of() - 1) >> bits << bits == 0;
            if start + (1 << bits) <= *from || !aligned || !need.may_be_in(inner.summary[i], bits) {
                continue;
            }
            let child = inner.child[i];
            if let Some(place) = self.search_below(child, below, start, from, last, need) {
                return Some(place);
            }
            // The child promised more than it has, or has it outside the window. Replace the promise, so that no
            // later search is misled the same way.
            let exact = self.summarise(child, below, start);
            self.inners.all[node as usize].summary[i] = exact;
        }
        None
    }

    /// Finds the lowest place that starts in a leaf.
    fn search_leaf(&self, leaf: u32, base: u64, from: &mut u64, last: u64, fit: &Fit) -> Option<FrameRange> {
        let past = base + leaf_frames();
        loop {
            let at = (*from).max(base) - base;
            let leaf = &self.leaves.all[leaf as usize];
            let start = if at < leaf_frames() {
                base + u64::from(leaf.candidate(at as u32, fit.len(), fit.align_of())?)
            } else {
                past
            };
            if start > last.min(past - 1) {
                return None;
            }
            // The candidate was judged by 64 pages at most. Now find where its run really ends, in whatever leaf.
            let end = self.next(start, false);
            match place(fit, start, end) {
                Some(place) if place.start() < past => return Some(place),
                // A place that starts there is for the next leaf to find.
                Some(_) => return None,
                // Nothing in this run fits, so skip it whole; through `from` the next leaf skips its rest as well.
                None => *from = end,
            }
        }
    }

    /// Summarises a subtree: exactly if it is a leaf, otherwise from what its children promise.
    fn summarise(&self, node: u32, height: usize, base: u64) -> Summary {
        if height > 0 {
            return self.inners.all[node as usize].promise(bits_of(height - 1));
        }
        let leaf = &self.leaves.all[node as usize];
        if leaf.is_full() {
            return Summary::full(LEAF_BITS);
        }
        let past = base + leaf_frames();
        // The run that reaches the leaf's end may go on beyond it. It counts in full here, because it starts here.
        let (longest, last) = leaf.longest();
        let beyond = if last == 0 { 0 } else { self.next(past - 1, false) - (past - u64::from(last)) };
        Summary { longest: longest.max(length(beyond)), order: leaf.order() }
    }
}

/// Returns the lowest place in `start..end` that fits.
fn place(fit: &Fit, start: u64, end: u64) -> Option<FrameRange> {
    FrameRange::between(start, end).and_then(|gap| FrameRange::from_units(fit.lowest_in(gap.units())?))
}

/// Splits a range by leaves: the start of each leaf and the part of the range in it.
fn leaves_of(range: FrameRange) -> impl Iterator<Item = (u64, FrameRange)> {
    (range.start() >> LEAF_BITS..=(range.end() - 1) >> LEAF_BITS).filter_map(move |n| {
        let base = n << LEAF_BITS;
        Some((base, FrameRange::between(base, base + leaf_frames())?.intersect(range)?))
    })
}

/// Returns the start of the leaf that contains all of a range, if there is one.
fn only_leaf_of(range: FrameRange) -> Option<u64> {
    let base = range.start() & !(leaf_frames() - 1);
    (range.end() - base <= leaf_frames()).then_some(base)
}

/// Converts a part of a leaf to page indexes from the leaf's start.
fn within(base: u64, part: FrameRange) -> (u32, u32) {
    ((part.start() - base) as u32, (part.end() - base) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_space::AddrRange;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Page frames that are held: three leaves, and one far away.
    const FAR: u64 = 1 << 40;

    fn held() -> [FrameRange; 2] {
        [FrameRange::new(100, 3 * 4096).unwrap(), FrameRange::new(FAR, 4096).unwrap()]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Give(FrameRange, bool),
        Take(FrameRange),
        Pop(u64, bool),
        Search { len: u64, align: u32, boundary: Option<u32>, low: u64, high: u64 },
    }

    fn frame() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 100u64..100 + 3 * 4096, 1 => FAR..FAR + 4096]
    }

    fn range() -> impl Strategy<Value = FrameRange> {
        let count = prop_oneof![Just(1u64), 1u64..70, 1u64..5000];
        (frame(), count).prop_filter_map("not held", |(start, count)| {
            let range = FrameRange::new(start, count).ok()?;
            held().into_iter().find_map(|held| held.intersect(range))
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        let search = (1u64..6000, 0u32..14, proptest::option::of(0u32..14), frame(), frame());
        prop_oneof![
            4 => (range(), any::<bool>()).prop_map(|(range, zeroed)| Step::Give(range, zeroed)),
            4 => range().prop_map(Step::Take),
            2 => (prop_oneof![Just(u64::MAX), any::<u64>(), (0u32..64).prop_map(|b| 1 << b)], any::<bool>())
                .prop_map(|(colours, zeroed)| Step::Pop(colours, zeroed)),
            4 => search.prop_map(|(len, align, boundary, low, high)| Step::Search { len, align, boundary, low, high }),
        ]
    }

    /// One entry a page: whether it is zeroed.
    type Oracle = BTreeMap<u64, bool>;

    fn first_fit(oracle: &Oracle, fit: &Fit) -> Option<u64> {
        let mut run = 0;
        let mut last = None;
        let mut found: Option<u64> = None;
        // Runs by walking all pages; in each, every start.
        let mut consider = |start: u64, len: u64| {
            let starts = (start..start + len).filter(|s| s + fit.len() <= start + len);
            let place = |s: &u64| AddrRange::sized(*s, fit.len()).is_ok_and(|place| fit.admits(place));
            found = found.or(starts.into_iter().find(place));
        };
        for frame in oracle.keys() {
            if last.is_some_and(|last: u64| last + 1 != *frame) {
                consider(last.unwrap() + 1 - run, run);
                run = 0;
            }
            run += 1;
            last = Some(*frame);
        }
        if let Some(last) = last {
            consider(last + 1 - run, run);
        }
        found
    }

    fn check(map: &mut FreeMap, oracle: &mut Oracle, step: Step) {
        match step {
            Step::Give(range, zeroed) => {
                for run in range
                    .frames()
                    .filter(|f| !oracle.contains_key(f))
                    .collect::<Vec<_>>()
                    .chunk_by(|a, b| a + 1 == *b)
                {
                    map.give(FrameRange::new(run[0], run.len() as u64).unwrap(), zeroed);
                    oracle.extend(run.iter().map(|frame| (*frame, zeroed)));
                }
            }
            Step::Take(range) => {
                let runs: Vec<FrameRange> = map.runs(range).collect();
                let taken: Vec<u64> = runs.iter().flat_map(|run| run.frames()).collect();
                assert_eq!(taken, oracle.range(range.frames()).map(|(frame, _)| *frame).collect::<Vec<_>>());
                for run in runs {
                    map.take(run);
                    run.frames().for_each(|frame| assert!(oracle.remove(&frame).is_some()));
                }
            }
            Step::Pop(colours, zeroed) => {
                let liked = |(frame, clean): &(&u64, &bool)| {
                    colours >> (*frame & 63) & 1 != 0 && (!zeroed || **clean)
                };
                let any = oracle.iter().find(|(frame, _)| colours >> (*frame & 63) & 1 != 0);
                let exact = oracle.iter().find(liked);
                let popped = map.pop(colours, zeroed);
                match (zeroed, exact) {
                    (true, Some((frame, _))) => assert_eq!(popped, Some((*frame, true))),
                    // Which of the others is a matter of taste: a page of the colour, if there is one.
                    _ => assert_eq!(popped.is_some(), any.is_some()),
                }
                if let Some((frame, clean)) = popped {
                    assert_eq!(oracle.remove(&frame), Some(clean));
                    assert!(colours >> (frame & 63) & 1 != 0);
                }
            }
            Step::Search { len, align, boundary, low, high } => {
                let fit = Fit::new(len).unwrap().align(1 << align).unwrap();
                let fit = match boundary.map(|b| fit.boundary(1 << b)) {
                    Some(Ok(fit)) => fit,
                    _ => fit,
                };
                let fit = fit.window(AddrRange::inclusive(low.min(high), low.max(high)).unwrap());
                let found = map.search(&fit);
                assert_eq!(found.map(|r| r.start()), first_fit(oracle, &fit), "{fit:?}");
                assert!(found.is_none_or(|found| found.count() == len));
            }
        }
        assert_eq!(map.free(), oracle.len() as u64);
        assert_eq!(map.zeroed(), oracle.values().filter(|zeroed| **zeroed).count() as u64);
    }

    proptest! {
        #[test]
        fn agrees_with_one_entry_a_page(steps in proptest::collection::vec(step(), 1..60), coloured in any::<bool>()) {
            let mut map = FreeMap::new(coloured);
            held().into_iter().for_each(|held| map.hold(held));
            let mut oracle = Oracle::new();
            for step in steps {
                // Without colours only any colour can be asked for.
                let step = if let (Step::Pop(_, zeroed), false) = (&step, coloured) { Step::Pop(u64::MAX, *zeroed) } else { step };
                check(&mut map, &mut oracle, step);
            }
            let longest = map.longest().map_or(0, |run| run.count());
            let runs = map.runs(FrameRange::new(0, crate::frame::FRAMES).unwrap());
            prop_assert_eq!(longest, runs.map(|run| run.count()).max().unwrap_or(0));
            let all: Vec<FrameRange> = map.runs(FrameRange::new(0, crate::frame::FRAMES).unwrap()).collect();
            all.into_iter().for_each(|run| map.take(run));
            held().into_iter().for_each(|held| map.let_go(held));
            prop_assert_eq!(map.bytes(), 0);
        }
    }
}
