//! The kernel that is there: its rules, and its map of a hierarchy.

use pmem_import::PciTree;
use pmem_pci::linux::{Map, ResourceId, Rules};
use pmem_pci::tree::Tree;

/// The kernel that is there, if it is known.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its version.
    pub version: String,
    /// Its rules.
    pub rules: Rules,
}

/// The kernel's map of a hierarchy, what it will ask for again, and what registers hold where that is something else.
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
