//! PCI as FreeBSD prints it: messages of a verbose boot (`boot -v`), and `pciconf -lbBv`.

use super::reader::{LineReader, Verdict};
use crate::facts::{
    Aperture, BusId, Facts, Function, PciResource, PciSource, ResourceKind, SourceLine, SourceSummary,
    Sourced, Unplaced,
};
use crate::number::function;
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_pci::{Address, Class, Command};
use std::collections::BTreeMap;

/// Reads FreeBSD's messages about PCI.
#[derive(Default)]
pub(super) struct Reader {
    /// Vendor and device id, which come before the address.
    id: Option<(u16, u16)>,
    /// The function that the next lines describe.
    current: Option<Address>,
    /// Bridges by name (`pcib1`).
    bridges: BTreeMap<String, Address>,
    /// Buses by name (`pci1`).
    buses: BTreeMap<String, BusId>,
    /// By bus name: the name of the bridge above.
    above: BTreeMap<String, String>,
    /// By host bridge name: what it decodes, until its bus number is known.
    decoded: BTreeMap<String, Vec<Sourced<Aperture>>>,
}

/// Parses a number: hexadecimal with `0x`, decimal without.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads a number that must fit a field of the hardware.
fn fitting<T: TryFrom<u64>>(text: &str) -> Option<T> {
    number(text).and_then(|number| T::try_from(number).ok())
}

/// The value after a word and `=`, up to a comma or a blank.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.split([' ', ',', '\t']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    rest.filter(|rest| !rest.is_empty())
}

/// Parses `0xc0000000-0xc01fffff`, with or without brackets.
fn range(text: &str) -> Option<AddrRange> {
    let text = text.trim().trim_start_matches('(');
    let text = text.split([')', ',', ' ']).next()?;
    let (first, last) = text.split_once('-')?;
    AddrRange::inclusive(number(first)?, number(last)?).ok()
}

/// Parses `Memory`, `Prefetchable Memory` or `I/O Port` into two flags: I/O, prefetchable.
fn kind(text: &str) -> Option<(bool, bool)> {
    match text {
        "Memory" | "memory" => Some((false, false)),
        "Prefetchable Memory" | "prefetch" | "prefetched" => Some((false, true)),
        "I/O Port" | "I/O port" | "I/O" => Some((true, false)),
        _ => None,
    }
}

/// Parses `pci0:25:0:1`, or `pci25:0:1` of older versions, each without `pci`.
fn address(text: &str) -> Option<Address> {
    let numbers: Option<Vec<u64>> = text.trim_end_matches(':').split(':').map(number).collect();
    function(&numbers?)
}

/// Returns the register at a configuration space offset of `10` to `24`, `30` or `38`, in hexadecimal.
fn register(text: &str) -> Option<ResourceKind> {
    match u8::from_str_radix(text, 16).ok()? {
        at @ 0x10..=0x24 if at % 4 == 0 => Some(ResourceKind::Bar((at - 0x10) / 4)),
        0x30 | 0x38 => Some(ResourceKind::Rom),
        _ => None,
    }
}

fn placed(
    kind: ResourceKind,
    range: AddrRange,
    (io, prefetchable): (bool, bool),
    at: &SourceLine,
) -> PciResource {
    PciResource { kind, range, io, prefetchable, wide: None, open_ended: false, at: at.clone() }
}

/// Moves a register's resource, and keeps what else is known of it.
fn place(function: &mut Function, new: PciResource) {
    function.unplaced.retain(|had| had.kind != new.kind);
    match function.resources.iter_mut().find(|had| had.kind == new.kind) {
        Some(had) => (had.range, had.at) = (new.range, new.at),
        None => function.resources.push(new),
    }
}

impl Reader {
    /// Reads a line about a function that an earlier line named.
    fn of_function(
        &mut self,
        words: &str,
        at: &SourceLine,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let Some(current) = self.current else { return Verdict::Pass };
        let function = facts.pci.function(PciSource::Log, current, at);
        if let Some(class) = words.strip_prefix("class=").and_then(|rest| rest.get(..8)) {
            let Ok(class) = u32::from_str_radix(&class.replace('-', ""), 16) else { return Verdict::Pass };
            function.class = Some(Class(class));
        } else if let Some(command) = value(words, "cmdreg").and_then(fitting) {
            function.command = Some(Command(command));
        } else if let (Some(first), Some(last)) = (value(words, "secbus"), value(words, "subbus")) {
            let (Some(first), Some(last)) = (fitting(first), fitting(last)) else {
                return Verdict::Odd("bus numbers", format!("{first} to {last}: 0 to 255 are expected"));
            };
            function.below = Some((first, last)).filter(|(first, _)| *first > current.bus);
        } else if let Some(rest) = words.strip_prefix("map[") {
            return match map(rest, function, at) {
                Some(()) => {
                    heard.count("BAR");
                    Verdict::Took
                }
                None => Verdict::Odd("BAR", "not what FreeBSD says of a register".to_owned()),
            };
        } else if let Some((_, rest)) = words.split_once("= ").filter(|_| words.starts_with("bar ")) {
            let register = words.split(['[', ']']).nth(1);
            let read = register.and_then(|register| map(&format!("{register}]: {rest}"), function, at));
            if read.is_none() {
                return Verdict::Odd("BAR", "not what pciconf says of a register".to_owned());
            }
            heard.count("BAR");
        } else if let Some((_, rest)) = words.split_once("= type ").filter(|_| words.starts_with("window[")) {
            let (Some(kind), Some(range)) = (
                rest.split(", ").next().and_then(kind),
                rest.split_once("addr ").and_then(|(_, r)| range(r)),
            ) else {
                return Verdict::Odd("bridge window", "not what pciconf says of a window".to_owned());
            };
            function.lists_windows = true;
            if !rest.ends_with("disabled") {
                function.resources.push(placed(ResourceKind::Window, range, kind, at));
                heard.count("bridge window");
            }
        } else if let Some((_, rest)) = words.split_once('=').filter(|_| words.starts_with("bus range")) {
            let buses = rest.trim().split_once('-');
            let Some((first, last)) = buses.and_then(|(a, b)| Some((fitting(a)?, fitting(b)?))) else {
                return Verdict::Odd("bus numbers", format!("{}: 0 to 255 are expected", rest.trim()));
            };
            function.below = Some((first, last)).filter(|(first, _)| *first > current.bus);
        } else {
            return Verdict::Pass;
        }
        Verdict::Took
    }

    /// Reads a message of a bridge.
    fn of_bridge(
        &mut self,
        name: &str,
        says: &str,
        at: &SourceLine,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        if says.starts_with('<')
            && let Some((_, rest)) = says.split_once("> ")
            && let Some((place, bus)) =
                rest.split_once("at device ").and_then(|(_, rest)| rest.split_once(" on "))
            && let Some(on) = self.buses.get(bus.trim())
            && let Some((device, function)) = place.split_once('.')
        {
            let text = format!("{}:{}:{device}:{function}", on.0, on.1);
            self.bridges.extend(address(&text).map(|address| (name.to_owned(), address)));
            return Verdict::Took;
        }
        if let Some(rest) = says.strip_prefix("decoding ") {
            // Resource types of `sys/bus.h`: 3 is memory, 4 ports, 5 bus numbers.
            let Some((what, text)) = rest.split_once(" range ") else { return Verdict::Pass };
            let (Some(range), true) = (range(text), ["3", "4"].contains(&what)) else { return Verdict::Pass };
            let aperture = Aperture { range, bus_start: range.start(), io: what == "4" };
            let said = Sourced { value: aperture, at: at.clone() };
            self.decoded.entry(name.to_owned()).or_default().push(said);
            heard.count("root bus resource");
            return Verdict::Took;
        }
        if let Some(rest) = says.strip_prefix("allocated ")
            && let Some((what, rest)) = rest.split_once(" range (")
            && let Some((text, owner)) = rest.split_once(") for rid ")
        {
            let Some(kind) = kind(what) else { return Verdict::Pass };
            let found = owner
                .split_once(" of pci")
                .and_then(|(rid, owner)| Some((register(rid)?, address(owner.trim())?, range(text)?)));
            let Some((register, address, range)) = found else {
                return Verdict::Odd("BAR", "not what FreeBSD says of an allocation".to_owned());
            };
            let new = placed(register, range, kind, at);
            place(facts.pci.function(PciSource::Log, address, at), new);
            return Verdict::Took;
        }
        let grown = says.strip_prefix("allocated initial ").or_else(|| says.strip_prefix("grew "));
        let window = match grown {
            Some(rest) => rest.split_once(" window ").and_then(|(what, rest)| {
                Some((kind(what)?, range(rest.strip_prefix("of ").or_else(|| rest.strip_prefix("to "))?)?))
            }),
            None => {
                says.split_once(" decode ").and_then(|(what, rest)| Some((kind(what.trim())?, range(rest)?)))
            }
        };
        let (Some((kind, range)), Some(bridge)) = (window, self.bridges.get(name)) else {
            return Verdict::Pass;
        };
        let function = facts.pci.function(PciSource::Log, *bridge, at);
        function.lists_windows = true;
        function
            .resources
            .retain(|had| had.kind != ResourceKind::Window || (had.io, had.prefetchable) != kind);
        function.resources.push(placed(ResourceKind::Window, range, kind, at));
        heard.count("bridge window");
        Verdict::Took
    }

    /// Reads `pci1: domain=0, physical bus=1`.
    fn of_bus(&mut self, name: &str, says: &str, facts: &mut Facts) -> Verdict {
        if let Some((_, above)) = says.split_once("PCI bus> on ") {
            self.above.insert(name.to_owned(), above.trim().to_owned());
            return Verdict::Took;
        }
        let Some(bus) = value(says, "domain").and_then(fitting).zip(value(says, "bus").and_then(fitting))
        else {
            return Verdict::Pass;
        };
        self.buses.insert(name.to_owned(), bus);
        if let Some(decoded) = self.above.get(name).and_then(|above| self.decoded.remove(above)) {
            facts.pci.roots.entry(bus).or_default().extend(decoded);
        }
        Verdict::Took
    }
}

/// Reads `10]: type Memory, range 64, base 0xf6000000, size 20, enabled`. The boot prints the size as a number of
/// address bits, `pciconf` in bytes.
fn map(text: &str, function: &mut Function, at: &SourceLine) -> Option<()> {
    let (at_register, rest) = text.split_once("]: type ")?;
    let register = register(at_register)?;
    let mut parts = rest.split(',').map(str::trim);
    let (io, prefetchable) = kind(parts.next()?)?;
    let mut after = |name: &str| number(parts.next()?.strip_prefix(name)?.trim());
    let (width, base, size) = (after("range")?, after("base")?, after("size")?);
    let size = if size < 64 { 1u64.checked_shl(size as u32)? } else { size };
    let wide = Some(width == 64);
    function.resources.retain(|had| had.kind != register);
    function.unplaced.retain(|had| had.kind != register);
    match AddrRange::sized(base, size) {
        Ok(range) if base != 0 && !(io && base > 0xffff) => {
            let new = placed(register, range, (io, prefetchable), at);
            function.resources.push(PciResource { wide, ..new });
        }
        // A register that is not set.
        _ => function.unplaced.push(Unplaced {
            kind: register,
            size: Some(size),
            io,
            prefetchable,
            wide,
            why: "it holds no address".to_owned(),
            again: false,
            at: at.clone(),
        }),
    }
    Some(())
}

/// Whether a name is a kind and a number: `pcib1`.
fn is_name(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let (words, at) = (line.words(), line.place());
        if let Some(rest) = words.strip_prefix("found->") {
            let half = |name| value(rest, name).and_then(number).and_then(|id| u16::try_from(id).ok());
            self.id = half("vendor").zip(half("dev"));
            self.current = None;
            return Verdict::Took;
        }
        if words.starts_with("domain=") && value(words, "slot").is_some() {
            let part = |name| value(words, name).unwrap_or("-");
            let text = [part("domain"), part("bus"), part("slot"), part("func")].join(":");
            let Some(address) = address(&text) else {
                return Verdict::Odd("PCI function", format!("no place of a function: {text}"));
            };
            self.current = Some(address);
            facts.pci.function(PciSource::Log, address, &at).id = self.id.take();
            heard.count("PCI function");
            return Verdict::Took;
        }
        // `em0@pci0:0:25:0:	class=0x020000 rev=0x03 hdr=0x00 vendor=0x8086 device=0x10f5 …`
        if let Some((driver, rest)) = words.split_once("@pci")
            && let Some(place) = rest.split_whitespace().next()
            && value(rest, "class").is_some()
        {
            let Some(address) = address(place) else {
                return Verdict::Odd("PCI function", format!("no place of a function: {place}"));
            };
            let function = facts.pci.function(PciSource::Log, address, &at);
            let half = |name| value(rest, name).and_then(fitting);
            let chip = value(rest, "chip").and_then(fitting::<u32>);
            // The device is in the upper half.
            let chip = chip.map(|chip| (chip as u16, (chip >> 16) as u16));
            function.id = half("vendor").zip(half("device")).or(chip);
            function.class = value(rest, "class").and_then(fitting).map(Class);
            let is_bound = !driver.starts_with("none") && !driver.contains(' ');
            function.driver =
                is_bound.then(|| driver.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned());
            self.current = Some(address);
            heard.count("PCI function");
            return Verdict::Took;
        }
        if let Some((name, says)) = words.split_once(':') {
            if is_name(name, "pcib") {
                return self.of_bridge(name, says.trim(), &at, facts, heard);
            }
            if is_name(name, "pci") {
                return self.of_bus(name, says.trim(), facts);
            }
        }
        self.of_function(words, &at, facts, heard)
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    fn at(facts: &Facts, name: &str) -> Function {
        facts.pci.functions[&(PciSource::Log, name.parse().unwrap())].clone()
    }

    fn window(function: &Function, io: bool, prefetchable: bool) -> Option<AddrRange> {
        let own =
            |r: &&PciResource| r.kind == ResourceKind::Window && (r.io, r.prefetchable) == (io, prefetchable);
        function.resources.iter().find(own).map(|r| r.range)
    }

    #[test]
    fn a_verbose_boot_says_where_all_is_in_the_end() {
        let facts = read(
            "pcib0: <ACPI Host-PCI bridge> port 0xcf8-0xcff on acpi0\n\
             pcib0: decoding 4 range 0-0xcf7\n\
             pcib0: decoding 3 range 0xc0000000-0xfebfffff\n\
             pcib0: decoding 5 range 0-0xff\n\
             pci0: <ACPI PCI bus> on pcib0\n\
             pci0: domain=0, physical bus=0\n\
             found->\tvendor=0x11ab, dev=0x0110, revid=0x00\n\
             \tdomain=0, bus=0, slot=1, func=0\n\
             \tclass=06-04-00, hdrtype=0x01, mfdev=0\n\
             \tcmdreg=0x0107, statreg=0x0010, cachelnsz=8 (dwords)\n\
             \tmap[10]: type Memory, range 64, base 0, size 20, enabled\n\
             \tsecbus=1, subbus=2\n\
             pcib1: <PCI-PCI bridge> irq 16 at device 1.0 on pci0\n\
             pcib1:   memory decode     0xf6000000-0xf63fffff\n\
             pcib1:   prefetched decode 0xd0000000-0xdfffffff\n\
             pci1: <PCI bus> on pcib1\n\
             pcib1: allocated bus range (1-1) for rid 0 of pci1\n\
             pci1: domain=0, physical bus=1\n\
             found->\tvendor=0x8086, dev=0x1521, revid=0x01\n\
             \tdomain=0, bus=1, slot=0, func=0\n\
             \tmap[10]: type Memory, range 32, base 0xf6000000, size 20, enabled\n\
             pcib1: allocated initial memory window of 0xc0000000-0xc00fffff\n\
             pcib1: allocated memory range (0xc0000000-0xc00fffff) for rid 10 of pci0:1:0:0\n\
             \tmap[18]: type I/O Port, range 32, base 0xffffffe0, size  5, enabled\n\
             \tmap[1c]: type Prefetchable Memory, range 64, base 0xd0000000, size 14, enabled\n\
             pcib1: grew memory window to 0xc0000000-0xc01fffff\n",
        );
        let decoded: Vec<bool> = facts.pci.roots[&(0, 0)].iter().map(|said| said.value.io).collect();
        assert_eq!(decoded, [true, false]);
        let bridge = at(&facts, "0000:00:01.0");
        assert_eq!((bridge.below, bridge.class), (Some((1, 2)), Some(Class(0x06_0400))));
        assert_eq!((bridge.command, bridge.unplaced[0].size), (Some(Command(0x107)), Some(1 << 20)));
        let inclusive = |first, last| AddrRange::inclusive(first, last).ok();
        assert_eq!(window(&bridge, false, false), inclusive(0xc000_0000, 0xc01f_ffff));
        assert_eq!(window(&bridge, false, true), inclusive(0xd000_0000, 0xdfff_ffff));
        let card = at(&facts, "0000:01:00.0");
        assert_eq!(card.id, Some((0x8086, 0x1521)));
        let bars: Vec<_> = card.resources.iter().map(|r| (r.kind, r.range.start(), r.range.len())).collect();
        let expected =
            [(ResourceKind::Bar(0), 0xc000_0000, 1 << 20), (ResourceKind::Bar(3), 0xd000_0000, 1 << 14)];
        assert_eq!(bars, expected);
        let unplaced = &card.unplaced[0];
        assert_eq!((unplaced.kind, unplaced.size, unplaced.io), (ResourceKind::Bar(2), Some(32), true));
    }

    #[test]
    fn pciconf_lists_registers_and_windows() {
        let facts = read(
            "hostb0@pci0:0:0:0:\tclass=0x060000 rev=0x09 hdr=0x00 vendor=0x8086 device=0x0150 subvendor=0x1043\n\
             pcib1@pci0:0:1:0:\tclass=0x060400 card=0x84ca1043 chip=0x01518086 rev=0x09 hdr=0x01\n    \
                 bus range  = 1-1\n    \
                 window[1c] = type I/O Port, range 16, addr 0xe000-0xefff, enabled\n    \
                 window[20] = type Memory, range 32, addr 0xf7e00000-0xf7efffff, enabled\n    \
                 window[24] = type Prefetchable Memory, range 64, addr 0xfff00000-0xfffff, disabled\n\
             none1@pci0:1:0:0:\tclass=0x030000 rev=0xa1 hdr=0x00 vendor=0x10de device=0x0fc6\n    \
                 bar   [10] = type Memory, range 32, base 0xf7e00000, size 1048576, enabled\n",
        );
        let bridge = at(&facts, "0000:00:01.0");
        assert_eq!((bridge.id, bridge.below), (Some((0x8086, 0x0151)), Some((1, 1))));
        assert_eq!((bridge.driver.as_deref(), bridge.lists_windows), (Some("pcib"), true));
        assert_eq!(window(&bridge, true, false), AddrRange::inclusive(0xe000, 0xefff).ok());
        assert_eq!(window(&bridge, false, true), None);
        let card = at(&facts, "0000:01:00.0");
        assert_eq!((card.driver.as_deref(), card.resources[0].range.len()), (None, 1 << 20));
    }

    #[test]
    fn what_is_cut_is_named() {
        let facts = |text: &str| read(text).heard.iter().map(|heard| heard.odd.len()).sum::<usize>();
        let begin = "found->\tvendor=0x8086, dev=0x1521\n\tdomain=0, bus=1, slot=0, func=0\n";
        assert_eq!(facts(begin), 0);
        for odd in
            ["\tmap[10]: type Memory, range 32, ba", "\tmap[99]: type Memory, range 32, base 0x1000, size 12"]
        {
            assert_eq!(facts(&format!("{begin}{odd}\n")), 1, "{odd}");
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_cut_to_size() {
        let begin = "found->\tvendor=0x8086, dev=0x1521\n\tdomain=0, bus=1, slot=0, func=0\n";
        let facts = read(&format!("{begin}\tsecbus=258, subbus=259\n\tcmdreg=0x10107, statreg=0\n"));
        let bridge = at(&facts, "0000:01:00.0");
        assert_eq!((bridge.below, bridge.command), (None, None));
        assert_eq!(facts.heard.iter().map(|heard| heard.odd.len()).sum::<usize>(), 1, "the bus numbers");
    }
}
