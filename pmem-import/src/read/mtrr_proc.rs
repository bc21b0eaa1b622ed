//! `/proc/mtrr`, as all versions of Linux print it.

use super::reader::{LineReader, Verdict, read_file};
use crate::capture::Tree;
use crate::facts::{Entry, Facts, RegisterTable, SourceSummary, TableKind};
use crate::text::{Line, Scan};
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{Block, MemType, Register};

/// The files.
pub(super) const FILES: &[&str] = &["proc/mtrr"];

const RECORD: &str = "MTRR register";

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    read_file(tree, FILES[0], &mut Reader::default(), facts, heard);
}

/// Reads tables. A table begins where register numbers restart.
#[derive(Default)]
pub(super) struct Reader {
    table: Option<RegisterTable>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        let Some(at) = words
            .find("reg")
            .filter(|at| words[*at..].get(3..5).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())))
        else {
            return Verdict::Pass;
        };
        // People put a word of their own in front, such as a prompt, but nothing that looks like another record.
        if !words[at..].contains("base=") || words[..at].contains(['=', '"']) {
            return Verdict::Pass;
        }
        let (verdict, found) = Verdict::of(RECORD, entry(&words[at..]));
        let Some((n, entry)) = found else { return verdict };
        let anew = self.table.as_ref().is_some_and(|table| table.entries.iter().any(|(had, ..)| *had >= n));
        if anew {
            facts.mtrr.tables.extend(self.table.take());
        }
        let table = self.table.get_or_insert_with(|| RegisterTable::new(TableKind::System, line.place()));
        table.entries.push((n, entry, line.number));
        table.listed = table.listed.max(n + 1);
        table.is_old |= words[at..].contains(": write-")
            && words.contains("count=")
            && words.rfind("count=") > words.rfind(": ");
        heard.count(RECORD);
        verdict
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        facts.mtrr.tables.extend(self.table.take());
    }
}

/// Parses `reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back`, or the older
/// `…, size=8192MB: write-back, count=1`.
fn entry(words: &str) -> Result<(usize, Entry), String> {
    let mut scan = Scan(words);
    let wrong = |what: &str| format!("{what} is missing");
    scan.lit("reg").ok_or_else(|| wrong("reg"))?;
    let n = scan.decimal().ok_or_else(|| wrong("the register's number"))?;
    let n = usize::try_from(n).ok().filter(|n| *n < MAX_VARIABLE);
    let n = n.ok_or_else(|| format!("processors have at most {MAX_VARIABLE} registers"))?;
    scan.lit(":").and_then(|()| scan.lit("base=")).ok_or_else(|| wrong("base="))?;
    let base = scan.hex().ok_or_else(|| wrong("the base"))?;
    scan.until("),").ok_or_else(|| wrong("the base in MB"))?;
    scan.lit("size=").ok_or_else(|| wrong("size="))?;
    let size = scan.decimal().ok_or_else(|| wrong("the size"))?;
    let unit = match scan.many(|b| b.is_ascii_uppercase()) {
        Some("B") => 0,
        Some("KB") => 10,
        Some("MB") => 20,
        Some("GB") => 30,
        _ => return Err(wrong("the unit of the size")),
    };
    let bytes = size.checked_mul(1 << unit).filter(|bytes| *bytes <= 1 << 52);
    let bytes = bytes
        .ok_or_else(|| format!("a size of {size} and 2^{unit} bytes each is past all physical addresses"))?;
    let rest = scan.0.trim_start_matches([',', ':', ' ']);
    let kind = match rest.strip_prefix("count=") {
        Some(counted) => counted.split_once(':').ok_or_else(|| wrong("the type"))?.1,
        None => rest.split(',').next().unwrap_or(""),
    };
    let word = kind.split_whitespace().next().ok_or_else(|| wrong("the type"))?;
    let kind = MemType::from_name(word).ok_or_else(|| format!("{word:?} is no memory type"))?;
    Ok((n, block(base, bytes, kind)?))
}

/// Builds a block of a type. If Linux cut a mask to 32 bits on a processor with more, it prints a size
/// that is no power of two: 2^n less the high bits that were cut. The base and the size's lowest bit
/// still give the real block.
pub(super) fn block(base: u64, bytes: u64, kind: MemType) -> Result<Entry, String> {
    let whole = |bytes: u64| {
        bytes.is_power_of_two().then(|| Block::new(base, bytes.trailing_zeros() as u8)).flatten()
    };
    if let Some(block) = whole(bytes) {
        return Ok(Entry::Register(Register { block, kind }));
    }
    // For example, 983552 MB is 0xf0200 MB: its top bits are ones, from some bit up to the address width.
    let lowest = 1u64.checked_shl(bytes.trailing_zeros()).unwrap_or(0);
    let top = u64::BITS - bytes.leading_zeros();
    let high = bytes ^ lowest;
    let filled = high != 0 && top >= 37 && high.trailing_zeros() + high.count_ones() == top;
    match whole(lowest).filter(|_| filled) {
        Some(block) => Ok(Entry::Cut(Register { block, kind })),
        None => Err(format!(
            "base {base:#x} and size {bytes:#x} are no block: a power of two of at least 4 KiB, at a multiple of it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    #[test]
    fn new_old_and_wrapped_lines_are_read() {
        let facts = read(
            "reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n\
             JM> reg01: base=0xE0000000 (3584MB), size= 128MB: \nwrite-combining, count=2\n\
             reg02: base=0x000c0000 (   0MB), size= 256KB: uncachable, count=1\n\
             reg03: base=0x000000000 (    0MB), size=17179869185GB, count=1: write-back\n",
        );
        let table = &facts.mtrr.tables[0];
        let shown: Vec<(usize, u64, MemType)> = table
            .entries
            .iter()
            .map(|(n, entry, _)| match entry {
                Entry::Register(register) => (*n, register.block.size(), register.kind),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [(0, 2 << 30, MemType::Wb), (1, 128 << 20, MemType::Wc), (2, 256 << 10, MemType::Uc)]
        );
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_mask_that_was_cut_is_told_by_its_size() {
        for (megabytes, real) in [(983_552u64, 512u64 << 20), (984_064, 1 << 30)] {
            let facts =
                read(&format!("reg00: base=0x00000000 (   0MB), size={megabytes}MB: write-back, count=1\n"));
            let (_, entry, _) = facts.mtrr.tables[0].entries[0];
            assert!(
                matches!(entry, Entry::Cut(register) if register.block.size() == real),
                "{megabytes}: {entry:?}"
            );
        }
        assert!(
            read("reg00: base=0x00000000 (   0MB), size=768MB: write-back, count=1\n").mtrr.tables.is_empty()
        );
    }

    #[test]
    fn numbers_that_begin_anew_are_another_table() {
        let one = "reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n";
        assert_eq!(read(&one.repeat(2)).mtrr.tables.len(), 2);
    }
}
