//! Translation tables for devices behind an IOMMU.
//!
//! You change a [`PageTable`] through its [`Walker`]. Hardware may walk the tables between any two writes. For each
//! address it then sees either the old translation or the new one, never a mixture. Unlinked tables are freed only
//! by [`PageTable::release`], which you call once the hardware has confirmed the invalidation ([`Invalidate`]) and
//! cannot use cached entries any more.

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
