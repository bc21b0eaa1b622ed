//! Walks down to a leaf of the free map, and updates on the way back up.

use super::FreeMap;
use super::inner::{FAN_BITS, Inner, LEVELS, NONE, Path, bits_of};
use super::leaf::{LEAF_BITS, Leaf, Summary, bits, leaf_frames, length, order_of};
use crate::frame::FrameRange;

impl FreeMap {
    /// The base-2 logarithm of the number of page frames below the root; 0 if there is no root.
    pub(super) fn bits(&self) -> u32 {
        if self.root == NONE { 0 } else { bits_of(self.height) }
    }

    /// Puts a new root above the old one, which covers 64 times as many page frames.
    pub(super) fn rise(&mut self) {
        if self.root == NONE {
            self.root = self.leaves.add(Leaf::new());
            self.height = 0;
            return;
        }
        let mut inner = Inner::new();
        let below = bits_of(self.height);
        let (some, full, zeroed, colours, summary) = if self.height == 0 {
            let leaf = &self.leaves.all[self.root as usize];
            let exact = self.summarise(self.root, 0, 0);
            (!leaf.is_empty(), leaf.is_full(), leaf.has_zeroed(), leaf.colours(), exact)
        } else {
            let inner = &self.inners.all[self.root as usize];
            let promise = inner.promise(below - FAN_BITS);
            (inner.some != 0, inner.full == u64::MAX, inner.zeroed != 0, inner.colours(), promise)
        };
        // The old root always covers the page frames from 0, so it becomes child 0.
        inner.child[0] = self.root;
        (inner.there, inner.some, inner.full) = (1, u64::from(some), u64::from(full));
        (inner.zeroed, inner.colours[0], inner.summary[0]) = (u64::from(zeroed), colours, summary);
        self.root = self.inners.add(inner);
        self.height += 1;
    }

    /// Returns the leaf at `base`, and makes it if there is none.
    pub(super) fn leaf_at(&mut self, base: u64) -> u32 {
        let mut node = self.root;
        for height in (0..self.height).rev() {
            let i = (base >> bits_of(height)) as usize & 63;
            let mut child = self.inners.all[node as usize].child[i];
            if child == NONE {
                child =
                    if height == 0 { self.leaves.add(Leaf::new()) } else { self.inners.add(Inner::new()) };
                let inner = &mut self.inners.all[node as usize];
                inner.child[i] = child;
                inner.there |= 1 << i;
            }
            node = child;
        }
        node
    }

    /// Returns the path to the leaf at `base`, if there is one.
    #[inline]
    pub(super) fn path(&self, base: u64) -> Option<Path> {
        if self.root == NONE || base >> self.bits() != 0 {
            return None;
        }
        let mut path = Path { leaf: self.root, steps: [(NONE, 0); LEVELS], height: self.height };
        for height in (0..self.height).rev() {
            let i = (base >> bits_of(height)) as usize & 63;
            path.steps[height] = (path.leaf, i);
            path.leaf = self.inners.all[path.leaf as usize].child[i];
            if path.leaf == NONE {
                return None;
            }
        }
        Some(path)
    }

    /// Removes a leaf that holds nothing, and the inner nodes that have no children without it.
    pub(super) fn drop_leaf(&mut self, base: u64) {
        let Some(path) = self.path(base) else { return };
        if path.height == 0 {
            return;
        }
        self.leaves.unused.push(path.leaf);
        for &(node, i) in path.steps() {
            let inner = &mut self.inners.all[node as usize];
            inner.child[i] = NONE;
            inner.there &= !(1 << i);
            inner.summary[i] = Summary::default();
            // The root stays: `let_go` drops the whole tree when nothing is held any more.
            if inner.there != 0 || node == self.root {
                return;
            }
            self.inners.unused.push(node);
        }
    }

    /// Records above a leaf that pages of it were given.
    #[inline]
    pub(super) fn gave(&mut self, path: &Path, part: FrameRange, zeroed: bool) {
        let leaf = &self.leaves.all[path.leaf as usize];
        let mut full = leaf.is_full();
        let new = if !self.coloured || part.count() >= 64 { u64::MAX } else { colours_of(part) };
        for (height, &(node, i)) in path.steps().iter().enumerate() {
            let inner = &mut self.inners.all[node as usize];
            inner.some |= 1 << i;
            if full {
                inner.full |= 1 << i;
                inner.summary[i] = Summary::full(bits_of(height));
            }
            inner.zeroed |= u64::from(zeroed) << i;
            inner.colours[i] |= new;
            // The parent sees this node as all free only if every child of it is.
            full = inner.full == u64::MAX;
        }
    }

    /// Records above a leaf that pages of it were taken. The bounds stay as they are: they are still upper bounds.
    #[inline]
    pub(super) fn took(&mut self, path: &Path, part: FrameRange) {
        let leaf = &self.leaves.all[path.leaf as usize];
        let mut some = !leaf.is_empty();
        let mut zeroed = leaf.has_zeroed();
        // The numbers modulo 64 that have no free page left in the leaf. For one page it is enough to look for others
        // with the same number.
        let mut gone = match part.count() {
            _ if !self.coloured => 0,
            1 if leaf.has_colour((part.start() & 63) as u32) => 0,
            1 => colours_of(part),
            _ => !leaf.colours(),
        };
        for &(node, i) in path.steps() {
            let inner = &mut self.inners.all[node as usize];
            inner.full &= !(1 << i);
            if !zeroed {
                inner.zeroed &= !(1 << i);
            }
            if !some {
                inner.some &= !(1 << i);
                inner.summary[i] = Summary::default();
            }
            // Higher up, a number is gone only if no sibling has a page with it either.
            if gone != 0 {
                inner.colours[i] &= !gone;
                gone &= !inner.colours();
            }
            (some, zeroed) = (inner.some != 0, inner.zeroed != 0);
        }
    }

    /// Raises the promises on the path to pages of one leaf that were just given.
    ///
    /// A run that continues beyond the leaf is assumed to be as long as possible until a search has looked. The leaf
    /// in which the run begins promises more as well. The leaves in between are all free and promise everything
    /// already. The leaf in which the run ends promises as much as before, because its summary counts from its own
    /// first page.
    #[inline]
    pub(super) fn raise(&mut self, path: &Path, base: u64, (from, to): (u32, u32)) {
        let leaf = &self.leaves.all[path.leaf as usize];
        let start = leaf.last_used(from).map(|used| used + 1);
        let end = leaf.next(to - 1, false);
        let longest = if end < 1 << LEAF_BITS { end - start.unwrap_or(0) } else { u32::MAX };
        let run = (start.unwrap_or(0), end);
        // For a single page, the blocks around it are quicker to find than all blocks of the leaf.
        let order = if to - from == 1 { block_at(from, run) } else { leaf.order() };
        self.raise_way(path, Summary { longest, order });
        // The run came in from below, so the leaf in which it begins has a longer run now, but no larger block.
        if start.is_none() && base > 0 {
            let begin = self.run_start(base);
            let before = begin & !(leaf_frames() - 1);
            if before != base
                && let Some(path) = self.path(before)
            {
                let longest = longest.saturating_add(length(base - begin));
                self.raise_way(&path, Summary { longest, order: 0 });
            }
        }
    }

    /// Raises the promises on a path to at least `to`.
    #[inline]
    fn raise_way(&mut self, path: &Path, to: Summary) {
        let mut order = to.order;
        for (height, &(node, i)) in path.steps().iter().enumerate() {
            let inner = &mut self.inners.all[node as usize];
            let summary = &mut inner.summary[i];
            summary.longest = summary.longest.max(to.longest);
            summary.order = summary.order.max(order);
            // A child that has become all free may complete a larger block together with its siblings.
            if inner.full >> i & 1 != 0 && order > 0 {
                order = order.max(order_of(inner.full) + bits_of(height) as u8);
            }
        }
    }

    /// Returns where the run of free pages begins that a free page is in.
    pub(super) fn run_start(&self, frame: u64) -> u64 {
        if self.root == NONE {
            return frame;
        }
        self.last_used(self.root, self.height, 0, frame).map_or(0, |used| used + 1)
    }

    /// Returns the last page of a subtree at or before `frame` that is not free.
    fn last_used(&self, node: u32, height: usize, base: u64, frame: u64) -> Option<u64> {
        let Some(below) = height.checked_sub(1) else {
            let at = self.leaves.all[node as usize].last_used((frame - base).min(leaf_frames() - 1) as u32)?;
            return Some(base + u64::from(at));
        };
        let inner = &self.inners.all[node as usize];
        let width = bits_of(below);
        let here = ((frame - base) >> width).min(63) as u32;
        let in_child = |i: u32, frame: u64| {
            let start = base + (u64::from(i) << width);
            match inner.child[i as usize & 63] {
                // Page frames without a node are not held, and so not free.
                NONE => Some(frame.min(start + (1 << width) - 1)),
                child => self.last_used(child, below, start, frame),
            }
        };
        if inner.full >> here & 1 == 0
            && let Some(used) = in_child(here, frame)
        {
            return Some(used);
        }
        // If everything below `frame` in its own child is free, the last used page is in the nearest lower child that
        // is not all free, and every such child has one.
        let others = !inner.full & bits(0, here);
        if others == 0 {
            return None;
        }
        in_child(63 - others.leading_zeros(), u64::MAX)
    }

    /// Returns the first page at or after `frame` that is free (or is not); a number past all pages if there is none.
    pub(super) fn next(&self, frame: u64, free: bool) -> u64 {
        let end = if self.root == NONE { 0 } else { 1 << self.bits() };
        if frame >= end {
            return if free { u64::MAX } else { frame };
        }
        match self.next_below(self.root, self.height, 0, frame, free) {
            Some(found) => found,
            None if free => u64::MAX,
            None => end,
        }
    }

    fn next_below(&self, node: u32, height: usize, base: u64, frame: u64, free: bool) -> Option<u64> {
        let Some(below) = height.checked_sub(1) else {
            let at = self.leaves.all[node as usize].next(frame.saturating_sub(base) as u32, free);
            return (at < 1 << LEAF_BITS).then(|| base + u64::from(at));
        };
        let inner = &self.inners.all[node as usize];
        let width = bits_of(below);
        let here = (frame.saturating_sub(base) >> width) as u32;
        let has = if free { inner.some } else { !inner.full };
        let in_child = |i: u32| {
            let start = base + (u64::from(i) << width);
            match inner.child[i as usize & 63] {
                NONE => Some(frame.max(start)),
                child => self.next_below(child, below, start, frame, free),
            }
        };
        // The sets of children are exact, so at most one child on each level is entered in vain: the one that `frame`
        // is in.
        if has >> here & 1 != 0
            && let Some(found) = in_child(here)
        {
            return Some(found);
        }
        let above = has & bits(here + 1, 64);
        if above == 0 { None } else { in_child(above.trailing_zeros()) }
    }
}

/// Returns the page frame numbers modulo 64 of a range, as bits.
fn colours_of(part: FrameRange) -> u64 {
    let low = (part.start() & 63) as u32;
    if part.count() >= 64 { u64::MAX } else { bits(0, part.count() as u32).rotate_left(low) }
}

/// Returns the order plus one of the largest naturally aligned block that contains page `at` and lies in its run.
fn block_at(at: u32, (start, end): (u32, u32)) -> u8 {
    // Each block lies inside the next larger one, so stop at the first that does not fit.
    let fits = |order: u32| {
        let block = at & !((1 << order) - 1);
        block >= start && block + (1 << order) <= end
    };
    (1..=LEAF_BITS).take_while(|order| fits(*order)).count() as u8 + 1
}
