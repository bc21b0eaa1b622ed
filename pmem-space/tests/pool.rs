//! With a filled pool, no change takes other memory, and neither does the one that undoes it: also where nodes are
//! shared and must be copied, split or joined.

use pmem_space::{AddrRange, Pool, Space};

fn page(i: u64) -> AddrRange {
    AddrRange::sized(i << 12, 1 << 12).unwrap()
}

/// Marsaglia's xorshift64.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_filled_pool_is_all_the_memory_that_a_change_takes() {
    const PAGES: u64 = 1 << 13;
    let (mut space, mut pool, mut seed) = (Space::new(), Pool::default(), 88_172_645_463_325_252);
    space.open(AddrRange::sized(0, PAGES << 12).unwrap());
    let mut kept = Vec::new();
    for step in 0..60_000u64 {
        let range = page(next(&mut seed) % PAGES);
        let taken = space.get(range.start()).is_some();
        // First mostly fills, then mostly empties: nodes are split, and joined.
        let fills = step % 20_000 < 10_000;
        if taken == fills && !next(&mut seed).is_multiple_of(8) {
            continue;
        }
        if step.is_multiple_of(50) {
            kept.push(space.clone());
        }
        space.fill_pool(&mut pool);
        let back_and_forth = |space: &mut Space<u64>, pool: &mut Pool<u64>| {
            let mut space = space.pooled(pool);
            let was = space.remove(range.start());
            if was.is_none() {
                space.insert(range, step).unwrap();
            }
            was
        };
        let used = allocation_counter::measure(|| {
            back_and_forth(&mut space, &mut pool);
            let undone = back_and_forth(&mut space, &mut pool);
            assert_eq!(undone.is_some(), !taken);
        });
        assert_eq!(used.count_total, 0, "step {step}: {used:?}");
        space.fill_pool(&mut pool);
        back_and_forth(&mut space, &mut pool);
    }
    assert!(kept.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn what_a_change_has_no_more_use_for_serves_the_next() {
    let (mut space, mut pool) = (Space::new(), Pool::default());
    space.open(AddrRange::sized(0, 1 << 32).unwrap());
    for i in 0..200 {
        space.insert(page(2 * i), i).unwrap();
    }
    space.fill_pool(&mut pool);
    // Nodes are split as it fills, and joined as it empties: more of them than the pool was filled with.
    let mut there_and_back = || {
        allocation_counter::measure(|| {
            for i in 0..200 {
                space.pooled(&mut pool).insert(page(2 * i + 1), i).unwrap();
            }
            for i in 0..200 {
                space.pooled(&mut pool).remove(page(2 * i + 1).start()).unwrap();
            }
        })
    };
    assert!(there_and_back().count_total > 5, "nodes were split");
    for _ in 0..30 {
        assert_eq!(there_and_back().count_total, 0);
    }
}

#[test]
fn what_was_emptied_gives_its_memory_back() {
    let mut space = Space::new();
    space.open(AddrRange::sized(0, 1 << 32).unwrap());
    let filled =
        allocation_counter::measure(|| (0..20_000).for_each(|i| space.insert(page(2 * i), i).unwrap()));
    let mut seed = 88_172_645_463_325_252;
    let emptied = allocation_counter::measure(|| {
        while space.taken() > 200 {
            space.remove(page(2 * (next(&mut seed) % 20_000)).start());
        }
    });
    let left = filled.bytes_current + emptied.bytes_current;
    assert!(left < filled.bytes_current / 20, "{left} of {} bytes", filled.bytes_current);
}
