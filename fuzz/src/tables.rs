//! Page tables made of fuzzed bytes, in every format: listing and look-up must agree, and changes are either
//! refused or carried out; `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use pmem_iommu::table::{Access, AmdV1, ArmStage2, Format, Mapped, PageTable, Pool, VtdSecondStage, X86};
use std::sync::atomic::AtomicU64;

/// The address of the tables: low, so that fuzzed entries are likely to point into them.
const BASE: u64 = 0x1000;
const PAGES: usize = 24;

fn run<F: Format + Clone>(format: Option<F>, data: &[u8], at: [u64; 4]) {
    let Some(format) = format else { return };
    let words: Vec<AtomicU64> = (0..PAGES * 512).map(|_| AtomicU64::new(0)).collect();
    // Spread the entries over the beginnings of all pages.
    for (n, chunk) in data.chunks_exact(8).enumerate() {
        let entry = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        words[n % 20 * 512 + n / 20 % 512].store(entry, std::sync::atomic::Ordering::Relaxed);
    }
    let mut pool = Pool::new(words, BASE);
    let mut table = PageTable::adopt(format, BASE);
    let mut listed: Vec<Mapped> = Vec::new();
    let done = table.each(&pool, at[0], at[0].saturating_add(0xfff_ffff), &mut |one| listed.push(one));
    if done.is_ok() {
        for one in listed.iter().take(64) {
            // A leaf of several entries is listed as one. In fuzzed tables, some of those entries may differ.
            let step = 1 << (one.leaf.shift - 8).max(12);
            let mut places = (0..256).map(|n| one.first.saturating_add(n * step).max(at[0]));
            let is_there =
                |at| table.lookup(&pool, at).is_some_and(|found| found.leaf.target == one.leaf.target);
            assert!(places.any(is_there), "{one:x?}");
        }
    }
    let span = |at: u64, pages: u64| (at & !0xfff, (at & !0xfff).saturating_add(pages << 12).wrapping_sub(1));
    for (n, at) in at.into_iter().enumerate() {
        let (first, last) = span(at, 1 + (at & 0x3ff));
        let _ = match n {
            0 => table.on(&mut pool).map(first, last, at >> 7 & !0xfff, Access::BOTH),
            1 => table.on(&mut pool).unmap(first, last),
            2 => table.on(&mut pool).protect(first, last, Access::READ),
            _ => table.on(&mut pool).join(first, last).and(table.on(&mut pool).prune(first, last)),
        };
        let _ = table.lookup(&pool, at);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_at_checked(33) else { return };
    let at: Vec<u64> = head[1..]
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()))
        .collect();
    let Ok(at) = <[u64; 4]>::try_from(at) else { return };
    // Mostly low addresses.
    let at = at.map(|at| if at & 1 == 0 { at & 0xffff_ffff } else { at });
    match head[0] % 6 {
        0 => run(VtdSecondStage::new(3, 46, 3), rest, at),
        1 => run(VtdSecondStage::new(5, 52, 1), rest, at),
        2 => run(AmdV1::new(4), rest, at),
        3 => run(AmdV1::new(6), rest, at),
        4 => run(X86::new(4, 46, true), rest, at),
        _ => run(ArmStage2::new(40, 44, true), rest, at),
    }
});
