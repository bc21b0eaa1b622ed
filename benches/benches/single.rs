//! Single operations, each by itself: `cargo bench -p pmem-bench`.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Manager, Pmem, RegionId, Request};
use pmem_space::{Fit, Policy, Space};
use std::hint::black_box;

const PAGE: u64 = 4096;
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

/// Every other page of `n` pages is taken.
fn comb(n: u64) -> Space<u64> {
    let mut space = Space::new();
    space.open(AddrRange::sized(0, 2 * n * PAGE + (1 << 30)).expect("far below 2^64"));
    for i in 0..n {
        space.insert(AddrRange::sized(2 * i * PAGE, PAGE).expect("far below 2^64"), i).expect("a gap");
    }
    space
}

fn index(c: &mut Criterion) {
    for n in SIZES {
        let mut space = comb(n);
        let mut group = c.benchmark_group("space");
        let middle = n * PAGE;
        group.bench_function(BenchmarkId::new("get", n), |b| {
            b.iter(|| black_box(space.get(black_box(middle))));
        });
        group.bench_function(BenchmarkId::new("before and after", n), |b| {
            b.iter(|| black_box((space.before(black_box(middle)), space.after(black_box(middle)))));
        });
        for (name, policy) in [
            ("first fit", Policy::FirstFit),
            ("last fit", Policy::LastFit),
            ("instant fit", Policy::InstantFit),
            ("good fit", Policy::GoodFit),
        ] {
            let fit = Fit::new(2 * PAGE)
                .and_then(|fit| fit.align(2 * PAGE))
                .expect("a power of two")
                .policy(policy);
            group.bench_function(BenchmarkId::new(format!("find, {name}"), n), |b| {
                b.iter(|| black_box(space.find(black_box(&fit))));
            });
        }
        let gap = AddrRange::sized((n | 1) * PAGE, PAGE).expect("far below 2^64");
        group.bench_function(BenchmarkId::new("insert and remove", n), |b| {
            b.iter(|| {
                space.insert(gap, 7).expect("a gap");
                black_box(space.remove(gap.start()));
            });
        });
        let kept = space.clone();
        group.bench_function(BenchmarkId::new("insert beside a clone", n), |b| {
            b.iter_batched_ref(
                || kept.clone(),
                |space| space.insert(gap, 7).expect("a gap"),
                BatchSize::SmallInput,
            );
        });
    }
}

fn manager(n: u64) -> (Manager, ArenaId, Vec<RegionId>) {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("RAM", ArenaType::RAM).expect("nothing is in the way");
    let all = AddrRange::sized(0, 4 * n * PAGE).expect("far below 2^64");
    pmem.prime(arena, all, Attrs::ram()).expect("nothing is in the way");
    let exactly = |i| Request::new(PAGE).at(2 * i * PAGE);
    let regions = (0..n).map(|i| pmem.alloc(arena, &exactly(i)).expect("there is space")).collect();
    (pmem, arena, regions)
}

fn verbs(c: &mut Criterion) {
    for n in SIZES {
        let (mut pmem, arena, regions) = manager(n);
        let region = regions[regions.len() / 2];
        let mut group = c.benchmark_group("manager");
        let request = Request::new(PAGE);
        group.bench_function(BenchmarkId::new("alloc and decref", n), |b| {
            b.iter(|| {
                let new = pmem.alloc(arena, black_box(&request)).expect("there is space");
                pmem.decref(new).expect("held");
            });
        });
        group.bench_function(BenchmarkId::new("set", n), |b| {
            let mut device = false;
            b.iter(|| {
                device = !device;
                pmem.set(region, if device { Attrs::device() } else { Attrs::ram() }).expect("admitted");
            });
        });
        group.bench_function(BenchmarkId::new("incref and decref", n), |b| {
            b.iter(|| {
                pmem.incref(black_box(region)).expect("there");
                pmem.decref(region).expect("held");
            });
        });
        let shared = Pmem::from(pmem);
        group.bench_function(BenchmarkId::new("alloc and release, published", n), |b| {
            b.iter(|| {
                shared.alloc(arena, black_box(&request)).expect("there is space").release().expect("held")
            });
        });
    }
}

criterion_group!(single, index, verbs);
criterion_main!(single);
