//! Searches for a gap, which skip the subtrees that cannot hold the request.

use super::inner::{Inner, Node};
use super::leaf::{Leaf, MAX_ORDER, order_of, raw};
use crate::fit::Fit;
use crate::range::AddrRange;

/// What a gap needs to be worth a try, and what it needs to fit without one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// A shorter gap never fits.
    len: u64,
    /// A gap without a naturally aligned block of this order never fits.
    order: u32,
    /// A gap with a naturally aligned block of this order always fits.
    sure: u32,
}

impl Need {
    /// Derives the two bounds on orders from a request: what is necessary, and what is sufficient.
    #[inline]
    pub(crate) fn of(fit: &Fit) -> Self {
        let (len, align) = (fit.len(), fit.align_of());
        let widest = align.max(fit.boundary_of().unwrap_or(1));
        // Necessary: 2^(k+1) - 1 bytes hold an aligned block of 2^k bytes wherever they start. So any place of `len`
        // bytes has a block of this order in it, and so has the gap around it.
        let anywhere = len.saturating_add(1).ilog2().saturating_sub(1);
        // Whether the address seen from elsewhere is a multiple of `align` exactly where the local one is.
        let in_phase = |align: u64| fit.phase_of() & (align - 1) == 0;
        // In phase, an aligned start tightens the bound: the place begins with a block of `align` bytes, or with the
        // largest block no longer than the place. Out of phase, local orders say nothing about the alignment asked for.
        let order = match in_phase(align) {
            true if align >= len => len.ilog2(),
            true => anywhere.max(align.ilog2()),
            false => anywhere,
        };
        // Sufficient: an aligned block no smaller than `len` and `align` starts aligned, and either it lies within one
        // boundary or it starts at one. Out of phase, an aligned start is up to `widest - 1` bytes further on.
        let block = if in_phase(widest) { len.max(align) } else { len.saturating_add(widest - 1) };
        let sure = block.checked_next_power_of_two().map_or(u64::BITS, u64::ilog2);
        // Orders above the highest recorded one all count as that one.
        Self { len, order: order.min(MAX_ORDER.into()), sure }
    }
}

/// Which ends of the window may lie inside a subtree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The window may start inside the subtree.
    pub(crate) below: bool,
    /// The window may end inside the subtree.
    pub(crate) above: bool,
}

/// The state of a search.
pub(crate) struct Search<'f> {
    pub(crate) fit: &'f Fit,
    pub(crate) need: Need,
    /// How many more gaps may turn out not to fit before the search gives up.
    pub(crate) patience: u32,
}

impl Search<'_> {
    /// Returns the lowest place after an entry of the subtree. `cut` says which ends of the window may lie inside it.
    ///
    /// Visits subtrees and gaps in order of address, and skips only those that cannot hold the request. So the first
    /// place found is the lowest one, unless patience runs out.
    pub(crate) fn lowest<T: Copy>(&mut self, node: &Node<T>, cut: Cut) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            Node::Leaf(leaf) => {
                let mut found = leaf.candidates(self.need.order);
                // The gap after the last entry that starts below the window may reach into it, so keep that one too.
                if cut.below {
                    found &= u16::MAX << leaf.upto(window.start()).saturating_sub(1);
                }
                if cut.above {
                    found &= (1 << leaf.upto(window.last())) - 1;
                }
                while found != 0 {
                    // Lowest candidate first. `found & (found - 1)` clears the lowest bit that is set.
                    let gap = leaf.gap(found.trailing_zeros() as usize)?;
                    found &= found - 1;
                    if gap.len() < self.need.len {
                        continue;
                    }
                    // The order alone does not decide: alignment, boundary and window may still rule the gap out.
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
                    // The mask ruled out subtrees by order; this rules them out by the length of their largest gap.
                    if inner.gap(c) < self.need.len {
                        continue;
                    }
                    // Only the path along each end of the window stays cut; all other nodes skip the tests above.
                    let cut = Cut { below: cut.below && c == first, above: cut.above && c == last };
                    let found = inner.kid(c).and_then(|kid| self.lowest(kid, cut));
                    // Without patience, go straight up: the caller must not take a higher place for the lowest one.
                    if found.is_some() || self.patience == 0 {
                        return found;
                    }
                }
                None
            }
        }
    }

    /// Returns the highest place after an entry of the subtree. Mirrors [`Self::lowest`].
    pub(crate) fn highest<T: Copy>(&mut self, node: &Node<T>) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            Node::Leaf(leaf) => {
                let mut found = leaf.candidates(self.need.order);
                found &= (1 << leaf.upto(window.last())) - 1;
                while found != 0 {
                    let i = found.ilog2() as usize;
                    found &= !(1 << i);
                    // A gap that ends below the window is lower than it, and so are all that are still to come.
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
                    // Here too every test is necessary for a fit, so the first place found is the highest.
                    let found = inner.kid(c).and_then(|kid| self.highest(kid));
                    if found.is_some() || self.patience == 0 {
                        return found;
                    }
                }
                None
            }
        }
    }

    /// Returns the lowest place in the tightest gaps that are certain to fit: those of the smallest such order around.
    pub(crate) fn in_smallest_order<T: Copy>(
        &self,
        node: &Node<T>,
        lead: Option<AddrRange>,
    ) -> Option<AddrRange> {
        let window = self.fit.window_of();
        // Orders are known of whole gaps only, so a lead that the window cuts does not count.
        let lead = lead.filter(|lead| window.covers(*lead));
        let in_lead = lead.map_or(0, |lead| 1 << order_of(lead));
        // From `sure` up every order fits, so the lowest bit left is the tightest order that needs no try.
        let there = u64::MAX.checked_shl(self.need.sure)? & (orders_in(node, window) | in_lead);
        let order = 1 << (there != 0).then(|| there.trailing_zeros())?;
        // The lead is below all other gaps, so of equals it comes first.
        match lead.filter(|_| in_lead == order) {
            Some(lead) => self.fit.lowest_in(lead),
            None => self.in_orders(node, order),
        }
    }

    /// Returns the lowest place in a gap that is certain to fit.
    pub(crate) fn in_any_order<T: Copy>(&self, node: &Node<T>) -> Option<AddrRange> {
        self.in_orders(node, u64::MAX.checked_shl(self.need.sure)?)
    }

    /// Returns the lowest place in a gap that lies inside the window and whose largest block has one of these orders.
    fn in_orders<T: Copy>(&self, node: &Node<T>, orders: u64) -> Option<AddrRange> {
        let window = self.fit.window_of();
        match node {
            // Such a gap is certain to fit, so take the first; only a subtree cut by the window may hold none.
            Node::Leaf(leaf) => whole_gaps(leaf, window)
                .filter(|(_, order)| orders & (1 << order) != 0)
                .find_map(|(gap, _)| self.fit.lowest_in(gap)),
            Node::Inner(inner) => kids_in(inner, window)
                .filter(|c| inner.orders(*c) & orders != 0)
                .find_map(|c| self.in_orders(inner.kid(c)?, orders)),
        }
    }
}

/// Returns the orders of the largest blocks of the gaps that lie inside `window`, as a mask.
fn orders_in<T: Copy>(node: &Node<T>, window: AddrRange) -> u64 {
    match node {
        Node::Leaf(leaf) => whole_gaps(leaf, window).fold(0, |orders, (_, order)| orders | 1 << order),
        Node::Inner(inner) => {
            let (first, last) = (inner.place(window.start()), inner.place(window.last()));
            kids_in(inner, window).fold(0, |orders, c| {
                // A subtree strictly between the ends lies inside the window with all its gaps, so its summary counts.
                // The recursion thus follows two paths at most.
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

/// Iterates over the places of the subtrees that may have a gap in `window`.
fn kids_in<T: Copy>(inner: &Inner<T>, window: AddrRange) -> impl Iterator<Item = usize> {
    inner.place(window.start())..=inner.place(window.last())
}

/// Iterates over the gaps of a leaf that lie inside `window`, with the orders of their largest blocks.
fn whole_gaps<T: Copy>(leaf: &Leaf<T>, window: AddrRange) -> impl Iterator<Item = (AddrRange, u8)> + '_ {
    let all = leaf.upto(window.start()).saturating_sub(1)..leaf.upto(window.last());
    all.filter_map(move |i| Some((leaf.gap(i).filter(|gap| window.covers(*gap))?, leaf.order(i)?)))
}

/// Returns the largest gap after an entry of the subtree, cut to `window`, or `best` if none is larger. Of equally
/// large gaps, returns the lowest.
pub(crate) fn largest<T: Copy>(
    node: &Node<T>,
    window: AddrRange,
    best: Option<AddrRange>,
) -> Option<AddrRange> {
    // Gaps come in order of address and only a larger one replaces the best, so the lowest of equals stays.
    let least = |best: Option<AddrRange>| best.map_or(0, AddrRange::len);
    match node {
        Node::Leaf(leaf) => (leaf.upto(window.start()).saturating_sub(1)..leaf.upto(window.last()))
            .filter_map(|i| leaf.gap(i)?.intersect(window))
            .fold(best, |best, gap| if gap.len() > least(best) { Some(gap) } else { best }),
        Node::Inner(inner) => kids_in(inner, window).fold(best, |best, c| match inner.kid(c) {
            // Cutting to the window only shortens a gap, so a subtree whose largest gap is no longer cannot do better.
            Some(kid) if inner.gap(c) > least(best) => largest(kid, window, best),
            _ => best,
        }),
    }
}

/// Calls `each` for the marked entries that overlap `window`, in order of address.
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
