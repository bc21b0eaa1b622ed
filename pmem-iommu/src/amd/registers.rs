//! A unit's registers (3.4), all of 8 bytes: where they are, and their bits.

/// Where the device table is, and how many pages it has, less one (bits 8:0).
pub const DEVICE_TABLE: u64 = 0x00;
/// Where the commands are, and how many, as a power of two (bits 59:56).
pub const COMMANDS: u64 = 0x08;
/// Where the events are, and how many, as a power of two (bits 59:56).
pub const EVENTS: u64 = 0x10;
/// Control: see the bits below.
pub const CONTROL: u64 = 0x18;
/// What the unit can do.
pub const FEATURES: u64 = 0x30;
/// The byte offset of the command that is fetched next.
pub const COMMAND_HEAD: u64 = 0x2000;
/// The byte offset of the command that is written next.
pub const COMMAND_TAIL: u64 = 0x2008;
/// The byte offset of the event that is read next.
pub const EVENT_HEAD: u64 = 0x2010;
/// The byte offset of the event that the unit writes next.
pub const EVENT_TAIL: u64 = 0x2018;
/// Status: see the bits below.
pub const STATUS: u64 = 0x2020;

/// [`CONTROL`]: the unit translates.
pub const TRANSLATION: u64 = 1;
/// [`CONTROL`]: events are written.
pub const EVENT_LOG: u64 = 1 << 2;
/// [`CONTROL`]: walks of tables are coherent with processors' caches.
pub const COHERENT: u64 = 1 << 10;
/// [`CONTROL`]: commands are fetched.
pub const COMMAND_BUFFER: u64 = 1 << 12;

/// [`FEATURES`]: everything can be forgotten by one command (2.4.8).
pub const FORGETS_ALL: u64 = 1 << 6;

/// [`STATUS`]: events were lost.
pub const EVENTS_LOST: u64 = 1;
/// [`STATUS`]: events are written.
pub const LOGGING: u64 = 1 << 3;
/// [`STATUS`]: commands are fetched.
pub const FETCHING: u64 = 1 << 4;

/// The least number of commands or events of a buffer, as a power of two: 256 of 16 bytes are a page.
pub const LEAST_ORDER: u8 = 8;

/// What [`DEVICE_TABLE`] gets for a table of so many entries of 32 bytes.
#[must_use]
pub const fn device_table(at: u64, entries: u64) -> u64 {
    let pages = (entries * 32).div_ceil(4096);
    at & 0xf_ffff_ffff_f000 | (if pages == 0 { 0 } else { pages - 1 } & 0x1ff)
}

/// What [`COMMANDS`] or [`EVENTS`] gets for 2^`order` of them.
#[must_use]
pub const fn buffer(at: u64, order: u8) -> u64 {
    at & 0xf_ffff_ffff_f000 | (order as u64 & 0xf) << 56
}
