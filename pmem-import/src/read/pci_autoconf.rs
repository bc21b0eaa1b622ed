//! PCI in boot messages of OpenBSD and NetBSD (autoconf(9)): functions, and which bus is behind which bridge. They
//! contain no addresses.

use super::reader::{LineReader, Verdict};
use crate::facts::{BusId, Facts, PciSource, SourceSummary};
use crate::number::hex;
use crate::text::Line;
use pmem_pci::{Address, Class};
use std::collections::BTreeMap;

/// Reads these messages.
#[derive(Default)]
pub(super) struct Reader {
    /// Buses by name (`pci1`).
    buses: BTreeMap<String, BusId>,
    /// Bridges by name (`ppb0`, `cardslot0`).
    bridges: BTreeMap<String, Address>,
}

/// Returns a name without its number: `ppb` of `ppb0`.
fn kind(name: &str) -> Option<&str> {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (kind.len() < name.len() && kind.chars().all(|c| c.is_ascii_lowercase())).then_some(kind)
}

/// Parses `bus 2`, `bus 22 device 0 cacheline 0x10` or `bus 0: configuration mode 1`.
fn bus(text: &str) -> Option<u8> {
    text.strip_prefix("bus ")?.split([' ', ':', ',']).next()?.parse().ok()
}

impl Reader {
    /// Reads `pci1 at ppb0 bus 2` or `cardbus0 at cardslot0: bus 22 device 0`: a bus, and the bridge
    /// above it, if any.
    fn of_bus(&mut self, name: &str, above: &str, number: u8, line: &Line<'_>, facts: &mut Facts) -> Verdict {
        self.buses.insert(name.to_owned(), (0, number));
        let mut next = self.bridges.get(above).copied();
        while let Some(bridge) = next {
            let function = facts.pci.function(PciSource::Listing, bridge, &line.place());
            let (first, last) = function.below.unwrap_or((number, number));
            function.below = Some((first, last.max(number))).filter(|(first, _)| *first > bridge.bus);
            // A bus behind a bridge is also behind all bridges above that one.
            let leads = |address: &&Address| {
                let above = facts.pci.functions.get(&(PciSource::Listing, **address));
                above.is_some_and(|f| f.below.is_some_and(|(first, _)| first == bridge.bus))
            };
            next = self.bridges.values().find(leads).copied();
        }
        Verdict::Took
    }

    /// Reads `em0 at pci0 dev 25 function 0 "Intel ICH9 IGP M AMT" rev 0x03: msi`,
    /// `ppb0 at pci0 dev 1 function 0: vendor 8086 product 0151` or
    /// `"Intel Turbo Memory" rev 0x11 at pci3 dev 0 function 0 not configured`.
    fn of_function(
        &mut self,
        before: &str,
        rest: &str,
        on: BusId,
        line: &Line<'_>,
        facts: &mut Facts,
    ) -> Option<()> {
        let mut words = rest.split([' ', ':', ',']);
        let device = words.next()?.parse().ok().filter(|device| *device < 32)?;
        let function = words.next().filter(|word| *word == "function").and(words.next());
        let function = function?.parse().ok().filter(|function| *function < 8)?;
        let address = Address { segment: on.0, bus: on.1, device, function };
        let found = facts.pci.function(PciSource::Listing, address, &line.place());
        found.title = line.words().split('"').nth(1).map(str::to_owned);
        let after = |name: &str| {
            let word = rest.split_once(name)?.1.split([' ', ',']).next()?;
            u16::try_from(hex(word.trim_start_matches("0x"))?).ok()
        };
        found.id = after("vendor ").zip(after("product ")).or(found.id);
        if let Some(kind) = kind(before) {
            found.driver = Some(kind.to_owned());
            found.class = match kind {
                "ppb" => Some(Class(0x06_0400)),
                "cbb" => Some(Class(0x06_0700)),
                _ => found.class,
            };
            self.bridges.insert(before.to_owned(), address);
        }
        Some(())
    }
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        let Some((before, rest)) = words.rsplit_once(" at ").filter(|_| !words.contains(" at device "))
        else {
            return Verdict::Pass;
        };
        let (above, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let above = above.trim_end_matches(':');
        match kind(before) {
            Some("pci" | "cardbus") if kind(above).is_some() => {
                let Some(number) = bus(rest) else { return Verdict::Pass };
                return self.of_bus(before, above, number, line, facts);
            }
            // A slot stands for its CardBus bridge.
            Some("cardslot") => {
                self.bridges
                    .extend(self.bridges.get(above).copied().map(|bridge| (before.to_owned(), bridge)));
                return Verdict::Pass;
            }
            _ => {}
        }
        let (Some(on), Some(rest)) = (self.buses.get(above).copied(), rest.strip_prefix("dev ")) else {
            return Verdict::Pass;
        };
        match self.of_function(before, rest, on, line, facts) {
            Some(()) => {
                heard.count("PCI function");
                Verdict::Took
            }
            None => Verdict::Odd("PCI function", "no device and function number".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;
    use crate::facts::Function;

    fn at(facts: &Facts, name: &str) -> Function {
        facts.pci.functions[&(PciSource::Listing, name.parse().unwrap())].clone()
    }

    #[test]
    fn buses_hang_on_their_bridges() {
        let facts = read(
            "pci0 at mainbus0 bus 0\n\
             ppb3 at pci0 dev 30 function 0 \"Intel 82801BAM Hub-to-PCI\" rev 0x93\n\
             pci4 at ppb3 bus 21\n\
             cbb0 at pci4 dev 0 function 0 \"Ricoh 5C476 CardBus\" rev 0xba: apic 1 int 16\n\
             cardslot0 at cbb0 slot 0 flags 0\n\
             cardbus0 at cardslot0: bus 22 device 0 cacheline 0x10, lattimer 0xb0\n\
             \"Intel Turbo Memory\" rev 0x11 at pci4 dev 3 function 0 not configured\n\
             sd0 at scsibus1 targ 0 lun 0: <ATA> naa.5000039395708d32\n",
        );
        let bridge = at(&facts, "0000:00:1e.0");
        assert_eq!((bridge.below, bridge.class), (Some((21, 22)), Some(Class(0x06_0400))));
        assert_eq!(bridge.title.as_deref(), Some("Intel 82801BAM Hub-to-PCI"));
        let card_bus = at(&facts, "0000:15:00.0");
        assert_eq!((card_bus.below, card_bus.driver.as_deref()), (Some((22, 22)), Some("cbb")));
        assert_eq!(at(&facts, "0000:15:03.0").driver, None);
        assert_eq!(facts.pci.functions.len(), 3);
    }

    #[test]
    fn netbsd_says_numbers() {
        let facts = read(
            "[     1.000000] pci0 at mainbus0 bus 0: configuration mode 1\n\
             [     1.000000] ppb0 at pci0 dev 1 function 0: vendor 8086 product 0151 (rev. 0x09)\n\
             [     1.000000] pci1 at ppb0 bus 1\n\
             [     1.000000] wm0 at pci1 dev 0 function 1, 64-bit DMA: I350 (rev. 0x01)\n\
             [     1.000000] wm1 at pci1 dev 0 funct",
        );
        assert_eq!(
            (at(&facts, "0000:00:01.0").id, at(&facts, "0000:00:01.0").below),
            (Some((0x8086, 0x151)), Some((1, 1)))
        );
        assert_eq!(at(&facts, "0000:01:00.1").driver.as_deref(), Some("wm"));
        assert_eq!(facts.heard.iter().map(|heard| heard.odd.len()).sum::<usize>(), 1);
    }
}
