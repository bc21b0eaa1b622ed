//! Translation tables of running VT-d units, as Linux shows them (debugfs,
//! `Documentation/ABI/testing/debugfs-intel-iommu`): a line per page, with the entry of each level.

use super::reader::{LineReader, Verdict, read_file};
use crate::capture::Tree;
use crate::facts::{Facts, SourceSummary, Translation};
use crate::number::hex;
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// The file, which only root can read.
pub(super) const FILES: &[&str] = &["sys/kernel/debug/iommu/intel/domain_translation_struct"];

/// The address bits of an entry.
const FRAME: u64 = 0xf_ffff_ffff_f000;

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    for file in FILES.iter().filter(|file| tree.has(file)) {
        read_file(tree, file, &mut Reader::default(), facts, heard);
    }
}

/// Reads the lines.
#[derive(Default)]
pub(super) struct Reader {
    /// The device whose table follows.
    device: Option<Address>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        // `Device 0000:00:14.0 @0x1017f8000`; newer kernels print `Device 0000:00:14.0 with pasid 0 @0x…`.
        if let Some(rest) = words.strip_prefix("Device ")
            && rest.contains(" @0x")
        {
            self.device = rest.split_whitespace().next().and_then(|word| word.parse().ok());
            if rest.contains(" with pasid ") && !rest.contains(" with pasid 0 ") {
                // Requests with a PASID use other tables than plain requests, which PASID 0 stands for.
                self.device = None;
            }
            if let Some(device) = self.device {
                facts.iommu.tables.entry(device).or_default();
                heard.count("IOMMU table");
            }
            return Verdict::Took;
        }
        if words.starts_with("IOVA_PFN") {
            return Verdict::Took;
        }
        let Some((page, entries)) = words.split_once(" |") else { return Verdict::Pass };
        if !page.starts_with("0x") || page.len() != 15 {
            return Verdict::Pass;
        }
        let Some(device) = self.device else { return Verdict::Took };
        match translation(page, entries) {
            Some(found) => {
                add(facts.iommu.tables.entry(device).or_default(), found);
                Verdict::Took
            }
            None => Verdict::Odd("entry of an IOMMU's table", "no page and entries of levels".to_owned()),
        }
    }
}

/// Parses a line: the page, and the entries from the top level down. The last nonzero entry is the leaf.
fn translation(page: &str, entries: &str) -> Option<Translation> {
    let entries: Option<Vec<u64>> = entries.split_whitespace().map(hex).collect();
    let entries = entries?;
    let first = hex(page)?.checked_mul(4096)?;
    let (place, leaf) = entries.iter().enumerate().rev().find(|(_, entry)| **entry != 0)?;
    // The line has columns for five levels: the last maps pages of 4 KiB, the one before pages of 2 MiB.
    let shift = 12 + 9 * u32::try_from(4usize.checked_sub(place)?).ok()?;
    let mask = (1u64 << shift) - 1;
    let may = entries.iter().filter(|entry| **entry != 0).fold(3, |may, entry| may & entry);
    let range = AddrRange::inclusive(first & !mask, first | mask).ok()?;
    Some(Translation { range, to: leaf & FRAME & !mask, read: may & 1 != 0, write: may & 2 != 0 })
}

/// Adds a page; one that continues the previous page is merged with it.
fn add(all: &mut Vec<Translation>, found: Translation) {
    if let Some(last) = all.last_mut()
        && last.range.last().checked_add(1) == Some(found.range.start())
        && last.to.checked_add(last.range.len()) == Some(found.to)
        && (last.read, last.write) == (found.read, found.write)
    {
        last.range = last.range.hull(found.range);
        return;
    }
    all.push(found);
}

#[cfg(test)]
mod tests {
    use super::super::facts_of;
    use super::*;

    #[test]
    fn pages_of_all_sizes_are_read() {
        let facts = facts_of(
            "Device 0000:00:14.0 @0x1017f8000\n\
             IOVA_PFN\t\tPML5E\t\t\tPML4E\n\
             0x000000008d800 |\t0x0000000000000000\t0x00000001017f9003\t0x00000001017fa003\t0x00000001017fb003\t0x000000008d800003\n\
             0x000000008d801 |\t0x0000000000000000\t0x00000001017f9003\t0x00000001017fa003\t0x00000001017fb003\t0x000000008d801003\n\
             0x000000008d802 |\t0x0000000000000000\t0x00000001017f9003\t0x00000001017fa003\t0x00000001017fb003\t0x000000017d802001\n\
             0x0000000100000 |\t0x0000000000000000\t0x00000001017f9003\t0x00000001017fa003\t0x0000000240000083\n\
             Device 0000:00:02.0 with pasid 5 @0x105b1000\n\
             0x0000000000010 |\t0x0\t0x1003\t0x2003\t0x3003\t0x4003\n",
        );
        let device: Address = "0000:00:14.0".parse().unwrap();
        let shown: Vec<_> = facts.iommu.tables[&device]
            .iter()
            .map(|one| (one.range.start(), one.range.len(), one.to, one.read, one.write))
            .collect();
        assert_eq!(
            shown,
            [
                (0x8d80_0000, 0x2000, 0x8d80_0000, true, true),
                (0x8d80_2000, 0x1000, 0x1_7d80_2000, true, false),
                (0x1_0000_0000, 2 << 20, 0x2_4000_0000, true, true)
            ]
        );
        assert_eq!(facts.iommu.tables.len(), 1, "what has a PASID is another's");
    }
}
