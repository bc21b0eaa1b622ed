//! The index itself: the state that is kept outside the tree, and the public operations.

use crate::entry::{Entry, Occupant};
use crate::fit::{Fit, Policy};
use crate::range::AddrRange;
use crate::tree::{Cut, Leaf, Need, Node, Occupied, Pool, Put, Search, Slot, largest, marked, raw};
use core::fmt;

/// The error for a range that cannot be taken because part of it is not free.
///
/// # Examples
/// A BAR is moved onto the HPET. The conflict names the range that is in the way:
///
/// ```
/// use pmem_space::{AddrRange, Occupant, Space};
///
/// let mut mmio = Space::new();
/// mmio.open(AddrRange::new(0xfed0_0000, 0xfee0_0000)?);
/// let hpet = AddrRange::sized(0xfed0_0000, 0x400)?;
/// mmio.insert(hpet, "HPET")?;
/// let conflict = mmio.insert(AddrRange::sized(0xfed0_0000, 0x1000)?, "BAR 0").err().ok_or("no conflict")?;
/// assert_eq!((conflict.met.range, conflict.met.occupant), (hpet, Occupant::Taken("HPET")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict<T> {
    /// The range that was to be taken.
    pub wanted: AddrRange,
    /// The lowest entry that is in the way.
    pub met: Entry<T>,
}

impl<T: fmt::Debug> fmt::Display for Conflict<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} overlaps {:?} at {}", self.wanted, self.met.occupant, self.met.range)
    }
}

impl<T: fmt::Debug> core::error::Error for Conflict<T> {}

/// The result of [`Space::search`].
///
/// # Examples
/// A search that tries no more than about 64 gaps in vain says whether its answer is the lowest place:
///
/// ```
/// use pmem_space::{AddrRange, Fit, Space};
///
/// let mut mmio: Space<&str> = Space::new();
/// mmio.open(AddrRange::sized(0xe000_0000, 0x100_0000)?);
/// let found = mmio.search(&Fit::new(0x4000)?.align(0x4000)?.visits(64)).ok_or("full")?;
/// assert!(found.exact);
/// assert_eq!(found.place.start(), 0xe000_0000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The place that was found. It is still free: the search does not take it.
    pub place: AddrRange,
    /// Whether this is the place that the policy asks for. `false` only after [`Fit::visits`] gaps were tried in vain:
    /// the place is then in the lowest gap that is certain to fit.
    pub exact: bool,
}

/// An ordered index of the entries of one address space and of the gaps between them.
///
/// A clone shares everything; a later change copies only the path to what it changes. Changes and look-ups take
/// logarithmic time; opening, closing and sealing take it for each entry in the range. The exception is a search whose
/// alignment many gaps nearly fit: [`Fit::visits`] bounds it.
///
/// # Invariants
/// Entries are disjoint. Neighbouring holes are one entry, and so is neighbouring sealed space.
///
/// # Examples
/// A bridge window of 16 MiB holds one BAR that firmware placed and one that is allocated:
///
/// ```
/// use pmem_space::{AddrRange, Fit, Space};
///
/// let mut window = Space::new();
/// window.open(AddrRange::sized(0xe000_0000, 0x100_0000)?);
/// window.insert(AddrRange::sized(0xe000_0000, 0x4000)?, "nvme0 BAR 0")?;
///
/// let bar = window.alloc(&Fit::new(0x10_0000)?.align(0x10_0000)?, "eth0 BAR 0").ok_or("the window is full")?;
/// assert_eq!(bar.start(), 0xe010_0000);
/// assert_eq!(window.get(0xe010_0042), Some((bar, "eth0 BAR 0")));
/// assert_eq!(window.before(bar.start()).map(|(_, name)| name), Some("nvme0 BAR 0"));
///
/// window.remove(bar.start());
/// assert_eq!(window.taken(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Space<T> {
    root: Node<T>,
    /// The last address of the gap below the first entry; `None` if the first entry starts at 0.
    lead: Option<u64>,
    taken: usize,
    /// The number of levels of inner nodes.
    height: usize,
}

impl<T: Copy + Default> Default for Space<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default> Space<T> {
    /// Creates an address space that is one hole. Nothing can be allocated until [`Self::open`] makes a gap.
    pub fn new() -> Self {
        let mut space = Self { root: Node::empty_leaf(u64::MAX), lead: Some(u64::MAX), taken: 0, height: 0 };
        space.fill(AddrRange::ALL, Occupant::Hole, &mut Pool::default());
        space
    }

    /// Sets aside what one insertion, removal or replacement may need, and what the change that undoes it may need.
    pub fn fill_pool(&self, pool: &mut Pool<T>) {
        pool.fill(self.height + 1, || Leaf::new(u64::MAX));
    }
}

impl<T: Copy> Space<T> {
    /// Turns the holes and the sealed space in `range` into gaps. Taken ranges stay.
    pub fn open(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).open(range);
    }

    /// Turns the gaps and the sealed space in `range` into holes. Taken ranges stay.
    pub fn close(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).close(range);
    }

    /// Turns the gaps and the holes in `range` into sealed space. Taken ranges stay.
    pub fn seal(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).seal(range);
    }

    /// Returns a handle whose changes take their memory from `pool`.
    pub fn pooled<'s>(&'s mut self, pool: &'s mut Pool<T>) -> Pooled<'s, T> {
        Pooled { space: self, pool }
    }

    /// Takes exactly `range`.
    ///
    /// # Errors
    /// [`Conflict`] unless all of it is a gap.
    pub fn insert(&mut self, range: AddrRange, value: T) -> Result<(), Conflict<T>> {
        self.insert_marked(range, value, false)
    }

    /// Takes exactly `range`. [`Self::marked_in`] finds the entry if it is `marked`.
    ///
    /// # Examples
    /// The framebuffer is marked, so that it can be found without a walk over the other ranges:
    ///
    /// ```
    /// use pmem_space::{AddrRange, Space};
    ///
    /// let mut mmio = Space::new();
    /// mmio.open(AddrRange::ALL);
    /// mmio.insert(AddrRange::sized(0xfed0_0000, 0x400)?, "HPET")?;
    /// mmio.insert_marked(AddrRange::sized(0xe000_0000, 0x1000_0000)?, "GPU framebuffer", true)?;
    /// let mut found = Vec::new();
    /// mmio.marked_in(AddrRange::ALL, |_, name| found.push(name));
    /// assert_eq!(found, ["GPU framebuffer"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Conflict`] unless all of it is a gap.
    pub fn insert_marked(&mut self, range: AddrRange, value: T, marked: bool) -> Result<(), Conflict<T>> {
        self.pooled(&mut Pool::default()).insert_marked(range, value, marked)
    }

    /// Finds a place for `fit` and takes it; `None` if nothing fits.
    pub fn alloc(&mut self, fit: &Fit, value: T) -> Option<AddrRange> {
        self.alloc_with(fit, |_| value)
    }

    /// Finds a place for `fit` and takes it, for a value that depends on the place; `None` if nothing fits.
    pub fn alloc_with(&mut self, fit: &Fit, value: impl FnOnce(AddrRange) -> T) -> Option<AddrRange> {
        let place = self.find(fit)?;
        self.put(place, Occupant::Taken(value(place)), false, &mut Pool::default()).is_ok().then_some(place)
    }

    /// Removes the taken range that starts at `start`, which leaves a gap. `None` if no taken range starts there.
    pub fn remove(&mut self, start: u64) -> Option<(AddrRange, T)> {
        self.pooled(&mut Pool::default()).remove(start)
    }

    /// Replaces the value of the taken range that starts at `start`, and returns the old value. The mark stays as it
    /// is. `None` if no taken range starts there.
    pub fn replace(&mut self, start: u64, value: T) -> Option<T> {
        let marked = self.slot_at(start)?.marked;
        self.replace_marked(start, value, marked)
    }

    /// Replaces the value and the mark of the taken range that starts at `start`, and returns the old value. `None` if
    /// no taken range starts there.
    pub fn replace_marked(&mut self, start: u64, value: T, marked: bool) -> Option<T> {
        self.pooled(&mut Pool::default()).replace_marked(start, value, marked)
    }

    /// Returns the entry that `addr` lies in: a taken range, a gap, a hole or sealed space.
    #[must_use]
    pub fn at(&self, addr: u64) -> Entry<T> {
        if let Some(lead) = self.lead.filter(|lead| addr <= *lead) {
            return Entry { range: raw(0, lead), occupant: Occupant::Gap };
        }
        // Every address above the lead is in a leaf, so the fallback is never used; it spares a panic.
        let whole = Entry { range: AddrRange::ALL, occupant: Occupant::Gap };
        self.root.leaf(addr).and_then(|leaf| leaf.entry(addr)).unwrap_or(whole)
    }

    /// Returns the taken range that `addr` lies in, and its value; `None` if `addr` is not taken.
    #[inline]
    #[must_use]
    pub fn get(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.root.leaf(addr)?.get(addr)
    }

    /// Iterates over the entries that overlap `window`, gaps included, in order of address. The first and the last
    /// entry are given whole, even where they extend past the window.
    ///
    /// # Examples
    /// Printing the map of a window:
    ///
    /// ```
    /// use pmem_space::{AddrRange, Occupant, Space};
    ///
    /// let mut mmio = Space::new();
    /// let window = AddrRange::sized(0xfe00_0000, 0x10_0000)?;
    /// mmio.open(window);
    /// mmio.insert(AddrRange::sized(0xfe00_0000, 0x1000)?, "UART")?;
    /// let map: Vec<_> = mmio.entries_in(window).map(|entry| (entry.range.len(), entry.occupant)).collect();
    /// assert_eq!(map, [(0x1000, Occupant::Taken("UART")), (0xf_f000, Occupant::Gap)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entries_in(&self, window: AddrRange) -> Entries<'_, T> {
        Entries { space: self, leaf: None, next: Some(window.start()), last: window.last() }
    }

    /// Iterates over the taken ranges that overlap `window`, in order of address or from the back. Ranges are given
    /// whole, even where they extend past the window.
    #[must_use]
    pub fn taken_in(&self, window: AddrRange) -> TakenIn<'_, T> {
        TakenIn { space: self, leaf: None, left: Some(window) }
    }

    /// Iterates over the gaps inside `window`, cut to it, in order of address.
    pub fn gaps_in(&self, window: AddrRange) -> impl Iterator<Item = AddrRange> + '_ {
        self.entries_in(window)
            .filter(|e| matches!(e.occupant, Occupant::Gap))
            .filter_map(move |e| e.range.intersect(window))
    }

    /// Calls `each` for every marked entry that overlaps `window`, in order of address. Subtrees without marks are
    /// skipped.
    pub fn marked_in(&self, window: AddrRange, mut each: impl FnMut(AddrRange, T)) {
        marked(&self.root, window, &mut each);
    }

    /// Returns the nearest taken range that ends below `addr`.
    #[must_use]
    pub fn before(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(raw(0, addr.checked_sub(1)?)).rev().find(|(range, _)| range.last() < addr)
    }

    /// Returns the nearest taken range that starts above `addr`.
    #[must_use]
    pub fn after(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(raw(addr.checked_add(1)?, u64::MAX)).find(|(range, _)| range.start() > addr)
    }

    /// Finds a place for `fit` without taking it; `None` if nothing fits.
    #[must_use]
    pub fn find(&self, fit: &Fit) -> Option<AddrRange> {
        self.search(fit).map(|found| found.place)
    }

    /// Finds a place for `fit` without taking it, and says whether it is the place that the policy asks for.
    #[must_use]
    pub fn search(&self, fit: &Fit) -> Option<Found> {
        let mut search = Search { fit, need: Need::of(fit), patience: fit.visits_of() };
        let lead = self.lead.map(|lead| raw(0, lead));
        let window = fit.window_of();
        let cut = Cut { below: window.start() > 0, above: window.last() < u64::MAX };
        // The lead is the one gap that no leaf owns. It is below all others, so lowest-first searches try it first.
        let in_lead = || lead.and_then(|lead| fit.lowest_in(lead));
        let quick = match fit.policy_of() {
            Policy::FirstFit | Policy::LastFit => None,
            Policy::InstantFit => in_lead().or_else(|| search.in_any_order(&self.root)),
            Policy::GoodFit => search.in_smallest_order(&self.root, lead),
        };
        // The quick policies are defined by the orders of gaps, so what they find is exact by definition.
        if let Some(place) = quick {
            return Some(Found { place, exact: true });
        }
        let run = |search: &mut Search<'_>| match fit.policy_of() {
            Policy::LastFit => {
                // The lead comes last here, and not at all once patience has run out: then the fallback below decides.
                let found = search.highest(&self.root);
                found.or_else(|| fit.highest_in(lead.filter(|_| search.patience > 0)?))
            }
            _ => in_lead().or_else(|| search.lowest(&self.root, cut)),
        };
        // Patience left over means that no candidate was dropped: the search was exhaustive, so `None` is final.
        let first = run(&mut search);
        if first.is_some() || search.patience > 0 {
            return first.map(|place| Found { place, exact: true });
        }
        // Out of patience: one descent by orders finds a gap that fits whatever its exact bounds are.
        if let Some(place) = search.in_any_order(&self.root) {
            return Some(Found { place, exact: false });
        }
        // Only gaps that may just fit are left, and nothing short of trying them all decides.
        search.patience = u32::MAX;
        run(&mut search).map(|place| Found { place, exact: true })
    }

    /// Returns the largest gap inside `window`, cut to it; of equally large ones the lowest. `None` if there is no gap.
    #[must_use]
    pub fn largest_gap(&self, window: AddrRange) -> Option<AddrRange> {
        let lead = self.lead.and_then(|lead| raw(0, lead).intersect(window));
        largest(&self.root, window, lead)
    }

    /// Returns the number of taken ranges.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the entry, of any kind, that starts at `start`. Gaps have no slot.
    fn slot_at(&self, start: u64) -> Option<Slot<T>> {
        let leaf = self.root.leaf(start)?;
        Some(leaf.slot(leaf.upto(start).checked_sub(1)?)).filter(|slot| slot.start == start)
    }

    /// Puts an entry into a gap; fails, and changes nothing, if the range is not all gap.
    fn put(
        &mut self,
        range: AddrRange,
        what: Occupant<T>,
        marked: bool,
        pool: &mut Pool<T>,
    ) -> Result<(), Occupied> {
        let (start, last) = (range.start(), range.last());
        // The tree reports a conflict before it changes any entry, so there is nothing to undo here.
        let Put { split, .. } = self.root.put(&Slot { start, last, what, marked }, pool)?;
        // The new entry lies in the lead, so it is now the first one: the lead ends right below it.
        if self.lead.is_some_and(|lead| start <= lead) {
            self.lead = start.checked_sub(1);
        }
        self.taken += usize::from(matches!(what, Occupant::Taken(_)));
        // Splits reached the root, which is the only way that the tree grows: all leaves stay at the same depth.
        if let Some(split) = split {
            self.root = Node::over(self.root.clone(), split, pool);
            self.height += 1;
        }
        Ok(())
    }

    /// Puts a hole or sealed space into what is known to be a gap.
    fn fill(&mut self, range: AddrRange, what: Occupant<T>, pool: &mut Pool<T>) {
        let put = self.put(range, what, false, pool);
        debug_assert!(put.is_ok(), "{range} is not a gap");
    }

    /// Removes the entry that starts at `start`, if `which` accepts it; a gap is left.
    fn cut(&mut self, start: u64, which: fn(&Occupant<T>) -> bool, pool: &mut Pool<T>) -> Option<Slot<T>> {
        let taken = self.root.take(start, which, pool)?;
        self.taken -= usize::from(matches!(taken.slot.what, Occupant::Taken(_)));
        // `reach` gets this far only from the first entry of the whole tree: the gap after it joins the lead.
        if taken.reach.is_some() {
            self.lead = taken.reach;
        }
        // A root with a single subtree is a wasted level. There may be another one below it.
        while let Some(kid) = self.root.only_kid() {
            pool.keep(core::mem::replace(&mut self.root, kid));
            self.height -= 1;
        }
        Some(taken.slot)
    }

    /// Turns everything in `range` that is not taken into `base`.
    fn rebase(&mut self, range: AddrRange, base: Occupant<T>, pool: &mut Pool<T>) {
        let mut next = Some(range.start());
        while let Some(addr) = next.filter(|addr| *addr <= range.last()) {
            let entry = self.at(addr);
            // Read before the change: whatever becomes of `part`, the next entry starts here.
            next = entry.range.end();
            if matches!(entry.occupant, Occupant::Taken(_)) {
                continue;
            }
            let Some(part) = entry.range.intersect(range) else { continue };
            // Gaps are what lies between entries. So cut the hole or sealed space out, and put back what is outside.
            if !matches!(entry.occupant, Occupant::Gap) {
                self.cut(entry.range.start(), |_| true, pool);
                for rest in entry.range.minus(part).into_iter().flatten() {
                    self.fill(rest, entry.occupant, pool);
                }
            }
            // `part` is a gap now, in any case.
            if !matches!(base, Occupant::Gap) {
                self.fill(part, base, pool);
                self.merge(part, pool);
            }
        }
    }

    /// Joins the hole or sealed space at `part` with neighbours of its kind.
    fn merge(&mut self, part: AddrRange, pool: &mut Pool<T>) {
        let here = self.at(part.start());
        let joins = |e: &Entry<T>| {
            matches!(
                (e.occupant, here.occupant),
                (Occupant::Hole, Occupant::Hole) | (Occupant::Sealed, Occupant::Sealed)
            )
        };
        // One step each way is enough: before this change, neighbours of a kind were one entry already.
        let below = part.start().checked_sub(1).map(|addr| self.at(addr)).filter(joins);
        let above = part.end().map(|addr| self.at(addr)).filter(joins);
        if below.is_none() && above.is_none() {
            return;
        }
        // All go before the joined one comes, for `fill` needs a gap.
        let whole = [below, above].into_iter().flatten().fold(here.range, |all, e| all.hull(e.range));
        for gone in [below, Some(here), above].into_iter().flatten() {
            self.cut(gone.range.start(), |_| true, pool);
        }
        self.fill(whole, here.occupant, pool);
    }
}

/// A [`Space`] whose changes take their memory from a [`Pool`]; created by [`Space::pooled`].
pub struct Pooled<'s, T> {
    space: &'s mut Space<T>,
    pool: &'s mut Pool<T>,
}

impl<T: Copy> Pooled<'_, T> {
    /// Turns the holes and the sealed space in `range` into gaps, as [`Space::open`] does.
    pub fn open(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Gap, self.pool);
    }

    /// Turns the gaps and the sealed space in `range` into holes, as [`Space::close`] does.
    pub fn close(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Hole, self.pool);
    }

    /// Turns the gaps and the holes in `range` into sealed space, as [`Space::seal`] does.
    pub fn seal(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Sealed, self.pool);
    }

    /// Takes exactly `range`, as [`Space::insert`] does.
    ///
    /// # Errors
    /// [`Conflict`] unless all of `range` is a gap.
    pub fn insert(&mut self, range: AddrRange, value: T) -> Result<(), Conflict<T>> {
        self.insert_marked(range, value, false)
    }

    /// Takes exactly `range`, for an entry that [`Space::marked_in`] finds if it is `marked`.
    ///
    /// # Errors
    /// [`Conflict`] unless all of `range` is a gap.
    pub fn insert_marked(&mut self, range: AddrRange, value: T, marked: bool) -> Result<(), Conflict<T>> {
        if self.space.put(range, Occupant::Taken(value), marked, self.pool).is_ok() {
            return Ok(());
        }
        // Something is in the way. If `range` starts in a gap, it is what follows the gap, for gaps are maximal.
        let gap = |entry: &Entry<T>| matches!(entry.occupant, Occupant::Gap);
        let here = self.space.at(range.start());
        let met = here.range.end().filter(|_| gap(&here)).map_or(here, |next| self.space.at(next));
        Err(Conflict { wanted: range, met })
    }

    /// Removes the taken range that starts at `start`, which leaves a gap. `None` if no taken range starts there.
    pub fn remove(&mut self, start: u64) -> Option<(AddrRange, T)> {
        let slot = self.space.cut(start, |what| matches!(what, Occupant::Taken(_)), self.pool)?;
        match slot.what {
            Occupant::Taken(value) => Some((slot.range(), value)),
            _ => None,
        }
    }

    /// Replaces the value and the mark of the taken range that starts at `start`, and returns the old value. `None` if
    /// no taken range starts there.
    pub fn replace_marked(&mut self, start: u64, value: T, marked: bool) -> Option<T> {
        let Occupant::Taken(old) = self.space.slot_at(start)?.what else { return None };
        self.space.root.set(start, Occupant::Taken(value), marked, self.pool);
        Some(old)
    }
}

impl<T: Copy + PartialEq> PartialEq for Space<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries_in(AddrRange::ALL).eq(other.entries_in(AddrRange::ALL))
    }
}

impl<T: Copy + Eq> Eq for Space<T> {}

impl<T: Copy + fmt::Debug> fmt::Debug for Space<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries_in(AddrRange::ALL)).finish()
    }
}

/// Iterates over entries and gaps in order of address; created by [`Space::entries_in`].
pub struct Entries<'s, T> {
    space: &'s Space<T>,
    /// The leaf of the last entry: the next entry is usually in it too.
    leaf: Option<&'s Leaf<T>>,
    /// Where the next entry is looked up; `None` past the top of the address space.
    next: Option<u64>,
    /// The last address of the window.
    last: u64,
}

impl<T: Copy> Iterator for Entries<'_, T> {
    type Item = Entry<T>;

    fn next(&mut self) -> Option<Entry<T>> {
        let addr = self.next.filter(|addr| *addr <= self.last)?;
        let entry = self.entry(addr);
        self.next = entry.range.end();
        Some(entry)
    }
}

impl<T: Copy> Entries<'_, T> {
    fn entry(&mut self, addr: u64) -> Entry<T> {
        // Only where the leaf ends does the walk go down from the root again.
        let known = self.leaf.filter(|leaf| leaf.covers(addr));
        self.leaf = known.or_else(|| self.space.root.leaf(addr));
        match self.leaf.and_then(|leaf| leaf.entry(addr)) {
            Some(entry) => entry,
            None => self.space.at(addr),
        }
    }
}

/// Iterates over taken ranges in order of address, from both ends; created by [`Space::taken_in`].
pub struct TakenIn<'s, T> {
    space: &'s Space<T>,
    /// The leaf of the last entry, from whichever end.
    leaf: Option<&'s Leaf<T>>,
    /// The part of the window that neither end has reached yet.
    left: Option<AddrRange>,
}

impl<'s, T: Copy> TakenIn<'s, T> {
    fn leaf(&mut self, addr: u64) -> Option<&'s Leaf<T>> {
        self.leaf = self.leaf.filter(|leaf| leaf.covers(addr)).or_else(|| self.space.root.leaf(addr));
        self.leaf
    }
}

impl<T: Copy> Iterator for TakenIn<'_, T> {
    type Item = (AddrRange, T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let left = self.left?;
            let leaf = self.leaf(left.start())?;
            // Below the first entry of all, `upto` is 0; then entry 0 is the next one.
            let i = leaf.upto(left.start()).saturating_sub(1);
            // Entry `i` and the gap after it reach up to where entry `i + 1` starts.
            let slot = Some(leaf.slot(i)).filter(|slot| i < leaf.len() && slot.last >= left.start());
            let after = match slot {
                Some(slot) => slot.last.checked_add(1),
                None => leaf.reach(i).max(left.start()).checked_add(1),
            };
            // Each round moves past an entry or a gap, so the loop ends, with `None` at the end of the window.
            self.left = after.and_then(|start| AddrRange::inclusive(start, left.last()).ok());
            if let Some(slot) = slot.filter(|slot| slot.start <= left.last())
                && let Occupant::Taken(value) = slot.what
            {
                return Some((slot.range(), value));
            }
        }
    }
}

impl<T: Copy> DoubleEndedIterator for TakenIn<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let left = self.left?;
            let leaf = self.leaf(left.last())?;
            let i = leaf.upto(left.last()).checked_sub(1)?;
            let slot = leaf.slot(i);
            // A slot that starts below the window ends the walk: nothing is left after this round.
            let before = slot.start.checked_sub(1);
            self.left = before.and_then(|last| AddrRange::inclusive(left.start(), last).ok());
            if let Occupant::Taken(value) = slot.what
                && slot.last >= left.start()
            {
                return Some((slot.range(), value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn r(start: u64, end: u64) -> AddrRange {
        AddrRange::new(start, end).unwrap()
    }

    #[test]
    fn a_new_space_is_one_hole() {
        let space = Space::<u8>::new();
        assert_eq!(space.at(77), Entry { range: AddrRange::ALL, occupant: Occupant::Hole });
        assert_eq!(space.find(&Fit::new(1).unwrap()), None);
    }

    #[test]
    fn adjacent_opened_spans_are_one_gap() {
        let mut space = Space::<u8>::new();
        space.open(r(0x1000, 0x2000));
        space.open(r(0x2000, 0x3000));
        assert_eq!(space.gaps_in(AddrRange::ALL).collect::<Vec<_>>(), [r(0x1000, 0x3000)]);
        assert_eq!(space.find(&Fit::new(0x2000).unwrap()), Some(r(0x1000, 0x3000)));
    }

    #[test]
    fn what_is_taken_survives_sealing_and_closing() {
        let mut space = Space::new();
        space.open(r(0, 0x100));
        space.insert(r(0x10, 0x20), 'a').unwrap();
        space.seal(r(0, 0x100));
        assert_eq!(space.find(&Fit::new(1).unwrap()), None);
        assert_eq!(space.remove(0x10), Some((r(0x10, 0x20), 'a')));
        assert_eq!(space.gaps_in(AddrRange::ALL).collect::<Vec<_>>(), [r(0x10, 0x20)]);
        space.close(r(0, 0x100));
        assert_eq!(space, Space::new());
    }

    #[test]
    fn a_conflict_names_what_is_met_first() {
        let mut space = Space::new();
        space.open(r(0, 0x100));
        space.insert(r(0x10, 0x20), 'a').unwrap();
        let conflict = space.insert(r(0x8, 0x40), 'b').unwrap_err();
        assert_eq!(conflict.met, Entry { range: r(0x10, 0x20), occupant: Occupant::Taken('a') });
    }

    #[test]
    fn the_top_of_the_space_can_be_taken() {
        let mut space = Space::new();
        let top = AddrRange::inclusive(u64::MAX - 0xff, u64::MAX).unwrap();
        space.open(top);
        let last = Fit::new(0x10).unwrap().policy(Policy::LastFit);
        let place = space.find(&last).unwrap();
        assert_eq!(place.last(), u64::MAX);
        space.insert(place, ()).unwrap();
        assert_eq!(space.before(u64::MAX), None);
        assert_eq!(space.after(0), Some((place, ())));
    }

    /// One entry per address, over a small space: obviously correct.
    const SMALL: u64 = 96;

    fn dense(space: &Space<u8>) -> Vec<Occupant<u8>> {
        (0..SMALL).map(|addr| space.at(addr).occupant).collect()
    }

    fn places(cells: &[Occupant<u8>], fit: &Fit) -> Vec<AddrRange> {
        (0..SMALL)
            .filter_map(|start| AddrRange::sized(start, fit.len()).ok())
            .filter(|p| p.last() < SMALL && fit.admits(*p))
            .filter(|p| (p.start()..=p.last()).all(|a| cells[a as usize] == Occupant::Gap))
            .collect()
    }

    fn gaps(cells: &[Occupant<u8>]) -> Vec<AddrRange> {
        let free = |a: u64| cells.get(a as usize) == Some(&Occupant::Gap);
        let starts = (0..SMALL).filter(|a| free(*a) && (*a == 0 || !free(a - 1)));
        starts.map(|a| AddrRange::new(a, (a..).find(|a| !free(*a)).unwrap()).unwrap()).collect()
    }

    /// The size of the largest naturally aligned block in a gap.
    fn block(gap: AddrRange) -> u64 {
        let fits =
            |size: &u64| (0..SMALL / size).any(|i| gap.covers(AddrRange::sized(i * size, *size).unwrap()));
        (0..7).map(|order| 1 << order).filter(fits).max().unwrap()
    }

    fn check_find(space: &Space<u8>, fit: Fit) -> Result<(), TestCaseError> {
        let cells = dense(space);
        let all = places(&cells, &fit);
        prop_assert_eq!(space.find(&fit.policy(Policy::FirstFit)), all.first().copied());
        prop_assert_eq!(space.find(&fit.policy(Policy::LastFit)), all.last().copied());
        let instant = space.find(&fit.policy(Policy::InstantFit));
        prop_assert_eq!(instant.is_some(), !all.is_empty());
        prop_assert!(instant.is_none_or(|p| all.contains(&p)));
        let good = space.find(&fit.policy(Policy::GoodFit));
        prop_assert_eq!(good.is_some(), !all.is_empty());
        prop_assert!(good.is_none_or(|p| all.contains(&p)));
        // No gap with a smaller block would surely have done.
        let slack = fit.align_of().max(fit.boundary_of().unwrap_or(1)) - 1;
        let sure =
            |(gap, block): &(AddrRange, u64)| fit.window_of().covers(*gap) && *block >= fit.len() + slack;
        let blocks: Vec<(AddrRange, u64)> = gaps(&cells).into_iter().map(|gap| (gap, block(gap))).collect();
        if let (Some(least), Some(good)) = (blocks.iter().filter(|g| sure(g)).map(|g| g.1).min(), good) {
            let (_, taken) = blocks.iter().find(|(gap, _)| gap.covers(good)).unwrap();
            prop_assert!(*taken <= least, "{} has {}, {} would do", good, taken, least);
        }
        Ok(())
    }

    /// A tree of some levels, whose entries come and go.
    fn grown(ops: Vec<(u8, u64, u64)>) -> Space<u8> {
        let mut space = Space::new();
        space.open(AddrRange::inclusive(0, 1 << 20).unwrap());
        for (i, (op, start, len)) in ops.into_iter().enumerate() {
            let range = AddrRange::sized(start, len).unwrap();
            match op {
                0 => space.close(range),
                1 => space.open(range),
                2..6 => drop(space.after(start).and_then(|(next, _)| space.remove(next.start()))),
                _ => drop(space.insert_marked(range, i as u8, i.is_multiple_of(7))),
            }
        }
        space
    }

    #[test]
    fn it_can_be_shown() {
        let shown = std::format!("{:?}", grown(std::vec![(9, 4096, 16)]));
        assert!(shown.contains("0x1000"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_subtrees_say_is_exact(ops in prop::collection::vec((0u8..16, 0u64..1 << 12, 1u64..9), 1..600)) {
            crate::tree::exact::check(&grown(ops).root);
        }

        #[test]
        fn agrees_with_one_cell_per_address(
            ops in prop::collection::vec((0u8..6, 0..SMALL, 1..24u64), 1..60),
            fits in prop::collection::vec((1..9u64, 0..4u32, 0..40u64, 0..5u32, 0..SMALL, 1..SMALL), 8),
        ) {
            let mut space = Space::new();
            let mut cells: Vec<Occupant<u8>> = (0..SMALL).map(|_| Occupant::Hole).collect();
            for (i, (op, start, len)) in ops.into_iter().enumerate() {
                let range = AddrRange::inclusive(start, (start + len - 1).min(SMALL - 1)).unwrap();
                let ours = start as usize..=range.last() as usize;
                let base = match op {
                    0 | 1 => { space.open(range); Some(Occupant::Gap) }
                    2 => { space.close(range); Some(Occupant::Hole) }
                    3 => { space.seal(range); Some(Occupant::Sealed) }
                    4 => {
                        let free = cells[ours.clone()].iter().all(|c| *c == Occupant::Gap);
                        prop_assert_eq!(space.insert(range, i as u8).is_ok(), free);
                        if free { cells[ours.clone()].fill(Occupant::Taken(i as u8)); }
                        None
                    }
                    _ => {
                        if let Some((gone, _)) = space.remove(start) {
                            cells[gone.start() as usize..=gone.last() as usize].fill(Occupant::Gap);
                        }
                        None
                    }
                };
                if let Some(base) = base {
                    cells[ours].iter_mut().filter(|c| !matches!(c, Occupant::Taken(_))).for_each(|c| *c = base);
                }
                prop_assert_eq!(&dense(&space), &cells);
            }
            for (len, align, phase, boundary, start, size) in fits {
                let window = AddrRange::inclusive(start, (start + size - 1).min(SMALL - 1)).unwrap();
                let fit = Fit::new(len).unwrap().window(window).align(1 << align).unwrap().phase(phase);
                check_find(&space, fit)?;
                check_find(&space, fit.boundary((1u64 << boundary).max(len.next_power_of_two())).unwrap())?;
            }
        }
    }
}
