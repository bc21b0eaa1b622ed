//! Settles what sources say: one answer per question.
//!
//! For each kind of fact, the sources that give it are asked in the order of this table. Where two disagree that
//! should agree, a finding names both.
//!
//! | fact | first | then | then |
//! |---|---|---|---|
//! | what is at an address | the last complete listing of resources | firmware's map with the kernel's changes, else what an emulator's CPUs see | what the architecture defines there |
//! | RAM | the listing of resources | the map: modified, hypervisor's, kept, e820, EFI; an emulator's view | what the kernel's allocator was given, else memory blocks |
//! | a node's memory | memory blocks, DAX devices | what the kernel's allocator was given | SRAT |
//! | the kind of memory | names in the listing, and what lies around them | CEDT's windows, SRAT's flags | how fast it is |
//! | distances, speeds | the kernel's files | what tools print | SLIT, HMAT |
//! | a machine without nodes | node 0 gets the memory of `meminfo` and all CPUs | | |
//! | functions | the kernel's files | `lspci` | a log, then listings of resources |
//! | a bridge's windows | its registers (for the planner, the kernel's map) | what Linux notes | listings of resources |
//! | a root bus's apertures | listings of resources | "root bus resource" in a log | what its functions decode |
//! | a root bus's offset | "bus address" in a log | BARs compared with resources | none |
//! | memory types | processors' registers | a running system's list, a clean-up's result, a kernel's log | firmware's log |

mod cxl;
mod difference;
mod functions;
mod gaps;
mod kinds;
mod known;
mod listed;
mod memory;
mod mtrr;
mod nodes;
mod orphans;
mod pci;
mod root;
mod tables;
mod tree;
mod views;
mod windows;

pub use cxl::{CxlMemory, CxlPart, CxlPlace, CxlRegion, CxlTarget, CxlWindow, Sharing};
pub use kinds::NodeKind;
pub use known::{WellKnown, well_known};
pub use memory::MemoryKind;
pub use mtrr::{Default, MtrrFacts};
pub use tree::PciTree;
pub use windows::Windows;

pub(crate) use memory::{LineKind, RamPiece, line_kind};
use orphans::{Way, orphans};
pub(crate) use pci::Child;
pub(crate) use root::Root;
use tree::Given;
pub(crate) use views::SeenFrom;

use crate::facts::{BusId, Facts, Finding, Function, Iommu, Listing, Nodes, SourceLine, Sourced};
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};

/// One answer per question.
pub(crate) struct Settled {
    /// Named ranges of memory addresses, from the kernel's listing or firmware's map.
    pub(crate) memory: Listing,
    /// Named ranges of I/O ports.
    pub(crate) ports: Listing,
    /// Memory, sorted and disjoint.
    pub(crate) ram: Vec<RamPiece>,
    /// Whether a listing or a map says which addresses are RAM.
    pub(crate) ram_is_listed: bool,
    /// NUMA nodes.
    pub(crate) numa: Nodes,
    /// By node: the kind of memory that it has, if known.
    pub(crate) kinds: BTreeMap<u32, NodeKind>,
    /// By node: the memory tier that Linux would choose from its speed. Empty if a source gives tiers.
    pub(crate) tiers: BTreeMap<u32, u32>,
    /// PCI functions, in order of address.
    pub(crate) functions: Vec<Function>,
    /// Root buses.
    pub(crate) roots: Vec<Root>,
    /// Buses below bridges, outer ones first.
    pub(crate) children: Vec<Child>,
    /// The PCI hierarchy in the planner's form.
    pub(crate) tree: PciTree,
    /// Indices of the memory lines and port lines that are buses' windows or apertures.
    pub(crate) bus_lines: [BTreeSet<usize>; 2],
    /// Firmware's own memory map, in order of address; empty if no source has one.
    pub(crate) firmware: Vec<Sourced<(AddrRange, FirmwareMemory)>>,
    /// Memory-mapped configuration space that no listing names.
    pub(crate) ecam: Vec<(u32, AddrRange)>,
    /// Sources contain something that only x86 has.
    pub(crate) is_x86: bool,
    /// What sources say about IOMMUs.
    pub(crate) iommu: Iommu,
    /// Which CXL device holds which addresses.
    pub(crate) cxl: CxlMemory,
    /// What an emulator's address spaces see.
    pub(crate) views: Vec<SeenFrom>,
    /// The version of the kernel that wrote the sources: `6.12.117`.
    pub(crate) kernel: Option<String>,
    /// The processor is AMD's or Hygon's.
    pub(crate) is_amd: bool,
    /// The kernel hides the addresses of every listing that was read.
    pub(crate) hidden: bool,
    /// Problems in the sources, and contradictions between them.
    pub(crate) findings: Vec<Finding>,
}

/// Settles what the sources say about the machine.
pub(crate) fn settle(facts: &mut Facts) -> Settled {
    let is_x86 = is_x86(facts);
    // Tables come first: from here on their nodes are like any other source's.
    tables::nodes(facts);
    let (listing, listed) = memory::choose(facts);
    let ram = memory::ram(facts, &listing, listed);
    let mut ram = kinds::of_pieces(facts, ram);
    let numa = nodes::settle(facts, &listing, &mut ram);
    let kinds = kinds::of_nodes(&numa, &listing, &ram, &facts.dax);
    let tiers = kinds::tiers(&numa);
    let ports = memory::last_complete(&facts.ports).cloned().or_else(|| views::listing(facts, true));
    let ports = ports.unwrap_or_default();
    let sources = facts.pci.functions.keys().map(|(source, _)| *source).collect();
    let pci::Settled { functions, mut roots, mut children, bus_lines, loose, differences } =
        pci::settle(facts, &listing, &ports);
    let orphans = orphans(facts, &functions, &roots, &loose.keys().copied().collect());
    let mut tree = tree::build(&Given {
        facts,
        is_x86,
        functions: &functions,
        roots: &roots,
        children: &children,
        memory: &listing,
        bus_lines: &bus_lines[0],
        loose: &loose,
        orphans: &orphans,
    });
    adopt(&mut roots, &mut children, &orphans, &functions);
    tree.take_map(&differences);
    tree.conflicts = std::mem::take(&mut facts.pci.conflicts);
    tree.sources = sources;
    tree.locked_down = facts.identity.locked_down;
    let named = |range: AddrRange| {
        let mut same = listing.lines.iter().filter(|line| line.range == range);
        same.any(|line| line.name.contains("ECAM") || line.name.contains("MMCONFIG"))
    };
    let firmware = memory::firmware_map(facts).map(|map| memory::said(&map));
    let ecam = facts.pci.ecam.iter().map(|said| said.value).filter(|(_, range)| !named(*range)).collect();
    Settled {
        memory: listing,
        ports,
        ram,
        ram_is_listed: listed,
        numa,
        kinds,
        tiers,
        functions,
        roots,
        children,
        tree,
        bus_lines,
        firmware: firmware.unwrap_or_default(),
        ecam,
        is_x86,
        iommu: std::mem::take(&mut facts.iommu),
        cxl: cxl::settle(facts),
        views: views::seen(facts),
        kernel: facts.identity.kernel.as_ref().and_then(|said| version(&said.value)),
        is_amd: facts.mtrr.is_amd,
        hidden: !facts.memory.is_empty() && facts.memory.iter().all(|listing| listing.hidden),
        findings: std::mem::take(&mut facts.findings).finish(),
    }
}

/// Attaches buses whose bridge no source names where they must be, by fixed windows over what their functions show.
fn adopt(
    roots: &mut Vec<Root>,
    children: &mut Vec<Child>,
    orphans: &BTreeMap<BusId, Way>,
    functions: &[Function],
) {
    let by_address: BTreeMap<Address, &Function> = functions.iter().map(|f| (f.bdf(), f)).collect();
    let (own, rest): (Vec<Root>, Vec<Root>) =
        std::mem::take(roots).into_iter().partition(|root| orphans.contains_key(&root.bus));
    *roots = rest;
    for root in own {
        let (bridge, above) = match orphans.get(&root.bus) {
            Some(Way::Leads(bridge)) => (Some(*bridge), (bridge.segment, bridge.bus)),
            Some(Way::Below(bridge)) => {
                let below = by_address.get(bridge).and_then(|f| f.below);
                (None, (bridge.segment, below.map_or(bridge.bus, |(first, _)| first)))
            }
            Some(Way::BelowRoot(host)) => (None, *host),
            None => continue,
        };
        let of = |io: bool| {
            let own = root.apertures.iter().map(|said| &said.value).filter(|a| a.io == io);
            own.map(|aperture| aperture.range).collect::<Vec<_>>()
        };
        let windows = Windows { fixed: of(false), io: of(true), io_wide: true, ..Windows::default() };
        let at = root.apertures.first().map_or_else(|| SourceLine::whole(""), |said| said.at.clone());
        children.push(Child { bus: root.bus, above, bridge, windows: Some(windows), at });
    }
}

/// Parses the version in `Linux version 6.12.117+deb12-amd64 (…`. Debian's version may name only a series, so
/// Debian's own version is added: `6.1.0-57-amd64 (Debian 6.1.176-1)`.
fn version(text: &str) -> Option<String> {
    let rest = text.strip_prefix("Linux version ")?;
    let word = rest.split_whitespace().next()?;
    let debian = rest.split_once(" Debian ").and_then(|(_, rest)| rest.split_whitespace().next());
    Some(match debian.filter(|_| word.contains(".0-")) {
        Some(debian) => format!("{word} (Debian {debian})"),
        None => word.to_owned(),
    })
}

/// Whether sources contain something that only x86 has.
fn is_x86(facts: &Facts) -> bool {
    let lines = facts.memory.iter().flat_map(|listing| &listing.lines);
    let words = ["Local APIC", "IOAPIC", "Video ROM", "System ROM", "ACPI Non-volatile Storage", "HPET"];
    let of_x86 = |name: &str| words.iter().any(|word| name.starts_with(word));
    facts.identity.is_x86
        || !facts.mtrr.tables.is_empty()
        || !facts.mtrr.cpus.is_empty()
        || facts.firmware.maps.iter().any(|map| map.kind != crate::facts::MapKind::Efi)
        || lines.into_iter().any(|line| of_x86(&line.name))
        || facts
            .views
            .iter()
            .flat_map(|view| &view.ranges)
            .any(|range| range.name.ends_with("apic-msi") || range.name.ends_with("ioapic"))
}
