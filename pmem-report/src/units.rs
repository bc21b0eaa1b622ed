//! Addresses, ranges and sizes, as people and programs read them.

use pmem_core::AddrRange;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// An address, in JSON a string: `"0xfee00000"`.
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

impl JsonSchema for Addr {
    fn schema_name() -> Cow<'static, str> {
        "Addr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{1,16}$" })
    }
}

/// A range as every text has it, from its first and its last address: `0x1000..0x2000`, the end not in it.
pub fn range(first: u64, last: u64) -> String {
    format!("{first:#x}..{:#x}", u128::from(last) + 1)
}

/// The address after a range, which may be 2^64; in JSON a string.
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

impl JsonSchema for End {
    fn schema_name() -> Cow<'static, str> {
        "End".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{1,17}$" })
    }
}

/// Addresses from the first to the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Extent {
    /// The first address.
    pub start: Addr,
    /// The address after the last.
    pub end: End,
}

impl Extent {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end.0 - u128::from(self.start.0)).unwrap_or(u64::MAX)
    }

    /// Whether there is nothing in it: never.
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

/// A size in binary units: exact, or to one decimal.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // The whole space counts as 2^64 - 1 bytes.
    let bytes = if bytes == u64::MAX { 1u128 << 64 } else { u128::from(bytes) };
    let unit = (0..UNITS.len()).rev().find(|i| bytes >= 1 << (10 * i)).unwrap_or(0);
    let one = 1u128 << (10 * unit);
    if bytes % one == 0 {
        format!("{} {}", bytes / one, UNITS[unit])
    } else {
        format!("{}.{} {}", bytes / one, bytes % one * 10 / one, UNITS[unit])
    }
}

/// A rate, as Linux gives it in MiB/s (Documentation/admin-guide/mm/numaperf.rst).
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
