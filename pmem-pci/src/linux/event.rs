//! What happens, and what the kernel makes of it.

use super::assign::{self, Failed, children};
use super::distribute;
use super::map::{Map, Res, ResourceId};
use super::rules::Rules;
use super::size::{Extra, size};
use crate::tree::{Index, Slot, Space, WindowKind};
use alloc::vec::Vec;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A card appears below a native hot-plug port (pciehp, shpchp): its functions are in the hierarchy, without places. The same as a
    /// rescan of a port's empty bus.
    Plug(Index),
    /// The same below a port that ACPI handles (acpiphp).
    PlugAcpi(Index),
    /// Everything is looked for again.
    Rescan,
    /// The machine is started: what firmware left without a place is asked for, in one try.
    Boot,
    /// The machine is started with `pci=realloc`: as many tries as there are levels, and one; between them windows of what failed are
    /// released, first those of bridges with nothing but functions below, then all that is below.
    Realloc,
    /// The machine is started, and nothing of what firmware left stays where it is: arm64 and POWER.
    Reassign,
    /// A base address register is given another size (`resourceN_resize`), its driver unbound before.
    Resize {
        /// Whose.
        function: Index,
        /// Which.
        slot: Slot,
        /// Bytes.
        size: u64,
    },
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The kernel's map.
    pub map: Map,
    /// What had no place in the end.
    pub failed: Vec<ResourceId>,
    /// It failed, and everything was put back.
    pub put_back: bool,
    /// What had a place before, is no part of the card, and has none now, or another.
    pub hurt: Vec<ResourceId>,
}

/// Says what Linux makes of an event, where its map is this.
#[must_use]
pub fn predict(before: &Map, rules: &Rules, event: Event) -> Outcome {
    let tree = &before.tree;
    // Once it runs, nothing is relaxed without need.
    let at_boot = matches!(event, Event::Boot | Event::Reassign | Event::Realloc);
    let rules = &Rules { relaxes_freely: rules.relaxes_freely && at_boot, ..*rules };
    let mut map = before.clone();
    let mut failed = Failed::new();
    let mut put_back = false;
    match event {
        Event::Plug(port) => plug(&mut map, rules, port, &mut failed),
        Event::PlugAcpi(port) => {
            let mut extra = Some(Extra::new());
            for below in map.on_bus(map.root_of(port), Some(port)) {
                if map.is_bridge(below) {
                    size(&mut map, rules, below, extra.as_mut());
                }
            }
            let root = map.root_of(port);
            assign::bus(&mut map, rules, root, Some(port), &mut extra, &mut failed);
        }
        Event::Resize { function, slot, size } => {
            put_back = !resize(&mut map, rules, ResourceId::Slot(function, slot), size, &mut failed);
        }
        Event::Rescan => everything(&mut map, rules, &mut failed),
        Event::Boot => {
            ask_for_all(&mut map);
            boot(&mut map, rules, true, &mut failed);
        }
        Event::Reassign => {
            release_all(&mut map);
            boot(&mut map, rules, true, &mut failed);
            (0..map.tree.functions.len()).for_each(|index| map.set_up(index));
        }
        Event::Realloc => realloc(&mut map, rules, &mut failed),
    }
    map.settle();
    let fresh = |id: &ResourceId| tree.functions.get(id.function()).is_some_and(|f| f.absent);
    let hurt = before
        .all
        .iter()
        .filter(|res| !fresh(&res.id) && res.span().is_some() && map.span(res.id) != res.span())
        .map(|res| res.id)
        .collect();
    let failed = failed.iter().map(|res| res.id).filter(|id| map.span(*id).is_none()).collect();
    Outcome { map, failed, put_back, hurt }
}

/// Sizes and assigns what is below every host bridge.
fn everything(map: &mut Map, rules: &Rules, failed: &mut Failed) {
    all(map, rules, true, false, failed);
}

/// The same at boot, where hot-plug ports share what they have; only where `lenient` what is optional stays so.
fn boot(map: &mut Map, rules: &Rules, lenient: bool, failed: &mut Failed) {
    all(map, rules, lenient, rules.shares_what_is_left, failed);
}

fn all(map: &mut Map, rules: &Rules, lenient: bool, shares: bool, failed: &mut Failed) {
    for root in 0..map.tree.roots.len() {
        let mut extra = lenient.then(Extra::new);
        for below in map.on_bus(root, None) {
            if map.is_bridge(below) {
                size(map, rules, below, extra.as_mut());
            }
        }
        if shares {
            distribute::below_root(map, rules, root, None, &mut extra);
        }
        assign::bus(map, rules, root, None, &mut extra, failed);
    }
}

/// Nothing has a place but what cannot be elsewhere.
fn release_all(map: &mut Map) {
    for res in map.all.iter_mut().filter(|res| !res.fixed) {
        (res.at, res.dead) = (None, false);
        if res.is_window() {
            res.size = 0;
        }
    }
}

/// What has no place is asked for at boot.
fn ask_for_all(map: &mut Map) {
    for res in map.all.iter_mut().filter(|res| res.at.is_none() && !res.is_window()) {
        res.dead = false;
    }
}

/// A boot with `pci=realloc`: only the last try leaves out what is optional.
fn realloc(map: &mut Map, rules: &Rules, failed: &mut Failed) {
    let levels = (0..map.tree.functions.len()).map(|index| map.tree.above(index).count()).max().unwrap_or(0);
    let tries = levels + 1;
    ask_for_all(map);
    for n in 1..=tries {
        failed.clear();
        boot(map, rules, n == tries, failed);
        if failed.is_empty() || n == tries {
            break;
        }
        for lost in failed.iter() {
            let (root, parent) = (map.root_of(lost.id.function()), map.parent(lost.id.function()));
            release_bus(map, root, parent, lost, n > 1);
        }
        give_up(map, failed);
    }
    // At boot no bridge is on yet.
    (0..map.tree.functions.len()).for_each(|index| map.set_up(index));
}

/// What failed is as it was before it was tried, and its windows are none for the moment.
fn give_up(map: &mut Map, failed: &Failed) {
    for lost in failed {
        if let Some(res) = map.get_mut(lost.id) {
            *res = *lost;
            res.dead = lost.id.is_window();
        }
    }
}

/// Two tries for a port; between them what failed, and what lies around it, is released.
fn plug(map: &mut Map, rules: &Rules, port: Index, failed: &mut Failed) {
    for again in [true, false] {
        failed.clear();
        let mut extra = Some(Extra::new());
        size(map, rules, port, extra.as_mut());
        distribute::below_port(map, rules, port, &mut extra);
        assign::bridge(map, rules, port, &mut extra, failed);
        if failed.is_empty() || !again {
            break;
        }
        for lost in failed.iter() {
            release(map, rules, lost);
        }
        give_up(map, failed);
    }
}

/// Gives a register another size: all of the function that lie in the same window are released, and so are the windows above in which
/// nothing is left then, up to one that still holds something; from there on all is sized and assigned anew. If that fails all is put back,
/// and `false` is returned.
fn resize(map: &mut Map, rules: &Rules, id: ResourceId, bytes: u64, failed: &mut Failed) -> bool {
    let saved = map.clone();
    let function = id.function();
    let Some(resized) = map.get(id).copied() else { return false };
    for res in map.all.iter_mut().filter(|res| res.id.function() == function && is_alike(&resized, res)) {
        res.at = None;
    }
    if let Some(res) = map.get_mut(id) {
        (res.size, res.align, res.dead) = (bytes, bytes, false);
    }
    let mut top = None;
    let mut next = map.parent(function);
    while let Some(bridge) = next {
        top = Some(bridge);
        let kind = [WindowKind::Prefetchable, WindowKind::Memory, WindowKind::Io]
            .map(|kind| ResourceId::Window(bridge, kind))
            .into_iter()
            .find(|id| map.get(*id).is_some_and(|window| is_alike(&resized, window)));
        let Some(window) = kind.filter(|id| map.span(*id).is_some() && children(map, *id).is_empty()) else {
            break;
        };
        if let Some(res) = map.get_mut(window) {
            (res.at, res.size) = (None, 0);
        }
        next = map.parent(bridge);
    }
    let mut extra = Some(Extra::new());
    let mut options = Vec::new();
    match top {
        Some(bridge) => {
            size(map, rules, bridge, extra.as_mut());
            options.extend(extra.iter().flatten().map(|(id, _)| *id));
            assign::bridge(map, rules, bridge, &mut extra, failed);
        }
        None => assign::bus(map, rules, saved.root_of(function), None, &mut extra, failed),
    }
    let has_none = |id: &ResourceId| map.span(*id).is_none();
    if failed.iter().any(|res| res.space == resized.space && !res.is_window())
        || (rules.undoes_for_options && options.iter().any(has_none))
    {
        *map = saved;
        return false;
    }
    true
}

/// Of one kind: what Linux releases together.
fn is_alike(a: &Res, b: &Res) -> bool {
    a.space == b.space && a.prefetchable == b.prefetchable && a.wide == b.wide && !b.is_vf() && !b.is_rom()
}

/// Releases the windows of one kind on the bus of something that failed, and that bus's own.
fn release(map: &mut Map, rules: &Rules, lost: &Res) {
    let index = lost.id.function();
    let (root, parent) = (map.root_of(index), map.parent(index));
    if parent.is_some() || rules.releases_on_root {
        release_bus(map, root, parent, lost, true);
    }
}

/// Releases a bridge's window of what failed; with `whole` also those below, else only if it has no bridge below.
fn release_bus(map: &mut Map, root: usize, bridge: Option<Index>, lost: &Res, whole: bool) {
    let mut is_leaf = true;
    for below in map.on_bus(root, bridge) {
        if map.is_bridge(below) {
            is_leaf = false;
            if whole {
                release_bus(map, root, Some(below), lost, true);
            }
        }
    }
    let Some(bridge) = bridge.filter(|_| whole || is_leaf) else { return };
    let kind = match (lost.space, lost.prefetchable) {
        (Space::Io, _) => WindowKind::Io,
        // A window that was given up is none at that moment, and the other one is taken for it.
        (Space::Memory, true)
            if map
                .get(ResourceId::Window(bridge, WindowKind::Prefetchable))
                .is_some_and(|window| !window.dead && (lost.wide || !window.wide)) =>
        {
            WindowKind::Prefetchable
        }
        (Space::Memory, _) => WindowKind::Memory,
    };
    let id = ResourceId::Window(bridge, kind);
    if map.span(id).is_none() {
        return;
    }
    for child in children(map, id) {
        if let Some(res) = map.get_mut(child) {
            res.at = None;
        }
    }
    if let Some(res) = map.get_mut(id) {
        // It keeps its size.
        res.at = None;
    }
    map.set_up(bridge);
}
