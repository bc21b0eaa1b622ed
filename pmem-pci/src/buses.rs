//! Bus numbers, a scarce resource like addresses: each bridge has a range of them, inside the range of the
//! bridge above (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.2 to 3.2.5.4).
//!
//! Bridges above only grow at the end of their range, because IOMMUs and interrupt routing know a function by its
//! bus number.

use crate::tree::{Index, Tree};

fn buses(tree: &Tree, index: Index) -> Option<(u8, u8)> {
    tree.functions.get(index)?.bridge.as_ref()?.buses
}

/// Returns the last bus number that a bridge can grow to, if the bridges above it grow as well, without meeting the
/// range of a bridge beside any of them.
fn limit(tree: &Tree, index: Index) -> Option<u8> {
    let function = tree.functions.get(index)?;
    let (first, _) = buses(tree, index)?;
    let beside = tree.on_bus(function.root, function.parent).filter(|(other, _)| *other != index);
    let next = beside.filter_map(|(other, _)| Some(buses(tree, other)?.0)).filter(|bus| *bus > first).min();
    let above = match function.parent {
        Some(parent) => limit(tree, parent)?,
        None => tree.roots.get(function.root)?.buses.1,
    };
    Some(next.map_or(above, |next| above.min(next - 1)))
}

/// Gives a bridge `count` bus numbers behind those of all bridges beside it, and extends the bridges above it as far
/// as that requires. Returns the first and the last number of the bridge's new range, both inclusive. Meant for a
/// bridge without bus numbers: a range that it had is replaced. Returns `None`, and leaves the tree unchanged, if
/// there is no room there; gaps between the bridges beside it are not used.
///
/// A `count` of zero counts as one: a bridge has at least the bus directly below it.
///
/// # Examples
/// A switch is plugged in below a root port. The next root port has bus 4, so buses 2 and 3 are free:
/// ```
/// use pmem_pci::buses::give;
/// use pmem_pci::tree::{Bridge, Function, Root, Tree};
///
/// let mut tree = Tree::default();
/// tree.roots.push(Root { buses: (0, 0xff), ..Root::default() });
/// for (address, parent, buses) in
///     [("00:1c.0", None, Some((1, 1))), ("00:1c.4", None, Some((4, 4))), ("01:00.0", Some(0), None)]
/// {
///     let mut function = Function::new(address.parse()?, parent, 0);
///     function.bridge = Some(Bridge { buses, ..Bridge::default() });
///     tree.functions.push(function);
/// }
/// let switch = 2;
/// assert_eq!(give(&mut tree, switch, 3), None);
/// assert_eq!(give(&mut tree, switch, 2), Some((2, 3)));
/// assert_eq!(tree.functions[0].bridge.as_ref().and_then(|port| port.buses), Some((1, 3)));
/// # Ok::<(), pmem_pci::BadAddress>(())
/// ```
pub fn give(tree: &mut Tree, bridge: Index, count: u8) -> Option<(u8, u8)> {
    let function = tree.functions.get(bridge)?;
    let (root, parent) = (function.root, function.parent);
    // Bus numbers are handed out behind the parent's own bus and behind all siblings; gaps between siblings
    // stay.
    let (own, end) = match parent {
        Some(parent) => (buses(tree, parent)?.0, limit(tree, parent)?),
        None => tree.roots.get(root)?.buses,
    };
    let beside = tree.on_bus(root, parent).filter(|(other, _)| *other != bridge);
    let taken = beside.filter_map(|(other, _)| Some(buses(tree, other)?.1)).max();
    let first = taken.map_or(own, |taken| taken.max(own)).checked_add(1)?;
    let last = first.checked_add(count.max(1) - 1).filter(|last| *last <= end)?;
    let mut next = Some(bridge);
    while let Some(index) = next {
        let function = tree.functions.get_mut(index)?;
        let had = function.bridge.as_mut()?;
        had.buses = Some(match had.buses.filter(|_| index != bridge) {
            Some((from, to)) => (from, to.max(last)),
            None => (first, last),
        });
        next = function.parent;
    }
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use crate::check::{ViolationKind, check};
    use crate::tree::{Bridge, Function, Root};
    use proptest::prelude::*;

    fn bridge(parent: Option<Index>, buses: Option<(u8, u8)>) -> Function {
        let address = Address { segment: 0, bus: 0, device: 0, function: 0 };
        let mut function = Function::new(address, parent, 0);
        function.bridge = Some(Bridge { buses, ..Bridge::default() });
        function
    }

    fn is_right(tree: &Tree) -> bool {
        check(tree).iter().all(|violation| violation.fault != ViolationKind::Buses)
    }

    proptest! {
        /// Ports with ranges in order, one of which has a switch without numbers: it gets them just if the gap behind the port is large enough.
        #[test]
        fn what_is_free_behind_a_port_is_what_it_can_be_given(
            gaps in prop::collection::vec((0u8..4, 0u8..4), 1..6), port in 0usize..6, count in 1u8..6, end in 20u8..40,
        ) {
            let mut tree = Tree::default();
            tree.roots.push(Root { segment: 0, buses: (0, end), apertures: std::vec::Vec::new() });
            let mut next = 1u8;
            for (len, gap) in &gaps {
                tree.functions.push(bridge(None, Some((next, next + len))));
                next += len + 1 + gap;
            }
            prop_assume!(next <= end);
            let port = port % gaps.len();
            tree.functions.push(bridge(Some(port), None));
            let switch = tree.functions.len() - 1;
            let (first, _) = buses(&tree, port).unwrap();
            let following = tree.functions.get(port + 1).and_then(|f| f.bridge.as_ref()?.buses).map(|b| b.0);
            let room = following.filter(|_| port + 1 < gaps.len()).unwrap_or(end + 1) - first - 1;
            let before = tree.clone();
            match give(&mut tree, switch, count) {
                Some(given) => {
                    prop_assert!(count <= room);
                    prop_assert_eq!(given, (first + 1, first + count));
                    prop_assert!(is_right(&tree), "{:?}", tree);
                    // Nobody's first number is another.
                    for (had, has) in before.functions.iter().zip(&tree.functions).take(gaps.len()) {
                        prop_assert_eq!(had.bridge.as_ref().unwrap().buses.unwrap().0, has.bridge.as_ref().unwrap().buses.unwrap().0);
                    }
                }
                None => {
                    prop_assert!(count > room);
                    prop_assert_eq!(tree, before);
                }
            }
        }
    }
}
