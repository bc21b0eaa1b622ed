//! Assigns addresses: each bus in order of falling alignment, first fit.

use super::map::{Map, Res, ResourceId};
use super::rules::Rules;
use super::size::Extra;
use crate::BusRange;
use crate::blocks::{FOUR_GIB, walls};
use crate::span::align_up;
use crate::tree::{Index, Space, WindowKind};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Needed resources that could not be assigned, in order, with what they requested.
pub(super) type Failed = Vec<Res>;

/// Assigns a bridge's own resources, and everything below it.
pub(super) fn bridge(
    map: &mut Map,
    rules: &Rules,
    index: Index,
    extra: &mut Option<Extra>,
    failed: &mut Failed,
) {
    let head = sorted(map, &[index]);
    list(map, rules, head, extra, failed);
    bus(map, rules, map.root_of(index), Some(index), extra, failed);
    map.set_up(index);
}

/// Assigns everything on a bus, and then everything below it.
pub(super) fn bus(
    map: &mut Map,
    rules: &Rules,
    root: usize,
    bridge: Option<Index>,
    extra: &mut Option<Extra>,
    failed: &mut Failed,
) {
    let functions = map.on_bus(root, bridge);
    let head = sorted(map, &functions);
    list(map, rules, head, extra, failed);
    for below in functions {
        if map.is_bridge(below) {
            bus(map, rules, root, Some(below), extra, failed);
            // An enabled bridge keeps what its registers hold, whatever the map says from now on.
            if !map.is_on(below) {
                map.set_up(below);
            }
        }
    }
}

/// Lists what the functions request that has no place: by falling alignment, else in their order.
fn sorted(map: &Map, functions: &[Index]) -> Vec<ResourceId> {
    let mut all: Vec<(u64, ResourceId)> = Vec::new();
    for index in functions {
        let own = map.of(*index).filter(|res| res.at.is_none() && !res.dead && !res.fixed);
        all.extend(own.filter(|res| res.align > 0).map(|res| (res.align, res.id)));
    }
    all.sort_by_key(|(align, _)| core::cmp::Reverse(*align));
    all.into_iter().map(|(_, id)| id).collect()
}

/// Assigns a list. The first try includes all optional parts. If that fails, it assigns what is needed, and
/// then each optional part where it can.
fn list(map: &mut Map, rules: &Rules, head: Vec<ResourceId>, extra: &mut Option<Extra>, failed: &mut Failed) {
    let mut head = head;
    if let Some(extra) = extra.as_mut().filter(|extra| !extra.is_empty()) {
        let saved: Vec<Res> = head.iter().filter_map(|id| map.get(*id).copied()).collect();
        for id in &head {
            if let (Some((more, align)), Some(res)) = (extra.get(id).copied(), map.get_mut(*id)) {
                if res.is_vf() || res.is_rom() {
                    res.size = more;
                } else {
                    res.size += more;
                    res.align = res.align.max(align);
                }
            }
        }
        let mut larger = head.clone();
        larger.sort_by_key(|id| core::cmp::Reverse(map.get(*id).map_or(0, |res| res.align)));
        let mut local = Failed::new();
        requested(map, rules, &larger, &mut local);
        if local.is_empty() {
            extra.retain(|id, _| !head.contains(id));
            return;
        }
        let released = |res: &Res| local.iter().any(|failed| must_release(failed, res));
        let kept: BTreeSet<ResourceId> = larger
            .iter()
            .filter_map(|id| map.get(*id))
            .filter(|res| res.at.is_some() && !released(res))
            .map(|res| res.id)
            .collect();
        for id in &kept {
            extra.remove(id);
        }
        head.retain(|id| !kept.contains(id));
        for res in saved.into_iter().filter(|res| !kept.contains(&res.id)) {
            if let Some(had) = map.get_mut(res.id) {
                *had = res;
            }
        }
        // Resources that are entirely optional are not part of what is needed.
        for id in &head {
            if let Some(res) =
                map.get_mut(*id).filter(|res| res.is_vf() || (res.is_rom() && rules.leaves_options_out))
            {
                res.size = 0;
            }
        }
    }
    requested(map, rules, &head, failed);
    let Some(extra) = extra else { return };
    for id in head {
        let (Some((more, align)), Some(res)) = (extra.remove(&id), map.get(id).copied()) else { continue };
        if res.dead {
            continue;
        }
        grow(map, rules, &res, more, align);
    }
}

/// Returns `true` if an assigned resource is released again because another one failed.
fn must_release(failed: &Res, res: &Res) -> bool {
    match (failed.space, res.space) {
        (Space::Io, Space::Io) => true,
        (Space::Memory, Space::Memory) if failed.prefetchable => res.prefetchable,
        // This includes prefetchable resources in memory windows. Where they lie is not considered here.
        (Space::Memory, Space::Memory) => true,
        _ => false,
    }
}

/// Assigns what is needed, and gives up what fails.
fn requested(map: &mut Map, rules: &Rules, head: &[ResourceId], failed: &mut Failed) {
    for id in head {
        let Some(res) = map.get(*id).copied().filter(|res| res.size > 0 && res.at.is_none()) else {
            continue;
        };
        match place(map, rules, &res, res.size, res.align) {
            Some(at) => {
                if let Some(res) = map.get_mut(*id) {
                    res.at = Some(at);
                }
            }
            None => {
                if !res.is_rom() {
                    failed.push(res);
                }
                if let Some(res) = map.get_mut(*id) {
                    res.dead = true;
                    // A window forgets what it requested; a BAR keeps its size.
                    res.size = if id.is_window() { 0 } else { res.size };
                }
            }
        }
    }
}

/// Extends a resource by its optional part, in place or elsewhere.
fn grow(map: &mut Map, rules: &Rules, res: &Res, more: u64, align: u64) {
    if res.size == 0 || res.at.is_none() {
        let size = if res.size == 0 { more } else { res.size + more };
        let at = place(map, rules, res, size, align);
        if let Some(res) = map.get_mut(res.id) {
            (res.at, res.dead) = (at, at.is_none());
            if at.is_some() {
                (res.size, res.align) = (size, align.max(res.align));
            }
        }
        return;
    }
    // Its own addresses count as free.
    let had = res.at;
    if let Some(res) = map.get_mut(res.id) {
        res.at = None;
    }
    let at = place(map, rules, res, res.size + more, align);
    // What is assigned inside already must stay inside.
    let inside = at.and_then(|at| BusRange::sized(at, res.size + more));
    let covers = had
        .zip(inside)
        .is_some_and(|(had, span)| BusRange::sized(had, res.size).is_some_and(|had| span.covers(had)));
    let free = children(map, res.id).is_empty();
    if let Some(new) = map.get_mut(res.id) {
        if at.is_some() && (covers || free) {
            (new.at, new.size) = (at, res.size + more);
        } else {
            new.at = had;
        }
    }
}

/// Lists what is assigned directly inside a window.
pub(super) fn children(map: &Map, window: ResourceId) -> Vec<ResourceId> {
    let ResourceId::Window(bridge, _) = window else { return Vec::new() };
    let Some(own) = map.span(window) else { return Vec::new() };
    let space = map.get(window).map(|res| res.space);
    let below = map.on_bus(map.root_of(bridge), Some(bridge));
    let inside = below.iter().flat_map(|index| map.of(*index));
    inside
        .filter(|res| Some(res.space) == space && res.span().is_some_and(|span| own.covers(span)))
        .map(|res| res.id)
        .collect()
}

/// Finds an address for a resource in the windows of its bus: the best kind of window first, each from low to
/// high.
pub(super) fn place(map: &Map, rules: &Rules, res: &Res, size: u64, align: u64) -> Option<u64> {
    let index = res.id.function();
    let (root, parent) = (map.root_of(index), map.parent(index));
    let tries: &[fn(&Area) -> bool] = match (res.space, res.prefetchable, res.wide) {
        (Space::Io, ..) => &[|_| true],
        (Space::Memory, true, true) => &[
            |area| area.prefetchable && area.wide,
            |area| area.prefetchable,
            |area| !area.prefetchable || area.host,
        ],
        (Space::Memory, true, false) => {
            &[|area| area.prefetchable && !area.wide, |area| !area.prefetchable || area.host]
        }
        (Space::Memory, false, _) => &[|area| !area.prefetchable],
    };
    let areas = areas(map, root, parent, res.space);
    let mut transparent = parent;
    for suits in tries {
        let ranges: &[(u64, u64)] =
            if res.wide { &[(FOUR_GIB, u64::MAX), (0, u64::MAX)] } else { &[(0, 0xffff_ffff)] };
        for (low, high) in ranges {
            for area in areas.iter().filter(|area| suits(area)) {
                let clipped = BusRange::new(area.span.first.max(*low), area.span.last.min(*high));
                let found = clipped.and_then(|span| fit(map, rules, res, area, span, size, align));
                if found.is_some() {
                    return found;
                }
            }
        }
    }
    // Behind a subtractive bridge, the bus above is tried as well.
    while let Some(bridge) = transparent {
        let function = map.tree.functions.get(bridge)?;
        if !function.bridge.as_ref().is_some_and(|b| b.subtractive) {
            return None;
        }
        let mut moved = *res;
        moved.id = ResourceId::Window(bridge, WindowKind::Memory);
        transparent = function.parent;
        let areas = self::areas(map, root, transparent, res.space);
        for area in &areas {
            let found = fit(map, rules, &moved, area, area.span, size, align);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// A window of a bus, or an aperture of a root bus.
struct Area {
    span: BusRange,
    prefetchable: bool,
    wide: bool,
    host: bool,
    /// The bridge whose window it is; `None` for an aperture.
    bridge: Option<Index>,
}

fn areas(map: &Map, root: usize, bridge: Option<Index>, space: Space) -> Vec<Area> {
    match bridge {
        Some(bridge) => map
            .of(bridge)
            .filter(|res| res.id.is_window() && res.space == space)
            .filter_map(|res| {
                let Res { prefetchable, wide, .. } = *res;
                Some(Area { span: res.span()?, prefetchable, wide, host: false, bridge: Some(bridge) })
            })
            .collect(),
        None => {
            let apertures = map.tree.roots.get(root).map_or(&[][..], |root| &root.apertures);
            let own = apertures.iter().filter(|aperture| aperture.space == space);
            own.map(|aperture| Area {
                span: aperture.span,
                prefetchable: false,
                wide: false,
                host: true,
                bridge: None,
            })
            .collect()
        }
    }
}

/// Finds the first place in an area.
fn fit(
    map: &Map,
    rules: &Rules,
    res: &Res,
    area: &Area,
    span: BusRange,
    size: u64,
    align: u64,
) -> Option<u64> {
    let root = map.root_of(res.id.function());
    let mut taken: Vec<BusRange> = match area.bridge {
        Some(bridge) => map.on_bus(root, Some(bridge)),
        None => map.on_bus(root, None),
    }
    .iter()
    .flat_map(|index| map.of(*index))
    .filter(|other| other.space == res.space && other.id != res.id)
    .filter_map(Res::span)
    .collect();
    taken.extend(walls(&map.tree, root, res.space));
    for gap in span.without(&taken) {
        let first = align_up(gap.first, align.max(1))?;
        let first = if res.space == Space::Io { ports(first)? } else { first };
        let first =
            if rules.moved_down && res.id.is_window() { moved_down(first, gap, size, align) } else { first };
        if BusRange::sized(first, size).is_some_and(|span| gap.covers(span)) {
            return Some(first);
        }
    }
    None
}

/// Rounds up past ports with bit 8 or 9 set, which may be aliases of an ISA device.
fn ports(at: u64) -> Option<u64> {
    if at & 0x300 == 0 { Some(at) } else { align_up(at, 0x400) }
}

/// Lets a window whose size is no multiple of its alignment begin lower by the excess, if there is room.
fn moved_down(at: u64, gap: BusRange, size: u64, align: u64) -> u64 {
    let rest = size % align.max(1);
    if rest != 0 && rest.is_multiple_of(1 << 20) && at.checked_sub(rest).is_some_and(|low| low >= gap.first) {
        at - rest
    } else {
        at
    }
}
