//! What the kernel module `pmem_arena`, its Rust library and its clients exchange: the structures of `pmem_arena.h` (with programs) and of
//! `library.h` (between the module's C and its library).
//!
//! Sizes and offsets are stated here once. `tests/headers.rs` compiles the two headers, for 64 and for 32 bits, against every one of
//! them ([`LAYOUTS`]).
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

/// Registers that the numbers leave room for.
pub const VARIABLE: usize = 40;
/// Bytes of [`Region::why`].
pub const WHY: usize = 160;
/// The version of the interface.
pub const VERSION: u32 = 1;

/// Claims even what is not safe: over a BAR whose driver is bound, or with a type that its registers may not stand.
pub const FORCE: u32 = 1;
/// The file that asks holds the region.
pub const MINE: u32 = 2;

/// What has become of a claim: [`Region::state`].
pub mod state {
    /// It is held.
    pub const HELD: u32 = 1;
    /// Nobody holds it any more, but its registers could not be written yet; that is tried until they are.
    pub const PENDING: u32 = 2;
    /// A driver was bound to its device: its types were given back.
    pub const BOUND: u32 = 3;
    /// Its device was removed: its types were given back.
    pub const REMOVED: u32 = 4;
    /// Its BAR is elsewhere: its types were given back.
    pub const MOVED: u32 = 5;
}

/// Why a request was refused: [`Region::status`]. With each, the errno.
pub mod status {
    /// ENOSPC: the registers do not suffice.
    pub const FULL: u32 = 1;
    /// ENOSPC: as many claims are held as the module allows.
    pub const MANY: u32 = 2;
    /// EBUSY: somebody else holds addresses of it, or a driver is bound to the device.
    pub const BUSY: u32 = 3;
    /// EACCES: not without [`FORCE`](super::FORCE).
    pub const NOT_ALLOWED: u32 = 4;
    /// EINVAL: not within one BAR of a PCI function.
    pub const NO_BAR: u32 = 5;
    /// EINVAL: no whole pages, or no such attributes.
    pub const WRONG: u32 = 6;
    /// EAGAIN: registers changed while it was worked on.
    pub const CHANGED: u32 = 7;
    /// EAGAIN: it is given back, but registers could not be written yet; that is tried until they are.
    pub const PENDING: u32 = 8;
    /// EIO: a processor did not take a register; all were put back.
    pub const DIFFERS: u32 = 9;
    /// ENODEV: the claim has ended with its device.
    pub const ENDED: u32 = 10;
    /// ENOENT: there is no such claim.
    pub const NONE: u32 = 11;
    /// EPERM: another file holds it.
    pub const NOT_YOURS: u32 = 12;
    /// ENOMEM: there is no memory for it.
    pub const NO_MEMORY: u32 = 13;
    /// ENODEV: there is no such bridge, or it has no such window.
    pub const NO_BRIDGE: u32 = 14;
}

/// Which of a bridge's windows: [`Window::kind`].
pub mod window {
    /// Ports.
    pub const IO: u32 = 0;
    /// Memory.
    pub const MEM: u32 = 1;
    /// Prefetchable memory.
    pub const PREF: u32 = 2;
}

/// Every structure, as the C headers must have it.
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
