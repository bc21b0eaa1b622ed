//! The free pages of one node and zone on one free list.

use crate::counters::{Counters, add, sub};
use crate::frame::FrameRange;
use crate::free::FreeMap;
use crate::request::PageListRequest;
use crate::segment::Zone;

/// Free pages that are alike, and counted: what is taken or given through it is taken from or given to the counters too.
pub(crate) struct Bucket {
    pub(crate) free_list: u8,
    pub(crate) node: u32,
    pub(crate) zone: Zone,
    pub(crate) map: FreeMap,
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
