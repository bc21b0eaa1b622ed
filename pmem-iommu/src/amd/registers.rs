//! A unit's registers (3.4), 8 bytes each: their offsets and bits.

/// The address of the device table, and its number of pages less one (bits 8:0).
pub const DEVICE_TABLE: u64 = 0x00;
/// The address of the command buffer, and its number of commands as a power of two (bits 59:56).
pub const COMMANDS: u64 = 0x08;
/// The address of the event log, and its number of events as a power of two (bits 59:56).
pub const EVENTS: u64 = 0x10;
/// Control. Its bits follow below.
pub const CONTROL: u64 = 0x18;
/// The features of the unit.
pub const FEATURES: u64 = 0x30;
/// The byte offset of the command that the unit fetches next.
pub const COMMAND_HEAD: u64 = 0x2000;
/// The byte offset at which software writes the next command.
pub const COMMAND_TAIL: u64 = 0x2008;
/// The byte offset of the event that software reads next.
pub const EVENT_HEAD: u64 = 0x2010;
/// The byte offset at which the unit writes the next event.
pub const EVENT_TAIL: u64 = 0x2018;
/// Status. Its bits follow below.
pub const STATUS: u64 = 0x2020;

/// [`CONTROL`]: enables translation.
pub const TRANSLATION: u64 = 1;
/// [`CONTROL`]: enables the event log.
pub const EVENT_LOG: u64 = 1 << 2;
/// [`CONTROL`]: makes table walks coherent with processor caches.
pub const COHERENT: u64 = 1 << 10;
/// [`CONTROL`]: enables the command buffer.
pub const COMMAND_BUFFER: u64 = 1 << 12;

/// [`FEATURES`]: one command can invalidate everything (2.4.8).
pub const FORGETS_ALL: u64 = 1 << 6;

/// [`STATUS`]: the event log overflowed and events were lost.
pub const EVENTS_LOST: u64 = 1;
/// [`STATUS`]: the unit writes events.
pub const LOGGING: u64 = 1 << 3;
/// [`STATUS`]: the unit fetches commands.
pub const FETCHING: u64 = 1 << 4;

/// The smallest number of commands or events in a buffer, as a power of two: 256 entries of 16 bytes fill a page.
pub const LEAST_ORDER: u8 = 8;

/// Returns the value of [`DEVICE_TABLE`] for a table at `at` with this many entries of 32 bytes.
#[must_use]
pub const fn device_table(at: u64, entries: u64) -> u64 {
    let pages = (entries * 32).div_ceil(4096);
    at & 0xf_ffff_ffff_f000 | (if pages == 0 { 0 } else { pages - 1 } & 0x1ff)
}

/// Returns the value of [`COMMANDS`] or [`EVENTS`] for a buffer at `at` with 2^`order` entries.
#[must_use]
pub const fn buffer(at: u64, order: u8) -> u64 {
    at & 0xf_ffff_ffff_f000 | (order as u64 & 0xf) << 56
}
