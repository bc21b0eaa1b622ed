//! AMD-Vi (AMD I/O Virtualization Technology Specification 48882): a unit's registers, its device table, its commands and its events.

pub mod command;
pub mod device;
pub mod event;
pub mod registers;

pub use command::Command;
pub use device::{DeviceEntry, InterruptControl, Mode};
pub use event::{Code, Event, Flags};
