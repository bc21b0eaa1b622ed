//! What a bridge forwards.

use crate::facts::PciResource;
use pmem_core::AddrRange;
use pmem_pci::Bridge;

/// Windows of a bridge, as addresses on the bus above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// The I/O window.
    pub io: Vec<AddrRange>,
    /// It can be above 64 KiB.
    pub io_wide: bool,
    /// The memory window.
    pub memory: Vec<AddrRange>,
    /// The prefetchable window.
    pub prefetchable: Vec<AddrRange>,
    /// The prefetchable window can be above 4 GiB.
    pub prefetchable_wide: bool,
    /// Windows that are fixed where they are, for nobody says which of the three they are.
    pub fixed: Vec<AddrRange>,
    /// VGA's frame buffer and ports are forwarded.
    pub vga: bool,
    /// What nobody else decodes is forwarded.
    pub subtractive: bool,
}

/// A bridge's windows by its registers. What reads zero throughout, and Linux does not note, is not implemented.
pub(super) fn registers(
    bridge: &Bridge,
    io_on: bool,
    memory_on: bool,
    noted: &[&PciResource],
    listed: bool,
) -> Windows {
    let linux_has = |io: bool, prefetchable: bool| {
        listed && noted.iter().any(|r| r.io == io && (io || r.prefetchable == prefetchable))
    };
    let range = |found: Option<(u64, u64)>, on: bool| {
        found
            .filter(|_| on)
            .and_then(|(first, last)| AddrRange::inclusive(first, last).ok())
            .into_iter()
            .collect::<Vec<_>>()
    };
    let io = bridge.io.range().filter(|_| !bridge.io.is_blank() || linux_has(true, false));
    let prefetchable =
        bridge.prefetchable.range().filter(|_| !bridge.prefetchable.is_blank() || linux_has(false, true));
    Windows {
        io: range(io, io_on),
        io_wide: bridge.io.is_wide(),
        memory: range(bridge.memory.range(), memory_on),
        prefetchable: range(prefetchable, memory_on),
        prefetchable_wide: bridge.prefetchable.is_wide(),
        fixed: Vec::new(),
        vga: bridge.forwards_vga(),
        subtractive: false,
    }
}
