//! x86 memory type range registers (MTRRs): read, checked, and planned in the fewest registers.
//!
//! No heap, no `unsafe`, and no path that panics: for firmware and kernels as for programs.
//!
//! * [`Setting`] is what one processor holds; [`Setting::map`] is what that makes of each address, [`Setting::check`] what is
//!   wrong with it.
//! * [`Planner`] finds the fewest variable registers for a [`Problem`]: what each range may be, with or without a default type
//!   given. [`Optimum`] is the proof: the fewest for each default.
//! * [`Setting::difference`] says whether two processors' registers are the same: whether they have the same effect.
//! * [`Setting::programmed`] puts a plan into registers, and [`Setting::writes`] says what to write, in order.
//!
//! ```
//! use pmem_mtrr::{MemType, Piece, Planner, Problem, Span, TypeSet, Want, Width};
//!
//! // 3.5 GiB of memory below 4 GiB, and devices above it that must not be cached; what lies beyond nobody cares for.
//! let wants = [
//!     Want { span: Span { start: 0, end: 0xe000_0000 }, allowed: TypeSet::only(MemType::Wb) },
//!     Want { span: Span { start: 0xe000_0000, end: 1 << 32 }, allowed: TypeSet::only(MemType::Uc) },
//! ];
//! let problem = Problem { elsewhere: TypeSet::ANY, ..Problem::new(Width::DEFAULT, &wants) };
//! let mut room = [Piece::default(); 8];
//! let planner = Planner::new(problem, &mut room)?;
//! assert_eq!(planner.optimum().with(MemType::Wb), Some(1));
//! assert_eq!(planner.optimum().with(MemType::Uc), Some(2));
//! # Ok::<(), pmem_mtrr::Bad>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod block;
mod check;
mod difference;
mod effective;
mod kind;
pub mod plan;
pub mod regs;
mod setting;

pub use block::{Block, Span};
pub use check::{Finding, Known};
pub use difference::Difference;
pub use effective::Effective;
pub use kind::{Combined, MemType, PatType, TypeSet, with_pat};
pub use plan::{
    Budgeted, InvalidProblem, LowRefusal, Optimum, PathNode, Piece, Plan, Planner, Problem, Refusal,
    Requirement, Workspace,
};
pub use regs::{Cap, DefType, Fixed, Register, Registers, Syscfg, Variable, Width};
pub use setting::{Amd, Setting, Write};

/// The package's README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
