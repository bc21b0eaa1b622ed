//! The least-cost placement of what has no place, or why there is none.
//!
//! Whether something fits is decided exactly (see `sweep`): windows may be cut anew around what stays, so that only what has something live
//! in it binds. Functions are stopped only where nothing else helps, in order of what stopping them weighs.

use crate::blocks::{Blocks, FOUR_GIB, Freedom, Key, Thing, holder};
use crate::cost::{Cost, Rank, cost, moved, stopped, weight};
use crate::cut::cut;
use crate::search::improve;
use crate::steps::{Step, bystanders, steps};
use crate::sweep::{Budget, Swept, sweep};
use crate::tree::{Index, Mobility, Space, Tree, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// The hierarchy as it is, and cards that are to come.
    pub old: Tree,
    /// The same, of the sizes that are wanted; what is to be placed has no place in it.
    pub tree: Tree,
    /// What must get a place.
    pub place: Vec<Key>,
    /// What gets one where there is room, in order.
    pub extra: Vec<Key>,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything fits, and nothing that is used is touched but what is asked about.
    Fits(Plan),
    /// Everything fits once these functions are stopped.
    FitsWithQuiesce(Plan),
    /// It does not fit, whatever is moved that may be.
    No(Vec<Key>),
    /// It was not found out within the budget.
    NotProven(Vec<Key>),
}

/// A placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The hierarchy as it is to be.
    pub tree: Tree,
    /// The functions that are stopped for it.
    pub quiesced: Vec<Index>,
    /// Prefetchable resources that are put where reads are not prefetched, for want of room.
    pub demoted: Vec<Key>,
    /// What is not needed, and has no place.
    pub left_out: Vec<Key>,
    /// What it costs.
    pub cost: Cost,
    /// What is written, in order.
    pub steps: Vec<Step>,
    /// There is none that weighs less.
    pub least: bool,
}

/// What a search for one space came to.
enum Found {
    Plan { tree: Tree, demoted: Vec<Key>, least: bool },
    No,
    NotProven,
}

/// Finds the least-cost placement.
#[must_use]
pub fn plan(goal: &Goal, budget: &mut Budget<'_>) -> Verdict {
    let mut tree = goal.tree.clone();
    let (mut demoted, mut left_out, mut least) = (Vec::new(), Vec::new(), true);
    for (root, space) in spaces(&tree, &goal.place) {
        let wanted: BTreeSet<Key> =
            goal.place.iter().copied().filter(|key| lies_in(&tree, *key) == Some((root, space))).collect();
        match (Search { tree: &tree, root, space, wanted: &wanted }).run(budget) {
            Found::Plan { tree: found, demoted: more, least: exact } => {
                // What is stopped for one space is stopped for the next.
                let keys: BTreeSet<Key> = moved(&tree, &found).collect();
                let stopped: Vec<Index> = stopped(&tree, &keys).collect();
                tree = found;
                for index in stopped {
                    if let Some(function) = tree.functions.get_mut(index).filter(|f| f.bridge.is_none()) {
                        function.mobility = Mobility::Asked;
                    }
                }
                demoted.extend(more);
                least &= exact;
            }
            Found::No => return Verdict::No(wanted.into_iter().collect()),
            Found::NotProven => return Verdict::NotProven(wanted.into_iter().collect()),
        }
    }
    for key in &goal.extra {
        let Some((root, space)) = lies_in(&tree, *key) else { continue };
        let wanted = BTreeSet::from([*key]);
        // Nobody is stopped for what is not needed.
        if !tree.functions.get(key.0).is_some_and(|f| f.absent || f.mobility == Mobility::Asked) {
            left_out.push(*key);
            continue;
        }
        match (Search { tree: &tree, root, space, wanted: &wanted }).gently(budget) {
            Some((found, more)) => {
                tree = found;
                demoted.extend(more);
            }
            None => left_out.push(*key),
        }
    }
    for (function, had) in tree.functions.iter_mut().zip(&goal.tree.functions) {
        function.mobility = had.mobility;
    }
    // A place that no sequence of writes leads to is none.
    let Ok(bystanders) = bystanders(&goal.old, &tree) else { return Verdict::NotProven(goal.place.clone()) };
    let cost = cost(&goal.old, &tree, &bystanders);
    let keys: BTreeSet<Key> = moved(&goal.old, &tree).collect();
    let mut changed: BTreeSet<Index> = stopped(&goal.old, &keys).collect();
    changed.extend(&bystanders);
    let quiesced: Vec<Index> =
        changed.into_iter().filter(|index| tree.functions.get(*index).is_some_and(|f| !f.absent)).collect();
    let weighs = cost.weight > 0;
    let Ok(steps) = steps(&goal.old, &tree, &bystanders) else {
        return Verdict::NotProven(goal.place.clone());
    };
    let plan = Plan { tree, quiesced, demoted, left_out, cost, steps, least };
    if weighs { Verdict::FitsWithQuiesce(plan) } else { Verdict::Fits(plan) }
}

fn lies_in(tree: &Tree, (index, slot): Key) -> Option<(usize, Space)> {
    let function = tree.functions.get(index)?;
    Some((function.root, function.resource(slot)?.space))
}

/// Where something is to be placed, memory first.
fn spaces(tree: &Tree, keys: &[Key]) -> Vec<(usize, Space)> {
    let mut all: Vec<(usize, Space)> = keys.iter().filter_map(|key| lies_in(tree, *key)).collect();
    all.sort_unstable_by_key(|(root, space)| (*root, core::cmp::Reverse(*space)));
    all.dedup();
    all
}

/// One space below one host bridge.
struct Search<'t> {
    tree: &'t Tree,
    root: usize,
    space: Space,
    wanted: &'t BTreeSet<Key>,
}

impl Search<'_> {
    /// The least weight first, and of that the fewest demotions.
    fn run(&self, budget: &mut Budget<'_>) -> Found {
        let mut exact = true;
        if let Some(found) = self.with(&BTreeSet::new(), budget, &mut exact) {
            return found;
        }
        // What could be stopped, and whether that would help at all.
        let mut movable: Vec<(u64, Index)> = self.movable();
        movable.sort_unstable();
        let all: BTreeSet<Index> = movable.iter().map(|(_, index)| *index).collect();
        if !self.may_fit(&all, budget) {
            return Found::No;
        }
        let most: u64 = movable.iter().map(|(weight, _)| weight).sum();
        for limit in 1..=most {
            let mut chosen = BTreeSet::new();
            if let Some(found) = self.choose(&movable, limit, &mut chosen, budget, &mut exact) {
                return found;
            }
            if budget.steps == 0 {
                break;
            }
        }
        // Places there are, for all that may be stopped: none was reached within the budget, or by any sequence of writes.
        Found::NotProven
    }

    /// Without stopping anything.
    fn gently(&self, budget: &mut Budget<'_>) -> Option<(Tree, Vec<Key>)> {
        match self.with(&BTreeSet::new(), budget, &mut true) {
            Some(Found::Plan { tree, demoted, .. }) => Some((tree, demoted)),
            _ => None,
        }
    }

    /// Functions that may be stopped, with their weights.
    fn movable(&self) -> Vec<(u64, Index)> {
        let functions =
            self.tree.functions.iter().enumerate().filter(|(_, f)| f.root == self.root && !f.absent);
        functions
            .filter(|(_, f)| f.mobility != Mobility::Asked)
            .filter(|(_, f)| f.resources.iter().any(|r| r.space == self.space && r.at.is_some() && !r.fixed))
            .filter_map(|(index, _)| Some((weight(self.tree, index)?, index)))
            .collect()
    }

    /// Sets of functions that weigh just so much.
    fn choose(
        &self,
        left: &[(u64, Index)],
        limit: u64,
        chosen: &mut BTreeSet<Index>,
        budget: &mut Budget<'_>,
        exact: &mut bool,
    ) -> Option<Found> {
        if limit == 0 {
            return self.with(chosen, budget, exact);
        }
        // All that could still be chosen must be enough.
        let rest = left.iter().filter(|(weight, _)| *weight <= limit).map(|(_, index)| *index);
        let all: BTreeSet<Index> = chosen.iter().copied().chain(rest).collect();
        if !self.may_fit(&all, budget) {
            return None;
        }
        for (i, (weight, index)) in left.iter().enumerate() {
            if *weight > limit || budget.steps == 0 {
                break;
            }
            chosen.insert(*index);
            let found = self.choose(left.get(i + 1..).unwrap_or(&[]), limit - weight, chosen, budget, exact);
            chosen.remove(index);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// What is to be placed when some functions are stopped.
    fn free(&self, stopped: &BTreeSet<Index>) -> BTreeSet<Key> {
        let mut free = self.wanted.clone();
        for (index, function) in self.tree.functions.iter().enumerate().filter(|(_, f)| f.root == self.root) {
            if function.mobility != Mobility::Asked && !stopped.contains(&index) {
                continue;
            }
            let own =
                function.resources.iter().filter(|r| r.space == self.space && r.at.is_some() && !r.fixed);
            free.extend(own.map(|resource| (index, resource.slot)));
        }
        free
    }

    /// Whether all would fit if these were stopped, and everything that can be demoted were; said also where it is not known.
    fn may_fit(&self, stopped: &BTreeSet<Index>, budget: &mut Budget<'_>) -> bool {
        let free = self.free(stopped);
        let all = self.demotable(&free);
        // Demotion takes from one window and gives to another: neither end is the easier one.
        let (some, complete) = subsets(all);
        !complete
            || some.iter().any(|demoted| {
                let freedom =
                    Freedom { free: free.clone(), demoted: demoted.clone(), hard: false, high: false };
                let blocks = Blocks::new(self.tree, self.root, self.space, &freedom);
                sweep(&blocks.layout, budget) != Swept::Never
            })
    }

    /// Resources that could be in the memory window instead of the prefetchable one, with their sizes.
    fn demotable(&self, free: &BTreeSet<Key>) -> Vec<(u64, Key)> {
        let can = |key: &Key| {
            let function = self.tree.functions.get(key.0)?;
            let resource = function.resource(key.1)?;
            let mut thing = Thing::of_resource(resource);
            thing.span = None;
            let (bridge, n) = holder(self.tree, function, thing)?;
            let window = self.tree.functions.get(bridge)?.bridge.as_ref()?.windows.get(n)?;
            let forwards = |above: Index| {
                self.tree.functions.get(above).is_some_and(|f| f.window(WindowKind::Memory).is_some())
            };
            let can = window.kind == WindowKind::Prefetchable
                && resource.size < FOUR_GIB
                && self.tree.above(key.0).all(forwards);
            can.then_some((resource.size, *key))
        };
        free.iter().filter_map(can).collect()
    }

    /// The best plan for a set of stopped functions.
    fn with(&self, stopped: &BTreeSet<Index>, budget: &mut Budget<'_>, exact: &mut bool) -> Option<Found> {
        let free = self.free(stopped);
        // What is asked about may move, and need not.
        let wanted = if stopped.is_empty() { self.wanted.clone() } else { free.clone() };
        let mut best: Option<(usize, Tree, BTreeSet<Key>)> = None;
        self.better(&wanted, budget, exact, &mut best);
        if wanted != free {
            self.better(&free, budget, exact, &mut best);
            // Whatever need not move does not.
            let mut moves = free;
            for key in moves.clone().difference(&wanted) {
                moves.remove(key);
                if !self.better(&moves, budget, exact, &mut best) {
                    moves.insert(*key);
                }
            }
        }
        let (_, tree, demoted) = best?;
        let least = *exact;
        Some(Found::Plan { tree, demoted: demoted.into_iter().collect(), least })
    }

    /// Whether there is a better plan, or one as good, with these to be placed.
    fn better(
        &self,
        free: &BTreeSet<Key>,
        budget: &mut Budget<'_>,
        exact: &mut bool,
        best: &mut Option<(usize, Tree, BTreeSet<Key>)>,
    ) -> bool {
        let mut found = false;
        let (sets, complete) = subsets(self.demotable(free));
        for demoted in sets {
            if best.as_ref().is_some_and(|(n, ..)| *n < demoted.len()) {
                break;
            }
            let Some(tree) = self.place(free, &demoted, budget, exact) else { continue };
            let better = best
                .as_ref()
                .is_none_or(|(n, had, _)| (demoted.len(), self.rank(&tree)) <= (*n, self.rank(had)));
            if better {
                *best = Some((demoted.len(), tree, demoted));
                found = true;
            }
        }
        *exact &= complete || best.is_some();
        found
    }

    /// `None` if there is no way to it.
    fn rank(&self, tree: &Tree) -> Option<Rank> {
        let bystanders = bystanders(self.tree, tree).ok()?;
        Some(cost(self.tree, tree, &bystanders).rank())
    }

    /// The best placement that is found.
    fn place(
        &self,
        free: &BTreeSet<Key>,
        demoted: &BTreeSet<Key>,
        budget: &mut Budget<'_>,
        exact: &mut bool,
    ) -> Option<Tree> {
        let mut rate = |at: &BTreeMap<Key, u64>| {
            let tree = self.apply(at, demoted)?;
            Some((self.rank(&tree)?, tree))
        };
        for hard in [true, false] {
            let mut best = None;
            for high in [true, false] {
                let freedom = Freedom { free: free.clone(), demoted: demoted.clone(), hard, high };
                let blocks = Blocks::new(self.tree, self.root, self.space, &freedom);
                let placed = match sweep(&blocks.layout, budget) {
                    Swept::Fits(placed) => placed,
                    Swept::Never => continue,
                    Swept::Unknown => {
                        *exact = false;
                        continue;
                    }
                };
                let keyed = placed.into_iter().filter_map(|(id, at)| Some((*blocks.leaves.get(&id)?, at)));
                let found = improve(&blocks, self.tree, &keyed.collect(), &mut rate);
                if let Some(found) = found.filter(|new| best.as_ref().is_none_or(|(rank, _)| new.0 < *rank)) {
                    best = Some(found);
                }
            }
            if let Some((_, tree)) = best {
                return Some(tree);
            }
        }
        None
    }

    /// The hierarchy with everything in its place, and the windows around it.
    fn apply(&self, at: &BTreeMap<Key, u64>, demoted: &BTreeSet<Key>) -> Option<Tree> {
        let mut tree = self.tree.clone();
        for ((index, slot), at) in at {
            let function = tree.functions.get_mut(*index)?;
            function.resources.iter_mut().find(|resource| resource.slot == *slot)?.at = Some(*at);
        }
        let moved: BTreeSet<Key> = at.keys().copied().collect();
        cut(&tree, self.root, self.space, demoted, &moved)
    }
}

/// Resources of which every set of what may be demoted is tried.
const FEW: usize = 10;

/// Sets of what may be demoted, the fewest first, and whether these are all: of many, those of the smallest, and each alone.
fn subsets(mut all: Vec<(u64, Key)>) -> (Vec<BTreeSet<Key>>, bool) {
    all.sort_unstable();
    let keys = || all.iter().map(|(_, key)| *key);
    let mut out: Vec<BTreeSet<Key>> = alloc::vec![BTreeSet::new()];
    if all.len() <= FEW {
        for mask in 1u32..1 << all.len() {
            out.push(keys().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, key)| key).collect());
        }
    } else {
        out.extend(keys().map(|key| BTreeSet::from([key])));
        out.extend((2..=all.len()).map(|n| keys().take(n).collect()));
    }
    out.sort_by_key(BTreeSet::len);
    (out, all.len() <= FEW)
}
