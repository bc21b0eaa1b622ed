//! Finds the least-cost placement for what has no place, or tells that there is none.
//!
//! Whether something fits is decided exactly (see `sweep`). Windows can be cut to fit around what stays, so
//! that only windows with something live in them restrict the search. Functions are stopped only if nothing
//! else helps, those with the least total weight first.

use crate::blocks::{Blocks, FOUR_GIB, Freedom, Key, Thing, holder};
use crate::cost::{Cost, Rank, cost, moved, stopped, weight};
use crate::cut::cut;
use crate::search::improve;
use crate::steps::{Step, bystanders, steps};
use crate::sweep::{Budget, Swept, sweep};
use crate::tree::{Index, Mobility, Space, Tree, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A request: what must be placed, in which hierarchy.
#[derive(Clone, Debug, Default)]
pub struct Goal {
    /// The hierarchy as it is now, with future cards as [`absent`](crate::tree::Function::absent) functions.
    pub old: Tree,
    /// The same functions in the same order, with the sizes that are wanted. Resources to place have no address
    /// (`at` is `None`).
    pub tree: Tree,
    /// The resources that must get a place.
    pub place: Vec<Key>,
    /// The resources that get a place if there is room, in order of preference.
    pub extra: Vec<Key>,
}

/// The answer to a [`Goal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything fits. No function is disturbed except those that the request is about.
    Fits(Plan),
    /// Everything fits, but the functions in [`Plan::quiesced`] must be stopped meanwhile.
    FitsWithQuiesce(Plan),
    /// Proven impossible, even if everything movable moves. Holds the resources of [`Goal::place`] in the host bridge and
    /// space where they do not all fit; [`why`](crate::certificate::why) explains.
    No(Vec<Key>),
    /// Undecided: no placement was found within the budget, or none that register writes can lead to. Holds the
    /// resources of [`Goal::place`] for which this is so.
    NotProven(Vec<Key>),
}

/// A placement that satisfies a [`Goal`], and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The hierarchy with everything in its place and windows cut to fit.
    pub tree: Tree,
    /// The functions that must be stopped while the steps are carried out.
    pub quiesced: Vec<Index>,
    /// The prefetchable resources placed in a non-prefetchable window for lack of room.
    pub demoted: Vec<Key>,
    /// The resources of [`Goal::extra`] that got no place.
    pub left_out: Vec<Key>,
    /// The cost.
    pub cost: Cost,
    /// The register writes, in order.
    pub steps: Vec<Step>,
    /// Whether this is proven to be the least weight: all lighter alternatives were examined.
    pub least: bool,
}

/// The result of a search in one space.
enum Found {
    Plan { tree: Tree, demoted: Vec<Key>, least: bool },
    No,
    NotProven,
}

/// Finds the least-cost placement for a goal.
///
/// # Examples
/// A card with a 256 MiB BAR is about to be plugged in. A NIC holds the beginning of the aperture, so the card
/// goes to the next multiple of 256 MiB:
/// ```
/// use pmem_pci::plan::{Goal, Verdict, plan};
/// use pmem_pci::tree::{Aperture, Function, Mobility, Resource, Root, Slot, Space, Tree};
/// use pmem_pci::{Budget, BusRange};
///
/// let bar = |size, at| Resource {
///     slot: Slot::Bar(0), space: Space::Memory, prefetchable: false, top: 0xffff_ffff,
///     size, align: size, at, fixed: false, optional: false,
/// };
/// let span = BusRange { first: 0x8000_0000, last: 0x9fff_ffff };
/// let apertures = vec![Aperture { space: Space::Memory, span, cpu: span.first }];
/// let mut nic = Function::new("00:02.0".parse()?, None, 0);
/// nic.resources.push(bar(64 << 10, Some(0x8000_0000)));
/// let mut card = Function::new("00:03.0".parse()?, None, 0);
/// (card.absent, card.mobility) = (true, Mobility::Asked);
/// card.resources.push(bar(256 << 20, None));
/// let root = Root { segment: 0, buses: (0, 0), apertures };
/// let tree = Tree { roots: vec![root], functions: vec![nic, card], avoid: vec![] };
///
/// let goal = Goal { old: tree.clone(), tree, place: vec![(1, Slot::Bar(0))], extra: vec![] };
/// let Verdict::Fits(found) = plan(&goal, &mut Budget::steps(100_000)) else {
///     return Err("it does not fit".into());
/// };
/// assert_eq!(found.tree.functions[1].resources[0].at, Some(0x9000_0000));
/// assert!(found.quiesced.is_empty(), "the NIC keeps running");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn plan(goal: &Goal, budget: &mut Budget<'_>) -> Verdict {
    let mut tree = goal.tree.clone();
    let (mut demoted, mut left_out, mut least) = (Vec::new(), Vec::new(), true);
    for (root, space) in spaces(&tree, &goal.place) {
        let wanted: BTreeSet<Key> =
            goal.place.iter().copied().filter(|key| lies_in(&tree, *key) == Some((root, space))).collect();
        match (Search { tree: &tree, root, space, wanted: &wanted }).run(budget) {
            Found::Plan { tree: found, demoted: more, least: exact } => {
                // A function stopped for one space is stopped for the next as well, at no further cost.
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
        // An optional resource is not worth stopping a driver for.
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
    // A placement that no safe sequence of writes leads to is useless.
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

/// Lists the host bridges and spaces of `keys`, memory before I/O.
fn spaces(tree: &Tree, keys: &[Key]) -> Vec<(usize, Space)> {
    let mut all: Vec<(usize, Space)> = keys.iter().filter_map(|key| lies_in(tree, *key)).collect();
    all.sort_unstable_by_key(|(root, space)| (*root, core::cmp::Reverse(*space)));
    all.dedup();
    all
}

/// A search in one space below one host bridge.
struct Search<'t> {
    tree: &'t Tree,
    root: usize,
    space: Space,
    wanted: &'t BTreeSet<Key>,
}

impl Search<'_> {
    /// Finds the plan with the least weight, and among those the one with the fewest demotions.
    fn run(&self, budget: &mut Budget<'_>) -> Found {
        let mut exact = true;
        if let Some(found) = self.with(&BTreeSet::new(), budget, &mut exact) {
            return found;
        }
        // Stopping functions is the last resort. First ask whether stopping all of them would help at all:
        // usually that settles a `No`.
        let mut movable: Vec<(u64, Index)> = self.movable();
        movable.sort_unstable();
        let all: BTreeSet<Index> = movable.iter().map(|(_, index)| *index).collect();
        if !self.may_fit(&all, budget) {
            return Found::No;
        }
        let most: u64 = movable.iter().map(|(weight, _)| weight).sum();
        // Raise the weight one by one: the first weight with a plan is the least.
        for limit in 1..=most {
            let mut chosen = BTreeSet::new();
            if let Some(found) = self.choose(&movable, limit, &mut chosen, budget, &mut exact) {
                return found;
            }
            if budget.steps == 0 {
                break;
            }
        }
        // Places exist if everything movable is stopped, but the budget ran out, or no sequence of writes leads
        // to any of them.
        Found::NotProven
    }

    /// Finds a plan that stops nothing.
    fn gently(&self, budget: &mut Budget<'_>) -> Option<(Tree, Vec<Key>)> {
        match self.with(&BTreeSet::new(), budget, &mut true) {
            Some(Found::Plan { tree, demoted, .. }) => Some((tree, demoted)),
            _ => None,
        }
    }

    /// Lists the functions that may be stopped, with their weights.
    fn movable(&self) -> Vec<(u64, Index)> {
        let functions =
            self.tree.functions.iter().enumerate().filter(|(_, f)| f.root == self.root && !f.absent);
        functions
            .filter(|(_, f)| f.mobility != Mobility::Asked)
            .filter(|(_, f)| f.resources.iter().any(|r| r.space == self.space && r.at.is_some() && !r.fixed))
            .filter_map(|(index, _)| Some((weight(self.tree, index)?, index)))
            .collect()
    }

    /// Tries the sets of functions that weigh exactly `limit` together with `chosen`.
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
        // Prune: if stopping every remaining candidate at once does not help, no subset of them does.
        let rest = left.iter().filter(|(weight, _)| *weight <= limit).map(|(_, index)| *index);
        let all: BTreeSet<Index> = chosen.iter().copied().chain(rest).collect();
        if !self.may_fit(&all, budget) {
            return None;
        }
        for (i, (weight, index)) in left.iter().enumerate() {
            // `left` is sorted by weight, so all that follow are too heavy as well.
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

    /// Lists what is to be placed if `stopped` functions are stopped.
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

    /// Returns `false` only if it is proven that not everything fits with these functions stopped, whatever is
    /// demoted.
    fn may_fit(&self, stopped: &BTreeSet<Index>, budget: &mut Budget<'_>) -> bool {
        let free = self.free(stopped);
        let all = self.demotable(&free);
        // All sets of demotions count: demoting relieves the prefetchable window but crowds the memory window,
        // so no single set is the easiest.
        let (some, complete) = subsets(all);
        !complete
            || some.iter().any(|demoted| {
                let freedom =
                    Freedom { free: free.clone(), demoted: demoted.clone(), hard: false, high: false };
                let blocks = Blocks::new(self.tree, self.root, self.space, &freedom);
                sweep(&blocks.layout, budget) != Swept::Never
            })
    }

    /// Lists the resources that can move from the prefetchable to the memory window, with their sizes.
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

    /// Finds the best plan for a set of stopped functions.
    fn with(&self, stopped: &BTreeSet<Index>, budget: &mut Budget<'_>, exact: &mut bool) -> Option<Found> {
        let free = self.free(stopped);
        // A function that the request is about may move everything, but need not.
        let wanted = if stopped.is_empty() { self.wanted.clone() } else { free.clone() };
        let mut best: Option<(usize, Tree, BTreeSet<Key>)> = None;
        self.better(&wanted, budget, exact, &mut best);
        if wanted != free {
            self.better(&free, budget, exact, &mut best);
            // Not everything that may move needs to: take back one move at a time, as long as the plan gets no
            // worse.
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

    /// Looks for a plan that places `free` and is better than `best`, or as good. Returns `true` if it found
    /// one.
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

    /// Returns the rank of a placement; `None` if no sequence of writes leads to it.
    fn rank(&self, tree: &Tree) -> Option<Rank> {
        let bystanders = bystanders(self.tree, tree).ok()?;
        Some(cost(self.tree, tree, &bystanders).rank())
    }

    /// Finds the best placement of `free`.
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
        // A plan that keeps live windows as they are beats any that cuts them, so the latter are only tried if
        // there is none. Addresses above and below 4 GiB are both tried, and the better plan wins.
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

    /// Returns the hierarchy with resources placed and windows cut to fit; `None` if that is not legal.
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

/// The most demotable resources for which every set is tried.
const FEW: usize = 10;

/// Lists sets of resources to demote, smallest sets first, and tells whether these are all. If there are too
/// many, it lists each resource alone, and the n smallest for each n.
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
