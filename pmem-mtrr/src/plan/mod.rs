//! The fewest registers that make every address a type that it may be.
//!
//! The space is halved again and again; a register is a node of that tree with a type. What a node needs depends on its
//! addresses and on the nearest register around it alone, for an optimum nests registers in no other way than write back
//! around write through or uncacheable, and any type around uncacheable. So one pass from the leaves up, with one cost for
//! each type around and one for each default type, gives the minimum for all five defaults at once (`count`); a second
//! one, for one default, notes its choices and reads them back (`build`). With fewer registers than that takes, a third
//! form shares them out so that the fewest bytes lose their type (`budget`).
//!
//! Nothing here takes memory from a heap. `count` and `build` do not call themselves either: a way down has at most [`DEPTH`] nodes, which
//! lie in an array. `budget` does, as deep as that: see [`STACK`].

mod budget;
mod build;
mod count;
mod low;
mod node;
mod pieces;
mod problem;

pub use budget::Budgeted;
pub use build::{PathNode, Plan, Refusal, Workspace};
pub use count::Optimum;
pub use low::LowRefusal;
pub use pieces::Piece;
pub use problem::{DEPTH, InvalidProblem, Problem, Requirement, STACK};

use crate::block::Span;
use crate::regs::MAX_VARIABLE;

/// A problem cut in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'p> {
    problem: Problem<'p>,
    pieces: &'p [Piece],
}

impl<'p> Planner<'p> {
    /// Cuts a problem in pieces. Room for twice as many as there are wants, and 4, is always enough.
    ///
    /// # Errors
    /// [`InvalidProblem`] names what makes no sense.
    pub fn new(problem: Problem<'p>, room: &'p mut [Piece]) -> Result<Self, InvalidProblem> {
        if problem.pinned.len() > MAX_VARIABLE {
            return Err(InvalidProblem::Pinned(problem.pinned.len()));
        }
        if let Some(end) = problem.tom2.filter(|end| end & 0xfff != 0) {
            return Err(InvalidProblem::Span(Span { start: 1 << 32, end }));
        }
        Ok(Self { pieces: pieces::cut(&problem, room)?, problem })
    }
}
