//! How a change looks in a view: spans whose effective attributes differ.

use crate::attrs::{Attrs, Props, Prot, Usage};
use crate::id::ArenaId;
use crate::model::{State, What};
use alloc::vec::Vec;
use pmem_space::AddrRange;
use rangemap::RangeInclusiveMap;

/// What a viewer may do with an address, and how accesses to it are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// Usage, protection (narrowed by the interconnects on the way) and properties.
    pub attrs: Attrs,
    /// Whether a region is there; else they are the defaults of free space.
    pub taken: bool,
}

impl Effective {
    fn usage(self) -> Usage {
        self.attrs.usage()
    }

    fn prot(self) -> Prot {
        self.attrs.prot()
    }

    fn props(self) -> Props {
        self.attrs.props()
    }
}

/// A span of a view whose effective attributes change.
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
    /// Whether it matters to somebody who cares only for these bits, and for what comes or goes.
    pub(super) fn matters(&self, usage: Usage, prot: Prot, props: Props) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => {
                (old.usage() ^ new.usage()).intersects(usage)
                    || (old.prot() ^ new.prot()).intersects(prot)
                    || (old.props() ^ new.props()).intersects(props)
            }
            (old, new) => old != new,
        }
    }
}

/// The flattened view of an observed arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flat(RangeInclusiveMap<u64, Effective>);

impl Flat {
    pub(crate) fn of(state: &State, viewer: ArenaId) -> Self {
        let mut map = RangeInclusiveMap::new();
        for piece in state.reached(viewer, AddrRange::ALL) {
            if let What::Local { region, attrs, .. } = piece.what {
                let effective = Effective { attrs, taken: region.is_some() };
                map.insert(piece.seen.start()..=piece.seen.last(), effective);
            }
        }
        Self(map)
    }

    fn at(&self, addr: u64) -> Option<Effective> {
        self.0.get(&addr).copied()
    }

    /// Where `new` differs, in order of address, neighbours that differ alike joined.
    pub(crate) fn deltas(&self, new: &Self) -> Vec<Delta> {
        let mut cuts: Vec<u64> = Vec::new();
        for (range, _) in self.0.iter().chain(new.0.iter()) {
            cuts.push(*range.start());
            cuts.extend(range.end().checked_add(1));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut out: Vec<Delta> = Vec::new();
        for (i, start) in cuts.iter().enumerate() {
            let last = cuts.get(i + 1).map_or(u64::MAX, |next| next - 1);
            let (old, new) = (self.at(*start), new.at(*start));
            let Ok(range) = AddrRange::inclusive(*start, last) else { continue };
            if old == new {
                continue;
            }
            match out.last_mut() {
                Some(delta) if delta.range.end() == Some(*start) && (delta.old, delta.new) == (old, new) => {
                    delta.range = delta.range.hull(range);
                }
                _ => out.push(Delta { range, old, new }),
            }
        }
        out
    }
}
