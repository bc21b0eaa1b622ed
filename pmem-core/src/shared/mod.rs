//! The shared handle: one writer, readers that never wait, and regions that count their own references.

mod events;
mod inner;
mod pmem;
mod queue;
mod region;
mod sync;
mod transaction;

pub use events::{Event, ObserverId};
pub use pmem::Pmem;
#[cfg(not(loom))]
pub use pmem::Reader;
pub use region::Region;
pub use transaction::{Pending, Reserved, Transaction};
