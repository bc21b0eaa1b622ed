//! Shares the space left in a hot-plug port's windows among the bridges behind it, so that cards can be plugged
//! in there as well (`pci_bus_distribute_available_resources`).

use super::map::{Map, ResourceId};
use super::rules::Rules;
use super::size::Extra;
use crate::tree::{Index, Space, WindowKind};

const KINDS: [WindowKind; 3] = [WindowKind::Io, WindowKind::Memory, WindowKind::Prefetchable];

/// The space of one kind left to share, from `start` to `end`, end exclusive. The kernel's sums go below zero
/// and come back, so they wrap here too.
#[derive(Clone, Copy)]
struct Rest {
    start: u64,
    end: u64,
}

impl Rest {
    const fn len(self) -> u64 {
        self.end.wrapping_sub(self.start)
    }

    /// Drops what lies below the next multiple of `align`.
    fn align(&mut self, align: u64) {
        if align > 0 {
            self.start = up(self.start, align).min(self.end);
        }
    }

    /// Drops what a resource of this size and alignment takes from the start.
    fn take(&mut self, size: u64, align: u64) {
        if size > 0 {
            let gap = if align > 0 { up(self.start, align).wrapping_sub(self.start) } else { 0 };
            self.start = self.start.wrapping_add(gap).wrapping_add(size).min(self.end);
        }
    }
}

fn up(value: u64, align: u64) -> u64 {
    value.wrapping_add(align - 1) & !(align - 1)
}

/// Shares what a hot-plug port has among the bridges behind it.
pub(super) fn below_port(map: &mut Map, rules: &Rules, port: Index, extra: &mut Option<Extra>) {
    if !map.is_hot_plug(port) {
        return;
    }
    let all = KINDS.map(|kind| {
        let Window { start, size, .. } = Window::of(map, port, kind);
        Rest { start, end: start.wrapping_add(size) }
    });
    share(map, rules, port, extra, all);
}

/// Does the same at boot for all ports below a bus whose windows are not assigned yet.
pub(super) fn below_root(
    map: &mut Map,
    rules: &Rules,
    root: usize,
    bridge: Option<Index>,
    extra: &mut Option<Extra>,
) {
    for below in map.on_bus(root, bridge) {
        if !map.is_bridge(below) {
            continue;
        }
        let is_new = KINDS.iter().all(|kind| !Window::of(map, below, *kind).assigned);
        if bridge.is_some() && is_new {
            below_port(map, rules, below, extra);
        } else {
            below_root(map, rules, root, Some(below), extra);
        }
    }
}

/// A window as the kernel's sums see it.
struct Window {
    start: u64,
    /// 1 if there is no window: the kernel takes an empty resource for the range from 0 to 0.
    size: u64,
    assigned: bool,
    /// 0 if it is assigned, or does not exist.
    align: u64,
}

impl Window {
    fn of(map: &Map, bridge: Index, kind: WindowKind) -> Self {
        match map.get(ResourceId::Window(bridge, kind)).filter(|window| !window.dead) {
            Some(window) => match window.at {
                Some(start) => Self { start, size: window.size, assigned: true, align: 0 },
                None => Self { start: window.align, size: window.size, assigned: false, align: window.align },
            },
            None => Self { start: 0, size: 1, assigned: false, align: 0 },
        }
    }
}

fn share(map: &mut Map, rules: &Rules, bridge: Index, extra: &mut Option<Extra>, mut rest: [Rest; 3]) {
    for (kind, rest) in KINDS.into_iter().zip(&mut rest) {
        let window = Window::of(map, bridge, kind);
        if !window.assigned {
            rest.align(window.align);
            fill(map, rules, bridge, kind, extra, rest.len());
        }
    }
    let on_bus = map.on_bus(map.root_of(bridge), Some(bridge));
    let bridges: alloc::vec::Vec<Index> =
        on_bus.iter().copied().filter(|index| map.is_bridge(*index)).collect();
    let hot_plug = bridges.iter().filter(|index| map.is_hot_plug(**index)).count() as u64;
    if bridges.is_empty() {
        return;
    }
    if !rules.shares_what_is_left {
        if let ([only], first) = (bridges.as_slice(), on_bus.first()) {
            // The kernel takes the first function on the bus for the bridge.
            if first == Some(only) {
                share(map, rules, *only, extra, rest);
            }
            return;
        }
        if hot_plug == 0 {
            return;
        }
    }
    let wide = map.get(ResourceId::Window(bridge, WindowKind::Prefetchable)).is_some_and(|res| res.wide);
    for index in &on_bus {
        if rules.shares_what_is_left {
            take_all(map, *index, wide, &mut rest);
        } else if map.is_bridge(*index) && !map.is_hot_plug(*index) {
            for (kind, rest) in KINDS.into_iter().zip(&mut rest) {
                let window = Window::of(map, *index, kind);
                if !window.assigned {
                    rest.take(window.size, window.align);
                }
            }
        }
    }
    let count = if hot_plug > 0 { hot_plug } else { bridges.len() as u64 };
    let shares = rest.map(|rest| rest.len() / count);
    for below in bridges {
        if hot_plug > 0 && !map.is_hot_plug(below) {
            continue;
        }
        for ((kind, rest), share) in KINDS.into_iter().zip(&mut rest).zip(shares) {
            let window = Window::of(map, below, kind);
            let whole = if window.align > 0 && rules.shares_what_is_left {
                share & !(window.align - 1)
            } else {
                share
            };
            rest.end = rest.start.wrapping_add(whole);
            if rules.shares_what_is_left {
                // What it needs was subtracted already, so add it back.
                rest.start = rest.start.wrapping_sub(window.size);
            }
        }
        share(map, rules, below, extra, rest);
        for (rest, share) in rest.iter_mut().zip(shares) {
            rest.start = if rules.shares_what_is_left {
                rest.start.wrapping_add(rest.end)
            } else {
                rest.start.wrapping_add(share)
            };
        }
    }
}

/// Gives a window all the space that there is for it.
fn fill(map: &mut Map, rules: &Rules, bridge: Index, kind: WindowKind, extra: &mut Option<Extra>, size: u64) {
    let id = ResourceId::Window(bridge, kind);
    let Some(window) = map.get_mut(id).filter(|window| !window.dead) else { return };
    if size == 0 || size == window.size || (size < window.size && !rules.shrinks) {
        return;
    }
    window.size = size;
    if let Some(extra) = extra {
        extra.remove(&id);
    }
}

/// Subtracts what a function decodes and forwards.
fn take_all(map: &Map, index: Index, wide: bool, rest: &mut [Rest; 3]) {
    let [io, memory, prefetchable] = rest;
    for res in map.of(index).filter(|res| !(res.is_window() && res.dead)) {
        let align = if res.is_window() && res.at.is_some() { 0 } else { res.align };
        match res.space {
            Space::Io => io.take(res.size, align),
            Space::Memory if res.prefetchable && res.wide == wide => prefetchable.take(res.size, align),
            Space::Memory => memory.take(res.size, align),
        }
    }
}
