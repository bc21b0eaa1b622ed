//! CEDT: CXL's host bridges, and the windows that lead to them (CXL 3.1, 9.18.1).

use super::table::{AcpiTable, Form};

/// A host bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chbs {
    /// Its number, which windows name.
    pub uid: u32,
    /// 0: CXL 1.1, with a register block of a downstream port; 1: CXL 2 and on, with component registers.
    pub version: u32,
    /// Where its registers are.
    pub base: u64,
    /// How many bytes.
    pub length: u64,
    /// Where it begins in the table.
    pub offset: usize,
}

/// A window of fixed memory, that decoders at the root share out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cfmws {
    /// The first host physical address.
    pub base: u64,
    /// How many bytes.
    pub size: u64,
    /// Among how many targets; `None` if it is coded as nobody knows.
    pub ways: Option<u8>,
    /// By pieces of so many bytes; likewise.
    pub granularity: Option<u32>,
    /// Bits are taken together by XOR; else by modulo.
    pub is_xor: bool,
    /// What may be there (table 9-22): bit 0 type 2, 1 type 3, 2 volatile, 3 persistent, 4 fixed.
    pub restrictions: u16,
    /// Its class of service.
    pub qos: u16,
    /// The host bridges, in order.
    pub targets: Vec<u32>,
    /// Where it begins in the table.
    pub offset: usize,
}

/// Which bits are taken together, for windows of a granularity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cxims {
    /// Bytes of a piece; `None` if it is coded as nobody knows.
    pub granularity: Option<u32>,
    /// For each bit of the target's place, the address bits.
    pub maps: Vec<u64>,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cedt {
    /// Host bridges.
    pub bridges: Vec<Chbs>,
    /// Windows.
    pub windows: Vec<Cfmws>,
    /// Maps of bits.
    pub maps: Vec<Cxims>,
}

/// How many ways a code means (8.2.4.20.7): 1 to 16, and 3, 6, 12.
#[must_use]
pub const fn ways(code: u8) -> Option<u8> {
    match code {
        0..=4 => Some(1 << code),
        8..=10 => Some(3 << (code - 8)),
        _ => None,
    }
}

/// Bytes of a piece that a code means (8.2.4.20.7): 256 to 16384.
#[must_use]
pub const fn granularity(code: u32) -> Option<u32> {
    if code <= 6 { Some(256 << code) } else { None }
}

impl Cedt {
    /// Reads it; what is wrong is noted at the table.
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
                        table.fault(part.at + 24, format!("{code} is no number of ways"));
                    }
                    // As many as there are, if fewer are there than there are ways.
                    let most = ways.map_or(0, usize::from);
                    let there = (part.len() - 36) / 4;
                    if there < most {
                        table.fault(part.at, format!("{most} ways, and {there} targets"));
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
