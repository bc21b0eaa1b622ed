//! Which registers to use: of the fewest, those that are programmed already, then those that make the least unknown
//! space write-back.

use super::node::{NONE, Node};
use super::pieces::Piece;
use super::{DEPTH, InvalidProblem, Optimum, Planner};
use crate::kind::MemType;
use crate::regs::{Register, Registers};

/// Three counts in one word, most significant first: registers, registers not programmed yet, and pages that no
/// requirement covers and that become write-back. There are at most 2^40 pages, and a plan has fewer than 256
/// registers, so no count runs over into the next.
type Cost = u64;

/// The cost of one register.
const REGISTER: Cost = 1 << 50;
/// The added cost of a register that is not programmed yet.
const NEW: Cost = 1 << 42;
/// The cost of what cannot be. Twice as much still fits in a word; sums are cut back to it.
const NEVER: Cost = 1 << 62;

/// One cost for each state.
type Costs = [Cost; NONE + 1];

/// What a node does in each state, three bits a state: the index of its register's type, or [`NOTHING`].
type Choice = u32;

const NOTHING: u32 = 7;

/// A plan: a default type and registers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The type of addresses that no register matches.
    pub default: MemType,
    /// The registers, pinned ones first.
    pub registers: Registers,
    /// The fewest registers for each default type.
    pub optimum: Optimum,
}

/// The reason why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The problem makes no sense, or needs more room.
    Bad(InvalidProblem),
    /// No number of registers is enough, or more than 126 are needed besides the pinned ones.
    Impossible,
    /// The plan takes more than [`MAX_VARIABLE`](crate::regs::MAX_VARIABLE) registers; or, from [`Planner::within`], the
    /// pinned registers alone exceed the limit. Holds the number of the plan's registers, or of the pinned ones.
    TooMany(u8),
}

/// One node of the path from the root down: 96 bytes of room.
#[derive(Clone, Copy)]
pub struct PathNode {
    node: Node,
    /// On the way up: the costs of the left half, once known.
    left: Option<Costs>,
    /// On the way down: the state around the node.
    state: u8,
}

impl Default for PathNode {
    fn default() -> Self {
        Self { node: Node::NONE, left: None, state: 0 }
    }
}

/// The memory that [`Planner::plan`] works in.
pub struct Workspace<'r> {
    /// Room for [`Planner::choices`] choices.
    pub choices: &'r mut [u32],
    /// The path from the root down: room for [`DEPTH`] nodes.
    pub path: &'r mut [PathNode],
}

/// Choices, noted from the leaves up and read back from the root down: a node comes after both its halves.
struct Log<'l> {
    room: &'l mut [Choice],
    len: usize,
}

impl Log<'_> {
    fn push(&mut self, choice: Choice) {
        if let Some(slot) = self.room.get_mut(self.len) {
            *slot = choice;
        }
        self.len += 1;
    }

    fn pop(&mut self) -> Choice {
        self.len = self.len.saturating_sub(1);
        self.room.get(self.len).copied().unwrap_or(0)
    }
}

impl Planner<'_> {
    /// Returns the most choices that [`Self::plan`] notes.
    #[must_use]
    pub fn choices(&self) -> usize {
        let halvings = usize::from(self.problem.width.bits()).saturating_sub(12);
        // A node is halved only if a border or a pinned register lies in it, and these lie in one node a level each.
        1 + halvings * (self.pieces.len() + self.problem.pinned.len())
    }

    /// Returns the best plan, with the given default, or with the best one if `default` is `None`.
    ///
    /// Of several defaults that take the fewest registers, the one wins that changes the fewest registers, then makes
    /// the least unknown space write-back, then `present` (the default programmed now), then uncacheable.
    ///
    /// # Errors
    /// [`Refusal`] if there is no plan, or `room` is less than [`Self::choices`] and [`DEPTH`].
    pub fn plan(
        &self,
        default: Option<MemType>,
        present: Option<MemType>,
        room: &mut Workspace<'_>,
    ) -> Result<Plan, Refusal> {
        if room.choices.len() < self.choices() {
            return Err(Refusal::Bad(InvalidProblem::Choices(self.choices())));
        }
        if room.path.len() < DEPTH {
            return Err(Refusal::Bad(InvalidProblem::Path(DEPTH)));
        }
        let optimum = self.optimum();
        let fewest = match default {
            Some(kind) => optimum.with(kind),
            None => optimum.fewest(),
        };
        let (Some(fewest), Some(root)) = (fewest, self.root()) else { return Err(Refusal::Impossible) };
        let mut best: Option<(Cost, MemType)> = None;
        // The default whose choices are in the log, and how many there are.
        let (mut built, mut noted) = (None, 0);
        let order = present.into_iter().chain(MemType::ALL);
        for kind in order.filter(|kind| default.is_none_or(|only| only == *kind)) {
            // `count` has ruled out the defaults that take more registers.
            if optimum.with(kind) != Some(fewest) || best.is_some_and(|(_, had)| had == kind) {
                continue;
            }
            let mut log = Log { room: room.choices, len: 0 };
            let costs = self.build(root, kind, room.path, &mut log);
            (built, noted) = (Some(kind), log.len);
            let cost = costs.and_then(|costs| costs.get(NONE).copied()).unwrap_or(NEVER);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, kind));
            }
        }
        let Some((_, default)) = best else { return Err(Refusal::Impossible) };
        let mut log = Log { room: room.choices, len: noted };
        // The log holds the choices of the last default that was tried. Unless that is the best, build once more.
        if built != Some(default) {
            log.len = 0;
            self.build(root, default, room.path, &mut log);
        }
        let mut registers = Registers::new();
        let pinned = self.problem.pinned.iter().all(|pin| registers.push(*pin));
        if pinned && self.read_back(root, default, room.path, &mut log, &mut registers) {
            Ok(Plan { default, registers, optimum })
        } else {
            Err(Refusal::TooMany(fewest))
        }
    }

    /// Computes every node from the leaves up, left before right, and notes what each does. Returns the root's costs.
    #[inline(never)]
    fn build(&self, root: Node, default: MemType, path: &mut [PathNode], log: &mut Log<'_>) -> Option<Costs> {
        let (mut node, mut depth) = (root, 0);
        loop {
            let mut costs = match self.uniform(node) {
                Some(piece) => self.under_pinned(node, self.leaf(node, piece, default).0),
                None => {
                    *path.get_mut(depth)? = PathNode { node, left: None, state: 0 };
                    depth += 1;
                    node = self.halves(node).0;
                    continue;
                }
            };
            loop {
                let Some(step) = depth.checked_sub(1).and_then(|depth| path.get_mut(depth)) else {
                    return Some(costs);
                };
                match step.left {
                    None => {
                        step.left = Some(costs);
                        node = self.halves(step.node).1;
                        break;
                    }
                    Some(left) => {
                        // The state around a node is around both its halves too, so their costs add up state by state.
                        let mut both = [NEVER; NONE + 1];
                        for (both, (left, right)) in both.iter_mut().zip(left.iter().zip(&costs)) {
                            *both = (left + right).min(NEVER);
                        }
                        let (own, choice) = self.join(step.node, both);
                        log.push(choice);
                        costs = self.under_pinned(step.node, own);
                        depth -= 1;
                    }
                }
            }
        }
    }

    /// Returns the costs of a node by the state around it, given its costs by the state inside its pinned registers.
    #[inline(always)]
    fn under_pinned(&self, node: Node, own: Costs) -> Costs {
        if self.problem.pinned.is_empty() || !self.has_pinned_at(node) {
            return own;
        }
        let mut out = [NEVER; NONE + 1];
        for (state, out) in out.iter_mut().enumerate() {
            *out = own.get(self.pinned_at(node, state)).copied().unwrap_or(NEVER);
        }
        out
    }

    /// Chooses a node's own register for each state, given the costs `c` without one. Returns costs and choices.
    #[inline(always)]
    fn join(&self, node: Node, c: Costs) -> (Costs, Choice) {
        // All ones is `NOTHING` in every state.
        if self.is_root(node) {
            return (c, Choice::MAX);
        }
        let present = self.present_at(node);
        let available = self.problem.available.bits();
        let with = |kind: usize, below: Cost| {
            if available & 1 << kind == 0 {
                return NEVER;
            }
            below + REGISTER + if present & 1 << kind == 0 { NEW } else { 0 }
        };
        let [uc, wc, wt, wp, wb, mix, none] = c;
        let by = [with(0, uc), with(1, wc), with(2, wt), with(3, wp), with(4, wb)];
        // Each state with the types that may go inside it (`inside`). `<` keeps the first of equals, and no register
        // at all if that is as good.
        let best = |now: Cost, kinds: &[usize]| {
            kinds.iter().fold((now, NOTHING), |best, kind| match by.get(*kind) {
                Some(cost) if *cost < best.0 => (*cost, *kind as u32),
                _ => best,
            })
        };
        let states = [
            (uc, NOTHING),
            best(wc, &[0]),
            best(wt, &[0]),
            best(wp, &[0]),
            best(wb, &[0, 2]),
            best(mix, &[0]),
            best(none, &[0, 1, 2, 3, 4]),
        ];
        let choice = states.iter().rev().fold(0, |choice, (_, kind)| choice << 3 | kind);
        (states.map(|(cost, _)| cost), choice)
    }

    /// Returns what a node within one piece costs, and what it does.
    #[inline]
    fn leaf(&self, node: Node, piece: Piece, default: MemType) -> (Costs, Choice) {
        let default = if piece.over { MemType::Wb } else { default };
        // Nobody knows what lies in pages that no requirement covers, so as few of them as possible become WB.
        let hold = |kind: MemType| {
            if !piece.set.has(kind) {
                NEVER
            } else if piece.unmapped && matches!(kind, MemType::Wb) {
                node.block.size() >> 12
            } else {
                0
            }
        };
        let [uc, wc, wt, wp, wb] = MemType::ALL.map(hold);
        self.join(node, [uc, wc, wt, wp, wb, NEVER, hold(default)])
    }

    /// Collects the registers from the root down, right before left; returns `false` if there is no room for them.
    #[inline(never)]
    fn read_back(
        &self,
        root: Node,
        default: MemType,
        path: &mut [PathNode],
        log: &mut Log<'_>,
        out: &mut Registers,
    ) -> bool {
        let (mut node, mut state, mut depth) = (root, NONE, 0);
        loop {
            state = self.pinned_at(node, state);
            let uniform = self.uniform(node);
            // The log was written in postorder, left before right. Read from its end, it gives each node before its
            // halves, and right before left: the order of this walk.
            let choice = match uniform {
                // Nodes within one piece are not in the log: their choice is cheap to compute again.
                Some(piece) => self.leaf(node, piece, default).1,
                None => log.pop(),
            };
            let kind = choice >> (3 * state) & NOTHING;
            if let Some(kind) = MemType::ALL.get(kind as usize) {
                if !out.push(Register { block: node.block, kind: *kind }) {
                    return false;
                }
                state = kind.index();
            }
            if uniform.is_none() {
                let (left, right) = self.halves(node);
                let Some(step) = path.get_mut(depth) else { return false };
                *step = PathNode { node: left, left: None, state: state as u8 };
                depth += 1;
                node = right;
                continue;
            }
            let Some(step) = depth.checked_sub(1).and_then(|depth| path.get(depth)) else { return true };
            (node, state) = (step.node, usize::from(step.state));
            depth -= 1;
        }
    }
}
