//! Addresses, ranges and sizes, formatted for people and for programs.

use pmem_core::AddrRange;
use serde::{Serialize, Serializer};
use std::fmt;

/// An address. In JSON it is a string such as `"0xfee00000"`, because JSON numbers lose precision above 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr(pub u64);

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Addr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Formats a range from its first and last address (inclusive) the way pmem always prints ranges: `0x1000..0x2000`, end
/// exclusive.
pub fn range(first: u64, last: u64) -> String {
    format!("{first:#x}..{:#x}", u128::from(last) + 1)
}

/// The exclusive end of a range, which can be 2^64; in JSON a hexadecimal string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End(pub u128);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Extent {
    /// The first address.
    pub start: Addr,
    /// The end, exclusive.
    pub end: End,
}

impl Extent {
    /// The size in bytes; `u64::MAX` if the range is the whole 64-bit space.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.end.0 - u128::from(self.start.0)).unwrap_or(u64::MAX)
    }

    /// Whether the range is empty. It never is: a range has at least one address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<AddrRange> for Extent {
    fn from(range: AddrRange) -> Self {
        Self { start: Addr(range.start()), end: End(u128::from(range.last()) + 1) }
    }
}

impl From<pmem_mtrr::Span> for Extent {
    fn from(span: pmem_mtrr::Span) -> Self {
        Self { start: Addr(span.start), end: End(u128::from(span.end)) }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.end.0 == 1 << 64 {
            write!(f, "{}..2^64", self.start)
        } else {
            write!(f, "{}..{}", self.start, self.end)
        }
    }
}

/// Formats a size in binary units: exact if it is a whole number of the unit, otherwise to one decimal, rounded down.
///
/// # Examples
///
/// ```
/// use pmem_report::size;
///
/// assert_eq!(size(256 << 20), "256 MiB");
/// assert_eq!(size(0x7ff0_0000), "1.9 GiB"); // 2 GiB less 1 MiB
/// ```
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // A `u64` cannot hold 2^64, so `u64::MAX` stands for the whole 64-bit space.
    let bytes = if bytes == u64::MAX { 1u128 << 64 } else { u128::from(bytes) };
    let unit = (0..UNITS.len()).rev().find(|i| bytes >= 1 << (10 * i)).unwrap_or(0);
    let one = 1u128 << (10 * unit);
    if bytes % one == 0 {
        format!("{} {}", bytes / one, UNITS[unit])
    } else {
        format!("{}.{} {}", bytes / one, bytes % one * 10 / one, UNITS[unit])
    }
}

/// Formats a size as options and the kernel's command line take it, in the largest unit that divides it: `512M`.
pub(crate) fn short(bytes: u64) -> String {
    [(30, 'G'), (20, 'M'), (10, 'K')]
        .into_iter()
        .find(|(bits, _)| bytes > 0 && bytes.trailing_zeros() >= *bits)
        .map_or(format!("{bytes:#x}"), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

/// Formats a bandwidth. The argument is in MiB/s, the unit that Linux uses (Documentation/admin-guide/mm/numaperf.rst).
#[must_use]
pub fn bandwidth(mib_per_s: u32) -> String {
    format!("{}/s", size(u64::from(mib_per_s) << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_to_one_decimal() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16 EiB");
        assert_eq!((bandwidth(800), bandwidth(262_144)), ("800 MiB/s".to_owned(), "256 GiB/s".to_owned()));
    }

    #[test]
    fn ranges_are_half_open_up_to_the_end_of_all_addresses() {
        let whole = Extent::from(AddrRange::ALL);
        assert_eq!((whole.to_string().as_str(), whole.len()), ("0x0..2^64", u64::MAX));
        assert_eq!(serde_json::to_string(&whole).unwrap(), r#"{"start":"0x0","end":"0x10000000000000000"}"#);
    }
}
