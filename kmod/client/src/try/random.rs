//! Reproducible pseudo-random numbers (xorshift64*, Vigna 2016).

use pmem_arena::Region;

pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    /// Returns a claim at a random place within a BAR.
    pub fn region(&mut self, start: u64, len: u64) -> Region {
        let size = 0x1000 << self.below(9);
        let at = start + self.below(len / size) * size;
        Region::new(at, at + (size - 1), super::FRAMEBUF, super::RW, 1 << self.below(4))
    }
}
