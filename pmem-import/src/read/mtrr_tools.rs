//! MTRRs as tools print them: fwts, FreeBSD's memcontrol, rdmsr and inteltool, U-Boot.

use super::mtrr_firmware::{set_low, width_of};
use super::reader::{LineReader, Verdict};
use crate::facts::{Entry, Facts, RegisterTable, SourceSummary, TableKind};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_mtrr::regs::{DEF_TYPE, FIXED, MAX_VARIABLE, MTRRCAP};
use pmem_mtrr::{Cap, DefType, MemType, Variable};
use std::collections::BTreeMap;

const RECORD: &str = "MTRR register";

/// Reads all forms; a text has at most one table.
#[derive(Default)]
pub(super) struct Reader {
    table: Option<RegisterTable>,
    /// The heading of U-Boot's table was seen.
    uboot: bool,
    /// Base registers whose masks have not come yet.
    bases: BTreeMap<usize, u64>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("Reg Valid Write-type") {
            self.uboot = true;
            return Verdict::Took;
        }
        let read = if words.starts_with("Reg ") && words.contains(": 0x") {
            self.fwts(line, words)
        } else if self.uboot && words.contains("0000") && words.as_bytes()[0].is_ascii_digit() {
            self.uboot(line, words)
        } else if words.starts_with("0x") || words.starts_with("IA32_MTRR") {
            match self.msr(line, words, facts) {
                Some(read) => read,
                None => return Verdict::Pass,
            }
        } else if words.contains(" active") || words.contains("set-by-firmware") {
            match self.memcontrol(line, words) {
                Some(read) => read,
                None => return Verdict::Pass,
            }
        } else {
            return Verdict::Pass;
        };
        let (verdict, counted) = Verdict::of(RECORD, read);
        if counted == Some(true) {
            heard.count(RECORD);
        }
        verdict
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.mtrr.tables.extend(self.table.take());
    }
}

impl Reader {
    fn table(&mut self, line: &Line<'_>) -> &mut RegisterTable {
        self.table.get_or_insert_with(|| RegisterTable::new(TableKind::System, line.place()))
    }

    fn add(&mut self, line: &Line<'_>, n: usize, entry: Entry) {
        let table = self.table(line);
        table.entries.retain(|(had, ..)| *had != n);
        table.entries.push((n, entry, line.number));
        table.listed = table.listed.max(n + 1);
    }

    /// Reads `Reg 0: 0x0000000000000000 - 0x0000000080000000 (  2048 MB)   Write-Back`, end exclusive.
    fn fwts(&mut self, line: &Line<'_>, words: &str) -> Result<bool, String> {
        let mut scan = Scan(words);
        let wrong = || "no start, end and type".to_owned();
        let (n, start, end) = (|| {
            scan.lit("Reg ")?;
            let n = scan.decimal()? as usize;
            scan.lit(":")?;
            let start = scan.hex()?;
            scan.lit("-")?;
            Some((n, start, scan.hex()?))
        })()
        .filter(|(n, ..)| *n < MAX_VARIABLE)
        .ok_or_else(wrong)?;
        let word = scan.until(")").map(|_| scan.0.trim()).ok_or_else(wrong)?;
        let kind = kind(word).ok_or_else(|| format!("{word:?} is no memory type"))?;
        let size = end.checked_sub(start).ok_or("the end is before the start")?;
        self.add(line, n, super::mtrr_proc::block(start, size, kind)?);
        Ok(true)
    }

    /// Reads `0/80000000 BIOS write-back set-by-firmware active`: base and length in hexadecimal.
    fn memcontrol(&mut self, line: &Line<'_>, words: &str) -> Option<Result<bool, String>> {
        let (range, rest) = words.split_once(' ')?;
        let (base, size) = range.split_once('/')?;
        let (base, size) = (hex(base.trim_start_matches("0x"))?, hex(size.trim_start_matches("0x"))?);
        let kind = rest.split_whitespace().find_map(kind);
        Some((|| {
            let kind = kind.ok_or_else(|| "none of the words is a memory type".to_owned())?;
            let end = base.checked_add(size).ok_or("it ends past 2^64")?;
            if rest.contains("fixed-base") {
                let table = self.table(line);
                table.fixed_enabled = Some(true);
                set_low(table, base, end, kind);
                return Ok(false);
            }
            let n = self.table.as_ref().map_or(0, |table| table.entries.len());
            self.add(line, n, super::mtrr_proc::block(base, size, kind)?);
            Ok(true)
        })())
    }

    /// Reads `0x00000200 IA32_MTRR_PHYSBASE0: 0x0000000000000006`, `0x2ff 0xc00` or `0x2ff: 0xc00`.
    fn msr(&mut self, line: &Line<'_>, words: &str, facts: &mut Facts) -> Option<Result<bool, String>> {
        let mut scan = Scan(words);
        let msr = if words.starts_with("0x") { u32::try_from(scan.hex()?).ok()? } else { 0 };
        let mut rest = scan;
        let named =
            rest.many(|b| b.is_ascii_alphanumeric() || b == b'_').filter(|name| name.starts_with("IA32_"));
        if named.is_some() {
            scan = rest;
        }
        let msr = if msr == 0 { named.and_then(msr_named)? } else { msr };
        let known = [MTRRCAP, DEF_TYPE].contains(&msr)
            || FIXED.contains(&msr)
            || (0x200..0x200 + 2 * MAX_VARIABLE as u32).contains(&msr);
        if !known {
            return None;
        }
        // A register's number must be followed by a hexadecimal value, and nothing else.
        let mut value = Scan(scan.0.trim_start_matches([':', '=', ' ', '\t']));
        if !(value.0.starts_with("0x") || named.is_some()) {
            return None;
        }
        let Some(value) = value.hex().filter(|_| value.is_done()) else {
            return named.map(|_| Err("no value behind the register".to_owned()));
        };
        Some(self.set(line, msr, value, facts))
    }

    fn set(&mut self, line: &Line<'_>, msr: u32, value: u64, facts: &mut Facts) -> Result<bool, String> {
        let table = self.table(line);
        if msr == MTRRCAP {
            table.count = u8::try_from(Cap(value).variable()).ok();
        } else if msr == DEF_TYPE {
            let def = DefType(value);
            (table.def, table.default) = (Some(def), def.kind());
            (table.fixed_enabled, table.enabled) = (Some(def.fixed()), Some(def.enabled()));
        } else if let Some(n) = FIXED.iter().position(|fixed| *fixed == msr) {
            for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                table.fixed.set_byte(8 * n + i, byte);
                table.fixed_known |= 1 << (8 * n + i);
            }
        } else {
            let n = ((msr - 0x200) / 2) as usize;
            // Base registers have even numbers, mask registers odd ones. The mask completes the pair.
            if msr.is_multiple_of(2) {
                self.bases.insert(n, value);
                return Ok(false);
            }
            let raw = Variable { base: self.bases.get(&n).copied().unwrap_or(0), mask: value };
            let table = self.table(line);
            table.listed = table.listed.max(n + 1);
            if !raw.valid() {
                table.lists_unused = true;
                return Ok(false);
            }
            facts.mtrr.mask_width = facts.mtrr.mask_width.max(width_of(raw.mask));
            self.add(line, n, Entry::Raw(raw));
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads `0   Y     Back         0000000000000000 0000007f80000000 0000000080000000`.
    fn uboot(&mut self, line: &Line<'_>, words: &str) -> Result<bool, String> {
        let mut parts = words.split_whitespace();
        let mut next = || {
            parts.next().ok_or_else(|| "number, validity, type, base, mask and size are expected".to_owned())
        };
        let n: usize = next()?.parse().ok().filter(|n| *n < MAX_VARIABLE).ok_or("no number of a register")?;
        let (valid, kind_word, base, mask) = (next()?, next()?, next()?, next()?);
        let number = |text: &str| {
            hex(text).ok_or_else(|| format!("{text:?} is not read: expected a hexadecimal number"))
        };
        let (base, mask) = (number(base)?, number(mask)?);
        let table = self.table(line);
        table.listed = table.listed.max(n + 1);
        if valid != "Y" {
            table.lists_unused = true;
            return Ok(false);
        }
        let kind = kind(kind_word).ok_or_else(|| format!("{kind_word:?} is no memory type"))?;
        self.add(line, n, Entry::Raw(Variable { base: base | u64::from(kind.bits()), mask: mask | 1 << 11 }));
        Ok(true)
    }
}

/// Returns the register that a manual's name means.
fn msr_named(name: &str) -> Option<u32> {
    let number =
        |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok().filter(|n| *n < MAX_VARIABLE as u32);
    match name {
        "IA32_MTRRCAP" => Some(MTRRCAP),
        "IA32_MTRR_DEF_TYPE" => Some(DEF_TYPE),
        _ => number("IA32_MTRR_PHYSBASE")
            .map(|n| 0x200 + 2 * n)
            .or_else(|| number("IA32_MTRR_PHYSMASK").map(|n| 0x201 + 2 * n)),
    }
}

/// Parses a type in the words of these tools.
fn kind(word: &str) -> Option<MemType> {
    Some(match word.to_ascii_lowercase().as_str() {
        "back" => MemType::Wb,
        "combine" => MemType::Wc,
        "through" => MemType::Wt,
        "protect" => MemType::Wp,
        "uncached" | "uncacheable" | "uncachable" => MemType::Uc,
        other => return MemType::from_name(other),
    })
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    fn table(text: &str) -> RegisterTable {
        let mut facts = read(text);
        assert!(facts.heard[0].odd.is_empty(), "{:?}", facts.heard[0].odd);
        facts.mtrr.tables.remove(0)
    }

    #[test]
    fn each_tool_is_read() {
        let fwts = table(
            "Reg 0: 0x0000000000000000 - 0x0000000080000000 (  2048 MB)   Write-Back\nReg 3: 0x00000000bf800000 - 0x00000000c0000000 (     8 MB)   Uncached\n",
        );
        assert_eq!((fwts.entries.len(), fwts.listed), (2, 4));
        let freebsd = table(
            "0/10000 BIOS write-back fixed-base fixed-length set-by-firmware active\n0/80000000 BIOS write-back set-by-firmware active\n",
        );
        assert_eq!((freebsd.entries.len(), freebsd.fixed_known), (1, 1));
        let rdmsr = table(
            "0x000000fe IA32_MTRRCAP: 0x0000000000000d08\n0x00000200 IA32_MTRR_PHYSBASE0: 0x0000000000000006\n0x00000201 IA32_MTRR_PHYSMASK0: 0x0000000f80000800\n0x2ff 0xc00\n",
        );
        assert_eq!((rdmsr.count, rdmsr.entries.len(), rdmsr.def), (Some(8), 1, Some(DefType(0xc00))));
        let uboot = table(
            "Reg Valid Write-type   Base   ||        Mask   ||        Size   ||\n0   Y     Back         0000000000000000 0000007f80000000 0000000080000000\n3   N     Uncacheable  0000000000000000 0000000000000000 0000008000000000\n",
        );
        assert_eq!((uboot.entries.len(), uboot.listed, uboot.lists_unused), (1, 4, true));
    }
}
