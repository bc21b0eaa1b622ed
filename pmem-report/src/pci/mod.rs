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

pub use doctor::{Diagnosis, PciDoctor, Remedy};
pub use goal::{GoalError, PlacementGoal, PlacementRequest, card};
pub use kernel::Kernel;
pub use lint::{PciLint, PciViolation, ViolationSide};
pub use linux::Linux;
pub use parts::{Part, Placement, Range, WindowChange};
pub use plan::{AlignedPlace, CostParts, Headroom, Obstacle, PlacementPlan, UnplacedBar, Write};
pub use predict::{HotplugEvent, PciPrediction, Predicted};
pub use replay::{KernelOutcome, PciReplay, Planned, ReplayedEvent};
pub use suggest::suggestions;
pub use tree::{Decoded, Forwarded, PciHierarchy, PciNode};
