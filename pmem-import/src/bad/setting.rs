//! Settings that keep memory from being used: GRUB's `badram`, the kernel's `memmap=`, Windows' `badmemorylist`.

use super::record::{BadRecord, MemMapPart, Quoting, Setting};
use crate::number::{hex, parse_size};

/// Reads the settings in a line.
pub(super) fn read(words: &str) -> Vec<BadRecord> {
    let mut out = Vec::new();
    let body = words.strip_prefix("given:").unwrap_or(words).trim();
    if let Some(list) = body.split_once("GRUB_BADRAM=").map(|(_, list)| list) {
        out.extend(badram(list).map(BadRecord::Setting));
    }
    if let Some((before, list)) = body.split_once("badmemorylist ") {
        let frames: Vec<u64> = list.split_whitespace().map_while(hex).collect();
        if !frames.is_empty() {
            let named = before.contains("{badmemory}");
            out.push(BadRecord::Setting(Setting::BadMemoryList { frames, named }));
        }
    }
    for (at, found) in body.match_indices("memmap=") {
        let before = body.get(..at).unwrap_or("");
        let rest = body.get(at + found.len()..).unwrap_or("");
        let end = rest.find([' ', '"', '\'']).unwrap_or(rest.len());
        out.extend(memmap(rest.get(..end).unwrap_or(""), before).map(BadRecord::Setting));
    }
    out
}

/// Parses `"0x7ddf0000,0xffffc000"` into pairs of address and mask.
pub(super) fn badram(list: &str) -> Option<Setting> {
    let list = list.trim().trim_matches(['"', '\'']);
    let numbers: Vec<u64> = list.split([',', ' ']).filter(|part| !part.is_empty()).map_while(hex).collect();
    if numbers.is_empty() {
        return None;
    }
    let pairs = numbers.chunks_exact(2);
    let left = pairs.remainder().first().copied();
    let pairs = pairs.filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect();
    Some(Setting::BadRam { pairs, left })
}

fn memmap(text: &str, before: &str) -> Option<Setting> {
    let mut parts = Vec::new();
    let mut backslashes = 0;
    for part in text.split(',') {
        let Some(at) = part.find(['$', '@', '#', '!']) else {
            parts.push(MemMapPart { size: parse_size(part)?, kind: None, start: 0 });
            continue;
        };
        let size = part.get(..at)?;
        backslashes = backslashes.max(size.bytes().rev().take_while(|byte| *byte == b'\\').count());
        let kind = part.get(at..)?.chars().next();
        let size = parse_size(size.trim_end_matches('\\'))?;
        parts.push(MemMapPart { size, kind, start: parse_size(part.get(at + 1..)?)? });
    }
    let quote = before.rfind(['"', '\'']).filter(|_| before.contains("GRUB_CMDLINE"));
    let quoting = match quote.and_then(|at| before.get(at..)?.chars().next()) {
        Some(quote) => Quoting::Shell { backslashes, double: quote == '"' },
        None if backslashes > 0 => Quoting::Shell { backslashes, double: true },
        None => Quoting::Plain,
    };
    Some(Setting::MemMap { parts, quoting })
}
