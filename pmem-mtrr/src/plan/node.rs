//! The nodes of the halved space, and the registers around them.

use super::Planner;
use super::pieces::Piece;
use crate::block::Block;
use crate::kind::MemType;
use crate::regs::Register;

/// What is around a node: the type of the nearest register, an undefined mix, or no register, so that the default
/// counts. The numbers are places in vectors of costs; that of a type is [`MemType::index`].
pub(super) type State = usize;

/// An undefined mix, which pinned registers can make. Inside it, only an uncacheable register helps.
pub(super) const UNDEFINED: State = 5;
/// No register around. Where several defaults are computed together, this is the first of them.
pub(super) const NONE: State = 6;

/// Returns the types of registers that are worth having right inside a state, as bits of [`MemType::index`].
///
/// A register helps only where [`MemType::over`] makes another defined type of it and the state. All others are useless
/// or undefined, so an optimum has none of them.
pub(super) const fn inside(state: State) -> u8 {
    match state {
        // UC stays UC whatever is inside.
        0 => 0,
        // In WC, WT, WP or a mix, only UC makes another defined type.
        1 | 2 | 3 | UNDEFINED => 0b00001,
        // In WB, so does WT.
        4 => 0b00101,
        _ => 0b11111,
    }
}

/// Returns the state inside a pinned register of type `kind`, given the state around it.
pub(super) const fn with_pinned(state: State, kind: MemType) -> State {
    if state >= NONE {
        return kind.index();
    }
    let made = if state < UNDEFINED { MemType::ALL[state].over(kind) } else { MemType::Uc.over(kind) };
    // A mix is still a mix with any type but UC.
    match made {
        Some(made) if state < UNDEFINED || matches!(kind, MemType::Uc) => made.index(),
        _ => UNDEFINED,
    }
}

/// A block, and the pieces that it overlaps: from `first` to `last`, both inclusive.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) block: Block,
    first: u32,
    last: u32,
}

impl Node {
    /// A placeholder for unused places in a path.
    pub(super) const NONE: Self = Self { block: Block::PAGE, first: 0, last: 0 };
}

impl Planner<'_> {
    pub(super) fn root(&self) -> Option<Node> {
        let block = Block::new(0, self.problem.width.bits())?;
        Some(Node { block, first: 0, last: u32::try_from(self.pieces.len()).ok()?.checked_sub(1)? })
    }

    /// Returns the piece that a node lies in, if it is a single one and no pinned register lies inside the node. `None`
    /// for the whole space, which is always halved, because no register is as wide as that.
    pub(super) fn uniform(&self, node: Node) -> Option<Piece> {
        let plain = node.first == node.last
            && !self.is_root(node)
            && !self.pinned().iter().any(|pin| {
                pin.block.order() < node.block.order() && node.block.span().contains(pin.block.start())
            });
        if plain { self.piece(node.first).copied() } else { None }
    }

    pub(super) fn halves(&self, node: Node) -> (Node, Node) {
        let (left, right) = node.block.halves();
        let middle = right.start();
        let starts = |i: u32| self.piece(i).map_or(u64::MAX, |piece| piece.start);
        // `split` is the last piece that starts at or below the middle. The right half begins in it.
        let mut split = node.first;
        while split < node.last && starts(split + 1) <= middle {
            split += 1;
        }
        // If it starts right there, the left half ends in the piece before it.
        let end = if split > node.first && starts(split) == middle { split - 1 } else { split };
        (
            Node { block: left, first: node.first, last: end },
            Node { block: right, first: split, last: node.last },
        )
    }

    fn piece(&self, i: u32) -> Option<&Piece> {
        self.pieces.get(i as usize)
    }

    /// Returns the first and the last piece that a node overlaps.
    pub(super) fn ends(&self, node: Node) -> (Piece, Piece) {
        let piece = |i: u32| self.piece(i).copied().unwrap_or_default();
        (piece(node.first), piece(node.last))
    }

    /// Returns the smallest node within a node that contains all its borders between pieces; the node itself if it has
    /// no borders, or if registers are pinned.
    pub(super) fn core(&self, node: Node) -> Node {
        if !self.problem.pinned.is_empty() || node.first == node.last {
            return node;
        }
        let start = |i: u32| self.piece(i).map_or(0, |piece| piece.start);
        let (first, last) = (start(node.first + 1), start(node.last));
        // All borders are in one block if the first, less 1, and the last agree in all bits above it. Less 1, because a
        // border at the very start of a block would be the edge of the block, not inside it.
        let differ = first.wrapping_sub(1) ^ last;
        Node { block: Block::around(last, (u64::BITS - differ.leading_zeros()) as u8), ..node }
    }

    pub(super) fn is_root(&self, node: Node) -> bool {
        node.block.order() == self.problem.width.bits()
    }

    fn pinned(&self) -> &[Register] {
        self.problem.pinned
    }

    /// Returns the state inside the registers that are pinned to exactly this node.
    pub(super) fn pinned_at(&self, node: Node, state: State) -> State {
        self.pinned()
            .iter()
            .filter(|pin| pin.block == node.block)
            .fold(state, |state, pin| with_pinned(state, pin.kind))
    }

    pub(super) fn has_pinned_at(&self, node: Node) -> bool {
        self.pinned().iter().any(|pin| pin.block == node.block)
    }

    /// Returns the types of the registers that are programmed for exactly this node now, as bits.
    #[inline]
    pub(super) fn present_at(&self, node: Node) -> u8 {
        self.problem
            .present
            .iter()
            .filter(|register| register.block == node.block)
            .fold(0, |bits, register| bits | 1 << register.kind.index())
    }
}
