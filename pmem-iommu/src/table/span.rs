//! Spans of addresses, and parts of them.

use super::entry::shift_of;

/// The bits below a power of two.
pub(super) const fn mask(shift: u32) -> u64 {
    if shift >= 64 { u64::MAX } else { (1 << shift) - 1 }
}

/// An entry's part of a span: from, and to.
pub(super) fn part(level: u8, at: u64, last: u64) -> u64 {
    last.min(at | mask(shift_of(level)))
}

/// Whether a part is all that an entry has.
pub(super) fn is_whole(level: u8, at: u64, to: u64) -> bool {
    to - at == mask(shift_of(level))
}

/// Whether an address is below a pointer that may skip levels: the bits between are 0.
pub(super) fn reaches(level: u8, below: u8, at: u64) -> bool {
    at & mask(shift_of(level)) & !mask(shift_of(below + 1)) == 0
}
