//! Leaves of the free map: the free pages among 4,096 page frames, one bit each.

/// The base-2 logarithm of the number of page frames of a leaf: 64 words of 64 bits.
pub(super) const LEAF_BITS: u32 = 12;

/// The free pages among 4,096 consecutive page frames.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// A set bit is a free page.
    words: [u64; 64],
    /// Those of the free pages that are known to be zeroed.
    zeroed: [u64; 64],
    /// The words that have a free page.
    some: u64,
    /// The words whose pages are all free.
    full: u64,
    /// The words that have a free page that is zeroed.
    clean: u64,
    /// The number of page frames that are held, free or not. At zero the leaf is dropped.
    pub(super) held: u32,
}

/// What an inner node knows of a child: two upper bounds, exact right after they are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// The most pages of a run, counted from its first page in the child, no matter where the run began or how far
    /// beyond the child it ends.
    pub(super) longest: u32,
    /// The order plus one of the largest naturally aligned free block inside the child; 0 if there is none.
    pub(super) order: u8,
}

impl Summary {
    /// The summary of a child of 2^`bits` page frames that is all free. A run may continue beyond it, and how far is
    /// not kept, so no length is ruled out.
    pub(super) const fn full(bits: u32) -> Self {
        Self { longest: u32::MAX, order: bits as u8 + 1 }
    }
}

/// Returns a word with the bits `from..to` set.
pub(super) const fn bits(from: u32, to: u32) -> u64 {
    if from >= to { 0 } else { u64::MAX << from & u64::MAX >> (64 - to) }
}

/// Returns the order plus one of the largest naturally aligned block of set bits; 0 if there are none.
pub(super) fn order_of(word: u64) -> u8 {
    const ALIGNED: [u64; 6] = [
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x1_0000_0001,
        1,
    ];
    let mut blocks = word;
    let mut order = u8::from(word != 0);
    // After round `i`, a set bit means that 2^(i+1) set bits start there, at a multiple of that length: two
    // neighbouring blocks of half the size were both complete.
    for (i, aligned) in ALIGNED.into_iter().enumerate() {
        blocks &= blocks >> (1 << i) & aligned;
        if blocks == 0 {
            return order;
        }
        order += 1;
    }
    order
}

/// Returns a word with every `step`-th bit set, from the lowest; `step` is a power of two up to 64.
const fn every(step: u64) -> u64 {
    // All ones divided by a group of `step` ones leaves the lowest bit of each group.
    if step >= 64 { 1 } else { u64::MAX / ((1 << step) - 1) }
}

impl Leaf {
    pub(super) const fn new() -> Self {
        Self { words: [0; 64], zeroed: [0; 64], some: 0, full: 0, clean: 0, held: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.some == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.full == u64::MAX
    }

    pub(super) fn is_free(&self, at: u32) -> bool {
        self.words[at as usize >> 6 & 63] >> (at & 63) & 1 != 0
    }

    pub(super) fn has_zeroed(&self) -> bool {
        self.clean != 0
    }

    /// Counts the free pages among `from..to`.
    pub(super) fn count(&self, from: u32, to: u32) -> u32 {
        parts(from, to).map(|(w, mask)| (self.words[w] & mask).count_ones()).sum()
    }

    /// Frees the pages `from..to`.
    pub(super) fn give(&mut self, from: u32, to: u32, zeroed: bool) {
        for (w, mask) in parts(from, to) {
            self.words[w] |= mask;
            if zeroed {
                self.zeroed[w] |= mask;
                self.clean |= 1 << w;
            }
            self.some |= 1 << w;
            if self.words[w] == u64::MAX {
                self.full |= 1 << w;
            }
        }
    }

    /// Takes the pages `from..to` and returns how many of them are zeroed.
    pub(super) fn take(&mut self, from: u32, to: u32) -> u32 {
        let mut zeroed = 0;
        for (w, mask) in parts(from, to) {
            // Keep the three word sets exact: searches skip words by them and must never skip a free page.
            zeroed += (self.zeroed[w] & mask).count_ones();
            self.words[w] &= !mask;
            self.zeroed[w] &= !mask;
            self.full &= !(1 << w);
            if self.words[w] == 0 {
                self.some &= !(1 << w);
            }
            if self.zeroed[w] == 0 {
                self.clean &= !(1 << w);
            }
        }
        zeroed
    }

    /// Returns the page frame numbers modulo 64 that have a free page.
    pub(super) fn colours(&self) -> u64 {
        self.words.iter().fold(0, |all, word| all | word)
    }

    /// Whether any word has a free page at this bit, that is, a page frame number modulo 64.
    pub(super) fn has_colour(&self, bit: u32) -> bool {
        self.words.iter().rev().any(|word| word >> bit & 1 != 0)
    }

    /// Returns the lowest free page whose number modulo 64 is in `colours`: a zeroed one if `zeroed`, else one that
    /// is not, and one of the other kind only if there is none. Also returns whether the page is zeroed.
    pub(super) fn pick(&self, colours: u64, zeroed: bool) -> Option<(u32, bool)> {
        // XOR with all ones turns the zeroed pages into the others; ANDed with the free pages, both kinds take one
        // code path.
        let flip = if zeroed { 0 } else { u64::MAX };
        let of_kind =
            self.lowest(|w| self.words[w] & colours & (self.zeroed[w] ^ flip)).map(|at| (at, zeroed));
        of_kind.or_else(|| self.lowest(|w| self.words[w] & colours).map(|at| (at, !zeroed)))
    }

    fn lowest(&self, word: impl Fn(usize) -> u64) -> Option<u32> {
        let mut some = self.some;
        while some != 0 {
            let w = some.trailing_zeros();
            let found = word(w as usize & 63);
            if found != 0 {
                return Some(w << 6 | found.trailing_zeros());
            }
            some &= some - 1;
        }
        None
    }

    /// Returns the first page at or after `from` that is free (or used, if `free` is false); 4,096 if there is none.
    pub(super) fn next(&self, from: u32, free: bool) -> u32 {
        // Inverted, a used page is a set bit too, so both searches are "find the next one".
        let Some(first) = self.words.get(from as usize >> 6) else { return 1 << LEAF_BITS };
        let flip = if free { 0 } else { u64::MAX };
        let here = (first ^ flip) & u64::MAX << (from & 63);
        if here != 0 {
            return from & !63 | here.trailing_zeros();
        }
        // All words between here and the next candidate are known without a look at them.
        let some = if free { self.some } else { !self.full };
        let above = some & bits((from >> 6) + 1, 64);
        if above == 0 {
            return 1 << LEAF_BITS;
        }
        let w = above.trailing_zeros();
        w << 6 | (self.words[w as usize & 63] ^ flip).trailing_zeros()
    }

    /// Returns the first page at or after `from`, at a multiple of `align` from the leaf's start, at which `len` free
    /// pages begin as far as can be seen here: only the first 64 of them are checked, and pages beyond the leaf count
    /// as free. The caller checks the rest.
    pub(super) fn candidate(&self, from: u32, len: u64, align: u64) -> Option<u32> {
        let len = len.min(64) as u32;
        // The words that contain a multiple, and the bits of a word that are one. Leaves start at multiples of 4,096,
        // so larger alignments only leave the leaf's start.
        let (words, at) = match align {
            ..=64 => (u64::MAX, every(align)),
            _ => (every((align / 64).min(64)), 1),
        };
        let mut some = self.some & bits(from >> 6, 64) & words;
        while some != 0 {
            let w = some.trailing_zeros();
            some &= some - 1;
            let next = self.words.get(w as usize + 1).copied().unwrap_or(u64::MAX);
            // A bit is set if `have` free pages begin there. ANDing that with itself shifted by `more` ≤ `have` makes
            // it `have + more`, so the length doubles each round. 64 pages from any bit fit into two words.
            let mut begins = u128::from(self.words[w as usize & 63]) | u128::from(next) << 64;
            let mut have = 1;
            while have < len && begins as u64 != 0 {
                let more = have.min(len - have);
                begins &= begins >> more;
                have += more;
            }
            let below = if w == from >> 6 { u64::MAX << (from & 63) } else { u64::MAX };
            let begins = begins as u64 & below & at;
            if begins != 0 {
                return Some(w << 6 | begins.trailing_zeros());
            }
        }
        None
    }

    /// Returns the length of the longest run, and the length of the run that reaches the leaf's end, or 0.
    pub(super) fn longest(&self) -> (u32, u32) {
        let (mut longest, mut run) = (0, 0);
        for word in self.words {
            if word == u64::MAX {
                run += 64;
                continue;
            }
            longest = longest.max(run + word.trailing_ones());
            // Each round shortens every run by one page, so the word is empty after as many rounds as its longest run
            // has pages.
            let (mut rest, mut inside) = (word, 0);
            while rest != 0 {
                rest &= rest << 1;
                inside += 1;
            }
            longest = longest.max(inside);
            run = word.leading_ones();
        }
        (longest.max(run), run)
    }

    /// Returns the last used page at or before `from`.
    pub(super) fn last_used(&self, from: u32) -> Option<u32> {
        let here = !self.words[from as usize >> 6 & 63] & bits(0, (from & 63) + 1);
        if here != 0 {
            return Some(from & !63 | (63 - here.leading_zeros()));
        }
        let below = !self.full & bits(0, from >> 6);
        if below == 0 {
            return None;
        }
        let w = 63 - below.leading_zeros();
        Some(w << 6 | (63 - (!self.words[w as usize & 63]).leading_zeros()))
    }

    /// Returns the order plus one of the largest naturally aligned free block; 0 if there is none.
    pub(super) fn order(&self) -> u8 {
        // A word that is all free is a block of order 6, and no block inside a word is larger.
        if self.full != 0 {
            return order_of(self.full) + 6;
        }
        let mut order = 0;
        let mut some = self.some;
        while some != 0 && order < 6 {
            order = order.max(order_of(self.words[some.trailing_zeros() as usize & 63]));
            some &= some - 1;
        }
        order
    }
}

/// Splits the pages `from..to` by words: the index of each word and the bits in it.
fn parts(from: u32, to: u32) -> impl Iterator<Item = (usize, u64)> {
    let words = if from < to { from >> 6..((to - 1) >> 6) + 1 } else { 0..0 };
    words.map(move |w| {
        let (low, high) = (from.max(w << 6) & 63, to.min((w + 1) << 6) - (w << 6));
        (w as usize & 63, bits(low, high))
    })
}

/// Returns the length of a run, cut off at the largest value.
pub(super) fn length(pages: u64) -> u32 {
    u32::try_from(pages).unwrap_or(u32::MAX)
}

/// The number of page frames of a leaf.
pub(super) const fn leaf_frames() -> u64 {
    1 << LEAF_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_naturally_aligned() {
        assert_eq!(order_of(0), 0);
        assert_eq!(order_of(0b1), 1);
        assert_eq!(order_of(0b0110), 1);
        assert_eq!(order_of(0b1100), 2);
        assert_eq!(order_of(u64::MAX), 7);
        assert_eq!(order_of(u64::MAX << 32), 6);
        assert_eq!(order_of(u64::MAX << 16), 6);
        assert_eq!(order_of(u64::MAX >> 1 & !1), 5);
    }

    #[test]
    fn bits_are_half_open() {
        assert_eq!(bits(0, 64), u64::MAX);
        assert_eq!(bits(3, 5), 0b11000);
        assert_eq!(bits(63, 64), 1 << 63);
    }
}
