//! What one arena sees, by ranges.

use super::arena::SpanState;
use super::exits::{Follow, undecoded};
use super::piece::ViewPiece;
use super::state::State;
use super::survey::Look;
use crate::id::ArenaId;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Occupant};

impl State {
    /// What `arena` sees, in order of address.
    pub fn view(&self, arena: ArenaId) -> Vec<ViewPiece> {
        self.view_in(arena, AddrRange::ALL)
    }

    /// What `arena` sees inside `window`, cut to it, in order of address. Tables and interleaved ranges are left as they are named.
    pub fn view_in(&self, arena: ArenaId, window: AddrRange) -> Vec<ViewPiece> {
        self.survey(arena, window, Follow::default()).0
    }

    /// What `viewer` reaches inside `window`: its view, with what the entries of tables lead to in their place.
    pub(crate) fn reached(&self, viewer: ArenaId, window: AddrRange) -> Vec<ViewPiece> {
        self.survey(viewer, window, Follow { tables: true, interleaves: false }).0
    }

    /// What `viewer` reaches inside `window`, and every range of every arena that was looked at for it.
    pub(crate) fn looked_at(&self, viewer: ArenaId, window: AddrRange) -> (Vec<ViewPiece>, Vec<Look>) {
        self.survey(viewer, window, Follow { tables: true, interleaves: false })
    }

    /// What of an arena's own addresses in `range` is there: each part's attributes, and whether a region has it.
    pub(crate) fn own_in(&self, arena: ArenaId, range: AddrRange) -> Vec<(AddrRange, Attrs, bool)> {
        let Some(here) = self.arena(arena) else { return Vec::new() };
        let spans = here.spans_in(range).filter(|(_, span)| span.state != SpanState::Lent);
        let entries = spans.flat_map(|(part, span)| {
            here.space().entries_in(part).filter_map(move |entry| {
                let here = entry.range.intersect(part)?;
                Some(match entry.occupant {
                    Occupant::Taken(kept) => (here, kept.attrs, true),
                    _ => (here, span.attrs, false),
                })
            })
        });
        entries.collect()
    }

    /// What of `range` is neither the arena's own nor claimed.
    pub(crate) fn undecoded(&self, arena: ArenaId, range: AddrRange) -> Vec<AddrRange> {
        self.arena(arena).map_or_else(Vec::new, |arena| undecoded(arena, range))
    }
}
