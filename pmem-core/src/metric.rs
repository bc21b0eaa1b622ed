//! The cost of crossing an interconnect.

use core::fmt;
use core::ops::Add;

/// The cost of crossing an interconnect, from initiator to target. It has no unit, and compares only within one
/// machine.
///
/// Costs add with saturation to [`Metric::FARTHEST`], one below [`Metric::UNREACHABLE`]: a path whose cost overflows
/// is still a path, and what is unreachable stays unreachable.
///
/// # Examples
/// ```
/// use pmem_core::Metric;
///
/// let (bridge, link) = (Metric::new(10), Metric::new(11));
/// assert_eq!(bridge + link, Metric::new(21));
/// assert!((bridge + link).within(Metric::new(21)));
/// assert_eq!(Metric::FARTHEST + bridge, Metric::FARTHEST);
/// assert_eq!(Metric::UNREACHABLE + bridge, Metric::UNREACHABLE);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric(u32);

impl Metric {
    /// The cost of staying in the same arena.
    pub const ZERO: Self = Self(0);
    /// The largest cost of a path.
    pub const FARTHEST: Self = Self(u32::MAX - 1);
    /// The cost of no path. It is not [`within`](Self::within) any maximum.
    pub const UNREACHABLE: Self = Self(u32::MAX);

    /// Returns a cost. `u32::MAX` is [`Metric::UNREACHABLE`].
    #[must_use]
    pub const fn new(cost: u32) -> Self {
        Self(cost)
    }

    /// Returns the cost as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is the cost of a path, not [`Metric::UNREACHABLE`].
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        self.0 != u32::MAX
    }

    /// Whether there is a path and its cost is at most `max`.
    #[must_use]
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

/// The measured performance of one direction of an interconnect. `None` means unknown.
///
/// Along a path latencies add up, and the lowest bandwidth counts, as in CXL's CDAT and ACPI's HMAT.
///
/// # Examples
/// ```
/// use pmem_core::Performance;
///
/// let local = Performance { read_latency: Some(80), read_bandwidth: Some(100_000), ..Performance::default() };
/// let cxl = Performance { read_latency: Some(170), read_bandwidth: Some(28_000), ..Performance::default() };
/// let path = local.then(cxl);
/// assert_eq!((path.read_latency, path.read_bandwidth), (Some(250), Some(28_000)));
/// assert_eq!(path.write_latency, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Performance {
    /// The latency of a read, in nanoseconds.
    pub read_latency: Option<u32>,
    /// The latency of a write, in nanoseconds.
    pub write_latency: Option<u32>,
    /// The bandwidth of reads, in MiB/s.
    pub read_bandwidth: Option<u32>,
    /// The bandwidth of writes, in MiB/s.
    pub write_bandwidth: Option<u32>,
}

impl Performance {
    /// Returns the performance of a path: this stretch, then `next`. A figure is unknown where either of the two is.
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
