//! Edits: the smallest changes of the model, each with its before and after.

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

/// One change of the model. Swapping `old` and `new` gives the edit that undoes it; `None` means that the thing does not
/// exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// An arena is created, removed or renamed.
    Arena {
        /// The arena.
        arena: ArenaId,
        /// Its name and type before the change.
        old: Option<ArenaInfo>,
        /// Its name and type after the change.
        new: Option<ArenaInfo>,
    },
    /// An interconnect is connected, disconnected or altered.
    Link {
        /// The interconnect.
        link: LinkId,
        /// The interconnect before the change.
        old: Option<Arc<Link>>,
        /// The interconnect after the change.
        new: Option<Arc<Link>>,
    },
    /// Space is primed, unprimed, sealed, unsealed, retired, lent to a window or returned by it.
    Span {
        /// The arena.
        arena: ArenaId,
        /// The addresses. All have the same `old` and the same `new`.
        range: AddrRange,
        /// The span before the change.
        old: Option<PrimedSpan>,
        /// The span after the change.
        new: Option<PrimedSpan>,
    },
    /// A floating window opens, closes, moves, grows or shrinks.
    Window {
        /// The interconnect.
        link: LinkId,
        /// The direction.
        way: Way,
        /// The index of the window in the direction's mapping, from 0.
        piece: u32,
        /// The addresses it covered before; `None` if it was closed.
        old: Option<AddrRange>,
        /// The addresses it covers afterwards; `None` if it closes.
        new: Option<AddrRange>,
    },
    /// A region or alias is created, removed, moved or given another record. A region is created with one reference
    /// and removed with its last; no [`Edit::Count`] accompanies that.
    Region {
        /// The region or alias.
        region: RegionId,
        /// Its place and record before the change.
        old: Option<Placement>,
        /// Its place and record after the change.
        new: Option<Placement>,
    },
    /// An alias's effective attributes change because its target's do. Always follows from another edit.
    Effective {
        /// The alias, as it is after the change.
        placement: Placement,
        /// Its effective attributes before the change.
        old: Attrs,
        /// Its effective attributes after the change.
        new: Attrs,
    },
    /// A region gets a name, another name, or none.
    Name {
        /// The region.
        region: RegionId,
        /// Its name before the change.
        old: Option<Arc<str>>,
        /// Its name after the change.
        new: Option<Arc<str>>,
    },
    /// The reference count changes of a region that continues to exist.
    Count {
        /// The region.
        region: RegionId,
        /// The count before the change.
        old: u32,
        /// The count after the change.
        new: u32,
    },
}

/// What an edit changes; edits of the same subject are joined.
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
    /// Returns the edit that undoes this one.
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

    /// Joins the edits of each subject into one that keeps the first `old` and the last `new`, and drops those that
    /// change nothing. Edits of space are joined address by address.
    ///
    /// The result is in the order in which the subjects were first touched. It describes the change and cannot be
    /// replayed as a sequence: two regions that swap places are two edits.
    #[inline]
    pub(crate) fn net(edits: &[Self]) -> Cow<'_, [Self]> {
        match edits {
            // Most changes are a single edit.
            [only] if !only.changes_nothing() => Cow::Borrowed(edits),
            _ => Self::joined(edits),
        }
    }

    fn joined(edits: &[Self]) -> Cow<'_, [Self]> {
        // The edits of one verb mostly have different subjects, so there is nothing to join.
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
            // The alias may have moved or gone since: report its final place, or nothing.
            Self::Effective { placement, old, new } => {
                let now = last(placement.record.id).unwrap_or(Some(*placement));
                now.map(|placement| Self::Effective { placement, old: *old, new: *new }).into_iter().collect()
            }
            edit => Vec::from([edit.clone()]),
        });
        Cow::Owned(net.filter(|edit| !edit.changes_nothing()).collect())
    }

    /// Returns what this edit changes.
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

    /// Takes over the outcome of a later edit of the same subject.
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
            // Created or removed: a change, without comparing the records.
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

/// The net change of an arena's space: by address, the first `old` and the last `new`.
#[derive(Default)]
struct Spans(RangeInclusiveMap<u64, (Option<PrimedSpan>, Option<PrimedSpan>)>);

impl Spans {
    /// Adds an edit. Addresses already noted keep their first `old`.
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
