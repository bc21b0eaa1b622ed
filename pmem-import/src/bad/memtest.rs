//! Output of memory testers: memtest86+, MemTest86, Windows' and others.

use super::record::{BadRecord, MemoryError, PAGE, Setting};
use super::setting::badram;
use crate::number::hex;

fn error(address: u64) -> BadRecord {
    BadRecord::Error(MemoryError { address, ..MemoryError::default() })
}

fn aside(text: &str) -> Vec<BadRecord> {
    vec![BadRecord::Aside(text.to_owned())]
}

/// Reads a line. `in_list` tells whether pairs of an earlier line's `badram=` may continue in this one;
/// it is updated.
pub(super) fn read(words: &str, in_list: &mut bool) -> Vec<BadRecord> {
    // `badram=0x…,0xfff…f8,…`, which memtest86+ proposes, on one line or several. In a short text, quoted-printable
    // decoding takes an equals sign at the end of a line for a soft break, so the sign may be missing.
    let list = words.strip_prefix("badram").map(|list| list.trim_start_matches('='));
    let list = match list.filter(|list| list.is_empty() || list.starts_with("0x")) {
        Some(list) => Some(list),
        None if *in_list && words.starts_with("0x") => Some(words),
        None => None,
    };
    *in_list = list.is_some_and(|list| list.is_empty() || list.ends_with(','));
    if let Some(list) = list {
        let Some(Setting::BadRam { pairs, .. }) = badram(list) else { return Vec::new() };
        return pairs.into_iter().map(pattern).collect();
    }
    if words.starts_with("4MEM") {
        return aside(
            "not an address: the number after the colon is undocumented, and 4MEM names a kind of error, not a slot",
        );
    }
    if words.contains("BUFA address") {
        return aside(
            "not an address in memory: BUFA addresses are virtual addresses of the tester's buffers",
        );
    }
    // `Address: 252A019F8, Expected: FEF7FFFF, Actual: FFF7FFFF`.
    if let Some((_, rest)) = words.split_once("Address: ").filter(|(_, rest)| rest.contains("Expected: ")) {
        return compared(rest).into_iter().collect();
    }
    if let Some(mask) = words.strip_prefix("bits in error mask ").and_then(|rest| hex(rest.trim())) {
        return vec![BadRecord::Bits(mask)];
    }
    for word in ["lowest ", "highest "] {
        if let Some(bound) = words.strip_prefix(word).and_then(|rest| hex(rest.split_whitespace().next()?)) {
            return vec![BadRecord::Bound(bound)];
        }
    }
    if let Some(rest) = words.strip_prefix("Failing address:") {
        return rest.split_whitespace().next().and_then(hex).map(error).into_iter().collect();
    }
    if let Some((what, rest)) = words.split_once(':')
        && (!what.contains([' ', '[']) || what.contains("error") || what.contains("pattern"))
    {
        return named(what, rest.trim());
    }
    // `00027ca9f010 (9.94GB) test 7`, `00010c1d370`.
    let mut parts = words.split_whitespace();
    let first = parts.next().unwrap_or("");
    let is_address = (9..=16).contains(&first.len()) && first.starts_with("000");
    let follows = parts.next().is_none_or(|part| part.starts_with('('));
    if is_address && follows { hex(first).map(error).into_iter().collect() } else { Vec::new() }
}

fn compared(rest: &str) -> Option<BadRecord> {
    let after = |word: &str| hex(rest.split_once(word)?.1.split([',', ' ']).next()?);
    let address = hex(rest.split(',').next()?.trim())?;
    let bits = after("Expected: ").zip(after("Actual: ")).map(|(expected, actual)| expected ^ actual);
    Some(BadRecord::Error(MemoryError { address, bits, ..MemoryError::default() }))
}

/// Reads what follows a name and a colon.
fn named(what: &str, rest: &str) -> Vec<BadRecord> {
    let first = || hex(rest.split([',', ' ']).next()?);
    if what.contains("pattern") {
        let of =
            |address| BadRecord::Error(MemoryError { address, is_pattern: true, ..MemoryError::default() });
        return first().map(of).into_iter().collect();
    }
    // `errors: 0x7DDF0000 .. 0x7DDF4000`: an end at a page boundary is exclusive.
    if let Some((low, high)) = rest.split_once("..") {
        let last = |end: u64, first: u64| if end & 0xfff == 0 && end > first { end - 1 } else { end };
        let ends = hex(low.trim()).zip(hex(high.trim())).filter(|(low, high)| low <= high);
        return ends.map(|(low, high)| BadRecord::Range(low, last(high, low))).into_iter().collect();
    }
    if what.contains("error") {
        return first().map(error).into_iter().collect();
    }
    // Lists of page frames: `mdsched: 0x1efbe8 0x1efbe9 …`.
    let numbers: Option<Vec<u64>> = rest.split([' ', ',']).filter(|part| !part.is_empty()).map(hex).collect();
    let is_list = |numbers: &Vec<u64>| {
        let are_frames = numbers.iter().all(|n| n >> 32 == 0) && numbers.iter().any(|n| n & 0xfff != 0);
        numbers.len() >= 4 && rest.starts_with("0x") && are_frames
    };
    let frames = numbers.filter(is_list).unwrap_or_default();
    frames.into_iter().map(|frame| error(frame << PAGE)).collect()
}

/// Converts a tester's pair of address and mask. Bits that vary within a page mean that page; contiguous low bits
/// mean a range; other masks stay a `badram` pattern.
fn pattern((address, mask): (u64, u64)) -> BadRecord {
    let free = !mask;
    if free >> PAGE == 0 {
        return error(address);
    }
    if free.wrapping_add(1).is_power_of_two() {
        return BadRecord::Range(address & mask, address | free);
    }
    BadRecord::Setting(Setting::BadRam { pairs: vec![(address, mask)], left: None })
}
