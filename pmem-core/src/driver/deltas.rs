//! How a change looks in a view: spans whose effective attributes differ.

use crate::attrs::{Attrs, Props, Prot, Usage};
use crate::id::ArenaId;
use crate::model::{Edit, Sight, SpanState, State, What};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use pmem_space::AddrRange;
use rangemap::RangeInclusiveMap;

/// What a viewer may do with an address, and how accesses to it are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effective {
    /// Usage, protection (narrowed by the interconnects on the way) and properties.
    pub attrs: Attrs,
    /// Whether a region is there; else they are the defaults of free space. Where only this changes, nobody is told: ask for
    /// regions by an arena's scope.
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

/// Effective attributes by address.
type Spans = RangeInclusiveMap<u64, Effective>;

/// The flattened view of an observed arena.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flat {
    spans: Spans,
    /// What the view is made up of, where a change inside it can be worked out without looking at all of it.
    sights: Option<Vec<Sight>>,
}

impl State {
    /// What an arena sees, by range: effective attributes, as [`Delta`]s tell of their changes. What nothing decodes, or more than
    /// one place, is left out.
    pub fn sees(&self, viewer: ArenaId) -> Vec<(AddrRange, Effective)> {
        let flat = Flat::of(self, viewer);
        let range = |range: &RangeInclusive<u64>| AddrRange::inclusive(*range.start(), *range.end()).ok();
        flat.spans.iter().filter_map(|(span, what)| Some((range(span)?, *what))).collect()
    }
}

/// What a change makes of a flattened view.
pub(crate) enum Update {
    /// A new one: what can be seen, and from where, has changed.
    Anew(Flat),
    /// The same, but for these spans.
    Patch(Vec<Delta>),
}

impl Flat {
    pub(crate) fn of(state: &State, viewer: ArenaId) -> Self {
        let mut spans = Spans::new();
        for piece in state.reached(viewer, AddrRange::ALL) {
            if let What::Local { region, attrs, .. } = piece.what {
                let effective = Effective { attrs, taken: region.is_some() };
                spans.insert(piece.seen.start()..=piece.seen.last(), effective);
            }
        }
        Self { spans, sights: state.sights(viewer) }
    }

    /// What `edits`, which lead to `after`, make of it.
    pub(crate) fn update(&self, viewer: ArenaId, edits: &[Edit], after: &State) -> Update {
        let patch = touched(edits).zip(self.sights.as_ref());
        let Some((touched, sights)) = patch else { return Update::Anew(Self::of(after, viewer)) };
        let mut all = Vec::new();
        for (arena, range) in touched {
            for sight in sights.iter().filter(|sight| sight.arena == arena) {
                let Some(seen) = sight.seen(range) else { continue };
                let (mut old, mut new) = (Spans::new(), Spans::new());
                for (part, effective) in self.spans.overlapping(seen.start()..=seen.last()) {
                    let (start, last) = ((*part.start()).max(seen.start()), (*part.end()).min(seen.last()));
                    old.insert(start..=last, *effective);
                }
                for (part, attrs, taken) in after.in_sight(sight, range) {
                    new.insert(part.start()..=part.last(), Effective { attrs, taken });
                }
                all.extend(differences(&old, &new));
            }
        }
        all.sort_unstable_by_key(|delta: &Delta| delta.range.start());
        Update::Patch(joined(all))
    }

    /// How it changes.
    pub(crate) fn deltas(&self, update: &Update) -> Vec<Delta> {
        match update {
            Update::Anew(new) => joined(differences(&self.spans, &new.spans)),
            Update::Patch(deltas) => deltas.clone(),
        }
    }

    /// Whether both are views of the same.
    pub(crate) fn sees_as(&self, other: &Self) -> bool {
        self.spans == other.spans
    }

    /// Takes it on to what a change made of it.
    pub(crate) fn apply(&mut self, update: Update) {
        let deltas = match update {
            Update::Anew(new) => return *self = new,
            Update::Patch(deltas) => deltas,
        };
        for delta in deltas {
            let range = delta.range.start()..=delta.range.last();
            match delta.new {
                Some(effective) => self.spans.insert(range, effective),
                None => self.spans.remove(range),
            }
        }
    }
}

/// Where edits change what is at addresses, each once, in order; `None` if they may change who sees what.
fn touched(edits: &[Edit]) -> Option<Vec<(ArenaId, AddrRange)>> {
    let mut all: Vec<(ArenaId, AddrRange)> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Count { .. } | Edit::Arena { old: Some(_), new: Some(_), .. } => {}
            Edit::Span { arena, range, old: Some(old), new: Some(new) }
                if old.state != SpanState::Lent && new.state != SpanState::Lent =>
            {
                all.push((*arena, *range));
            }
            Edit::Region { old, new, .. } => {
                for placement in [old, new].into_iter().flatten() {
                    match (placement.record.alias(), placement.seat.range()) {
                        // An alias is no space of its own, but may narrow what is seen through it.
                        (Some(_), _) if placement.record.attrs.prot() == Prot::RWX => {}
                        (Some(_), _) => return None,
                        (None, range) => all.extend(range.map(|range| (placement.arena, range))),
                    }
                }
            }
            _ => return None,
        }
    }
    all.sort_unstable_by_key(|(arena, range)| (*arena, range.start()));
    let mut out: Vec<(ArenaId, AddrRange)> = Vec::new();
    for (arena, range) in all {
        match out.last_mut() {
            Some((same, last)) if *same == arena && last.overlaps(range) => *last = last.hull(range),
            _ => out.push((arena, range)),
        }
    }
    Some(out)
}

/// Where `new` differs from `old`, in order of address.
fn differences(old: &Spans, new: &Spans) -> Vec<Delta> {
    let mut cuts: Vec<u64> = Vec::new();
    for (range, _) in old.iter().chain(new.iter()) {
        cuts.push(*range.start());
        cuts.extend(range.end().checked_add(1));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out: Vec<Delta> = Vec::new();
    for (i, start) in cuts.iter().enumerate() {
        let last = cuts.get(i + 1).map_or(u64::MAX, |next| next - 1);
        let (was, is) = (old.get(start).copied(), new.get(start).copied());
        if let Ok(range) = AddrRange::inclusive(*start, last)
            && was != is
        {
            out.push(Delta { range, old: was, new: is });
        }
    }
    out
}

/// The same, neighbours that change alike as one.
fn joined(deltas: Vec<Delta>) -> Vec<Delta> {
    let mut out: Vec<Delta> = Vec::new();
    for delta in deltas {
        match out.last_mut() {
            Some(last)
                if last.range.end() == Some(delta.range.start())
                    && (last.old, last.new) == (delta.old, delta.new) =>
            {
                last.range = last.range.hull(delta.range);
            }
            _ => out.push(delta),
        }
    }
    out
}
