//! Segments and pages: page frame to page, plugging and unplugging, single pages, and runs of them.

use crate::measure::{Figure, ROUNDS, run_for};
use crate::report::Line;
use crate::workload::Rng;
use buddy_system_allocator::FrameAllocator;
use pmem_capi::sample::Sample;
use pmem_uvm::{FrameRange, MoveError, PageListRequest, PageRequest, Plug, SharedUvm, Uvm};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The pages of a segment. Segments begin at every multiple of twice this number.
const PAGES: u64 = 256;
/// The page frames looked up in a turn.
const ASKED: usize = 1 << 16;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).expect("a range of page frames")
}

fn segments(n: usize) -> Uvm {
    let mut uvm = Uvm::default();
    for i in 0..n as u64 {
        uvm.plug(&Plug::new(range(2 * i * PAGES, PAGES))).expect("nothing is there");
    }
    uvm
}

/// A segment as a sorted array or an ordered map has it.
struct Peer {
    start: u64,
    end: u64,
    pages: Arc<[[u64; 3]]>,
    /// The other fields of NetBSD's segment, so that it takes as much room.
    _rest: [u64; 5],
}

fn peer(i: u64) -> Peer {
    let start = 2 * i * PAGES;
    Peer { start, end: start + PAGES, pages: vec![[0; 3]; PAGES as usize].into(), _rest: [0; 5] }
}

impl Peer {
    #[inline]
    fn page(&self, frame: u64) -> Option<&[u64; 3]> {
        if frame >= self.end { None } else { self.pages.get((frame - self.start) as usize) }
    }
}

/// Binary search as in NetBSD (VM_PSTRAT_BSEARCH).
#[inline]
fn halve(array: &[Peer], frame: u64) -> Option<&[u64; 3]> {
    let (mut start, mut len) = (0, array.len());
    while len != 0 {
        let at = start + len / 2;
        let peer = &array[at];
        if frame >= peer.start {
            if frame < peer.end {
                return peer.page(frame);
            }
            start = at + 1;
            len -= 1;
        }
        len /= 2;
    }
    None
}

/// The same look-up as two C functions that the caller's compiler cannot see into: first the segment and the
/// offset in it, then the page.
mod called {
    use super::Peer;
    use std::cmp::Ordering;

    /// A tree over segments in order: each node with the nodes below and above it.
    pub struct Tree {
        root: Option<usize>,
        kids: Vec<[Option<usize>; 2]>,
    }

    impl Tree {
        pub fn new(n: usize) -> Self {
            let mut tree = Self { root: None, kids: vec![[None; 2]; n] };
            tree.root = tree.grow(0, n);
            tree
        }

        fn grow(&mut self, start: usize, end: usize) -> Option<usize> {
            let middle = start + (end - start) / 2;
            (start < end).then(|| {
                self.kids[middle] = [self.grow(start, middle), self.grow(middle + 1, end)];
                middle
            })
        }
    }

    #[inline(never)]
    pub fn find_halving(array: &[Peer], frame: u64, place: &mut u64) -> Option<usize> {
        let (mut start, mut len) = (0, array.len());
        while len != 0 {
            let at = start + len / 2;
            if frame >= array[at].start {
                if frame < array[at].end {
                    *place = frame - array[at].start;
                    return Some(at);
                }
                start = at + 1;
                len -= 1;
            }
            len /= 2;
        }
        None
    }

    /// `compare` belongs to the tree, and is called through a pointer as in `rb_tree_ops_t`.
    #[inline(never)]
    pub fn find_in_tree(
        tree: &Tree,
        array: &[Peer],
        compare: fn(&Peer, u64) -> Ordering,
        frame: u64,
        place: &mut u64,
    ) -> Option<usize> {
        let mut at = tree.root;
        while let Some(node) = at {
            at = match compare(&array[node], frame) {
                Ordering::Equal => {
                    *place = frame - array[node].start;
                    return Some(node);
                }
                Ordering::Less => tree.kids[node][1],
                Ordering::Greater => tree.kids[node][0],
            };
        }
        None
    }

    pub fn compare(peer: &Peer, frame: u64) -> Ordering {
        if frame < peer.start {
            Ordering::Greater
        } else if frame >= peer.end {
            Ordering::Less
        } else {
            Ordering::Equal
        }
    }

    #[inline(never)]
    pub fn page(array: &[Peer], segment: usize, place: u64) -> Option<&[u64; 3]> {
        array[segment].pages.get(place as usize)
    }
}

/// A subject: its name, the function that runs it for a while, and its figures.
type Subject<'s> = (&'static str, Box<dyn Fn(Duration) -> (Duration, u64) + 's>, Figure);

fn by_halving(array: &[Peer], frame: u64) -> Option<&[u64; 3]> {
    let mut place = 0;
    let segment = black_box(called::find_halving)(array, frame, &mut place)?;
    black_box(called::page)(array, segment, place)
}

fn by_tree<'a>(tree: &called::Tree, array: &'a [Peer], frame: u64) -> Option<&'a [u64; 3]> {
    let mut place = 0;
    let segment =
        black_box(called::find_in_tree)(tree, array, black_box(called::compare), frame, &mut place)?;
    black_box(called::page)(array, segment, place)
}

/// Page frame to page: either the address, each look-up independent, or the content, each after the one before.
fn lookups(n: usize, read: bool, turn: Duration) -> Vec<Line> {
    let uvm = segments(n);
    let array: Vec<Peer> = (0..n as u64).map(peer).collect();
    let tree: BTreeMap<u64, Peer> = (0..n as u64).map(|i| (2 * i * PAGES, peer(i))).collect();
    let nodes = called::Tree::new(n);
    let sample = Sample::new((0..n as u64).map(|i| 2 * i * PAGES), PAGES);
    let shared = SharedUvm::new(segments(n), 1 << 15).expect("a power of two");
    let snapshot = shared.snapshot();
    let mut rng = Rng::new(7);
    let asked: Vec<u64> = (0..ASKED).map(|_| 2 * rng.below(n as u64) * PAGES + rng.below(PAGES)).collect();
    let point = |frame: u64| array[array.partition_point(|p| p.start <= frame) - 1].page(frame);
    let in_tree = |frame: u64| tree.range(..=frame).next_back().and_then(|(_, p)| p.page(frame));
    let word = |page: Option<&[u64; 3]>| page.map_or(0, |page| page[0]);
    let mut subjects: Vec<Subject<'_>> = if read {
        let ours = |frame| uvm.page(frame).map_or(0, |page| page.state() as u64);
        vec![
            ("pmem-uvm", one_by_one(&asked, ours), Figure::default()),
            (
                "pmem-uvm, a reader's snapshot",
                one_by_one(&asked, |f| snapshot.page(f).map_or(0, |p| p.state as u64)),
                Figure::default(),
            ),
            (
                "sorted array, halved as NetBSD does",
                one_by_one(&asked, |f| word(halve(&array, f))),
                Figure::default(),
            ),
            ("sorted array, partition_point", one_by_one(&asked, |f| word(point(f))), Figure::default()),
            ("BTreeMap", one_by_one(&asked, |f| word(in_tree(f))), Figure::default()),
        ]
    } else {
        vec![
            ("pmem-uvm", all_at_once(&asked, |f| uvm.page(f)), Figure::default()),
            ("C: uvm_physseg_find", all_at_once(&asked, |f| sample.find(f)), Figure::default()),
            (
                "C: find and uvm_physseg_get_pg",
                all_at_once(&asked, |f| sample.page(f).map(|at| at as u64)),
                Figure::default(),
            ),
            (
                "array, halved, in two calls",
                all_at_once(&asked, |f| by_halving(&array, f)),
                Figure::default(),
            ),
            ("tree, in two calls", all_at_once(&asked, |f| by_tree(&nodes, &array, f)), Figure::default()),
            (
                "sorted array, halved as NetBSD does",
                all_at_once(&asked, |f| halve(&array, f)),
                Figure::default(),
            ),
            ("sorted array, partition_point", all_at_once(&asked, point), Figure::default()),
            ("BTreeMap", all_at_once(&asked, in_tree), Figure::default()),
        ]
    };
    for _ in 0..ROUNDS {
        subjects.iter_mut().for_each(|(_, run, figure)| figure.add(run(turn)));
    }
    let case = if read { READ } else { FIND };
    subjects.iter().map(|(name, _, figure)| line(case, n, name, figure)).collect()
}

const FIND: &str = "page frame to page";
const READ: &str = "page frame to page, read, one after another";

/// Looks up page frames independently of each other.
fn all_at_once<'f, T>(
    asked: &'f [u64],
    find: impl Fn(u64) -> T + 'f,
) -> Box<dyn Fn(Duration) -> (Duration, u64) + 'f> {
    turns(asked, move || {
        for frame in asked {
            black_box(find(*frame));
        }
    })
}

/// Looks up page frames and reads the page; the next look-up depends on the value read, which is small.
fn one_by_one<'f>(
    asked: &'f [u64],
    read: impl Fn(u64) -> u64 + 'f,
) -> Box<dyn Fn(Duration) -> (Duration, u64) + 'f> {
    turns(asked, move || {
        black_box(asked.iter().fold(0, |word, frame| read(frame + (word >> 63))));
    })
}

fn turns<'f>(asked: &'f [u64], all: impl Fn() + 'f) -> Box<dyn Fn(Duration) -> (Duration, u64) + 'f> {
    Box::new(move |turn| {
        let (begun, mut ops) = (Instant::now(), 0);
        while begun.elapsed() < turn {
            all();
            ops += asked.len() as u64;
        }
        (begun.elapsed(), ops)
    })
}

fn line(case: &str, n: usize, subject: &'static str, figure: &Figure) -> Line {
    Line { ns: Some(figure.median()), spread: Some(figure.spread()), ..Line::new("uvm", case, n, subject) }
}

/// Splits each segment in the middle, takes it whole, or plugs it again: once each, in random order.
fn hotplug(n: usize) -> Vec<Line> {
    let mut rng = Rng::new(11);
    let mut order: Vec<u64> = (0..n as u64).collect();
    (1..n).for_each(|i| order.swap(i, rng.below(i as u64 + 1) as usize));
    let cases = ["middle split", "whole unplug", "hot plug"];
    let mut figures: [[Figure; 2]; 3] = Default::default();
    for _ in 0..ROUNDS {
        let (split, whole) = order.split_at(n / 2);
        let mut uvm = segments(n);
        let sample = Sample::new((0..n as u64).map(|i| 2 * i * PAGES), PAGES);
        let mut each =
            |case: usize, all: &[u64], ours: &mut dyn FnMut(&mut Uvm, u64), theirs: &dyn Fn(&Sample, u64)| {
                let begun = Instant::now();
                all.iter().for_each(|i| ours(&mut uvm, 2 * i * PAGES));
                figures[case][0].add((begun.elapsed(), all.len() as u64));
                let begun = Instant::now();
                all.iter().for_each(|i| theirs(&sample, 2 * i * PAGES));
                figures[case][1].add((begun.elapsed(), all.len() as u64));
            };
        let middle = PAGES / 4;
        each(
            0,
            split,
            &mut |uvm, at| uvm.unplug(range(at + middle, 2 * middle)).expect("idle"),
            &|sample, at| assert!(sample.unplug(at + middle, 2 * middle)),
        );
        each(1, &whole[1..], &mut |uvm, at| uvm.unplug(range(at, PAGES)).expect("idle"), &|sample, at| {
            assert!(sample.unplug(at, PAGES));
        });
        each(
            2,
            &whole[1..],
            &mut |uvm, at| {
                uvm.plug(&Plug::new(range(at, PAGES))).expect("nothing is there");
            },
            &|sample, at| assert!(sample.plug(at, PAGES)),
        );
    }
    let subjects = ["pmem-uvm", "C: uvm_physseg_plug, uvm_physseg_unplug"];
    let lines = cases.iter().zip(&figures).flat_map(|(case, both)| {
        subjects.iter().zip(both).map(|(subject, figure)| line(case, n, subject, figure)).collect::<Vec<_>>()
    });
    lines.collect()
}

/// Allocates and frees a page on several threads at once; nanoseconds for one of them.
fn pairs(threads: usize, turn: Duration) -> Vec<Line> {
    const MEMORY: u64 = 1 << 16;
    let memory = || {
        let mut uvm = Uvm::default();
        uvm.plug(&Plug::new(range(0, MEMORY))).expect("nothing is there");
        uvm
    };
    let request = PageRequest::new();
    let alone = Mutex::new(memory());
    let shared = SharedUvm::new(memory(), 1 << 12).expect("a power of two");
    let buddy = Mutex::new(FrameAllocator::<33>::new());
    buddy.lock().expect("no panic").add_frame(0, MEMORY as usize);
    let list: Mutex<Vec<u64>> = Mutex::new((0..MEMORY).collect());
    let mut figures: [Figure; 4] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].add(together(threads, turn, || {
            || {
                let mut uvm = alone.lock().expect("no panic");
                let page = uvm.pagealloc(&request).expect("a page");
                drop(uvm);
                alone.lock().expect("no panic").pagefree(page).expect("ours");
            }
        }));
        figures[1].add(together(threads, turn, || {
            let mut processor = shared.processor(0, 64).expect("no callback");
            move || {
                let page = processor.pagealloc(&request).expect("a page");
                processor.pagefree(page).expect("ours");
            }
        }));
        figures[2].add(together(threads, turn, || {
            || {
                let page = buddy.lock().expect("no panic").alloc(1).expect("a frame");
                buddy.lock().expect("no panic").dealloc(page, 1);
            }
        }));
        figures[3].add(together(threads, turn, || {
            || {
                let page = list.lock().expect("no panic").pop().expect("a frame");
                list.lock().expect("no panic").push(page);
            }
        }));
    }
    let names = [
        "pmem-uvm, in a Mutex",
        "pmem-uvm, processors' caches",
        "buddy_system_allocator, in a Mutex",
        "free list, in a Mutex",
    ];
    let case = "pagealloc and pagefree, by threads";
    names.iter().zip(&figures).map(|(name, figure)| line(case, threads, name, figure)).collect()
}

/// Allocates and frees a page without any lock, as the only user.
fn pairs_alone(turn: Duration) -> Vec<Line> {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, 1 << 16))).expect("nothing is there");
    let mut buddy = FrameAllocator::<33>::new();
    buddy.add_frame(0, 1 << 16);
    let mut list: Vec<u64> = (0..1 << 16).collect();
    let mut figures: [Figure; 3] = Default::default();
    let request = PageRequest::new();
    for _ in 0..ROUNDS {
        figures[0].add(run_for(turn, || {
            let page = uvm.pagealloc(&request).expect("a page");
            uvm.pagefree(black_box(page)).expect("ours");
        }));
        figures[1].add(run_for(turn, || {
            let page = buddy.alloc(1).expect("a frame");
            buddy.dealloc(black_box(page), 1);
        }));
        figures[2].add(run_for(turn, || {
            let page = list.pop().expect("a frame");
            list.push(black_box(page));
        }));
    }
    let names = ["pmem-uvm", "buddy_system_allocator", "free list"];
    let case = "pagealloc and pagefree, alone";
    names.iter().zip(&figures).map(|(name, figure)| line(case, 1, name, figure)).collect()
}

/// Runs what `make` makes on `threads` threads until the time is over; returns the time and operations of all
/// as one thread sees them.
fn together<F: FnMut()>(threads: usize, turn: Duration, make: impl Fn() -> F + Sync) -> (Duration, u64) {
    let (stop, ops) = (AtomicBool::new(false), AtomicU64::new(0));
    let barrier = Barrier::new(threads + 1);
    let begun = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut op = make();
                barrier.wait();
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    (0..64).for_each(|_| op());
                    done += 64;
                }
                ops.fetch_add(done, Ordering::Relaxed);
            });
        }
        barrier.wait();
        let begun = Instant::now();
        thread::sleep(turn);
        stop.store(true, Ordering::Relaxed);
        begun
    });
    (begun.elapsed() * threads as u32, ops.into_inner())
}

/// A bitmap that is searched from its start. A set bit is a page that is taken.
struct Bitmap(Vec<u64>);

impl Bitmap {
    /// Returns the first bit from `from` on that is set, or that is clear.
    fn next(&self, from: u64, set: bool) -> u64 {
        let flip = if set { 0 } else { u64::MAX };
        let mut at = (from / 64) as usize;
        let mut word = self.0.get(at).map_or(0, |word| (word ^ flip) & u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            match self.0.get(at) {
                Some(next) => word = next ^ flip,
                None => return self.0.len() as u64 * 64,
            }
        }
        at as u64 * 64 + u64::from(word.trailing_zeros())
    }

    /// Searches as Linux's CMA does (`bitmap_find_next_zero_area`): the next free page, aligned up, then
    /// whether the whole run is free.
    fn search(&self, len: u64, align: u64) -> Option<u64> {
        let mut at = 0;
        loop {
            at = self.next(at, false).next_multiple_of(align);
            if at + len > self.0.len() as u64 * 64 {
                return None;
            }
            let used = self.next(at, true);
            if used >= at + len {
                return Some(at);
            }
            at = used + 1;
        }
    }

    /// Searches for runs that are as long as they are aligned, in whole words: as fast as scanning can be.
    fn search_words(&self, words: usize) -> Option<u64> {
        let chunks = self.0.chunks_exact(words).position(|chunk| chunk.iter().all(|word| *word == 0));
        chunks.map(|at| (at * words) as u64 * 64)
    }

    fn fill(&mut self, at: u64, len: u64, word: u64) {
        self.0[(at / 64) as usize..((at + len) / 64) as usize].fill(word);
    }
}

/// Finds 512 pages with the same alignment in 16 GiB. Every other page on average is taken, except in the last
/// GiB.
fn contiguous(turn: Duration) -> Vec<Line> {
    const ALL: u64 = 4 << 20;
    const RUN: u64 = 512;
    let broken = ALL - (ALL >> 4);
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, ALL))).expect("nothing is there");
    let mut bitmap = Bitmap(vec![0; (ALL / 64) as usize]);
    let mut rng = Rng::new(5);
    let stay = &mut |_: u64, _: u64| Err(MoveError::Never);
    for frame in (0..broken).filter(|_| rng.below(2) == 0) {
        uvm.capture(range(frame, 1), stay).expect("a free page");
        bitmap.0[(frame / 64) as usize] |= 1 << (frame % 64);
    }
    let request =
        PageListRequest::new(RUN).and_then(|r| r.runs(1)).and_then(|r| r.align(RUN)).expect("sound");
    let one = PageRequest::new();
    let mut figures: [Figure; 4] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].add(run_for(turn, || {
            let list = uvm.pglistalloc(&request).expect("a run");
            uvm.pglistfree(black_box(list));
        }));
        figures[1].add(run_for(turn, || {
            let page = uvm.pagealloc(&one).expect("a page");
            let list = uvm.pglistalloc(&request).expect("a run");
            uvm.pagefree(page).expect("ours");
            uvm.pglistfree(black_box(list));
        }));
        figures[2].add(run_for(turn, || {
            let at = bitmap.search(RUN, RUN).expect("a run");
            bitmap.fill(black_box(at), RUN, u64::MAX);
            bitmap.fill(at, RUN, 0);
        }));
        figures[3].add(run_for(turn, || {
            let at = bitmap.search_words((RUN / 64) as usize).expect("a run");
            bitmap.fill(black_box(at), RUN, u64::MAX);
            bitmap.fill(at, RUN, 0);
        }));
    }
    let names = [
        "pmem-uvm, each page told",
        "the same, another page in between",
        "bitmap, scanned as CMA does",
        "bitmap, first words only",
    ];
    names.iter().zip(&figures).map(|(name, figure)| line(RUNS, 1, name, figure)).collect()
}

const RUNS: &str = "512 aligned pages of 16 GiB, fragmented by half";

/// What a segment and a page take, in bytes.
fn memory() -> Vec<Line> {
    let bytes = |n: u64, pages: u64| {
        let measured = allocation_counter::measure(|| {
            let mut uvm = Uvm::default();
            for i in 0..n {
                uvm.plug(&Plug::new(range(2 * i * pages, pages))).expect("nothing is there");
            }
            std::mem::forget(uvm);
        });
        measured.bytes_current as f64
    };
    let (many, few, large) = (4096, 16, 1 << 18);
    let segment = (bytes(many, PAGES) - (many * PAGES * 24) as f64) / many as f64;
    let page = bytes(few, large) / (few * large) as f64;
    let of = |case: &str, n: u64, bytes| Line {
        bytes: Some(bytes),
        ..Line::new("uvm", case, n as usize, "pmem-uvm")
    };
    vec![
        of("a segment of 256 pages, without the pages'", many, segment),
        of("a page and its part of the index, in segments of 1 GiB", few, page),
    ]
}

/// Runs all cases.
pub fn run(quick: bool, add: &mut dyn FnMut(Vec<Line>)) {
    let turn = Duration::from_millis(if quick { 5 } else { 40 });
    for n in [1, 32, 256, 2048, 12_800, 16_384] {
        add(lookups(n, false, turn));
        add(lookups(n, true, turn));
    }
    add(hotplug(12_800));
    add(pairs_alone(turn));
    for threads in [1, 2] {
        add(pairs(threads, turn));
    }
    add(contiguous(turn));
    add(memory());
}

/// Compares the figures with the goals.
pub fn ratios(lines: &[Line]) -> Vec<String> {
    let ns = |case: &str, n: usize, subject: &str| {
        lines.iter().find(|l| l.case == case && l.n == n && l.subject.starts_with(subject)).and_then(|l| l.ns)
    };
    let mut out = Vec::new();
    let mut say = |what: String, over: Option<f64>, under: Option<f64>| {
        if let (Some(over), Some(under)) = (over, under) {
            out.push(format!("{what}: {:.2}", over / under));
        }
    };
    for n in [1, 32, 256, 2048, 16_384] {
        for case in [FIND, READ] {
            for array in ["sorted array, halved", "sorted array, part"] {
                say(
                    format!("{case}, {n}: {array} over pmem-uvm"),
                    ns(case, n, array),
                    ns(case, n, "pmem-uvm"),
                );
            }
        }
    }
    for case in ["middle split", "whole unplug", "hot plug"] {
        for subject in ["pmem-uvm", "C:"] {
            let find = ns(FIND, 12_800, "sorted array, halved");
            say(
                format!("{case} at 12800, {subject} over one look-up in the array"),
                ns(case, 12_800, subject),
                find,
            );
        }
    }
    for bitmap in ["bitmap, scanned", "bitmap, first"] {
        say(format!("{RUNS}: {bitmap} over pmem-uvm"), ns(RUNS, 1, bitmap), ns(RUNS, 1, "pmem-uvm"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_works() {
        let turn = Duration::from_micros(1);
        let mut lines = lookups(32, false, turn);
        lines.extend(lookups(32, true, turn));
        lines.extend(hotplug(32));
        lines.extend(pairs(2, turn));
        assert!(lines.iter().all(|line| line.ns.is_some_and(|ns| ns > 0.0)), "{lines:?}");
    }
}
