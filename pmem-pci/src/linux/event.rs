//! Events, and what the kernel does in response.

use super::assign::{self, Failed, children};
use super::distribute;
use super::map::{Map, Res, ResourceId};
use super::rules::Rules;
use super::size::{Extra, size};
use crate::tree::{Index, Slot, Space, WindowKind};
use alloc::vec::Vec;

/// An event that makes the kernel assign resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A card appears below a native hot-plug port (pciehp, shpchp). Its functions are in the hierarchy,
    /// without places. Holds the port. A rescan of a port's empty bus is the same.
    Plug(Index),
    /// A card appears below a port that ACPI handles (acpiphp). Holds the port.
    PlugAcpi(Index),
    /// A rescan of all buses.
    Rescan,
    /// A boot. The kernel requests what firmware left without a place, in one try.
    Boot,
    /// A boot with `pci=realloc`: one try more than there are levels. Between tries the windows of what failed
    /// are released: first those of bridges with no bridge below, then all windows further down as well.
    Realloc,
    /// A boot in which the kernel keeps nothing of what firmware assigned (arm64, POWER).
    Reassign,
    /// A BAR gets another size through `resourceN_resize`, after its driver was unbound.
    Resize {
        /// The function.
        function: Index,
        /// The BAR.
        slot: Slot,
        /// The new size in bytes.
        size: u64,
    },
}

/// The result of an event.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The kernel's map afterwards.
    pub map: Map,
    /// The needed resources that got no place in the end. ROMs and optional parts are not listed.
    pub failed: Vec<ResourceId>,
    /// Whether the event failed and everything was restored.
    pub put_back: bool,
    /// The resources and windows, other than those of the new card, that lost their place, moved, or changed size.
    pub hurt: Vec<ResourceId>,
}

/// Predicts what Linux does on an event, given its map before.
///
/// # Examples
/// A card is plugged in below a port whose window has room for it:
/// ```
/// use pmem_pci::BusRange;
/// use pmem_pci::linux::{Event, Map, ResourceId, Rules, predict};
/// use pmem_pci::tree::{
///     Aperture, Bridge, Function, Resource, Root, Slot, Space, Tree, Window, WindowKind,
/// };
///
/// let span = BusRange { first: 0xe000_0000, last: 0xe01f_ffff };
/// let mut port = Function::new("00:1c.0".parse()?, None, 0);
/// let (kind, granule) = (WindowKind::Memory, 1 << 20);
/// let window = Window { kind, span: Some(span), granule, top: 0xffff_ffff, card_bus: None };
/// port.bridge = Some(Bridge { windows: vec![window], hot_plug: true, ..Bridge::default() });
/// let mut card = Function::new("01:00.0".parse()?, Some(0), 0);
/// card.absent = true;
/// card.resources.push(Resource {
///     slot: Slot::Bar(0), space: Space::Memory, prefetchable: false, top: 0xffff_ffff,
///     size: 64 << 10, align: 64 << 10, at: None, fixed: false, optional: false,
/// });
/// let apertures = vec![Aperture { space: Space::Memory, span, cpu: span.first }];
/// let root = Root { apertures, ..Root::default() };
/// let tree = Tree { roots: vec![root], functions: vec![port, card], avoid: vec![] };
///
/// let rules = Rules::parse("6.12.41+deb13-amd64").ok_or("not a kernel version")?;
/// let after = predict(&Map::new(&tree), &rules, Event::Plug(0));
/// let bar = after.map.span(ResourceId::Slot(1, Slot::Bar(0)));
/// assert_eq!(bar.map(|bar| bar.first), Some(0xe000_0000));
/// assert!(after.failed.is_empty() && after.hurt.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn predict(before: &Map, rules: &Rules, event: Event) -> Outcome {
    let tree = &before.tree;
    // Relaxed alignment without a window above only happens at boot.
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

/// Sizes and assigns everything below all host bridges, as a rescan does.
fn everything(map: &mut Map, rules: &Rules, failed: &mut Failed) {
    all(map, rules, true, false, failed);
}

/// Sizes and assigns everything at boot, where hot-plug ports also share what they have. Unless `lenient`,
/// optional resources count as needed.
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

/// Releases everything that can be elsewhere.
fn release_all(map: &mut Map) {
    for res in map.all.iter_mut().filter(|res| !res.fixed) {
        (res.at, res.dead) = (None, false);
        if res.is_window() {
            res.size = 0;
        }
    }
}

/// Requests everything that has no place, as the kernel does at boot.
fn ask_for_all(map: &mut Map) {
    for res in map.all.iter_mut().filter(|res| res.at.is_none() && !res.is_window()) {
        res.dead = false;
    }
}

/// Models a boot with `pci=realloc`: all tries but the last count optional resources as needed.
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
    // At boot no bridge is enabled yet, so all windows are written.
    (0..map.tree.functions.len()).for_each(|index| map.set_up(index));
}

/// Restores what failed to its state before the try, and gives its windows up for the moment.
fn give_up(map: &mut Map, failed: &Failed) {
    for lost in failed {
        if let Some(res) = map.get_mut(lost.id) {
            *res = *lost;
            res.dead = lost.id.is_window();
        }
    }
}

/// Models a hot-plug: two tries. Between them, what failed and the windows around it are released.
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

/// Models a BAR resize. All resources of the function in the same window are released, and so is each window
/// above that is empty then, up to the first that still holds something. From there on down everything is sized
/// and assigned again. If that fails, everything is restored and the result is `false`.
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

/// Returns `true` for resources of one kind, which Linux releases together.
fn is_alike(a: &Res, b: &Res) -> bool {
    a.space == b.space && a.prefetchable == b.prefetchable && a.wide == b.wide && !b.is_vf() && !b.is_rom()
}

/// Releases the windows of one kind on the bus of a resource that failed, and that bus's own.
fn release(map: &mut Map, rules: &Rules, lost: &Res) {
    let index = lost.id.function();
    let (root, parent) = (map.root_of(index), map.parent(index));
    if parent.is_some() || rules.releases_on_root {
        release_bus(map, root, parent, lost, true);
    }
}

/// Releases the bridge's window for a resource that failed. With `whole` the windows below are released too;
/// without it, only a bridge with no bridge below releases its own.
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
        // A prefetchable window that was given up does not exist at this moment, so the kernel picks the memory
        // window.
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
        // It keeps its size, and is requested at that size again.
        res.at = None;
    }
    map.set_up(bridge);
}
