//! Plugged memory in runs that are alike, for the driver that feeds pages from a model.

use super::Uvm;
use crate::frame::FrameRange;
use crate::page::PageState;
use crate::segment::{Segment, Zone};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Uvm {
    /// Returns what is plugged of a range, in runs of one zone, each either in use (`true`: free, handed out or held
    /// back) or not (`false`: offline or reserved). Bad pages join the run before them, or the one after if they come
    /// first. Allocates memory.
    pub(crate) fn runs_by_use(&self, range: FrameRange) -> Vec<(FrameRange, bool, Zone)> {
        let mut runs: Vec<(FrameRange, Option<bool>, Zone)> = Vec::new();
        for (part, bucket, pages) in self.parts_in(range) {
            let zone = self.buckets[bucket as usize].zone;
            for (frame, page) in part.frames().zip(pages) {
                let used = match page.state() {
                    PageState::Retired => None,
                    PageState::Offline | PageState::Reserved => Some(false),
                    _ => Some(true),
                };
                match runs.last_mut() {
                    Some((run, of, other))
                        if run.end() == frame
                            && *other == zone
                            && (used.is_none() || of.is_none() || *of == used) =>
                    {
                        *of = of.or(used);
                        *run = FrameRange::between(run.start(), frame + 1).unwrap_or(*run);
                    }
                    _ => runs.extend(FrameRange::one(frame).map(|run| (run, used, zone))),
                }
            }
        }
        runs.into_iter().map(|(run, used, zone)| (run, used.unwrap_or(false), zone)).collect()
    }

    /// Returns what is plugged of a range, in runs of one segment and one state. Pages that are cached or allocated
    /// count as free. Allocates memory.
    pub(crate) fn runs_by_state(&self, range: FrameRange) -> Vec<(FrameRange, Arc<Segment>, PageState)> {
        let mut runs: Vec<(FrameRange, Arc<Segment>, PageState)> = Vec::new();
        for (entry, held) in self.map.overlapping(range) {
            let Some(part) = entry.intersect(range) else { continue };
            let pages = held.pages.slice(part.start() - held.first, part.count());
            for (frame, page) in part.frames().zip(pages) {
                let state = match page.state() {
                    PageState::Cached | PageState::Allocated => PageState::Free,
                    state => state,
                };
                match runs.last_mut() {
                    Some((run, segment, of))
                        if *of == state && run.end() == frame && Arc::ptr_eq(segment, &held.segment) =>
                    {
                        *run = FrameRange::between(run.start(), frame + 1).unwrap_or(*run);
                    }
                    _ => runs.extend(FrameRange::one(frame).map(|run| (run, held.segment.clone(), state))),
                }
            }
        }
        runs
    }

    /// Returns the runs of pages of a range that are in one state. Allocates memory.
    pub(crate) fn runs_of(&self, range: FrameRange, of: PageState) -> Vec<FrameRange> {
        let mut runs = Vec::new();
        let mut from = range.start();
        while let Some(rest) = FrameRange::between(from, range.end())
            && let Some(run) = self.run_that(rest, &|state| state == of)
        {
            from = run.end();
            runs.push(run);
        }
        runs
    }
}
