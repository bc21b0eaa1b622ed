//! Pictures of memory types: the registers and the resulting types; for a plan, what is wanted and what results.

use super::super::{Column, Draw, Kind, Panel, Picture, Piece};
use super::{disjoint, filled};
use crate::mtrr::{Plan, Show, Stretch, Strip};

impl Draw for Show {
    fn picture(&self) -> Option<Picture> {
        let registers = self.registers.iter().filter_map(|row| {
            let kind = row.kind.as_deref().unwrap_or("no type");
            let msrs = row.msrs.iter().map(|msr| format!("MSR {} holds {}", msr.msr, msr.value));
            Some((row.range?, format!("{}: {kind}", row.register), kind.to_owned(), msrs.collect()))
        });
        let mut columns = register_columns(registers.collect());
        columns.push(types("effective", &self.effective));
        picture("Memory types by MTRRs", columns)
    }
}

impl Draw for Plan {
    fn picture(&self) -> Option<Picture> {
        let strip = |title: &str, of: fn(&Strip) -> Option<&String>| {
            let pieces = self.strips.iter().filter_map(|strip| Some(piece(strip.range, of(strip)?)));
            Column { title: title.to_owned(), pieces: joined(pieces.collect()) }
        };
        let columns = vec![
            strip("wanted", |strip| strip.wanted.as_ref()),
            strip("registers that match", |strip| Some(&strip.programmed)),
            types("effective afterwards", &self.effective),
        ];
        picture("Memory types by MTRRs, planned", columns)
    }
}

fn picture(title: &str, columns: Vec<Column>) -> Option<Picture> {
    let panels = filled([Panel { title: "Memory addresses".to_owned(), columns, ribbons: Vec::new() }])?;
    let legend = LOOKS.into_iter().map(|(_, kind, words)| (kind, words)).collect();
    Some(Picture { title: title.to_owned(), panels, legend, ..Picture::default() })
}

/// Registers may overlap. Those that do get columns of their own.
fn register_columns(registers: Vec<(crate::Extent, String, String, Vec<String>)>) -> Vec<Column> {
    use super::super::lanes::{Lodger, columns};
    let lodgers = registers.into_iter().map(|(range, label, kind, facts)| Lodger {
        name: label.clone(),
        level: 0,
        pieces: vec![Piece { range, kind: look(&kind), label, facts }],
    });
    columns(lodgers.collect(), |_, _| "registers".to_owned()).0
}

fn types(title: &str, stretches: &[Stretch]) -> Column {
    let pieces = stretches.iter().map(|found| piece(found.range, &found.kind)).collect();
    Column { title: title.to_owned(), pieces: joined(pieces) }
}

fn piece(range: crate::Extent, kind: &str) -> Piece {
    Piece { range, kind: look(kind), label: kind.to_owned(), facts: Vec::new() }
}

/// Merges neighbours with the same label.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in disjoint(pieces) {
        match joined.last_mut() {
            Some(last)
                if last.label == piece.label && last.range.end.0 == u128::from(piece.range.start.0) =>
            {
                last.range.end = piece.range.end;
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// The style of each memory type, with its text in the legend.
const LOOKS: [(&str, Kind, &str); 7] = [
    ("WB", Kind::Memory, "write-back"),
    ("UC", Kind::Device, "uncacheable"),
    ("WC", Kind::Prefetchable, "write-combining"),
    ("WT", Kind::Used, "write-through"),
    ("WP", Kind::Firmware, "write-protected"),
    ("undefined", Kind::Marked, "undefined or invalid"),
    ("invalid", Kind::Marked, "undefined or invalid"),
];

fn look(kind: &str) -> Kind {
    LOOKS.iter().find(|(name, ..)| kind.starts_with(name)).map_or(Kind::Reserved, |(_, kind, _)| *kind)
}
