//! The forms in which people and programs write registers and memory maps.

use super::facts::{Memory, MtrrFacts};
use crate::error::ImportError;
use pmem_mtrr::{DefType, Fixed, MemType, Span, Variable, Width};
use regex::{Captures, Regex};
use std::path::Path;
use std::sync::LazyLock;

/// Takes note of what a line says; what is wrong with it if it is broken.
type Read = fn(&mut MtrrFacts, &Captures<'_>) -> Result<(), String>;
type Form = (Regex, Read);

/// Each form of a line; the first that matches counts.
static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let forms: [(&str, Read); 27] = [
        // Our own.
        (r"^bits:\s*(\S+)", |f, c| width(f, &c[1])),
        (r"^vcnt:\s*(\S+)", |f, c| count(f, &c[1])),
        (r"^def:\s*(\S+)", |f, c| set(&mut f.default, kind(&c[1]))),
        (r"^top:\s*(\S+)", |f, c| set(&mut f.top, hex(&c[1]))),
        (r"^tom2:\s*(\S+)", |f, c| set(&mut f.tom2, hex(&c[1]))),
        (r"^mtrr:\s*(\S+)\s+(\S+)\s+(\S+)", |f, c| {
            let n = f.variable.len();
            f.add_block(n, hex(&c[1])?, hex(&c[2])?, kind(&c[3])?)
        }),
        (r"^e820:\s*(\S+)\s+(\S+)\s+(.+)", |f, c| memory(f, hex(&c[1])?, Some(hex(&c[2])?), &c[3])),
        (r"^wcwant:\s*(\S+)\s+(\S+)", |f, c| want(f, &c[1], &c[2], MemType::Wc)),
        // /proc/mtrr, new and old.
        (
            r"\breg(\d+): base=0x([0-9a-f]+) \([^)]*\), size=\s*(\d+)([KMG]?)B[:,] (?:count=\d+: )?([a-z-]+)",
            |f, c| {
                let unit = match &c[4] {
                    "K" => 10,
                    "M" => 20,
                    "G" => 30,
                    _ => 0,
                };
                let size = decimal(&c[3])?.checked_shl(unit).ok_or("the size is too large")?;
                f.add_block(decimal(&c[1])? as usize, hex(&c[2])?, size, kind(&c[5])?)
            },
        ),
        // The kernel's log: memory maps.
        (r"BIOS-e820: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] (.+)", |f, c| {
            memory(f, hex(&c[1])?, hex(&c[2])?.checked_add(1), &c[3])
        }),
        (r"BIOS-e820: ([0-9a-f]{8,16}) - ([0-9a-f]{8,16}) \(([^)]+)\)", |f, c| {
            memory(f, hex(&c[1])?, Some(hex(&c[2])?), &c[3])
        }),
        (r"efi: mem\d+: \[([^|\]]+)[^\]]*\] range=\[0x([0-9a-f]+)-0x([0-9a-f]+)([\])])", |f, c| {
            let end = hex(&c[3])?;
            memory(f, hex(&c[2])?, if &c[4] == "]" { end.checked_add(1) } else { Some(end) }, c[1].trim())
        }),
        // The UEFI shell's memmap.
        (r"^(\w+)\s+([0-9A-F]{16})-([0-9A-F]{16})\s+[0-9A-F]{16}\s+[0-9A-F]{16}\s*$", |f, c| {
            memory(f, hex(&c[2])?, hex(&c[3])?.checked_add(1), &c[1])
        }),
        // The kernel's log: registers.
        (r"MTRR default type: (\S+)", |f, c| set(&mut f.default, kind(&c[1]))),
        (r"MTRR fixed ranges (enabled|disabled)", |f, c| set(&mut f.fixed_enabled, Ok(&c[1] == "enabled"))),
        (r"(?i)\b([0-9a-f]{5})-([0-9a-f]{5}) (uncachable|write-\w+)\s*$", |f, c| {
            fixed(f, Span { start: hex(&c[1])?, end: hex(&c[2])? + 1 }, kind(&c[3])?)
        }),
        (r"(?i)\b(\d+) base ([0-9a-f]{8,13}) mask ([0-9a-f]{8,13}) (\S+)\s*$", |f, c| {
            let (base, mask) = (hex(&c[2])?, hex(&c[3])?);
            width_of_mask(f, mask)?;
            let raw = Variable { base: base | u64::from(kind(&c[4])?.bits()), mask: mask | 1 << 11 };
            f.add_raw(decimal(&c[1])? as usize, raw)
        }),
        (r"TOM2: ([0-9a-f]{16}) aka", |f, c| set(&mut f.tom2, hex(&c[1]))),
        // coreboot's log.
        (r"CPU physical address size: (\d+) bits", |f, c| width(f, &c[1])),
        (r"MTRR: (UC|WB) selected as default type", |f, c| set(&mut f.default, kind(&c[1]))),
        (r"(?i)MTRR: (\d+) base 0x([0-9a-f]+) mask 0x([0-9a-f]+) type (\d+)", |f, c| {
            let mask = hex(&c[3])?;
            width_of_mask(f, mask)?;
            let raw =
                Variable { base: hex(&c[2])? | u64::from(number_kind(&c[4])?.bits()), mask: mask | 1 << 11 };
            f.add_raw(decimal(&c[1])? as usize, raw)
        }),
        (r"(?i)^.*\b0x([0-9a-f]{16}) - 0x([0-9a-f]{16}) size 0x[0-9a-f]+ type (\d+)", |f, c| {
            want(f, &c[1], &c[2], number_kind(&c[3])?)
        }),
        (r"(?i)MTRR: Fixed MSR 0x([0-9a-f]+) 0x([0-9a-f]{16})", |f, c| {
            let at = pmem_mtrr::regs::FIXED.iter().position(|msr| Ok(u64::from(*msr)) == hex(&c[1]));
            let at = at.ok_or_else(|| format!("0x{} is no fixed MTRR", &c[1]))?;
            f.fixed.get_or_insert_default().0[at] = hex(&c[2])?;
            Ok(())
        }),
        // EDK2's log.
        (r"MTRR Default Type: ([0-9A-F]{16})", |f, c| {
            let def = DefType(hex(&c[1])?);
            (f.def, f.default, f.fixed_enabled) = (Some(def), def.kind(), Some(def.fixed()));
            Ok(())
        }),
        (r"Fixed MTRR\[(\d+)\]\s*:\s*([0-9A-F]{16})", |f, c| {
            let n = decimal(&c[1])? as usize;
            let slot = f.fixed.get_or_insert_default().0.get_mut(n);
            *slot.ok_or_else(|| format!("there is no fixed register {n}"))? = hex(&c[2])?;
            Ok(())
        }),
        (r"Variable MTRR\[(\d+)\]:\s*Base=([0-9A-F]{16}) Mask=([0-9A-F]{16})", |f, c| {
            let raw = Variable { base: hex(&c[2])?, mask: hex(&c[3])? };
            let n = decimal(&c[1])? as usize;
            if raw.valid() {
                width_of_mask(f, raw.mask)?;
            }
            f.add_raw(n, raw)?;
            // At most 40: it was taken.
            f.count = f.count.max(u8::try_from(n + 1).ok());
            Ok(())
        }),
        // /proc/cpuinfo.
        (r"address sizes\s*: (\d+) bits physical", |f, c| width(f, &c[1])),
    ];
    // A pattern that does not compile is a mistake in this table, which the tests below find.
    forms.into_iter().filter_map(|(pattern, read)| Some((Regex::new(pattern).ok()?, read))).collect()
});

impl MtrrFacts {
    /// Adds what a text says; `path` names it in errors.
    ///
    /// # Errors
    /// A line that has one of the forms, and is broken.
    pub fn add_text(&mut self, text: &str, path: &Path) -> Result<(), ImportError> {
        for (line, raw) in (1..).zip(text.lines()) {
            let Some((form, read)) = FORMS.iter().find(|(form, _)| form.is_match(raw)) else { continue };
            let Some(found) = form.captures(raw) else { continue };
            read(self, &found).map_err(|what| ImportError::Parse { path: path.to_owned(), line, what })?;
        }
        self.settle();
        Ok(())
    }
}

fn hex(text: &str) -> Result<u64, String> {
    crate::number::hex(text).ok_or_else(|| format!("{text:?} is no hexadecimal number"))
}

fn set<T>(slot: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *slot = Some(value?);
    Ok(())
}

fn decimal(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn kind(text: &str) -> Result<MemType, String> {
    MemType::from_name(text).ok_or_else(|| format!("{text:?} is no memory type: UC, WC, WT, WP or WB"))
}

fn number_kind(text: &str) -> Result<MemType, String> {
    let kind = text.parse().ok().and_then(MemType::from_bits);
    kind.ok_or_else(|| format!("{text} is no memory type: 0, 1, 4, 5 or 6"))
}

fn width(facts: &mut MtrrFacts, text: &str) -> Result<(), String> {
    let width = text.parse().ok().and_then(Width::new);
    facts.width =
        Some(width.ok_or_else(|| format!("{text} is no width of physical addresses: 32 to 52 bits"))?);
    Ok(())
}

/// A mask reaches up to the width of addresses.
fn width_of_mask(facts: &mut MtrrFacts, mask: u64) -> Result<(), String> {
    if facts.width.is_none() {
        let bits = (u64::BITS - mask.leading_zeros()) as u8;
        facts.width = Some(Width::new(bits).ok_or_else(|| format!("a mask of {bits} bits: {mask:#x}"))?);
    }
    Ok(())
}

fn count(facts: &mut MtrrFacts, text: &str) -> Result<(), String> {
    let most = pmem_mtrr::regs::MAX_VARIABLE as u8;
    let count = text.parse().ok().filter(|count| *count <= most);
    facts.count =
        Some(count.ok_or_else(|| format!("{text} is no number of variable registers: 0 to {most}"))?);
    Ok(())
}

fn want(facts: &mut MtrrFacts, start: &str, end: &str, kind: MemType) -> Result<(), String> {
    let span = Span { start: hex(start)?, end: hex(end)? };
    if span.is_empty() {
        return Err(format!("{span} is empty"));
    }
    facts.wanted.push((span, kind));
    Ok(())
}

fn fixed(facts: &mut MtrrFacts, span: Span, kind: MemType) -> Result<(), String> {
    let fixed = facts.fixed.get_or_insert_default();
    let mut at = span.start;
    while at < span.end.min(1 << 20) {
        let i = Fixed::range_of(at);
        fixed.set_byte(i, kind.bits());
        at = Fixed::span(i).end;
    }
    Ok(())
}

fn memory(facts: &mut MtrrFacts, start: u64, end: Option<u64>, what: &str) -> Result<(), String> {
    let end = end.ok_or("a range past 2^64")?;
    let span = Span { start, end };
    if span.is_empty() {
        return Err(format!("{span} is empty"));
    }
    facts.memory.push((span, memory_kind(what)));
    Ok(())
}

/// What firmware calls memory that is to be cached: e820's usable, ACPI and NVS, EFI's types of the same.
pub(super) fn memory_kind(what: &str) -> Memory {
    const RAM: [&str; 16] = [
        "usable",
        "system ram",
        "ram",
        "acpi",
        "nvs",
        "persistent",
        "loader",
        "boot",
        "conventional",
        "runtime",
        "available",
        "bs_",
        "rt_",
        "ldr",
        "kernel",
        "soft reserved",
    ];
    const NOT_RAM: [&str; 3] = ["unusable", "ram buffer", "video ram"];
    let lower = what.to_ascii_lowercase();
    if NOT_RAM.iter().any(|word| lower.contains(word)) {
        Memory::Reserved
    } else if lower.starts_with("mmio") || lower.contains("memory mapped i/o") || lower.contains("mapped io")
    {
        Memory::Mmio
    } else if RAM.iter().any(|word| lower.contains(word)) {
        Memory::Ram
    } else {
        Memory::Reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_mtrr::{Block, Effective, Register};

    fn facts(text: &str) -> MtrrFacts {
        let mut facts = MtrrFacts::default();
        facts.add_text(text, Path::new("log")).unwrap();
        facts
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(FORMS.len(), 27);
    }

    #[test]
    fn proc_mtrr() {
        let facts = facts(
            "reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n\
             reg03: base=0x0cf700000 ( 3319MB), size=    1MB, count=1: uncachable\n\
             reg01: base=0xd0000000 (3328MB), size= 256MB: write-combining, count=2\n",
        );
        let setting = facts.setting(&mut Vec::new()).unwrap();
        assert_eq!(setting.at(0x1000_0000), Effective::Type(MemType::Wb));
        assert_eq!(setting.at(0xd000_0000), Effective::Type(MemType::Wc));
        let block = Block::new(0xcf70_0000, 20).unwrap();
        assert_eq!(
            setting.variable()[3].register(Width::DEFAULT),
            Some(Register { block, kind: MemType::Uc })
        );
    }

    #[test]
    fn a_kernels_log() {
        let facts = facts(
            "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
             [    0.000000] BIOS-e820: [mem 0x00000000bffdf000-0x00000000bfffffff] reserved\n\
             [    0.000000] MTRR default type: uncachable\n\
             [    0.000000] MTRR fixed ranges enabled:\n\
             [    0.000000]   00000-9FFFF write-back\n\
             [    0.000000]   A0000-BFFFF uncachable\n\
             [    0.000000] MTRR variable ranges enabled:\n\
             [    0.000000]   0 base 00C0000000 mask FFC0000000 uncachable\n\
             [    0.000000]   1 disabled\n\
             [    0.000000] TOM2: 0000001080000000 aka 67584M\n",
        );
        assert_eq!(facts.width, Width::new(40));
        assert_eq!(facts.memory[0], (Span { start: 0, end: 0x9_fc00 }, Memory::Ram));
        assert_eq!(facts.memory[1].1, Memory::Reserved);
        assert_eq!(facts.tom2, Some(0x10_8000_0000));
        let setting = facts.setting(&mut Vec::new()).unwrap();
        assert_eq!(setting.at(0x8_0000), Effective::Type(MemType::Wb));
        assert_eq!(setting.at(0xa_0000), Effective::Type(MemType::Uc));
        assert_eq!(setting.variable()[0], Variable { base: 0xc000_0000, mask: 0xff_c000_0800 });
        assert_eq!(setting.at(0x5_0000_0000), Effective::Type(MemType::Wb));
    }

    #[test]
    fn coreboots_log() {
        let facts = facts(
            "MTRR: Physical address space:\n\
             0x0000000000000000 - 0x00000000000a0000 size 0x000a0000 type 6\n\
             0x00000000000a0000 - 0x00000000000c0000 size 0x00020000 type 0\n\
             CPU physical address size: 39 bits\n\
             MTRR: default type WB/UC MTRR counts: 5/4.\n\
             MTRR: UC selected as default type.\n\
             MTRR: 0 base 0x0000000000000000 mask 0x0000007f80000000 type 6\n",
        );
        assert_eq!((facts.default, facts.width), (Some(MemType::Uc), Width::new(39)));
        assert_eq!(facts.wanted.len(), 2);
        let setting = facts.setting(&mut Vec::new()).unwrap();
        assert_eq!(setting.at(0x7fff_f000), Effective::Type(MemType::Wb));
        assert_eq!(setting.at(0x8000_0000), Effective::Type(MemType::Uc));
    }

    #[test]
    fn edk2s_log() {
        let facts = facts(
            "MTRR Settings\n=============\nMTRR Default Type: 0000000000000C06\n\
             Fixed MTRR[00]   : 0606060606060606\nFixed MTRR[02]   : 0000000000000000\n\
             Variable MTRR[00]: Base=0000000080000000 Mask=0000000F80000800\n\
             Variable MTRR[01]: Base=0000000000000000 Mask=0000000000000000\n",
        );
        assert_eq!((facts.count, facts.width), (Some(2), Width::new(36)));
        let setting = facts.setting(&mut Vec::new()).unwrap();
        assert_eq!(setting.at(0x9000_0000), Effective::Type(MemType::Uc));
        assert_eq!(setting.at(0x1_0000_0000), Effective::Type(MemType::Wb));
    }

    #[test]
    fn a_broken_line_is_named() {
        let mut facts = MtrrFacts::default();
        for broken in [
            "0x0000000000002000 - 0x0000000000001000 size 0x00001000 type 6",
            "Variable MTRR[18446744073709551615]: Base=0000000080000006 Mask=0000000F80000800",
            "mtrr: fffffffffffff000 1000 WB",
            "BIOS-e820: [mem 0x0000000000002000-0x0000000000001000] usable",
        ] {
            assert!(facts.add_text(broken, Path::new("m.txt")).is_err(), "{broken}");
        }
        let broken =
            facts.add_text("bits: 36\nmtrr: 80000000 30000000 WB\n", Path::new("m.txt")).unwrap_err();
        assert!(broken.to_string().starts_with("m.txt:2: base 0x80000000 and size 0x30000000"), "{broken}");
        let broken = facts.add_text("mtrr: 0 80000000 XX\n", Path::new("m.txt")).unwrap_err();
        assert!(broken.to_string().starts_with("m.txt:1: \"XX\" is no memory type"), "{broken}");
    }
}
