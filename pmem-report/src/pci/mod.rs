//! PCI bus space: the hierarchy, what is wrong with it, and where something can be placed.

mod doctor;
mod goal;
mod kernel;
mod lint;
mod linux;
mod parts;
mod plan;
mod predict;
mod replay;
mod suggest;
mod tree;

pub use doctor::{Ailment, PciDoctor, Remedy};
pub use goal::{Ask, GoalError, Wish, card};
pub use kernel::Kernel;
pub use lint::{PciLint, Side, Wrong};
pub use linux::Linux;
pub use parts::{Part, Placement, Range, WindowChange};
pub use plan::{CostParts, Headroom, Need, Place, PlacementPlan, Why, Write};
pub use predict::{Deed, PciPrediction, Predicted};
pub use replay::{PciReplay, Planned, Played, Round};
pub use suggest::suggestions;
pub use tree::{Decoded, Forwarded, Node, PciHierarchy};
