//! A node of the halved space, and what is around it.

use super::Planner;
use super::pieces::Piece;
use crate::block::Block;
use crate::kind::MemType;
use crate::regs::Register;

/// What is around a node: the type of the nearest register, an undefined mix, or none, so that the default counts.
/// The numbers are places in vectors of costs; a type's is [`MemType::index`].
pub(super) type State = usize;

/// An undefined mix, that pinned registers make: only uncacheable helps.
pub(super) const UNDEFINED: State = 5;
/// No register around. Where several defaults are looked at together, the first of them.
pub(super) const NONE: State = 6;

/// The registers worth putting right inside a state, as bits of [`MemType::index`].
pub(super) const fn inside(state: State) -> u8 {
    match state {
        // Uncacheable stays uncacheable.
        0 => 0,
        // Write combining, write through, write protected, a mix.
        1 | 2 | 3 | UNDEFINED => 0b00001,
        // Write back.
        4 => 0b00101,
        _ => 0b11111,
    }
}

/// What a pinned register makes of a state.
pub(super) const fn with_pinned(state: State, kind: MemType) -> State {
    if state >= NONE {
        return kind.index();
    }
    let made = if state < UNDEFINED { MemType::ALL[state].over(kind) } else { MemType::Uc.over(kind) };
    match made {
        Some(made) if state < UNDEFINED || matches!(kind, MemType::Uc) => made.index(),
        _ => UNDEFINED,
    }
}

/// A block, and the pieces that it meets: from `first` to `last`, both in.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) block: Block,
    first: u32,
    last: u32,
}

impl Node {
    /// None yet.
    pub(super) const NONE: Self = Self { block: Block::PAGE, first: 0, last: 0 };
}

impl Planner<'_> {
    pub(super) fn root(&self) -> Option<Node> {
        let block = Block::new(0, self.problem.width.bits())?;
        Some(Node { block, first: 0, last: u32::try_from(self.pieces.len()).ok()?.checked_sub(1)? })
    }

    /// The piece that a node lies in, if it is one alone and no pinned register is inside. The whole space is always halved, for no
    /// register is as wide as that.
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
        let mut split = node.first;
        while split < node.last && starts(split + 1) <= middle {
            split += 1;
        }
        let end = if split > node.first && starts(split) == middle { split - 1 } else { split };
        (
            Node { block: left, first: node.first, last: end },
            Node { block: right, first: split, last: node.last },
        )
    }

    fn piece(&self, i: u32) -> Option<&Piece> {
        self.pieces.get(i as usize)
    }

    /// The first and the last piece that a node lies in.
    pub(super) fn ends(&self, node: Node) -> (Piece, Piece) {
        let piece = |i: u32| self.piece(i).copied().unwrap_or_default();
        (piece(node.first), piece(node.last))
    }

    /// The smallest node within a node that has all the borders in it; the node itself if there are none, or registers are pinned.
    pub(super) fn core(&self, node: Node) -> Node {
        if !self.problem.pinned.is_empty() || node.first == node.last {
            return node;
        }
        let start = |i: u32| self.piece(i).map_or(0, |piece| piece.start);
        let (first, last) = (start(node.first + 1), start(node.last));
        let differ = first.wrapping_sub(1) ^ last;
        Node { block: Block::around(last, (u64::BITS - differ.leading_zeros()) as u8), ..node }
    }

    pub(super) fn is_root(&self, node: Node) -> bool {
        node.block.order() == self.problem.width.bits()
    }

    fn pinned(&self) -> &[Register] {
        self.problem.pinned
    }

    /// What the registers pinned right at a node make of a state.
    pub(super) fn pinned_at(&self, node: Node, state: State) -> State {
        self.pinned()
            .iter()
            .filter(|pin| pin.block == node.block)
            .fold(state, |state, pin| with_pinned(state, pin.kind))
    }

    pub(super) fn has_pinned_at(&self, node: Node) -> bool {
        self.pinned().iter().any(|pin| pin.block == node.block)
    }

    /// The types of registers that are programmed right at a node now, as bits.
    #[inline]
    pub(super) fn present_at(&self, node: Node) -> u8 {
        self.problem
            .present
            .iter()
            .filter(|register| register.block == node.block)
            .fold(0, |bits, register| bits | 1 << register.kind.index())
    }
}
