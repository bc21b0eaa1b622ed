//! What several records tell together: the pages that a requester touched, and which device made others fail.

use super::known::{FaultNote, Known};
use crate::units;
use pmem_import::Address;
use pmem_import::fault::FaultRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Adds what only several records together tell, each time to the last of them.
pub(super) fn add(known: &Known<'_>, notes: &mut [FaultNote]) {
    pages(known, notes);
    cause(known, notes);
}

/// Shortens explanations that repeat an earlier one.
pub(super) fn fold(notes: &mut [FaultNote]) {
    let mut first: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    for note in notes.iter_mut().filter(|note| note.says.len() > 1) {
        match first.get(&note.says) {
            Some(line) => note.says = vec![format!("the same as in line {line}")],
            None => drop(first.insert(note.says.clone(), note.line)),
        }
    }
}

/// Returns the requester and the page frame number of a record.
fn asked(record: &FaultRecord) -> Option<(Address, u64)> {
    match record {
        FaultRecord::Vtd { who: Some(who), address: Some(address), .. } => Some((who.address, address >> 12)),
        FaultRecord::Amd { code, who: Some(who), address: Some(address), .. } if code.0 == 2 => {
            Some((who.address, super::place::without_sign(*address) >> 12))
        }
        _ => None,
    }
}

/// Lists the pages that each requester asked for.
fn pages(known: &Known<'_>, notes: &mut [FaultNote]) {
    let mut by: BTreeMap<Address, (usize, usize, BTreeSet<u64>)> = BTreeMap::new();
    for (n, (who, page)) in
        known.faults.iter().enumerate().filter_map(|(n, fault)| Some((n, asked(&fault.record)?)))
    {
        let (count, last, pages) = by.entry(who).or_default();
        (*count, *last) = (*count + 1, n);
        pages.insert(page);
    }
    for (who, (count, last, pages)) in by.into_iter().filter(|(_, (count, ..))| *count > 1) {
        let Some(note) = notes.get_mut(last) else { continue };
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for page in &pages {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == *page => *end = *page,
                _ => runs.push((*page, *page)),
            }
        }
        let shown: Vec<String> = runs
            .iter()
            .take(8)
            .map(|(first, last)| {
                if first == last {
                    format!("{:#x}", first << 12)
                } else {
                    units::range(first << 12, (last << 12) | 0xfff)
                }
            })
            .collect();
        let more = if runs.len() > 8 { ", …" } else { "" };
        let plural = if pages.len() == 1 { "page" } else { "pages" };
        let consecutive = if runs.len() == 1 && pages.len() > 1 { ", one after the other" } else { "" };
        note.says.push(format!(
            "{who} in all: {count} records of {} {plural}{consecutive}: {}{more}",
            pages.len(),
            shown.join(", ")
        ));
    }
}

/// Points at a device that does not answer invalidations: it makes the requests of others fail.
fn cause(known: &Known<'_>, notes: &mut [FaultNote]) {
    let silent: BTreeSet<Address> = known
        .faults
        .iter()
        .filter_map(|fault| match &fault.record {
            FaultRecord::Amd { code, who: Some(who), .. } if code.0 == 7 => Some(who.address),
            _ => None,
        })
        .collect();
    if silent.is_empty() {
        return;
    }
    let names: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let (names, answers) = (names.join(", "), if names.len() == 1 { "does" } else { "do" });
    for (fault, note) in known.faults.iter().zip(notes) {
        match &fault.record {
            FaultRecord::Amd { code, who: Some(who), .. }
                if code.0 == 2 && !silent.contains(&who.address) =>
            {
                note.says.push(format!(
                    "{names} {answers} not answer the unit, which waits: that is the likelier cause, and this a stale translation that follows from it"
                ));
            }
            FaultRecord::CompletionTimeout => {
                note.says.push(format!("{names} {answers} not answer the unit: that is what it waits for"));
            }
            _ => {}
        }
    }
}
