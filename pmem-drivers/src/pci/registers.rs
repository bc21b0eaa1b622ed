//! Decoding the registers of a hierarchy.

use super::port::Port;
use pmem_core::Fault;
use pmem_pci::tree::{Function, Slot, Space, Tree, Window, WindowKind};
use pmem_pci::{Address, BusRange};

/// The fault of a function that no longer responds.
pub(super) const GONE: Fault = Fault::new("the function does not answer: it was removed");

/// Returns the bits of a register that a write controls.
pub(super) fn mask(function: &Function, offset: u16, width: u8) -> u32 {
    let all = u32::MAX >> (32 - 8 * u32::from(width.clamp(1, 4)));
    let bar = |n: u16| {
        let own =
            function.resources.iter().find(|r| matches!(r.slot, Slot::Bar(slot) if u16::from(slot) == n));
        own.map_or(all, |r| if r.space == Space::Io { !3 } else { !0xf })
    };
    let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
    let mut card_bus = windows.filter_map(|window| Some((card_bus(window)?, window.granule)));
    if let Some((_, granule)) = card_bus.find(|((base, limit), _)| [*base, *limit].contains(&offset)) {
        return !(granule as u32 - 1);
    }
    match (offset, function.bridge.is_some()) {
        // Command bits for spaces that the function does not have always read 0.
        (0x04, _) => 0x3,
        (0x10 | 0x14, true) | (0x10 | 0x14 | 0x18 | 0x1c | 0x20 | 0x24, false) => bar((offset - 0x10) / 4),
        (0x1c, true) => 0xf0f0,
        (0x20 | 0x24, true) => 0xfff0_fff0,
        (0x30, false) | (0x38, true) => 0xffff_f800,
        _ => all,
    }
}

/// Returns whether a function responds.
pub(super) fn answers(port: &mut dyn Port, address: Address) -> Result<bool, Fault> {
    Ok(port.read(address, 0, 4)? != u32::MAX)
}

/// Reads the registers of the functions in `like`. A function that does not respond stays as it is there if it is
/// marked absent; otherwise that is a fault.
pub(super) fn read(port: &mut dyn Port, like: &Tree) -> Result<Tree, Fault> {
    let mut tree = like.clone();
    for function in &mut tree.functions {
        let address = function.address;
        if !answers(port, address)? {
            if function.absent {
                continue;
            }
            return Err(GONE);
        }
        function.absent = false;
        function.command = Some(port.read(address, 0x04, 2)? as u16);
        let is_bridge = function.bridge.is_some();
        for resource in &mut function.resources {
            let offset = match resource.slot {
                Slot::Bar(n) => 0x10 + 4 * u16::from(n),
                Slot::Rom if is_bridge => 0x38,
                Slot::Rom => 0x30,
                // Virtual functions' BARs are in a capability, which not every user can read.
                Slot::Vf(_) => continue,
            };
            let low = u64::from(port.read(address, offset, 4)?);
            let wide = resource.is_wide() && resource.space == Space::Memory && resource.slot != Slot::Rom;
            let high = if wide { u64::from(port.read(address, offset + 4, 4)?) << 32 } else { 0 };
            let bits = match (resource.slot, resource.space) {
                (Slot::Rom, _) => !0x7ff,
                (_, Space::Io) => !3,
                (_, Space::Memory) => !0xf,
            };
            let at = (low & bits) | high;
            // A register of 0 has never been set.
            resource.at = Some(at).filter(|at| *at != 0);
        }
        let Some(bridge) = &mut function.bridge else { continue };
        for window in &mut bridge.windows {
            window.span = span(port, address, window)?;
        }
        let (first, last) = (port.read(address, 0x19, 1)? as u8, port.read(address, 0x1a, 1)? as u8);
        bridge.buses = (first != 0).then_some((first, last));
    }
    Ok(tree)
}

/// Returns the offsets of base and limit of a CardBus bridge window (PC Card Standard 8.0, volume 3).
fn card_bus(window: &Window) -> Option<(u16, u16)> {
    let at = if window.kind == WindowKind::Io { 0x2c } else { 0x1c } + 8 * u16::from(window.card_bus?);
    Some((at, at + 4))
}

/// Returns what a window's registers forward (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.6 to 3.2.5.10).
fn span(port: &mut dyn Port, address: Address, window: &Window) -> Result<Option<BusRange>, Fault> {
    let mut read = |offset: u16, width: u8| port.read(address, offset, width).map(u64::from);
    if let Some((base, limit)) = card_bus(window) {
        let step = window.granule - 1;
        return Ok(BusRange::new(read(base, 4)? & !step, read(limit, 4)? | step));
    }
    let (first, last) = match window.kind {
        WindowKind::Io => {
            let pair = read(0x1c, 2)?;
            let upper = if window.top > 0xffff { (read(0x30, 2)?, read(0x32, 2)?) } else { (0, 0) };
            ((pair & 0xf0) << 8 | upper.0 << 16, pair & 0xf000 | 0xfff | upper.1 << 16)
        }
        kind => {
            let is_prefetchable = kind == WindowKind::Prefetchable;
            let pair = read(if is_prefetchable { 0x24 } else { 0x20 }, 4)?;
            let wide = is_prefetchable && window.top > 0xffff_ffff;
            let upper = if wide { (read(0x28, 4)?, read(0x2c, 4)?) } else { (0, 0) };
            ((pair & 0xfff0) << 16 | upper.0 << 32, pair & 0xfff0_0000 | 0xf_ffff | upper.1 << 32)
        }
    };
    Ok(BusRange::new(first, last))
}
