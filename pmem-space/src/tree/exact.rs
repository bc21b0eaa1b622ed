//! What subtrees say of themselves, against what is in them.

use super::inner::Node;

/// The largest gap of a subtree, and the orders of the largest blocks of its gaps; panics if a node says otherwise.
pub(crate) fn check<T: Copy>(node: &Node<T>) -> (u64, u64) {
    let found = match node {
        Node::Leaf(leaf) => (0..leaf.len())
            .filter_map(|i| Some((leaf.gap(i)?, leaf.order(i)?)))
            .fold((0, 0), |(most, orders), (gap, order)| (gap.len().max(most), orders | 1 << order)),
        Node::Inner(inner) => (0..inner.len()).fold((0, 0), |(most, all), c| {
            let (gap, orders) = inner.kid(c).map_or((0, 0), check);
            assert_eq!((inner.gap(c), inner.orders(c)), (gap, orders), "subtree {c} of {}", inner.len());
            for order in 0..u64::BITS - 1 {
                let there = inner.candidates(order) & 1 << c != 0;
                assert_eq!(there, orders >> order != 0, "subtree {c}, order {order}");
            }
            (most.max(gap), all | orders)
        }),
    };
    let said = node.summary();
    assert_eq!((said.gap, said.orders), found);
    found
}
