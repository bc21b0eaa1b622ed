//! Blocks in one address space: those in place, those to be placed, and the windows around them.

use crate::BusRange;
use alloc::vec::Vec;

/// An index into [`Layout::blocks`].
pub(crate) type BlockId = usize;

/// A block of addresses of one resource, or a wall.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) size: u64,
    /// The alignment of its start, a power of two.
    pub(crate) align: u64,
    /// The lowest address that it may begin at.
    pub(crate) floor: u64,
    /// The highest address that it may end at, inclusive.
    pub(crate) top: u64,
    /// Where it is; `None` if it is to be placed.
    pub(crate) at: Option<u64>,
}

/// A window: the hull of the blocks in it, rounded to whole granules.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The granule, a power of two.
    pub(crate) granule: u64,
    /// The highest address that it may end at, inclusive.
    pub(crate) top: u64,
    /// The range it must keep, so that all blocks must fit inside; `None` if it can be cut to what lies in it.
    pub(crate) hard: Option<BusRange>,
    pub(crate) blocks: Vec<BlockId>,
}

/// A leaf or a group.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Leaf(Leaf),
    Group(Group),
}

/// The blocks of one space below one host bridge. A block has a higher id than the group it is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) blocks: Vec<Block>,
    /// The blocks in no group, including walls: addresses that no aperture has, or that must be avoided.
    pub(crate) outermost: Vec<BlockId>,
}

impl Layout {
    /// Adds a block to a group, or to the outermost blocks.
    pub(crate) fn add(&mut self, group: Option<BlockId>, block: Block) -> BlockId {
        let id = self.blocks.len();
        self.blocks.push(block);
        match group.and_then(|group| self.blocks.get_mut(group)) {
            Some(Block::Group(group)) => group.blocks.push(id),
            _ => self.outermost.push(id),
        }
        id
    }

    /// Adds a wall: addresses where nothing else may be placed.
    pub(crate) fn add_wall(&mut self, group: Option<BlockId>, span: BusRange) -> BlockId {
        let leaf = Leaf { size: span.len(), align: 1, floor: 0, top: u64::MAX, at: Some(span.first) };
        self.add(group, Block::Leaf(leaf))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Where a block is, of whole granules; `None` if nothing is in it.
    fn span_of(layout: &Layout, id: BlockId, at: &BTreeMap<BlockId, u64>) -> Option<BusRange> {
        match &layout.blocks[id] {
            Block::Leaf(leaf) => BusRange::sized(*leaf.at.as_ref().or(at.get(&id))?, leaf.size),
            Block::Group(group) => {
                let inside = group.blocks.iter().filter_map(|id| span_of(layout, *id, at));
                let hull = inside.reduce(BusRange::hull).map(|hull| hull.rounded(group.granule));
                group.hard.or(hull)
            }
        }
    }

    /// Whether all lies as it must, worked out from what is said alone: whatever is missing in `at` is not there.
    pub(crate) fn is_legal(layout: &Layout, at: &BTreeMap<BlockId, u64>) -> bool {
        let buses = layout.blocks.iter().filter_map(|block| match block {
            Block::Group(group) => Some((&group.blocks, group.hard)),
            Block::Leaf(_) => None,
        });
        let bounds = layout.blocks.iter().enumerate().all(|(id, block)| {
            let Some(span) = span_of(layout, id, at) else { return true };
            match block {
                Block::Leaf(leaf) if leaf.at.is_some() => true,
                Block::Leaf(leaf) => {
                    span.first % leaf.align == 0 && span.first >= leaf.floor && span.last <= leaf.top
                }
                Block::Group(group) => span.last <= group.top,
            }
        });
        bounds
            && buses.chain([(&layout.outermost, None)]).all(|(blocks, hard)| {
                let spans: Vec<BusRange> = blocks.iter().filter_map(|id| span_of(layout, *id, at)).collect();
                let apart = spans.iter().enumerate().all(|(i, a)| spans[..i].iter().all(|b| !a.overlaps(*b)));
                apart && hard.is_none_or(|hard| spans.iter().all(|span| hard.covers(*span)))
            })
    }
}
