//! From what the sources say to one answer for each question.
//!
//! For each kind of fact, the sources that give it are asked in the order of this table; where two that ought to agree do not, a
//! finding names both.
//!
//! | fact | first | then | then |
//! |---|---|---|---|
//! | what is at an address | the last complete list of resources | the firmware's map, as the kernel changed it | what an architecture always has there |
//! | RAM | the list of resources | modified map, e820, hypervisor's, kept, EFI | what the kernel's allocator was given, else memory blocks |
//! | a node's memory | memory blocks, dax devices | what the kernel's allocator was given | SRAT |
//! | a machine without nodes | `meminfo` and the CPUs are node 0's | | |
//! | functions | the kernel's files | `lspci` | log, then lists of resources |
//! | a bridge's windows | its registers (the planner: the kernel's map) | what Linux notes | lists of resources |
//! | a root bus's apertures | lists of resources | "root bus resource" of a log | what its functions decode |
//! | a root bus's offset | "bus address" of a log | BARs against resources | none |
//! | memory types | processors' registers | a running system's list, a clean-up's result, a kernel's log | firmware's log |

mod difference;
mod functions;
mod known;
mod listed;
mod memory;
mod mtrr;
mod nodes;
mod pci;
mod root;
mod tree;
mod windows;

pub use known::{WellKnown, well_known};
pub use memory::MemoryKind;
pub use mtrr::{Default, MtrrFacts};
pub use nodes::NodeKind;
pub use tree::PciTree;
pub use windows::Windows;

pub(crate) use memory::{LineKind, RamPiece, line_kind};
pub(crate) use pci::Child;
pub(crate) use root::Root;

use crate::facts::{Facts, Finding, Function, Listing, Nodes};
use pmem_core::AddrRange;
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
    /// Memory-mapped configuration space that no list names.
    pub(crate) ecam: Vec<(u32, AddrRange)>,
    /// What sources have that only x86 has.
    pub(crate) is_x86: bool,
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
    let (listing, listed) = memory::choose(facts);
    let mut ram = memory::ram(facts, &listing, listed);
    let numa = nodes::settle(facts, &listing, &mut ram);
    let kinds = nodes::kinds(&numa, &listing, &ram, &facts.dax);
    let ports = memory::last_complete(&facts.ports).cloned().unwrap_or_default();
    let pci::Settled { functions, roots, children, bus_lines, differences } =
        pci::settle(facts, &listing, &ports);
    let mut tree = tree::build(facts, is_x86, &functions, &roots, &children, &listing, &bus_lines[0]);
    tree.take_map(&differences);
    tree.locked_down = facts.identity.locked_down;
    let named = |range: AddrRange| {
        let mut same = listing.lines.iter().filter(|line| line.range == range);
        same.any(|line| line.name.contains("ECAM") || line.name.contains("MMCONFIG"))
    };
    let ecam = facts.pci.ecam.iter().map(|said| said.value).filter(|(_, range)| !named(*range)).collect();
    Settled {
        memory: listing,
        ports,
        ram,
        ram_is_listed: listed,
        numa,
        kinds,
        functions,
        roots,
        children,
        tree,
        bus_lines,
        ecam,
        is_x86,
        kernel: facts.identity.kernel.as_ref().and_then(|said| version(&said.value)),
        is_amd: facts.mtrr.is_amd,
        hidden: !facts.memory.is_empty() && facts.memory.iter().all(|listing| listing.hidden),
        findings: std::mem::take(&mut facts.findings).finish(),
    }
}

/// The version in `Linux version 6.12.117+deb12-amd64 (…`.
fn version(text: &str) -> Option<String> {
    let word = text.strip_prefix("Linux version ")?.split_whitespace().next()?;
    Some(word.to_owned())
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
}
