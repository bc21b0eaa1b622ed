//! `/sys/firmware/memmap`: firmware's map as Linux keeps it for others.

use super::e820::kind_of;
use crate::capture::Tree;
use crate::facts::{Facts, Finding, MapEntry, MapKind, MemoryMap, SourceLine, SourceSummary};
use crate::number::{hex, trim};
use pmem_core::AddrRange;

const DIR: &str = "sys/firmware/memmap";

/// The files.
pub(super) const FILES: &[&str] =
    &["sys/firmware/memmap/*/start", "sys/firmware/memmap/*/end", "sys/firmware/memmap/*/type"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    let mut entries = Vec::new();
    for name in tree.names(DIR) {
        let mut text = |file: &str| {
            let text = tree.text(&format!("{DIR}/{name}/{file}"), &mut facts.findings)?;
            Some(trim(&text).to_owned())
        };
        let (Some(start), Some(last), Some(what)) = (text("start"), text("end"), text("type")) else {
            continue;
        };
        let range =
            hex(&start).zip(hex(&last)).and_then(|(start, last)| AddrRange::inclusive(start, last).ok());
        match range.zip(kind_of(&what)) {
            Some((range, kind)) => {
                entries.push(MapEntry { range, kind, line: 0 });
                heard.count("firmware memory range");
            }
            None => {
                let text = format!("no range of memory: {start:?} to {last:?}, {what:?}");
                facts.find(Finding::whole(tree.place(&format!("{DIR}/{name}")), text));
            }
        }
    }
    if !entries.is_empty() {
        entries.sort_by_key(|entry| entry.range.start());
        facts.firmware.maps.push(MemoryMap {
            kind: MapKind::Kept,
            at: SourceLine::whole(tree.place(DIR)),
            entries,
        });
    }
}
