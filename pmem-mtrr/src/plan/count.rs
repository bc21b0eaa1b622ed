//! The number of registers that a problem takes, for each default type.

use super::node::{NONE, Node, UNDEFINED, inside};
use super::pieces::Piece;
use super::{DEPTH, Planner};
use crate::kind::MemType;
use crate::regs::MAX_VARIABLE;

/// One cost for each state, seven bits in a byte. Two words hold them all, so that all are computed at once, even on
/// processors, and in kernels, that have no vectors.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Costs {
    /// The costs with a register around, by [`MemType::index`], and with a mix around, by [`UNDEFINED`].
    kinds: u64,
    /// The costs with nothing around, by the default type's [`MemType::index`].
    defaults: u64,
}

/// The cost that means "too many": sums saturate here.
const NEVER: u8 = 0x7f;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;
const ALL_NEVER: u64 = NEVER as u64 * ONES;

/// The fewest registers for each default type: the proof that no setting takes fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optimum {
    per_default: [Option<u8>; 5],
}

impl Optimum {
    /// Returns the fewest registers with this default, pinned ones included. `None` if it cannot be done, or takes more
    /// than 126 besides those that are pinned.
    #[must_use]
    pub fn with(&self, default: MemType) -> Option<u8> {
        self.per_default.get(default.index()).copied().flatten()
    }

    /// Returns the fewest registers with the best default.
    #[must_use]
    pub fn fewest(&self) -> Option<u8> {
        self.per_default.iter().flatten().min().copied()
    }
}

impl Planner<'_> {
    /// Computes the fewest registers for each default type, pinned registers included.
    #[must_use]
    pub fn optimum(&self) -> Optimum {
        let mut per_default = [None; 5];
        if let Some(root) = self.root() {
            let costs = self.count(root).unwrap_or(Costs { kinds: ALL_NEVER, defaults: ALL_NEVER });
            let pinned = self.problem.pinned.len().min(MAX_VARIABLE) as u8;
            for (kind, to) in MemType::ALL.into_iter().zip(&mut per_default) {
                let cost = costs.get(NONE + kind.index());
                *to = (cost != NEVER && self.problem.available.has(kind)).then_some(cost + pinned);
            }
        }
        Optimum { per_default }
    }

    /// Computes the nodes from the leaves up, but only those whose halves both have borders; between two of these it
    /// climbs. `None` if the path is too long, which a valid problem's is not.
    #[inline(never)]
    fn count(&self, root: Node) -> Option<Costs> {
        let mut path = [Branch { outer: root, core: root, left: None }; DEPTH];
        let (mut node, mut depth) = (root, 0);
        loop {
            // Down the left side as far as there are borders.
            let mut costs = match self.uniform(node) {
                Some(piece) => self.pinned_costs(node, leaf(piece)),
                None => {
                    let core = self.core(node);
                    *path.get_mut(depth)? = Branch { outer: node, core, left: None };
                    depth += 1;
                    node = self.halves(core).0;
                    continue;
                }
            };
            // Up while both halves of a node are known; then down into the right half of the next node.
            loop {
                let Some(branch) = depth.checked_sub(1).and_then(|depth| path.get_mut(depth)) else {
                    return Some(costs);
                };
                match branch.left {
                    None => {
                        branch.left = Some(costs);
                        node = self.halves(branch.core).1;
                        break;
                    }
                    Some(left) => {
                        costs = self.climb(*branch, self.both(branch.core, &left, &costs));
                        depth -= 1;
                    }
                }
            }
        }
    }

    /// Returns the costs of a node whose halves cost `left` and `right`. The whole space has no register of its own.
    #[inline(always)]
    fn both(&self, node: Node, left: &Costs, right: &Costs) -> Costs {
        let whole = self.is_root(node);
        self.pinned_costs(node, if whole { left.plus(*right) } else { left.plus(*right).joined() })
    }

    /// Climbs from the core of a node, which contains all borders, to the node itself.
    ///
    /// On the way up, each block is the last one and its sibling, which lies in one piece, below the core or above it.
    /// As long as the core's address has the same bits, siblings are on the same side, and the same step repeats.
    #[inline]
    fn climb(&self, branch: Branch, mut costs: Costs) -> Costs {
        let (below, above) = self.ends(branch.core);
        let (below, above) = (leaf(below), leaf(above));
        let at = branch.core.block.start();
        let whole = self.is_root(branch.outer);
        let (mut order, outer) =
            (u32::from(branch.core.block.order()), u32::from(branch.outer.block.order()));
        let top = if whole { outer.saturating_sub(1) } else { outer };
        while order < top {
            let is_right = at >> order & 1 != 0;
            let (bits, beside) = if is_right { (!at, &below) } else { (at, &above) };
            let run = (bits >> order).trailing_zeros().min(top - order);
            // A step depends on the costs alone: once one changes nothing, neither does the rest of the run.
            for _ in 0..run {
                let next = costs.plus(*beside).joined();
                if next == costs {
                    break;
                }
                costs = next;
            }
            order += run;
        }
        // The last step is into the whole space, for which there is no register to choose.
        if order < outer {
            costs = costs.plus(if at >> order & 1 != 0 { below } else { above });
        }
        costs
    }

    /// Returns the costs of a node by the state around it, given its costs by the state inside its pinned registers.
    #[inline(always)]
    fn pinned_costs(&self, node: Node, own: Costs) -> Costs {
        if self.problem.pinned.is_empty() || !self.has_pinned_at(node) {
            return own;
        }
        let mut out = own;
        for kind in 0..=UNDEFINED {
            out.kinds = replaced(out.kinds, kind, own.get(self.pinned_at(node, kind)));
        }
        // A pinned register hides every default from what is inside it.
        for default in 0..5 {
            let state = self.pinned_at(node, NONE);
            let state = if state == NONE { NONE + default } else { state };
            out.defaults = replaced(out.defaults, default, own.get(state));
        }
        out
    }
}

/// Returns `word` with byte `place` replaced.
fn replaced(word: u64, place: usize, cost: u8) -> u64 {
    let shift = 8 * (place as u32 & 7);
    word & !(0xff << shift) | u64::from(cost) << shift
}

/// A node on the path: the node, its core, and the costs of the core's left half once they are known.
#[derive(Clone, Copy)]
struct Branch {
    outer: Node,
    core: Node,
    left: Option<Costs>,
}

/// Returns the smaller of each pair of bytes, all below 128.
#[inline]
const fn least(a: u64, b: u64) -> u64 {
    // With its top bit set, no byte borrows from the next: the top bit survives where `a` is not less than `b`.
    let not_less = ((a | HIGH) - b) & HIGH;
    // Spread each surviving bit over its byte, as a mask.
    let mask = not_less | (not_less - (not_less >> 7));
    (b & mask) | (a & !mask)
}

/// Returns the sum of each pair of bytes, all below 128, or 127 where it is larger.
#[inline]
const fn sum(a: u64, b: u64) -> u64 {
    // Two bytes below 128 never carry into the next byte; the top bit says where to saturate.
    let sum = a + b;
    let over = sum & HIGH;
    (sum | (over - (over >> 7))) & !HIGH
}

impl Costs {
    const fn get(self, state: usize) -> u8 {
        let (word, place) = if state < NONE { (self.kinds, state) } else { (self.defaults, state - NONE) };
        (word >> (8 * (place as u32 & 7))) as u8
    }

    /// Returns what two halves cost together.
    #[inline]
    const fn plus(self, other: Self) -> Self {
        Self { kinds: sum(self.kinds, other.kinds), defaults: sum(self.defaults, other.defaults) }
    }

    /// Returns what a node costs that may have a register of its own, given what it costs without one.
    #[inline]
    const fn joined(self) -> Self {
        const fn one_more(cost: u64) -> u64 {
            cost + (cost < NEVER as u64) as u64
        }
        let kind = self.kinds;
        // A register of a type costs one more than the node costs inside that type.
        let (uc, wt) = (one_more(kind & 0x7f), one_more(kind >> 16 & 0x7f));
        // The least of the five types: of pairs, then of pairs of pairs, then of those.
        let rest = (kind & 0xff_ffff_ffff) | (ALL_NEVER << 40);
        let pairs = least(rest, rest >> 8 | 0x7f << 56);
        let fours = least(pairs, pairs >> 16 | 0x7f7f << 48);
        let any = one_more(least(fours, fours >> 32 | 0x7f7f_7f7f << 32) & 0x7f);
        // As `inside` says: UC may go into all types but UC itself, and into a mix; WT may go into WB; any type may go
        // where there is nothing around.
        let kinds = least(kind, (((uc * (ONES >> 8)) << 8) & 0x0000_7f7f_7f7f_7f00) | 0x7f7f_0000_0000_007f);
        let kinds = least(kinds, wt << 32 | (ALL_NEVER & !(0x7f << 32)));
        Self { kinds, defaults: least(self.defaults, any * ONES) }
    }
}

/// Returns what a node within one piece costs: looked up, as there are only 64 kinds of pieces.
#[inline]
fn leaf(piece: Piece) -> Costs {
    const TABLE: [[Costs; 2]; 32] = {
        let mut table = [[Costs { kinds: 0, defaults: 0 }; 2]; 32];
        let mut set = 0;
        while set < 32 {
            table[set] = [leaf_of(set as u8, false), leaf_of(set as u8, true)];
            set += 1;
        }
        table
    };
    let [plain, over] = &TABLE[usize::from(piece.set.bits() & 31)];
    if piece.over { *over } else { *plain }
}

/// Computes an entry of the table of [`leaf`]: 0 if the state's type is allowed, 1 if one register inside makes it so,
/// else [`NEVER`].
const fn leaf_of(set: u8, over: bool) -> Costs {
    let mut costs = Costs { kinds: ALL_NEVER, defaults: ALL_NEVER };
    let mut state = 0;
    while state < NONE + 5 {
        // The type that holds without a register of the node's own, as a bit.
        let held = match state {
            UNDEFINED => 0,
            _ if state < UNDEFINED => 1 << state,
            _ if over => 1 << 4,
            _ => 1 << (state - NONE),
        };
        let cost = if set & held != 0 {
            0
        } else if set & inside(state) != 0 {
            1
        } else {
            NEVER as u64
        };
        let shift = 8 * (if state < NONE { state } else { state - NONE });
        let word = if state < NONE { &mut costs.kinds } else { &mut costs.defaults };
        *word = *word & !(0xff << shift) | cost << shift;
        state += 1;
    }
    costs
}
