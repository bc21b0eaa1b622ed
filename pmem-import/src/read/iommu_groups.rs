//! IOMMU groups: their members, and their reserved device addresses
//! (`Documentation/ABI/testing/sysfs-kernel-iommu_groups`).

use crate::capture::Tree;
use crate::facts::{Facts, Finding, ReservedKind, ReservedRange, SourceLine, SourceSummary, Sourced};
use crate::number::hex;
use pmem_core::AddrRange;
use pmem_pci::Address;

const GROUPS: &str = "sys/kernel/iommu_groups";

/// The files.
pub(super) const FILES: &[&str] = &[
    "sys/kernel/iommu_groups/*/devices/*@",
    "sys/kernel/iommu_groups/*/reserved_regions",
    "sys/kernel/iommu_groups/*/type",
];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    for name in tree.names(GROUPS) {
        let Ok(group) = name.parse::<u32>() else { continue };
        for device in tree.names(&format!("{GROUPS}/{name}/devices")) {
            // Groups can also have devices that are not PCI functions.
            if let Ok(address) = device.parse::<Address>() {
                facts.iommu.groups.insert(address, group);
                heard.count("IOMMU group member");
            }
        }
        let kind = format!("{GROUPS}/{name}/type");
        if tree.has(&kind)
            && tree.text(&kind, &mut facts.findings).is_some_and(|kind| kind.trim() == "identity")
        {
            facts.iommu.passing.insert(group, SourceLine::whole(tree.place(&kind)));
        }
        let path = format!("{GROUPS}/{name}/reserved_regions");
        if !tree.has(&path) {
            continue;
        }
        let Some(text) = tree.text(&path, &mut facts.findings) else { continue };
        let source = tree.place(&path).into();
        for (line, words) in (1..).zip(text.lines()).filter(|(_, words)| !words.trim().is_empty()) {
            let at = SourceLine::line(&source, line);
            let Some((range, kind)) = reserved(words) else {
                facts.find(Finding::at(&at, format!("{words:?} is no reserved range")));
                continue;
            };
            let found =
                ReservedRange { range, kind, scopes: Vec::new(), functions: Vec::new(), groups: vec![group] };
            facts.iommu.reserve(Sourced::new(found, at));
            heard.count("reserved device range");
        }
    }
}

/// Parses `0x00000000fee00000 0x00000000feefffff msi`.
pub(super) fn reserved(words: &str) -> Option<(AddrRange, ReservedKind)> {
    let [first, last, kind] = *words.split_whitespace().collect::<Vec<_>>().as_slice() else { return None };
    let number = |text: &str| hex(text.strip_prefix("0x")?);
    Some((AddrRange::inclusive(number(first)?, number(last)?).ok()?, ReservedKind::of(kind)?))
}

/// Splits a line of `grep -r . /sys/kernel/iommu_groups` into the group and the file's line.
pub(super) fn of_group(words: &str) -> (Option<u32>, &str) {
    let found = words.split_once("iommu_groups/").and_then(|(_, rest)| {
        let (group, rest) = rest.split_once("/reserved_regions:")?;
        Some((group.parse().ok()?, rest))
    });
    found.map_or((None, words), |(group, rest)| (Some(group), rest))
}

/// Parses a line that names a group's member: `…/iommu_groups/7/devices/0000:00:14.0` or
/// `IOMMU Group 7: 00:14.0 …`. The function is `None` if a tool's complaint names only the group.
pub(crate) fn member(words: &str) -> Option<(u32, Option<Address>)> {
    if let Some((_, rest)) = words.split_once("iommu_groups/") {
        let mut parts = rest.split('/');
        let group = parts.next()?.parse().ok()?;
        return Some((group, Some(parts.nth(1)?.split_whitespace().next()?.parse().ok()?)));
    }
    let rest = words.strip_prefix("IOMMU Group ").or_else(|| words.strip_prefix("IOMMU group "))?;
    let (number, rest) = rest.split_once(' ')?;
    let group = number.trim_end_matches(':').parse().ok()?;
    Some((group, rest.split_whitespace().next()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of;
    use super::*;
    use crate::capture::Sources;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn members_and_ranges_of_groups_are_read_from_a_capture() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let msi = "0x00000000fee00000 0x00000000feefffff msi\n";
        write("proc/version", "Linux version 6.1.0\n");
        write("sys/kernel/iommu_groups/1/devices/0000:00:14.0", "");
        write("sys/kernel/iommu_groups/1/reserved_regions", &format!("0x7b800000 0x7fffffff direct\n{msi}"));
        write("sys/kernel/iommu_groups/2/devices/0000:03:00.0", "");
        write("sys/kernel/iommu_groups/2/reserved_regions", &format!("{msi}0x12 nonsense\n"));
        let mut sources = Sources::open(&[dir.path().to_owned()]).unwrap();
        let facts = super::super::read(&mut sources);
        assert_eq!(facts.iommu.groups.get(&address("0000:03:00.0")), Some(&2));
        let starts = |function: &str| {
            facts
                .iommu
                .reserved_for(address(function))
                .map(|said| said.value.range.start())
                .collect::<Vec<_>>()
        };
        assert_eq!(starts("0000:00:14.0"), [0x7b80_0000, 0xfee0_0000]);
        assert_eq!(starts("0000:03:00.0"), [0xfee0_0000], "what is of another group is not its own");
        assert_eq!(starts("0000:05:00.0").len(), 2, "whose group nobody knows may have all");
        let odd = facts.findings.finish();
        assert!(
            odd.iter().any(|finding| finding.to_string().contains("reserved_regions:2: \"0x12")),
            "{odd:?}"
        );
    }

    #[test]
    fn what_is_pasted_says_the_same() {
        let facts = facts_of(
            "/sys/kernel/iommu_groups/7/devices/0000:00:1f.0\nIOMMU Group 8: 03:00.0 VGA compatible controller [0300]\n\
             /sys/kernel/iommu_groups/7/reserved_regions:0x00000000000f0000 0x00000000000fffff direct\n\
             0x00000000fee00000 0x00000000feefffff msi\n",
        );
        assert_eq!(facts.iommu.groups.len(), 2);
        let of: Vec<_> = facts.iommu.reserved.iter().map(|said| said.value.groups.clone()).collect();
        assert_eq!(of, [vec![7], vec![]]);
        let headed = facts_of(
            "==> /sys/kernel/iommu_groups/7/reserved_regions <==\n0x7b800000 0x7fffffff direct\n\n==> other <==\n0xfee00000 0xfeefffff msi\n",
        );
        let of: Vec<_> = headed.iommu.reserved.iter().map(|said| said.value.groups.clone()).collect();
        assert_eq!(of, [vec![7], vec![]]);
    }
}
