//! Reports as text for people.

mod annotate;
mod bad;
mod diff;
mod iommu;
mod lint;
mod memory;
mod mtrr;
mod par;
mod pci;
mod plug;
mod resolve;
mod style;
mod topo;
mod view;

pub use annotate::annotated;
pub use bad::bad_ram;
pub use diff::diff;
pub use iommu::{iommu_refused, iommu_show, iommu_why};
pub use lint::{lint, lint_of_several, lint_rules};
pub use memory::memory;
pub use mtrr::{plan as mtrr_plan, show as mtrr_show};
pub use par::par_plan;
pub use pci::{pci_doctor, pci_lint, pci_plan, pci_predict, pci_replay, pci_tree};
pub use plug::plug;
pub use resolve::resolve;
pub use style::Styles;
pub use topo::{Detail, topo};
pub use view::view;
