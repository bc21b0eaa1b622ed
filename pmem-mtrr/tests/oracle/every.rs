//! Every set of registers on a few pages, tried.

use pmem_mtrr::{MemType, Register, TypeSet};
use std::collections::VecDeque;

/// What registers make of one page: none, a type, or an undefined mix.
const STATES: usize = 7;
const MIX: usize = 6;

/// For each thing that registers can make of all pages, the cheapest way to get it: how many, and how many of them new.
pub struct Every {
    pages: u32,
    cost: Vec<Option<(u32, u32)>>,
}

fn with(state: usize, kind: MemType) -> usize {
    let one = kind.index() + 1;
    match (state, kind) {
        (0, _) => one,
        (_, MemType::Uc) => one,
        (MIX, _) => MIX,
        (had, _) => MemType::ALL[had - 1].over(kind).map_or(MIX, |made| made.index() + 1),
    }
}

impl Every {
    /// Looks at all registers on `pages`, a power of two; on all of them at once only if `whole`.
    pub fn new(pages: u32, whole: bool, present: &[Register], pinned: &[Register]) -> Self {
        let mut registers = Vec::new();
        let mut size = 1;
        while size < pages || (whole && size == pages) {
            for first in (0..pages).step_by(size as usize) {
                registers.extend(MemType::ALL.map(|kind| (first, size, kind)));
            }
            size *= 2;
        }
        let add = |state: usize, (first, size, kind): (u32, u32, MemType)| {
            (first..(first + size).min(pages)).fold(state, |state, page| {
                let unit = STATES.pow(page);
                let now = state / unit % STATES;
                state - now * unit + with(now, kind) * unit
            })
        };
        let page = |r: &Register| ((r.block.start() >> 12) as u32, (r.block.size() >> 12) as u32, r.kind);
        let known: Vec<_> = present.iter().map(page).collect();
        let start = pinned.iter().map(page).fold(0, add);
        let mut cost = vec![None; STATES.pow(pages)];
        cost[start] = Some((pinned.len() as u32, 0));
        let mut queue = VecDeque::from([start]);
        while let Some(state) = queue.pop_front() {
            let Some((count, new)) = cost[state] else { continue };
            for register in &registers {
                let to = add(state, *register);
                let reached = (count + 1, new + u32::from(!known.contains(register)));
                if cost[to].is_none_or(|had| reached < had) {
                    cost[to] = Some(reached);
                    queue.push_back(to);
                }
            }
        }
        Self { pages, cost }
    }

    /// The fewest registers, and of these the fewest new ones, that make each page what it may be.
    pub fn fewest(&self, sets: &[TypeSet], defaults: &[MemType]) -> Option<(u32, u32)> {
        self.search(sets, defaults, 0, 0)
    }

    fn search(&self, sets: &[TypeSet], defaults: &[MemType], page: u32, state: usize) -> Option<(u32, u32)> {
        if page == self.pages {
            return self.cost[state];
        }
        let (set, default) = (sets[page as usize], defaults[page as usize]);
        let held = |s: usize| if s == 0 { Some(default) } else { MemType::ALL.get(s - 1).copied() };
        (0..STATES)
            .filter(|s| held(*s).is_some_and(|kind| set.has(kind)))
            .filter_map(|s| self.search(sets, defaults, page + 1, state + s * STATES.pow(page)))
            .min()
    }

    /// The fewest pages that are of a type that is safe for them, but not one that they may be.
    pub fn least_lost(&self, sets: &[TypeSet], default: MemType, limit: u32) -> Option<u32> {
        let lost = |page: u32, state: usize| {
            let set = sets[page as usize];
            let kind = if state == 0 { Some(default) } else { MemType::ALL.get(state - 1).copied() }?;
            let safe = kind == MemType::Uc || (kind == MemType::Wt && set.has(MemType::Wb));
            if set.has(kind) { Some(0) } else { safe.then_some(1) }
        };
        (0..self.cost.len())
            .filter(|state| self.cost[*state].is_some_and(|(count, _)| count <= limit))
            .filter_map(|state| {
                (0..self.pages).map(|page| lost(page, state / STATES.pow(page) % STATES)).sum::<Option<u32>>()
            })
            .min()
    }
}
