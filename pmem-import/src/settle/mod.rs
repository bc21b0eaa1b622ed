//! From what the sources say to one answer for each question.
//!
//! For each kind of fact, the sources that give it are asked in the order of this table; where two that ought to agree do not, a
//! finding names both.
//!
//! | fact | first | then | then |
//! |---|---|---|---|
//! | what is at an address | the last complete list of resources | the firmware's map, as the kernel changed it, else what an emulator's CPUs see | what an architecture always has there |
//! | RAM | the list of resources | modified map, e820, hypervisor's, kept, EFI; an emulator's | what the kernel's allocator was given, else memory blocks |
//! | a node's memory | memory blocks, dax devices | what the kernel's allocator was given | SRAT |
//! | the kind of memory | the list's names and what lies around them | CEDT's windows, SRAT's flags | how fast it is |
//! | distances, speeds | the kernel's files | what tools print | SLIT, HMAT |
//! | a machine without nodes | `meminfo` and the CPUs are node 0's | | |
//! | functions | the kernel's files | `lspci` | log, then lists of resources |
//! | a bridge's windows | its registers (the planner: the kernel's map) | what Linux notes | lists of resources |
//! | a root bus's apertures | lists of resources | "root bus resource" of a log | what its functions decode |
//! | a root bus's offset | "bus address" of a log | BARs against resources | none |
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

pub use cxl::{CxlMemory, CxlPlace, CxlRegion, CxlTarget, CxlWindow, Sharing};
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

/// One answer for each question.
pub(crate) struct Settled {
    /// Named ranges of memory addresses: of the kernel's list, or of the firmware's map.
    pub(crate) memory: Listing,
    /// Named ranges of I/O ports.
    pub(crate) ports: Listing,
    /// Memory, in order of address, disjoint.
    pub(crate) ram: Vec<RamPiece>,
    /// Whether a list, or a map, says which addresses are RAM.
    pub(crate) ram_is_listed: bool,
    /// NUMA nodes.
    pub(crate) numa: Nodes,
    /// By node: what kind of memory it has, as far as is known.
    pub(crate) kinds: BTreeMap<u32, NodeKind>,
    /// By node of which Linux's tier is not said: the one that follows from its speed.
    pub(crate) tiers: BTreeMap<u32, u32>,
    /// PCI functions, in order of address.
    pub(crate) functions: Vec<Function>,
    /// Root buses.
    pub(crate) roots: Vec<Root>,
    /// Buses below bridges, the outer ones first.
    pub(crate) children: Vec<Child>,
    /// The PCI hierarchy, as the planner takes it.
    pub(crate) tree: PciTree,
    /// The lines of memory and of ports that are buses' windows or apertures.
    pub(crate) bus_lines: [BTreeSet<usize>; 2],
    /// What firmware's own map says, in order of address; empty if no source has one.
    pub(crate) firmware: Vec<Sourced<(AddrRange, FirmwareMemory)>>,
    /// Memory-mapped configuration space that no list names.
    pub(crate) ecam: Vec<(u32, AddrRange)>,
    /// What sources have that only x86 has.
    pub(crate) is_x86: bool,
    /// What they say of IOMMUs.
    pub(crate) iommu: Iommu,
    /// Which CXL device has which addresses.
    pub(crate) cxl: CxlMemory,
    /// What an emulator's address spaces see.
    pub(crate) views: Vec<SeenFrom>,
    /// The version of the kernel that they are of: `6.12.117`.
    pub(crate) kernel: Option<String>,
    /// The processor is AMD's.
    pub(crate) is_amd: bool,
    /// The kernel hides the addresses of every list that was read.
    pub(crate) hidden: bool,
    /// What is wrong with the sources, and between them.
    pub(crate) findings: Vec<Finding>,
}

/// Settles what the sources say of the machine.
pub(crate) fn settle(facts: &mut Facts) -> Settled {
    let is_x86 = is_x86(facts);
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

/// Has buses of which no source says which bridge leads there hang where they must, by fixed windows over what their functions show.
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

/// The version in `Linux version 6.12.117+deb12-amd64 (…`; of Debian's, which may name a series in it, also which of the series it is:
/// `6.1.0-57-amd64 (Debian 6.1.176-1)`.
fn version(text: &str) -> Option<String> {
    let rest = text.strip_prefix("Linux version ")?;
    let word = rest.split_whitespace().next()?;
    let debian = rest.split_once(" Debian ").and_then(|(_, rest)| rest.split_whitespace().next());
    Some(match debian.filter(|_| word.contains(".0-")) {
        Some(debian) => format!("{word} (Debian {debian})"),
        None => word.to_owned(),
    })
}

/// Whether sources have what only x86 has.
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
