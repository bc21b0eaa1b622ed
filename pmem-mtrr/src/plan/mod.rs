//! The fewest registers that give every address a type that it may have.
//!
//! The space is halved again and again; a register is a node of that tree, with a type. What a node needs depends only
//! on its addresses and on the nearest register around it, because an optimum nests registers in just two ways:
//! write-back around write-through or uncacheable, and any type around uncacheable. So one pass from the leaves up,
//! with a cost for each type around a node and for each default type, gives the minimum for all five defaults at once
//! (`count`). A second pass, for one default, notes its choices and reads them back (`build`). If there are fewer
//! registers than that takes, a third pass shares them out so that the fewest bytes lose their type (`budget`).
//!
//! Nothing here allocates. `count` and `build` do not recurse: a path has at most [`DEPTH`] nodes, which lie in an
//! array. `budget` recurses to that depth: see [`STACK`].

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

/// Finds the fewest variable registers for a [`Problem`].
///
/// No plan has a register with a mask of 0, which would match every address: kernels derive a register's size from its
/// mask and take 0 for "off", and changing the default type has the same effect. A plan with a forced default is
/// therefore minimal among plans without such a register.
///
/// # Examples
/// 3.5 GiB of memory below 4 GiB, with devices above it. The plan is put into registers, and these are checked:
///
/// ```
/// use pmem_mtrr::plan::DEPTH;
/// use pmem_mtrr::{
///     Cap, MemType, PathNode, Piece, Planner, Problem, Requirement, Setting, Span, TypeSet, Width, Workspace,
/// };
///
/// let wants = [
///     Requirement { span: Span { start: 0, end: 0xe000_0000 }, allowed: TypeSet::only(MemType::Wb) },
///     Requirement { span: Span { start: 0xe000_0000, end: 1 << 32 }, allowed: TypeSet::only(MemType::Uc) },
/// ];
/// let problem = Problem { elsewhere: TypeSet::ANY, ..Problem::new(Width::DEFAULT, &wants) };
/// let mut pieces = [Piece::default(); 8];
/// let planner = Planner::new(problem, &mut pieces)?;
/// let (mut choices, mut path) = (vec![0; planner.choices()], [PathNode::default(); DEPTH]);
/// let mut room = Workspace { choices: &mut choices, path: &mut path };
/// let plan = planner.plan(None, None, &mut room).map_err(|refusal| format!("{refusal:?}"))?;
/// assert_eq!((plan.default, plan.registers.len()), (MemType::Wb, 1));
///
/// let live = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// let planned = live.programmed(plan.default, &plan.registers).ok_or("too many registers")?;
/// planned.unmet(&wants, |span, allowed, is| panic!("{span} is {is:?}, not {allowed}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Planner<'p> {
    problem: Problem<'p>,
    pieces: &'p [Piece],
}

impl<'p> Planner<'p> {
    /// Cuts the address space into pieces, which are kept in `room`. Room for `2 * problem.wants.len() + 4` pieces is
    /// always enough.
    ///
    /// # Errors
    /// [`InvalidProblem`] says what is wrong with the problem, or how much room is needed.
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
