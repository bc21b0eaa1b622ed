//! How a change looks in a view: spans whose effective attributes or places differ.

use crate::id::ArenaId;
use pmem_space::{AddrRange, Attrs, Props, Prot, Usage};

/// What an address means to a viewer: its attributes along the path, and the place it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// Usage, protection and properties. The protection is narrowed by the interconnects on the path.
    pub attrs: Attrs,
    /// Whether a region occupies the address. If not, the attributes are the defaults of free space. A change of this
    /// alone is not reported to drivers on a view; use the scope of an arena to follow regions.
    pub taken: bool,
    /// The arena that decodes the address as its own.
    pub arena: ArenaId,
    /// Added to the address as seen, modulo 2^64, to give the address in that arena.
    pub offset: u64,
}

impl Effective {
    /// Returns the arena and the address in it that `addr`, as seen, leads to.
    #[must_use]
    pub const fn place(&self, addr: u64) -> (ArenaId, u64) {
        (self.arena, addr.wrapping_add(self.offset))
    }
}

/// A span of a view whose effective attributes or places change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The addresses, as the viewer sees them.
    pub range: AddrRange,
    /// The effective attributes before the change; `None` if nothing decoded the addresses.
    pub old: Option<Effective>,
    /// The effective attributes after the change; `None` if nothing decodes the addresses then.
    pub new: Option<Effective>,
}

impl Delta {
    /// Whether the delta matters to a subscriber that is interested in these bits and, if `places`, in where
    /// addresses lead. A span that appears or disappears always matters.
    pub(super) fn matters(&self, usage: Usage, prot: Prot, props: Props, places: bool) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return self.old != self.new };
        let (was, is) = (old.attrs, new.attrs);
        (was.usage() ^ is.usage()).intersects(usage)
            || (was.prot() ^ is.prot()).intersects(prot)
            || (was.props() ^ is.props()).intersects(props)
            || (places && (old.arena, old.offset) != (new.arena, new.offset))
    }
}
