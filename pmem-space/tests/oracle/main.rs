//! The index against a sorted list, for every policy: random operations over spaces that end at 2^64 too, old clones
//! staying what they were.

mod list;

use list::{Ask, Op, SIZE};
use proptest::prelude::*;

fn ask() -> impl Strategy<Value = Ask> {
    let window = prop::option::weighted(0.4, (0..SIZE, 1..SIZE));
    (1..60u64, 0..7u32, 0..64u64, prop::option::weighted(0.2, 6..9u32), window, 0..4u8).prop_map(
        |(len, align, phase, boundary, window, policy)| Ask { len, align, phase, boundary, window, policy },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..3u8, 0..SIZE, 1..SIZE / 4).prop_map(|(base, start, len)| Op::Rebase(base, start, len)),
        10 => (0..SIZE, 1..40u64).prop_map(|(start, len)| Op::Insert(start, len)),
        10 => (0..4096usize).prop_map(Op::Remove),
        20 => ask().prop_map(Op::Alloc),
        1 => Just(Op::Keep),
    ]
}

/// How many sequences of operations: `PROPTEST_CASES`, or few enough for every build.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_a_sorted_list(high in any::<bool>(), ops in prop::collection::vec(op(), 1..900)) {
        list::run(high, ops);
    }
}
