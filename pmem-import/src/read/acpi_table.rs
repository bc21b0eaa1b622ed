//! ACPI tables: the kernel's files, tables in files of their own, and hex dumps that `acpidump` prints.

use super::reader::{LineReader, Verdict};
use crate::acpi::{self, AcpiTable, Cdat, Cedt, Hmat, Madt, Mcfg, Slit, Srat};
use crate::capture::Tree;
use crate::facts::{
    Facts, Finding, IommuUnit, Remark, RequesterAlias, ReservedKind, ReservedRange, SourceLine,
    SourceSummary, Sourced, SpecialDevice,
};
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_iommu::acpi::ivrs::{Device, Unit};
use pmem_iommu::acpi::{AcpiError, Dmar, Ivrs};
use pmem_pci::Address;

/// The files, which only root can read.
pub(super) const FILES: &[&str] = &[
    "sys/firmware/acpi/tables/APIC",
    "sys/firmware/acpi/tables/CEDT",
    "sys/firmware/acpi/tables/DMAR",
    "sys/firmware/acpi/tables/HMAT",
    "sys/firmware/acpi/tables/IVRS",
    "sys/firmware/acpi/tables/MCFG",
    "sys/firmware/acpi/tables/SLIT",
    "sys/firmware/acpi/tables/SRAT",
    "sys/bus/cxl/devices/endpoint*/CDAT",
];

const ENDPOINTS: &str = "sys/bus/cxl/devices";
/// Signatures of the tables that are read.
const NAMES: [&[u8; 4]; 8] = [b"APIC", b"CEDT", b"DMAR", b"HMAT", b"IVRS", b"MCFG", b"SLIT", b"SRAT"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    for file in FILES.iter().filter(|file| !file.contains('*') && tree.has(file)) {
        if let Some(bytes) = tree.bytes(file, &mut facts.findings) {
            table(&bytes, &SourceLine::whole(tree.place(file)), facts, heard);
        }
    }
    for name in tree.names(ENDPOINTS).into_iter().filter(|name| name.starts_with("endpoint")) {
        let path = format!("{ENDPOINTS}/{name}/CDAT");
        let Some(bytes) = tree.is_file(&path).then(|| tree.bytes(&path, &mut facts.findings)).flatten()
        else {
            continue;
        };
        let at = SourceLine::whole(tree.place(&path));
        let Some((read, faults)) = Cdat::decode(&bytes) else { continue };
        heard.count("CDAT");
        faults.iter().for_each(|fault| facts.find(Finding::at(&at, fault.to_string())));
        facts.tables.devices.push((name, Sourced::new(read, at)));
    }
}

/// Reads a file that consists of ACPI tables. Returns whether it does.
pub(super) fn binary(bytes: &[u8], at: &SourceLine, facts: &mut Facts, heard: &mut SourceSummary) -> bool {
    let mut all = acpi::tables(bytes);
    let is_one = all.first().is_some_and(|first| {
        NAMES.iter().any(|name| **name == first.signature)
            // Tables of other kinds are not read, but a sound header and checksum show that the file is one.
            || (first.faults.is_empty() && first.bytes.len() <= bytes.len())
    });
    if is_one {
        for found in &mut all {
            of_kind(found, at, facts, heard);
        }
    }
    is_one
}

/// Reads a table, if it is of a kind that is known.
fn table(bytes: &[u8], at: &SourceLine, facts: &mut Facts, heard: &mut SourceSummary) {
    match AcpiTable::open(bytes) {
        Some(mut table) => of_kind(&mut table, at, facts, heard),
        None => {
            let had = bytes.len();
            let text = match NAMES.iter().find(|name| bytes.starts_with(**name)) {
                Some(name) => format!("{} is cut in its header: {had} of 36 bytes", name.escape_ascii()),
                None => format!("not an ACPI table ({had} bytes): not read"),
            };
            facts.find(Finding::at(at, text));
        }
    }
}

fn of_kind(table: &mut AcpiTable<'_>, at: &SourceLine, facts: &mut Facts, heard: &mut SourceSummary) {
    let said = |name: &'static str, heard: &mut SourceSummary| heard.count(name);
    match &table.signature {
        b"SRAT" => {
            let read = Srat::decode(table);
            let note = |found| Sourced::new(found, at.clone());
            facts.tables.memory.extend(read.memory.into_iter().map(note));
            let note = |found| Sourced::new(found, at.clone());
            facts.tables.initiators.extend(read.initiators.into_iter().map(note));
            said("SRAT", heard);
        }
        b"SLIT" => {
            facts.tables.distances.push(Sourced::new(Slit::decode(table), at.clone()));
            said("SLIT", heard);
        }
        b"HMAT" => {
            facts.tables.access.push(Sourced::new(Hmat::decode(table), at.clone()));
            said("HMAT", heard);
        }
        b"CEDT" => {
            let read = Cedt::decode(table);
            facts.cxl.bridges.extend(read.bridges.into_iter().map(|found| Sourced::new(found, at.clone())));
            facts.cxl.windows.extend(read.windows.into_iter().map(|found| Sourced::new(found, at.clone())));
            facts.cxl.maps.extend(read.maps.into_iter().map(|found| Sourced::new(found, at.clone())));
            said("CEDT", heard);
        }
        b"MCFG" => {
            for found in Mcfg::decode(table).entries {
                facts.tables.ecam.push(Sourced::new(found, at.clone()));
                let range =
                    found.addresses().and_then(|(first, last)| AddrRange::inclusive(first, last).ok());
                let entry = range.map(|range| (u32::from(found.segment), range));
                let is_known = |had: &Sourced<(u32, AddrRange)>| Some(had.value) == entry;
                // A log may have reported the same range already.
                if !facts.pci.ecam.iter().any(is_known) {
                    facts.pci.ecam.extend(entry.map(|entry| Sourced::new(entry, at.clone())));
                }
            }
            said("MCFG", heard);
        }
        b"APIC" => {
            let ids = Madt::decode(table).io_apics.into_iter().map(|found| u32::from(found.id));
            facts.tables.io_apics.extend(ids.map(|id| Sourced::new(id, at.clone())));
            said("MADT", heard);
        }
        b"DMAR" | b"IVRS" => iommu(table.bytes, at, facts, heard),
        _ => {}
    }
    for fault in &table.faults {
        let name = table.signature.escape_ascii();
        facts.find(Finding::at(at, format!("{name} {fault}")));
    }
}

fn iommu(bytes: &[u8], at: &SourceLine, facts: &mut Facts, heard: &mut SourceSummary) {
    let read = match Dmar::decode(bytes) {
        Ok(table) => {
            heard.count("DMAR");
            dmar(&table, at, facts);
            Ok(())
        }
        Err(AcpiError::Signature(_)) => Ivrs::decode(bytes).map(|table| {
            heard.count("IVRS");
            ivrs(&table, at, facts);
        }),
        Err(error) => Err(error),
    };
    // A truncated table has been reported as a whole already.
    if let Err(error @ AcpiError::Structure { .. }) = read {
        facts.find(Finding::at(at, error.to_string()));
    }
}

fn dmar(table: &Dmar, at: &SourceLine, facts: &mut Facts) {
    facts.iommu.width = Some(Sourced::new(table.width, at.clone()));
    // A register base of 0 is a firmware bug; the kernel skips such an entry, and so do we.
    for _ in table.units().filter(|unit| unit.base == 0) {
        facts.remarks.push(Sourced::new(Remark::UnitAtZero, at.clone()));
    }
    for unit in table.units().filter(|unit| unit.base != 0) {
        // The table has the unit's scopes, and a log may have given its capability: keep both.
        let known = facts.iommu.units.iter().find(|had| had.value.base == unit.base);
        let capability = known.and_then(|had| had.value.capability);
        facts.iommu.units.retain(|had| had.value.base != unit.base);
        let has_the_rest = Some(unit.has_the_rest());
        let (scopes, requesters) = (unit.scopes.clone(), Vec::new());
        let unit = IommuUnit { base: unit.base, has_the_rest, capability, scopes, requesters };
        facts.iommu.units.push(Sourced::new(unit, at.clone()));
    }
    for found in table.reserved() {
        let Ok(range) = AddrRange::inclusive(found.first, found.last) else {
            let text = format!(
                "reserved range ignored: its end is before its start ({:#x} to {:#x})",
                found.first, found.last
            );
            facts.find(Finding::at(at, text));
            continue;
        };
        facts.iommu.reserved.retain(|had| had.value.range != range);
        let scopes = found.scopes.clone();
        let found = ReservedRange {
            range,
            kind: ReservedKind::Direct,
            scopes,
            functions: Vec::new(),
            groups: Vec::new(),
        };
        facts.iommu.reserved.push(Sourced::new(found, at.clone()));
    }
}

fn ivrs(table: &Ivrs, at: &SourceLine, facts: &mut Facts) {
    for unit in table.units() {
        facts.iommu.units.retain(|had| had.value.base != unit.base);
        let requesters = unit.requesters().iter().map(|found| (found.first, found.last)).collect();
        let of_table = IommuUnit {
            base: unit.base,
            has_the_rest: None,
            capability: None,
            scopes: Vec::new(),
            requesters,
        };
        facts.iommu.units.push(Sourced::new(of_table, at.clone()));
        of_unit(unit, at, facts);
    }
    for memory in table.memory() {
        facts.iommu.blocks.push(Sourced::new((memory.start, memory.length, memory.flags), at.clone()));
        let range = memory.pages().and_then(|(first, last)| AddrRange::inclusive(first, last).ok());
        let Some(range) = range else { continue };
        let id = Address::from_routing_id(0, memory.id.0);
        // Type 0x21 names one device; blocks for all devices, or for a range, name none here.
        let functions = if memory.kind == 0x21 { vec![id] } else { Vec::new() };
        let found = ReservedRange {
            range,
            kind: ReservedKind::Direct,
            scopes: Vec::new(),
            functions,
            groups: Vec::new(),
        };
        facts.iommu.reserved.push(Sourced::new(found, at.clone()));
    }
}

fn of_unit(unit: &Unit, at: &SourceLine, facts: &mut Facts) {
    for found in unit.requesters() {
        let (first, last) = (found.first, found.last);
        let alias = found.alias.map(|source| RequesterAlias { first, last, source });
        facts.iommu.aliases.extend(alias.map(|alias| Sourced::new(alias, at.clone())));
    }
    for device in &unit.devices {
        if let Device::Special { handle, source, variety, .. } = *device {
            let special = SpecialDevice { is_io_apic: variety == 1, handle, source };
            facts.iommu.special.push(Sourced::new(special, at.clone()));
        }
    }
}

/// Reads what `acpidump` prints: `    0010: 4D 53 46 54 …  MSFT…`.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    at: Option<SourceLine>,
}

/// Parses a line's offset and bytes.
fn dumped(words: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, rest) = words.split_once(": ")?;
    let offset = usize::from_str_radix(offset, 16).ok().filter(|_| offset.len() >= 4)?;
    let hex = rest.split("  ").next()?;
    let two = |word: &str| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()).flatten();
    let bytes: Option<Vec<u8>> = hex.split_whitespace().map(two).collect();
    bytes.filter(|bytes| !bytes.is_empty() && bytes.len() <= 16).map(|bytes| (offset, bytes))
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let Some((offset, bytes)) = dumped(line.words()) else {
            self.end(facts, heard);
            return Verdict::Pass;
        };
        if offset == 0 {
            self.end(facts, heard);
            if !NAMES.iter().any(|name| bytes.starts_with(*name)) {
                return Verdict::Pass;
            }
            self.at = Some(line.place());
        }
        if self.at.is_none() || offset != self.bytes.len() {
            return Verdict::Pass;
        }
        self.bytes.extend(bytes);
        Verdict::Took
    }

    fn end(&mut self, facts: &mut Facts, heard: &mut SourceSummary) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(at) = self.at.take() {
            table(&bytes, &at, facts, heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;

    #[test]
    fn a_dump_of_a_table_is_read() {
        // One unit that has all, at 0xfed91000, of a host with 39 bits.
        let facts = read(
            "DMAR @ 0x0000000000000000\n\
             \x20   0000: 44 4D 41 52 40 00 00 00 01 00 54 45 53 54 00 00  DMAR@...........\n\
             \x20   0010: 54 45 53 54 00 00 00 00 00 00 00 00 00 00 00 00  TEST............\n\
             \x20   0020: 00 00 00 00 26 01 00 00 00 00 00 00 00 00 00 00  ....&...........\n\
             \x20   0030: 00 00 10 00 01 00 00 00 00 10 D9 FE 00 00 00 00  ................\n",
        );
        assert_eq!(facts.iommu.width.as_ref().map(|said| said.value), Some(39));
        let unit = &facts.iommu.units[0].value;
        assert_eq!((unit.base, unit.has_the_rest), (0xfed9_1000, Some(true)));
        // What is cut is said.
        let cut = read("0000: 44 4D 41 52 40 00 00 00 01 00 54 45 53 54 00 00\n");
        assert!(
            cut.iommu.units.is_empty()
                && cut.findings.all.iter().any(|finding| finding.to_string().contains("cut"))
        );
    }
}
