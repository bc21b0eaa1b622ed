//! x86 memory type range registers (MTRRs): read, checked, and planned in the fewest registers.
//!
//! No heap, no `unsafe`, and no path that panics: use it in firmware and kernels as well as in programs.
//!
//! * [`Setting`] holds the MTRRs of one processor. [`Setting::map`] gives the type of every address, [`Setting::check`]
//!   finds faults.
//! * [`Planner`] finds the fewest variable registers for a [`Problem`]: the types that each range may have, with or
//!   without a given default type. [`Optimum`] is the proof: the fewest registers for each default type.
//! * [`Setting::difference`] says whether the MTRRs of two processors have the same effect.
//! * [`Setting::programmed`] puts a plan into registers. [`Setting::writes`] lists the register writes, in order.
//!
//! ```
//! use pmem_mtrr::{MemType, Piece, Planner, Problem, Requirement, Span, TypeSet, Width};
//!
//! // 3.5 GiB of memory below 4 GiB, and devices above it that must not be cached. What lies beyond does not matter.
//! let wants = [
//!     Requirement { span: Span { start: 0, end: 0xe000_0000 }, allowed: TypeSet::only(MemType::Wb) },
//!     Requirement { span: Span { start: 0xe000_0000, end: 1 << 32 }, allowed: TypeSet::only(MemType::Uc) },
//! ];
//! let problem = Problem { elsewhere: TypeSet::ANY, ..Problem::new(Width::DEFAULT, &wants) };
//! let mut room = [Piece::default(); 8];
//! let planner = Planner::new(problem, &mut room)?;
//! assert_eq!(planner.optimum().with(MemType::Wb), Some(1));
//! assert_eq!(planner.optimum().with(MemType::Uc), Some(2));
//! # Ok::<(), pmem_mtrr::InvalidProblem>(())
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

/// The package's README, included so that its example runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
