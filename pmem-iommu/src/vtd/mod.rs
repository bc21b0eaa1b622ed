//! VT-d (Intel Virtualization Technology for Directed I/O, Architecture Specification 4.1): registers, root and
//! context tables, the invalidation queue, and faults. This covers legacy mode, in which the second stage
//! translates requests without PASID.

pub mod context;
pub mod fault;
pub mod queue;
pub mod registers;

pub use context::{Context, Kind, Root};
pub use fault::{Fault, Reason, Status};
pub use queue::{Descriptor, Granularity};
pub use registers::{Capability, ExtendedCapability};
