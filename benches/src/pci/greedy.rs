//! Our models of what others do, after their published algorithms, not their code: each bus sorted, offsets
//! from the bottom up, first fit.

use super::layouts::MIB;
use pmem_pci::BusRange;
use pmem_pci::tree::{Index, Resource, Tree};

/// The algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// edk2: by falling alignment; everything is one block at the lowest address that is aligned for all of it.
    Edk2,
    /// coreboot v4: the same offsets inside bridges, but each block on the root bus at the first place that
    /// fits.
    Coreboot,
    /// openvmm: largest first, each at the first place that fits. What must stay keeps its place.
    Openvmm,
}

/// Something on a bus: a BAR, or a bridge's window with its content.
struct Block {
    size: u64,
    align: u64,
    /// The BARs inside, by offset.
    inside: Vec<(Index, u64)>,
    /// The bridges inside, by offset and length.
    windows: Vec<(Index, u64, u64)>,
}

fn up(value: u64, align: u64) -> u64 {
    value.div_ceil(align) * align
}

/// Lists the blocks on a bus.
fn blocks(tree: &Tree, bridge: Option<Index>, like: Like) -> Vec<Block> {
    let mut out = Vec::new();
    for (index, function) in tree.on_bus(0, bridge) {
        for resource in function.resources.iter().filter(|r| r.at.is_none()) {
            let inside = vec![(index, 0)];
            out.push(Block { size: resource.size, align: resource.align, inside, windows: Vec::new() });
        }
        if function.bridge.is_some() {
            let own = packed(blocks(tree, Some(index), like));
            if own.size == 0 {
                continue;
            }
            let size = up(own.size, MIB);
            let mut windows = own.windows;
            windows.push((index, 0, size));
            out.push(Block { size, align: own.align.max(MIB), inside: own.inside, windows });
        }
    }
    if like == Like::Openvmm {
        out.sort_by_key(|block| std::cmp::Reverse(block.size));
    } else {
        out.sort_by_key(|block| std::cmp::Reverse(block.align));
    }
    out
}

/// Packs blocks one after the other.
fn packed(blocks: Vec<Block>) -> Block {
    let mut out = Block { size: 0, align: 1, inside: Vec::new(), windows: Vec::new() };
    for block in blocks {
        let at = up(out.size, block.align);
        out.inside.extend(block.inside.into_iter().map(|(index, offset)| (index, at + offset)));
        out.windows.extend(block.windows.into_iter().map(|(index, offset, len)| (index, at + offset, len)));
        out.size = at + block.size;
        out.align = out.align.max(block.align);
    }
    out
}

fn put(tree: &mut Tree, block: Block, at: u64) {
    for (index, offset) in block.inside {
        let own = tree.functions.get_mut(index).into_iter().flat_map(|f| &mut f.resources);
        own.filter(|r| r.at.is_none()).for_each(|resource| resource.at = Some(at + offset));
    }
    for (index, offset, len) in block.windows {
        let bridge = tree.functions.get_mut(index).and_then(|f| f.bridge.as_mut());
        if let Some(window) = bridge.and_then(|bridge| bridge.windows.first_mut()) {
            window.span = BusRange::sized(at + offset, len);
        }
    }
}

/// Places a whole hierarchy; `None` if something has no place.
pub fn place(tree: &Tree, like: Like) -> Option<Tree> {
    let mut out = tree.clone();
    let mut taken: Vec<BusRange> =
        tree.functions.iter().flat_map(|f| f.resources.iter().filter_map(Resource::span)).collect();
    let mut blocks = blocks(tree, None, like);
    if like == Like::Edk2 {
        blocks = vec![packed(blocks)];
    }
    let apertures: Vec<BusRange> =
        tree.roots.first()?.apertures.iter().map(|aperture| aperture.span).collect();
    for block in blocks.into_iter().filter(|block| block.size > 0) {
        let at = apertures.iter().find_map(|aperture| {
            let mut at = up(aperture.first, block.align);
            loop {
                let span = BusRange::sized(at, block.size).filter(|span| aperture.covers(*span))?;
                match taken.iter().filter(|other| other.overlaps(span)).map(|other| other.last).max() {
                    Some(last) => at = up(last + 1, block.align),
                    None => return Some(at),
                }
            }
        })?;
        taken.push(BusRange::sized(at, block.size)?);
        put(&mut out, block, at);
    }
    Some(out)
}

/// Models FreeBSD's NEW_PCIB. A BAR goes to the first place in its window; otherwise the window grows at either
/// end, and those above it with it. Nothing shrinks or moves. Also returns the number of windows that changed.
pub fn grow(tree: &mut Tree, port: Index, size: u64) -> Option<(u64, usize)> {
    let mut grown = 0;
    let at = slot(tree, Some(port), size, size, &mut grown)?;
    Some((at, grown))
}

fn window(tree: &Tree, bridge: Index) -> Option<BusRange> {
    tree.functions.get(bridge)?.bridge.as_ref()?.windows.first()?.span
}

/// Lists what is taken on a bus, except by `but`.
fn taken(tree: &Tree, bridge: Option<Index>, but: Option<Index>) -> Vec<BusRange> {
    let on_bus = tree.on_bus(0, bridge).filter(|(index, _)| Some(*index) != but);
    on_bus
        .flat_map(|(index, f)| {
            let own = f.resources.iter().filter_map(Resource::span);
            own.chain(window(tree, index)).collect::<Vec<_>>()
        })
        .collect()
}

fn first_fit(ranges: &[BusRange], taken: &[BusRange], size: u64, align: u64) -> Option<u64> {
    ranges.iter().find_map(|range| {
        let gaps = range.without(taken);
        gaps.into_iter().find_map(|gap| {
            let at = up(gap.first, align);
            BusRange::sized(at, size).filter(|span| gap.covers(*span)).map(|span| span.first)
        })
    })
}

/// Finds a place for `size` bytes on the bus below a bridge, or on the root bus.
fn slot(tree: &mut Tree, bridge: Option<Index>, size: u64, align: u64, grown: &mut usize) -> Option<u64> {
    let Some(bridge) = bridge else {
        let ranges: Vec<BusRange> = tree.roots.first()?.apertures.iter().map(|a| a.span).collect();
        return first_fit(&ranges, &taken(tree, None, None), size, align);
    };
    let own = window(tree, bridge);
    if let Some(at) = own.and_then(|own| first_fit(&[own], &taken(tree, Some(bridge), None), size, align)) {
        return Some(at);
    }
    let parent = tree.functions.get(bridge)?.parent;
    let new = match own {
        // A closed window opens where the bus above has room.
        None => BusRange::sized(slot(tree, parent, up(size, MIB), align.max(MIB), grown)?, up(size, MIB))?,
        Some(own) => {
            let around = |tree: &Tree| {
                let ranges = match parent {
                    Some(parent) => window(tree, parent).into_iter().collect::<Vec<_>>(),
                    None => tree
                        .roots
                        .first()
                        .map_or(Vec::new(), |root| root.apertures.iter().map(|a| a.span).collect()),
                };
                let others = taken(tree, parent, Some(bridge));
                let gap =
                    ranges.iter().flat_map(|range| range.without(&others)).find(|gap| gap.covers(own))?;
                let at = first_fit(&[gap], &taken(tree, Some(bridge), None), size, align)?;
                Some(own.hull(BusRange::sized(at, size)?.rounded(MIB)))
            };
            match around(tree) {
                Some(new) => new,
                None => {
                    // Grow the window above by as much, and try again.
                    let above = parent?;
                    let held = window(tree, above)?;
                    let wider = up(held.len() + size, MIB);
                    let at = slot(tree, tree.functions.get(above)?.parent, wider, align.max(MIB), grown);
                    let _ = at?;
                    around(tree)?
                }
            }
        }
    };
    let window = tree.functions.get_mut(bridge)?.bridge.as_mut()?.windows.first_mut()?;
    window.span = Some(new);
    *grown += 1;
    first_fit(&[new], &taken(tree, Some(bridge), None), size, align)
}
