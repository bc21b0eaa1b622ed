//! What an emulator's address spaces see: listings for the CPUs, windows into these for all others.

use crate::facts::{Facts, FlatKind, FlatRange, FlatView, Listed, Listing, SourceLine};
use pmem_core::AddrRange;
use std::collections::BTreeMap;

/// What some address spaces see, if it is not what CPUs see.
#[derive(Clone, Debug)]
pub(crate) struct SeenFrom {
    /// Where the source describes it.
    pub(crate) at: SourceLine,
    /// The view's number, as the emulator gives it.
    pub(crate) number: u32,
    /// Names of its address spaces, and of the regions at their roots.
    pub(crate) names: Vec<(String, String)>,
    /// It is what CPUs see.
    pub(crate) is_system: bool,
    /// Addresses, and the CPU address that shows the same.
    pub(crate) windows: Vec<(AddrRange, u64)>,
    /// Ranges that CPUs do not see, or that cannot be identified.
    pub(crate) own: Vec<(AddrRange, String)>,
    /// The emulated IOMMU that accesses pass through.
    pub(crate) through: Option<String>,
}

impl SeenFrom {
    /// Whether nothing is visible.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_system && self.windows.is_empty() && self.own.is_empty() && self.through.is_none()
    }
}

/// Returns the view of the CPUs: of memory, or of I/O ports.
fn of_cpus(facts: &Facts, io: bool) -> Option<&FlatView> {
    let names: &[&str] = if io { &["I/O"] } else { &["memory", "cpu-memory-0", "cpu-memory"] };
    names.iter().find_map(|name| facts.views.iter().find(|view| view.is_of(name)))
}

/// Builds a listing of what CPUs see, like a kernel's: memory under the kernel's names, with the
/// emulator's names inside.
pub(super) fn listing(facts: &Facts, io: bool) -> Option<Listing> {
    let view = of_cpus(facts, io)?;
    let mut lines: Vec<Listed> = Vec::new();
    for range in &view.ranges {
        // Ports that belong to no device show the root region itself.
        if io && view.spaces.iter().any(|(_, root)| *root == range.name) {
            continue;
        }
        let kind = match range.kind {
            FlatKind::Ram if range.is_main_memory() => Some("System RAM"),
            FlatKind::Persistent if range.is_main_memory() => Some("Persistent Memory"),
            FlatKind::Rom => Some("System ROM"),
            _ => None,
        };
        let line = |name: &str, depth, parent| Listed {
            range: range.range,
            name: name.to_owned(),
            depth,
            parent,
            line: range.line,
        };
        let outer = kind.map(|kind| {
            lines.push(line(kind, 0, None));
            lines.len() - 1
        });
        lines.push(line(&range.name, usize::from(outer.is_some()), outer));
    }
    Some(Listing { lines, hidden: false, source: view.at.source.clone() })
}

/// Returns what each view sees, in the emulator's order.
pub(super) fn seen(facts: &Facts) -> Vec<SeenFrom> {
    let Some(system) = of_cpus(facts, false) else { return Vec::new() };
    let mut by_name: BTreeMap<&str, Vec<&FlatRange>> = BTreeMap::new();
    for range in &system.ranges {
        by_name.entry(&range.name).or_default().push(range);
    }
    let others = facts.views.iter().filter(|view| !view.is_of("I/O"));
    others
        .map(|view| {
            let mut seen = SeenFrom {
                at: view.at.clone(),
                number: view.number,
                names: view.spaces.clone(),
                is_system: view.number == system.number,
                windows: Vec::new(),
                own: Vec::new(),
                through: None,
            };
            for range in view.ranges.iter().filter(|_| !seen.is_system) {
                if view.is_translated(range) {
                    seen.through.get_or_insert_with(|| range.name.clone());
                    continue;
                }
                let same = by_name.get(range.name.as_str()).map_or(&[][..], |all| &all[..]);
                place(range, same, &mut seen.windows, &mut seen.own);
            }
            seen
        })
        .collect()
}

/// The part of its region that a range shows, as offsets.
fn part(range: &FlatRange) -> Option<AddrRange> {
    let last = range.offset.checked_add(range.range.last() - range.range.start())?;
    AddrRange::inclusive(range.offset, last).ok()
}

/// Finds what CPUs see of a range's region. Several regions can have the same name: a region at the same address is
/// the same one; otherwise the match must be unambiguous.
fn place(
    range: &FlatRange,
    same: &[&FlatRange],
    windows: &mut Vec<(AddrRange, u64)>,
    own: &mut Vec<(AddrRange, String)>,
) {
    let mut found: Vec<(AddrRange, u64)> = Vec::new();
    // One view may write memory that another may only read, so only device and memory are told apart.
    let is_device = |range: &FlatRange| range.kind == FlatKind::Device;
    for other in same.iter().filter(|other| is_device(other) == is_device(range)) {
        let (Some(mine), Some(theirs)) = (part(range), part(other)) else { continue };
        let Some(both) = mine.intersect(theirs) else { continue };
        let from = range.range.start() + (both.start() - mine.start());
        let to = other.range.start() + (both.start() - theirs.start());
        // By its last address: the length of all 64 bits of address space is not representable.
        if let Ok(from) = AddrRange::inclusive(from, from + (both.last() - both.start())) {
            found.push((from, to));
        }
    }
    let at_home = found.iter().any(|(from, to)| from.start() == *to);
    if at_home {
        found.retain(|(from, to)| from.start() == *to);
    }
    found.sort_unstable_by_key(|(from, _)| from.start());
    let is_clear = found.windows(2).all(|pair| !pair[0].0.overlaps(pair[1].0));
    if !is_clear {
        found.clear();
    }
    let seen: Vec<AddrRange> = found.iter().map(|(from, _)| *from).collect();
    own.extend(
        crate::facts::without(&[range.range], &seen).into_iter().map(|rest| (rest, range.name.clone())),
    );
    windows.extend(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(start: u64, last: u64, name: &str, offset: u64) -> FlatRange {
        let range = AddrRange::inclusive(start, last).unwrap();
        FlatRange { range, kind: FlatKind::Ram, priority: 0, name: name.to_owned(), offset, line: 0 }
    }

    fn view(number: u32, space: &str, ranges: Vec<FlatRange>) -> FlatView {
        let spaces = vec![(space.to_owned(), String::new())];
        FlatView { number, spaces, ranges, at: SourceLine::whole("t") }
    }

    /// What a byte of a view is: the region and the place in it.
    fn byte(view: &FlatView, at: u64) -> Option<(String, u64)> {
        let range = view.ranges.iter().find(|range| range.range.contains(at))?;
        Some((range.name.clone(), range.offset + (at - range.range.start())))
    }

    #[test]
    fn a_window_leads_where_cpus_see_the_same_byte() {
        let cpus = vec![
            flat(0, 0x9ffff, "ram", 0),
            flat(0x10_0000, 0x7fff_ffff, "ram", 0x10_0000),
            flat(1 << 32, (1 << 32) + 0x7fff_ffff, "ram", 0x8000_0000),
        ];
        let device = vec![
            flat(0x8000_0000, 0x800f_ffff, "ram", 0x5_0000),
            flat(1 << 40, (1 << 40) + 0xfff, "ram", 0x8000_1000),
            flat(0xf000_0000, 0xf000_0fff, "own", 0),
        ];
        let facts =
            Facts { views: vec![view(0, "memory", cpus), view(1, "dev", device)], ..Facts::default() };
        let seen = &seen(&facts)[1];
        for (range, to) in &seen.windows {
            for (from, to) in [(range.start(), *to), (range.last(), *to + range.len() - 1)] {
                assert_eq!(byte(&facts.views[1], from), byte(&facts.views[0], to), "{from:#x} {to:#x}");
            }
        }
        let bytes: u64 = seen.windows.iter().map(|(range, _)| range.len()).sum();
        // What CPUs do not see of the first range is what the hole below 1 MiB hides.
        assert_eq!(bytes, 0x5_0000 + 0x5_0000 + 0x1000);
        assert_eq!(seen.own.len(), 2);
    }

    #[test]
    fn what_lies_in_front_of_an_iommu_hides_no_part_of_it() {
        let part = |start, last, name: &str, offset| FlatRange {
            kind: FlatKind::Device,
            ..flat(start, last, name, offset)
        };
        let device = vec![
            part(0, 0xfedf_ffff, "vtd-00.02.0-dmar", 0),
            part(0xfee0_0000, 0xfeef_ffff, "vtd-ir", 0),
            part(0xfef0_0000, u64::MAX, "vtd-00.02.0-dmar", 0xfef0_0000),
        ];
        let facts = Facts {
            views: vec![view(0, "memory", vec![flat(0, 0xfff, "ram", 0)]), view(1, "dev", device)],
            ..Facts::default()
        };
        let seen = &seen(&facts)[1];
        assert_eq!(seen.through.as_deref(), Some("vtd-00.02.0-dmar"));
        assert_eq!(seen.own.iter().map(|(range, _)| range.start()).collect::<Vec<_>>(), [0xfee0_0000]);
        // The registers of one are no way through it.
        let cpus = vec![part(0xfed9_0000, 0xfed9_022f, "intel_iommu", 0)];
        let facts =
            Facts { views: vec![view(0, "memory", cpus.clone()), view(1, "dev", cpus)], ..Facts::default() };
        assert_eq!(super::seen(&facts)[1].through, None);
    }

    #[test]
    fn all_addresses_are_seen_to_the_last() {
        let whole = || vec![flat(0, u64::MAX, "io", 0)];
        let facts =
            Facts { views: vec![view(0, "memory", whole()), view(1, "dev", whole())], ..Facts::default() };
        let seen = &seen(&facts)[1];
        assert!(seen.own.is_empty(), "{:?}", seen.own);
        assert_eq!(seen.windows[0].0.last(), u64::MAX);
    }

    #[test]
    fn regions_of_one_name_are_told_by_their_address_or_not_at_all() {
        let cpus = vec![flat(0x1000, 0x1fff, "msix", 0), flat(0x3000, 0x3fff, "msix", 0)];
        let device = vec![flat(0x3000, 0x3fff, "msix", 0), flat(0x9000, 0x9fff, "msix", 0)];
        let facts =
            Facts { views: vec![view(0, "memory", cpus), view(1, "dev", device)], ..Facts::default() };
        let seen = &seen(&facts)[1];
        assert_eq!(
            seen.windows.iter().map(|(range, to)| (range.start(), *to)).collect::<Vec<_>>(),
            [(0x3000, 0x3000)]
        );
        assert_eq!(seen.own.len(), 1);
    }
}
