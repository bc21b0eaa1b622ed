//! Layouts and requests, the same for every subject.

use crate::subject::{Live, Subject, Want};
use pmem_space::AddrRange;
use std::time::{Duration, Instant};

pub const PAGE: u64 = 4096;

/// Marsaglia's xorshift64*: fast, because a benchmark must not wait for its random numbers.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Returns a size from 4 KiB to 16 MiB in whole pages; every power of two is equally likely.
    pub fn size(&mut self) -> u64 {
        let order = self.below(12);
        let base = PAGE << order;
        (base + self.below(base)) & !(PAGE - 1)
    }

    /// Returns a power of two from a page up to the size.
    pub fn align(&mut self, size: u64) -> u64 {
        PAGE << self.below(u64::from((size / PAGE).ilog2()) + 1)
    }

    pub fn want(&mut self) -> Want {
        let len = self.size();
        Want { len, align: self.align(len), window: None }
    }
}

/// The mean of [`Rng::size`], in bytes.
const MEAN: u64 = (3 * PAGE / 2) * 4095 / 12;

/// The space for `n` regions: twice what the layout takes at first, so that no request fails for lack of room.
pub fn space(n: usize) -> AddrRange {
    let bytes = (MEAN * n as u64 * 3).next_multiple_of(1 << 24) + (1 << 32);
    AddrRange::sized(1 << 32, bytes).expect("far below 2^64")
}

/// A layout in order of address, of which a third is freed, so that `n` regions remain.
pub struct Layout {
    /// All regions that are taken at first, in order of address.
    pub all: Vec<AddrRange>,
    /// The indexes of those that are then freed.
    pub gone: Vec<usize>,
}

impl Layout {
    pub fn new(n: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let many = n + n / 2;
        let mut next = space(n).start();
        let all = (0..many).map(|_| {
            let want = rng.want();
            let start = next.next_multiple_of(want.align);
            next = start + want.len;
            AddrRange::sized(start, want.len).expect("far below 2^64")
        });
        let all: Vec<AddrRange> = all.collect();
        let mut order: Vec<usize> = (0..many).collect();
        for i in (1..many).rev() {
            order.swap(i, rng.below(i as u64 + 1) as usize);
        }
        order.truncate(many - n);
        Self { all, gone: order }
    }

    /// Builds the layout; `None` if that takes longer than `budget`, or if the subject refuses a range.
    pub fn build(&self, subject: &mut dyn Subject, budget: Duration) -> Option<Vec<Live>> {
        let begun = Instant::now();
        let mut live: Vec<Option<Live>> = Vec::with_capacity(self.all.len());
        for (i, range) in self.all.iter().enumerate() {
            if i % 64 == 0 && begun.elapsed() > budget {
                return None;
            }
            live.push(Some(subject.adopt(*range)?));
        }
        for i in &self.gone {
            if begun.elapsed() > budget {
                return None;
            }
            subject.free(&live[*i].take()?);
        }
        Some(live.into_iter().flatten().collect())
    }
}
