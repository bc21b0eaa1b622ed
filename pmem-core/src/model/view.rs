//! What an arena sees, as ranges.

use super::arena::SpanState;
use super::exits::{Follow, undecoded};
use super::piece::ViewPiece;
use super::state::State;
use super::survey::Look;
use crate::id::ArenaId;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Occupant};

impl State {
    /// Returns everything that `arena` sees, in order of address.
    ///
    /// # Examples
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request, ViewTarget};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
    /// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
    /// let aperture = AddrRange::new(0xe000_0000, 0xe010_0000)?;
    /// pmem.prime(pci, aperture, Attrs::device())?;
    /// pmem.connect(cpu, pci, Mapping::window(aperture, 0xe000_0000)?, Metric::new(1))?;
    /// let bar = pmem.alloc(pci, &Request::new(0x4000))?;
    ///
    /// let view = pmem.state().view(cpu);
    /// let regions: Vec<_> = view
    ///     .iter()
    ///     .filter_map(|piece| match piece.what {
    ///         ViewTarget::Local { region, .. } => Some((piece.seen.start(), piece.seen.len(), region)),
    ///         _ => None,
    ///     })
    ///     .collect();
    /// assert_eq!(regions, [(0xe000_0000, 0x4000, Some(bar)), (0xe000_4000, 0xf_c000, None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn view(&self, arena: ArenaId) -> Vec<ViewPiece> {
        self.view_in(arena, AddrRange::ALL)
    }

    /// Returns what `arena` sees inside `window`, cut to it, in order of address. Translation tables and interleaved
    /// ranges appear as such; the view does not look behind them.
    #[must_use]
    pub fn view_in(&self, arena: ArenaId, window: AddrRange) -> Vec<ViewPiece> {
        self.survey(arena, window, Follow::default()).0
    }

    /// Returns what `viewer` reaches inside `window`: its view, with the entries of translation tables followed.
    pub(crate) fn reached(&self, viewer: ArenaId, window: AddrRange) -> Vec<ViewPiece> {
        self.survey(viewer, window, Follow { tables: true, interleaves: false }).0
    }

    /// Returns what `viewer` reaches inside `window`, and every range of every arena that the search expanded for it.
    pub(crate) fn looked_at(&self, viewer: ArenaId, window: AddrRange) -> (Vec<ViewPiece>, Vec<Look>) {
        self.survey(viewer, window, Follow { tables: true, interleaves: false })
    }

    /// Returns the parts of `range` that are the arena's own: each part's attributes, and whether a region occupies
    /// it.
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

    /// Returns the parts of `range` that are neither the arena's own nor claimed by a mapping.
    pub(crate) fn undecoded(&self, arena: ArenaId, range: AddrRange) -> Vec<AddrRange> {
        self.arena(arena).map_or_else(Vec::new, |arena| undecoded(arena, range))
    }
}
