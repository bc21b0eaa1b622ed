//! What it costs to cross an interconnect.

use core::fmt;
use core::ops::Add;

/// The cost of crossing, from initiator to target: unitless, and comparable only within one machine.
///
/// Costs add with saturation, one below [`Metric::UNREACHABLE`]: a cost too large to count is still a path,
/// and what is unreachable stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric(u32);

impl Metric {
    /// No cost.
    pub const ZERO: Self = Self(0);
    /// The largest cost that is still a path.
    pub const FARTHEST: Self = Self(u32::MAX - 1);
    /// No path: no maximum admits it.
    pub const UNREACHABLE: Self = Self(u32::MAX);

    /// Makes a cost; `u32::MAX` is [`Metric::UNREACHABLE`].
    pub const fn new(cost: u32) -> Self {
        Self(cost)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether there is a path at all.
    pub const fn is_reachable(self) -> bool {
        self.0 != u32::MAX
    }

    /// Whether a path of this cost is within `max`.
    pub fn within(self, max: Self) -> bool {
        self.is_reachable() && self <= max
    }
}

impl Add for Metric {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        if self.is_reachable() && other.is_reachable() {
            Self(self.0.saturating_add(other.0)).min(Self::FARTHEST)
        } else {
            Self::UNREACHABLE
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_reachable() { write!(f, "{}", self.0) } else { f.write_str("unreachable") }
    }
}

/// Measured performance of one direction of an interconnect, beside its metric; `None` is unknown.
///
/// Along a path latency adds up and bandwidth is the least (the algebra of CXL's CDAT and ACPI's HMAT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Performance {
    /// Nanoseconds for a read.
    pub read_latency: Option<u32>,
    /// Nanoseconds for a write.
    pub write_latency: Option<u32>,
    /// MiB/s for reads.
    pub read_bandwidth: Option<u32>,
    /// MiB/s for writes.
    pub write_bandwidth: Option<u32>,
}

impl Performance {
    /// The performance of this stretch followed by `next`: unknown where either is.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let sum = |a: Option<u32>, b: Option<u32>| Some(a?.saturating_add(b?));
        let least = |a: Option<u32>, b: Option<u32>| Some(a?.min(b?));
        Self {
            read_latency: sum(self.read_latency, next.read_latency),
            write_latency: sum(self.write_latency, next.write_latency),
            read_bandwidth: least(self.read_bandwidth, next.read_bandwidth),
            write_bandwidth: least(self.write_bandwidth, next.write_bandwidth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_saturate_below_unreachable() {
        assert_eq!(Metric::FARTHEST + Metric::new(1), Metric::FARTHEST);
        assert_eq!(Metric::UNREACHABLE + Metric::ZERO, Metric::UNREACHABLE);
        assert!(Metric::FARTHEST.within(Metric::UNREACHABLE));
        assert!(!Metric::UNREACHABLE.within(Metric::UNREACHABLE));
    }

    #[test]
    fn latency_adds_and_bandwidth_is_the_least() {
        let near =
            Performance { read_latency: Some(80), read_bandwidth: Some(100), ..Performance::default() };
        let far = Performance { read_latency: Some(50), read_bandwidth: Some(40), ..Performance::default() };
        let both = near.then(far);
        assert_eq!((both.read_latency, both.read_bandwidth, both.write_latency), (Some(130), Some(40), None));
    }
}
