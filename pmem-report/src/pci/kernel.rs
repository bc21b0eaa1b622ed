//! The running kernel: its rules, and its resource map of a hierarchy.

use pmem_import::PciTree;
use pmem_pci::linux::{Map, ResourceId, Rules};
use pmem_pci::tree::Tree;

/// The running kernel, if it is known.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The version, such as `6.12.1`.
    pub version: String,
    /// The rules that this version follows when it assigns resources.
    pub rules: Rules,
}

/// Builds the kernel's resource map: what it has assigned, what it will ask for again, and register values that differ
/// from the map.
pub(super) fn map_of(known: &PciTree, tree: &Tree) -> Map {
    let mut map = Map::new(tree);
    for ((bridge, kind), registers) in &known.differs {
        map.hold(*bridge, *kind, *registers);
    }
    for ((bridge, kind), size) in &known.kept {
        map.keep_size(*bridge, *kind, *size);
    }
    for (index, slot) in &known.given_up {
        map.ask_again(ResourceId::Slot(*index, *slot));
    }
    map
}
