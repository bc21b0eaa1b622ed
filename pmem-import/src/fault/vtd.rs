//! VT-d faults as Linux, Xen and FreeBSD print them.

use super::record::{FaultRecord, Requester, after, function, joined};
use crate::number::hex;
use crate::text::Line;
use pmem_iommu::vtd::{Reason, Status};
use pmem_pci::Address;

/// Linux's words for fault reasons (`drivers/iommu/intel/dmar.c`). They reveal the number if the
/// written one is wrong.
const REASONS: [(u8, &str); 22] = [
    (1, "present bit in root entry is clear"),
    (2, "present bit in context entry is clear"),
    (3, "invalid context entry"),
    (4, "access beyond mgaw"),
    (5, "pte write access is not set"),
    (6, "pte read access is not set"),
    (7, "next page table ptr is invalid"),
    (8, "root table address invalid"),
    (9, "context table ptr is invalid"),
    (0xa, "non-zero reserved fields in rtp"),
    (0xb, "non-zero reserved fields in ctp"),
    (0xc, "non-zero reserved fields in pte"),
    (0xd, "pce for translation request specifies blocking"),
    (0x20, "detected reserved fields in the decoded interrupt-remapped request"),
    (0x21, "interrupt index exceeded the interrupt-remapping table size"),
    (0x22, "present field in the irte entry is clear"),
    (0x23, "error accessing interrupt-remapping table pointed by irta_reg"),
    (0x24, "detected reserved fields in the irte entry"),
    (0x25, "blocked a compatibility format interrupt request"),
    (0x26, "blocked an interrupt request due to source-id verification failure"),
    (0x71, "sm: present bit in first-level paging entry is clear"),
    (0x79, "sm: read/write permission error in second-level paging entry"),
];

/// Returns the fault reason that words describe, with at most one word wrong; `None` if they describe no reason.
///
/// # Examples
///
/// ```
/// use pmem_import::fault::reason_of_text;
///
/// let reason = reason_of_text("PTE Read access is not set").map(|reason| reason.0);
/// assert_eq!(reason, Some(6));
/// ```
#[must_use]
pub fn reason_of_text(text: &str) -> Option<Reason> {
    let text = text.trim().to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let likeness = |known: &str| {
        let known: Vec<&str> = known.split_whitespace().collect();
        let same = known.iter().filter(|word| words.contains(*word)).count();
        (known.len() == words.len() && known.len() - same <= 1).then_some(same)
    };
    let best = REASONS.iter().filter_map(|(n, known)| Some((likeness(known)?, *n))).max()?;
    Some(Reason(best.1))
}

/// Parses a reason's number: hexadecimal with `0x`, decimal without.
fn number(text: &str) -> Option<u8> {
    let text = text.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
    match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn read(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let words = lines.first()?.words();
    if let Some(status) =
        ["fault status reg ", "fault status req "].iter().find_map(|mark| after(words, mark))
    {
        return Some((FaultRecord::Status(Status(u32::try_from(hex(status)?).ok()?)), 1));
    }
    if words.contains("callbacks suppressed") {
        let count = words.split_whitespace().find_map(|word| word.parse().ok())?;
        return words.contains("fault").then_some((FaultRecord::Suppressed(count), 1));
    }
    if words.contains("Invalidation Time-out Error") {
        return Some((FaultRecord::InvalidationTimeout, 1));
    }
    if words.starts_with("print_vtd_entries:") {
        return walk(lines);
    }
    if words.starts_with("DMAR") && words.contains(": pci") && words.contains(" fault acc ") {
        return freebsd(words);
    }
    if !words.contains("Request device [") {
        return None;
    }
    let begins = |text: &str| text.contains("Request device [") || text.contains("fault status re");
    let has_place =
        |text: &str| after(text, "fault addr").is_some_and(is_number) || after(text, "fault index").is_some();
    let (text, taken) = joined(lines, begins, has_place);
    // The reason is on the same line or on the next.
    let has_reason = |text: &str| reason(text).is_some();
    let (text, taken) = if has_reason(&text) {
        (text, taken)
    } else {
        let follows = |line: &&Line<'_>| {
            let words = line.words().to_ascii_lowercase();
            words.starts_with("[fault reason")
                || words.contains("dmar:[fault reason")
                || words.contains("reason ") && !begins(line.words())
        };
        match lines.get(taken).filter(follows) {
            Some(next) => (format!("{text} {}", next.words()), taken + 1),
            // A mailer wrapped the line inside the reason, or the record gives none.
            None => {
                let whole = joined(lines, begins, |text| has_place(text) && has_reason(text));
                if has_reason(&whole.0) { whole } else { (text, taken) }
            }
        }
    };
    let named = text.split_once("Request device [")?.1.split(']').next()?;
    let who = function(named).map(|address| Requester { address, is_known: false });
    let (reason, says) = reason(&text).map_or((None, String::new()), |(reason, says)| (Some(reason), says));
    if text.contains("INTR-REMAP") || reason.is_some_and(Reason::is_of_interrupts) {
        let index = after(&text, "fault index").and_then(hex);
        return Some((FaultRecord::Interrupt { who, index, reason, says }, taken));
    }
    let lower = text.to_ascii_lowercase();
    let read = match (lower.contains("dma read"), lower.contains("dma write")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    };
    let address = after(&text, "fault addr").and_then(hex);
    Some((FaultRecord::Vtd { who, read, address, reason, says }, taken))
}

fn is_number(text: &str) -> bool {
    hex(text).is_some()
}

/// Parses `[fault reason 06] PTE Read access is not set` or `reason 05 - PTE Write access is not set`.
fn reason(text: &str) -> Option<(Reason, String)> {
    let lower = text.to_ascii_lowercase();
    let at = lower
        .find("fault reason ")
        .map(|at| at + "fault reason ".len())
        .or_else(|| lower.find(": reason ").map(|at| at + ": reason ".len()))?;
    let rest = text.get(at..)?;
    let end = rest.find([']', ' ']).unwrap_or(rest.len());
    let number = number(rest.get(..end)?)?;
    let says = rest.get(end..)?.trim_start_matches([']', ' ', '-']).trim().to_owned();
    Some((Reason(number), says))
}

/// Reads `DMAR0: pci0:2:0 sid 10 fault acc 1 adt 0x0 reason 0x6 addr 1000`; the function's numbers are decimal.
fn freebsd(words: &str) -> Option<(FaultRecord, usize)> {
    let place = words.split_once(": pci")?.1.split_whitespace().next()?;
    let parts: Vec<u8> = place.split(':').filter_map(|part| part.parse().ok()).collect();
    let who = match *parts.as_slice() {
        [bus, device, function] if device < 32 && function < 8 => Some(Requester {
            address: Address { segment: 0, bus, device, function },
            is_known: !words.contains("unknown dev"),
        }),
        _ => None,
    };
    let reason = after(words, " reason ").and_then(number).map(Reason);
    let read = after(words, " acc ").and_then(|acc| acc.parse::<u8>().ok()).map(|acc| acc == 1);
    let address = after(words, " addr ").and_then(hex);
    Some((FaultRecord::Vtd { who, read, address, reason, says: String::new() }, 1))
}

/// Reads `print_vtd_entries: iommu #0 dev 0000:00:02.0 gmfn ea0c4f`, and the entries in the lines after it.
fn walk(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let frame = after(lines.first()?.words(), "gmfn ").and_then(hex)?;
    let (mut entries, mut taken) = (Vec::new(), 1);
    while let Some(words) = lines.get(taken).map(Line::words) {
        let entry = words.strip_prefix('l').and_then(|rest| {
            let (level, rest) = rest.split_once('[')?;
            let (index, rest) = rest.split_once(']')?;
            Some((
                level.parse::<u8>().ok()?,
                hex(index)?,
                rest.trim_start().strip_prefix('=').and_then(|e| hex(e.trim())),
            ))
        });
        match entry {
            Some((level, index, Some(entry))) => entries.push((level, index, entry)),
            Some(_) => {}
            None if words.starts_with("root_entry") || words.starts_with("context") => {}
            None => break,
        }
        taken += 1;
    }
    Some((FaultRecord::Walk { frame, entries }, taken))
}
