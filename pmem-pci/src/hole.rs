//! The smallest aperture that a hypervisor or firmware must reserve for the resources that have no place.

use crate::BusRange;
use crate::plan::{Goal, Verdict, plan};
use crate::sweep::Budget;
use crate::tree::{Aperture, Space};

/// Returns the smallest length in bytes, a multiple of `granule`, of one more memory aperture at `base` with
/// which everything fits and nothing must be stopped.
///
/// `root` is the index of the host bridge; bus and CPU addresses of the new aperture are the same. Returns
/// `None` if 2^52 bytes are not enough, if the aperture would end beyond 2^64, if there is no such host bridge, or if
/// some length is undecided ([`Verdict::NotProven`]), for example because the budget ran out.
///
/// # Examples
/// An 8 GiB BAR is naturally aligned, so what it needs depends on where the hole begins:
/// ```
/// use pmem_pci::hole::smallest;
/// use pmem_pci::plan::Goal;
/// use pmem_pci::tree::{Function, Mobility, Resource, Root, Slot, Space, Tree};
/// use pmem_pci::Budget;
///
/// const GIB: u64 = 1 << 30;
/// let mut gpu = Function::new("00:03.0".parse()?, None, 0);
/// (gpu.absent, gpu.mobility) = (true, Mobility::Asked);
/// gpu.resources.push(Resource {
///     slot: Slot::Bar(0), space: Space::Memory, prefetchable: true, top: u64::MAX,
///     size: 8 * GIB, align: 8 * GIB, at: None, fixed: false, optional: false,
/// });
/// let tree = Tree { roots: vec![Root::default()], functions: vec![gpu], avoid: vec![] };
/// let goal = Goal { old: tree.clone(), tree, place: vec![(0, Slot::Bar(0))], extra: vec![] };
/// let hole = |base| smallest(&goal, 0, base, GIB, &mut Budget::steps(100_000));
/// assert_eq!(hole(64 * GIB), Some(8 * GIB));
/// assert_eq!(hole(66 * GIB), Some(14 * GIB)); // 6 GiB up to the next multiple of 8 GiB
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn smallest(goal: &Goal, root: usize, base: u64, granule: u64, budget: &mut Budget<'_>) -> Option<u64> {
    let granule = granule.max(1);
    let mut fits = |steps: u64| {
        let len = steps.checked_mul(granule)?;
        let span = BusRange::sized(base, len)?;
        let mut wider = goal.clone();
        for tree in [&mut wider.old, &mut wider.tree] {
            let host = tree.roots.get_mut(root)?;
            host.apertures.push(Aperture { space: Space::Memory, span, cpu: base });
            host.join_apertures();
        }
        match plan(&wider, budget) {
            Verdict::Fits(_) => Some(true),
            Verdict::FitsWithQuiesce(_) | Verdict::No(_) => Some(false),
            Verdict::NotProven(_) => None,
        }
    };
    // What fits in a hole also fits in a longer one, so a binary search is exact: `short` never fits, `enough`
    // always does.
    let mut enough = 1u64;
    while !fits(enough)? {
        enough = enough.checked_mul(2).filter(|steps| steps.saturating_mul(granule) <= 1 << 52)?;
    }
    let mut short = enough / 2;
    while enough - short > 1 {
        let middle = short + (enough - short) / 2;
        if fits(middle)? {
            enough = middle;
        } else {
            short = middle;
        }
    }
    Some(enough * granule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use crate::tree::{Function, Mobility, Resource, Root, Slot, Tree};
    use std::vec;
    use std::vec::Vec;

    const GIB: u64 = 1 << 30;

    fn goal(sizes: &[u64]) -> Goal {
        let mut tree = Tree::default();
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: vec![] });
        for (n, size) in (0u8..).zip(sizes) {
            let address = Address { segment: 0, bus: 0, device: n, function: 0 };
            let mut function = Function::new(address, None, 0);
            (function.absent, function.mobility) = (true, Mobility::Asked);
            function.resources.push(Resource {
                slot: Slot::Bar(0),
                space: Space::Memory,
                prefetchable: true,
                top: u64::MAX,
                size: *size,
                align: *size,
                at: None,
                fixed: false,
                optional: false,
            });
            tree.functions.push(function);
        }
        let place: Vec<_> = (0..sizes.len()).map(|index| (index, Slot::Bar(0))).collect();
        Goal { old: tree.clone(), tree, place, ..Goal::default() }
    }

    #[test]
    fn the_smallest_hole_depends_on_where_it_begins() {
        let cards = goal(&[8 * GIB, 4 * GIB, GIB]);
        let hole = |base| smallest(&cards, 0, base, GIB, &mut Budget::steps(1_000_000)).map(|len| len / GIB);
        // In one piece from a multiple of the largest on; else what comes before that multiple helps, or does not.
        assert_eq!(hole(64 * GIB), Some(13));
        assert_eq!(hole(68 * GIB), Some(13));
        assert_eq!(hole(66 * GIB), Some(14));
        assert_eq!(hole(65 * GIB), Some(15));
        // Ours against every length, one by one.
        for base in 64..72 {
            let one_by_one = (1..40).find(|len| {
                let span = BusRange::sized(base * GIB, len * GIB).unwrap();
                let mut wider = cards.clone();
                for tree in [&mut wider.old, &mut wider.tree] {
                    tree.roots[0].apertures.push(Aperture { space: Space::Memory, span, cpu: span.first });
                }
                matches!(plan(&wider, &mut Budget::steps(1_000_000)), Verdict::Fits(_))
            });
            assert_eq!(hole(base * GIB), one_by_one, "{base}");
        }
    }
}
