//! How many registers it takes, for each default type.

use super::node::{Level, NONE, Node, UNDEFINED, inside};
use super::pieces::Piece;
use super::{DEPTH, Planner};
use crate::kind::{MemType, TypeSet};
use crate::regs::MAX_VARIABLE;

/// One cost for each state, [`NONE`] and the four places after it being one for each default type.
type Costs = [u8; 16];

const NEVER: u8 = u8::MAX;

/// The fewest registers for each default type: the proof that no setting does with fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optimum {
    per_default: [Option<u8>; 5],
}

impl Optimum {
    /// With this default; `None` if it cannot be done, or takes more than 254.
    pub fn with(&self, default: MemType) -> Option<u8> {
        self.per_default.get(default.index()).copied().flatten()
    }

    /// With the best default.
    pub fn fewest(&self) -> Option<u8> {
        self.per_default.iter().flatten().min().copied()
    }
}

impl Planner<'_> {
    /// Counts; pinned registers included.
    pub fn optimum(&self) -> Optimum {
        let mut per_default = [None; 5];
        if let Some(root) = self.root() {
            let costs = self.count(root).unwrap_or([NEVER; 16]);
            let pinned = self.problem.pinned.len().min(MAX_VARIABLE) as u8;
            for (kind, (to, cost)) in MemType::ALL.into_iter().zip(per_default.iter_mut().zip(&costs[NONE..]))
            {
                let cost = cost.saturating_add(pinned);
                *to = (cost != NEVER && self.problem.available.has(kind)).then_some(cost);
            }
        }
        Optimum { per_default }
    }

    #[inline(never)]
    fn count(&self, root: Node) -> Option<Costs> {
        let mut path = [Level::NONE; DEPTH];
        self.fold(
            root,
            &mut path,
            |level| level,
            |node, piece| self.pinned_costs(node, leaf(piece)),
            |node, left: Costs, right| {
                let mut both = [NEVER; 16];
                for (both, (left, right)) in both.iter_mut().zip(left.iter().zip(&right)) {
                    *both = left.saturating_add(*right);
                }
                self.pinned_costs(node, if self.is_root(node) { both } else { join(both) })
            },
        )
    }

    /// The costs of a node's states from the costs of what its pinned registers make of them.
    #[inline]
    fn pinned_costs(&self, node: Node, own: Costs) -> Costs {
        if !self.has_pinned_at(node) {
            return own;
        }
        let mut out = [NEVER; 16];
        for (state, out) in out.iter_mut().enumerate() {
            *out = own.get(self.pinned_at(node, state)).copied().unwrap_or(NEVER);
        }
        out
    }
}

/// What a node costs, with or without a register of its own, where its halves together cost `c`.
#[inline]
fn join(c: Costs) -> Costs {
    let mut out = c;
    let one = |cost: u8| cost.saturating_add(1);
    let (uc, wt) = (one(c[0]), one(c[2]));
    let any = c[0].min(c[1]).min(c[2]).min(c[3]).min(c[4]);
    for cost in &mut out[1..NONE] {
        *cost = (*cost).min(uc);
    }
    out[4] = out[4].min(wt);
    for cost in &mut out[NONE..] {
        *cost = (*cost).min(one(any));
    }
    out
}

/// What a node within one piece costs.
#[inline]
fn leaf(piece: Piece) -> Costs {
    const TABLE: [[Costs; 2]; 32] = {
        let mut table = [[[NEVER; 16]; 2]; 32];
        let mut set = 0;
        while set < 32 {
            table[set] = [leaf_of(set as u8, false), leaf_of(set as u8, true)];
            set += 1;
        }
        table
    };
    let [plain, over] = &TABLE[usize::from(piece.set.and(TypeSet::ANY).bits() & 31)];
    if piece.over { *over } else { *plain }
}

const fn leaf_of(set: u8, over: bool) -> Costs {
    let mut costs = [NEVER; 16];
    let mut state = 0;
    while state < NONE + 5 {
        // The type that holds without another register, as a bit.
        let held = match state {
            UNDEFINED => 0,
            _ if state < UNDEFINED => 1 << state,
            _ if over => 1 << 4,
            _ => 1 << (state - NONE),
        };
        costs[state] = if set & held != 0 {
            0
        } else if set & inside(state) != 0 {
            1
        } else {
            NEVER
        };
        state += 1;
    }
    costs
}
