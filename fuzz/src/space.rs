//! The index against a sorted list, over fuzzed sequences of operations: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../pmem-space/tests/oracle/list.rs"]
mod list;

use libfuzzer_sys::fuzz_target;
use list::{Ask, Op, SIZE};

/// The bytes of one operation.
const STEP: usize = 10;

fn op(bytes: &[u8; STEP]) -> Op {
    let [kind, a, b, c, d, e, f, g, h, i] = *bytes;
    let word = |low: u8, high: u8| u64::from(low) | u64::from(high) << 8;
    let (start, len) = (word(a, b) % SIZE, word(c, d));
    match kind % 16 {
        0 => Op::Rebase(e % 3, start, 1 + len % (SIZE / 4)),
        1..=4 => Op::Insert(start, 1 + len % 40),
        5..=8 => Op::Remove(word(a, b) as usize),
        15 if e % 4 == 0 => Op::Keep,
        _ => Op::Alloc(Ask {
            len: 1 + u64::from(e) % 60,
            align: u32::from(f % 7),
            phase: u64::from(g % 64),
            boundary: (h % 5 == 0).then_some(6 + u32::from(h / 5 % 3)),
            window: (i % 2 == 0).then_some((start, 1 + len % SIZE)),
            policy: i / 2 % 4,
        }),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, steps)) = data.split_first() else { return };
    let ops = steps.chunks_exact(STEP).filter_map(|step| Some(op(step.try_into().ok()?)));
    list::run(first & 1 == 1, ops.take(2000).collect());
});
