//! IOMMUs in the log of a kernel or hypervisor, and in lists of reserved ranges.

use super::iommu_groups::{member, of_group, reserved};
use super::reader::{LineReader, Verdict};
use crate::facts::{
    Facts, IommuUnit, RequesterAlias, ReservedKind, ReservedRange, SourceSummary, Sourced, SpecialDevice,
    StreamMap,
};
use crate::number::hex;
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_iommu::RequesterId;
use pmem_iommu::vtd::Capability;
use pmem_pci::Address;

/// Reads their lines.
#[derive(Default)]
pub(super) struct Reader {
    /// Devices that a hypervisor lists before their reserved range.
    endpoints: Vec<Address>,
    /// First requester and alias of a range whose last requester comes on the next line.
    alias: Option<(RequesterId, RequesterId)>,
    /// The group in the heading above the ranges (`head`, `tail`).
    heading: Option<u32>,
}

/// The hexadecimal number after a word.
fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    hex(rest.split([' ', ',', ']', ')']).next()?)
}

/// The requester after a word, as in `00:14.4`.
fn requester(words: &str, word: &str) -> Option<RequesterId> {
    let address: Address = words.split_once(word)?.1.split_whitespace().next()?.parse().ok()?;
    Some(RequesterId(address.routing_id()))
}

impl Reader {
    fn reserve(
        &mut self,
        range: Option<AddrRange>,
        kind: ReservedKind,
        group: Option<u32>,
        line: &Line<'_>,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let Some(range) = range else {
            return Verdict::Odd("reserved device range", "no first and last address".to_owned());
        };
        let functions = std::mem::take(&mut self.endpoints);
        let groups = group.into_iter().collect();
        let found = ReservedRange { range, kind, scopes: Vec::new(), functions, groups };
        facts.iommu.reserve(Sourced::new(found, line.place()));
        heard.count("reserved device range");
        Verdict::Took
    }

    /// Reads `AMD-Vi:   DEV_ALIAS_RANGE  devid: 08:00.0 flags: 00 devid_to: 00:14.4` or
    /// `AMD-Vi:   DEV_SPECIAL(IOAPIC[33])  devid: 00:14.0`.
    fn of_amd(
        &mut self,
        words: &str,
        line: &Line<'_>,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        if let Some((first, source)) = self.alias.take()
            && words.contains("DEV_RANGE_END")
            && let Some(last) = requester(words, "devid:")
        {
            facts.iommu.aliases.push(Sourced::new(RequesterAlias { first, last, source }, line.place()));
            heard.count("IOMMU requester");
            return Verdict::Took;
        }
        if words.contains("DEV_ALIAS_RANGE") {
            self.alias = requester(words, "devid:").zip(requester(words, "devid_to:"));
            return Verdict::Took;
        }
        let Some((kind, rest)) = words.split_once("DEV_SPECIAL(").and_then(|(_, rest)| rest.split_once('['))
        else {
            return Verdict::Pass;
        };
        let handle = rest.split(']').next().and_then(|handle| handle.parse().ok());
        let Some((handle, source)) = handle.zip(requester(words, "devid:")) else {
            return Verdict::Odd("special device", "no handle and requester".to_owned());
        };
        let found = SpecialDevice { is_io_apic: kind == "IOAPIC", handle, source };
        facts.iommu.special.push(Sourced::new(found, line.place()));
        heard.count("IOMMU requester");
        Verdict::Took
    }
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("DMAR: RMRR base:") {
            let ends = after(words, "base:").zip(after(words, "end:"));
            let range = ends.and_then(|(first, last)| AddrRange::inclusive(first, last).ok());
            return self.reserve(range, ReservedKind::Direct, None, line, facts, heard);
        }
        if words.contains("RMRR region: base_addr") {
            let ends = after(words, "base_addr")
                .zip(after(words, "end_addr").or_else(|| after(words, "end_address")));
            let range = ends.and_then(|(first, last)| AddrRange::inclusive(first, last).ok());
            return self.reserve(range, ReservedKind::Direct, None, line, facts, heard);
        }
        if let Some(rest) =
            words.strip_prefix("[VT-D]").and_then(|rest| rest.trim().strip_prefix("endpoint: "))
        {
            self.endpoints.extend(rest.trim().parse::<Address>().ok());
            return Verdict::Took;
        }
        if words.contains("found ACPI_DMAR_") {
            self.endpoints.clear();
            return Verdict::Took;
        }
        if let Some(width) =
            words.strip_prefix("DMAR: Host address width ").and_then(|rest| rest.trim().parse().ok())
        {
            facts.iommu.width = Some(Sourced::new(width, line.place()));
            return Verdict::Took;
        }
        if words.starts_with("DMAR: DRHD base:") {
            let Some((base, flags)) = after(words, "base:").zip(after(words, "flags:")) else {
                return Verdict::Odd("IOMMU unit", "no base and flags".to_owned());
            };
            let unit = IommuUnit {
                base,
                has_the_rest: Some(flags & 1 != 0),
                capability: None,
                scopes: Vec::new(),
                requesters: Vec::new(),
            };
            facts.iommu.units.push(Sourced::new(unit, line.place()));
            heard.count("IOMMU unit");
            return Verdict::Took;
        }
        if words.starts_with("DMAR: dmar") && words.contains("reg_base_addr ") {
            // The kernel prints a unit's capability after the unit itself.
            let (base, capability) = (after(words, "reg_base_addr "), after(words, " cap "));
            if after(words, " ecap ").is_none() {
                return Verdict::Odd("IOMMU unit", "the line is cut".to_owned());
            }
            if let Some(unit) = facts.iommu.units.iter_mut().rev().find(|unit| Some(unit.value.base) == base)
            {
                unit.value.capability = capability.map(Capability);
            }
            return Verdict::Took;
        }
        if let Some((who, group)) = words.split_once(": Adding to iommu group ") {
            let address = who.rsplit(' ').next().and_then(|who| who.parse::<Address>().ok());
            let group = group.split_whitespace().next().and_then(|group| group.parse().ok());
            facts.iommu.groups.extend(address.zip(group));
            heard.count("IOMMU group member");
            return Verdict::Took;
        }
        // `OF: /soc/pcie@4c300000: iommu-map, using mask 000001ff, id-base: 00000100, out-base: 00000011, length: …`.
        if words.contains(": iommu-map, using mask ") {
            let part = |word: &str| u32::try_from(after(words, word)?).ok();
            let map = part("mask ").zip(part("id-base: ")).zip(part("out-base: ").zip(part("length: ")));
            let Some(((mask, first), (stream, count))) = map else {
                return Verdict::Odd("stream map", "no mask, bases and length".to_owned());
            };
            heard.count("stream map");
            facts.iommu.streams.push(Sourced::new(StreamMap { mask, first, count, stream }, line.place()));
            return Verdict::Took;
        }
        if (words.starts_with("AMD-Vi:") && words.contains("DEV_")) || words.starts_with("DEV_") {
            return self.of_amd(words, line, facts, heard);
        }
        if let Some(path) = words.strip_prefix("==> ").and_then(|rest| rest.strip_suffix(" <==")) {
            let number =
                path.split_once("iommu_groups/").and_then(|(_, rest)| rest.strip_suffix("/reserved_regions"));
            self.heading = number.and_then(|number| number.parse().ok());
            return Verdict::Pass;
        }
        let (group, plain) = of_group(words);
        if let Some((range, kind)) = reserved(plain.strip_prefix("reserved_regions ").unwrap_or(plain)) {
            return self.reserve(Some(range), kind, group.or(self.heading), line, facts, heard);
        }
        if let Some((group, Some(function))) = member(words) {
            facts.iommu.groups.insert(function, group);
            heard.count("IOMMU group member");
            return Verdict::Took;
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    #[test]
    fn what_logs_say_of_units_is_read() {
        let iommu = read(
            "[    4.4] DMAR: Host address width 39\n\
             [    4.4] DMAR: DRHD base: 0x000000fed90000 flags: 0x0\n\
             [    4.4] DMAR: dmar0: reg_base_addr fed90000 ver 4:0 cap 1c0000c40660462 ecap 69e2ff0505e\n\
             [    4.4] DMAR: RMRR base: 0x000000bdf83000 end: 0x000000bdf84fff\n\
             [    4.4] DMAR: DRHD base: 0x000000fed91000 flags: 0x1\n\
             [    4.4] DMAR: dmar1: reg_base_addr fed91000 ver 1:0 cap\n\
             d2008c40660462 ecap f050da\n\
             [   23.4] pci 0000:01:00.0: Adding to iommu group 25\n\
             (XEN) [VT-D]found ACPI_DMAR_RMRR:\n\
             (XEN) [VT-D] endpoint: 0000:04:00.1\n\
             (XEN) [VT-D]dmar.c:608:   RMRR region: base_addr bdf8f000 end_addr bdf92fff\n\
             AMD-Vi:   DEV_ALIAS_RANGE                 devid: 08:00.0 flags: 00 devid_to: 00:14.4\n\
             AMD-Vi:   DEV_RANGE_END           devid: 08:1f.7\n\
             AMD-Vi:   DEV_SPECIAL(IOAPIC[33])                devid: 00:14.0\n\
             0x000000fd00000000 0x000000ffffffffff reserved\n\
             DMAR: RMRR base: 0x12\n",
        );
        let facts = &iommu.iommu;
        assert_eq!(facts.width.as_ref().map(|said| said.value), Some(39));
        assert_eq!(facts.units[0].value.capability.map(Capability::width), Some(39));
        assert_eq!(
            facts.units[1].value.capability,
            Some(Capability(0xd2_008c_4066_0462)),
            "a line that is wrapped"
        );
        let reserved: Vec<_> = facts
            .reserved
            .iter()
            .map(|said| (said.value.range.start(), said.value.kind, said.value.functions.len()))
            .collect();
        let direct = ReservedKind::Direct;
        assert_eq!(
            reserved,
            [(0xbdf8_3000, direct, 0), (0xbdf8_f000, direct, 1), (0xfd_0000_0000, ReservedKind::Other, 0)]
        );
        assert_eq!(facts.groups.values().copied().collect::<Vec<_>>(), [25]);
        assert_eq!(facts.aliases[0].value.last, RequesterId::new(8, 31, 7));
        assert_eq!((facts.special[0].value.handle, facts.special[0].value.is_io_apic), (33, true));
        assert_eq!(iommu.heard.iter().map(|heard| heard.odd.len()).sum::<usize>(), 1);
    }
}
