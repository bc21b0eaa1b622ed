//! IOMMU page tables: mapping and unmapping, beside libraries for processors' page tables and a loop that only
//! writes the entries; the same through the manager with its driver; and allocating and freeing device
//! addresses.

mod driver;
mod peers;
mod x86;

use crate::measure::{Figure, ROUNDS, run_for};
use crate::report::Line;
use crate::subject::{KINDS, Want};
use crate::workload::Rng;
use pmem_iommu::table::{Access, AmdV1, Format, PageTable, Pool, Short, TableMemory, VtdSecondStage, X86};
use pmem_space::AddrRange;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const PAGE: u64 = 4096;
/// Live mappings have a page each, at every fourth page from here on. Measured mappings lie beyond them.
const LIVE: u64 = 1 << 32;
const STRIDE: u64 = 4 * PAGE;
/// The place for measured mappings: slots of 2 MiB, one after another at random.
pub const ROOM: u64 = 1 << 36;
const PLACES: u64 = 512;
/// The target of mappings. Mappings by small pages are offset by a page, so that no large page can be used.
const TARGET: u64 = 1 << 32;

/// The size of the mapping that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Page,
    Large,
    Pages,
}

pub const CASES: [(Case, &str); 3] =
    [(Case::Page, "4 KiB"), (Case::Large, "2 MiB"), (Case::Pages, "256 x 4 KiB")];

impl Case {
    /// Returns the length, and the target for device address `at`.
    pub const fn what(self, at: u64) -> (u64, u64) {
        match self {
            Self::Page => (PAGE, TARGET + at),
            Self::Large => (2 << 20, TARGET + at + (1 << 38)),
            Self::Pages => (256 * PAGE, TARGET + at + (1 << 39) + PAGE),
        }
    }
}

/// A page table implementation.
pub trait Mapper {
    fn map(&mut self, at: u64, target: u64, len: u64);
    fn unmap(&mut self, at: u64, len: u64);
    /// Returns whether it supports a case.
    fn can(&self, _: Case) -> bool {
        true
    }
}

/// Memory for tables that counts writes.
struct Counted(Pool<Vec<AtomicU64>>, u64);

impl TableMemory for Counted {
    fn read(&self, table: u64, index: u64) -> Option<u64> {
        self.0.read(table, index)
    }
    fn write(&mut self, table: u64, index: u64, entry: u64) {
        self.1 += 1;
        self.0.write(table, index, entry);
    }
    fn set_aside(&mut self, tables: usize) -> Result<(), Short> {
        self.0.set_aside(tables)
    }
    fn take(&mut self) -> Option<u64> {
        self.0.take()
    }
    fn take_first(&mut self, pages: u64) -> Option<u64> {
        self.0.take_first(pages)
    }
    fn give(&mut self, table: u64) {
        self.0.give(table);
    }
}

/// Pages for `n` live mappings and for what is measured.
pub fn pool(n: usize) -> Pool<Vec<AtomicU64>> {
    let pages = n as u64 * STRIDE / (2 << 20) + 3 * PLACES + 64;
    Pool::new((0..pages * 512).map(|_| AtomicU64::new(0)).collect(), 1 << 40)
}

struct Ours<F, M>(PageTable<F>, M);

impl<F: Format, M: TableMemory> Ours<F, M> {
    fn new(format: Option<F>, mut memory: M) -> Self {
        let table = PageTable::new(format.expect("there is such a format"), &mut memory);
        Self(table.expect("there is memory"), memory)
    }
}

impl<F: Format, M: TableMemory> Mapper for Ours<F, M> {
    fn map(&mut self, at: u64, target: u64, len: u64) {
        let done = self.0.on(&mut self.1).map(at, at + len - 1, target, Access::BOTH);
        black_box(done.expect("nothing is there"));
    }
    fn unmap(&mut self, at: u64, len: u64) {
        black_box(self.0.on(&mut self.1).unmap(at, at + len - 1).expect("it is there"));
        self.0.release(&mut self.1);
    }
}

/// The lower bound: writes entries without finding out which.
struct Loop(Vec<AtomicU64>);

impl Mapper for Loop {
    fn map(&mut self, at: u64, target: u64, len: u64) {
        let first = (at / PAGE) as usize % self.0.len();
        for (n, entry) in self.0.iter().cycle().skip(first).take((len / PAGE) as usize).enumerate() {
            entry.store((target + n as u64 * PAGE) | 3, Ordering::Release);
        }
    }
    fn unmap(&mut self, at: u64, len: u64) {
        let first = (at / PAGE) as usize % self.0.len();
        self.0
            .iter()
            .cycle()
            .skip(first)
            .take((len / PAGE) as usize)
            .for_each(|entry| entry.store(0, Ordering::Release));
    }
    fn can(&self, case: Case) -> bool {
        case != Case::Large
    }
}

type Make = fn(usize) -> Box<dyn Mapper>;

const SUBJECTS: [(&str, Make); 8] = [
    ("a loop that writes the entries", |_| Box::new(Loop((0..1 << 10).map(|_| AtomicU64::new(0)).collect()))),
    ("pmem, VT-d", |n| Box::new(Ours::new(VtdSecondStage::new(4, 52, 3), pool(n)))),
    ("pmem, AMD-Vi", |n| Box::new(Ours::new(AmdV1::new(4), pool(n)))),
    ("pmem, x86-64", |n| Box::new(Ours::new(X86::new(4, 52, true), pool(n)))),
    ("x86_64 MappedPageTable", |_| x86::mapper()),
    ("page_table_multiarch", |_| peers::multiarch()),
    ("aarch64-paging, stage 2", |_| peers::aarch64()),
    ("pmem, VT-d, manager and driver", driver::managed),
];

/// Counts the entries written and the invalidations for one mapping and its removal.
fn counts(case: Case) -> String {
    let mut ours = Ours::new(VtdSecondStage::new(4, 52, 3), Counted(pool(1), 0));
    // Neighbours keep the tables from being freed.
    ours.map(ROOM - PAGE, TARGET, PAGE);
    ours.map(ROOM + (4 << 20), TARGET, PAGE);
    let (len, target) = case.what(ROOM);
    let before = ours.1.1;
    ours.map(ROOM, target, len);
    let mapped = ours.1.1 - before;
    let forget = ours.0.on(&mut ours.1).unmap(ROOM, ROOM + len - 1).expect("it is there");
    let unmapped = ours.1.1 - before - mapped;
    let kind = if forget.tables { "pages and tables" } else { "pages" };
    format!("{mapped} + {unmapped} entries written, 1 invalidation ({kind})")
}

/// Maps and unmaps beside `n` live mappings.
pub fn tables(sizes: &[usize], only: &str, time: Duration) -> Vec<Line> {
    let all: Vec<_> = SUBJECTS.iter().filter(|(name, _)| name.contains(only)).collect();
    let mut lines = Vec::new();
    for &n in sizes {
        let mut subjects: Vec<Box<dyn Mapper>> = all.iter().map(|(_, make)| make(n)).collect();
        for subject in &mut subjects {
            (0..n as u64).for_each(|i| subject.map(LIVE + i * STRIDE, TARGET + i * STRIDE, PAGE));
        }
        for (case, name) in CASES {
            let mut figures = vec![Figure::default(); subjects.len()];
            for round in 0..ROUNDS {
                for (subject, figure) in subjects.iter_mut().zip(&mut figures) {
                    if !subject.can(case) {
                        continue;
                    }
                    let mut rng = Rng::new(round as u64 + 1);
                    figure.add(run_for(time, || {
                        // Each case has its own slots, because not every subject frees empty tables.
                        let at = ROOM + ((case as u64) << 38) + rng.below(PLACES) * (2 << 20);
                        let (len, target) = case.what(at);
                        subject.map(at, target, len);
                        subject.unmap(at, len);
                    }));
                }
            }
            for (((subject, _), figure), own) in all.iter().zip(&figures).zip(&subjects) {
                if own.can(case) {
                    let note = if *subject == "pmem, VT-d" { counts(case) } else { String::new() };
                    lines.push(Line {
                        ns: Some(figure.median()),
                        spread: Some(figure.spread()),
                        note,
                        ..Line::new("iommu", name, n, subject)
                    });
                }
            }
        }
    }
    lines
}

/// Device addresses: frees a page and allocates another, in a space with `n` taken pages.
pub fn addresses(sizes: &[usize], only: &str, time: Duration) -> Vec<Line> {
    let names = ["pmem-space", "btreemap", "vm-allocator"];
    let all = AddrRange::inclusive(0, (1 << 39) - 1).expect("a range");
    let want = Want { len: PAGE, align: PAGE, window: None };
    let mut lines = Vec::new();
    for &n in sizes {
        for kind in KINDS.iter().filter(|kind| names.contains(&kind.name) && kind.name.contains(only)) {
            // Skip subjects that would take too long.
            if n > 100_000 && kind.name != "pmem-space" {
                continue;
            }
            let mut subject = (kind.make)(all);
            let mut live: Vec<_> =
                (0..n as u64).filter_map(|i| subject.adopt(AddrRange::sized(i * PAGE, PAGE).ok()?)).collect();
            let mut figure = Figure::default();
            for round in 0..ROUNDS {
                let mut rng = Rng::new(round as u64 + 1);
                figure.add(run_for(time, || {
                    let which = rng.below(live.len() as u64) as usize;
                    subject.free(&live[which]);
                    live[which] = subject.alloc(&want).expect("one was given back");
                }));
            }
            lines.push(Line {
                ns: Some(figure.median()),
                spread: Some(figure.spread()),
                ..Line::new("iommu", "a device address", n, kind.name)
            });
        }
    }
    lines
}
