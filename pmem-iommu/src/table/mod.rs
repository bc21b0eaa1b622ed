//! Translation tables: what leads where, for devices behind an IOMMU.
//!
//! A [`PageTable`] is changed by its [`Walker`]. Hardware may look at them between any two writes: what it sees is then either as before or as after, for each
//! address. A table that is taken out is given back by [`PageTable::release`] alone, which must wait until the hardware has been told
//! ([`Invalidate`]) to forget what it remembers.

mod amd;
mod arm;
mod change;
mod entry;
mod error;
mod format;
mod invalidate;
mod join;
mod list;
mod map;
mod memory;
mod prune;
mod span;
mod tree;
mod vtd;
mod walker;
mod x86;

pub use amd::AmdV1;
pub use arm::ArmStage2;
pub use entry::{Access, Entry, Leaf, PAGE_SHIFT, shift_of};
pub use error::TableError;
pub use format::Format;
pub use invalidate::Invalidate;
pub use list::Mapped;
pub use memory::{Pool, Short, TableMemory};
pub use tree::PageTable;
pub use vtd::VtdSecondStage;
pub use walker::Walker;
pub use x86::X86;
