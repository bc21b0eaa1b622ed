//! Predicts what Linux itself does with bus space, by the rules of each kernel version.
//!
//! Beside the registers, the kernel keeps its own map of *resources*: windows and BARs. It sizes unassigned
//! windows innermost first, then assigns outermost first: each bus in order of falling alignment, first fit. It
//! never moves what is assigned. This module restates the rules of `drivers/pci/setup-bus.c` and `setup-res.c`;
//! [`Rules`] holds what differs by version.

mod assign;
mod distribute;
mod event;
mod map;
mod rules;
mod size;

pub use event::{Event, Outcome, predict};
pub use map::{Map, ResourceId};
pub use rules::{Rules, Sizing};
