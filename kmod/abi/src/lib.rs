//! The structures that the kernel module `pmem_arena`, its Rust library and its clients exchange: those of
//! `pmem_arena.h`, shared with programs, and those of `library.h`, shared by the module's C half and its library.
//!
//! Sizes and offsets are stated only here. `tests/headers.rs` compiles the two headers, for 64 and for 32 bits, and
//! checks them against all of these ([`LAYOUTS`]).
#![no_std]
#![forbid(unsafe_code)]

mod image;
mod layout;
mod library;
mod user;

pub use image::{Difference, Image};
pub use layout::Layout;
pub use library::{Claim, Figures, Found};
pub use user::{Head, Info, Region, Span, Text, Window, Windows};

/// The number of variable registers that the structures have room for.
pub const VARIABLE: usize = 40;
/// The size of [`Region::why`] in bytes.
pub const WHY: usize = 160;
/// The version of the interface.
pub const VERSION: u32 = 1;

/// A flag that allows unsafe claims: over a BAR whose driver is bound, or with a type that the BAR's registers may
/// not tolerate.
pub const FORCE: u32 = 1;
/// A flag of a region that the asking file holds.
pub const MINE: u32 = 2;

/// The states of a claim, in [`Region::state`].
pub mod state {
    /// The claim is held.
    pub const HELD: u32 = 1;
    /// Nobody holds the claim any more, but its registers could not be written yet. The module keeps trying.
    pub const PENDING: u32 = 2;
    /// The claim ended because a driver was bound to its device. Its memory types were given back.
    pub const BOUND: u32 = 3;
    /// The claim ended because its device was removed. Its memory types were given back.
    pub const REMOVED: u32 = 4;
    /// The claim ended because its BAR moved. Its memory types were given back.
    pub const MOVED: u32 = 5;
}

/// The reasons for refusing a request, in [`Region::status`]. Each is given with its errno.
pub mod status {
    /// ENOSPC: there are too few registers.
    pub const FULL: u32 = 1;
    /// ENOSPC: the module's limit of claims is reached.
    pub const MANY: u32 = 2;
    /// EBUSY: a claim of any file, also your own, holds some of the addresses, or a driver is bound to the device. For
    /// windows: it overlaps a neighbour, leaves the window above it, or excludes something in it.
    pub const BUSY: u32 = 3;
    /// EACCES: this needs [`FORCE`](super::FORCE).
    pub const NOT_ALLOWED: u32 = 4;
    /// EINVAL: the range does not lie within one BAR of a PCI function.
    pub const NO_BAR: u32 = 5;
    /// EINVAL: the range does not consist of whole pages, or the attributes are invalid.
    pub const WRONG: u32 = 6;
    /// EAGAIN: the registers changed during the request. Try again.
    pub const CHANGED: u32 = 7;
    /// EAGAIN: the claim is given back, but its registers could not be written yet. The module keeps trying.
    pub const PENDING: u32 = 8;
    /// EIO: a processor or a bridge did not accept a register, or a register cannot be read. The registers were restored,
    /// unless [`Region::why`](super::Region::why) says otherwise.
    pub const DIFFERS: u32 = 9;
    /// ENODEV: the claim has ended with its device.
    pub const ENDED: u32 = 10;
    /// ENOENT: there is no such claim.
    pub const NONE: u32 = 11;
    /// EPERM: another file holds the claim.
    pub const NOT_YOURS: u32 = 12;
    /// ENOMEM: there is not enough memory for the request.
    pub const NO_MEMORY: u32 = 13;
    /// ENODEV: there is no such bridge, or it has no such window.
    pub const NO_BRIDGE: u32 = 14;
}

/// The kinds of bridge window, in [`Window::kind`].
pub mod window {
    /// The window for I/O ports.
    pub const IO: u32 = 0;
    /// The window for memory.
    pub const MEM: u32 = 1;
    /// The window for prefetchable memory.
    pub const PREF: u32 = 2;
}

/// The layouts of all structures, which the C headers must match.
pub const LAYOUTS: [Layout; 12] = [
    Head::LAYOUT,
    Info::LAYOUT,
    Span::LAYOUT,
    Region::LAYOUT,
    Text::LAYOUT,
    Window::LAYOUT,
    Windows::LAYOUT,
    Image::LAYOUT,
    Difference::LAYOUT,
    Found::LAYOUT,
    Claim::LAYOUT,
    Figures::LAYOUT,
];
