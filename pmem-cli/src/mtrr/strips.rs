//! Strips on one axis of addresses: what is wanted, which registers match, and what that makes.

use crate::show;
use comfy_table::Table;
use pmem_mtrr::{Effective, Fixed, MemType, Setting, Span, Want};

/// What an address is, in a word.
pub(super) fn word(what: Effective) -> String {
    match what {
        Effective::Type(kind) => kind.name().to_owned(),
        Effective::Undefined(mix) => format!("undefined ({mix})"),
        Effective::Invalid(number) => format!("invalid ({number})"),
        Effective::Unknown => "?".to_owned(),
    }
}

/// Which registers match an address.
fn programmed(setting: &Setting, addr: u64) -> String {
    if !setting.def.enabled() {
        return "off".to_owned();
    }
    if addr < 1 << 20 && setting.fixed_counts() {
        return format!("fixed {}", Fixed::range_of(addr));
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

/// A table of the whole space; neighbours that are alike in every strip are one row.
pub(super) fn table(setting: &Setting, wants: Option<&[Want]>) -> Table {
    let mut cuts: Vec<u64> = setting.map().flat_map(|(span, _)| [span.start, span.end]).collect();
    for want in wants.unwrap_or(&[]) {
        cuts.extend([want.span.start, want.span.end]);
    }
    for block in setting.variable().iter().filter_map(|v| v.block(setting.width)) {
        cuts.extend([block.span().start, block.span().end]);
    }
    cuts.push(1 << 20);
    cuts.sort_unstable();
    cuts.dedup();
    let mut rows: Vec<(Span, [String; 3])> = Vec::new();
    for pair in cuts.windows(2) {
        let span = Span { start: pair[0], end: pair[1] };
        let wanted = wants.unwrap_or(&[]).iter().find(|want| want.span.contains(span.start));
        let row = [
            wanted.map_or("-".to_owned(), |want| want.allowed.to_string()),
            programmed(setting, span.start),
            word(setting.at(span.start)),
        ];
        // Below 1 MiB each range has its own register: there it is enough that they are of one type.
        let alike = |had: &[String; 3]| {
            let low = span.end <= 1 << 20 && setting.fixed_counts();
            had[0] == row[0] && had[2] == row[2] && (low || had[1] == row[1])
        };
        match rows.last_mut() {
            Some((last, had)) if alike(had) => last.end = span.end,
            _ => rows.push((span, row)),
        }
    }
    let mut header = vec!["range", "size", "wanted", "programmed", "effective"];
    if wants.is_none() {
        header.remove(2);
    }
    let mut table = show::table(&header, &[1]);
    for (span, [wanted, programmed, effective]) in rows {
        let mut cells = vec![format!("{:#x}..{:#x}", span.start, span.end), show::size(span.len())];
        if wants.is_some() {
            cells.push(wanted);
        }
        cells.extend([programmed, effective]);
        table.add_row(cells);
    }
    table
}
