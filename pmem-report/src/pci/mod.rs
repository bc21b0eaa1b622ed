//! PCI bus space: the hierarchy, what is wrong with it, and where something can be placed.

mod goal;
mod linux;
mod plan;

pub use goal::{Ask, GoalError, Wish, parse_size};
pub use linux::Linux;
pub use plan::{
    CostParts, Headroom, Need, Part, Place, Placement, PlacementPlan, Range, Why, WindowChange, Write,
};
