//! VT-d (Intel Virtualization Technology for Directed I/O, Architecture Specification 4.1): a unit's registers, its root and context tables, its
//! queue of invalidations, and what it says of faults. Legacy mode: requests without PASID, translated by the second stage.

pub mod context;
pub mod fault;
pub mod queue;
pub mod registers;

pub use context::{Context, Kind, Root};
pub use fault::{Fault, Reason, Status};
pub use queue::{Descriptor, Granularity};
pub use registers::{Capability, ExtendedCapability};
