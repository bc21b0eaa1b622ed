//! The output of `lspci`, from `-v` to `-vvv`, with `-n`, `-nn`, `-k`, and `-x` to `-xxxx`.

use super::reader::{LineReader, Verdict};
use crate::facts::{
    Facts, Function, PciResource, PciSource, ResourceKind, SourceLine, SourceSummary, Unplaced,
};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_core::AddrRange;
use pmem_pci::{Address, Bar, Class, Command, Header, ResizableBar, Sriov, has_hot_plug_slot};

/// Reads functions and the lines below each.
#[derive(Default)]
pub(super) struct Reader {
    function: Option<Function>,
    /// Configuration space, as far as it is dumped.
    config: Vec<u8>,
    /// The current lines are in the SR-IOV capability.
    in_sriov: bool,
    /// The current lines are in the Resizable BAR capability, at this offset.
    in_resizable: Option<u16>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        if line.logged {
            return Verdict::Pass;
        }
        let words = line.words();
        if let Some(found) = heading(words) {
            self.finish(facts);
            let (address, class, title, id) = found;
            heard.count("PCI function");
            self.function = Some(Function {
                address: Some(address),
                at: Some(line.place()),
                source: PciSource::Lspci,
                class,
                id,
                title,
                ..Function::default()
            });
            (self.in_sriov, self.in_resizable) = (false, None);
            return Verdict::Took;
        }
        let Some(function) = &mut self.function else { return Verdict::Pass };
        // A mailer wrapped the line of a region in front of its size.
        if words.starts_with("[size=") && sized(function, size_of(words)) {
            return Verdict::Took;
        }
        if let Some((offset, bytes)) = dump(words) {
            return self.dumped(offset, &bytes);
        }
        self.detail(line, words)
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        self.finish(facts);
    }
}

/// Parses `00:02.0 VGA compatible controller [0300]: Intel Corporation … [8086:1927] (rev 0a)` or
/// `00:00.0 0600: 8086:1904 (rev 09)`.
#[expect(clippy::type_complexity, reason = "the parts of one line, taken apart at once")]
fn heading(words: &str) -> Option<(Address, Option<Class>, Option<String>, Option<(u16, u16)>)> {
    let first = words.as_bytes().first()?;
    if !first.is_ascii_hexdigit() {
        return None;
    }
    let (place, rest) = words.split_once(' ')?;
    let address: Address = place.parse().ok().filter(|_| place.len() >= 7)?;
    let (class, device) = rest.split_once(": ")?;
    // `Class 0604` is what old versions print for classes without a name; `0600` comes with -n,
    // `Host bridge [0600]` with -nn.
    let number = |text: &str| hex(text).filter(|_| text.len() == 4).map(|class| Class((class as u32) << 8));
    let bracketed =
        |text: &str| text.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']').map(str::to_owned));
    let plain = number(class.trim_start_matches("Class ").trim());
    let class_number = plain.or_else(|| number(&bracketed(class)?)).or_else(|| named_class(class));
    let id = device.split('[').skip(1).filter_map(|rest| pair(rest.split(']').next()?)).last();
    let id = id.or_else(|| pair(device.split_whitespace().next()?));
    let title = device.split(" (rev ").next().unwrap_or(device).split(" (prog-if ").next().unwrap_or(device);
    let title = title
        .rsplit_once(" [")
        .filter(|(_, rest)| pair(rest.trim_end_matches(']')).is_some())
        .map_or(title, |(t, _)| t);
    let title = if pair(title.trim()).is_some() { None } else { Some(title.trim().to_owned()) };
    // Other texts have words with colons too, but a class is short.
    (class.len() < 60).then_some((address, class_number, title, id))
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let (vendor, device) = text.split_once(':').filter(|(v, d)| v.len() == 4 && d.len() == 4)?;
    Some((hex(vendor)? as u16, hex(device)? as u16))
}

/// Returns the class that `lspci` calls by this name.
pub(super) fn named_class(name: &str) -> Option<Class> {
    let class = match name {
        "PCI bridge" => 0x0604,
        "Host bridge" => 0x0600,
        "ISA bridge" => 0x0601,
        "CardBus bridge" => 0x0607,
        "VGA compatible controller" => 0x0300,
        "3D controller" => 0x0302,
        "Display controller" => 0x0380,
        "Ethernet controller" => 0x0200,
        "Network controller" => 0x0280,
        "Infiniband controller" => 0x0207,
        "SATA controller" => 0x0106,
        "Non-Volatile memory controller" => 0x0108,
        "RAID bus controller" => 0x0104,
        "SCSI storage controller" => 0x0100,
        "Serial Attached SCSI controller" => 0x0107,
        "IDE interface" => 0x0101,
        "USB controller" | "USB Controller" => 0x0c03,
        "SMBus" => 0x0c05,
        "Audio device" => 0x0403,
        "Multimedia audio controller" => 0x0401,
        "Communication controller" => 0x0780,
        "Serial controller" => 0x0700,
        "System peripheral" => 0x0880,
        "PIC" => 0x0800,
        "IOMMU" => 0x0806,
        "Signal processing controller" => 0x1180,
        "Processing accelerators" => 0x1200,
        "CXL" => 0x0502,
        "RAM memory" | "Memory controller" => 0x0580,
        _ => return None,
    };
    Some(Class(class << 8))
}

/// Parses `10: 08 00 70 fd …`.
fn dump(words: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, rest) = words.split_once(": ")?;
    if !(2..=3).contains(&offset.len()) || !offset.ends_with('0') {
        return None;
    }
    let offset = usize::try_from(hex(offset)?).ok()?;
    let mut parts = rest.split_whitespace();
    let byte = |text: &str| hex(text).filter(|_| text.len() == 2).and_then(|byte| u8::try_from(byte).ok());
    let bytes: Vec<u8> = parts.by_ref().map_while(byte).collect();
    (!bytes.is_empty()).then_some((offset, bytes))
}

impl Reader {
    fn dumped(&mut self, offset: usize, bytes: &[u8]) -> Verdict {
        if bytes.len() != 16 {
            return Verdict::Odd("configuration space", format!("{} bytes: a line has 16", bytes.len()));
        }
        // Lines are contiguous; what follows a gap is ignored.
        if offset == self.config.len() {
            self.config.extend(bytes);
        }
        Verdict::Took
    }

    /// Reads a line below a heading.
    fn detail(&mut self, line: &Line<'_>, words: &str) -> Verdict {
        let Some(function) = &mut self.function else { return Verdict::Pass };
        if let Some(rest) = words.strip_prefix("Capabilities:") {
            self.in_sriov = rest.contains("Single Root I/O Virtualization");
            // `[bb0 v1] Physical Resizable BAR`.
            let at = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split([' ', ']']).next());
            let physical = rest.contains("Resizable BAR") && !rest.contains("Virtual Resizable BAR");
            self.in_resizable = at.and_then(hex).and_then(|at| u16::try_from(at).ok()).filter(|_| physical);
            return Verdict::Took;
        }
        if let Some(at) = self.in_resizable
            && let Some(resizable) = resizable(words, at, function.resizable.len())
        {
            function.resizable.push(resizable);
            return Verdict::Took;
        }
        if let Some((key, value)) = words.split_once(": ") {
            match key {
                "Kernel driver in use" => function.driver = Some(value.trim().to_owned()),
                "Control" => function.command = command(value),
                "SltCap" => function.hot_plug = Some(value.contains("HotPlug+")),
                "NUMA node" => function.numa = value.trim().parse().ok(),
                "Bus" => {
                    let number = |name: &str| {
                        let rest = value.split(name).nth(1)?;
                        u8::try_from(hex(rest.split([',', ' ']).next()?)?).ok()
                    };
                    function.below =
                        number("secondary=").zip(number("subordinate=")).filter(|below| below.0 != 0);
                }
                "Flags" => {
                    let node = value
                        .split("NUMA node ")
                        .nth(1)
                        .and_then(|rest| rest.split(',').next()?.trim().parse().ok());
                    function.numa = node.or(function.numa);
                }
                "Memory window 0" | "Memory window 1" | "I/O window 0" | "I/O window 1" => {
                    function.lists_windows = true;
                    let key = match (key.starts_with("I/O"), value.contains("(prefetchable)")) {
                        (true, _) => "I/O",
                        (false, true) => "Prefetchable",
                        (false, false) => "Memory",
                    };
                    return window(function, key, value, &line.place());
                }
                "I/O behind bridge" | "Memory behind bridge" | "Prefetchable memory behind bridge" => {
                    function.lists_windows = true;
                    return window(function, key, value, &line.place());
                }
                _ => {
                    let numbered =
                        key.strip_prefix("Region ").and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < 6);
                    if let Some(n) = numbered {
                        let kind = if self.in_sriov { ResourceKind::VfBar(n) } else { ResourceKind::Bar(n) };
                        return region(function, kind, value, &line.place());
                    }
                    return self.unnumbered(line, words);
                }
            }
            return Verdict::Took;
        }
        self.unnumbered(line, words)
    }

    /// Reads `Memory at f7d00000 (64-bit, non-prefetchable) [size=4M]`, which names no register, or
    /// `Expansion ROM at 000c0000 [disabled] [size=128K]`.
    fn unnumbered(&mut self, line: &Line<'_>, words: &str) -> Verdict {
        let Some(function) = &mut self.function else { return Verdict::Pass };
        let body = words.strip_prefix("[virtual] ").unwrap_or(words);
        if let Some(rest) = body.strip_prefix("Expansion ROM at ") {
            return region(function, ResourceKind::Rom, &format!("Memory at {rest}"), &line.place());
        }
        if !(body.starts_with("Memory at ") || body.starts_with("I/O ports at ")) {
            return Verdict::Pass;
        }
        region(function, ResourceKind::Unnamed, body, &line.place())
    }

    /// Stores the current function. Dumped registers take precedence over what was printed.
    fn finish(&mut self, facts: &mut Facts) {
        let Some(mut function) = self.function.take() else { return };
        let config = std::mem::take(&mut self.config);
        if let Ok(header) = Header::decode(&config) {
            function.class = Some(header.common.class);
            function.id = Some((header.common.vendor, header.common.device));
            if let Some(bridge) = header.bridge() {
                function.below = Some((bridge.secondary, bridge.subordinate)).filter(|below| below.0 != 0);
            }
            dumped_bars(&mut function, &header);
            function.header = Some(header);
            function.sriov = Sriov::find(&config);
            let dumped = has_hot_plug_slot(&config).filter(|_| function.below.is_some());
            function.hot_plug = dumped.or(function.hot_plug);
            let dumped: Vec<ResizableBar> = ResizableBar::find_all(&config).collect();
            if !dumped.is_empty() {
                function.resizable = dumped;
            }
        }
        // A tree or another output may have described the function already.
        let key = (PciSource::Lspci, function.bdf());
        let function = match facts.pci.functions.remove(&key) {
            Some(had) => function.over(had),
            None => function,
        };
        facts.pci.functions.insert(key, function);
    }
}

/// Parses `I/O+ Mem+ BusMaster+ SpecCycle- …`: the bits of the command register that `lspci` names.
fn command(value: &str) -> Option<Command> {
    const BITS: [(&str, u16); 10] = [
        ("I/O", 0),
        ("Mem", 1),
        ("BusMaster", 2),
        ("SpecCycle", 3),
        ("MemWINV", 4),
        ("VGASnoop", 5),
        ("ParErr", 6),
        ("Stepping", 7),
        ("SERR", 8),
        ("FastB2B", 9),
    ];
    let mut bits = 0;
    let mut known = false;
    for word in value.split_whitespace() {
        let (on, name) = (word.ends_with('+'), word.trim_end_matches(['+', '-']));
        if name == "DisINTx" {
            bits |= u16::from(on) << 10;
        } else if let Some((_, bit)) = BITS.iter().find(|(word, _)| *word == name) {
            known = true;
            bits |= u16::from(on) << bit;
        }
    }
    known.then_some(Command(bits))
}

/// Parses `BAR 1: current size: 32GB, supported: 64MB 128MB …`, the nth register of the capability.
fn resizable(words: &str, capability: u16, n: usize) -> Option<ResizableBar> {
    let (bar, rest) = words.strip_prefix("BAR ")?.split_once(": current size: ")?;
    let bar = bar.parse().ok().filter(|bar| *bar < 6)?;
    let (current, sizes) = rest.split_once(", supported:")?;
    let order = |text: &str| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "MB" => 0,
            "GB" => 10,
            "TB" => 20,
            "PB" => 30,
            _ => return None,
        };
        Some(digits.parse::<u64>().ok().filter(|n| n.is_power_of_two())?.trailing_zeros() + unit)
    };
    let sizes = sizes.split_whitespace().filter_map(order).fold(0u64, |all, n| all | 1 << n.min(63));
    let current = u8::try_from(order(current.trim())?).ok()?;
    let control = capability.checked_add(8 + 8 * u16::try_from(n).ok()?)?;
    // The control register's count of BARs is not printed; it is read-only, so it does not matter.
    Some(ResizableBar { bar, sizes, current, control, rest: u32::from(bar) })
}

/// Adds the BARs of a dump that were not printed. Only their start is known.
fn dumped_bars(function: &mut Function, header: &Header) {
    let Some(at) = function.at.clone() else { return };
    let command = header.common.command;
    for (slot, bar) in header.bars() {
        let Ok(slot) = u8::try_from(slot) else { continue };
        let kind = ResourceKind::Bar(slot);
        let decoded = if bar.is_io() { command.io() } else { command.memory() };
        if bar.base() == 0 || !decoded || function.resources.iter().any(|had| had.kind == kind) {
            continue;
        }
        // The smallest sizes that a BAR can decode (PCI Local Bus 3.0, 6.2.5.1).
        let (io, least) = (bar.is_io(), if bar.is_io() { 4 } else { 16 });
        let prefetchable = matches!(bar, Bar::Memory { prefetchable: true, .. });
        if let Ok(range) = AddrRange::sized(bar.base(), least) {
            function.resources.push(PciResource {
                kind,
                range,
                io,
                prefetchable,
                wide: Some(matches!(bar, Bar::Memory { wide: true, .. })),
                open_ended: true,
                at: at.clone(),
            });
        }
    }
}

/// Gives a size to the region that was read last, if it has none. Returns whether it did.
fn sized(function: &mut Function, size: Option<u64>) -> bool {
    let Some(bytes) = size else { return false };
    let placed = function.resources.last_mut().filter(|placed| placed.open_ended);
    let lost = function.unplaced.last_mut().filter(|lost| lost.size.is_none());
    let is_later = |placed: &PciResource, lost: &Unplaced| placed.at.line > lost.at.line;
    match (placed, lost) {
        (Some(placed), lost) if lost.as_ref().is_none_or(|lost| is_later(placed, lost)) => {
            let Ok(range) = AddrRange::sized(placed.range.start(), bytes) else { return false };
            (placed.range, placed.open_ended) = (range, false);
        }
        (_, Some(lost)) => lost.size = size,
        _ => return false,
    }
    true
}

/// Parses `[size=16M]`.
fn size_of(text: &str) -> Option<u64> {
    let mut scan = Scan(text.split("[size=").nth(1)?);
    let number = scan.decimal()?;
    let unit = match scan.0.chars().next()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        ']' => 0,
        _ => return None,
    };
    number.checked_mul(1 << unit)
}

/// Reads `Memory at 81000000 (64-bit, non-prefetchable) [size=16M]`.
fn region(function: &mut Function, kind: ResourceKind, text: &str, at: &SourceLine) -> Verdict {
    let body = text.trim().strip_prefix("[virtual] ").unwrap_or(text.trim());
    let io = body.starts_with("I/O ports at ");
    let Some(rest) = body.strip_prefix("Memory at ").or_else(|| body.strip_prefix("I/O ports at ")) else {
        return Verdict::Pass;
    };
    let wide = rest.contains("64-bit");
    let prefetchable = !io && (rest.contains(", prefetchable") || kind == ResourceKind::Rom);
    let size = size_of(rest);
    let start = rest.split_whitespace().next().unwrap_or("");
    if start.starts_with('<') {
        // `<unassigned>`, `<ignored>` and the like: Linux has not placed it, or hides it from this user.
        let why = start.trim_matches(['<', '>']).to_owned();
        function.unplaced.push(Unplaced {
            kind,
            size,
            io,
            prefetchable,
            wide: Some(wide),
            why,
            again: false,
            at: at.clone(),
        });
        return Verdict::Took;
    }
    let Some(start) = hex(start) else {
        return Verdict::Odd("BAR", format!("{start:?} is no address"));
    };
    let least = if io { 4 } else { 16 };
    let (verdict, range) =
        Verdict::of("BAR", AddrRange::sized(start, size.unwrap_or(least)).map_err(|error| error.to_string()));
    let Some(range) = range else { return verdict };
    let open_ended = size.is_none();
    // A VF BAR's line does not say how large the space of all virtual functions is, so it is not recorded.
    if start != 0 && !matches!(kind, ResourceKind::VfBar(_)) {
        let wide = Some(wide).filter(|_| !io && rest.contains("-bit"));
        function.resources.push(PciResource {
            kind,
            range,
            io,
            prefetchable,
            wide,
            open_ended,
            at: at.clone(),
        });
    }
    verdict
}

/// Reads `fe400000-fe9fffff [size=6M] [32-bit]`, `00001000-00004fff [size=16K]`, `None` or `[disabled]`.
fn window(function: &mut Function, key: &str, value: &str, at: &SourceLine) -> Verdict {
    let text = value.trim();
    let closed = ["None", "[disabled]", "<"].iter().any(|word| text.starts_with(word));
    if closed || text.contains("[disabled]") {
        return Verdict::Took;
    }
    let mut scan = Scan(text);
    let read = scan.hex().and_then(|start| {
        scan.lit("-")?;
        Some((start, scan.hex()?))
    });
    let (verdict, found) = Verdict::of("bridge window", read.ok_or_else(|| format!("{text:?} is no range")));
    let Some((start, last)) = found else { return verdict };
    // A closed window is printed with its base above its limit.
    if let Ok(range) = AddrRange::inclusive(start, last) {
        let (io, prefetchable) = (key.starts_with("I/O"), key.starts_with("Prefetchable"));
        let kind = ResourceKind::Window;
        function.resources.push(PciResource {
            kind,
            range,
            io,
            prefetchable,
            wide: Some(text.contains("[64-bit]")).filter(|_| text.contains("-bit]")),
            open_ended: false,
            at: at.clone(),
        });
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    fn at(facts: &Facts, name: &str) -> Function {
        facts.pci.functions[&(PciSource::Lspci, name.parse().unwrap())].clone()
    }

    /// Mailers wrap lines in front of what does not fit.
    #[test]
    fn a_size_on_the_next_line_belongs_to_its_region() {
        let whole = "01:00.0 VGA compatible controller: NVIDIA Corporation GP107 (rev a1)\n\
             \tRegion 0: Memory at de000000 (32-bit, non-prefetchable) [size=16M]\n\
             \tRegion 1: Memory at <unassigned> (64-bit, prefetchable) [size=256M]\n\
             \tRegion 3: Memory at d0000000 (64-bit, prefetchable) [size=32M]\n\
             \tCapabilities: <access denied>\n";
        let said = |text: &str| {
            let facts = read(text);
            let function = facts.pci.functions.values().next().unwrap().clone();
            let placed: Vec<_> = function.resources.iter().map(|r| (r.kind, r.range, r.open_ended)).collect();
            (placed, function.unplaced.iter().map(|lost| (lost.kind, lost.size)).collect::<Vec<_>>())
        };
        let wanted = said(whole);
        assert_eq!(
            (wanted.0.len(), wanted.1.as_slice()),
            (2, &[(ResourceKind::Bar(1), Some(256 << 20))][..])
        );
        for prefix in ["", "> "] {
            let wrapped = whole.replace(" [size=", "\n[size=");
            let quoted: String = wrapped.lines().map(|line| format!("{prefix}{line}\n")).collect();
            assert_eq!(said(&quoted), wanted, "{quoted}");
        }
    }

    #[test]
    fn a_function_is_read_with_its_regions_and_those_without_a_place() {
        let facts = read(
            "00:02.0 VGA compatible controller [0300]: Intel Corporation Iris [8086:1927] (rev 0a) (prog-if 00 [VGA])\n\
             \tControl: I/O+ Mem+ BusMaster+\n\tNUMA node: 1\n\
             \tRegion 0: Memory at 81000000 (64-bit, non-prefetchable) [size=16M]\n\
             \tRegion 2: Memory at <unassigned> (64-bit, prefetchable) [size=256M]\n\
             \tRegion 4: I/O ports at 3000 [size=64]\n\t[virtual] Expansion ROM at 000c0000 [disabled] [size=128K]\n\
             \tRegion 5: Memory at zz\n\tKernel driver in use: i915\n",
        );
        let card = at(&facts, "0000:00:02.0");
        assert_eq!(
            (card.id, card.class, card.numa),
            (Some((0x8086, 0x1927)), Some(Class(0x03_0000)), Some(1))
        );
        assert_eq!(
            (card.title.as_deref(), card.driver.as_deref()),
            (Some("Intel Corporation Iris"), Some("i915"))
        );
        let shown: Vec<String> =
            card.resources.iter().map(|r| format!("{} {} {}", r.kind, r.range, r.io)).collect();
        assert_eq!(
            shown,
            ["BAR 0 0x81000000..0x82000000 false", "BAR 4 0x3000..0x3040 true", "ROM 0xc0000..0xe0000 false"]
        );
        assert_eq!((card.unplaced[0].why.as_str(), card.unplaced[0].size), ("unassigned", Some(256 << 20)));
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn bridges_have_buses_and_windows_whatever_the_version_prints() {
        let facts = read(
            "0001:00:1c.0 PCI bridge: Intel Corporation Port (prog-if 00 [Normal decode])\n\tFlags: bus master, NUMA node 0\n\
             \tBus: primary=00, secondary=02, subordinate=05, sec-latency=0\n\tI/O behind bridge: 00002000-00002fff [size=4K]\n\
             \tMemory behind bridge: fe400000-fe9fffff [size=6M] [32-bit]\n\tPrefetchable memory behind bridge: [disabled] [64-bit]\n",
        );
        let bridge = at(&facts, "0001:00:1c.0");
        assert_eq!((bridge.below, bridge.numa, bridge.lists_windows), (Some((2, 5)), Some(0), true));
        let shown: Vec<String> = bridge.resources.iter().map(|r| r.range.to_string()).collect();
        assert_eq!(shown, ["0x2000..0x3000", "0xfe400000..0xfea00000"]);
    }

    #[test]
    fn without_numbers_nobody_knows_which_register_is_which() {
        let facts = read(
            "01:00.0 0300: 10de:1234 (rev a1)\n\tMemory at 80000000 (32-bit, non-prefetchable) [size=64M]\n\
             \tMemory at 4000000000 (64-bit, prefetchable) [size=32G]\n\tMemory at 4810000000 (64-bit, prefetchable) [size=32M]\n\
             \tI/O ports at 3000 [size=128]\n",
        );
        let kinds: Vec<ResourceKind> = at(&facts, "0000:01:00.0").resources.iter().map(|r| r.kind).collect();
        assert_eq!(kinds, [ResourceKind::Unnamed; 4]);
    }

    #[test]
    fn a_dump_says_where_registers_begin_and_what_bridges_forward() {
        let facts = read(
            "09:00.0 VGA compatible controller: AMD\n00: 02 10 00 73 07 04 10 00 ca 00 00 03 10 00 80 00\n\
             10: 0c 00 00 e0 38 00 00 00 00 00 00 00 00 00 00 00\n20: 01 e0 00 00 00 00 80 fe 00 00 00 00 02 10 36 0b\n\
             30: 00 00 84 fe 48 00 00 00 00 00 00 00 0a 01 00 00\n40: 00\n",
        );
        let card = at(&facts, "0000:09:00.0");
        let shown: Vec<String> =
            card.resources.iter().map(|r| format!("{} {} {}", r.kind, r.range, r.open_ended)).collect();
        assert_eq!(
            shown,
            [
                "BAR 0 0x38e0000000..0x38e0000010 true",
                "BAR 4 0xe000..0xe004 true",
                "BAR 5 0xfe800000..0xfe800010 true"
            ]
        );
        assert_eq!(facts.heard[0].odd.len(), 1, "a line of one byte");
    }
}
