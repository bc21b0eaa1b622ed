//! IOMMUs as the sources describe them.

use crate::sources::Sources;
use crate::units::{self, Addr};
use pmem_import::{Machine, ReservedKind, ReservedRange, Translation, show_list};
use pmem_iommu::acpi::dmar::{Scope, ScopeKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known about a machine's IOMMUs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IommuShow {
    /// The host address width in bits (DMAR); null if no source says.
    pub width: Option<u8>,
    /// The IOMMU units.
    pub units: Vec<UnitShown>,
    /// Ranges of device addresses that no ordinary mapping may use.
    pub reserved: Vec<ReservedShown>,
    /// IOMMU groups. The functions of a group can only be assigned to a guest together.
    pub groups: Vec<Group>,
    /// I/O APICs and HPETs, each with the requester id that it uses.
    pub special: Vec<String>,
    /// Requesters whose requests arrive under another requester id.
    pub aliases: Vec<String>,
    /// The page tables of running units, if a source has them.
    pub tables: Vec<TableShown>,
    /// What is odd or unknown.
    pub says: Vec<String>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// A device's page table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TableShown {
    /// The device.
    pub device: String,
    /// Its translations, in order of device address.
    pub translations: Vec<TranslationShown>,
}

/// A range of device addresses and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TranslationShown {
    /// The first device address.
    pub start: Addr,
    /// The last device address, inclusive.
    pub end: Addr,
    /// The physical address to which the first device address leads.
    pub to: Addr,
    /// The permitted accesses: `read`, `write`, `read+write`, or `-` for none.
    pub access: String,
}

/// Reads the page tables of running units out of the sources.
fn tables(machine: &Machine) -> Vec<TableShown> {
    let access = |one: &Translation| match (one.read, one.write) {
        (true, true) => "read+write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "-",
    };
    let shown = |one: &Translation| TranslationShown {
        start: Addr(one.range.start()),
        end: Addr(one.range.last()),
        to: Addr(one.to),
        access: access(one).to_owned(),
    };
    let all = machine.iommu.tables.iter();
    all.map(|(device, table)| TableShown {
        device: device.to_string(),
        translations: table.iter().map(shown).collect(),
    })
    .collect()
}

/// An IOMMU unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnitShown {
    /// The address of its registers.
    pub base: Addr,
    /// Whether it covers all functions that no other unit covers; null if not known.
    pub has_the_rest: Option<bool>,
    /// The width in bits of the device addresses that it translates; null if no source says.
    pub width: Option<u32>,
    /// The devices that it covers, as the table names them.
    pub scopes: Vec<String>,
}

/// A range of device addresses that no ordinary mapping may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReservedShown {
    /// The first address.
    pub start: Addr,
    /// The last address, inclusive.
    pub end: Addr,
    /// The kind, as Linux calls it: `direct`, `direct-relaxable`, `msi` or `reserved`.
    pub kind: String,
    /// The devices that the range is reserved for; empty if it is reserved for all, or if no source says.
    pub devices: Vec<String>,
}

/// An IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Group {
    /// The group's number.
    pub number: u32,
    /// The functions in the group.
    pub functions: Vec<String>,
}

/// Returns what Linux calls a kind of reserved range.
pub(super) const fn kind(kind: ReservedKind) -> &'static str {
    match kind {
        ReservedKind::Direct => "direct",
        ReservedKind::DirectRelaxable => "direct-relaxable",
        ReservedKind::Msi => "msi",
        ReservedKind::Other => "reserved",
    }
}

/// Formats a device scope as `00:1c.4 > 00.2`. Each hop after the first is on the bus below the previous hop.
fn scope(machine: &Machine, scope: &Scope) -> String {
    let mut hops: Vec<String> = Vec::new();
    let mut bus = Some(scope.bus);
    for (device, function) in &scope.path {
        let place = format!("{device:02x}.{function:x}");
        hops.push(bus.map_or(place.clone(), |bus| format!("{bus:02x}:{place}")));
        // The table gives only device and function of each hop. The bus number comes from the hierarchy.
        bus = bus.and_then(|bus| {
            let at = pmem_import::Address { segment: 0, bus, device: *device, function: *function };
            machine.functions.at(at).and_then(|f| f.below).map(|below| below.0)
        });
    }
    let way = hops.join(" > ");
    match scope.kind {
        ScopeKind::Endpoint => way,
        ScopeKind::Bridge => format!("{way} and all behind it"),
        ScopeKind::IoApic => format!("{way} (IOAPIC {})", scope.id),
        ScopeKind::Hpet => format!("{way} (HPET {})", scope.id),
        ScopeKind::Acpi => format!("{way} (device {} of ACPI)", scope.id),
        ScopeKind::Other(kind) => format!("{way} (type {kind})"),
    }
}

/// Names the devices that a range is reserved for.
pub(super) fn devices(machine: &Machine, reserved: &ReservedRange) -> Vec<String> {
    let scopes = reserved.scopes.iter().map(|found| scope(machine, found));
    let functions = reserved.functions.iter().map(ToString::to_string);
    let groups = match &reserved.groups[..] {
        [] => None,
        [one] => Some(format!("group {one}")),
        // Reserved for every group means reserved for everybody, so name none.
        all if machine.iommu.groups.values().all(|group| all.contains(group)) => None,
        all => Some(format!("groups {}", show_list(all))),
    };
    scopes.chain(functions).chain(groups).collect()
}

impl IommuShow {
    /// Collects what the sources say about IOMMUs.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let iommu = &machine.iommu;
        let units = iommu.units.iter().map(|said| UnitShown {
            base: Addr(said.value.base),
            has_the_rest: said.value.has_the_rest,
            width: said.value.capability.map(|capability| capability.width()),
            scopes: said
                .value
                .scopes
                .iter()
                .map(|found| scope(machine, found))
                .chain(said.value.requesters.iter().map(|(first, last)| {
                    if first == last { first.to_string() } else { format!("{first} to {last}") }
                }))
                .collect(),
        });
        let reserved = iommu.reserved.iter().map(|said| ReservedShown {
            start: Addr(said.value.range.start()),
            end: Addr(said.value.range.last()),
            kind: kind(said.value.kind).to_owned(),
            devices: devices(machine, &said.value),
        });
        let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (address, group) in &iommu.groups {
            groups.entry(*group).or_default().push(address.to_string());
        }
        let special = iommu.special.iter().map(|said| {
            let kind = if said.value.is_io_apic { "IOAPIC" } else { "HPET" };
            format!("{kind} {} asks as {}", said.value.handle, said.value.source)
        });
        let aliases = iommu
            .aliases
            .iter()
            .map(|said| format!("{} to {} come as {}", said.value.first, said.value.last, said.value.source));
        Self {
            width: iommu.width.as_ref().map(|said| said.value),
            units: units.collect(),
            reserved: reserved.collect(),
            groups: groups.into_iter().map(|(number, functions)| Group { number, functions }).collect(),
            special: special.collect(),
            aliases: aliases.collect(),
            tables: tables(machine),
            says: odd(machine),
            sources: Sources::of(machine),
        }
    }
}

/// Lists what is wrong with a table, and what no source says.
fn odd(machine: &Machine) -> Vec<String> {
    let iommu = &machine.iommu;
    let mut out = Vec::new();
    for said in iommu.reserved.iter().map(|said| &said.value) {
        let (range, direct) = (said.range, said.kind == ReservedKind::Direct);
        let is_ragged = range.start() & 0xfff != 0 || range.last() & 0xfff != 0xfff;
        if direct && is_ragged {
            out.push(format!(
                "{} is not of whole pages: a bad RMRR",
                units::range(range.start(), range.last())
            ));
        }
    }
    for (n, one) in iommu.aliases.iter().enumerate() {
        let (one, rest) = (one.value, iommu.aliases.get(n + 1..).unwrap_or(&[]));
        let other = rest
            .iter()
            .map(|other| other.value)
            .find(|other| one.first <= other.last && other.first <= one.last && one.source != other.source);
        if let Some(other) = other {
            out.push(format!(
                "{} to {} are said to come as {} and as {}",
                one.first, one.last, one.source, other.source
            ));
        }
    }
    for (n, one) in iommu.units.iter().enumerate() {
        for other in iommu.units.get(n + 1..).unwrap_or(&[]) {
            let both = one.value.requesters.iter().find_map(|(first, last)| {
                let found = other.value.requesters.iter().find(|(low, high)| first <= high && low <= last)?;
                Some((first.max(&found.0), last.min(&found.1)))
            });
            if let Some((first, last)) = both {
                out.push(format!(
                    "{first} to {last} are said to be of the units at {:#x} and at {:#x}",
                    one.value.base, other.value.base
                ));
            }
        }
    }
    if iommu.units.is_empty() {
        out.push(
            "no source says which units there are: a kernel's log, or DMAR and IVRS (as root), do".to_owned(),
        );
    }
    out
}
