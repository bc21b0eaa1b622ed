//! How a change looks in a view: spans whose effective attributes, or places, differ.

use crate::id::ArenaId;
use pmem_space::{AddrRange, Attrs, Props, Prot, Usage};

/// What a viewer may do with an address, how accesses to it are carried out, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// Usage, protection (narrowed by the interconnects on the way) and properties.
    pub attrs: Attrs,
    /// Whether a region is there; else they are the defaults of free space. Where only this changes, nobody is told: ask for
    /// regions by an arena's scope.
    pub taken: bool,
    /// The arena whose own address it is.
    pub arena: ArenaId,
    /// Added to an address as seen, modulo 2^64, to give the address in that arena.
    pub offset: u64,
}

impl Effective {
    /// Where an address as seen leads.
    pub const fn place(&self, addr: u64) -> (ArenaId, u64) {
        (self.arena, addr.wrapping_add(self.offset))
    }
}

/// A span of a view whose effective attributes, or places, change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The addresses, as seen.
    pub range: AddrRange,
    /// Before; `None` if nothing was decoded there.
    pub old: Option<Effective>,
    /// After.
    pub new: Option<Effective>,
}

impl Delta {
    /// Whether it matters to somebody who cares only for these bits, for places or not, and for what comes or goes.
    pub(super) fn matters(&self, usage: Usage, prot: Prot, props: Props, places: bool) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return self.old != self.new };
        let (was, is) = (old.attrs, new.attrs);
        (was.usage() ^ is.usage()).intersects(usage)
            || (was.prot() ^ is.prot()).intersects(prot)
            || (was.props() ^ is.props()).intersects(props)
            || (places && (old.arena, old.offset) != (new.arena, new.offset))
    }
}
