//! Which numbers in a line are physical addresses, by the words around them.
//!
//! No addresses are I/O ports, class codes, flags, domains, revisions, error codes, identifiers of vendors and devices, virtual addresses of an
//! oops. Page frames are addresses once they are multiplied by the page.

use pmem_import::Address;

/// What an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Memory as CPUs see it.
    Memory,
    /// A page frame, as an address.
    Frame,
    /// A device's access that was refused.
    Fault,
}

/// Who asked for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The function.
    pub address: Option<Address>,
    /// What else names it.
    pub ambiguous: Option<String>,
}

/// A number that is an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// The address.
    pub addr: u64,
    /// What of the line it is.
    pub shown: String,
    /// What it is of.
    pub of: Of,
    /// Who asked for it.
    pub requester: Option<Requester>,
}

/// Physical addresses have at most so many bits; above are virtual ones.
const WIDEST: u32 = 52;
/// Page frames of EDAC and of the kernel are of this size.
const PAGE: u32 = 12;

/// The addresses in a line.
pub fn find(line: &str) -> Vec<Number> {
    let requester = requester(line);
    let fault = is_fault(line);
    let is_virtual = is_virtual_context(line);
    let mut found: Vec<Number> = Vec::new();
    let mut push = |addr: u64, shown: String, of: Of| {
        if addr >> WIDEST == 0 && !found.iter().any(|had| had.addr == addr) {
            let of = if fault && of == Of::Memory { Of::Fault } else { of };
            found.push(Number { addr, shown, of, requester: requester.clone().filter(|_| fault) });
        }
    };
    if let Some((start, last)) = listed(line) {
        push(start, format!("{start:#x}"), Of::Memory);
        push(last, format!("{last:#x}"), Of::Memory);
    }
    // `page:0x12345 offset:0x680`: a frame, and where in it.
    let offset = word_number(line, "offset:").filter(|offset| *offset < 1 << PAGE);
    for token in tokens(line) {
        match token.kind(line, is_virtual) {
            Kind::Nothing => {}
            Kind::Address => push(token.value, format!("{:#x}", token.value), Of::Memory),
            Kind::Frame => {
                if let Some(addr) = token.value.checked_shl(PAGE).filter(|addr| addr >> PAGE == token.value) {
                    let addr = addr + offset.unwrap_or(0);
                    push(addr, format!("page {:#x}", token.value), Of::Frame);
                }
            }
        }
    }
    found
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Address,
    Frame,
}

/// A hexadecimal number in a line.
#[derive(Clone, Copy, Debug)]
struct Token {
    /// Where it begins, its `0x` included.
    start: usize,
    end: usize,
    value: u64,
    digits: usize,
    /// It has `0x` before it.
    marked: bool,
}

/// Numbers with `0x`, and bare hexadecimal digits of at least four.
fn tokens(line: &str) -> Vec<Token> {
    let bytes = line.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    while at < bytes.len() {
        if !bytes[at].is_ascii_hexdigit() || at > 0 && word(bytes[at - 1]) {
            at += 1;
            continue;
        }
        let marked = bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X'));
        let begin = if marked { at + 2 } else { at };
        let digits = bytes[begin..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let end = begin + digits;
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
    /// What it is, by what stands before it.
    fn kind(&self, line: &str, is_virtual: bool) -> Kind {
        let before = &line[..self.start];
        let after = &line[self.end..];
        let word = last_word(before);
        // Inside brackets: what the first word there says.
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
        // `PROCESSOR 0:0x806f8`: which processor it is.
        if before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').ends_with("PROCESSOR ") {
            return Kind::Nothing;
        }
        if FRAMES.contains(&word.as_str()) || failed {
            // `page:0x12345`, `pfn:12345`; a pointer to a page structure is virtual.
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
        // A number on its own, a register's index, a device's and vendor's numbers are short, or stand with units.
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

/// The last word before a number, without what joins them.
fn last_word(before: &str) -> String {
    let trimmed = before.trim_end_matches([' ', '\t', '=', ':', '(', '[', '<', '-', ',', '"', '\'']);
    let word = trimmed.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next();
    word.unwrap_or_default().to_ascii_lowercase()
}

/// Lines of an oops name virtual addresses.
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

/// Both ends of a line of `/proc/iomem`; lines of I/O ports have four digits.
fn listed(line: &str) -> Option<(u64, u64)> {
    let (range, _) = line.split_once(" : ")?;
    let (start, last) = range.rsplit_once('-')?;
    let start = start.rsplit([' ', '\t']).next()?;
    let plain = |text: &str| (8..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    (plain(start) && plain(last)).then_some(())?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(last, 16).ok()?))
}

/// The number behind a word, in hexadecimal.
fn word_number(line: &str, word: &str) -> Option<u64> {
    let rest = line.split(word).nth(1)?.trim_start();
    let rest = rest.strip_prefix("0x").unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    u64::from_str_radix(&rest[..digits], 16).ok()
}

/// Whether a line reports a device's access that was refused.
fn is_fault(line: &str) -> bool {
    const AMD: [&str; 6] = [
        "IO_PAGE_FAULT",
        "Event logged",
        "INVALID_DEVICE_REQUEST",
        "ILLEGAL_DEV_TABLE_ENTRY",
        "DEV_TAB_HARDWARE_ERROR",
        "PAGE_TAB_HARDWARE_ERROR",
    ];
    let vtd = line.contains("fault addr");
    let amd = AMD.iter().any(|event| line.contains(event));
    let smmu = line.contains("context fault") || line.contains("iova=");
    vtd || amd || smmu
}

/// `Request device [03:00.0]`, `device=01:00.0`, `sid=0x100`.
fn requester(line: &str) -> Option<Requester> {
    for mark in ["Request device [", "device=", "device:"] {
        let Some(rest) = line.split(mark).nth(1) else { continue };
        let word: String =
            rest.chars().take_while(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | 'x')).collect();
        // Some kernels write `0x00:0x02.0`.
        let word = word.replace("0x", "");
        if let Ok(address) = word.trim_end_matches(['.', ':']).parse() {
            return Some(Requester { address: Some(address), ambiguous: None });
        }
    }
    let stream = ["cbfrsynra=", "sid=", "streamid="].iter().find_map(|mark| word_number(line, mark));
    stream.map(|stream| Requester { address: None, ambiguous: Some(format!("stream {stream:#x}")) })
}

/// Events of an SMMU of version 3: a line that begins one, then four words, of which the third is the address (SMMU 3.x specification,
/// section 7.3).
#[derive(Clone, Debug, Default)]
pub struct Smmu {
    words: Option<Vec<u64>>,
}

impl Smmu {
    /// What a line says that is part of an event: the address, if it is the one that has it. `None` of lines that are part of none.
    pub fn event(&mut self, line: &str) -> Option<Option<Number>> {
        let speaks = line.contains("arm-smmu-v3") || line.contains("SMMUv3");
        if speaks && line.contains("event 0x") && line.contains("received") {
            self.words = Some(Vec::new());
            return Some(None);
        }
        let words = self.words.as_mut()?;
        let Some(word) = event_word(line) else {
            self.words = None;
            return None;
        };
        words.push(word);
        let found = match words[..] {
            // Translation, address size, access and permission faults have an address.
            [first, _, addr] if matches!(first as u8, 0x10..=0x13) => {
                let stream = first >> 32;
                let address = u16::try_from(stream).ok().map(|id| Address::from_routing_id(0, id));
                let requester = Requester {
                    address,
                    ambiguous: address.is_none().then(|| format!("stream {stream:#x}")),
                };
                Some(Number { addr, shown: format!("{addr:#x}"), of: Of::Fault, requester: Some(requester) })
            }
            _ => None,
        };
        if words.len() == 4 {
            self.words = None;
        }
        Some(found)
    }
}

/// A word of an event, at the end of a line: `0x0000010000000010`, or in halves, `0x00000100 00000010`.
fn event_word(line: &str) -> Option<u64> {
    let mut last = line.split_whitespace().rev();
    let (low, high) = (last.next()?, last.next());
    if let Some(whole) = low.strip_prefix("0x").filter(|digits| digits.len() == 16) {
        return u64::from_str_radix(whole, 16).ok();
    }
    let high = high?.strip_prefix("0x").filter(|digits| digits.len() == 8 && low.len() == 8)?;
    u64::from_str_radix(&format!("{high}{low}"), 16).ok()
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
    fn a_faults_requester_is_told() {
        let number =
            &find("DMAR: [DMA Write] Request device [0a:1f.7] fault addr 0x50000000 [fault reason 05]")[0];
        assert_eq!(number.of, Of::Fault);
        assert_eq!(number.requester.as_ref().unwrap().address.unwrap().to_string(), "0000:0a:1f.7");
        let number = &find("Request device [0x00:0x02.0] fault addr 0x70ad5000 [fault reason 0x07]")[0];
        assert_eq!(number.requester.as_ref().unwrap().address.unwrap().to_string(), "0000:00:02.0");
        assert_eq!(find("fault addr ffe00000 [fault reason 12]")[0].of, Of::Fault);
        for form in ["0x0000010000000010", "0x00000100 00000010"] {
            let mut smmu = Smmu::default();
            let mut event = |text: &str| smmu.event(&format!("arm-smmu-v3 arm-smmu-v3.0.auto: \t{text}"));
            assert_eq!(event("event 0x10 received:"), Some(None));
            assert_eq!(event(form), Some(None));
            assert_eq!(event("0x0000020000000000"), Some(None));
            let number = event("0x00000000fee00000").unwrap().unwrap();
            let requester = number.requester.unwrap().address.unwrap().to_string();
            assert_eq!((number.addr, requester.as_str()), (0xfee0_0000, "0000:01:00.0"));
            assert_eq!(event("0x0000000012345000"), Some(None));
            assert_eq!(event("at 0x12345000"), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(line in ".*", near in "[0-9a-fx:=\\[\\] -]{0,60}") {
            find(&line);
            find(&near);
            Smmu::default().event(&line);
        }
    }
}
