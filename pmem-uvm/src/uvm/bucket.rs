//! Buckets: the free pages of one node and zone on one free list.

use crate::counters::{Counters, add, sub};
use crate::frame::FrameRange;
use crate::free::FreeMap;
use crate::page::PageState;
use crate::request::PageListRequest;
use crate::segment::Zone;

/// The free pages of one kind, and their share of the counters: pages taken or given through a bucket are counted
/// there too.
pub(crate) struct Bucket {
    pub(crate) free_list: u8,
    pub(crate) node: u32,
    pub(crate) zone: Zone,
    pub(crate) map: FreeMap,
    pub(crate) idle: Idle,
}

/// The numbers of a bucket's pages that are reserved, retired or offline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle([u64; PageState::ALL.len()]);

impl Idle {
    /// The number of pages in a state: reserved, retired or offline.
    pub(crate) fn of(&self, state: PageState) -> u64 {
        self.0[state as usize]
    }

    /// Counts pages in (`come`) or out by their states.
    pub(crate) fn count_all(&mut self, states: &[u64; PageState::ALL.len()], come: bool) {
        for state in PageState::ALL {
            self.count(state, states[state as usize], come);
        }
    }

    /// Counts pages of one state in (`come`) or out. States that are not kept here are ignored.
    pub(crate) fn count(&mut self, state: PageState, pages: u64, come: bool) {
        if !state.is_idle() || state == PageState::Free {
            return;
        }
        let count = &mut self.0[state as usize];
        *count = if come { *count + pages } else { *count - pages };
    }
}

impl Bucket {
    /// Whether a request for a list may take pages of this bucket.
    pub(crate) fn may_serve(&self, request: &PageListRequest) -> bool {
        request.may_be_of(self.node, self.free_list, self.zone)
    }

    /// Takes a page whose frame number modulo 64 is in `mask`; a zeroed one if `zero`, otherwise one that is not,
    /// where there is a choice. Also returns whether it is zeroed.
    pub(crate) fn pop(&mut self, counters: &Counters, mask: u64, zero: bool) -> Option<(u64, bool)> {
        let (frame, zeroed) = self.map.pop(mask, zero)?;
        self.taken(counters, 1, zeroed.into());
        Some((frame, zeroed))
    }

    /// Takes a run of free pages and returns how many of them are zeroed.
    pub(crate) fn take(&mut self, counters: &Counters, run: FrameRange) -> u64 {
        let clean = self.map.zeroed();
        self.map.take(run);
        let zeroed = clean - self.map.zeroed();
        self.taken(counters, run.count(), zeroed);
        zeroed
    }

    /// Gives pages back.
    pub(crate) fn give(&mut self, counters: &Counters, run: FrameRange, zeroed: bool) {
        self.map.give(run, zeroed);
        add(&counters.free, run.count());
        if zeroed {
            add(&counters.zeropages, run.count());
        }
        if self.zone == Zone::Movable {
            add(&counters.movable, run.count());
        }
    }

    fn taken(&self, counters: &Counters, pages: u64, zeroed: u64) {
        sub(&counters.free, pages);
        if zeroed > 0 {
            sub(&counters.zeropages, zeroed);
        }
        if self.zone == Zone::Movable {
            sub(&counters.movable, pages);
        }
    }
}
