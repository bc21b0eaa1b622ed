//! IOMMUs as sources describe them.

use crate::sources::Sources;
use crate::units::{self, Addr};
use pmem_import::{Machine, ReservedKind, ReservedRange, Translation, show_list};
use pmem_iommu::acpi::dmar::{Scope, ScopeKind};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of IOMMUs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IommuShow {
    /// Bits of the addresses that units put out (DMAR); null if no source says.
    pub width: Option<u8>,
    /// Units.
    pub units: Vec<UnitShown>,
    /// Ranges of device addresses that no mapping may use.
    pub reserved: Vec<ReservedShown>,
    /// Groups: who can only be given away together.
    pub groups: Vec<Group>,
    /// Interrupt controllers and timers, with whose requests they make.
    pub special: Vec<String>,
    /// Requesters whose requests come as those of another.
    pub aliases: Vec<String>,
    /// What tables of running units translate, where a source has them.
    pub tables: Vec<TableShown>,
    /// What is odd, or not known.
    pub says: Vec<String>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// A device's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableShown {
    /// The device.
    pub device: String,
    /// What it translates, in order.
    pub translations: Vec<TranslationShown>,
}

/// Device addresses that lead elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TranslationShown {
    /// The first address.
    pub start: Addr,
    /// The last.
    pub end: Addr,
    /// Where the first leads.
    pub to: Addr,
    /// `read`, `write`, `read+write`; `-` for neither.
    pub access: String,
}

/// What the tables of running units say.
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

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnitShown {
    /// Where its registers are.
    pub base: Addr,
    /// It has all functions that no other has; null if it is not said.
    pub has_the_rest: Option<bool>,
    /// Bits of the addresses that devices can name; null if no source says.
    pub width: Option<u32>,
    /// What it has, as the table names it.
    pub scopes: Vec<String>,
}

/// A range that no mapping may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservedShown {
    /// The first address.
    pub start: Addr,
    /// The last.
    pub end: Addr,
    /// `direct`, `direct-relaxable`, `msi`, `reserved`, as Linux calls them.
    pub kind: String,
    /// For whom; empty if it is not said.
    pub devices: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Group {
    /// Its number.
    pub number: u32,
    /// Its functions.
    pub functions: Vec<String>,
}

/// What Linux calls a kind of range.
pub(super) const fn kind(kind: ReservedKind) -> &'static str {
    match kind {
        ReservedKind::Direct => "direct",
        ReservedKind::DirectRelaxable => "direct-relaxable",
        ReservedKind::Msi => "msi",
        ReservedKind::Other => "reserved",
    }
}

/// `00:1c.4 > 00.2`: each hop after the first is on the bus below the hop before.
fn scope(machine: &Machine, scope: &Scope) -> String {
    let mut hops: Vec<String> = Vec::new();
    let mut bus = Some(scope.bus);
    for (device, function) in &scope.path {
        let place = format!("{device:02x}.{function:x}");
        hops.push(bus.map_or(place.clone(), |bus| format!("{bus:02x}:{place}")));
        // The table does not say which bus follows: the hierarchy does.
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

/// For whom a range is reserved.
pub(super) fn devices(machine: &Machine, reserved: &ReservedRange) -> Vec<String> {
    let scopes = reserved.scopes.iter().map(|found| scope(machine, found));
    let functions = reserved.functions.iter().map(ToString::to_string);
    let groups = match &reserved.groups[..] {
        [] => None,
        [one] => Some(format!("group {one}")),
        // All of them: for everybody.
        all if machine.iommu.groups.values().all(|group| all.contains(group)) => None,
        all => Some(format!("groups {}", show_list(all))),
    };
    scopes.chain(functions).chain(groups).collect()
}

impl IommuShow {
    /// What sources say.
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

/// What is wrong with a table, or not said.
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
