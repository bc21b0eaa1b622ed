//! Decides which numbers in a line are physical addresses, by the words around them.
//!
//! I/O ports, class codes, flags, domains, revisions, error codes, vendor and device ids, and the virtual addresses of
//! an oops are not addresses. A page frame number becomes an address when it is multiplied by the page size.

/// A number that is a physical address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// The address, in bytes.
    pub addr: u64,
    /// The number as it is shown to the user.
    pub shown: String,
    /// Whether this is the last address of a range that begins with the number before it.
    pub ends_range: bool,
}

/// The most bits that a physical address has. Wider numbers are virtual addresses.
const WIDEST: u32 = 52;
/// The page shift of the frame numbers that EDAC and the kernel print.
const PAGE: u32 = 12;

/// Finds the physical addresses in a line.
///
/// # Examples
///
/// ```
/// use pmem_report::annotate::numbers::find;
///
/// let found = find("ahci 0000:00:1f.2: registers at 0xf7f3a000");
/// assert_eq!(found[0].addr, 0xf7f3_a000);
/// let found = find("EDAC MC0: 1 CE on DIMM_A1 (page:0x12345 offset:0x680)");
/// assert_eq!((found[0].addr, found[0].shown.as_str()), (0x1234_5680, "page 0x12345"));
/// assert!(find("pci 0000:00:1f.2: [8086:a102] type 00 class 0x010601").is_empty());
/// ```
#[must_use]
pub fn find(line: &str) -> Vec<Number> {
    let is_virtual = is_virtual_context(line);
    let mut found: Vec<Number> = Vec::new();
    let mut push = |addr: u64, shown: String, ends_range: bool| {
        if addr >> WIDEST == 0 && !found.iter().any(|had| had.addr == addr) {
            found.push(Number { addr, shown, ends_range });
        }
    };
    if let Some((start, last)) = listed(line) {
        push(start, format!("{start:#x}"), false);
        push(last, format!("{last:#x}"), true);
    }
    // `page:0x12345 offset:0x680` is a page frame and the byte offset in it.
    let offset = word_number(line, "offset:").filter(|offset| *offset < 1 << PAGE);
    // The position in the line at which the previous address ends.
    let mut before = None;
    for token in tokens(line) {
        match token.kind(line, is_virtual) {
            Kind::Nothing => {}
            Kind::Address => {
                let ends_range = before.is_some_and(|end| &line[end..token.start] == "-");
                push(token.value, format!("{:#x}", token.value), ends_range);
                before = Some(token.end);
            }
            Kind::Frame => {
                if let Some(addr) = token.value.checked_shl(PAGE).filter(|addr| addr >> PAGE == token.value) {
                    let addr = addr + offset.unwrap_or(0);
                    push(addr, format!("page {:#x}", token.value), false);
                }
            }
        }
    }
    found
}

/// What a number in a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Address,
    Frame,
}

/// A hexadecimal number in a line.
#[derive(Clone, Copy, Debug)]
struct Token {
    /// The byte position of its first character, including any `0x`.
    start: usize,
    end: usize,
    value: u64,
    digits: usize,
    /// Whether it has a `0x` prefix.
    marked: bool,
}

/// Returns the numbers with a `0x` prefix and the bare hexadecimal words. Callers ignore bare ones that are too short.
fn tokens(line: &str) -> Vec<Token> {
    let bytes = line.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    while at < bytes.len() {
        // A number must not begin in the middle of a word.
        if !bytes[at].is_ascii_hexdigit() || at > 0 && word(bytes[at - 1]) {
            at += 1;
            continue;
        }
        let marked = bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X'));
        let begin = if marked { at + 2 } else { at };
        let digits = bytes[begin..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let end = begin + digits;
        // A letter right after the digits makes it part of a word, which is not a number.
        let closed = bytes.get(end).is_none_or(|b| !word(*b));
        if closed
            && (1..=16).contains(&digits)
            && let Ok(value) = u64::from_str_radix(&line[begin..end], 16)
        {
            out.push(Token { start: at, end, value, digits, marked });
        }
        at = end.max(at + 1);
    }
    out
}

impl Token {
    /// Decides what the number is, mainly by the word before it.
    fn kind(&self, line: &str, is_virtual: bool) -> Kind {
        let before = &line[..self.start];
        let after = &line[self.end..];
        let word = last_word(before);
        // Inside brackets, the first word in them decides: `[mem …]` holds addresses, `[io …]` does not.
        let open = before.rfind('[').filter(|open| !before[*open..].contains(']'));
        if let Some(inside) = open.map(|open| &before[open + 1..]) {
            if inside.starts_with("mem ") || inside.starts_with("mem\t") {
                return if inside.contains("size") { Kind::Nothing } else { Kind::Address };
            }
            if inside.starts_with("io ") || inside.starts_with("bus ") || inside.starts_with("irq") {
                return Kind::Nothing;
            }
        }
        const FRAMES: [&str; 3] = ["page", "pfn", "frame"];
        // `Memory failure: 0x12345: …`, `soft offline: 0x12345: …`, `MCE 0x12345: …` (mm/memory-failure.c).
        let failed = ["Memory failure:", "soft offline:", "soft_offline:", "Soft offline:", "MCE"];
        let failed = self.marked
            && after.starts_with(':')
            && failed.iter().any(|who| before.trim_end().ends_with(who));
        // `PROCESSOR 0:0x806f8` is a CPU signature.
        if before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').ends_with("PROCESSOR ") {
            return Kind::Nothing;
        }
        if FRAMES.contains(&word.as_str()) || failed {
            // `page:0x12345`, `pfn:12345`. A number too long to be a frame is a pointer to a page structure, which is
            // virtual.
            let is_known = !line.contains("Cannot decode");
            return if is_known && self.digits <= 13 && self.value >> (64 - PAGE) == 0 {
                Kind::Frame
            } else {
                Kind::Nothing
            };
        }
        const ADDRESSES: [&str; 17] = [
            "addr",
            "address",
            "physical_address",
            "phys_addr",
            "paddr",
            "physaddr",
            "pa",
            "base",
            "iova",
            "at",
            "from",
            "to",
            "start",
            "end",
            "mem",
            "memory",
            "hpa",
        ];
        let said = ADDRESSES.contains(&word.as_str()) || before.trim_end().ends_with("fault addr");
        if said && (self.marked || self.digits >= 5) && !is_virtual {
            return Kind::Address;
        }
        if !self.marked || self.digits < 5 {
            return Kind::Nothing;
        }
        const OTHERS: [&str; 67] = [
            "class",
            "flags",
            "flag",
            "domain",
            "revision",
            "rev",
            "type",
            "irq",
            "vector",
            "error",
            "error_code",
            "code",
            "syndrome",
            "offset",
            "grain",
            "status",
            "misc",
            "tsc",
            "mcgstatus",
            "pasid",
            "reason",
            "attr",
            "mask",
            "size",
            "len",
            "length",
            "count",
            "id",
            "ids",
            "port",
            "ports",
            "event",
            "sig",
            "pf",
            "apic",
            "cpuid",
            "stepping",
            "model",
            "family",
            "ip",
            "rip",
            "rsp",
            "cr2",
            "cr3",
            "fsr",
            "fsynr",
            "fsynr0",
            "cbfrsynra",
            "cb",
            "sid",
            "microcode",
            "features",
            "cap",
            "caps",
            "quirks",
            "value",
            "config",
            "reg",
            "register",
            "hash",
            "seed",
            "bytes",
            "quirk",
            "ecap",
            "physical_address_mask",
            "channeladdress",
            "rankaddress",
        ];
        if OTHERS.contains(&word.as_str()) || is_virtual {
            return Kind::Nothing;
        }
        // A size is followed by its unit. Indices, device ids and the like were short, and are ruled out already.
        let unit = after.trim_start();
        if ["bytes", "kB", "KB", "MB", "GB", "KiB", "MiB", "sectors"]
            .iter()
            .any(|unit_word| unit.starts_with(unit_word))
        {
            return Kind::Nothing;
        }
        Kind::Address
    }
}

/// Returns the last word before a number, in lower case, without the punctuation between them.
fn last_word(before: &str) -> String {
    let trimmed = before.trim_end_matches([' ', '\t', '=', ':', '(', '[', '<', '-', ',', '"', '\'']);
    let word = trimmed.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next();
    word.unwrap_or_default().to_ascii_lowercase()
}

/// Whether the line belongs to an oops or page fault, whose numbers are virtual addresses.
fn is_virtual_context(line: &str) -> bool {
    const WORDS: [&str; 14] = [
        "virtual address",
        "fault at",
        "RIP:",
        "RSP:",
        "RAX:",
        "RBX:",
        "RDX:",
        "RBP:",
        "R10:",
        "R13:",
        "CR2:",
        "Call Trace",
        "kernel paging request",
        "unable to handle",
    ];
    WORDS.iter().any(|word| line.contains(word))
}

/// Returns both ends of a line of `/proc/iomem`. Lines of `/proc/ioports` have only four digits and do not match.
fn listed(line: &str) -> Option<(u64, u64)> {
    let (range, _) = line.split_once(" : ")?;
    let (start, last) = range.rsplit_once('-')?;
    let start = start.rsplit([' ', '\t']).next()?;
    let plain = |text: &str| (8..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    (plain(start) && plain(last)).then_some(())?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(last, 16).ok()?))
}

/// Returns the hexadecimal number after a word.
fn word_number(line: &str, word: &str) -> Option<u64> {
    let rest = line.split(word).nth(1)?.trim_start();
    let rest = rest.strip_prefix("0x").unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    u64::from_str_radix(&rest[..digits], 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addrs(line: &str) -> Vec<u64> {
        find(line).into_iter().map(|number| number.addr).collect()
    }

    #[test]
    fn the_words_around_a_number_say_what_it_is() {
        for (line, expected) in [
            ("pci 0000:00:02.0: reg 0x10: [mem 0xfd000000-0xfdffffff pref]", vec![0xfd00_0000, 0xfdff_ffff]),
            ("  fec00000-fec003ff : IOAPIC 0", vec![0xfec0_0000, 0xfec0_03ff]),
            ("/proc/iomem: 12345000-12345fff : System RAM", vec![0x1234_5000, 0x1234_5fff]),
            ("at 0xfee00000, 0xfee00000 again", vec![0xfee0_0000]),
            (
                "EDAC MC0: 1 CE (channel:1 slot:0 page:0x12345 offset:0x680 grain:32 syndrome:0x0)",
                vec![0x1234_5680],
            ),
            ("BUG: Bad page state in process foo  pfn:12345", vec![0x1234_5000]),
            ("{1}[Hardware Error]:   physical_address: 0x0000000012345680", vec![0x1234_5680]),
            ("mce: [Hardware Error]: TSC 0 ADDR 12345680 MISC 140 PPIN 1", vec![0x1234_5680]),
            (
                "DMAR: [DMA Write NO_PASID] Request device [03:00.0] fault addr d05b0000 [fault reason 0x05]",
                vec![0xd05b_0000],
            ),
            (
                "AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0011 address=0xd05b0000 flags=0x0020]",
                vec![0xd05b_0000],
            ),
            ("pci_bus 0000:00: root bus resource [io  0x0d00-0xffff window]", vec![]),
            ("pci 0000:00:1f.2: [8086:1c02] type 00 class 0x010601 conventional PCI endpoint", vec![]),
            ("0cf8-0cff : PCI conf1", vec![]),
            ("microcode: updated to revision 0x2000069, date = 2020-03-02", vec![]),
            ("RIP: 0010:ffffffff81234567 CR2: 0000000000000010 at 0x123456", vec![]),
            ("BAR 2: no space for [mem size 0x10000000 64bit pref]", vec![]),
            ("id 0x10, flags 0x1_000, x0x1000, 0x1000g, 0x12345678901234567", vec![]),
            ("using 0x1000000 bytes", vec![]),
            ("Memory failure: 0x12345: recovery action for dirty LRU page: Recovered", vec![0x1234_5000]),
            ("soft offline: 0x200000: page already poisoned", vec![0x2_0000_0000]),
            ("MCE 0x200000: dirty LRU page recovery: Recovered", vec![0x2_0000_0000]),
            ("physical_address_mask: 0x0000003fffffffc0", vec![]),
            ("EDAC skx MC0: PROCESSOR 0:0x806f8 TIME 1681559382 SOCKET 0 APIC 0x0", vec![]),
            (
                "SystemAddress:0x30aa905a80 ChannelAddress:0x605520980 RankAddress:0x181548240",
                vec![0x30_aa90_5a80],
            ),
            ("Cannot decode normalized address on mc#0csrow#3 (page:0x0 offset:0x0 grain:64)", vec![]),
            ("Hardware memory corruption fault at 7f1234567000", vec![]),
        ] {
            assert_eq!(addrs(line), expected, "{line}");
        }
    }

    #[test]
    fn ends_of_ranges_are_told() {
        let ends = |line: &str| -> Vec<bool> { find(line).iter().map(|number| number.ends_range).collect() };
        assert_eq!(ends("reg 0x10: [mem 0xfd000000-0xfdffffff pref]"), [false, true]);
        assert_eq!(ends("fec00000-fec003ff : IOAPIC 0"), [false, true]);
        assert_eq!(ends("from 0xfd000000 to 0xfdffffff"), [false, false]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(line in ".*", near in "[0-9a-fx:=\\[\\] -]{0,60}") {
            let _ = find(&line);
            let _ = find(&near);
        }
    }
}
