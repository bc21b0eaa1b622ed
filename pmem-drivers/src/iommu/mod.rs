//! IOMMUs: programs the tables of units to follow a model.
//!
//! In a model, a *domain* is an arena that an interconnect with a [`Table`](pmem_core::Table) connects to the
//! system bus. The domain's devices see the regions in it. A *device* is an arena that is connected to a domain
//! ([`join`]), to the system bus itself ([`pass`], its requests are not translated), or to neither (its requests
//! are refused). [`Iommu`] is the driver. It drives two kinds of unit, [`Vtd`] and [`Amd`], each behind a [`Port`].
//!
//! Devices are never allowed to translate addresses themselves (ATS). A device's registers are mapped for another
//! device only in a domain that permits it ([`Peers`]).

mod amd;
mod binding;
mod domains;
mod driver;
#[cfg(feature = "fake")]
mod fake;
mod found;
mod mapped;
mod model;
mod port;
mod refuse;
mod task;
mod unit;
mod vtd;
mod wait;
mod wanted;

pub use amd::Amd;
pub use binding::{Binding, Layout, Peers};
pub use driver::Iommu;
#[cfg(feature = "fake")]
pub use fake::{AmdChip, Chip, Fake, FakeAmd, FakeMemory, FakeVtd, VtdChip};
pub use found::{Found, Requests};
pub use mapped::Mapped;
pub use model::{Domain, Limits, add_device, add_domain, join, leave, map_identity, pass};
pub use port::{Port, Width};
pub use unit::{DomainKind, Unit};
pub use vtd::Vtd;
