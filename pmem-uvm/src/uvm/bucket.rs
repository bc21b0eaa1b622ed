//! The free pages of one node and zone on one free list.

use crate::counters::{Counters, add, sub};
use crate::frame::FrameRange;
use crate::free::FreeMap;
use crate::page::PageState;
use crate::request::PageListRequest;
use crate::segment::Zone;

/// Free pages that are alike, and counted: what is taken or given through it is taken from or given to the counters too.
pub(crate) struct Bucket {
    pub(crate) free_list: u8,
    pub(crate) node: u32,
    pub(crate) zone: Zone,
    pub(crate) map: FreeMap,
    pub(crate) idle: Idle,
}

/// How many pages of a bucket are in a state in which nobody gets them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle([u64; PageState::ALL.len()]);

impl Idle {
    /// How many are in a state: reserved, retired or offline.
    pub(crate) fn of(&self, state: PageState) -> u64 {
        self.0[state as usize]
    }

    /// Counts pages in, or out, by their states.
    pub(crate) fn count_all(&mut self, states: &[u64; PageState::ALL.len()], come: bool) {
        for state in PageState::ALL {
            self.count(state, states[state as usize], come);
        }
    }

    /// Counts pages in, or out.
    pub(crate) fn count(&mut self, state: PageState, pages: u64, come: bool) {
        if !state.is_idle() || state == PageState::Free {
            return;
        }
        let count = &mut self.0[state as usize];
        *count = if come { *count + pages } else { *count - pages };
    }
}

impl Bucket {
    /// Whether a list of pages may have some of these.
    pub(crate) fn may_serve(&self, request: &PageListRequest) -> bool {
        request.may_be_of(self.node, self.free_list, self.zone)
    }

    /// Takes a page of a colour, or of any; whether it is zeroed comes with it.
    pub(crate) fn pop(&mut self, counters: &Counters, mask: u64, zero: bool) -> Option<(u64, bool)> {
        let (frame, zeroed) = self.map.pop(mask, zero)?;
        self.taken(counters, 1, zeroed.into());
        Some((frame, zeroed))
    }

    /// Takes a run of free pages; how many of them are zeroed.
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
