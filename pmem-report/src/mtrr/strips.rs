//! The whole address space, range by range: what is wanted, which registers match, and the resulting type.

use super::given::MtrrState;
use crate::units::Extent;
use pmem_mtrr::{Effective, MemType, Requirement, Setting, Span};
use serde::Serialize;

/// A range of addresses that have everything in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Strip {
    /// The range.
    #[serde(flatten)]
    pub range: Extent,
    /// The permitted types; null if anything goes.
    pub wanted: Option<String>,
    /// The registers that match, such as `r0 UC`, `fixed 4K` or `default`.
    pub programmed: String,
    /// The resulting memory type.
    pub effective: String,
}

/// The memory type of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stretch {
    /// The range.
    #[serde(flatten)]
    pub range: Extent,
    /// The type's name, or why it has none.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Names a memory type, or says why there is none.
pub(super) fn word(what: Effective) -> String {
    match what {
        Effective::Type(kind) => kind.name().to_owned(),
        Effective::Undefined(mix) => format!("undefined ({mix})"),
        Effective::Invalid(number) => format!("invalid ({number})"),
        Effective::Unknown => "unknown".to_owned(),
    }
}

/// Names the registers that match an address.
fn programmed(setting: &Setting, addr: u64) -> String {
    if !setting.def.enabled() {
        return "off".to_owned();
    }
    if addr < 1 << 20 && setting.fixed_counts() {
        // Below 1 MiB, show one row for each size of fixed range instead of one for each register.
        return match addr {
            0..0x8_0000 => "fixed 64K",
            0x8_0000..0xc_0000 => "fixed 16K",
            _ => "fixed 4K",
        }
        .to_owned();
    }
    let matching: Vec<String> = setting
        .variable()
        .iter()
        .enumerate()
        .filter(|(_, v)| v.valid() && v.matches(addr, setting.width))
        .map(|(n, v)| format!("r{n} {}", v.kind().map_or("?", MemType::name)))
        .collect();
    if !matching.is_empty() {
        return matching.join(" ");
    }
    match setting.tom2() {
        Some(end) if (1 << 32..end).contains(&addr) => "below TOM2".to_owned(),
        _ => "default".to_owned(),
    }
}

/// Describes the whole space. Neighbours that agree in everything are merged. `given` tells which parts are in doubt.
pub(super) fn strips(
    setting: &Setting,
    wants: Option<&[Requirement]>,
    given: Option<&MtrrState>,
) -> Vec<Strip> {
    let mut cuts: Vec<u64> = setting.map().flat_map(|(span, _)| [span.start, span.end]).collect();
    for want in wants.unwrap_or(&[]) {
        cuts.extend([want.span.start, want.span.end]);
    }
    for block in setting.variable().iter().filter_map(|v| v.block(setting.width)) {
        cuts.extend([block.span().start, block.span().end]);
    }
    cuts.extend([0x8_0000, 0xc_0000, 1 << 20]);
    if let Some(given) = given {
        cuts.extend(given.facts.fixed_unknown().iter().flat_map(|span| [span.start, span.end]));
    }
    cuts.extend(setting.tom2());
    cuts.sort_unstable();
    cuts.dedup();
    let mut rows: Vec<(Span, [Option<String>; 3])> = Vec::new();
    let wants = wants.unwrap_or(&[]);
    // If registers repeat over the space (a mask with holes), the map gives up and says so.
    let pieces: Vec<(Span, Effective)> = setting.map().collect();
    let at = |addr: u64| {
        let found = pieces.partition_point(|(span, _)| span.end <= addr);
        pieces.get(found).map_or(Effective::Unknown, |(_, what)| *what)
    };
    for pair in cuts.windows(2) {
        let span = Span { start: pair[0], end: pair[1] };
        let index = wants.partition_point(|want| want.span.end <= span.start);
        let wanted = wants.get(index).filter(|want| want.span.contains(span.start));
        let unknown = given.is_some_and(|given| given.is_unknown(span.start));
        let effective = if unknown { "unknown".to_owned() } else { word(at(span.start)) };
        let row = [
            wanted.map(|want| want.allowed.to_string()),
            Some(programmed(setting, span.start)),
            Some(effective),
        ];
        match rows.last_mut() {
            Some((last, had)) if *had == row => last.end = span.end,
            _ => rows.push((span, row)),
        }
    }
    let strip = |(span, [wanted, programmed, effective]): (Span, [Option<String>; 3])| Strip {
        range: span.into(),
        wanted,
        programmed: programmed.unwrap_or_default(),
        effective: effective.unwrap_or_default(),
    };
    rows.into_iter().map(strip).collect()
}

/// Returns the memory type of each range. Neighbours of one type are merged.
pub(super) fn effective(setting: &Setting, given: Option<&MtrrState>) -> Vec<Stretch> {
    let mut cuts: Vec<u64> = setting.map().flat_map(|(span, _)| [span.start, span.end]).collect();
    if let Some(given) = given {
        cuts.extend(given.facts.fixed_unknown().iter().flat_map(|span| [span.start, span.end]));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out: Vec<Stretch> = Vec::new();
    let pieces: Vec<(Span, Effective)> = setting.map().collect();
    for pair in cuts.windows(2) {
        let span = Span { start: pair[0], end: pair[1] };
        let unknown = given.is_some_and(|given| given.is_unknown(span.start));
        let found = pieces.partition_point(|(piece, _)| piece.end <= span.start);
        let what = pieces.get(found).map_or(Effective::Unknown, |(_, what)| *what);
        let kind = if unknown { "unknown".to_owned() } else { word(what) };
        match out.last_mut() {
            Some(last) if last.kind == kind => last.range.end = Extent::from(span).end,
            _ => out.push(Stretch { range: span.into(), kind }),
        }
    }
    out
}
