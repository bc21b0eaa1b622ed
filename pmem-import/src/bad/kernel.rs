//! Kernel messages about bad memory: EDAC, machine checks, firmware's error records, pages that were retired.

use super::record::{BadRecord, MemoryError, PAGE};
use crate::number::hex;

/// The hexadecimal number after a word.
fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    hex(rest.split([' ', ',', ')', ';', ':']).next()?)
}

fn error(address: u64) -> BadRecord {
    BadRecord::Error(MemoryError { address, ..MemoryError::default() })
}

fn aside(text: &str) -> Vec<BadRecord> {
    vec![BadRecord::Aside(text.to_owned())]
}

/// Whether an address is all ones up to some width: a register that did not answer, not an address.
fn is_all_ones(address: u64) -> bool {
    address >= 1 << 32 && (address | 0xfff).checked_add(1).is_some_and(u64::is_power_of_two)
}

/// Reads a line.
pub(super) fn read(words: &str) -> Vec<BadRecord> {
    for word in ["Memory failure: ", "MCE ", "Soft offline: ", "soft offline: ", "memory failure for page "] {
        let Some((_, rest)) = words.split_once(word) else { continue };
        let token = rest.split([' ', ':']).next().unwrap_or("");
        let frame = token.strip_prefix("0x").and_then(hex).filter(|frame| frame >> (64 - PAGE) == 0);
        if let Some(frame) = frame {
            return vec![error(frame << PAGE)];
        }
    }
    if let Some(kilobytes) = words.strip_prefix("HardwareCorrupted:") {
        let amount = kilobytes.split_whitespace().next().and_then(|amount| amount.parse::<u64>().ok());
        let bytes = amount.and_then(|amount| amount.checked_mul(1 << 10));
        return bytes.map(BadRecord::Corrupted).into_iter().collect();
    }
    // `  1aab400000-1aac7fffff : Kernel code`, from `/proc/iomem`.
    if let Some((range, _)) = words.split_once(" : ").filter(|(_, name)| name.starts_with("Kernel ")) {
        let ends = range.split_once('-').and_then(|(first, last)| Some((hex(first)?, hex(last)?)));
        return ends.map(|(first, last)| BadRecord::Kernel(first, last)).into_iter().collect();
    }
    if words.starts_with("EDAC ") {
        return edac(words);
    }
    // ARM: the highest byte of ERR0ADDR holds attributes.
    if let Some(register) = after(words, "ERR0ADDR:") {
        return vec![error(register & ((1 << 56) - 1))];
    }
    if let Some(module) = words.split_once("DIMM location:").map(|(_, rest)| rest.trim()) {
        if module.contains("not present") {
            return aside(
                "firmware does not say which module it is (not present): the numbers do not name a slot",
            );
        }
        return vec![BadRecord::Module(module.to_owned())];
    }
    if words.contains("physical_address_mask") {
        return Vec::new();
    }
    for word in ["physical_address: ", "physical fault address: "] {
        if let Some(address) = after(words, word) {
            return vec![error(address)];
        }
    }
    // `mce: [Hardware Error]: TSC ae4b410af0b8 ADDR 314d193000 MISC …`.
    if words.contains("[Hardware Error]") {
        return after(words, " ADDR ").map(error).into_iter().collect();
    }
    Vec::new()
}

/// Reads `EDAC MC1: 5 CE memory read error on LABEL (channel:2 slot:0 page:0x2007e9ea offset:0x100 …)` or
/// `EDAC sbridge MC1: ADDR 2007f56e100 …`.
fn edac(words: &str) -> Vec<BadRecord> {
    if words.contains("page:0x") {
        let (page, offset) = (after(words, "page:"), after(words, "offset:").unwrap_or(0));
        if page == Some(0) && offset == 0 {
            return aside("page 0, offset 0 is no address: the controller's own could not be translated");
        }
        let label = words.split_once(" error on ").or_else(|| words.split_once(" ECC on "));
        let label = label.and_then(|(_, rest)| rest.split(" (").next());
        let module = label.filter(|label| !label.contains("unknown")).map(str::to_owned);
        let page = page.filter(|page| page >> (64 - PAGE) == 0).map(|page| page << PAGE);
        let of = |page: u64| MemoryError { address: page | offset, module, ..MemoryError::default() };
        return page.map(of).map(BadRecord::Error).into_iter().collect();
    }
    let mut out = Vec::new();
    for part in words.split("ADDR ").skip(1) {
        let Some(address) = part.split([' ', ',']).next().and_then(hex) else { continue };
        if is_all_ones(address) {
            out.extend(aside("not an error: the address register read as all ones"));
        } else if words.contains("igen6") {
            out.extend(aside(
                "no error was decoded from it: kernels before 6.14.2 report registers of igen6 that hold nothing",
            ));
        } else {
            out.push(error(address));
        }
    }
    out
}
