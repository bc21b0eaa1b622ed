//! Finding a gap: subtrees that cannot hold what is looked for are passed over.

use super::inner::{Inner, Node};
use super::leaf::{Leaf, MAX_ORDER, order_of, raw};
use crate::fit::Fit;
use crate::range::AddrRange;

/// What a gap must have to be looked at, and what it must have to be taken unseen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// A gap shorter than this never fits.
    len: u64,
    /// A gap without a naturally aligned block of this order never fits.
    order: u32,
    /// A gap with a naturally aligned block of this order always fits.
    sure: u32,
}

impl Need {
    #[inline]
    pub(crate) fn of(fit: &Fit) -> Self {
        let (len, align) = (fit.len(), fit.align_of());
        let widest = align.max(fit.boundary_of().unwrap_or(1));
        // Any range has a naturally aligned block of about half its length; one that begins aligned has more.
        let anywhere = len.saturating_add(1).ilog2().saturating_sub(1);
        let in_phase = |align: u64| fit.phase_of() & (align - 1) == 0;
        let order = match in_phase(align) {
            true if align >= len => len.ilog2(),
            true => anywhere.max(align.ilog2()),
            false => anywhere,
        };
        let block = if in_phase(widest) { len.max(align) } else { len.saturating_add(widest - 1) };
        let sure = block.checked_next_power_of_two().map_or(u64::BITS, u64::ilog2);
        Self { len, order: order.min(MAX_ORDER.into()), sure }
    }
}

/// Where the window may end inside a subtree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) below: bool,
    pub(crate) above: bool,
}

/// How a search goes on.
pub(crate) struct Search<'f> {
    pub(crate) fit: &'f Fit,
    pub(crate) need: Need,
    /// Gaps that may still be looked at.
    pub(crate) patience: u32,
}

impl Search<'_> {
    /// The lowest place after an entry of the subtree. `cut` is where the window's start and end may cut the subtree.
    pub(crate) fn lowest<T: Copy>(&mut self, node: &Node<T>, cut: Cut) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            Node::Leaf(leaf) => {
                let mut found = leaf.candidates(self.need.order);
                if cut.below {
                    found &= u16::MAX << leaf.upto(window.start()).saturating_sub(1);
                }
                if cut.above {
                    found &= (1 << leaf.upto(window.last())) - 1;
                }
                while found != 0 {
                    let gap = leaf.gap(found.trailing_zeros() as usize)?;
                    found &= found - 1;
                    if gap.len() < self.need.len {
                        continue;
                    }
                    if let Some(place) = self.fit.lowest_in(gap) {
                        return Some(place);
                    }
                    self.patience = self.patience.checked_sub(1)?;
                }
                None
            }
            Node::Inner(inner) => {
                let first = if cut.below { inner.place(window.start()) } else { 0 };
                let last = if cut.above { inner.place(window.last()) } else { inner.len() - 1 };
                let mut found = inner.candidates(self.need.order) & (u16::MAX << first);
                while found != 0 {
                    let c = found.trailing_zeros() as usize;
                    found &= found - 1;
                    if c > last {
                        break;
                    }
                    if inner.gap(c) < self.need.len {
                        continue;
                    }
                    let cut = Cut { below: cut.below && c == first, above: cut.above && c == last };
                    let found = inner.kid(c).and_then(|kid| self.lowest(kid, cut));
                    if found.is_some() || self.patience == 0 {
                        return found;
                    }
                }
                None
            }
        }
    }

    /// The highest place after an entry of the subtree.
    pub(crate) fn highest<T: Copy>(&mut self, node: &Node<T>) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            Node::Leaf(leaf) => {
                let mut found = leaf.candidates(self.need.order);
                found &= (1 << leaf.upto(window.last())) - 1;
                while found != 0 {
                    let i = found.ilog2() as usize;
                    found &= !(1 << i);
                    let Some(gap) = leaf.gap(i).filter(|gap| gap.last() >= window.start()) else { break };
                    if gap.len() < self.need.len {
                        continue;
                    }
                    if let Some(place) = self.fit.highest_in(gap) {
                        return Some(place);
                    }
                    self.patience = self.patience.checked_sub(1)?;
                }
                None
            }
            Node::Inner(inner) => {
                let (first, last) = (inner.place(window.start()), inner.place(window.last()));
                let mut found = inner.candidates(self.need.order) & (u16::MAX >> (15 - last));
                while found != 0 {
                    let c = found.ilog2() as usize;
                    found &= !(1 << c);
                    if c < first {
                        break;
                    }
                    if inner.gap(c) < self.need.len {
                        continue;
                    }
                    let found = inner.kid(c).and_then(|kid| self.highest(kid));
                    if found.is_some() || self.patience == 0 {
                        return found;
                    }
                }
                None
            }
        }
    }

    /// The lowest place in a gap that has a block of the smallest order that always fits and is there at all.
    pub(crate) fn in_smallest_order<T: Copy>(
        &self,
        node: &Node<T>,
        lead: Option<AddrRange>,
    ) -> Option<AddrRange> {
        let window = self.fit.window_of();
        let lead = lead.filter(|lead| window.covers(*lead));
        let in_lead = lead.map_or(0, |lead| 1 << order_of(lead));
        let there = u64::MAX.checked_shl(self.need.sure)? & (orders_in(node, window) | in_lead);
        let order = 1 << (there != 0).then(|| there.trailing_zeros())?;
        match lead.filter(|_| in_lead == order) {
            Some(lead) => self.fit.lowest_in(lead),
            None => self.in_orders(node, order),
        }
    }

    /// The lowest place in a gap that always fits.
    pub(crate) fn in_any_order<T: Copy>(&self, node: &Node<T>) -> Option<AddrRange> {
        self.in_orders(node, u64::MAX.checked_shl(self.need.sure)?)
    }

    /// The lowest place in a gap, all inside the window, whose largest block is of one of these orders.
    fn in_orders<T: Copy>(&self, node: &Node<T>, orders: u64) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            Node::Leaf(leaf) => whole_gaps(leaf, window)
                .filter(|(_, order)| orders & (1 << order) != 0)
                .find_map(|(gap, _)| self.fit.lowest_in(gap)),
            Node::Inner(inner) => kids_in(inner, window)
                .filter(|c| inner.orders(*c) & orders != 0)
                .find_map(|c| self.in_orders(inner.kid(c)?, orders)),
        }
    }
}

/// The orders of the largest blocks of the gaps that are all inside `window`.
fn orders_in<T: Copy>(node: &Node<T>, window: AddrRange) -> u64 {
    match node {
        Node::Leaf(leaf) => whole_gaps(leaf, window).fold(0, |orders, (_, order)| orders | 1 << order),
        Node::Inner(inner) => {
            let (first, last) = (inner.place(window.start()), inner.place(window.last()));
            kids_in(inner, window).fold(0, |orders, c| {
                let inside = first < c && c < last;
                orders
                    | if inside {
                        inner.orders(c)
                    } else {
                        inner.kid(c).map_or(0, |kid| orders_in(kid, window))
                    }
            })
        }
    }
}

/// The subtrees that may have a gap in `window`.
fn kids_in<T: Copy>(inner: &Inner<T>, window: AddrRange) -> impl Iterator<Item = usize> {
    inner.place(window.start())..=inner.place(window.last())
}

/// The gaps of a leaf that are all inside `window`, and the orders of their largest blocks.
fn whole_gaps<T: Copy>(leaf: &Leaf<T>, window: AddrRange) -> impl Iterator<Item = (AddrRange, u8)> + '_ {
    let all = leaf.upto(window.start()).saturating_sub(1)..leaf.upto(window.last());
    all.filter_map(move |i| Some((leaf.gap(i).filter(|gap| window.covers(*gap))?, leaf.order(i)?)))
}

/// The largest gap after an entry of the subtree, cut to `window`; the lowest among equals, if it is larger than `best`.
pub(crate) fn largest<T: Copy>(
    node: &Node<T>,
    window: AddrRange,
    best: Option<AddrRange>,
) -> Option<AddrRange> {
    let least = |best: Option<AddrRange>| best.map_or(0, AddrRange::len);
    match node {
        Node::Leaf(leaf) => (leaf.upto(window.start()).saturating_sub(1)..leaf.upto(window.last()))
            .filter_map(|i| leaf.gap(i)?.intersect(window))
            .fold(best, |best, gap| if gap.len() > least(best) { Some(gap) } else { best }),
        Node::Inner(inner) => kids_in(inner, window).fold(best, |best, c| match inner.kid(c) {
            Some(kid) if inner.gap(c) > least(best) => largest(kid, window, best),
            _ => best,
        }),
    }
}

/// The marked entries that overlap `window`, in order of address, to `each`.
pub(crate) fn marked<T: Copy>(node: &Node<T>, window: AddrRange, each: &mut impl FnMut(AddrRange, T)) {
    use crate::entry::Occupant;
    match node {
        Node::Leaf(leaf) => {
            for i in leaf.upto(window.start()).saturating_sub(1)..leaf.upto(window.last()) {
                let slot = leaf.slot(i);
                if let (true, Occupant::Taken(value)) =
                    (slot.marked && slot.last >= window.start(), slot.what)
                {
                    each(raw(slot.start, slot.last), value);
                }
            }
        }
        Node::Inner(inner) => kids_in(inner, window).filter(|c| inner.is_marked(*c)).for_each(|c| {
            if let Some(kid) = inner.kid(c) {
                marked(kid, window, each);
            }
        }),
    }
}
