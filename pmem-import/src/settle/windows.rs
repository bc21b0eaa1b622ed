//! What a bridge forwards.

use super::listed::Lists;
use super::root::Root;
use crate::facts::{BusId, Function, PciResource, PciSource, ResourceKind, join};
use pmem_core::AddrRange;
use pmem_pci::Bridge;

/// A bridge's windows, in addresses of the bus above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// The I/O window.
    pub io: Vec<AddrRange>,
    /// The I/O window can be above 64 KiB.
    pub io_wide: bool,
    /// The memory window.
    pub memory: Vec<AddrRange>,
    /// The prefetchable window.
    pub prefetchable: Vec<AddrRange>,
    /// The prefetchable window can be above 4 GiB.
    pub prefetchable_wide: bool,
    /// Windows of unknown kind, which stay where they are.
    pub fixed: Vec<AddrRange>,
    /// It forwards VGA's frame buffer and ports.
    pub vga: bool,
    /// It forwards what no other device decodes (subtractive decoding).
    pub subtractive: bool,
}

impl Windows {
    /// Windows of a bridge about which no source says anything.
    pub(super) fn unknown() -> Self {
        Self { io_wide: true, prefetchable_wide: true, ..Self::default() }
    }
}

/// Returns what a bridge forwards, in bus addresses: from its registers, or else from Linux's notes, or else from
/// listings. `said` is what a log lists for the bus below.
pub(super) fn windows(
    function: &Function,
    said: &[PciResource],
    listed: &Lists<'_>,
    bus: BusId,
    root: Option<&Root>,
) -> Option<Windows> {
    let mut noted: Vec<&PciResource> =
        function.resources.iter().filter(|r| r.kind == ResourceKind::Window).collect();
    let subtractive = function.class.is_some_and(pmem_pci::Class::is_subtractive);
    if let Some((bridge, common)) = function.header.as_ref().and_then(|h| Some((h.bridge()?, h.common))) {
        let mut windows =
            registers(bridge, common.command.io(), common.command.memory(), &noted, function.lists_windows);
        windows.subtractive = subtractive;
        return Some(windows);
    }
    if function.source <= PciSource::Log && noted.is_empty() {
        noted = said.iter().collect();
    }
    let lines = |io| listed.lines_of(bus, io).map(|(line, _)| line.range).collect::<Vec<_>>();
    let (memory, io) = (lines(false), lines(true));
    // `lspci` prints what registers hold; other sources give CPU addresses.
    let is_on_bus = function.source == PciSource::Lspci;
    let on_bus = |range: AddrRange, io: bool| match root {
        Some(root) if !is_on_bus => root.to_bus(range, io),
        _ => Some(range),
    };
    let of = |io: bool, prefetchable: bool| -> Vec<AddrRange> {
        let own = noted.iter().filter(|r| r.io == io && (io || r.prefetchable == prefetchable));
        own.filter_map(|r| on_bus(r.range, r.io)).collect()
    };
    let mut out = Windows {
        io: join(of(true, false)),
        io_wide: true,
        memory: join(of(false, false)),
        prefetchable: join(of(false, true)),
        prefetchable_wide: true,
        subtractive,
        ..Windows::default()
    };
    if is_on_bus || (memory.is_empty() && io.is_empty()) {
        return (function.lists_windows || !noted.is_empty() || subtractive).then_some(out);
    }
    // A listing is more recent than a log. But a listing of memory says nothing about ports, and the reverse.
    if listed.says(true) {
        out.io = io.into_iter().filter_map(|range| on_bus(range, true)).collect();
    }
    if listed.says(false) {
        let memory: Vec<AddrRange> = memory.into_iter().filter_map(|range| on_bus(range, false)).collect();
        let former = |prefetchable: bool| {
            let own = function.former.iter().filter(move |r| !r.io && r.prefetchable == prefetchable);
            own.filter_map(|r| on_bus(r.range, false)).collect::<Vec<_>>()
        };
        let hints = ([out.memory, former(false)].concat(), [out.prefetchable, former(true)].concat());
        (out.memory, out.prefetchable) = told_apart(memory, &hints.0, &hints.1);
    }
    Some(out)
}

/// Tells a bus's memory window from its prefetchable window. Above 4 GiB it is prefetchable; where a log has a
/// window it is that one; and if one of two is known, the other is the other.
pub(super) fn told_apart(
    lines: Vec<AddrRange>,
    memory: &[AddrRange],
    prefetchable: &[AddrRange],
) -> (Vec<AddrRange>, Vec<AddrRange>) {
    let is_one = |line: &AddrRange, known: &[AddrRange]| {
        known.iter().any(|had| had.start() == line.start()) || known.iter().any(|had| had.overlaps(*line))
    };
    let known = |line: &AddrRange| {
        if line.last() >> 32 != 0 {
            Some(true)
        } else {
            match (is_one(line, memory), is_one(line, prefetchable)) {
                (true, false) => Some(false),
                (false, true) => Some(true),
                _ => None,
            }
        }
    };
    let mut kinds: Vec<Option<bool>> = lines.iter().map(known).collect();
    match kinds.as_mut_slice() {
        [one @ None, Some(other)] | [Some(other), one @ None] => *one = Some(!*other),
        // If bus addresses are shifted by an unknown amount, both may seem to be above 4 GiB; on POWER the upper
        // one is the memory window.
        [Some(true), upper @ Some(true)] => *upper = Some(false),
        _ => {}
    }
    let mut has_memory = kinds.contains(&Some(false));
    let (mut out_memory, mut out_prefetchable) = (Vec::new(), Vec::new());
    for (line, kind) in lines.into_iter().zip(kinds) {
        let is_prefetchable = kind.unwrap_or(has_memory);
        has_memory |= !is_prefetchable;
        if is_prefetchable { out_prefetchable.push(line) } else { out_memory.push(line) }
    }
    (out_memory, out_prefetchable)
}

/// Returns a bridge's windows from its registers. A window that reads zero and that Linux does not list
/// is not implemented.
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
