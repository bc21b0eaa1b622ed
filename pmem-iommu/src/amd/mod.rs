//! AMD-Vi (AMD I/O Virtualization Technology Specification 48882): registers, the device table, commands and
//! events.

pub mod command;
pub mod device;
pub mod event;
pub mod registers;

pub use command::Command;
pub use device::{DeviceEntry, InterruptControl, Mode};
pub use event::{Code, Event, Flags};

/// The device addresses that AMD's processors reserve for HyperTransport (2.1.2).
pub const HYPER_TRANSPORT: core::ops::RangeInclusive<u64> = 0xfd_0000_0000..=0xff_ffff_ffff;
/// The part of [`HYPER_TRANSPORT`] used for interrupts and ends of interrupts.
pub const LINK_INTERRUPTS: core::ops::RangeInclusive<u64> = 0xfd_f800_0000..=0xfd_f8ff_ffff;
