//! MTRRs in Linux's log: what it found, what its clean-up programmed, its complaints, and the page attribute table.

use super::reader::{LineReader, Verdict};
use crate::facts::{Complaint, Entry, Facts, RegisterTable, SourceSummary, Sourced, TableKind};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{Fixed, MemType, PatType, Span, Variable, Width};

const RECORD: &str = "MTRR register";

/// Reads tables and complaints.
#[derive(Default)]
pub(super) struct Reader {
    table: Option<RegisterTable>,
    /// A table of the clean-up, before or after it.
    cleanup: Option<RegisterTable>,
    /// A note has been made that Linux's map of effective types is not read.
    map_noted: bool,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        match words.as_bytes().first() {
            Some(b'M') if words.starts_with("MTRR") => self.heading(line, words, facts),
            Some(b'r') if words.starts_with("reg ") => self.cleanup_register(line, words, heard),
            Some(b'm') if words.starts_with("mtrr: ") || words.starts_with("mtrr_cleanup: ") => {
                self.complaint(line, words, facts, heard)
            }
            Some(b'o') if words == "original variable MTRRs" => {
                self.begin_cleanup(line, TableKind::BeforeCleanup, facts)
            }
            Some(b'N') if words == "New variable MTRRs" => {
                self.begin_cleanup(line, TableKind::AfterCleanup, facts)
            }
            Some(b'b') if words.starts_with("built from ") => self.built(words),
            Some(b'T') if words.starts_with("TOM2: ") => tom2(line, words, facts, heard),
            Some(b'x')
                if words.starts_with("x86/PAT: Configuration") || words.starts_with("x86 PAT enabled") =>
            {
                pat(line, words, facts, heard)
            }
            Some(b'D') if words.starts_with("Detected CPUs with inconsistent") => {
                complain(line, Complaint::Inconsistent, facts, heard)
            }
            Some(first) if first.is_ascii_hexdigit() => self.numbers(line, words, facts, heard),
            _ => Verdict::Pass,
        }
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.mtrr.tables.extend(self.table.take());
        facts.mtrr.tables.extend(self.cleanup.take());
    }
}

impl Reader {
    fn table(&mut self, line: &Line<'_>) -> &mut RegisterTable {
        self.table.get_or_insert_with(|| RegisterTable::new(TableKind::KernelLog, line.place()))
    }

    /// Reads `MTRR default type: uncachable`, `MTRR fixed ranges enabled:`, `MTRR variable ranges disabled:`,
    /// `MTRR map: …` or `MTRRs disabled …`.
    fn heading(&mut self, line: &Line<'_>, words: &str, facts: &mut Facts) -> Verdict {
        let switch = |rest: &str| match rest.trim_end_matches(':').trim() {
            "enabled" => Some(true),
            "disabled" => Some(false),
            _ => None,
        };
        if let Some(word) = words.strip_prefix("MTRR default type: ") {
            let word = word.split_whitespace().next().unwrap_or("");
            // Firmware's log has the whole register there.
            if word.len() >= 14 && hex(word).is_some() {
                return Verdict::Pass;
            }
            let kind = MemType::from_name(word).ok_or_else(|| format!("{word:?} is no memory type"));
            let (verdict, kind) = Verdict::of("MTRR default type", kind);
            if kind.is_some() {
                // This line begins the kernel's list.
                facts.mtrr.tables.extend(self.table.take_if(|table| table.default.is_some()));
                self.table(line).default = kind;
            }
            return verdict;
        }
        if let Some(rest) = words.strip_prefix("MTRR fixed ranges ") {
            let (verdict, on) = Verdict::of(
                "MTRR heading",
                switch(rest).ok_or_else(|| "neither enabled nor disabled".to_owned()),
            );
            self.table(line).fixed_enabled = on.or(self.table(line).fixed_enabled);
            return verdict;
        }
        if let Some(rest) = words.strip_prefix("MTRR variable ranges ") {
            let (verdict, on) = Verdict::of(
                "MTRR heading",
                switch(rest).ok_or_else(|| "neither enabled nor disabled".to_owned()),
            );
            self.table(line).enabled = on.or(self.table(line).enabled);
            return verdict;
        }
        if let Some(at) = words.find("built from ").filter(|_| words.starts_with("MTRR map:")) {
            return self.built(&words[at..]);
        }
        Verdict::Pass
    }

    /// Reads `built from 10 variable MTRRs`.
    fn built(&mut self, words: &str) -> Verdict {
        let count = words.split_whitespace().nth(2).and_then(|n| n.parse::<u8>().ok());
        let (verdict, count) = Verdict::of(
            "MTRR count",
            count
                .filter(|n| usize::from(*n) <= MAX_VARIABLE)
                .ok_or_else(|| "no number of registers".to_owned()),
        );
        if let Some(table) = &mut self.table {
            table.count = count.or(table.count);
        }
        verdict
    }

    /// Reads `00000-9FFFF write-back`, `0 base 0000000000 mask 7F80000000 write-back` or `7 disabled`.
    fn numbers(
        &mut self,
        line: &Line<'_>,
        words: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        if words.get(5..6) == Some("-") && words.get(11..12) == Some(" ") {
            return self.fixed(line, words, heard);
        }
        if is_map_entry(words) {
            if !self.map_noted {
                let note = format!(
                    "the map of effective types from line {} on is not read: it does not show the registers",
                    line.number
                );
                heard.notes.push(note);
            }
            self.map_noted = true;
            return Verdict::Took;
        }
        let mut scan = Scan(words);
        let Some(n) = scan.decimal() else { return Verdict::Pass };
        if scan.lit("base ").is_some() && (scan.0.contains("mask") || self.table.is_some() && line.logged) {
            let (verdict, found) = Verdict::of(RECORD, variable(n, scan));
            if let Some((n, raw)) = found {
                let width = Width::new((u64::BITS - raw.mask.leading_zeros()) as u8);
                // A mask is printed up to the address width, so it implies the width.
                facts.mtrr.mask_width = facts.mtrr.mask_width.max(width);
                let table = self.table(line);
                table.entries.retain(|(had, ..)| *had != n);
                table.entries.push((n, Entry::Raw(raw), line.number));
                table.listed = table.listed.max(n + 1);
                heard.count(RECORD);
            }
            return verdict;
        }
        // `7 disabled` could be anything, so it only counts within a list.
        if scan.0 == "disabled" && self.table.is_some() && n < MAX_VARIABLE as u64 {
            let table = self.table(line);
            table.listed = table.listed.max(n as usize + 1);
            table.lists_unused = true;
            return Verdict::Took;
        }
        Verdict::Pass
    }

    fn fixed(&mut self, line: &Line<'_>, words: &str, heard: &mut SourceSummary) -> Verdict {
        let word = words[12..].trim();
        let (Some(start), Some(last)) = (hex(&words[..5]), hex(&words[6..11])) else { return Verdict::Pass };
        let Some(kind) = MemType::from_name(word) else {
            return Verdict::Odd("fixed MTRR range", format!("{word:?} is no memory type"));
        };
        if start > last || start & 0xfff != 0 || last & 0xfff != 0xfff {
            return Verdict::Odd("fixed MTRR range", "it is not of whole pages".to_owned());
        }
        set_fixed(self.table(line), Span { start, end: last + 1 }, kind);
        heard.count("fixed MTRR range");
        Verdict::Took
    }

    fn begin_cleanup(&mut self, line: &Line<'_>, kind: TableKind, facts: &mut Facts) -> Verdict {
        facts.mtrr.tables.extend(self.cleanup.take());
        self.cleanup = Some(RegisterTable::new(kind, line.place()));
        Verdict::Took
    }

    /// Reads `reg 0, base: 0GB, range: 2GB, type WB`.
    fn cleanup_register(&mut self, line: &Line<'_>, words: &str, heard: &mut SourceSummary) -> Verdict {
        let mut scan = Scan(words);
        let read = (|| {
            scan.lit("reg ")?;
            let n = usize::try_from(scan.decimal()?).ok().filter(|n| *n < MAX_VARIABLE)?;
            scan.lit(",").and_then(|()| scan.lit("base:"))?;
            let base = size(&mut scan)?;
            scan.lit(",").and_then(|()| scan.lit("range:"))?;
            let bytes = size(&mut scan)?;
            scan.lit(",").and_then(|()| scan.lit("type "))?;
            Some((n, super::mtrr_proc::block(base, bytes, MemType::from_name(scan.0.trim())?).ok()?))
        })();
        let (verdict, found) =
            Verdict::of(RECORD, read.ok_or_else(|| "no base, range and type of a block".to_owned()));
        if let Some((n, entry)) = found {
            let table = self
                .cleanup
                .get_or_insert_with(|| RegisterTable::new(TableKind::BeforeCleanup, line.place()));
            table.entries.retain(|(had, ..)| *had != n);
            table.entries.push((n, entry, line.number));
            table.listed = table.listed.max(n + 1);
            heard.count(RECORD);
        }
        verdict
    }

    fn complaint(
        &mut self,
        line: &Line<'_>,
        words: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let body = words.split_once(": ").map_or(words, |(_, body)| body);
        if let Some(rest) = body.strip_prefix("type mismatch for ") {
            // `BASE,SIZE old: write-back new: write-combining`, in hexadecimal.
            let mut scan = Scan(rest);
            let read = (|| {
                let base = scan.hex()?;
                scan.lit(",")?;
                let end = base.checked_add(scan.hex()?)?;
                scan.lit("old:")?;
                let old = scan.until("new:")?.trim().to_owned();
                let new = MemType::from_name(scan.0.trim());
                Some(Complaint::Mismatch { span: Span { start: base, end }, old, new })
            })();
            return match read {
                Some(complaint) => complain(line, complaint, facts, heard),
                None => Verdict::Odd("MTRR complaint", "no base, size, old and new type".to_owned()),
            };
        }
        if body.starts_with("no more MTRRs available") {
            return complain(line, Complaint::NoneLeft, facts, heard);
        }
        if body.contains("inconsistent") {
            return complain(line, Complaint::Inconsistent, facts, heard);
        }
        // pmem's own form of a table has numbers there.
        if body.starts_with(|c: char| c.is_ascii_digit())
            || words.starts_with("mtrr:") && looks_like_ours(body)
        {
            return Verdict::Pass;
        }
        complain(line, Complaint::Other(body.to_owned()), facts, heard)
    }
}

/// Whether a line is `BASE SIZE TYPE` in hexadecimal, as in pmem's own form.
fn looks_like_ours(body: &str) -> bool {
    let mut words = body.split_whitespace();
    let numbers = words.by_ref().take(2).filter(|word| hex(word).is_some()).count();
    numbers == 2
}

fn complain(line: &Line<'_>, complaint: Complaint, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
    facts.mtrr.complaints.push(Sourced::new(complaint, line.place()));
    heard.count("MTRR complaint");
    Verdict::Took
}

/// Sets the fixed ranges that a span covers.
pub(super) fn set_fixed(table: &mut RegisterTable, span: Span, kind: MemType) {
    let mut at = span.start;
    while at < span.end.min(1 << 20) {
        let i = Fixed::range_of(at);
        table.fixed.set_byte(i, kind.bits());
        table.fixed_known |= 1 << i;
        at = Fixed::span(i).end;
    }
}

/// Parses `0GB`, `3325MB` or `64KB`.
fn size(scan: &mut Scan<'_>) -> Option<u64> {
    let number = scan.decimal()?;
    let unit = match scan.many(|b| b.is_ascii_uppercase())? {
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    scan.blanks();
    number.checked_mul(1 << unit)
}

/// Whether a line is `3: 0000000080000000-00000000ffffffff uncachable`, an effective range (Linux 6.4,
/// `mtrr=debug`).
fn is_map_entry(words: &str) -> bool {
    let mut scan = Scan(words);
    let found = (|| {
        scan.decimal()?;
        scan.lit(":")?;
        scan.hex()?;
        scan.lit("-")?;
        scan.hex()?;
        MemType::from_name(scan.0.trim())
    })();
    found.is_some()
}

/// Parses what follows `base ` into the register's number and contents.
fn variable(n: u64, mut scan: Scan<'_>) -> Result<(usize, Variable), String> {
    let n = usize::try_from(n)
        .ok()
        .filter(|n| *n < MAX_VARIABLE)
        .ok_or_else(|| format!("there is no variable register {n}"))?;
    let base = scan.hex().ok_or("no base")?;
    scan.lit("mask ").ok_or("no mask")?;
    let mask = scan.hex().ok_or("no mask")?;
    let word = scan.0.trim();
    let kind = MemType::from_name(word).ok_or_else(|| format!("{word:?} is no memory type"))?;
    if mask & !0xfff == 0 || mask >> 52 != 0 {
        return Err(format!("a mask of {mask:#x}"));
    }
    Ok((n, Variable { base: base & !0xfff | u64::from(kind.bits()), mask: mask & !0xfff | 1 << 11 }))
}

fn tom2(line: &Line<'_>, words: &str, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
    let mut scan = Scan(words);
    let read = scan.lit("TOM2: ").and_then(|()| scan.hex());
    let (verdict, tom2) = Verdict::of("TOM2", read.ok_or_else(|| "no address".to_owned()));
    if let Some(tom2) = tom2 {
        facts.mtrr.tom2 = Some(Sourced::new(tom2, line.place()));
        facts.mtrr.is_amd = true;
        heard.count("TOM2");
    }
    verdict
}

/// Reads `x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT` or
/// `x86 PAT enabled: cpu 0, old 0x7040600070406, new 0x7010600070106`.
fn pat(line: &Line<'_>, words: &str, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
    let slots: Option<[Option<PatType>; 8]> = if let Some(new) = words.split("new ").nth(1) {
        Scan(new).hex().map(|msr| std::array::from_fn(|i| PatType::from_bits((msr >> (8 * i) & 7) as u8)))
    } else {
        let names = words.split("]:").nth(1).unwrap_or("").split_whitespace();
        let kind = |name: &str| {
            let bits = match name {
                "UC" => 0,
                "WC" => 1,
                "WT" => 4,
                "WP" => 5,
                "WB" => 6,
                "UC-" => 7,
                _ => return None,
            };
            PatType::from_bits(bits)
        };
        let all: Vec<Option<PatType>> = names.map(kind).collect();
        all.try_into().ok()
    };
    let (verdict, slots) =
        Verdict::of("page attribute table", slots.ok_or_else(|| "it has eight entries".to_owned()));
    if let Some(slots) = slots {
        facts.mtrr.pat = Some(Sourced::new(slots, line.place()));
        heard.count("page attribute table");
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    #[test]
    fn a_kernels_list_is_one_table_with_all_that_belongs_to_it() {
        let facts = read(
            "[    0.000000] MTRR default type: uncachable\n[    0.000000] MTRR fixed ranges enabled:\n\
             [    0.000000]   00000-9FFFF write-back\n[    0.000000]   A0000-BFFFF uncachable\n\
             [    0.000000] MTRR variable ranges enabled:\n\
             [    0.000000]   0 base 00C0000000 mask FFC0000000 uncachable\n[    0.000000]   1 disabled\n[    0.000000]   9 disabled\n\
             [    0.000000]   2 base 00zz\n\
             [    0.000000] TOM2: 0000001080000000 aka 67584M\n\
             [    0.000000] x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT\n",
        );
        let table = &facts.mtrr.tables[0];
        assert_eq!(
            (table.default, table.fixed_enabled, table.enabled),
            (Some(MemType::Uc), Some(true), Some(true))
        );
        assert_eq!((table.entries.len(), table.listed, table.lists_unused), (1, 10, true));
        assert_eq!(facts.mtrr.mask_width, Width::new(40));
        assert_eq!(table.fixed_known.count_ones(), 16 + 8, "to 0xc0000");
        assert_eq!(facts.mtrr.tom2.as_ref().unwrap().value, 0x10_8000_0000);
        assert_eq!(facts.mtrr.pat.as_ref().unwrap().value[1], Some(PatType::Wc));
    }

    #[test]
    fn a_clean_ups_tables_stand_apart() {
        let facts = read(
            "original variable MTRRs\nreg 0, base: 0GB, range: 2GB, type WB\nreg 1, base: 3325MB, range: 1MB, type UC\n\
             New variable MTRRs\nreg 0, base: 0GB, range: 4GB, type WB\n",
        );
        let kinds: Vec<_> = facts.mtrr.tables.iter().map(|table| (table.kind, table.entries.len())).collect();
        assert_eq!(kinds, [(TableKind::BeforeCleanup, 2), (TableKind::AfterCleanup, 1)]);
    }

    #[test]
    fn complaints_are_complaints() {
        let facts = read(
            "mtrr: type mismatch for e8000000,4000000 old: write-back new: write-combining\nmtrr: no more MTRRs available\n\
             mtrr: your CPUs had inconsistent variable MTRR settings\nmtrr_cleanup: can not find optimal value\n",
        );
        let all: Vec<&Complaint> = facts.mtrr.complaints.iter().map(|said| &said.value).collect();
        let span = Span { start: 0xe800_0000, end: 0xec00_0000 };
        assert_eq!(*all[0], Complaint::Mismatch { span, old: "write-back".into(), new: Some(MemType::Wc) });
        assert_eq!((all[1], all[2], all.len()), (&Complaint::NoneLeft, &Complaint::Inconsistent, 4));
        assert!(facts.heard[0].odd.is_empty());
    }
}
