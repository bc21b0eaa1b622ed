//! A B+-tree of entries in order of address that is also the index of the gaps between them.
//!
//! The gap after an entry belongs to the entry's leaf. A subtree says of itself how large its largest gap is and which
//! naturally aligned blocks its gaps have, so that a search passes over what cannot fit. Nodes are shared between
//! clones, and copied when they are changed.

#[cfg(test)]
pub(crate) mod exact;
mod inner;
mod leaf;
mod node;
mod pool;
mod row;
mod search;

pub(crate) use inner::Node;
pub(crate) use leaf::{Leaf, Slot, raw};
pub(crate) use node::{Occupied, Put};
pub use pool::Pool;
pub(crate) use search::{Cut, Need, Search, largest, marked};
