//! A B+-tree of entries in order of address that also indexes the gaps between them.
//!
//! The gap after an entry belongs to the entry's leaf. Each subtree has a summary: how long its largest gap is, and
//! which orders the largest naturally aligned blocks of its gaps have. A search skips every subtree whose summary rules
//! it out. Clones share nodes; a change copies the shared nodes on its path first.

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
