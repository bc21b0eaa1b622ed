//! A limit on registers: the plan in which the fewest bytes lose their type.

use super::build::Refusal;
use super::node::{NONE, Node, State, UNDEFINED, inside};
use super::pieces::Piece;
use super::{InvalidProblem, Planner};
use crate::kind::{MemType, TypeSet};
use crate::regs::{MAX_VARIABLE, Register, Registers};
use core::num::NonZeroUsize;

/// Two counts in one word: pages that lose their type, and below [`PAGE`] the registers not programmed yet, at most 40.
type Cost = u64;

/// The cost of one page that loses its type.
const PAGE: Cost = 1 << 7;
/// The cost of what cannot be. Twice as much still fits in a word, so sums need no check.
const NEVER: Cost = 1 << 62;
const STATES: usize = NONE + 1;

/// A plan within a limit on registers.
#[derive(Clone, Copy, Debug)]
pub struct Budgeted {
    /// The type of addresses that no register matches.
    pub default: MemType,
    /// The registers, pinned ones first.
    pub registers: Registers,
    /// The number of bytes that get a type not allowed for them, though a safe one.
    pub lost: u64,
}

/// Returns the types that addresses may fall back to for want of a register: uncacheable, which is safe for all, and
/// write-through for what may be write-back.
fn tolerated(set: TypeSet) -> TypeSet {
    let through = if set.has(MemType::Wb) { TypeSet::only(MemType::Wt) } else { TypeSet::EMPTY };
    through.or(TypeSet::only(MemType::Uc))
}

/// The layout of a node's costs: for each state, one cost for each number of registers from 0 to the limit.
struct Table {
    /// The length of a row: one more than the limit.
    width: NonZeroUsize,
}

impl Table {
    const fn new(limit: usize) -> Self {
        Self { width: NonZeroUsize::MIN.saturating_add(limit) }
    }

    const fn len(&self) -> usize {
        STATES * self.width.get()
    }

    /// Returns the state and the number of registers that place `i` stands for.
    fn place(&self, i: usize) -> (State, usize) {
        (i / self.width, i % self.width)
    }

    fn row<'c>(&self, costs: &'c [Cost], state: State) -> &'c [Cost] {
        let at = state * self.width.get();
        costs.get(at..at + self.width.get()).unwrap_or(&[])
    }

    fn get(&self, costs: &[Cost], state: State, registers: usize) -> Cost {
        self.row(costs, state).get(registers).copied().unwrap_or(NEVER)
    }
}

impl Planner<'_> {
    /// Returns the number of costs that [`Self::within`] needs room for.
    #[must_use]
    pub fn costs(&self, limit: usize) -> usize {
        let halvings = usize::from(self.problem.width.bits()).saturating_sub(12);
        // Two tables, one for each half, at each level of the path: the recursion needs no others at the same time.
        2 * (halvings + 2) * STATES * (limit.min(MAX_VARIABLE) + 1)
    }

    /// Returns the plan with at most `limit` registers in which the fewest bytes lose their type, with the given default
    /// type, or with the best one if `default` is `None`. A byte may become uncacheable, or write-through if it may be
    /// write-back; never anything else.
    ///
    /// # Errors
    /// [`Refusal`] if there is no plan even so, or if `room` holds fewer than [`Self::costs`] costs.
    ///
    /// # Examples
    /// 3.5 GiB of memory, an uncacheable default, and a single register, which caches 2 GiB and loses the rest:
    ///
    /// ```
    /// use pmem_mtrr::{MemType, Piece, Planner, Problem, Requirement, Span, TypeSet, Width};
    ///
    /// let memory = Span { start: 0, end: 0xe000_0000 };
    /// let wants = [Requirement { span: memory, allowed: TypeSet::only(MemType::Wb) }];
    /// let mut pieces = [Piece::default(); 6];
    /// let planner = Planner::new(Problem::new(Width::DEFAULT, &wants), &mut pieces)?;
    /// let mut room = vec![0; planner.costs(1)];
    /// let plan = planner.within(1, Some(MemType::Uc), &mut room).map_err(|refusal| format!("{refusal:?}"))?;
    /// assert_eq!(plan.registers.len(), 1);
    /// assert_eq!(plan.lost, 0x6000_0000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within(
        &self,
        limit: usize,
        default: Option<MemType>,
        room: &mut [u64],
    ) -> Result<Budgeted, Refusal> {
        let limit = limit.min(MAX_VARIABLE);
        if room.len() < self.costs(limit) {
            return Err(Refusal::Bad(InvalidProblem::Costs(self.costs(limit))));
        }
        let Some(own) = limit.checked_sub(self.problem.pinned.len()) else {
            return Err(Refusal::TooMany(self.problem.pinned.len().min(MAX_VARIABLE) as u8));
        };
        let table = Table::new(own);
        let Some(root) = self.root() else { return Err(Refusal::Impossible) };
        // Fewest bytes lost first, and of equals the fewest registers: the limit is no reason to use them up.
        let mut best: Option<(Cost, usize, MemType)> = None;
        for kind in MemType::ALL {
            let asked = default.is_none_or(|only| only == kind) && self.problem.available.has(kind);
            if !asked {
                continue;
            }
            let rest = self.share(root, kind, &table, room);
            let costs = room.get(..room.len() - rest).unwrap_or(&[]);
            for (registers, cost) in table.row(costs, self.pinned_at(root, NONE)).iter().enumerate() {
                if *cost < NEVER && best.is_none_or(|(least, fewest, _)| (*cost, registers) < (least, fewest))
                {
                    best = Some((*cost, registers, kind));
                }
            }
        }
        let Some((cost, registers, default)) = best else { return Err(Refusal::Impossible) };
        // Only the minimum is known so far. Walk down again to see which registers it is made of.
        let mut out = Registers::new();
        for pin in self.problem.pinned {
            out.push(*pin);
        }
        self.choose(root, NONE, registers, default, &table, room, &mut out);
        Ok(Budgeted { default, registers: out, lost: cost / PAGE * 4096 })
    }

    /// Puts a node's costs, as seen inside its pinned registers, at the front of `room`. Returns how much room is left.
    fn share(&self, node: Node, default: MemType, table: &Table, room: &mut [Cost]) -> usize {
        let (own, rest) = room.split_at_mut(table.len().min(room.len()));
        match self.uniform(node) {
            Some(piece) => {
                for (i, cost) in own.iter_mut().enumerate() {
                    *cost = hold(node, piece, default, table.place(i).0);
                }
            }
            None => {
                let (left, right) = self.halves(node);
                self.share(left, default, table, rest);
                // The right half's recursion works behind the left half's table, and may overwrite all else.
                let (first, rest) = rest.split_at_mut(table.len().min(rest.len()));
                self.share(right, default, table, rest);
                let second = rest.get(..table.len()).unwrap_or(&[]);
                for (i, cost) in own.iter_mut().enumerate() {
                    let (state, registers) = table.place(i);
                    *cost = self.split(left, right, first, second, table, state, registers).0;
                }
            }
        }
        if !self.is_root(node) {
            self.add_own(node, table, own);
        }
        rest.len()
    }

    /// Returns the cheapest way to share `registers` among two halves: the cost, and how many the left half gets.
    #[allow(clippy::too_many_arguments, reason = "both halves, their costs, and the question")]
    fn split(
        &self,
        left: Node,
        right: Node,
        first: &[Cost],
        second: &[Cost],
        table: &Table,
        state: State,
        registers: usize,
    ) -> (Cost, usize) {
        let first = table.row(first, self.pinned_at(left, state));
        let second = table.row(second, self.pinned_at(right, state));
        // Try every share: at most 41 of them.
        let mut best = (NEVER, 0);
        for (i, cost) in first.iter().enumerate().take(registers + 1) {
            let other = second.get(registers - i).copied().unwrap_or(NEVER);
            if cost + other < best.0 {
                best = (cost + other, i);
            }
        }
        best
    }

    /// Lets a node have a register of its own where that is cheaper.
    fn add_own(&self, node: Node, table: &Table, costs: &mut [Cost]) {
        let present = self.present_at(node);
        // From many registers to few, so that what is read, at one register less, is still the cost without one.
        for registers in (1..table.width.get()).rev() {
            for state in (0..STATES).rev() {
                let best = self.best_own(table, costs, present, state, registers);
                let now = table.get(costs, state, registers);
                if let (Some((cost, _)), Some(slot)) =
                    (best, costs.get_mut(state * table.width.get() + registers))
                {
                    *slot = cost.min(now);
                }
            }
        }
    }

    /// Returns the cheapest register that a node may have, given its costs without one.
    fn best_own(
        &self,
        table: &Table,
        costs: &[Cost],
        present: u8,
        state: State,
        registers: usize,
    ) -> Option<(Cost, MemType)> {
        let kinds = TypeSet::from_bits(inside(state)).and(self.problem.available);
        kinds
            .iter()
            .map(|kind| {
                // A register already programmed costs a place within the limit, but no change.
                let new = Cost::from(present & 1 << kind.index() == 0);
                (table.get(costs, kind.index(), registers.saturating_sub(1)) + new, kind)
            })
            .min_by_key(|(cost, _)| *cost)
    }

    /// Walks down, computes each node's halves again, and collects the registers.
    ///
    /// Keeping every table would take room for the whole tree; computing them again takes room for one path.
    #[allow(clippy::too_many_arguments, reason = "a node, its state, its share, and where to work")]
    fn choose(
        &self,
        node: Node,
        state: State,
        registers: usize,
        default: MemType,
        table: &Table,
        room: &mut [Cost],
        out: &mut Registers,
    ) {
        let mut state = self.pinned_at(node, state);
        let mut registers = registers;
        // First the node's costs without a register of its own, as in `share`.
        let uniform = self.uniform(node);
        let (own, rest) = room.split_at_mut(table.len().min(room.len()));
        let halves = self.halves(node);
        if let Some(piece) = uniform {
            for (i, cost) in own.iter_mut().enumerate() {
                *cost = hold(node, piece, default, table.place(i).0);
            }
        } else {
            self.share(halves.0, default, table, rest);
            let (first, rest) = rest.split_at_mut(table.len().min(rest.len()));
            self.share(halves.1, default, table, rest);
            let second = rest.get(..table.len()).unwrap_or(&[]);
            for (i, cost) in own.iter_mut().enumerate() {
                let (state, registers) = table.place(i);
                *cost = self.split(halves.0, halves.1, first, second, table, state, registers).0;
            }
        }
        // Decide as `add_own` did, so that what is collected costs what was promised.
        if registers > 0 && !self.is_root(node) {
            let best = self.best_own(table, own, self.present_at(node), state, registers);
            if let Some((_, kind)) = best.filter(|(cost, _)| *cost < table.get(own, state, registers)) {
                out.push(Register { block: node.block, kind });
                state = kind.index();
                registers -= 1;
            }
        }
        // The halves' tables are still in `rest`, but the recursion below works in `room`: so read the share first.
        if uniform.is_none() {
            let (first, second) = rest.split_at(table.len().min(rest.len()));
            let (_, left) = self.split(halves.0, halves.1, first, second, table, state, registers);
            self.choose(halves.0, state, left, default, table, room, out);
            self.choose(halves.1, state, registers - left, default, table, room, out);
        }
    }
}

/// Returns the cost of leaving a node within one piece the type around it.
fn hold(node: Node, piece: Piece, default: MemType, state: State) -> Cost {
    let default = if piece.over { MemType::Wb } else { default };
    let kind = match state {
        UNDEFINED => return NEVER,
        NONE => default,
        _ => MemType::ALL.get(state).copied().unwrap_or(MemType::Uc),
    };
    if piece.set.has(kind) {
        0
    } else if tolerated(piece.set).has(kind) {
        (node.block.size() >> 12) * PAGE
    } else {
        NEVER
    }
}
