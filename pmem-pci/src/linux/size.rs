//! Sizes windows, and picks their alignment.

use super::map::{Map, Res, ResourceId};
use super::rules::{Rules, Sizing};
use crate::BusRange;
use crate::span::align_up;
use crate::tree::{Index, Space, WindowKind};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The optional part of each resource: how many bytes more it would like, and the alignment it has then.
pub(super) type Extra = BTreeMap<ResourceId, (u64, u64)>;

const MIB: u64 = 1 << 20;

fn up(value: u64, align: u64) -> u64 {
    align_up(value, align.max(1)).unwrap_or(u64::MAX)
}

/// Sizes the unassigned windows below a bridge, innermost first, and then its own. Without `extra`, optional
/// resources count as needed.
pub(super) fn size(map: &mut Map, rules: &Rules, bridge: Index, mut extra: Option<&mut Extra>) {
    for below in map.on_bus(map.root_of(bridge), Some(bridge)) {
        if map.is_bridge(below) {
            size(map, rules, below, extra.as_deref_mut());
        }
    }
    revive(map, bridge);
    let (io, memory, prefetchable) = if map.is_hot_plug(bridge) { rules.reserve } else { (0, 0, 0) };
    ports(map, bridge, io, extra.as_deref_mut());
    let wide = map.get(ResourceId::Window(bridge, WindowKind::Prefetchable)).map(|res| res.wide);
    let in_prefetchable =
        |wide_window: bool, prefetchable: bool, wide: bool| prefetchable && (wide || !wide_window);
    let mut memory_add = memory;
    match wide {
        Some(wide_window) => {
            let own = move |p: bool, w: bool| in_prefetchable(wide_window, p, w);
            memory_window(
                map,
                rules,
                bridge,
                WindowKind::Prefetchable,
                &own,
                prefetchable,
                extra.as_deref_mut(),
            );
        }
        None => memory_add += prefetchable,
    }
    let own = move |p: bool, w: bool| match wide {
        Some(wide_window) => !in_prefetchable(wide_window, p, w),
        None => true,
    };
    memory_window(map, rules, bridge, WindowKind::Memory, &own, memory_add, extra);
}

/// Allows windows that were given up to be requested again.
fn revive(map: &mut Map, bridge: Index) {
    for res in map.all.iter_mut().filter(|res| res.id.function() == bridge && res.id.is_window()) {
        res.dead = false;
    }
}

/// Sizes the I/O window.
fn ports(map: &mut Map, bridge: Index, add: u64, extra: Option<&mut Extra>) {
    let id = ResourceId::Window(bridge, WindowKind::Io);
    let Some(window) = map.get(id).copied() else { return };
    if window.at.is_some() {
        return;
    }
    let (mut small, mut large, mut align, mut children) = (0u64, 0u64, 0x1000u64, 0u64);
    for below in map.on_bus(map.root_of(bridge), Some(bridge)) {
        for res in
            map.of(below).filter(|res| res.space == Space::Io && res.at.is_none() && !res.dead && !res.fixed)
        {
            if res.size < 0x400 {
                small += res.size;
            } else {
                large += res.size;
            }
            align = align.max(if res.id.is_window() { res.align } else { 0 });
            if let Some(extra) = &extra {
                children += extra.get(&res.id).map_or(0, |(more, _)| *more);
            }
        }
    }
    let total = |least: u64, more: u64, children: u64| {
        // With an ISA bus only 256 of each 1024 ports can be used.
        let small = (small & 0xff) + ((small & !0xff) << 2);
        up(((small.max(least) + large).max(more) + children).max(window.size), align)
    };
    let least = if extra.is_some() { 0 } else { add };
    let (needed, all) = (total(least, 0, 0), total(least, add, children));
    set(map, id, needed, all, align, align, extra);
}

/// Resources with a larger alignment are given up ("bad alignment" in drivers/pci/setup-bus.c).
const MOST_ALIGN: u64 = 1 << 47;

/// Sizes a memory or prefetchable window.
fn memory_window(
    map: &mut Map,
    rules: &Rules,
    bridge: Index,
    kind: WindowKind,
    own: &dyn Fn(bool, bool) -> bool,
    add: u64,
    mut extra: Option<&mut Extra>,
) {
    let id = ResourceId::Window(bridge, kind);
    let Some(window) = map.get(id).copied() else { return };
    if window.at.is_some() {
        return;
    }
    let granule = MIB;
    let mut sum = 0u64;
    let mut aligns: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut largest, mut children, mut children_align) = (granule, 0u64, 0u64);
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    for below in map.on_bus(map.root_of(bridge), Some(bridge)) {
        let all: Vec<_> = map.of(below).copied().collect();
        for res in all {
            let asked =
                res.space == Space::Memory && res.at.is_none() && !res.dead && !res.fixed && res.size > 0;
            if !asked && !extra.as_ref().is_some_and(|extra| extra.contains_key(&res.id) && res.at.is_none())
            {
                continue;
            }
            if res.space != Space::Memory || !own(res.prefetchable, res.wide) {
                continue;
            }
            if res.align > MOST_ALIGN {
                map.get_mut(res.id).into_iter().for_each(|res| res.dead = true);
                continue;
            }
            if let Some(extra) = extra.as_deref_mut() {
                let optional = res.is_vf() || (res.is_rom() && rules.leaves_options_out);
                if optional {
                    children_align = children_align.max(res.align);
                    extra.insert(res.id, (res.size, res.align));
                    children += res.size;
                    continue;
                }
                if let Some((more, align)) = extra.get(&res.id) {
                    children += more;
                    children_align = children_align.max(*align);
                }
            }
            // Up to 6.14 even a window with only optional content counts, with its alignment.
            if res.size == 0 && rules.leaves_options_out {
                continue;
            }
            let align = res.align.max(granule);
            sum += res.size.max(res.align);
            if res.size <= res.align {
                *aligns.entry(align).or_insert(0) += res.align;
            }
            sizes.push((align, res.size.max(res.align)));
            largest = largest.max(align);
        }
    }
    let old = if rules.old_size_is_least { window.size } else { 0 };
    let least = if extra.is_some() { 0 } else { add };
    let relaxes = |size, align| {
        rules.sizing == Sizing::Relaxed && size > 0 && !fits_above(map, rules, &window, size, align)
    };
    let (mut align, mut needed) = match rules.sizing {
        Sizing::Half | Sizing::Relaxed => {
            let align = half(&aligns, largest);
            (align, up(sum.max(least).max(old), align))
        }
        Sizing::Head => (head(&sizes, largest), up(sum.max(least), granule)),
    };
    let relaxed = |align: u64| if rules.relaxes_freely { align.min(largest) } else { largest };
    let mut align_with = align.max(children_align);
    if relaxes(needed, align) {
        (align, needed, align_with) = (relaxed(align), up(sum.max(least).max(old), granule), granule);
    }
    let with = if extra.is_none() || (add == 0 && children == 0) {
        needed
    } else {
        let all = (sum.max(least).max(add) + children).max(old);
        let size = up(all, if rules.sizing == Sizing::Head { granule } else { align_with });
        if rules.relaxes_options && relaxes(size, align_with) {
            (align, align_with) = (relaxed(align), granule);
            up(all, granule)
        } else {
            size
        }
    };
    set(map, id, needed, with, align, align_with.max(align), extra);
}

/// Returns `true` if the nearest assigned window of the same kind above has room for it, or if there is none.
/// Apertures are not considered.
fn fits_above(map: &Map, rules: &Rules, window: &Res, size: u64, align: u64) -> bool {
    let alike = |res: &&Res| {
        let is_kind = res.prefetchable == window.prefetchable && (!window.wide || res.wide);
        res.is_window() && res.space == Space::Memory && is_kind
    };
    let mut next = map.parent(window.id.function());
    while let Some(above) = next {
        if let Some(span) = map.of(above).filter(alike).find_map(Res::span) {
            let on_bus = map.on_bus(map.root_of(above), Some(above));
            let taken: Vec<BusRange> = on_bus
                .iter()
                .flat_map(|index| map.of(*index))
                .filter(|res| res.space == Space::Memory)
                .filter_map(Res::span)
                .collect();
            return span.without(&taken).into_iter().any(|gap| {
                let placed = align_up(gap.first, align.max(1)).and_then(|at| BusRange::sized(at, size));
                placed.is_some_and(|placed| gap.covers(placed))
            });
        }
        next = map.parent(above);
    }
    // Two boots of 6.18 show that this applies to bridges below a switch's upstream port, and to none closer to
    // the root.
    !(rules.relaxes_freely && map.tree.above(window.id.function()).count() > 1)
}

/// Returns the least alignment at which the smaller resources still fill half of the larger ones.
fn half(aligns: &BTreeMap<u64, u64>, largest: u64) -> u64 {
    let (mut below, mut least) = (0u64, 0u64);
    let mut order = MIB;
    while order <= largest {
        if below == 0 {
            least = order;
        } else if up(below + least, least) < order {
            least = order >> 1;
        }
        below += aligns.get(&order).copied().unwrap_or(0);
        order <<= 1;
    }
    least.max(MIB)
}

/// Returns the lowest alignment at which the smaller resources still fit before the largest.
fn head(sizes: &[(u64, u64)], largest: u64) -> u64 {
    let (mut align, mut rest) = (largest, 0u64);
    let mut order = largest >> 1;
    while order >= MIB {
        rest += sizes.iter().filter(|(own, _)| *own == order).map(|(_, size)| size).sum::<u64>();
        while align > MIB && align > order && rest >= align / 2 {
            align /= 2;
            rest -= align;
        }
        order >>= 1;
    }
    align
}

/// Records what a window needs, and what it would like beyond that.
fn set(
    map: &mut Map,
    id: ResourceId,
    needed: u64,
    all: u64,
    align: u64,
    all_align: u64,
    extra: Option<&mut Extra>,
) {
    let Some(window) = map.get_mut(id) else { return };
    if needed == 0 && all == 0 {
        (window.size, window.dead) = (0, true);
        return;
    }
    (window.size, window.align) = (needed, align);
    if let Some(extra) = extra
        && all > needed
    {
        extra.insert(id, (all - needed, all_align));
    }
}
