//! Explains what a text says was refused: VFIO mappings, IOMMU groups, and faulty firmware tables.

use super::show::kind;
use crate::units;
use crate::units::size;
use pmem_core::AddrRange;
use pmem_import::refused::{Refusal, Refused};
use pmem_import::{Address, Iommu};
use pmem_iommu::RequesterId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a text says was refused, each refusal explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IommuRefused {
    /// The explanations, in order of line.
    pub refusals: Vec<RefusalNote>,
}

/// One refusal, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusalNote {
    /// The line in the text, counted from 1. If several lines together make the case, the first of them.
    pub line: u32,
    /// What was refused.
    pub what: String,
    /// The cause, what helps, and what the text leaves open.
    pub says: Vec<String>,
}

/// The requester id of the southbridge's I/O APIC, on all AMD boards.
const SOUTHBRIDGE: RequesterId = RequesterId::new(0, 0x14, 0);
/// The requester id of the northbridge's I/O APIC, on boards with two.
const NORTHBRIDGE: RequesterId = RequesterId::new(0, 0, 1);

impl IommuRefused {
    /// Explains the refusals in a text with what is known about its machine.
    #[must_use]
    pub fn of(iommu: &Iommu, all: &[Refused]) -> Self {
        let known = Known { iommu, all };
        let mut refusals: Vec<RefusalNote> = all.iter().filter_map(|refused| known.one(refused)).collect();
        refusals.extend(known.io_apics());
        refusals.extend(known.groups());
        refusals.sort_by_key(|note| note.line);
        Self { refusals }
    }
}

struct Known<'k> {
    iommu: &'k Iommu,
    all: &'k [Refused],
}

fn note(line: u32, what: String, says: Vec<String>) -> RefusalNote {
    RefusalNote { line, what, says }
}

/// The number of bits that an address needs.
const fn bits(at: u64) -> u32 {
    u64::BITS - at.leading_zeros()
}

impl Known<'_> {
    fn one(&self, refused: &Refused) -> Option<RefusalNote> {
        let line = refused.line;
        match &refused.what {
            Refusal::Map { at, size: bytes, errno, region } => {
                let name = region.as_deref().map_or(String::new(), |name| format!(" ({name})"));
                let range = AddrRange::sized(*at, *bytes).ok()?;
                let what = format!(
                    "{}{name}, {}, refused with {errno}",
                    units::range(*at, range.last()),
                    size(*bytes)
                );
                Some(note(line, what, self.mapping(range, *errno)))
            }
            Refusal::Wanted { name, start, size: bytes } => {
                let range = AddrRange::sized(*start, *bytes).ok()?;
                let says = self.reserved(range);
                let what = format!("{name}, {}, {}", units::range(*start, range.last()), size(*bytes));
                let none = self.iommu.reserved.is_empty();
                (!none).then(|| {
                    let says = if says.is_empty() {
                        vec!["no range that is reserved is in it: it can be mapped".to_owned()]
                    } else {
                        says
                    };
                    note(line, what, says)
                })
            }
            Refusal::Width { width, address } => {
                let what = format!("{address:#x} needs {} bits, and the unit takes {width}", bits(*address));
                Some(note(line, what, vec![beyond(*width)]))
            }
            Refusal::Slot { start, size: bytes } => {
                let last = AddrRange::sized(*start, *bytes).ok()?.last();
                let what = format!("{}: KVM refuses it as well", units::range(*start, last));
                let says = format!(
                    "it needs {} bits, which the processor itself has not: that is another limit than the unit's, and the guest's firmware was told of more bits than the host has",
                    bits(last)
                );
                Some(note(line, what, vec![says]))
            }
            Refusal::Ineligible { device } => {
                Some(note(line, format!("{device} may not be given away"), self.ineligible(*device)))
            }
            Refusal::Unreserved { first, last } => {
                let bytes = last.checked_sub(*first)?.checked_add(1)?;
                let amount = if bytes.is_multiple_of(1 << 20) {
                    format!("{}M", bytes >> 20)
                } else {
                    format!("{}K", bytes >> 10)
                };
                let what = format!(
                    "{} ({}, {} pages) is shared with devices (RMRR), and the memory map does not call it reserved",
                    units::range(*first, *last),
                    size(bytes),
                    bytes >> 12
                );
                let says = vec![
                    format!("until firmware is mended: memmap={amount}${first:#x} on the kernel's command line"),
                    "Linux 5.5 gave up remapping because of it; from 5.6 on it says so, and maps the range all the same".to_owned(),
                ];
                Some(note(line, what, says))
            }
            Refusal::UnitAtZero => {
                let others: Vec<String> = self
                    .iommu
                    .units
                    .iter()
                    .filter(|unit| unit.value.base != 0)
                    .map(|unit| format!("{:#x}", unit.value.base))
                    .collect();
                let live = if others.is_empty() {
                    "of others the text says nothing".to_owned()
                } else {
                    format!("the others are used: {}", others.join(", "))
                };
                let says = vec![
                    format!("that entry is ignored; {live}"),
                    "there are no registers at 0, and no memory is meant".to_owned(),
                ];
                Some(note(
                    line,
                    "the table (DMAR) has a unit at address 0: firmware's fault".to_owned(),
                    says,
                ))
            }
            Refusal::IoApicBeyond(id) => {
                let says =
                    "Xen's own limit: ids from 128 on were beyond its bounds; the table is not wrong in that"
                        .to_owned();
                Some(note(
                    line,
                    format!("interrupt controller {id:#x} ({id}) is beyond Xen's bounds"),
                    vec![says],
                ))
            }
            _ => None,
        }
    }

    /// Returns the address width of the narrowest unit in bits, and where that is known from.
    fn width(&self) -> Option<(u32, String)> {
        let units = self.iommu.units.iter().filter_map(|unit| unit.value.capability);
        if let Some(width) = units.map(|capability| capability.width()).min() {
            return Some((width, "as its capabilities say".to_owned()));
        }
        self.all.iter().find_map(|refused| match refused.what {
            Refusal::Width { width, .. } => Some((width, format!("as line {} says", refused.line))),
            _ => None,
        })
    }

    /// Explains why VFIO could not map a range. Only -22 (`EINVAL`) is about the device addresses.
    fn mapping(&self, range: AddrRange, errno: i32) -> Vec<String> {
        match errno {
            -12 => {
                return vec![
                    "the limit of locked memory (ulimit -l), and nothing of the addresses".to_owned(),
                ];
            }
            -14 => {
                return vec![
                    "memory of the program that cannot be pinned, and nothing of the device addresses"
                        .to_owned(),
                ];
            }
            -28 => {
                return vec![
                    "too many mappings (65,535 by default), and nothing of the addresses".to_owned(),
                ];
            }
            _ => {}
        }
        let mut says = self.reserved(range);
        let needed = bits(range.last());
        match self.width() {
            Some((width, how)) if needed > width => {
                says.push(format!("it needs {needed} bits, and the unit takes {width}, {how}"));
                says.push(beyond(width));
            }
            Some(_) => {}
            None if needed > 39 && says.is_empty() => says.push(format!(
                "it needs {needed} bits; how many the unit takes the text does not say: fewer, if this is why"
            )),
            None => {}
        }
        if says.is_empty() {
            says.push("which range is reserved, and how wide the unit is, the text does not say: reserved_regions of the group and the log do".to_owned());
        } else if needed > 39 && self.reserved(range).is_empty() {
            says.push("so high a guest's firmware puts large registers, by the bits that its processor is said to have; no memory is meant".to_owned());
        }
        if self
            .all
            .iter()
            .any(|one| matches!(one.what, Refusal::Slot { start, .. } if start == range.start()))
        {
            says.push("the processor refuses it too".to_owned());
        }
        says.push("-22 is the kernel's check of device addresses, from 5.4 on; before, it mapped, and went wrong later".to_owned());
        says
    }

    /// Tells which reserved ranges lie in a range, and how much fits below and above each.
    fn reserved(&self, range: AddrRange) -> Vec<String> {
        let mut says = Vec::new();
        for said in self.iommu.reserved.iter().map(|said| &said.value) {
            let Some(_) = said.range.intersect(range) else { continue };
            let (first, last) = (said.range.start(), said.range.last());
            let how = if range.covers(said.range) { "all of it is in it" } else { "part of it is in it" };
            says.push(format!("{} is reserved ({}), and {how}", units::range(first, last), kind(said.kind)));
            let below = first.saturating_sub(range.start());
            if below > 0 {
                says.push(format!(
                    "below it fit {below:#x} bytes ({}) from {:#x} on",
                    size(below),
                    range.start()
                ));
            }
            if let Some(next) = last.checked_add(1).filter(|_| below > 0 && last < range.last()) {
                says.push(format!("in parts it fits: up to {first:#x}, and from {next:#x} on"));
            }
            if let Some(next) = last.checked_add(1) {
                says.push(format!("above it the next start is {next:#x} ({})", size(next)));
                if let Some(end) = next.checked_add(range.len() - 1) {
                    says.push(format!("all of it from there on needs {} bits", bits(end)));
                }
            }
        }
        says
    }

    fn ineligible(&self, device: Address) -> Vec<String> {
        let mut says = vec!["firmware shares memory with it (RMRR), and it is neither USB nor graphics: it may not leave that mapping, so that no driver of a guest can have it".to_owned()];
        let no_group = self.all.iter().find_map(|one| match one.what {
            Refusal::NoGroup { device: own, group } if own == device => Some(group),
            _ => None,
        });
        if let Some(group) = no_group {
            says.push(format!("it is not in group {group} then"));
        }
        says.push("which range is shared the line does not say: the table (DMAR) does".to_owned());
        says.push("what helps: firmware's setting that ends the sharing (HP calls it shared memory features), or another slot; access-control overrides and unsafe interrupts do not".to_owned());
        says
    }

    /// Explains I/O APICs that the table (IVRS) lacks, and works out the `ivrs_ioapic` settings that correct it.
    fn io_apics(&self) -> Option<RefusalNote> {
        let missing: Vec<(u32, u32)> = self.collect(|what| match what {
            Refusal::IoApicMissing(id) => Some(*id),
            _ => None,
        });
        let (line, _) = *missing.first()?;
        let missing: BTreeSet<u32> = missing.into_iter().map(|(_, id)| id).collect();
        let there = self.collect(|what| match what {
            Refusal::IoApic(id) => Some(*id),
            _ => None,
        });
        let ids: Vec<String> = missing.iter().map(u32::to_string).collect();
        let what = format!(
            "the table (IVRS) lacks interrupt controllers {}: interrupts are not remapped",
            ids.join(", ")
        );
        let mut says = Vec::new();
        if there.len() > 2 || missing.len() > 2 {
            says.push(format!(
                "there are {} of them: one in the southbridge (00:14.0), and one in each die, whose requests come as BUS:00.1 of that die's first bus; which bus goes with which id the text does not say, and another board's are not this one's",
                there.len().max(missing.len())
            ));
            return Some(note(line, what, says));
        }
        let mut entries: Vec<(u32, RequesterId)> = self
            .iommu
            .special
            .iter()
            .filter(|special| special.value.is_io_apic)
            .map(|special| (u32::from(special.value.handle), special.value.source))
            .collect();
        entries.sort_by_key(|(handle, source)| (*source != SOUTHBRIDGE, *handle));
        let there: BTreeSet<u32> = there.into_iter().map(|(_, id)| id).collect();
        let mut proposed: Vec<(u32, RequesterId)> = Vec::new();
        if let Some(shift) = shift(&missing, &entries, &there) {
            let right = |(handle, source): &(u32, RequesterId)| {
                let id = i64::from(*handle) - shift;
                u32::try_from(id).ok().map(|id| (id, *source))
            };
            proposed.extend(entries.iter().filter_map(right));
            let first: Vec<String> =
                proposed.iter().filter(|(id, _)| missing.contains(id)).map(setting).collect();
            if first.len() < proposed.len() {
                says.push(format!(
                    "every handle of the table is {} by {}: {} suffices to boot",
                    if shift > 0 { "too high" } else { "too low" },
                    shift.unsigned_abs(),
                    first.join(" ")
                ));
            }
        } else {
            // An entry whose id is that of an existing controller is right.
            let (right, wrong): (Vec<_>, Vec<_>) =
                entries.iter().copied().partition(|(handle, _)| there.contains(handle));
            let is_left = |source: &RequesterId| !right.iter().any(|(_, taken)| taken == source);
            let mut sources: Vec<RequesterId> = wrong.iter().map(|(_, source)| *source).collect();
            if sources.len() < missing.len() {
                let usual = [SOUTHBRIDGE, NORTHBRIDGE].into_iter().filter(is_left);
                sources.extend(usual.filter(|source| !wrong.iter().any(|(_, named)| named == source)));
            }
            if sources.len() > missing.len() {
                let all = missing.iter().flat_map(|id| sources.iter().map(|source| setting(&(*id, *source))));
                says.push(format!(
                    "on the kernel's command line one of {}: which of them the text does not say",
                    all.collect::<Vec<_>>().join(", ")
                ));
            } else {
                proposed.extend(missing.iter().copied().zip(sources));
            }
        }
        if !proposed.is_empty() {
            let settings: Vec<String> = proposed.iter().map(setting).collect();
            says.push(format!("on the kernel's command line: {}", settings.join(" ")));
        }
        for (handle, source) in &entries {
            says.push(format!("the table has handle {handle} for {source}"));
        }
        if entries.is_empty() {
            says.push("the southbridge is 00:14.0 on all boards; that the other is 00:00.1 is so on boards with one northbridge".to_owned());
        }
        for (given_line, (id, source)) in self.given() {
            let right = proposed.iter().find(|(own, _)| *own == id).map(|(_, source)| *source);
            if source == RequesterId::new(0, 0, 2) {
                says.push(format!(
                    "line {given_line} sets {source} for {id}: that is the IOMMU itself, never an interrupt controller; the warning goes, and its interrupts are refused later"
                ));
            } else if right.is_some_and(|right| right != source) {
                says.push(format!("line {given_line} sets {source} for {id}"));
            }
        }
        Some(note(line, what, says))
    }

    fn given(&self) -> Vec<(u32, (u32, RequesterId))> {
        self.collect(|what| match what {
            Refusal::IoApicSet(id, source) => Some((*id, *source)),
            _ => None,
        })
    }

    fn collect<T>(&self, pick: impl Fn(&Refusal) -> Option<T>) -> Vec<(u32, T)> {
        self.all.iter().filter_map(|one| Some((one.line, pick(&one.what)?))).collect()
    }

    /// Explains groups that are not viable, and which of their members really are in the way.
    fn groups(&self) -> Vec<RefusalNote> {
        let members = self.collect(|what| match what {
            Refusal::Member { group, device } => Some((*group, *device)),
            _ => None,
        });
        let drivers: BTreeMap<Address, (u32, String)> = self
            .collect(|what| match what {
                Refusal::Driver { device, driver } => Some((*device, driver.clone())),
                _ => None,
            })
            .into_iter()
            .map(|(line, (device, driver))| (device, (line, driver)))
            .collect();
        let mut notes = Vec::new();
        let asked = self.collect(|what| match what {
            Refusal::NotViable { device, group } => Some((*device, *group)),
            _ => None,
        });
        for (line, (device, group)) in &asked {
            notes.push(self.not_viable(*line, *device, *group, &members, &drivers));
        }
        // Also explain groups that appear in a list with drivers, even if nothing complains about them.
        let groups: BTreeSet<u32> = members.iter().map(|(_, (group, _))| *group).collect();
        for group in groups {
            let own: Vec<Address> =
                members.iter().filter(|(_, (of, _))| *of == group).map(|(_, (_, device))| *device).collect();
            let is_asked = asked.iter().any(|(_, (device, of))| *of == Some(group) || own.contains(device));
            let held: Vec<(&Address, &String)> = own
                .iter()
                .filter_map(|device| drivers.get(device).map(|(_, driver)| (device, driver)))
                .collect();
            let line = members.iter().find(|(_, (of, _))| *of == group).map_or(0, |(line, _)| *line);
            if is_asked || held.is_empty() {
                continue;
            }
            let (mut says, mut in_the_way) = (Vec::new(), 0);
            for (device, driver) in held {
                if driver == "pcieport" {
                    says.push(format!(
                        "{device} is a bridge, which its driver (pcieport) may keep: only endpoints count"
                    ));
                } else if !driver.starts_with("vfio") {
                    in_the_way += 1;
                    says.push(format!(
                        "{device} has the driver {driver}: it must be let go, or given away with the others"
                    ));
                }
            }
            let what = if in_the_way == 0 {
                format!("group {group} is viable")
            } else {
                format!("group {group} is not viable")
            };
            notes.push(note(line, what, says));
        }
        notes
    }

    fn not_viable(
        &self,
        line: u32,
        device: Address,
        group: Option<u32>,
        members: &[(u32, (u32, Address))],
        drivers: &BTreeMap<Address, (u32, String)>,
    ) -> RefusalNote {
        let named = group.map_or(String::new(), |group| format!(" {group}"));
        let what = format!("{device}: its group{named} is not viable: not everybody in it is given away");
        let beside = |other: &Address| {
            (other.segment, other.bus, other.device) == (device.segment, device.bus, device.device)
                && *other != device
        };
        let mut says = Vec::new();
        let own: Vec<Address> = members
            .iter()
            .filter(|(_, (of, _))| Some(*of) == group)
            .map(|(_, (_, device))| *device)
            .collect();
        let in_the_way: Vec<String> = drivers
            .iter()
            .filter(|(other, (_, driver))| {
                (own.contains(other) || beside(other)) && !driver.starts_with("vfio") && driver != "pcieport"
            })
            .map(|(other, (_, driver))| format!("{other} ({driver})"))
            .collect();
        if !in_the_way.is_empty() {
            says.push(format!(
                "in the way: {}: let go of them, or give them away as well",
                in_the_way.join(", ")
            ));
        }
        if own.is_empty() && in_the_way.is_empty() {
            let listed: BTreeSet<u32> = members.iter().map(|(_, (group, _))| *group).collect();
            let listed: Vec<String> = listed.iter().map(u32::to_string).collect();
            let lacks = match (group, listed.is_empty()) {
                (_, true) => "who is in it the text does not say".to_owned(),
                (Some(group), _) => format!(
                    "who is in it the text does not say: its list has groups {} and lacks {group}",
                    listed.join(", ")
                ),
                (None, _) => format!(
                    "which group it is the text does not say; its list has groups {}",
                    listed.join(", ")
                ),
            };
            says.push(lacks);
        }
        says.push(format!(
            "functions of one device ({:02x}:{:02x}.*) are in one group unless the device keeps them apart (ACS): all of them are to be given away together",
            device.bus, device.device
        ));
        says.push("bridges with pcieport and functions without a driver are no obstacle".to_owned());
        note(line, what, says)
    }
}

/// Finds the offset by which every handle in the table is too high, if that explains the missing I/O APICs: the shifted
/// handles must be exactly the ids that are missing or present, as far as those are known. Returns `None` if there is
/// no such offset, or more than one.
fn shift(missing: &BTreeSet<u32>, entries: &[(u32, RequesterId)], there: &BTreeSet<u32>) -> Option<i64> {
    let handles: BTreeSet<i64> = entries.iter().map(|(handle, _)| i64::from(*handle)).collect();
    let fits = |shift: &i64| {
        let ids: BTreeSet<i64> = handles.iter().map(|handle| handle - shift).collect();
        let is_there = |id: &i64| match u32::try_from(*id) {
            Ok(id) if there.is_empty() => missing.contains(&id) || handles.contains(&i64::from(id)),
            Ok(id) => missing.contains(&id) || there.contains(&id),
            Err(_) => false,
        };
        ids.iter().all(is_there) && missing.iter().chain(there).all(|id| ids.contains(&i64::from(*id)))
    };
    let shifts: BTreeSet<i64> = missing
        .iter()
        .flat_map(|id| handles.iter().map(move |handle| handle - i64::from(*id)))
        .filter(fits)
        .collect();
    shifts.first().copied().filter(|_| shifts.len() == 1)
}

fn setting((id, source): &(u32, RequesterId)) -> String {
    format!("ivrs_ioapic[{id}]={source}")
}

fn beyond(width: u32) -> String {
    let limit = 1u64 << width.min(63);
    format!(
        "{limit:#x} ({}) and above are beyond it: give the guest no more bits than the unit has (QEMU: host-phys-bits-limit={width}, or guest-phys-bits={width})",
        size(limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_import::refused::refusals;
    use proptest::prelude::*;

    fn set(ids: &[u32]) -> BTreeSet<u32> {
        ids.iter().copied().collect()
    }

    #[test]
    fn handles_are_off_by_as_much_or_not_at_all() {
        let (south, north, other) = (SOUTHBRIDGE, NORTHBRIDGE, RequesterId::new(0x40, 0, 1));
        // One too high, as one that is there says nothing of is noticed.
        assert_eq!(shift(&set(&[32]), &[(33, south), (34, north)], &set(&[])), Some(1));
        assert_eq!(shift(&set(&[32]), &[(33, south), (34, north)], &set(&[32, 33])), Some(1));
        // One too low.
        assert_eq!(shift(&set(&[6]), &[(4, south), (5, north)], &set(&[5, 6])), Some(-1));
        assert_eq!(shift(&set(&[7, 8]), &[(0, south), (255, north)], &set(&[])), None);
        // The one of 4 is right.
        assert_eq!(shift(&set(&[6]), &[(4, south), (9, north)], &set(&[4, 6])), None);
        assert_eq!(shift(&set(&[1]), &[(1, other)], &set(&[])), Some(0));
        assert_eq!(shift(&set(&[1]), &[], &set(&[])), None);
    }

    fn says(text: &str, table: &[(u8, RequesterId)]) -> String {
        let mut dump = String::new();
        for (handle, source) in table {
            dump.push_str(&format!("AMD-Vi:   DEV_SPECIAL(IOAPIC[{handle}])\t\tdevid: {source}\n"));
        }
        let mut sources = pmem_import::Sources::default();
        sources.add_stream("log", &mut dump.as_bytes()).unwrap();
        let machine = pmem_import::Machine::read(&mut sources).unwrap();
        let report = IommuRefused::of(&machine.iommu, &refusals(text.as_bytes()));
        report.refusals.iter().flat_map(|note| note.says.clone()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn entries_that_are_right_stay() {
        let there = "IOAPIC[0]: apic_id 4, version 33\nIOAPIC[1]: apic_id 6, version 33\n";
        let text = format!("{there}AMD-Vi: [Firmware Bug]: IOAPIC[6] not in IVRS table\n");
        let said = says(&text, &[(4, SOUTHBRIDGE), (9, NORTHBRIDGE)]);
        assert!(said.contains("command line: ivrs_ioapic[6]=00:00.1"), "{said}");
        assert!(!said.contains("ivrs_ioapic[6]=00:14.0"), "{said}");
        // The southbridge's entry is right and the only one.
        let said = says(&text, &[(4, SOUTHBRIDGE)]);
        assert!(said.contains("command line: ivrs_ioapic[6]=00:00.1"), "{said}");
        // Nothing is known but that it is missing.
        let said = says("AMD-Vi: [Firmware Bug]: IOAPIC[6] not in IVRS table\n", &[]);
        assert!(said.contains("one of ivrs_ioapic[6]=00:14.0, ivrs_ioapic[6]=00:00.1: which"), "{said}");
    }

    proptest! {
        /// Lines as kernels and monitors write them, with numbers that none has.
        #[test]
        fn whatever_the_numbers_are_nothing_panics(
            lines in prop::collection::vec((0..7usize, any::<u64>(), any::<u64>(), any::<bool>()), 1..6)
        ) {
            let text: String = lines
                .into_iter()
                .map(|(form, a, b, is_small)| {
                    let (a, b) = if is_small { (a % 300, b % 0x1_0000) } else { (a, b) };
                    match form {
                        0 => format!("vfio_dma_map(0x1, {a:#x}, {b:#x}, 0x2) = -22\n"),
                        1 => format!("intel_iommu_map: iommu width ({}) is not sufficient for the mapped address ({b:x})\n", a % 200),
                        2 => format!("DMAR: No firmware reserved region can cover this RMRR [{a:#x}-{b:#x}], contact\n"),
                        3 => format!("IOAPIC[{}] not in IVRS table\nivrs_ioapic[{b}]=00:00.2\n", a & 0xffff_ffff),
                        4 => format!("KVM_SET_USER_MEMORY_REGION failed, start={a:#x}, size={b:#x}\n"),
                        5 => format!("IO-APIC {a:#x} entry beyond bounds\n"),
                        _ => format!("BAR gpu0 base {a:#x} size {b:#x}\nguest RAM {b:#x} + {a:#x}\n"),
                    }
                })
                .collect();
            let report = IommuRefused::of(&Iommu::default(), &refusals(text.as_bytes()));
            prop_assert!(report.refusals.iter().all(|note| !note.what.is_empty()));
        }
    }
}
