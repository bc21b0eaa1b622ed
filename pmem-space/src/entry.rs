//! What addresses are occupied by.

use crate::range::AddrRange;

/// What an address is occupied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant<T> {
    /// Free: may be handed out.
    Gap,
    /// No space at all.
    Hole,
    /// Space of which nothing more may be handed out.
    Sealed,
    /// Taken, by what was inserted.
    Taken(T),
}

/// A range and what occupies all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The addresses: as many as have this occupant in a row, where it is not [`Occupant::Taken`].
    pub range: AddrRange,
    /// What occupies them.
    pub occupant: Occupant<T>,
}
