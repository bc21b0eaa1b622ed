//! `pmem annotate`.

use crate::args::Args;
use crate::source::{open, viewer};
use crate::{Failure, SCHEMA, Status, json, names};
use pmem_core::{ArenaId, OwnedResolution};
use pmem_import::Machine;
use serde_json::json;
use std::io::{BufRead, Write};

/// Lines longer than this are passed on without a look.
const LONGEST: usize = 1 << 16;

pub(crate) fn run(
    args: &Args,
    from: Option<&str>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let machine = open(args)?;
    let from = viewer(&machine, from)?;
    let mut notes = Vec::new();
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let found = if text.len() > LONGEST { Vec::new() } else { addresses(&text) };
        if !args.json {
            writeln!(out, "{}", text.trim_end_matches(['\n', '\r']))?;
        }
        for addr in found {
            let resolution = machine.state().resolve(from, addr);
            if args.json {
                let mut note = json!({ "line": number });
                json::merge(&mut note, json::resolution(&machine, from, addr, &resolution));
                notes.push(note);
            } else {
                writeln!(out, "    {addr:#x}: {}", explain(&machine, from, &resolution))?;
            }
        }
    }
    if args.json {
        writeln!(out, "{:#}", json!({ "schema": SCHEMA, "notes": notes }))?;
    }
    Ok(Status::Done)
}

fn explain(machine: &Machine, from: ArenaId, resolution: &OwnedResolution) -> String {
    match resolution {
        OwnedResolution::Accept { place, .. } => {
            let what = names::place(machine, place.arena, place.region);
            let elsewhere = place.arena != from && place.region.is_some();
            if elsewhere { format!("{what}, {}", machine.arena_name(place.arena)) } else { what }
        }
        _ => names::reason(machine, resolution).unwrap_or_default(),
    }
}

/// The physical addresses in a line: hexadecimal with `0x` and at least three digits, and both ends of the ranges of
/// `/proc/iomem`.
fn addresses(line: &str) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    if let Some((range, _)) = line.split_once(" : ")
        && let Some((start, last)) = range.trim().split_once('-')
        && [start, last].iter().all(|end| end.len() >= 4 && end.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        found.extend([start, last].iter().filter_map(|end| u64::from_str_radix(end, 16).ok()));
    }
    let mut rest = line;
    while let Some(at) = rest.find("0x") {
        let word_before =
            rest[..at].bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        rest = &rest[at + 2..];
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (number, after) = rest.split_at(digits);
        rest = after;
        let word_after = after.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if (3..=16).contains(&digits) && !word_before && !word_after {
            found.extend(u64::from_str_radix(number, 16));
        }
    }
    let mut seen = Vec::new();
    found.retain(|addr| {
        !seen.contains(addr) && {
            seen.push(*addr);
            true
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_found_where_they_stand() {
        assert_eq!(addresses("pci: reg 0x10: [mem 0xfd000000-0xfdffffff pref]"), [0xfd00_0000, 0xfdff_ffff]);
        assert_eq!(addresses("  fec00000-fec003ff : IOAPIC 0"), [0xfec0_0000, 0xfec0_03ff]);
        assert_eq!(addresses("at 0xfee00000, 0xfee00000 again"), [0xfee0_0000]);
        assert_eq!(addresses("id 0x10, flags 0x1_000, x0x1000, 0x1000g, 0x12345678901234567"), [0u64; 0]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(line in ".*") {
            addresses(&line);
        }
    }
}
