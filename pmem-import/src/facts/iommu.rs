//! IOMMUs: which units there are, what they must let through, and who is together in a group.

use super::{SourceLine, Sourced};
use pmem_core::AddrRange;
use pmem_iommu::RequesterId;
use pmem_iommu::acpi::dmar::Scope;
use pmem_iommu::vtd::Capability;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// What sources say of IOMMUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iommu {
    /// The width of the addresses that units put out, in bits.
    pub width: Option<Sourced<u8>>,
    /// Units.
    pub units: Vec<Sourced<IommuUnit>>,
    /// Ranges of device addresses that no mapping may use.
    pub reserved: Vec<Sourced<ReservedRange>>,
    /// I/O APICs that a log says are in a unit's table.
    pub io_apics: Vec<Sourced<u32>>,
    /// Memory blocks of IVRS as they stand: the first address, bytes, flags.
    pub blocks: Vec<Sourced<(u64, u64, u8)>>,
    /// By function: its group.
    pub groups: BTreeMap<Address, u32>,
    /// Groups whose addresses pass as they are (type `identity`), and where that is said.
    pub passing: BTreeMap<u32, SourceLine>,
    /// Root buses, as segment and number, whose devices' accesses a unit translates (a device tree's `iommu-map`), and where that is said.
    pub translated: BTreeMap<(u32, u8), SourceLine>,
    /// Interrupt controllers and timers, with whose requests they make.
    pub special: Vec<Sourced<SpecialDevice>>,
    /// Requesters whose requests come as those of another.
    pub aliases: Vec<Sourced<RequesterAlias>>,
    /// Which requesters lead to which streams (SMMU).
    pub streams: Vec<Sourced<StreamMap>>,
    /// By function: what its table translates, in order, where a source has the table.
    pub tables: BTreeMap<Address, Vec<Translation>>,
}

/// Device addresses that lead elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The device addresses.
    pub range: AddrRange,
    /// Where the first of them leads.
    pub to: u64,
    /// They may be read.
    pub read: bool,
    /// They may be written.
    pub write: bool,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IommuUnit {
    /// Where its registers are.
    pub base: u64,
    /// It has all functions that no other unit has; `None` if it is not said.
    pub has_the_rest: Option<bool>,
    /// What it can do (VT-d).
    pub capability: Option<Capability>,
    /// The functions that it has, as the table names them.
    pub scopes: Vec<Scope>,
    /// The requesters that it has, from a first to a last (IVRS).
    pub requesters: Vec<(RequesterId, RequesterId)>,
}

/// Why a range is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReservedKind {
    /// Firmware and devices share memory there (RMRR, unity of IVMD): it must be mapped as it is.
    Direct,
    /// The same, and it need not be once a driver has the device.
    DirectRelaxable,
    /// Interrupts.
    Msi,
    /// Something else.
    Other,
}

/// A range of device addresses that no mapping may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedRange {
    /// The addresses.
    pub range: AddrRange,
    /// Why.
    pub kind: ReservedKind,
    /// For which devices, as a table names them.
    pub scopes: Vec<Scope>,
    /// For which functions, where they are said so.
    pub functions: Vec<Address>,
    /// For which groups, in order, where they are said so.
    pub groups: Vec<u32>,
}

impl ReservedKind {
    /// The kind that Linux calls so in `reserved_regions`.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "direct" => Self::Direct,
            "direct-relaxable" => Self::DirectRelaxable,
            "msi" => Self::Msi,
            "reserved" => Self::Other,
            _ => return None,
        })
    }
}

impl Iommu {
    /// Notes a range, once; groups that have the same are put together.
    pub(crate) fn reserve(&mut self, found: Sourced<ReservedRange>) {
        let new = &found.value;
        let same = |had: &&mut Sourced<ReservedRange>| {
            had.value.range == new.range
                && had.value.kind == new.kind
                && had.value.groups.is_empty() == new.groups.is_empty()
        };
        match self.reserved.iter_mut().find(same) {
            Some(had) => {
                for group in &new.groups {
                    if let Err(place) = had.value.groups.binary_search(group) {
                        had.value.groups.insert(place, *group);
                    }
                }
            }
            None => self.reserved.push(found),
        }
    }

    /// Ranges that are reserved for a function, as far as is said: those of other groups are not.
    pub fn reserved_for(&self, function: Address) -> impl Iterator<Item = &Sourced<ReservedRange>> {
        let own = self.groups.get(&function).copied();
        self.reserved.iter().filter(move |said| {
            let groups = &said.value.groups;
            groups.is_empty() || own.is_none_or(|own| groups.binary_search(&own).is_ok())
        })
    }
}

/// An interrupt controller or timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialDevice {
    /// It is an interrupt controller; else a timer block.
    pub is_io_apic: bool,
    /// Its id.
    pub handle: u8,
    /// Whose requests it makes.
    pub source: RequesterId,
}

/// Requesters whose requests come as those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequesterAlias {
    /// The first.
    pub first: RequesterId,
    /// The last.
    pub last: RequesterId,
    /// Whose.
    pub source: RequesterId,
}

/// An entry of the device tree's `iommu-map`: requester ids, after a mask was laid over them, lead to streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamMap {
    /// The mask.
    pub mask: u32,
    /// The first id.
    pub first: u32,
    /// How many ids.
    pub count: u32,
    /// The stream of the first.
    pub stream: u32,
}
