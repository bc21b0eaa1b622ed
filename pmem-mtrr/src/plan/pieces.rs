//! The address space, cut wherever the question changes.

use super::problem::{InvalidProblem, Problem};
use crate::block::Span;
use crate::kind::TypeSet;
use crate::setting::{FOUR_GIB, ONE_MIB};

/// Addresses that are alike to the planner: from `start` up to where the next piece starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub(crate) start: u64,
    /// The types that they may have, of those that the processor has.
    pub(crate) set: TypeSet,
    /// Whether AMD's rule makes the default write-back here.
    pub(crate) over: bool,
    /// Whether no requirement covers them.
    pub(crate) unmapped: bool,
}

/// Cuts the space into pieces: at least one, the first at 0. Neighbours that are alike are joined.
pub(super) fn cut<'r>(problem: &Problem<'_>, room: &'r mut [Piece]) -> Result<&'r [Piece], InvalidProblem> {
    let mut cut = Cut { room, len: 0 };
    let gap = problem.elsewhere.and(problem.available);
    let end = problem.width.end();
    let mut next = 0;
    for want in problem.wants {
        let Span { start, end: last } = want.span;
        if want.span.is_empty() || (start | last) & 0xfff != 0 || last > end {
            return Err(InvalidProblem::Span(want.span));
        }
        if start < next {
            return Err(InvalidProblem::Order(want.span));
        }
        let set = want.allowed.and(problem.available);
        if set.is_empty() {
            return Err(InvalidProblem::Nothing(want.span));
        }
        // First the space before the requirement, so that pieces come in order of address and neighbours can be joined.
        cut.push(problem, Span { start: next, end: start }, gap, true);
        cut.push(problem, want.span, set, false);
        next = last;
    }
    if gap.is_empty() && next < end {
        return Err(InvalidProblem::Nothing(Span { start: next, end }));
    }
    cut.push(problem, Span { start: next, end }, gap, true);
    let Cut { room, len } = cut;
    room.get(..len).ok_or(InvalidProblem::Pieces(len))
}

struct Cut<'r> {
    room: &'r mut [Piece],
    /// The number of pieces needed, even if there is no room for them.
    len: usize,
}

impl Cut<'_> {
    fn push(&mut self, problem: &Problem<'_>, span: Span, set: TypeSet, unmapped: bool) {
        // Above the fixed ranges, and without AMD's rule, there is nothing to cut at.
        let low_end = if problem.fixed { ONE_MIB } else { 0 };
        if span.start >= low_end && problem.tom2.is_none() {
            if !span.is_empty() {
                self.add(Piece { start: span.start, set, over: false, unmapped });
            }
            return;
        }
        // Cut at 1 MiB, 4 GiB and TOP_MEM2. What the fixed ranges decide may be anything to the variable registers.
        let top = problem.tom2.unwrap_or(0).max(FOUR_GIB);
        let low = Span { start: 0, end: low_end };
        let middle = Span { start: low_end, end: FOUR_GIB };
        let over = Span { start: FOUR_GIB, end: top };
        let high = Span { start: top, end: u64::MAX };
        for (part, set, over, unmapped) in [
            (span.and(low), TypeSet::ANY, false, false),
            (span.and(middle), set, false, unmapped),
            (span.and(over), set, true, unmapped),
            (span.and(high), set, false, unmapped),
        ] {
            if !part.is_empty() {
                self.add(Piece { start: part.start, set, over, unmapped });
            }
        }
    }

    fn add(&mut self, piece: Piece) {
        // Without room there is no piece before, so nothing is joined: the count may be high, but is always enough.
        let before = self.len.checked_sub(1).and_then(|last| self.room.get(last));
        if before.is_some_and(|before| Piece { start: before.start, ..piece } == *before) {
            return;
        }
        if let Some(slot) = self.room.get_mut(self.len) {
            *slot = piece;
        }
        self.len += 1;
    }
}
