//! IOMMUs: units whose tables follow a model.
//!
//! In a model a *domain* is an arena that an interconnect with a [`Table`](pmem_core::Table) joins to the system's bus; what lies in it is what
//! its devices see. A *device* is an arena that is joined to a domain ([`join`]), to the system's bus itself ([`pass`]: its requests are not
//! translated), or to neither (they are refused). [`Iommu`] is the driver; [`Vtd`] and [`Amd`] are the two kinds of unit that it has, each
//! behind a [`Port`].
//!
//! Devices are never let to translate for themselves (ATS), and one's registers are mapped for another only in a domain that says so
//! ([`Peers`]).

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
