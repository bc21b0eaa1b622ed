//! Edits: the smallest changes of the model, each with what was and what will be.

use super::arena::{PrimedSpan, from_inclusive, inclusive};
use super::record::Placement;
use super::topology::{ArenaInfo, Link};
use crate::id::{ArenaId, LinkId, RegionId, Way};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as MapEntry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs};
use rangemap::RangeInclusiveMap;

/// One change of the model. `old` and `new` make it its own inverse; `None` stands for "not there".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// An arena comes, goes, or changes its name.
    Arena {
        /// Which.
        arena: ArenaId,
        /// Before.
        old: Option<ArenaInfo>,
        /// After.
        new: Option<ArenaInfo>,
    },
    /// An interconnect comes or goes.
    Link {
        /// Which.
        link: LinkId,
        /// Before.
        old: Option<Arc<Link>>,
        /// After.
        new: Option<Arc<Link>>,
    },
    /// Space is primed, unprimed, sealed, unsealed, lent to a window or got back.
    Span {
        /// In which arena.
        arena: ArenaId,
        /// Which addresses; alike all through, before and after.
        range: AddrRange,
        /// Before.
        old: Option<PrimedSpan>,
        /// After.
        new: Option<PrimedSpan>,
    },
    /// A floating window opens, closes or changes.
    Window {
        /// Of which interconnect.
        link: LinkId,
        /// In which direction.
        way: Way,
        /// Which of the mapping's windows.
        piece: u32,
        /// Before.
        old: Option<AddrRange>,
        /// After.
        new: Option<AddrRange>,
    },
    /// A region or alias comes, goes, moves, or changes its attributes. A region comes with one reference and goes with its
    /// last: no edit of the count says so as well.
    Region {
        /// Which.
        region: RegionId,
        /// Before.
        old: Option<Placement>,
        /// After.
        new: Option<Placement>,
    },
    /// What an alias amounts to changes, because what it stands for does. Follows from another edit.
    Effective {
        /// The alias, as it will be.
        placement: Placement,
        /// Before.
        old: Attrs,
        /// After.
        new: Attrs,
    },
    /// A region gets another name, or none.
    Name {
        /// Which.
        region: RegionId,
        /// Before.
        old: Option<Arc<str>>,
        /// After.
        new: Option<Arc<str>>,
    },
    /// A reference count changes, of a region that stays.
    Count {
        /// Of which region.
        region: RegionId,
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
}

/// What an edit changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Arena(ArenaId),
    Link(LinkId),
    Spans(ArenaId),
    Window(LinkId, Way, u32),
    Region(RegionId),
    Effective(RegionId),
    Name(RegionId),
    Count(RegionId),
}

impl Edit {
    /// The edit that undoes it.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::Arena { arena, old, new } => Self::Arena { arena, old: new, new: old },
            Self::Link { link, old, new } => Self::Link { link, old: new, new: old },
            Self::Span { arena, range, old, new } => Self::Span { arena, range, old: new, new: old },
            Self::Window { link, way, piece, old, new } => {
                Self::Window { link, way, piece, old: new, new: old }
            }
            Self::Region { region, old, new } => Self::Region { region, old: new, new: old },
            Self::Effective { placement, old, new } => Self::Effective { placement, old: new, new: old },
            Self::Name { region, old, new } => Self::Name { region, old: new, new: old },
            Self::Count { region, old, new } => Self::Count { region, old: new, new: old },
        }
    }

    /// Joins edits of one subject, keeping what was first and what is last; drops what changes nothing. Space is
    /// joined address by address.
    ///
    /// The result is in the order in which subjects were first touched. It says what changes, and is not a
    /// sequence to be carried out: two regions that swap places are two edits.
    #[inline]
    pub(crate) fn net(edits: &[Self]) -> Cow<'_, [Self]> {
        match edits {
            // Most changes are one edit.
            [only] if !only.changes_nothing() => Cow::Borrowed(edits),
            _ => Self::joined(edits),
        }
    }

    fn joined(edits: &[Self]) -> Cow<'_, [Self]> {
        // Of one verb each edit has mostly a subject of its own, and there is nothing to join.
        let alone = |(i, edit): (usize, &Self)| {
            !edit.changes_nothing() && edits[..i].iter().all(|other| other.subject() != edit.subject())
        };
        if edits.len() <= 8 && edits.iter().enumerate().all(alone) {
            return Cow::Borrowed(edits);
        }
        let mut net: Vec<Self> = Vec::with_capacity(edits.len());
        let mut places: BTreeMap<Subject, usize> = BTreeMap::new();
        let mut spans: BTreeMap<ArenaId, Spans> = BTreeMap::new();
        for edit in edits {
            if let Self::Span { arena, range, old, new } = edit {
                spans.entry(*arena).or_default().note(*range, *old, *new);
            }
            match places.entry(edit.subject()) {
                MapEntry::Occupied(place) => net[*place.get()].absorb(edit),
                MapEntry::Vacant(place) => {
                    place.insert(net.len());
                    net.push(edit.clone());
                }
            }
        }
        let last = |region| match net.get(*places.get(&Subject::Region(region))?) {
            Some(Self::Region { new, .. }) => Some(*new),
            _ => None,
        };
        let net = net.iter().flat_map(|edit| match edit {
            Self::Span { arena, .. } => {
                spans.remove(arena).map_or_else(Vec::new, |spans| spans.edits(*arena))
            }
            Self::Effective { placement, old, new } => {
                let now = last(placement.record.id).unwrap_or(Some(*placement));
                now.map(|placement| Self::Effective { placement, old: *old, new: *new }).into_iter().collect()
            }
            edit => Vec::from([edit.clone()]),
        });
        Cow::Owned(net.filter(|edit| !edit.changes_nothing()).collect())
    }

    /// What it changes.
    fn subject(&self) -> Subject {
        match self {
            Self::Arena { arena, .. } => Subject::Arena(*arena),
            Self::Link { link, .. } => Subject::Link(*link),
            Self::Span { arena, .. } => Subject::Spans(*arena),
            Self::Window { link, way, piece, .. } => Subject::Window(*link, *way, *piece),
            Self::Region { region, .. } => Subject::Region(*region),
            Self::Effective { placement, .. } => Subject::Effective(placement.record.id),
            Self::Name { region, .. } => Subject::Name(*region),
            Self::Count { region, .. } => Subject::Count(*region),
        }
    }

    /// Takes over what a later edit of the same subject makes of it.
    fn absorb(&mut self, later: &Self) {
        match (self, later.clone()) {
            (Self::Arena { new, .. }, Self::Arena { new: last, .. }) => *new = last,
            (Self::Link { new, .. }, Self::Link { new: last, .. }) => *new = last,
            (Self::Window { new, .. }, Self::Window { new: last, .. }) => *new = last,
            (Self::Region { new, .. }, Self::Region { new: last, .. }) => *new = last,
            (Self::Effective { new, .. }, Self::Effective { new: last, .. }) => *new = last,
            (Self::Name { new, .. }, Self::Name { new: last, .. }) => *new = last,
            (Self::Count { new, .. }, Self::Count { new: last, .. }) => *new = last,
            _ => {}
        }
    }

    fn changes_nothing(&self) -> bool {
        match self {
            Self::Arena { old, new, .. } => old == new,
            Self::Link { old, new, .. } => old == new,
            Self::Span { old, new, .. } => old == new,
            Self::Window { old, new, .. } => old == new,
            // What comes or goes is not looked at.
            Self::Region { old: None, new: Some(_), .. } | Self::Region { old: Some(_), new: None, .. } => {
                false
            }
            Self::Region { old, new, .. } => old == new,
            Self::Effective { old, new, .. } => old == new,
            Self::Name { old, new, .. } => old == new,
            Self::Count { old, new, .. } => old == new,
        }
    }
}

/// What became of an arena's space: by address, what was first and what is last.
#[derive(Default)]
struct Spans(RangeInclusiveMap<u64, (Option<PrimedSpan>, Option<PrimedSpan>)>);

impl Spans {
    fn note(&mut self, range: AddrRange, old: Option<PrimedSpan>, new: Option<PrimedSpan>) {
        let part = |r: &core::ops::RangeInclusive<u64>| from_inclusive(r).intersect(range);
        let noted = self.0.overlapping(inclusive(range));
        let noted: Vec<_> = noted.filter_map(|(r, (first, _))| Some((part(r)?, *first))).collect();
        self.0.insert(inclusive(range), (old, new));
        noted.into_iter().for_each(|(part, first)| self.0.insert(inclusive(part), (first, new)));
    }

    fn edits(self, arena: ArenaId) -> Vec<Edit> {
        let edit = |(range, (old, new))| Edit::Span { arena, range: from_inclusive(&range), old, new };
        self.0.into_iter().map(edit).collect()
    }
}
