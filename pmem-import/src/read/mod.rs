//! Readers: one source format per file. A reader knows its format and nothing else; what it reads goes
//! into [`Facts`].
//!
//! A file reader names its files in `FILES`, which `gather` packs into captures. A line reader is offered every
//! line of every text, and takes those that it knows.

mod acpi_table;
mod cpuinfo;
mod cxl;
mod device_tree;
mod e820;
mod efi;
mod flat_view;
mod functions;
mod hwloc;
mod identity;
mod iomem;
mod iommu_groups;
mod iommu_log;
mod iommu_tables;
mod keys;
mod listing;
mod lsmem;
mod lspci;
mod lspci_tree;
mod meminfo;
mod memmap;
mod msr;
mod mtrr_firmware;
mod mtrr_log;
mod mtrr_proc;
mod mtrr_tools;
mod node_log;
mod nodes;
mod pci_autoconf;
mod pci_buses;
mod pci_found;
mod pci_freebsd;
mod pci_ids;
mod pci_log;
mod pci_outcome;
mod pci_proc;
mod reader;
mod remark;
mod tiers;

pub(crate) use iommu_groups::member;
pub use pci_ids::PciIds;

use crate::capture::{Sources, Text, Tree};
use crate::facts::{Facts, Findings, SourceLine, SourceSummary, UnreadLine};
use crate::text::{Line, decode, kind, lines};
use reader::{FileReader, LineReader, Verdict};

/// Returns the folder of each PCI function.
pub(crate) fn walk_functions(tree: &Tree, findings: &mut Findings) -> Vec<String> {
    functions::walk(tree, findings).0.into_iter().map(|found| found.path).collect()
}

/// All file readers.
pub(crate) const FILE_READERS: &[FileReader] = &[
    FileReader { files: iomem::FILES, read: iomem::read },
    FileReader { files: meminfo::FILES, read: meminfo::read },
    FileReader { files: nodes::FILES, read: nodes::read },
    FileReader { files: tiers::FILES, read: tiers::read },
    FileReader { files: functions::FILES, read: functions::read },
    FileReader { files: cpuinfo::FILES, read: cpuinfo::read },
    FileReader { files: memmap::FILES, read: memmap::read },
    FileReader { files: mtrr_proc::FILES, read: mtrr_proc::read },
    FileReader { files: msr::FILES, read: msr::read },
    FileReader { files: identity::FILES, read: identity::read },
    FileReader { files: acpi_table::FILES, read: acpi_table::read },
    FileReader { files: iommu_groups::FILES, read: iommu_groups::read },
    FileReader { files: iommu_tables::FILES, read: iommu_tables::read },
    FileReader { files: cxl::FILES, read: cxl::read },
    FileReader { files: device_tree::FILES, read: device_tree::read },
];

fn line_readers() -> Vec<Box<dyn LineReader>> {
    vec![
        Box::<listing::Reader>::default(),
        Box::<pci_log::Reader>::default(),
        Box::<lspci::Reader>::default(),
        Box::<lspci_tree::Reader>::default(),
        Box::<pci_proc::Reader>::default(),
        Box::<iommu_log::Reader>::default(),
        Box::<iommu_tables::Reader>::default(),
        Box::<acpi_table::Reader>::default(),
        Box::<cxl::Reader>::default(),
        Box::<pci_found::Reader>::default(),
        Box::<pci_autoconf::Reader>::default(),
        Box::<pci_freebsd::Reader>::default(),
        Box::<e820::Reader>::default(),
        Box::<efi::Reader>::default(),
        Box::<node_log::Reader>::default(),
        Box::<flat_view::Reader>::default(),
        Box::<mtrr_proc::Reader>::default(),
        Box::<mtrr_log::Reader>::default(),
        Box::<mtrr_firmware::Reader>::default(),
        Box::<mtrr_tools::Reader>::default(),
        Box::<keys::Reader>::default(),
        Box::<lsmem::Reader>::default(),
        Box::<meminfo::Reader>::default(),
        Box::<cpuinfo::Reader>::default(),
        Box::<identity::Reader>::default(),
    ]
}

/// Reads everything that the sources say.
pub(crate) fn read(sources: &mut Sources) -> Facts {
    let mut facts = Facts { findings: std::mem::take(&mut sources.findings), ..Facts::default() };
    for tree in &sources.trees {
        let mut heard = SourceSummary::new(tree.name().into());
        for reader in FILE_READERS {
            (reader.read)(tree, &mut facts, &mut heard);
        }
        facts.heard.push(heard);
    }
    for text in &sources.texts {
        read_text(text, &mut facts);
    }
    facts
}

/// The most lines that a mailer makes of one.
const WRAPPED: usize = 3;

/// A line that was not understood yet: the next line may complete it.
struct Held {
    line: Line<'static>,
    reader: usize,
    odd: UnreadLine,
    lines: usize,
}

/// Offers every line of a text to every reader.
pub(crate) fn read_text(text: &Text, facts: &mut Facts) {
    let mut heard = SourceSummary::new(text.name.clone());
    if acpi_table::binary(&text.bytes, &SourceLine::whole(text.name.clone()), facts, &mut heard) {
        facts.heard.push(heard);
        return;
    }
    if device_tree::blob(&text.bytes, &SourceLine::whole(text.name.clone()), facts, &mut heard) {
        facts.heard.push(heard);
        return;
    }
    let decoded = decode(&text.bytes);
    if hwloc::read(&text.name, &decoded, facts, &mut heard) {
        facts.heard.push(heard);
        return;
    }
    let kind = kind(&decoded);
    let notes = [
        (kind.is_difference, "a difference of two texts: the second one is read"),
        (kind.has_asides, "lines behind // are left out"),
    ];
    heard.notes.extend(notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note.to_owned()));
    let mut readers = line_readers();
    let mut held: Option<Held> = None;
    let mut last = 0;
    lines(&text.name, &text.bytes, |line| {
        let before = held.take();
        remark::look(&line, facts, &mut heard);
        // Lines of one format come in runs, so the reader that took the last line is asked first.
        let order = std::iter::once(last).chain((0..readers.len()).filter(|n| *n != last));
        for n in order {
            match readers[n].take(&line, facts, &mut heard) {
                Verdict::Pass => continue,
                Verdict::Took => {}
                Verdict::Odd(record, why) => {
                    let odd = UnreadLine { line: line.number, record, why };
                    held = Some(Held { line: owned(&line), reader: n, odd, lines: 1 });
                }
            }
            last = n;
            heard.odd.extend(before.map(|held| held.odd));
            return;
        }
        // A line that no reader takes may be the rest of the line before it.
        let Some(mut before) = before else { return };
        if line.logged || before.lines >= WRAPPED {
            heard.odd.push(before.odd);
            return;
        }
        // A line that is still not understood is kept joined, for mailers also make three lines of one.
        let joined = before.line.joined(&line);
        if readers[before.reader].take(&joined, facts, &mut heard) != Verdict::Took {
            before.line = joined;
            before.lines += 1;
            held = Some(before);
        }
    });
    heard.odd.extend(held.map(|held| held.odd));
    readers.iter_mut().for_each(|reader| reader.end(facts, &mut heard));
    facts.heard.push(heard);
}

fn owned(line: &Line<'_>) -> Line<'static> {
    Line { text: line.text.clone().into_owned().into(), source: line.source.clone(), ..*line }
}

/// Reads a text, for tests of readers.
#[cfg(test)]
fn facts_of(text: &str) -> Facts {
    let mut facts = Facts::default();
    read_text(&Text { name: "t".into(), bytes: text.into() }, &mut facts);
    facts
}
