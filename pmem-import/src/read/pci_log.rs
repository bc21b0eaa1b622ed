//! PCI in a kernel's log: host bridges, functions, and which resources were assigned or not.

use super::pci_buses::{bus, buses, ecam, gone};
use super::pci_outcome::{Outcome, contained, note, note_kept, remember};
use super::reader::{LineReader, Verdict};
use crate::facts::{
    Conflict, Facts, Function, MissingWindow, PciSource, ResourceKind, SourceLine, SourceSummary, Sourced,
};
use crate::number::hex;
use crate::text::{Bracketed, Line, Scan};
use pmem_pci::{Address, Class};
use std::borrow::Cow;

/// Reads the kernel's messages about PCI.
#[derive(Default)]
pub(super) struct Reader {
    /// The current boot of this text has named a function or a root bus.
    began: bool,
    /// The bridge whose windows follow, in the form of Linux 2.6.
    bridge: Option<Address>,
    /// A bridge whose windows are listed again if a list follows. While the kernel scans for functions it names
    /// bridges without one.
    listed: Option<Address>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("Linux version ") || words.starts_with("Booting Linux") {
            if self.began {
                let here = |at: &SourceLine| at.source == line.source;
                facts.pci.functions.retain(|(source, _), function| {
                    *source != PciSource::Log || !function.at.as_ref().is_some_and(here)
                });
                facts.pci.roots.retain(|_, apertures| {
                    apertures.retain(|said| !here(&said.at));
                    !apertures.is_empty()
                });
                for lines in facts.pci.listed.values_mut() {
                    lines.retain(|line| !here(&line.at));
                }
                facts.pci.conflicts.retain(|said| !here(&said.at));
                facts.pci.wanted.retain(|said| !here(&said.at));
                facts.pci.numberless.clear();
                heard
                    .notes
                    .push(format!("another boot begins in line {}: the last one is taken", line.number));
            }
            self.began = false;
            return Verdict::Pass;
        }
        if let Some(name) = words.strip_prefix("PCI: Bridge: ") {
            self.bridge = name.trim().parse().ok();
            let Some(bridge) = self.bridge else { return Verdict::Pass };
            self.began = true;
            let function = facts.pci.function(PciSource::Log, bridge, &line.place());
            function.lists_windows = true;
            return Verdict::Took;
        }
        if let Some(bridge) = self.bridge {
            match modern(words) {
                Some(body) => return self.function(line, "pci", bridge, &body, facts, heard),
                None if words.contains(" window: ") => return Verdict::Took,
                None => self.bridge = None,
            }
        }
        // All these lines name a bus or a function, or configuration space.
        if let Some(rest) = words.strip_prefix("pci_bus ") {
            self.began |= rest.contains(": root bus resource ");
            return bus(line, rest, facts, heard);
        }
        if words.starts_with("PCI: ") || words.starts_with("acpi ") || words.starts_with("pci_root ") {
            return ecam(line, words, facts, heard);
        }
        let Some((driver, address, rest)) = named(words) else { return Verdict::Pass };
        let rest = modern(rest.trim_start()).map_or(rest.into(), Cow::Owned);
        self.function(line, driver, address, &rest, facts, heard)
    }
}

/// Translates messages of Linux before 2.6.34 to the form of later versions:
/// `reg 10 64bit mmio: [0x…-0x…]`, `bridge io port: [0x…-0x…]`, `MEM window: 0x…-0x…`,
/// `PCI bridge, secondary bus 0000:01`. `None` for other messages.
fn modern(body: &str) -> Option<String> {
    if let Some(bus) = body.strip_prefix("PCI bridge, secondary bus ") {
        let (_, bus) = bus.rsplit_once(':')?;
        return Some(format!("PCI bridge to [bus {bus}]"));
    }
    for (word, kind, flags) in [("IO", "io ", ""), ("MEM", "mem", ""), ("PREFETCH", "mem", " 64bit pref")] {
        let Some(range) = body.strip_prefix(word).and_then(|rest| rest.strip_prefix(" window: ")) else {
            continue;
        };
        let (start, last) =
            range.split_once('-').filter(|(start, last)| hex(start).is_some() && hex(last).is_some())?;
        return Some(format!("bridge window [{kind} {start}-{last}{flags}]"));
    }
    let (subject, rest) = match body.strip_prefix("bridge ") {
        Some(rest) => ("bridge window ".to_owned(), rest),
        None => {
            let (register, rest) = body.strip_prefix("reg ")?.split_once(' ')?;
            (format!("reg {register}: "), rest)
        }
    };
    let (what, range) = rest.split_once(": [")?;
    let kind = if what.starts_with("io port") { "io " } else { "mem" };
    if !what.starts_with("io port") && !what.contains("mmio") {
        return None;
    }
    let wide = if what.contains("64bit") { " 64bit" } else { "" };
    let prefetchable = if what.contains("pref") { " pref" } else { "" };
    Some(format!("{subject}[{kind} {}{wide}{prefetchable}]", range.strip_suffix(']')?))
}

/// Splits `pci 0000:00:1f.2: …` or `nvme 0000:01:00.0: …` into driver, function and message.
fn named(words: &str) -> Option<(&str, Address, &str)> {
    let (driver, rest) = words.split_once(' ')?;
    let (name, rest) = rest.split_once(": ")?;
    // The length check comes first, since most lines with a colon name no function.
    let address = name.parse().ok().filter(|_| (12..=18).contains(&name.len()))?;
    let is_word = driver.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    is_word.then_some((driver, address, rest))
}

impl Reader {
    fn function(
        &mut self,
        line: &Line<'_>,
        driver: &str,
        address: Address,
        rest: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let at = line.place();
        if let Some(rest) = rest.strip_prefix('[')
            && let Some((vendor, device)) = rest.get(..9).and_then(|id| id.split_once(':'))
            && vendor.len() == 4
            && rest[9..].starts_with("] type ")
        {
            let (Some(vendor), Some(device)) = (hex(vendor), hex(device)) else { return Verdict::Pass };
            self.began = true;
            let function = facts.pci.function(PciSource::Log, address, &at);
            // A function that is found again was plugged in again: forget what it had.
            *function = Function {
                address: function.address,
                at: Some(at),
                source: PciSource::Log,
                ..Function::default()
            };
            function.id = Some((vendor as u16, device as u16));
            function.class = class(rest);
            heard.count("PCI function");
            return Verdict::Took;
        }
        let body = rest.trim_start();
        if body.starts_with("No bus number available for hot-added bridge") {
            facts.pci.function(PciSource::Log, address, &at);
            facts.pci.numberless.entry(address).or_insert((0, 0));
            return Verdict::Took;
        }
        if let Some(buses) = body.strip_prefix("devices behind bridge are unusable because ").and_then(buses)
        {
            facts.pci.numberless.insert(address, buses);
            return Verdict::Took;
        }
        if let Some(verdict) = wanted(line, body, facts) {
            facts.pci.function(PciSource::Log, address, &at);
            if verdict == Verdict::Took
                && let Some((_, rest)) = body.split_once("bridge window ")
                && let Some(found) = Scan(rest).resource()
            {
                let function = facts.pci.function(PciSource::Log, address, &at);
                note(function, ResourceKind::Window, found, Outcome::Placed, &at);
            }
            return verdict;
        }
        if body == "device released" {
            facts.pci.functions.remove(&(PciSource::Log, address));
            return Verdict::Took;
        }
        if body.starts_with("pciehp: Slot") && body.ends_with("Card not present") {
            let below = facts.pci.functions.get(&(PciSource::Log, address)).and_then(|f| f.below);
            if let Some(below) = below {
                gone(facts, address.segment, below);
            }
        }
        // `pciehp: Slot #1 AttnBtn+ … HotPlug+ …`, `pciehp: Slot(2): Card present`.
        if body.starts_with("pciehp: Slot") {
            let off = body.contains("HotPlug-");
            facts.pci.function(PciSource::Log, address, &at).hot_plug = Some(!off);
            return Verdict::Took;
        }
        let leads = body.strip_prefix("PCI bridge to ").map(|rest| (rest, false));
        let leads = leads.or_else(|| Some((body.strip_prefix("CardBus bridge to ")?, true)));
        if let Some((body, is_card_bus)) = leads {
            let Some(below) = buses(body) else { return Verdict::Pass };
            let function = facts.pci.function(PciSource::Log, address, &at);
            if is_card_bus {
                function.class.get_or_insert(CARD_BUS);
            }
            // Bus numbers of zero mean that firmware set nothing up.
            function.below = Some(below).filter(|(first, _)| *first > address.bus);
            // Now that it is known to be a bridge, resources taken for VF BARs were windows in an older
            // kernel's numbering.
            function.resources.retain(|resource| !matches!(resource.kind, ResourceKind::VfBar(_)));
            self.listed = Some(address);
            function.unplaced.retain(|unplaced| !matches!(unplaced.kind, ResourceKind::VfBar(_)));
            function.lists_windows = true;
            return Verdict::Took;
        }
        let Some((kind, mut scan)) = subject(body) else {
            if !["pci", "pcieport", "acpi", "pnp", "system", "DMAR", "iommu"].contains(&driver)
                && let Some(function) = facts.pci.functions.get_mut(&(PciSource::Log, address))
            {
                function.driver.get_or_insert_with(|| driver.to_owned());
            }
            return Verdict::Pass;
        };
        // Older kernels say what happened before the range.
        let (before, found) = match scan.0.find('[') {
            Some(open) => {
                let before = scan.0[..open].trim_end_matches([' ', ':']).trim_start_matches([' ', ':']);
                scan.0 = &scan.0[open..];
                (before, scan.resource())
            }
            None => (scan.0, None),
        };
        let after = scan.0.trim_start_matches([' ', ':']);
        let Some(found) = found else {
            // A range that is cut off is reported; messages without a range carry nothing that is needed.
            let cut = scan.0.starts_with("[mem") || scan.0.starts_with("[io") || scan.0.trim().is_empty();
            return if cut {
                Verdict::Odd("PCI resource", "the range is not closed".to_owned())
            } else {
                Verdict::Pass
            };
        };
        if is_cut(scan.0.trim()) {
            return Verdict::Odd("PCI resource", "the line is cut".to_owned());
        }
        let kept = after.strip_prefix("to ").and_then(|rest| rest.split_once(" add_size "));
        if let Some(below) = kept.and_then(|(below, _)| buses(below)) {
            note_kept(facts, address, found.io, below, &at);
        }
        let outcome = Outcome::of(before, after);
        if let Some(count) = contained(after) {
            facts.pci.function(PciSource::Log, address, &at).most_virtual = Some(count);
        }
        conflict(line, address, kind, &found, body, facts);
        let function = facts.pci.function(PciSource::Log, address, &at);
        // In kernels without SR-IOV support, a bridge's windows follow its ROM, at the numbers of VF BARs.
        let is_bridge = function.is_bridge() || driver == "pcieport";
        let kind =
            if matches!(kind, ResourceKind::VfBar(_)) && is_bridge { ResourceKind::Window } else { kind };
        if kind == ResourceKind::Window
            && self.listed.take() == Some(address)
            && before.is_empty()
            && after.is_empty()
        {
            let (windows, rest) =
                function.resources.drain(..).partition(|resource| resource.kind == ResourceKind::Window);
            function.resources = rest;
            remember(function, windows);
        }
        note(function, kind, found, outcome, &at);
        heard.count(if kind == ResourceKind::Window { "bridge window" } else { "BAR" });
        Verdict::Took
    }
}

/// Whether what stands behind a range goes on in the next line, as mailers wrap it. What happened to the range is then
/// not known yet.
fn is_cut(after: &str) -> bool {
    const PARTS: [&str; 6] = [":", "can't", "assign;", "assign; no", "failed", "failed to"];
    let is_open = after.rfind('[').is_some_and(|open| !after[open..].contains(']'));
    is_open || PARTS.iter().any(|part| after.trim_end().ends_with(part))
}

/// The class of CardBus bridges.
const CARD_BUS: Class = Class(0x06_0700);

/// Reads `Assigned bridge window [mem 0x…-0x…] to [bus 03-2c] cannot fit 0xc00000000 required for …`, which goes on
/// `0000:03:00.0 bridging to [bus 04-2c]`.
fn wanted(line: &Line<'_>, body: &str, facts: &mut Facts) -> Option<Verdict> {
    let rest = body.strip_prefix("Assigned bridge")?.trim_start().trim_start_matches("window").trim_start();
    let parts = || {
        let found = Scan(rest).resource()?;
        let (size, rest) = rest.split_once(" cannot fit ")?.1.split_once(" required for ")?;
        Some((found, hex(size)?, rest.split_whitespace().next()?.parse::<Address>().ok()?, rest))
    };
    let Some((found, size, bridge, rest)) = parts() else {
        let is_other = rest.contains("free space");
        return (!is_other).then(|| Verdict::Odd("PCI resource", "the line is cut".to_owned()));
    };
    if let Some(below) = rest.split_once(" bridging to ").and_then(|(_, rest)| buses(rest)) {
        facts.pci.function(PciSource::Log, bridge, &line.place()).below.get_or_insert(below);
    }
    let wanted = MissingWindow { bridge, size, io: found.io, prefetchable: found.prefetchable };
    let said = &mut facts.pci.wanted;
    said.retain(|had| had.value.bridge != bridge || had.value.prefetchable != found.prefetchable);
    said.push(Sourced::new(wanted, line.place()));
    Some(Verdict::Took)
}

/// Reads `can't claim BAR 4 [io 0x8200-0x821f]: address conflict with PCI Bus 0000:01 [io 0x8000-0x8fff]` or
/// `…: no compatible bridge window`: firmware put the resource where it cannot be.
fn conflict(
    line: &Line<'_>,
    function: Address,
    kind: ResourceKind,
    found: &Bracketed,
    body: &str,
    facts: &mut Facts,
) {
    if !body.contains("can't claim") {
        return;
    }
    let Some(range) = found.range else { return };
    let with = body.split_once("conflict with ").map_or(String::new(), |(_, with)| with.trim().to_owned());
    // BARs that are not set up yet lie in no window, and a ROM is decoded only on request: neither is a conflict.
    if kind == ResourceKind::Rom || (with.is_empty() && kind != ResourceKind::Window) {
        return;
    }
    let conflict = Conflict { function, kind, io: found.io, range, with };
    if !facts.pci.conflicts.iter().any(|had| had.value == conflict) {
        facts.pci.conflicts.push(Sourced::new(conflict, line.place()));
    }
}

/// Parses `… class 0x010601 …`. Very old kernels print only class and subclass.
fn class(rest: &str) -> Option<Class> {
    let digits = rest.split("class ").nth(1)?.split_whitespace().next()?;
    let class = u32::try_from(hex(digits.trim_end_matches(','))?).ok()?;
    let digits = digits.trim_start_matches("0x").len();
    Some(Class(if digits <= 4 { class << 8 } else { class }))
}

/// Splits off the register that a message is about: `reg 0x10: …`, `BAR 2: …`, `BAR 2 [mem …]: …`,
/// `bridge window …`, `ROM …`, `VF BAR 0: …`. Returns it and the rest.
fn subject(body: &str) -> Option<(ResourceKind, Scan<'_>)> {
    let mut scan = Scan(body);
    if scan.lit("reg ").is_some() {
        let register = scan.hex()?;
        scan.lit(":")?;
        let kind = match register {
            0x10..=0x24 if register % 4 == 0 => ResourceKind::Bar(((register - 0x10) / 4) as u8),
            0x30 | 0x38 => ResourceKind::Rom,
            _ => return None,
        };
        return Some((kind, scan));
    }
    if scan.lit("bridge window").is_some() {
        return Some((ResourceKind::Window, scan));
    }
    if scan.lit("VF BAR ").is_some() {
        let number = u8::try_from(scan.decimal()?).ok()?;
        return Some((ResourceKind::VfBar(number), scan)).filter(|_| number < 6);
    }
    if scan.lit("ROM").is_some() {
        return Some((ResourceKind::Rom, scan)).filter(|(_, scan)| scan.0.starts_with(['[', ':']));
    }
    // `can't claim BAR 0 [mem …]: address conflict with …`.
    let claims = scan.lit("can't claim ").is_some();
    if claims && scan.lit("bridge window").is_some() {
        return Some((ResourceKind::Window, scan));
    }
    if scan.lit("VF(n) ").is_some() {
        // `VF(n) BAR0 space: [mem …] (contains BAR0 for 8 VFs)`.
        scan.lit("BAR")?;
        let number = u8::try_from(scan.decimal()?).ok().filter(|n| *n < 6)?;
        scan.lit("space:")?;
        let end = scan.0.find(']')? + 1;
        return Some((ResourceKind::VfBar(number), Scan(&scan.0[..end])));
    }
    // `resource 15 [mem …] released`: numbered like BARs.
    scan.lit("BAR ").or_else(|| scan.lit("resource "))?;
    let number = scan.decimal()?;
    let kind = match number {
        0..=5 => ResourceKind::Bar(number as u8),
        6 => ResourceKind::Rom,
        7..=12 => ResourceKind::VfBar((number - 7) as u8),
        13..=16 => ResourceKind::Window,
        _ => return None,
    };
    Some((kind, Scan(scan.0.trim_start_matches(':').trim_start())))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    fn at(facts: &Facts, name: &str) -> Function {
        facts.pci.functions[&(PciSource::Log, name.parse().unwrap())].clone()
    }

    /// Mailers wrap lines anywhere, and the outcome stands at the end.
    #[test]
    fn wrapped_lines_say_the_same() {
        let whole = "pci 0000:08:00.0: [10de:1b80] type 00 class 0x030000\n\
             pcieport 0000:07:01.0: bridge window [mem size 0x30000000 64bit pref]: can't assign; no space\n\
             pci 0000:08:00.0: BAR 1 [mem size 0x20000000 64bit pref]: failed to assign\n\
             pci 0000:06:00.0: Assigned bridge window [mem 0x6000000000-0x600bffffff 64bit pref] to [bus 07-08] \
             cannot fit 0x30000000 required for 0000:07:01.0 bridging to [bus 08]\n";
        let said = |text: &str| {
            let facts = read(text);
            let unplaced: Vec<_> = ["0000:08:00.0", "0000:07:01.0"]
                .map(|name| at(&facts, name).unplaced.iter().map(|u| (u.kind, u.size)).collect::<Vec<_>>())
                .into();
            (
                unplaced,
                facts.pci.wanted.iter().map(|said| (said.value.bridge, said.value.size)).collect::<Vec<_>>(),
            )
        };
        let wanted = said(whole);
        assert_eq!(wanted.0[0], [(ResourceKind::Bar(1), Some(0x2000_0000))]);
        assert_eq!(wanted.1.len(), 1);
        // Wrapped at each blank in turn, with the quotation marks of a mail.
        let blanks: Vec<usize> = whole.match_indices(' ').map(|(at, _)| at).collect();
        for blank in blanks {
            let begin = whole[..blank].rfind('\n').map_or(0, |end| end + 1);
            // The first words tell what the line is about.
            if whole[begin..blank].split(' ').count() < 4 {
                continue;
            }
            let wrapped = format!("{}\n{}", &whole[..blank], &whole[blank + 1..]);
            let quoted: String = wrapped.lines().map(|line| format!("> {line}\n")).collect();
            assert_eq!(said(&quoted), wanted, "{quoted}");
        }
    }

    #[test]
    fn what_is_kept_beside_tells_a_hot_plug_port() {
        let facts = read(
            "pci 0000:00:01.0: [1def:e101] type 01 class 0x060400\n\
             pci 0000:00:02.0: [1def:e101] type 01 class 0x060400\n\
             pci 0000:00:03.0: [1def:e101] type 01 class 0x060400\n\
             pci 0000:00:04.0: [1def:e101] type 01 class 0x060400\n\
             pci 0000:02:00.0: [15b3:1003] type 00 class 0x020000\n\
             pci 0000:02:00.0: ROM [mem 0xdd000000-0xdd0fffff pref]\n\
             pci 0000:03:00.0: [104c:8232] type 01 class 0x060400\n\
             pci 0000:00:01.0: bridge window [mem 0x00100000-0x000fffff] to [bus 01] add_size 200000 add_align 100000\n\
             pci 0000:00:02.0: bridge window [mem 0x00100000-0x001fffff] to [bus 02] add_size 100000 add_align 100000\n\
             pci 0000:03:00.0: bridge window [io  0x1000-0x0fff] to [bus 04] add_size 1000\n\
             pci 0000:00:03.0: bridge window [io  0x1000-0x0fff] to [bus 03-04] add_size 1000\n\
             pci 0000:00:04.0: bridge window [mem 0x00100000-0x001fffff] to [bus 05]\n",
        );
        let kept = ["00:01.0", "00:02.0", "03:00.0", "00:03.0", "00:04.0"]
            .map(|name| at(&facts, &format!("0000:{name}")).hot_plug);
        // The ROM explains what is kept for it, and the port behind what is kept for that one.
        assert_eq!(kept, [Some(true), None, Some(true), None, None]);
    }

    #[test]
    fn a_log_says_what_was_assigned_last() {
        let facts = read(
            "pci_bus 0000:00: root bus resource [mem 0x80000000-0xdfffffff window]\n\
             pci_bus 0000:00: root bus resource [mem 0x600000000-0x63fffffff] (bus address [0xc0000000-0xffffffff])\n\
             pci_bus 0000:00: root bus resource [bus 00-ff]\n\
             PCI: ECAM [mem 0xe0000000-0xefffffff] (base 0xe0000000) for domain 0000 [bus 00-ff]\n\
             pci 0000:00:1c.0: [8086:1927] type 01 class 0x060400 PCIe Root Port\n\
             pci 0000:00:1c.0: PCI bridge to [bus 01-05]\n\
             pci 0000:00:1c.0:   bridge window [mem 0x80000000-0x800fffff]\n\
             pci 0000:01:00.0: [10de:1234] type 00 class 0x030000 PCIe Endpoint\n\
             pci 0000:01:00.0: reg 0x10: [mem 0x00000000-0x00ffffff]\n\
             pci 0000:01:00.0: BAR 1 [mem 0x90000000-0x9fffffff 64bit pref]\n\
             pci 0000:01:00.0: BAR 0: assigned [mem 0x81000000-0x81ffffff]\n\
             pci 0000:01:00.0: BAR 1 [mem 0x90000000-0x9fffffff 64bit pref]: releasing\n\
             pci 0000:01:00.0: BAR 1 [mem size 0x400000000 64bit pref]: can't assign; no space\n\
             pcieport 0000:00:1c.0: bridge window [mem 0x80000000-0x81ffffff]: assigned\n\
             nvidia 0000:01:00.0: enabling device (0000 -> 0003)\n",
        );
        let roots = &facts.pci.roots[&(0, 0)];
        assert_eq!((roots.len(), roots[1].value.bus_start), (2, 0xc000_0000));
        assert_eq!(facts.pci.ecam[0].value.1.len(), 256 << 20);
        let bridge = at(&facts, "0000:00:1c.0");
        assert_eq!((bridge.below, bridge.resources.len()), (Some((1, 5)), 1));
        assert_eq!(bridge.resources[0].range.len(), 32 << 20, "the last word on it");
        let card = at(&facts, "0000:01:00.0");
        assert_eq!(
            card.resources.iter().map(|r| (r.kind, r.range.start())).collect::<Vec<_>>(),
            [(ResourceKind::Bar(0), 0x8100_0000)]
        );
        assert_eq!((card.unplaced[0].kind, card.unplaced[0].size), (ResourceKind::Bar(1), Some(16 << 30)));
        assert_eq!(card.unplaced[0].why, "can't assign; no space");
        assert_eq!(card.driver.as_deref(), Some("nvidia"));
    }

    #[test]
    fn virtual_functions_space_is_told_from_their_size() {
        let facts = read(
            "pci 0000:01:00.0: [8086:1521] type 00 class 0x020000\npci 0000:01:00.0: reg 0x184: [mem 0xe0100000-0xe0103fff 64bit pref]\n\
             pci 0000:01:00.0: VF(n) BAR0 space: [mem 0xe0100000-0xe011ffff 64bit pref] (contains BAR0 for 8 VFs)\n",
        );
        let card = at(&facts, "0000:01:00.0");
        assert_eq!(
            card.resources.iter().map(|r| (r.kind, r.range.len())).collect::<Vec<_>>(),
            [(ResourceKind::VfBar(0), 0x2_0000)]
        );
    }

    #[test]
    fn a_second_boot_begins_anew() {
        let boot =
            "Linux version 6.1\npci_bus 0000:00: root bus resource [mem 0x80000000-0xdfffffff window]\n";
        let facts = read(&format!("{boot}pci 0000:00:02.0: [8086:1927] type 00 class 0x030000\n{boot}"));
        assert!(facts.pci.functions.is_empty());
        assert!(facts.heard[0].to_string().contains("another boot begins in line 4"), "{}", facts.heard[0]);
    }

    #[test]
    fn what_old_kernels_say_is_read() {
        let facts = read(
            "pci 0000:00:02.0: reg 10 64bit mmio: [0xd0000000-0xd03fffff]\n\
             pci 0000:00:02.0: reg 18 64bit mmio pref: [0xe0000000-0xefffffff]\n\
             pci 0000:00:02.0: reg 20 io port: [0xf000-0xf03f]\n\
             pci 0000:00:1c.0: PCI bridge, secondary bus 0000:01\n\
             pci 0000:00:1c.0:   IO window: disabled\n\
             pci 0000:00:1c.0:   MEM window: 0xd1000000-0xd1ffffff\n\
             PCI: Bridge: 0000:00:1e.0\n\
             \x20 IO window: e000-efff\n  MEM window: disabled.\n  PREFETCH window: c0000000-c00fffff\n",
        );
        let card = at(&facts, "0000:00:02.0");
        let shown: Vec<(ResourceKind, u64, bool, bool)> =
            card.resources.iter().map(|r| (r.kind, r.range.len(), r.io, r.prefetchable)).collect();
        assert_eq!(
            shown,
            [
                (ResourceKind::Bar(0), 4 << 20, false, false),
                (ResourceKind::Bar(2), 256 << 20, false, true),
                (ResourceKind::Bar(4), 64, true, false)
            ]
        );
        let bridge = at(&facts, "0000:00:1c.0");
        assert_eq!((bridge.below, bridge.resources.len()), (Some((1, 1)), 1));
        let bridge = at(&facts, "0000:00:1e.0");
        assert_eq!(
            bridge.resources.iter().map(|r| r.range.start()).collect::<Vec<_>>(),
            [0xe000, 0xc000_0000]
        );
    }

    #[test]
    fn what_is_cut_is_named() {
        let facts = read(
            "pci 0000:00:02.0: BAR 0 [mem 0x90000000-0x90ff\npci_bus 0000:00: root bus resource [mem 0x8000\n",
        );
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [1, 2]);
    }
}
