//! Differences between the windows that bridges forward and the windows in the kernel's map.
//!
//! A failed attempt to make room closes windows in the registers, but restores them in the map only, since a rescan
//! writes only bridges that are off. A window that was written by hand differs too.

use super::listed::Lists;
use super::root::{Root, root_of};
use super::windows::registers;
use crate::facts::{BusId, Finding, Function, PciResource, PciSource, ResourceKind, SourceLine};
use pmem_core::AddrRange;
use pmem_pci::Address;
use pmem_pci::tree::WindowKind;
use std::collections::BTreeMap;

/// A window that differs, in bus addresses.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) bridge: Address,
    pub(crate) kind: WindowKind,
    /// What the registers forward; `None` if the window is closed.
    pub(crate) registers: Option<AddrRange>,
    /// What the kernel's map has; `None` if it has no window.
    pub(crate) map: Option<AddrRange>,
    at: SourceLine,
}

impl Difference {
    pub(super) fn finding(&self) -> Finding {
        let what = match self.kind {
            WindowKind::Io => "I/O window",
            WindowKind::Memory => "memory window",
            WindowKind::Prefetchable => "prefetchable window",
        };
        let show =
            |range: Option<AddrRange>| range.map_or_else(|| "closed".to_owned(), |range| range.to_string());
        let (registers, map) = (show(self.registers), show(self.map));
        let text = format!(
            "bridge {}: {what} is {registers} in the registers but {map} in Linux's map",
            self.bridge
        );
        Finding::at(&self.at, text)
    }
}

/// Finds the differences of all bridges whose registers are known and whose windows Linux lists too.
pub(super) fn differences(
    functions: &BTreeMap<Address, Function>,
    roots: &[Root],
    listed: &Lists<'_>,
) -> Vec<Difference> {
    let roots: BTreeMap<BusId, &Root> = roots.iter().map(|root| (root.bus, root)).collect();
    let mut out = Vec::new();
    for function in functions.values() {
        let Some(root) = roots.get(&root_of(functions, function)) else { continue };
        match function.source {
            PciSource::Sysfs if function.lists_windows => noted(function, root, &mut out),
            PciSource::Lspci => unlisted(function, root, listed, &mut out),
            _ => {}
        }
    }
    out
}

fn windows_of(function: &Function) -> Vec<&PciResource> {
    function.resources.iter().filter(|r| r.kind == ResourceKind::Window).collect()
}

pub(super) fn kind_of(window: &PciResource) -> WindowKind {
    match (window.io, window.prefetchable) {
        (true, _) => WindowKind::Io,
        (false, false) => WindowKind::Memory,
        (false, true) => WindowKind::Prefetchable,
    }
}

/// The kernel's files give both registers and map.
fn noted(function: &Function, root: &Root, out: &mut Vec<Difference>) {
    let Some(header) = &function.header else { return };
    let Some(bridge) = header.bridge() else { return };
    let noted = windows_of(function);
    let own = registers(bridge, true, true, &noted, true);
    let all = [
        (WindowKind::Io, own.io.first()),
        (WindowKind::Memory, own.memory.first()),
        (WindowKind::Prefetchable, own.prefetchable.first()),
    ];
    for (kind, register) in all {
        let linux = noted.iter().find(|window| kind_of(window) == kind);
        let map = linux.and_then(|window| root.to_bus(window.range, window.io));
        // A bridge that is not set up reads zero.
        if register.copied() == map || (map.is_none() && register.is_some_and(|range| range.start() == 0)) {
            continue;
        }
        let at = linux.map(|window| window.at.clone()).or_else(|| function.at.clone());
        let at = at.unwrap_or_else(|| SourceLine::whole(function.bdf().to_string()));
        out.push(Difference { bridge: function.bdf(), kind, registers: register.copied(), map, at });
    }
}

/// `lspci` shows the registers, and a listing shows the map: finds listed windows that no register forwards.
fn unlisted(function: &Function, root: &Root, listed: &Lists<'_>, out: &mut Vec<Difference>) {
    let Some((first, _)) = function.below.filter(|_| function.lists_windows) else { return };
    let bus = (function.bdf().segment, first);
    let own = windows_of(function);
    let open =
        |kind: WindowKind| own.iter().find(|window| kind_of(window) == kind).map(|window| window.range);
    for io in [true, false] {
        let lines: Vec<(AddrRange, SourceLine)> = listed
            .lines_of(bus, io)
            .filter_map(|(line, at)| Some((root.to_bus(line.range, io)?, at)))
            .collect();
        let is_said = |range: AddrRange| own.iter().any(|window| window.io == io && window.range == range);
        let kinds: &[WindowKind] =
            if io { &[WindowKind::Io] } else { &[WindowKind::Memory, WindowKind::Prefetchable] };
        // Windows whose registers match no listed line.
        let mut left: Vec<WindowKind> = kinds
            .iter()
            .copied()
            .filter(|kind| open(*kind).is_none_or(|range| lines.iter().all(|(line, _)| *line != range)))
            .collect();
        for (map, at) in lines.into_iter().filter(|(line, _)| !is_said(*line)) {
            // What lies above 4 GiB is prefetchable.
            let wanted = match left.as_slice() {
                [_, second] if map.last() >> 32 != 0 => Some(*second),
                [first, ..] if map.last() >> 32 == 0 || *first != WindowKind::Memory => Some(*first),
                _ => None,
            };
            let Some(kind) = wanted else { continue };
            left.retain(|other| *other != kind);
            let registers = open(kind);
            out.push(Difference { bridge: function.bdf(), kind, registers, map: Some(map), at });
        }
    }
}
