//! Address spaces of an emulator.

use pmem_import::{AddressSpaces, Machine};
use schemars::JsonSchema;
use serde::Serialize;

/// Address spaces that see the same.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AddressSpace {
    /// The arena that they are.
    pub arena: String,
    /// Their names; several may have one.
    pub names: Vec<String>,
    /// They see nothing: a device that may not master its bus.
    pub is_empty: bool,
    /// The emulated IOMMU through which they lead on, whose tables no source shows.
    pub through: Option<String>,
}

/// Those of an emulator, in its order.
pub(super) fn all(machine: &Machine) -> Vec<AddressSpace> {
    let one = |spaces: &AddressSpaces| AddressSpace {
        arena: machine.arena_name(spaces.arena),
        names: spaces.names.iter().map(|(name, _)| name.clone()).collect(),
        is_empty: spaces.is_empty,
        through: spaces.through.clone(),
    };
    machine.spaces.iter().map(one).collect()
}
