//! Arithmetic on spans of addresses.

use super::entry::shift_of;

/// Returns a mask of the `shift` lowest bits.
pub(super) const fn mask(shift: u32) -> u64 {
    if shift >= 64 { u64::MAX } else { (1 << shift) - 1 }
}

/// Returns the last address, up to `last`, that the same entry of `level` covers as `at`.
pub(super) fn part(level: u8, at: u64, last: u64) -> u64 {
    last.min(at | mask(shift_of(level)))
}

/// Returns whether `at` to `to` is the whole range of one entry of `level`.
pub(super) fn is_whole(level: u8, at: u64, to: u64) -> bool {
    to - at == mask(shift_of(level))
}

/// Returns whether a pointer from `level` to a table of level `below` covers `at`: the address bits of the skipped
/// levels must be 0.
pub(super) fn reaches(level: u8, below: u8, at: u64) -> bool {
    at & mask(shift_of(level)) & !mask(shift_of(below + 1)) == 0
}
