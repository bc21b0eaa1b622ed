//! Extracts fields of registers and table entries.

/// Returns the bits of a word from `high` down to `low`, both inclusive.
pub(crate) const fn bits(word: u64, high: u32, low: u32) -> u64 {
    word >> low & (u64::MAX >> (63 - (high - low)))
}

/// Returns whether bit `at` is set.
pub(crate) const fn bit(word: u64, at: u32) -> bool {
    word >> at & 1 != 0
}
