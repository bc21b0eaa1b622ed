//! pmem's own form of registers and memory maps: `key: value` lines (docs/sources.md).

use super::mtrr_proc::block;
use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, MapEntry, MapKind, MemoryMap, RegisterTable, SourceSummary, Sourced, TableKind};
use crate::number::hex;
use crate::text::Line;
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{MemType, Span, Width};

/// Reads the keys.
#[derive(Default)]
pub(super) struct Reader {
    table: Option<RegisterTable>,
    map: Option<MemoryMap>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        if line.logged {
            return Verdict::Pass;
        }
        let Some((key, value)) = line.words().split_once(':') else { return Verdict::Pass };
        const KEYS: [&str; 8] = ["bits", "vcnt", "def", "top", "tom2", "mtrr", "e820", "wcwant"];
        let Some(key) = KEYS.iter().find(|known| **known == key) else { return Verdict::Pass };
        let words: Vec<&str> = value.split_whitespace().collect();
        // Kernel messages begin like some of the keys, but continue with words.
        if matches!(*key, "e820" | "mtrr") && words.first().is_none_or(|word| hex(word).is_none()) {
            return Verdict::Pass;
        }
        let (verdict, _) = Verdict::of("key", self.set(key, &words, line, facts));
        if verdict == Verdict::Took {
            heard.count(match *key {
                "mtrr" => "MTRR register",
                "e820" => "e820 range",
                "wcwant" => "wish",
                _ => "setting",
            });
        }
        verdict
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.mtrr.tables.extend(self.table.take());
        facts.firmware.maps.extend(self.map.take());
    }
}

impl Reader {
    fn table(&mut self, line: &Line<'_>) -> &mut RegisterTable {
        self.table.get_or_insert_with(|| RegisterTable::new(TableKind::System, line.place()))
    }

    fn set(&mut self, key: &str, words: &[&str], line: &Line<'_>, facts: &mut Facts) -> Result<(), String> {
        let word = |n: usize| {
            words.get(n).copied().ok_or_else(|| format!("{} words behind the key are too few", words.len()))
        };
        let number = |n: usize| {
            word(n).and_then(|word| {
                hex(word).ok_or_else(|| format!("{word:?} is not read: expected a hexadecimal number"))
            })
        };
        let kind = |n: usize| {
            let word = word(n)?;
            MemType::from_name(word)
                .ok_or_else(|| format!("{word:?} is no memory type: UC, WC, WT, WP or WB"))
        };
        match key {
            "bits" => {
                let bits = word(0)?.parse().ok().and_then(Width::new);
                let width = bits.ok_or_else(|| {
                    format!("{} is no width of physical addresses: 32 to 52 bits", words[0])
                })?;
                facts.mtrr.width = Some(Sourced::new(width, line.place()));
            }
            "vcnt" => {
                let count = word(0)?.parse().ok().filter(|count| usize::from(*count) <= MAX_VARIABLE);
                let count = count.ok_or_else(|| {
                    format!("{} is no number of variable registers: 0 to {MAX_VARIABLE}", words[0])
                })?;
                self.table(line).count = Some(count);
            }
            "def" => self.table(line).default = Some(kind(0)?),
            "top" => facts.mtrr.top = Some(number(0)?),
            "tom2" => facts.mtrr.tom2 = Some(Sourced::new(number(0)?, line.place())),
            "mtrr" => {
                let entry = block(number(0)?, number(1)?, kind(2)?)?;
                let table = self.table(line);
                let n = table.entries.len();
                table.entries.push((n, entry, line.number));
                table.listed = n + 1;
            }
            "e820" => {
                let (start, end) = (number(0)?, number(1)?);
                let range = AddrRange::new(start, end).map_err(|error| error.to_string())?;
                let kind = words.get(2..).unwrap_or(&[]).join(" ");
                let kind = super::e820::kind_of(&kind)
                    .or_else(|| short(&kind))
                    .ok_or_else(|| format!("{kind:?} is no type of memory"))?;
                let map = self.map.get_or_insert_with(|| MemoryMap {
                    kind: MapKind::E820,
                    at: line.place(),
                    entries: Vec::new(),
                });
                map.entries.push(MapEntry { range, kind, line: line.number });
            }
            _ => {
                let span = Span { start: number(0)?, end: number(1)? };
                if span.is_empty() {
                    return Err(format!("{span} is empty"));
                }
                facts.mtrr.wanted.push(Sourced::new((span, MemType::Wc), line.place()));
            }
        }
        Ok(())
    }
}

/// Short names for types of memory.
fn short(word: &str) -> Option<FirmwareMemory> {
    Some(match word.to_ascii_lowercase().as_str() {
        "acpi" => FirmwareMemory::AcpiTables,
        "nvs" => FirmwareMemory::AcpiNvs,
        "mmio" => FirmwareMemory::Mmio,
        "bad" => FirmwareMemory::Unusable,
        _ => return None,
    })
}
