//! What sources say about IOMMUs: units, reserved ranges, groups, and requesters.

use super::{SourceLine, Sourced};
use pmem_core::AddrRange;
use pmem_iommu::RequesterId;
use pmem_iommu::acpi::dmar::Scope;
use pmem_iommu::vtd::Capability;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// What sources say about IOMMUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iommu {
    /// Width of the addresses that units put out, in bits (DMAR's host address width).
    pub width: Option<Sourced<u8>>,
    /// The units.
    pub units: Vec<Sourced<IommuUnit>>,
    /// Ranges of device addresses that no mapping may use.
    pub reserved: Vec<Sourced<ReservedRange>>,
    /// Ids of I/O APICs that a log finds in a unit's table.
    pub io_apics: Vec<Sourced<u32>>,
    /// IVRS memory blocks as the table holds them: first address, length in bytes, flags.
    pub blocks: Vec<Sourced<(u64, u64, u8)>>,
    /// By function: its group.
    pub groups: BTreeMap<Address, u32>,
    /// Groups whose addresses pass untranslated (type `identity`), and where a source says so.
    pub passing: BTreeMap<u32, SourceLine>,
    /// Root buses, by segment and number, whose DMA an IOMMU translates (a device tree's `iommu-map`), and where
    /// the source says so.
    pub translated: BTreeMap<(u32, u8), SourceLine>,
    /// I/O APICs and HPETs, with the requester ids that they use.
    pub special: Vec<Sourced<SpecialDevice>>,
    /// Requesters whose requests carry another requester's id.
    pub aliases: Vec<Sourced<RequesterAlias>>,
    /// Which requester ids lead to which streams (SMMU).
    pub streams: Vec<Sourced<StreamMap>>,
    /// By function: what its page table translates, in order, if a source shows the table.
    pub tables: BTreeMap<Address, Vec<Translation>>,
}

/// A contiguous piece of an IOMMU page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The device addresses.
    pub range: AddrRange,
    /// Where the first of them leads.
    pub to: u64,
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
}

/// An IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IommuUnit {
    /// Base address of its registers.
    pub base: u64,
    /// Whether it handles every function that no other unit of its segment names (`INCLUDE_PCI_ALL`);
    /// `None` if no source says.
    pub has_the_rest: Option<bool>,
    /// Its capability register (VT-d); `None` if no source shows it.
    pub capability: Option<Capability>,
    /// The devices that it handles, as the DMAR table names them.
    pub scopes: Vec<Scope>,
    /// Requesters that it handles, as ranges of first and last id, both inclusive (IVRS).
    pub requesters: Vec<(RequesterId, RequesterId)>,
}

/// Why a range is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReservedKind {
    /// Firmware and devices share memory there (an RMRR, or an IVMD unity mapping): it must be identity-mapped.
    Direct,
    /// As `Direct`, but only until a driver takes over the device.
    DirectRelaxable,
    /// A window for interrupt messages (MSI).
    Msi,
    /// Another reason.
    Other,
}

/// A range of device addresses that no mapping may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedRange {
    /// The addresses.
    pub range: AddrRange,
    /// Why it is reserved.
    pub kind: ReservedKind,
    /// The devices that it is reserved for, as the DMAR table names them.
    pub scopes: Vec<Scope>,
    /// The functions that it is reserved for, if the source names functions.
    pub functions: Vec<Address>,
    /// The groups that it is reserved for, sorted, if the source names groups.
    pub groups: Vec<u32>,
}

impl ReservedKind {
    /// Parses the kind of a line in Linux's `reserved_regions`.
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
    /// Adds a range. The same range of another group only adds the group.
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

    /// Returns the ranges that are reserved for a function, without those that are known to be of other
    /// groups only.
    pub fn reserved_for(&self, function: Address) -> impl Iterator<Item = &Sourced<ReservedRange>> {
        let own = self.groups.get(&function).copied();
        self.reserved.iter().filter(move |said| {
            let groups = &said.value.groups;
            groups.is_empty() || own.is_none_or(|own| groups.binary_search(&own).is_ok())
        })
    }
}

/// An interrupt controller or timer that makes requests through an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialDevice {
    /// It is an I/O APIC; otherwise an HPET.
    pub is_io_apic: bool,
    /// Its id: the APIC id, or the HPET's number.
    pub handle: u8,
    /// The requester id of its requests.
    pub source: RequesterId,
}

/// A range of requesters whose requests carry another requester's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequesterAlias {
    /// The first requester id.
    pub first: RequesterId,
    /// The last requester id, inclusive.
    pub last: RequesterId,
    /// The requester id that their requests carry.
    pub source: RequesterId,
}

/// An entry of a device tree's `iommu-map`: requester ids, masked, map linearly to streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamMap {
    /// The mask that is applied to a requester id first.
    pub mask: u32,
    /// The first masked id.
    pub first: u32,
    /// The number of ids.
    pub count: u32,
    /// The stream of the first id.
    pub stream: u32,
}
