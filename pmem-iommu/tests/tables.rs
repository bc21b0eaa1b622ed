//! Tables beside a model of pages and a walker of its own, which reads raw words as the specifications say; it looks between any two writes.

use pmem_iommu::table::{
    Access, AmdV1, ArmStage2, Format, PageTable, Pool, Short, TableError, TableMemory, VtdSecondStage, X86,
};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;

const BASE: u64 = 0x4_0000_0000;
const PAGES: usize = 1100;

/// Which format, by what its specification calls it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Levels.
    Vtd(u8),
    /// Mode.
    Amd(u8),
    /// Levels.
    X86(u8),
    /// Bits of intermediate physical addresses.
    Arm(u32),
}

/// Where a page leads, and what may be done there.
type Page = (u64, bool, bool);

/// Reads raw words as the hardware does: bits by their numbers.
fn walk(kind: Kind, read: &dyn Fn(u64) -> u64, root: u64, at: u64) -> Option<Page> {
    let bits = |word: u64, high: u32, low: u32| word >> low & (u64::MAX >> (63 - (high - low)));
    let page = at & 0xfff;
    match kind {
        Kind::Vtd(levels) => {
            let (mut table, mut r, mut w) = (root, true, true);
            for level in (0..u32::from(levels)).rev() {
                let word = read(table + 8 * bits(at, 12 + 9 * level + 8, 12 + 9 * level));
                (r, w) = (r && bits(word, 0, 0) == 1, w && bits(word, 1, 1) == 1);
                if bits(word, 1, 0) == 0 {
                    return None;
                }
                table = bits(word, 51, 12) << 12;
                if level > 0 && bits(word, 7, 7) == 1 {
                    let low = 12 + 9 * level;
                    return Some((table | bits(at, low - 1, 12) << 12, r, w));
                }
            }
            Some((table | page & !0xfff, r, w))
        }
        Kind::Amd(mode) => {
            let (mut table, mut level, mut r, mut w) = (root, u32::from(mode), true, true);
            loop {
                let low = 12 + 9 * (level - 1);
                let word = read(table + 8 * (at >> low & 0x1ff));
                if bits(word, 0, 0) == 0 {
                    return None;
                }
                (r, w) = (r && bits(word, 61, 61) == 1, w && bits(word, 62, 62) == 1);
                let address = bits(word, 51, 12) << 12;
                match bits(word, 11, 9) as u32 {
                    0 => return Some((address | at & ((1 << low) - 1) & !0xfff, r, w)),
                    7 => {
                        // Table 14 of 48882: the first bit that is 0, from bit 12 up, is the highest of the size.
                        let mut size = 13;
                        while bits(address, size - 1, size - 1) == 1 {
                            size += 1;
                        }
                        let inside = (1u64 << size) - 1;
                        return Some((address & !inside | at & inside & !0xfff, r, w));
                    }
                    next => {
                        let skipped = at & ((1u64 << low) - 1) & !((1u64 << (12 + 9 * next)) - 1);
                        if skipped != 0 {
                            return None;
                        }
                        (table, level) = (address, next);
                    }
                }
            }
        }
        Kind::X86(levels) => {
            let (mut table, mut w) = (root, true);
            for level in (0..u32::from(levels)).rev() {
                let word = read(table + 8 * bits(at, 12 + 9 * level + 8, 12 + 9 * level));
                if bits(word, 0, 0) == 0 || bits(word, 2, 2) == 0 {
                    return None;
                }
                w = w && bits(word, 1, 1) == 1;
                table = bits(word, 51, 12) << 12;
                if level > 0 && bits(word, 7, 7) == 1 {
                    return Some((table | bits(at, 12 + 9 * level - 1, 12) << 12, true, w));
                }
            }
            Some((table, true, w))
        }
        Kind::Arm(width) => {
            // Level 3 is the lowest; up to 16 tables are side by side in the first.
            let first = if width <= 34 {
                2
            } else if width <= 43 {
                1
            } else {
                0
            };
            let mut table = root;
            for level in first..=3u32 {
                let low = 12 + 9 * (3 - level);
                let index = if level == first { at >> low } else { bits(at, low + 8, low) };
                let word = read(table + 8 * index);
                match (bits(word, 1, 0), level) {
                    (3, 3) | (1, 1 | 2) => {
                        let inside = (1u64 << low) - 1;
                        let access = (bits(word, 6, 6) == 1, bits(word, 7, 7) == 1);
                        assert_eq!(bits(word, 10, 10), 1, "no access flag");
                        return Some((bits(word, 47, 12) << 12 | at & inside & !0xfff, access.0, access.1));
                    }
                    (3, _) => table = bits(word, 47, 12) << 12,
                    _ => return None,
                }
            }
            None
        }
    }
}

/// An address that is looked at between any two writes: what it may lead to.
#[derive(Clone, Copy, Debug)]
struct Probe {
    at: u64,
    before: Option<Page>,
    after: Option<Page>,
}

/// Memory that looks at the tables as hardware would, after each write.
struct Watched {
    pool: Pool<Vec<AtomicU64>>,
    kind: Kind,
    root: Option<u64>,
    probes: Vec<Probe>,
    /// Tables that the probes go through: what is written elsewhere changes none.
    passed: RefCell<BTreeSet<u64>>,
    writes: usize,
}

impl Watched {
    fn look(&self) {
        let Some(root) = self.root else { return };
        self.passed.borrow_mut().clear();
        let read = |at: u64| {
            self.passed.borrow_mut().insert(at & !0xfff);
            self.pool.read(at & !0xfff, (at & 0xfff) / 8).expect("a table outside of the memory of tables")
        };
        for probe in &self.probes {
            let (seen, n) = (walk(self.kind, &read, root, probe.at), self.writes);
            assert!(
                seen == probe.before || seen == probe.after,
                "{probe:x?} leads to {seen:x?} after write {n}"
            );
        }
    }
}

impl TableMemory for Watched {
    fn read(&self, table: u64, index: u64) -> Option<u64> {
        self.pool.read(table, index)
    }

    fn write(&mut self, table: u64, index: u64, entry: u64) {
        self.pool.write(table, index, entry);
        self.writes += 1;
        if self.passed.get_mut().contains(&(table + index / 512 * 4096)) {
            self.look();
        }
    }

    fn set_aside(&mut self, tables: usize) -> Result<(), Short> {
        self.pool.set_aside(tables)
    }

    fn take(&mut self) -> Option<u64> {
        self.pool.take()
    }

    fn take_first(&mut self, pages: u64) -> Option<u64> {
        self.pool.take_first(pages)
    }

    fn give(&mut self, table: u64) {
        self.pool.give(table);
    }
}

/// What is done, in pages.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Map { page: u64, pages: u64, target: u64, access: Access },
    Unmap { page: u64, pages: u64 },
    Protect { page: u64, pages: u64, access: Access },
    Join,
    Prune,
    Release,
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::READ), Just(Access::BOTH), Just(Access::WRITE)]
}

/// Pages near a few places, so that spans meet; 2^18 pages are 1 GiB.
fn page() -> impl Strategy<Value = u64> {
    let near =
        prop_oneof![Just(0u64), Just(512), Just(1024), Just(1 << 18), Just((1 << 18) + 512), Just(1 << 20)];
    (near, prop_oneof![Just(0u64), 0..8u64, 500..520u64, Just(256), Just(64)])
        .prop_map(|(near, more)| near + more)
}

fn pages() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..4u64,
        Just(16),
        Just(256),
        Just(511),
        Just(512),
        Just(513),
        Just(1024),
        Just(1 << 18),
        Just((1 << 18) + 5)
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let target = prop_oneof![Just(0u64), Just(1), Just(16), Just(512), Just(1 << 18)];
    prop_oneof![
        5 => (page(), pages(), target, access()).prop_map(|(page, pages, target, access)| {
            // The same offset within a large page, or another.
            Deed::Map { page, pages, target: (1 << 19) + page + target, access }
        }),
        4 => (page(), pages()).prop_map(|(page, pages)| Deed::Unmap { page, pages }),
        2 => (page(), pages(), access()).prop_map(|(page, pages, access)| Deed::Protect { page, pages, access }),
        1 => Just(Deed::Join),
        1 => Just(Deed::Prune),
        1 => Just(Deed::Release),
    ]
}

struct Bench<F> {
    table: PageTable<F>,
    memory: Watched,
    model: BTreeMap<u64, Page>,
    exchanges: bool,
    write_only: bool,
}

impl<F: Format> Bench<F> {
    fn new(format: F, kind: Kind, pages: usize) -> Self {
        let words: Vec<AtomicU64> = (0..pages * 512).map(|_| AtomicU64::new(0)).collect();
        let mut memory = Watched {
            pool: Pool::new(words, BASE),
            kind,
            root: None,
            probes: Vec::new(),
            passed: RefCell::default(),
            writes: 0,
        };
        let (exchanges, write_only) = (format.exchanges(), format.permits(Access::WRITE));
        let table = PageTable::new(format, &mut memory).unwrap();
        memory.root = Some(table.root());
        Self { table, memory, model: BTreeMap::new(), exchanges, write_only }
    }

    /// Addresses around a span and in the model, with what they lead to, and what they are to.
    fn probe(&mut self, page: u64, pages: u64, after: &dyn Fn(u64, Option<Page>) -> Option<Page>) {
        let span = [page.saturating_sub(1), page, page + 1, page + pages / 2, page + pages - 1, page + pages];
        let large = [
            page & !511,
            page | 511,
            (page + pages - 1) & !511,
            (page + pages) | 511,
            page & !0x3ffff,
            page | 0x3ffff,
        ];
        let held = self.model.keys().copied().step_by(self.model.len() / 24 + 1);
        let probes = span.into_iter().chain(large).chain(held).map(|n| {
            let before = self.model.get(&n).copied();
            Probe {
                at: n << 12,
                before,
                after: if (page..page + pages).contains(&n) { after(n, before) } else { before },
            }
        });
        self.memory.probes = probes.collect();
        self.memory.look();
    }

    /// Whether the table says what the model does; of many pages, so many of them.
    fn check(&self, samples: usize) {
        let memory = &self.memory;
        let read = |at: u64| memory.pool.read(at & !0xfff, (at & 0xfff) / 8).unwrap();
        let root = self.table.root();
        for (page, expected) in self.model.iter().step_by(self.model.len() / samples + 1) {
            assert_eq!(walk(memory.kind, &read, root, page << 12), Some(*expected), "page {page:#x}");
            let found = self.table.lookup(memory, (page << 12) + 0x123).unwrap();
            let access = Access { read: expected.1, write: expected.2 };
            assert_eq!(
                (found.leaf.target + ((page << 12) - found.first), found.leaf.access),
                (expected.0, access)
            );
        }
        // And nothing else is mapped: what the table says of all is the model.
        let mut listed = 0u64;
        self.table.each(memory, 0, u64::MAX, &mut |mapped| listed += 1 << (mapped.leaf.shift - 12)).unwrap();
        assert_eq!(listed, self.model.len() as u64);
    }

    fn run(&mut self, deed: Deed) {
        let bytes = |page: u64, pages: u64| (page << 12, ((page + pages) << 12) - 1);
        match deed {
            Deed::Map { page, pages, target, access } => {
                let (first, last) = bytes(page, pages);
                let taken = self.model.range(page..page + pages).next().map(|(page, _)| page << 12);
                let new = |n: u64| ((target + (n - page)) << 12, access.read, access.write);
                self.probe(page, pages, &|n, before| if taken.is_some() { before } else { Some(new(n)) });
                let (told, left) = (
                    self.table.on(&mut self.memory).tables_to_map(first, last, target << 12, access, None),
                    self.memory.pool.left(),
                );
                let done = self.table.on(&mut self.memory).map(first, last, target << 12, access);
                if access == Access::WRITE && !self.write_only {
                    assert_eq!(done, Err(TableError::Access));
                } else if let Some(at) = taken {
                    assert_eq!(done, Err(TableError::Taken { at }));
                } else if !matches!(done, Err(TableError::Short(_))) {
                    assert_eq!(done.map(|forget| (forget.first, forget.last)), Ok((first, last)));
                    assert_eq!(told.map(|tables| left - tables), Ok(self.memory.pool.left()));
                    self.model.extend((page..page + pages).map(|n| (n, new(n))));
                }
            }
            Deed::Unmap { page, pages } => self.change(page, pages, None),
            Deed::Protect { page, pages, access } => self.change(page, pages, Some(access)),
            Deed::Join => {
                self.probe(0, 1, &|_, before| before);
                let stale = self.table.stale();
                let forget = self.table.on(&mut self.memory).join(0, (1 << 33) - 1).unwrap();
                assert!(forget.tables || self.table.stale() == stale);
            }
            Deed::Prune => {
                self.probe(0, 1, &|_, before| before);
                let stale = self.table.stale();
                let forget = self.table.on(&mut self.memory).prune(0, (1 << 33) - 1).unwrap();
                assert!(forget.tables || self.table.stale() == stale);
            }
            Deed::Release => self.table.release(&mut self.memory),
        }
        self.memory.probes.clear();
    }

    fn change(&mut self, page: u64, pages: u64, access: Option<Access>) {
        let (first, last) = (page << 12, ((page + pages) << 12) - 1);
        let absent = (page..page + pages).find(|n| !self.model.contains_key(n)).map(|page| page << 12);
        let new = |(target, ..): Page| access.map(|access| (target, access.read, access.write));
        self.probe(page, pages, &|_, before| if absent.is_some() { before } else { before.and_then(new) });
        let (stale, left) = (self.table.stale(), self.memory.pool.left());
        let told = self.table.on(&mut self.memory).tables_to_change(first, last);
        let done = match access {
            None => self.table.on(&mut self.memory).unmap(first, last),
            Some(access) => self.table.on(&mut self.memory).protect(first, last, access),
        };
        if access == Some(Access::WRITE) && !self.write_only {
            assert_eq!(done, Err(TableError::Access));
            return;
        }
        match (done, absent) {
            (Err(TableError::Whole { at, shift }), _) => {
                assert!(!self.exchanges && (at < first || at + (1 << shift) - 1 > last));
            }
            (Err(TableError::Short(_)), _) => {}
            (done, Some(at)) => assert_eq!(done, Err(TableError::Absent { at })),
            (done, None) => {
                let forget = done.unwrap();
                assert_eq!(told.map(|tables| left - tables), Ok(self.memory.pool.left()));
                assert!(forget.first <= first && forget.last >= last);
                assert!(forget.tables || self.table.stale() == stale, "tables went, and nobody is told");
                for n in page..page + pages {
                    match self.model.get(&n).copied().and_then(new) {
                        Some(new) => self.model.insert(n, new),
                        None => self.model.remove(&n),
                    };
                }
            }
        }
    }
}

/// In each format, with memory for so many tables and those at the top.
fn all(deeds: &[Deed], pages: usize) {
    fn try_one<F: Format>(format: Option<F>, kind: Kind, (deeds, pages): (&[Deed], usize)) {
        let format = format.unwrap();
        let first = format.entries(format.levels()).div_ceil(512) as usize;
        let mut bench = Bench::new(format, kind, pages + first);
        for deed in deeds {
            bench.run(*deed);
            bench.check(64);
        }
        bench.check(usize::MAX);
        // All that was taken comes back.
        let mapped: Vec<u64> = bench.model.keys().copied().collect();
        let whole = mapped.iter().fold(Vec::<(u64, u64)>::new(), |mut runs, page| {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *page => *last = *page,
                _ => runs.push((*page, *page)),
            }
            runs
        });
        for (first, last) in whole {
            bench.run(Deed::Unmap { page: first, pages: last - first + 1 });
        }
        bench.check(64);
        bench.table.on(&mut bench.memory).prune(0, (1 << 33) - 1).unwrap();
        bench.table.release(&mut bench.memory);
        assert_eq!(bench.memory.pool.left(), pages, "tables are lost");
    }
    for levels in 3..=5 {
        try_one(VtdSecondStage::new(levels, 46, 3), Kind::Vtd(levels), (deeds, pages));
    }
    try_one(VtdSecondStage::new(4, 46, 1), Kind::Vtd(4), (deeds, pages));
    try_one(VtdSecondStage::new(4, 46, 0), Kind::Vtd(4), (deeds, pages));
    for mode in 3..=6 {
        try_one(AmdV1::new(mode), Kind::Amd(mode), (deeds, pages));
    }
    for levels in 4..=5 {
        try_one(X86::new(levels, 46, levels == 4), Kind::X86(levels), (deeds, pages));
    }
    for (width, exchanges) in [(33, true), (36, true), (40, false), (43, true), (48, true)] {
        try_one(ArmStage2::new(width, 44, exchanges), Kind::Arm(width), (deeds, pages));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn hardware_never_sees_anything_but_before_or_after(deeds in prop::collection::vec(deed(), 1..14), pages in prop_oneof![2 => Just(PAGES), 1 => 2..12usize]) {
        all(&deeds, pages);
    }
}

/// What makes no sense is refused by its own name and with its numbers, and nothing changes.
#[test]
fn each_refusal_names_its_numbers() {
    let words: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
    let mut pool = Pool::new(words, BASE);
    let mut table = PageTable::new(VtdSecondStage::new(3, 39, 1).unwrap(), &mut pool).unwrap();
    let mut on = table.on(&mut pool);
    let mut map = |first, last, target| on.map(first, last, target, Access::BOTH);
    map(0x4000, 0x4fff, 0x8000).unwrap();
    for (done, error, text) in [
        (
            map(0x3000, 0x1fff, 0x8000),
            TableError::Reversed { first: 0x3000, last: 0x1fff },
            "the span ends at 0x1fff, below its start 0x3000",
        ),
        (
            map(0x1800, 0x1fff, 0x8000),
            TableError::Unaligned { at: 0x1800 },
            "0x1800 is not a multiple of 4096",
        ),
        (
            map(0x1000, 0x17ff, 0x8000),
            TableError::Unaligned { at: 0x1800 },
            "0x1800 is not a multiple of 4096",
        ),
        (
            map(0x1000, 0x1fff, 0x8001),
            TableError::Unaligned { at: 0x8001 },
            "0x8001 is not a multiple of 4096",
        ),
        (
            map(0, (1 << 40) - 1, 0),
            TableError::TooWide { at: (1 << 40) - 1, width: 39 },
            "0xffffffffff is beyond the 39 bits that are translated",
        ),
        (map(0x3000, 0x4fff, 0x8000), TableError::Taken { at: 0x4000 }, "0x4000 is mapped already"),
    ] {
        assert_eq!(done, Err(error));
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(on.unmap(0x4000, 0x5fff), Err(TableError::Absent { at: 0x5000 }));
    assert_eq!(table.lookup(&pool, 0x4000).map(|found| found.leaf.target), Some(0x8000));
}

/// Gigabytes: made, split in the middle, joined.
#[test]
fn gigabytes_are_split_and_joined() {
    let (page, pages) = (1 << 18, 1 << 18);
    all(
        &[
            Deed::Map { page, pages: pages + 5, target: 1 << 19, access: Access::BOTH },
            Deed::Protect { page: page + 512, pages: 1, access: Access::READ },
            Deed::Join,
            Deed::Unmap { page: page + 1024, pages: 3 },
            Deed::Map { page: page + 1024, pages: 3, target: (1 << 19) + 1024, access: Access::BOTH },
            Deed::Protect { page: page + 512, pages: 1, access: Access::BOTH },
            Deed::Join,
            Deed::Release,
            Deed::Unmap { page, pages },
        ],
        PAGES,
    );
}

proptest! {
    /// What several spans take together is what is counted of them, in whatever table.
    #[test]
    fn tables_that_spans_share_are_counted_once(
        had in prop::collection::vec((page(), pages()), 0..6),
        spans in prop::collection::vec((page(), pages(), prop_oneof![Just(0u64), Just(1)]), 1..8),
    ) {
        let words: Vec<AtomicU64> = (0..4000 * 512).map(|_| AtomicU64::new(0)).collect();
        let mut pool = Pool::new(words, BASE);
        let mut table = PageTable::new(VtdSecondStage::new(4, 46, 3).unwrap(), &mut pool).unwrap();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut free = |page: u64, pages: u64| {
            let is_free = taken.iter().all(|(first, last)| page > *last || page + pages - 1 < *first);
            is_free.then(|| taken.push((page, page + pages - 1))).is_some()
        };
        for (page, pages) in had {
            if free(page, pages) {
                let (first, last) = (page << 12, ((page + pages) << 12) - 1);
                table.on(&mut pool).map(first, last, (1 << 40) + first, Access::BOTH).unwrap();
            }
        }
        let mut new: Vec<(u64, u64, u64)> = spans.into_iter().filter(|(page, pages, _)| free(*page, *pages)).collect();
        new.sort_unstable();
        let span = |(page, pages, apart): (u64, u64, u64)| (page << 12, ((page + pages) << 12) - 1, (1 << 40) + ((page + apart) << 12));
        let (mut told, mut after) = (0, None);
        for one in &new {
            let (first, last, target) = span(*one);
            told += table.on(&mut pool).tables_to_map(first, last, target, Access::BOTH, after).unwrap();
            after = Some(last);
        }
        let left = pool.left();
        for one in new {
            let (first, last, target) = span(one);
            table.on(&mut pool).map(first, last, target, Access::BOTH).unwrap();
        }
        // A table that leads to nothing, and goes for a large page, may be left over.
        prop_assert_eq!(left - pool.left(), told);
    }
}
