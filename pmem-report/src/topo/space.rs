//! An emulator's address spaces.

use pmem_import::{AddressSpaces, Machine};
use serde::Serialize;

/// Address spaces that see the same.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AddressSpace {
    /// The arena with what they see.
    pub arena: String,
    /// Their names. A name may occur several times.
    pub names: Vec<String>,
    /// Whether they see nothing, as of a device that is not enabled as a bus master.
    pub is_empty: bool,
    /// The emulated IOMMU that they lead through, if no source shows its tables; null otherwise.
    pub through: Option<String>,
}

/// Lists the address spaces in the emulator's order.
pub(super) fn all(machine: &Machine) -> Vec<AddressSpace> {
    let one = |spaces: &AddressSpaces| AddressSpace {
        arena: machine.arena_name(spaces.arena),
        names: spaces.names.iter().map(|(name, _)| name.clone()).collect(),
        is_empty: spaces.is_empty,
        through: spaces.through.clone(),
    };
    machine.spaces.iter().map(one).collect()
}
