//! What Linux does by itself with bus space: a prediction, by the rules of the version.
//!
//! The kernel keeps a map of its own beside the registers: windows and base address registers as *resources*. It sizes windows that are not
//! assigned from the inside out, and assigns from the outside in, each bus in order of falling alignment, first fit; nothing that is assigned
//! is moved. What follows are its rules (`drivers/pci/setup-bus.c`, `setup-res.c`), stated anew; [`Rules`] has what differs by version.

mod assign;
mod distribute;
mod event;
mod map;
mod rules;
mod size;

pub use event::{Event, Outcome, predict};
pub use map::{Map, ResourceId};
pub use rules::{Rules, Sizing};
