//! UEFI memory maps as Linux logs them and as the UEFI shell prints them.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, MapEntry, MapKind, MemoryMap, SourceSummary};
use crate::text::{Line, Scan};
use pmem_core::{AddrRange, FirmwareMemory};

const RECORD: &str = "EFI range";

/// Reads maps. A map begins with its range 0.
#[derive(Default)]
pub(super) struct Reader {
    map: Option<MemoryMap>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("Type ") && words.contains("# Pages") {
            facts.firmware.maps.extend(self.map.take());
            return Verdict::Took;
        }
        let logged = words.strip_prefix("efi: mem").or_else(|| words.strip_prefix("EFI: mem"));
        let (number, read) = match logged {
            Some(rest) => {
                let mut scan = Scan(rest);
                let Some(number) = scan.decimal() else { return Verdict::Pass };
                if scan.lit(":").is_none() {
                    return Verdict::Pass;
                }
                (number, logged_entry(scan))
            }
            None => match (shell_entry(words), words.strip_prefix("efi: ").map(str::trim_start)) {
                (Some(read), _) => (1, Ok(read)),
                // Machines other than x86 print no numbers.
                (None, Some(rest)) if rest.starts_with("0x") && rest.contains('[') => (1, plain_entry(rest)),
                _ => return Verdict::Pass,
            },
        };
        let (verdict, found) = Verdict::of(RECORD, read);
        let Some((range, kind)) = found else { return verdict };
        if number == 0 {
            facts.firmware.maps.extend(self.map.take());
        }
        let map = self.map.get_or_insert_with(|| MemoryMap {
            kind: MapKind::Efi,
            at: line.place(),
            entries: Vec::new(),
        });
        map.entries.push(MapEntry { range, kind, line: line.number });
        heard.count(RECORD);
        verdict
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.firmware.maps.extend(self.map.take());
    }
}

/// Parses `type=7, attr=0xf, range=[0x…-0x…) (0MB)` or `[Conventional Memory| |…] range=[0x…-0x…] (0MB)`. A round
/// bracket means that the end is exclusive.
fn logged_entry(mut scan: Scan<'_>) -> Result<(AddrRange, FirmwareMemory), String> {
    let kind = if scan.lit("type=").is_some() {
        let number = scan.decimal().ok_or("no number behind type=")?;
        scan.lit(",").and_then(|()| scan.lit("attr=")).ok_or("no attr= behind the type")?;
        let attributes = scan.hex().ok_or("no number behind attr=")?;
        scan.lit(",").ok_or("no comma behind the attributes")?;
        u32::try_from(number)
            .map_or(FirmwareMemory::Unknown, |kind| FirmwareMemory::from_efi(kind, attributes))
    } else {
        described(&mut scan)?
    };
    let wrong = || "no range=[0x…-0x…".to_owned();
    scan.lit("range=[").ok_or_else(wrong)?;
    let start = scan.hex().ok_or_else(wrong)?;
    scan.lit("-").ok_or_else(wrong)?;
    let end = scan.hex().ok_or_else(wrong)?;
    let range = match scan.0.chars().next() {
        Some(']') => AddrRange::inclusive(start, end),
        Some(')') => AddrRange::new(start, end),
        _ => return Err("the range is not closed".to_owned()),
    };
    range.map(|range| (range, kind)).map_err(|error| error.to_string())
}

/// Parses `0x000040000000-0x000043ffffff [Conventional Memory|   |  |…]`, end inclusive
/// (`drivers/firmware/efi/efi-init.c`).
fn plain_entry(rest: &str) -> Result<(AddrRange, FirmwareMemory), String> {
    let mut scan = Scan(rest);
    let wrong = || "no range 0x…-0x…".to_owned();
    let start = scan.hex().ok_or_else(wrong)?;
    scan.lit("-").ok_or_else(wrong)?;
    let last = scan.hex().ok_or_else(wrong)?;
    let range = AddrRange::inclusive(start, last).map_err(|error| error.to_string())?;
    Ok((range, described(&mut scan)?))
}

/// Parses `[Conventional Memory|   |  |SP|…]`.
fn described(scan: &mut Scan<'_>) -> Result<FirmwareMemory, String> {
    scan.lit("[").ok_or("neither type= nor a type between brackets")?;
    let inside = scan.until("]").ok_or("no end of the brackets around the type")?;
    let mut parts = inside.split('|').map(str::trim);
    let name = parts.next().unwrap_or("");
    let special = parts.any(|part| part == "SP");
    let number = kind_of(name).ok_or_else(|| format!("{name:?} is no type of memory that EFI knows"))?;
    Ok(FirmwareMemory::from_efi(number, if special { FirmwareMemory::EFI_SPECIAL_PURPOSE } else { 0 }))
}

/// Parses `BS_Data    0000000000000000-0000000000000FFF 0000000000000001 000000000000000F`.
fn shell_entry(words: &str) -> Option<(AddrRange, FirmwareMemory)> {
    let mut parts = words.split_whitespace();
    let (name, range) = (parts.next()?, parts.next()?);
    let (start, last) = range.split_once('-')?;
    let [pages, attributes] = [parts.next()?, parts.next()?];
    if [start, last, pages, attributes].iter().any(|text| text.len() != 16) || parts.next().is_some() {
        return None;
    }
    let [start, last, pages, attributes] = [start, last, pages, attributes].map(crate::number::hex);
    let range = AddrRange::inclusive(start?, last?).ok()?;
    if range.len() != pages?.checked_mul(4096)? {
        return None;
    }
    let number = match name {
        "Reserved" => 0,
        "LoaderCode" | "LDR_Code" => 1,
        "LoaderData" | "LDR_Data" => 2,
        "BS_Code" | "BS_code" => 3,
        "BS_Data" | "BS_data" => 4,
        "RT_Code" | "RT_code" => 5,
        "RT_Data" | "RT_data" => 6,
        "Available" => 7,
        "Unusable" => 8,
        "ACPI_Recl" | "ACPI_recl" => 9,
        "ACPI_NVS" => 10,
        "MMIO" => 11,
        "MMIO_Port" => 12,
        "PalCode" => 13,
        "Persistent" => 14,
        "Unaccepted" => 15,
        _ => return None,
    };
    Some((range, FirmwareMemory::from_efi(number, attributes?)))
}

/// Returns the number of a type from Linux's name for it.
fn kind_of(name: &str) -> Option<u32> {
    const NAMES: [&str; 16] = [
        "Reserved",
        "Loader Code",
        "Loader Data",
        "Boot Code",
        "Boot Data",
        "Runtime Code",
        "Runtime Data",
        "Conventional Memory",
        "Unusable Memory",
        "ACPI Reclaim Memory",
        "ACPI Memory NVS",
        "Memory Mapped I/O",
        "MMIO Port Space",
        "PAL Code",
        "Persistent Memory",
        "Unaccepted Memory",
    ];
    let also = match name {
        "Conventional" => Some(7),
        "Persistent" => Some(14),
        "Unaccepted" => Some(15),
        "Runtime" => Some(6),
        "MMIO" | "Memory Mapped IO" => Some(11),
        _ => None,
    };
    also.or_else(|| (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;

    #[test]
    fn maps_without_numbers_are_read() {
        let facts = read(
            "efi: Processing EFI memory map:\n\
             efi:   0x000040000000-0x000043ffffff [Conventional Memory|   |  |  |  |  |  |  |  |   |WB|WT|WC|UC]\n\
             efi:   0x000044000000-0x00004401 [Boot\n",
        );
        let map = &facts.firmware.maps[0];
        assert_eq!((map.entries.len(), map.entries[0].range.len()), (1, 64 << 20));
        assert_eq!(facts.heard[0].odd.len(), 1);
    }

    #[test]
    fn every_form_of_a_range_is_read() {
        let text = "efi: mem00: type=7, attr=0xf, range=[0x0000000000100000-0x0000000080000000) (2047MB)\n\
             efi: mem01: [Conventional Memory|   |  |  |SP|  |WB|WT|WC|UC] range=[0x0000000180000000-0x00000001ffffffff] (2048MB)\n\
             efi: mem02: [Conventional Mem\n\
             Available  0000000000000000-000000000009FFFF 00000000000000A0 000000000000000F\n";
        let facts = read(text);
        let shown: Vec<String> =
            facts.firmware.maps[0].entries.iter().map(|e| format!("{} {}", e.range, e.kind)).collect();
        assert_eq!(
            shown,
            ["0x100000..0x80000000 usable", "0x180000000..0x200000000 soft reserved", "0x0..0xa0000 usable"]
        );
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [3]);
    }
}
