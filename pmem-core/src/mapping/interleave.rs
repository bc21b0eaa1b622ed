//! Interleaving: consecutive chunks of a range rotate over a set of targets.

use super::MappingError;
use pmem_space::AddrRange;

/// One target's share of an interleaved range, by modulo arithmetic (CXL 3.1, 8.2.4.20.13).
///
/// The input is cut into chunks of `granularity` bytes. Every `ways`-th chunk, beginning with number `position`, goes
/// to this target, where the chunks follow one another from `output` on.
///
/// # Examples
/// 1 MiB interleaved over two DIMMs, 4 KiB at a time; this is the second DIMM's share:
/// ```
/// use pmem_core::{AddrRange, Interleave};
///
/// let share = Interleave::new(AddrRange::sized(0x1_0000_0000, 0x10_0000)?, 2, 0x1000, 1, 0)?;
/// assert_eq!(share.translate(0x1_0000_0000), None, "the first chunk is the other DIMM's");
/// assert_eq!(share.translate(0x1_0000_1234), Some(0x234));
/// assert_eq!(share.translate(0x1_0000_3000), Some(0x1000));
/// assert_eq!(share.invert(0x1000), Some(0x1_0000_3000));
/// assert_eq!(share.output().len(), 0x8_0000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interleave {
    input: AddrRange,
    ways: u8,
    granularity: u32,
    position: u8,
    output: u64,
}

impl Interleave {
    /// Returns the share of the target at `position` (from 0), whose part starts at `output`.
    ///
    /// # Errors
    /// [`MappingError`] for what no decoder can do: `ways` other than 1, 2, 3, 4, 6, 8, 12 or 16; a `granularity`
    /// that is not a power of two from 256 bytes to 16 KiB; a `position` that is not below `ways`; an `input` whose
    /// length is not a multiple of `ways` times `granularity`; an output that wraps.
    pub fn new(
        input: AddrRange,
        ways: u8,
        granularity: u32,
        position: u8,
        output: u64,
    ) -> Result<Self, MappingError> {
        if ![1, 2, 3, 4, 6, 8, 12, 16].contains(&ways) {
            return Err(MappingError::Ways(ways));
        }
        if !granularity.is_power_of_two() || !(256..=16384).contains(&granularity) {
            return Err(MappingError::Granularity(granularity));
        }
        if position >= ways {
            return Err(MappingError::Position { position, ways });
        }
        let stride = u64::from(granularity) * u64::from(ways);
        if (input.last() - input.start()) % stride != stride - 1 {
            return Err(MappingError::Misaligned { range: input, granule: stride });
        }
        let share = (input.last() - input.start()) / u64::from(ways);
        if output.checked_add(share).is_none() {
            return Err(MappingError::Wraps { range: input, offset: output.wrapping_sub(input.start()) });
        }
        Ok(Self { input, ways, granularity, position, output })
    }

    /// Returns the whole interleaved range, in the input arena.
    #[must_use]
    pub const fn input(&self) -> AddrRange {
        self.input
    }

    /// Returns the number of targets.
    #[must_use]
    pub const fn ways(&self) -> u8 {
        self.ways
    }

    /// Returns the size of a chunk, in bytes.
    #[must_use]
    pub const fn granularity(&self) -> u32 {
        self.granularity
    }

    /// Returns this target's position in the set, from 0.
    #[must_use]
    pub const fn position(&self) -> u8 {
        self.position
    }

    /// Returns the target's addresses that the share reaches.
    #[must_use]
    pub fn output(&self) -> AddrRange {
        let share = (self.input.last() - self.input.start()) / u64::from(self.ways);
        // The constructor checked that this does not wrap.
        AddrRange::inclusive(self.output, self.output.saturating_add(share)).unwrap_or(self.input)
    }

    /// Whether `other` is another share of the same set: same input and geometry, different position.
    #[must_use]
    pub fn shares_with(&self, other: &Self) -> bool {
        (self.input, self.ways, self.granularity) == (other.input, other.ways, other.granularity)
            && self.position != other.position
    }

    /// Returns the target's address for an input address; `None` if it is outside the input or belongs to another
    /// target.
    #[must_use]
    pub fn translate(&self, addr: u64) -> Option<u64> {
        if !self.input.contains(addr) {
            return None;
        }
        let (chunk, within) = self.chunk_of(addr);
        let ways = u64::from(self.ways);
        (chunk % ways == u64::from(self.position))
            .then(|| self.output + chunk / ways * u64::from(self.granularity) + within)
    }

    /// Returns the input address for the target's address `out`; `None` if this share does not reach it.
    #[must_use]
    pub fn invert(&self, out: u64) -> Option<u64> {
        let granularity = u64::from(self.granularity);
        let local = out.checked_sub(self.output).filter(|_| self.output().contains(out))?;
        let chunk = local / granularity * u64::from(self.ways) + u64::from(self.position);
        Some(self.input.start() + chunk * granularity + local % granularity)
    }

    fn chunk_of(&self, addr: u64) -> (u64, u64) {
        let offset = addr - self.input.start();
        let granularity = u64::from(self.granularity);
        (offset / granularity, offset % granularity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_ways_alternate() {
        let input = AddrRange::sized(0x2_1000_0000, 1 << 20).unwrap();
        let second = Interleave::new(input, 2, 8192, 1, 0).unwrap();
        assert_eq!(second.translate(0x2_1000_0000), None);
        assert_eq!(second.translate(0x2_1000_2004), Some(4));
        assert_eq!(second.translate(0x2_1000_6000), Some(0x2000));
        assert_eq!(second.output(), AddrRange::sized(0, 1 << 19).unwrap());
    }

    #[test]
    fn what_no_decoder_can_do_is_refused() {
        let input = AddrRange::sized(0, 3 * 256).unwrap();
        assert_eq!(Interleave::new(input, 5, 256, 0, 0), Err(MappingError::Ways(5)));
        assert_eq!(Interleave::new(input, 3, 300, 0, 0), Err(MappingError::Granularity(300)));
        assert_eq!(
            Interleave::new(input, 3, 256, 3, 0),
            Err(MappingError::Position { position: 3, ways: 3 })
        );
        assert!(matches!(Interleave::new(input, 2, 256, 0, 0), Err(MappingError::Misaligned { .. })));
        assert!(Interleave::new(input, 3, 256, 2, 0).is_ok());
        assert!(Interleave::new(AddrRange::ALL, 16, 16384, 15, 0).is_ok());
        assert!(Interleave::new(AddrRange::ALL, 1, 16384, 0, 1).is_err());
    }

    proptest! {
        #[test]
        fn each_address_goes_to_exactly_one_target_and_back(
            ways in prop::sample::select(&[1u8, 2, 3, 4, 6, 8, 12, 16][..]),
            power in 8u32..15,
            rounds in 1u64..50,
            start in 0u64..1 << 40,
            at in 0u64..1 << 30,
        ) {
            let granularity = 1u32 << power;
            let len = rounds * u64::from(ways) * u64::from(granularity);
            let input = AddrRange::sized(start, len).unwrap();
            let addr = start + at % len;
            let hits: Vec<_> = (0..ways)
                .filter_map(|p| {
                    let share = Interleave::new(input, ways, granularity, p, 0x1000).unwrap();
                    share.translate(addr).map(|out| (share, out))
                })
                .collect();
            prop_assert_eq!(hits.len(), 1);
            let (share, out) = hits[0];
            prop_assert!(share.output().contains(out));
            prop_assert_eq!(share.invert(out), Some(addr));
        }
    }
    use std::vec::Vec;
}
