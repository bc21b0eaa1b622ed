//! Rows of up to sixteen, which leaves and inner nodes have in common.

/// The number of keys in a row: fifteen keys separate sixteen places.
pub(super) const KEYS: usize = 15;

/// Counts the keys in `sorted`, whose unused places are `u64::MAX`, that are at most `addr`.
///
/// Takes two rounds of three comparisons. Those of a round do not depend on each other, so a processor overlaps them.
#[inline]
pub(super) fn upto(sorted: &[u64; KEYS], addr: u64) -> usize {
    // The first round finds the quarter, by its last key; the second counts the keys within the quarter.
    let le = |i: usize| usize::from(sorted[i] <= addr);
    // It is at most 12 already: the `min` lets the compiler drop the bounds checks.
    let quarter = (4 * (le(3) + le(7) + le(11))).min(KEYS - 3);
    quarter + le(quarter) + le(quarter + 1) + le(quarter + 2)
}

/// Moves the bits from place `p` up by one, which leaves a zero at `p`.
#[inline]
pub(super) fn spread(bits: u16, p: usize) -> u16 {
    let below = (1 << p) - 1;
    (bits & below) | ((bits & !below) << 1)
}

/// Removes the bit at place `p`, and moves the bits above it down by one.
#[inline]
pub(super) fn close(bits: u16, p: usize) -> u16 {
    let below = (1 << p) - 1;
    (bits & below) | ((bits >> 1) & !below)
}

/// Sixteen numbers below 128, one in each byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes([u8; 16]);

/// A one in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

impl Bytes {
    #[inline]
    pub(super) fn get(&self, i: usize) -> u8 {
        self.0[i & 15]
    }

    #[inline]
    pub(super) fn set(&mut self, i: usize, value: u8) {
        self.0[i & 15] = value;
    }

    #[inline]
    fn whole(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// A mask of the bytes of the first `len` numbers; `len` is at most 15.
    #[inline]
    fn below(len: usize) -> u128 {
        (1 << (8 * (len & 15))) - 1
    }

    /// Moves the numbers from place `p` up by one, which leaves a zero at `p`; the last number is lost.
    #[inline]
    pub(super) fn insert(&mut self, p: usize) {
        let (whole, below) = (self.whole(), Self::below(p));
        self.0 = ((whole & below) | ((whole & !below) << 8)).to_le_bytes();
    }

    /// Removes the number at place `p`, and moves those above it down by one; the last number becomes zero.
    #[inline]
    pub(super) fn remove(&mut self, p: usize) {
        let (whole, below) = (self.whole(), Self::below(p));
        self.0 = ((whole & below) | ((whole >> 8) & !below)).to_le_bytes();
    }

    /// Keeps the first `len` numbers, at most 15, and zeroes the others.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0 = (self.whole() & Self::below(len)).to_le_bytes();
    }

    /// Returns the numbers from place `from` on, moved to the front.
    pub(super) fn from(&self, from: usize) -> Self {
        Self((self.whole() >> (8 * (from & 15))).to_le_bytes())
    }

    /// Returns these numbers, followed from place `at` on by those of `right`; these must be zero from `at` on.
    pub(super) fn followed_by(&self, at: usize, right: &Self) -> Self {
        Self((self.whole() | right.whole() << (8 * (at & 15))).to_le_bytes())
    }

    /// Returns whether one of the numbers is `value`.
    #[inline]
    pub(super) fn has(&self, value: u8) -> bool {
        let half = |bytes: u64| {
            let zero_there = bytes ^ (u64::from(value) * ONES);
            // Subtracting 1 from each byte sets a top bit that was clear only if some byte was 0 and borrowed.
            zero_there.wrapping_sub(ONES) & !zero_there & (0x80 * ONES) != 0
        };
        half(self.whole() as u64) | half((self.whole() >> 64) as u64)
    }

    /// Returns a mask: bit `i` is set if number `i` is at least `least`, which is at most 128.
    #[inline]
    pub(super) fn at_least(&self, least: u8) -> u16 {
        let half = |bytes: u64| {
            // With its top bit set, a byte never borrows from the next. The bit survives if the number is large enough.
            let tops = ((bytes | (0x80 * ONES)) - u64::from(least) * ONES) & (0x80 * ONES);
            // The product gathers the bits of all bytes, in order, in its top byte. No two meet, so nothing carries.
            ((tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u16
        };
        half(self.whole() as u64) | half((self.whole() >> 64) as u64) << 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn bytes(values: &[u8]) -> Bytes {
        let mut bytes = Bytes::default();
        values.iter().enumerate().for_each(|(i, value)| bytes.set(i, *value));
        bytes
    }

    proptest! {
        #[test]
        fn counts_what_a_scan_counts(mut keys in prop::array::uniform15(0..200u64), addr in 0..210u64) {
            keys.sort_unstable();
            prop_assert_eq!(upto(&keys, addr), keys.iter().filter(|key| **key <= addr).count());
        }

        #[test]
        fn bytes_move_like_a_list(mut list in prop::collection::vec(0..64u8, 15), p in 0..15usize, least in 0..=64u8) {
            let mut row = bytes(&list);
            let above = |list: &[u8]| list.iter().rev().fold(0u16, |all, b| all << 1 | u16::from(*b >= least));
            prop_assert_eq!(row.at_least(least) & 0x7fff, above(&list));
            prop_assert_eq!(row.from(p).get(0), list[p]);
            prop_assert_eq!(row.has(least), list.contains(&least) || least == 0);
            row.insert(p);
            list.insert(p, 0);
            prop_assert_eq!((0..16).map(|i| row.get(i)).collect::<Vec<_>>(), list.clone());
            row.remove(p);
            list.remove(p);
            prop_assert_eq!((0..15).map(|i| row.get(i)).collect::<Vec<_>>(), list.clone());
            row.truncate(p);
            let joined = row.followed_by(p, &bytes(&list[p..]));
            prop_assert_eq!((0..15).map(|i| joined.get(i)).collect::<Vec<_>>(), list);
        }
    }
}
