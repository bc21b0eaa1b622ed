//! CEDT: CXL host bridges, and the windows that lead to them (CXL 3.1, 9.18.1).

use super::table::{AcpiTable, Form};

/// A CXL host bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chbs {
    /// Its unique id, which windows refer to.
    pub uid: u32,
    /// 0: CXL 1.1, with the register block of a downstream port. 1: CXL 2.0 or later, with component registers.
    pub version: u32,
    /// Base address of its registers.
    pub base: u64,
    /// Length of its registers in bytes.
    pub length: u64,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// A CXL fixed memory window, which root decoders interleave over host bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cfmws {
    /// First host physical address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// Interleave ways; `None` if the encoding is reserved.
    pub ways: Option<u8>,
    /// Interleave granularity in bytes; `None` if the encoding is reserved.
    pub granularity: Option<u32>,
    /// The interleave arithmetic is XOR rather than modulo.
    pub is_xor: bool,
    /// Restrictions (table 9-22): bit 0 type 2, bit 1 type 3, bit 2 volatile, bit 3 persistent, bit 4 fixed.
    pub restrictions: u16,
    /// QoS throttling group.
    pub qos: u16,
    /// Unique ids of the host bridges, in interleave order.
    pub targets: Vec<u32>,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// XOR interleave math for windows of one granularity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cxims {
    /// Interleave granularity in bytes; `None` if the encoding is reserved.
    pub granularity: Option<u32>,
    /// For each bit of the target's position: the address bits whose parity gives it.
    pub maps: Vec<u64>,
}

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cedt {
    /// Host bridges.
    pub bridges: Vec<Chbs>,
    /// Windows.
    pub windows: Vec<Cfmws>,
    /// XOR interleave math.
    pub maps: Vec<Cxims>,
}

/// Returns the interleave ways that a code stands for (8.2.4.20.7): 1, 2, 4, 8, 16, 3, 6 or 12. `None`
/// if it is reserved.
#[must_use]
pub const fn ways(code: u8) -> Option<u8> {
    match code {
        0..=4 => Some(1 << code),
        8..=10 => Some(3 << (code - 8)),
        _ => None,
    }
}

/// Returns the interleave granularity in bytes that a code stands for (8.2.4.20.7): 256 to 16384.
/// `None` if it is reserved.
#[must_use]
pub const fn granularity(code: u32) -> Option<u32> {
    if code <= 6 { Some(256 << code) } else { None }
}

impl Cedt {
    /// Decodes a table; what is wrong is added to the table's faults.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        for (kind, part) in table.structures(36, Form::Word) {
            match kind {
                0 if part.has(32, table) => out.bridges.push(Chbs {
                    uid: part.word(4),
                    version: part.word(8),
                    base: part.number(16, 8),
                    length: part.number(24, 8),
                    offset: part.at,
                }),
                1 if part.has(36, table) => {
                    let code = part.number(24, 1) as u8;
                    let ways = ways(code);
                    if ways.is_none() {
                        table.fault(part.at + 24, format!("{code} is not a valid code for interleave ways"));
                    }
                    // A window with fewer targets than ways keeps the targets that it has.
                    let most = ways.map_or(0, usize::from);
                    let there = (part.len() - 36) / 4;
                    if there < most {
                        table.fault(part.at, format!("{most} interleave ways, but only {there} targets"));
                    }
                    out.windows.push(Cfmws {
                        base: part.number(8, 8),
                        size: part.number(16, 8),
                        ways,
                        granularity: granularity(part.word(28)),
                        is_xor: part.number(25, 1) == 1,
                        restrictions: part.number(32, 2) as u16,
                        qos: part.number(34, 2) as u16,
                        targets: (0..there.min(most)).map(|n| part.word(36 + 4 * n)).collect(),
                        offset: part.at,
                    });
                }
                2 if part.has(8, table) => {
                    let count = part.number(7, 1) as usize;
                    if part.has(8 + 8 * count, table) {
                        let maps = (0..count).map(|n| part.number(8 + 8 * n, 8)).collect();
                        out.maps.push(Cxims { granularity: granularity(part.number(6, 1) as u32), maps });
                    }
                }
                _ => {}
            }
        }
        out
    }
}
