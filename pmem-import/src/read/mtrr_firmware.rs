//! MTRRs in firmware logs: coreboot's, and those of EDK2 and its kin.

use super::mtrr_log::set_fixed;
use super::reader::{LineReader, Verdict};
use crate::facts::{Entry, Facts, RegisterTable, SourceSummary, Sourced, TableKind};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_mtrr::regs::{FIXED, MAX_VARIABLE};
use pmem_mtrr::{DefType, Fixed, MemType, Span, Variable, Width};

const RECORD: &str = "MTRR register";

/// Reads tables. A heading begins one.
#[derive(Default)]
pub(super) struct Reader {
    table: Option<RegisterTable>,
    /// Effective ranges follow, which follow from the registers and are skipped.
    effective: bool,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if let Some(at) = words.find("CPU physical address size: ") {
            let mut scan = Scan(&words[at + 27..]);
            let width = scan
                .decimal()
                .filter(|_| scan.0.starts_with("bits"))
                .and_then(|bits| Width::new(u8::try_from(bits).ok()?));
            let (verdict, width) =
                Verdict::of("address width", width.ok_or_else(|| "no width of 32 to 52 bits".to_owned()));
            facts.mtrr.width =
                width.map(|width| Sourced::new(width, line.place())).or(facts.mtrr.width.take());
            return verdict;
        }
        if let Some(at) = words.find("MTRR: ") {
            return self.coreboot(line, &words[at + 6..], facts, heard);
        }
        if words.starts_with("0x") && words.contains(" size 0x") {
            return self.wanted(words, heard);
        }
        if words.starts_with("MTRR Settings") {
            self.begin(line, TableKind::Firmware, facts);
            return Verdict::Took;
        }
        if words.starts_with("MTRR Default Type: ")
            || words.starts_with("Fixed MTRR[")
            || words.starts_with("Variable MTRR[")
        {
            return self.edk2(line, words, facts, heard);
        }
        if words.starts_with("Memory Ranges:") {
            self.effective = true;
            return Verdict::Took;
        }
        // `WB:0000000000000000-000000000009FFFF`: an effective range.
        let is_range = words.get(2..3) == Some(":")
            && MemType::from_name(words.get(..2).unwrap_or("")).is_some()
            && words.contains('-');
        if self.effective && is_range { Verdict::Took } else { Verdict::Pass }
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.mtrr.tables.extend(self.table.take());
    }
}

impl Reader {
    fn begin(&mut self, line: &Line<'_>, kind: TableKind, facts: &mut Facts) {
        facts.mtrr.tables.extend(self.table.take());
        self.table = Some(RegisterTable::new(kind, line.place()));
    }

    fn table(&mut self, line: &Line<'_>) -> &mut RegisterTable {
        self.table.get_or_insert_with(|| RegisterTable::new(TableKind::Firmware, line.place()))
    }

    fn add(&mut self, line: &Line<'_>, n: usize, raw: Variable, heard: &mut SourceSummary) {
        let table = self.table(line);
        table.entries.retain(|(had, ..)| *had != n);
        if raw.valid() {
            table.entries.push((n, Entry::Raw(raw), line.number));
            heard.count(RECORD);
        } else {
            table.lists_unused = true;
        }
        table.listed = table.listed.max(n + 1);
    }

    /// Reads what follows `MTRR: ` in coreboot's log.
    fn coreboot(
        &mut self,
        line: &Line<'_>,
        rest: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        if rest.starts_with("Physical address space") {
            self.begin(line, TableKind::Firmware, facts);
            return Verdict::Took;
        }
        if rest.starts_with("TEMPORARY Physical address space") {
            self.begin(line, TableKind::Temporary, facts);
            return Verdict::Took;
        }
        let mut scan = Scan(rest);
        if let Some(word) = rest.strip_suffix("selected as default type.") {
            let kind =
                MemType::from_name(word.trim()).ok_or_else(|| format!("{:?} is no memory type", word.trim()));
            let (verdict, kind) = Verdict::of("MTRR default type", kind);
            self.table(line).default = kind.or(self.table(line).default);
            return verdict;
        }
        if scan.lit("Fixed MSR ").is_some() {
            let read = scan.hex().zip(scan.hex());
            let at = read.and_then(|(msr, value)| {
                Some((FIXED.iter().position(|fixed| u64::from(*fixed) == msr)?, value))
            });
            let (verdict, found) =
                Verdict::of("fixed MTRR", at.ok_or_else(|| "no fixed MTRR and its value".to_owned()));
            if let Some((n, value)) = found {
                self.fixed(line, n, value);
                heard.count("fixed MTRR");
            }
            return verdict;
        }
        let Some(n) = scan.decimal() else { return Verdict::Pass };
        if scan.lit("base ").is_none() {
            return Verdict::Pass;
        }
        let read = (|| {
            let n = usize::try_from(n).ok().filter(|n| *n < MAX_VARIABLE)?;
            let base = scan.hex()?;
            scan.lit("mask ")?;
            let mask = scan.hex()?;
            scan.lit("type ")?;
            let kind = MemType::from_bits(u8::try_from(scan.decimal()?).ok()?)?;
            Some((n, Variable { base: base | u64::from(kind.bits()), mask: mask | 1 << 11 }))
        })();
        let (verdict, found) = Verdict::of(RECORD, read.ok_or_else(|| "no base, mask and type".to_owned()));
        if let Some((n, raw)) = found {
            facts.mtrr.mask_width = facts.mtrr.mask_width.max(width_of(raw.mask));
            self.add(line, n, raw, heard);
        }
        verdict
    }

    /// Reads `0x0000000000000000 - 0x00000000000a0000 size 0x000a0000 type 6`. The end is exclusive in old
    /// versions, inclusive in new ones; the size tells.
    fn wanted(&mut self, words: &str, heard: &mut SourceSummary) -> Verdict {
        let mut scan = Scan(words);
        let read = (|| {
            let start = scan.hex()?;
            scan.lit("-")?;
            let end = scan.hex()?;
            scan.lit("size ")?;
            let size = scan.hex()?;
            scan.lit("type ")?;
            let kind = MemType::from_bits(u8::try_from(scan.decimal()?).ok()?)?;
            let after =
                start.checked_add(size).filter(|after| size > 0 && (*after == end || after - 1 == end))?;
            Some((Span { start, end: after }, kind))
        })();
        let (verdict, found) =
            Verdict::of("wanted range", read.ok_or_else(|| "start, end and size do not agree".to_owned()));
        if let (Some(found), Some(table)) = (found, &mut self.table) {
            table.wanted.push(found);
            heard.count("wanted range");
        }
        verdict
    }

    fn fixed(&mut self, line: &Line<'_>, n: usize, value: u64) {
        let table = self.table(line);
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let at = 8 * n + i;
            table.fixed.set_byte(at, byte);
            table.fixed_known |= 1 << at;
        }
    }

    /// Reads `MTRR Default Type: 0000000000000C06`, `Fixed MTRR[00]   : 0606060606060606` or
    /// `Variable MTRR[00]: Base=… Mask=…`.
    fn edk2(
        &mut self,
        line: &Line<'_>,
        words: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        if let Some(rest) = words.strip_prefix("MTRR Default Type: ") {
            let value = hex(rest.trim()).filter(|_| rest.trim().len() >= 14);
            let Some(value) = value else {
                return if rest.contains("0x") {
                    Verdict::Odd("MTRR default type", "no register's value".to_owned())
                } else {
                    Verdict::Pass
                };
            };
            if self.table.as_ref().is_some_and(|table| table.def.is_some()) {
                self.begin(line, TableKind::Firmware, facts);
            }
            let def = DefType(value);
            let table = self.table(line);
            (table.def, table.default) = (Some(def), def.kind());
            (table.fixed_enabled, table.enabled) = (Some(def.fixed()), Some(def.enabled()));
            return Verdict::Took;
        }
        let numbered = |rest: &str| -> Option<(usize, String)> {
            let (number, rest) = rest.split_once(']')?;
            Some((number.parse().ok()?, rest.trim_start_matches([' ', ':']).to_owned()))
        };
        if let Some(found) = words.strip_prefix("Fixed MTRR[").and_then(numbered) {
            let (n, rest) = found;
            let value = hex(rest.trim()).filter(|_| n < FIXED.len());
            let (verdict, value) = Verdict::of(
                "fixed MTRR",
                value.ok_or_else(|| format!("fixed register {n} of 11, and its value")),
            );
            if let Some(value) = value {
                self.fixed(line, n, value);
                heard.count("fixed MTRR");
            }
            return verdict;
        }
        let Some((n, rest)) = words.strip_prefix("Variable MTRR[").and_then(numbered) else {
            return Verdict::Odd(RECORD, "no number of a register".to_owned());
        };
        let mut scan = Scan(&rest);
        let read = (|| {
            scan.lit("Base=")?;
            let base = scan.hex()?;
            scan.lit("Mask=")?;
            Some(Variable { base, mask: scan.hex()? }).filter(|_| n < MAX_VARIABLE)
        })();
        let (verdict, raw) = Verdict::of(
            RECORD,
            read.ok_or_else(|| format!("base and mask of one of {MAX_VARIABLE} registers")),
        );
        if let Some(raw) = raw {
            if raw.valid() {
                facts.mtrr.mask_width = facts.mtrr.mask_width.max(width_of(raw.mask));
            }
            self.add(line, n, raw, heard);
        }
        verdict
    }
}

/// Returns the address width that a mask implies.
pub(super) fn width_of(mask: u64) -> Option<Width> {
    Width::new((u64::BITS - mask.leading_zeros()) as u8)
}

/// Sets fixed ranges below 1 MiB, for other readers.
pub(super) fn set_low(table: &mut RegisterTable, start: u64, end: u64, kind: MemType) {
    set_fixed(table, Span { start, end: end.min(Fixed::span(87).end) }, kind);
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    #[test]
    fn coreboots_temporary_registers_are_a_table_of_their_own() {
        let facts = read(
            "MTRR: Physical address space:\n0x0000000000000000 - 0x00000000000a0000 size 0x000a0000 type 6\n\
             0x00000000000a0000 - 0x00000000000bffff size 0x00020000 type 0\n\
             0x0000000000002000 - 0x0000000000001000 size 0x00001000 type 6\n\
             CPU physical address size: 39 bits\nMTRR: default type WB/UC MTRR counts: 5/4.\nMTRR: UC selected as default type.\n\
             MTRR: 0 base 0x0000000000000000 mask 0x0000007f80000000 type 6\n\
             [DEBUG]  apic_id 0x0: MTRR: Fixed MSR 0x250 0x0606060606060606\n\
             MTRR: TEMPORARY Physical address space:\nMTRR: WB selected as default type.\n",
        );
        let [real, temporary] = &facts.mtrr.tables[..] else { panic!("{:?}", facts.mtrr.tables) };
        assert_eq!((real.kind, real.default, real.wanted.len()), (TableKind::Firmware, Some(MemType::Uc), 2));
        assert_eq!(real.wanted[1].0.end, 0xc_0000, "an inclusive end");
        assert_eq!((real.entries.len(), real.fixed_known), (1, 0xff));
        assert_eq!((temporary.kind, temporary.default), (TableKind::Temporary, Some(MemType::Wb)));
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn edk2s_list_is_read_with_and_without_0x() {
        for (zero, unused) in [("", true), ("0x", false)] {
            let mut text = format!(
                "MTRR Settings\n=============\nMTRR Default Type: {zero}00000000000C06\nFixed MTRR[00]   : {zero}606060606060606\n\
                 Variable MTRR[00]: Base={zero}000000C0000000 Mask={zero}00003FC0000800\n"
            );
            if unused {
                text.push_str("Variable MTRR[01]: Base=0000000000000000 Mask=0000000000000000\n");
            }
            let facts = read(&text);
            let table = &facts.mtrr.tables[0];
            assert_eq!(
                (table.def.unwrap().0, table.entries.len(), table.lists_unused),
                (0xc06, 1, unused),
                "{text}"
            );
            assert_eq!((facts.mtrr.mask_width, facts.heard[0].odd.len()), (Width::new(38), 0));
        }
    }
}
