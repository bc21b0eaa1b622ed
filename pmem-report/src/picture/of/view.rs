//! The picture of a view: what the viewer sees, and where it leads.

use super::super::lanes::{Lodger, columns};
use super::super::{Draw, Kind, Panel, Picture, Piece, Ribbon, extent, hole};
use super::{disjoint, is, kind_of, notes};
use crate::view::{View, ViewLine};
use std::collections::BTreeMap;

impl Draw for View {
    fn picture(&self) -> Option<Picture> {
        let seen: Vec<Piece> = self.view.iter().map(|line| piece(line, line.range)).collect();
        let mut behind: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
        let elsewhere = |line: &&ViewLine| line.arena.as_ref().is_some_and(|arena| *arena != self.from);
        for line in self.view.iter().filter(elsewhere) {
            let there = line.addr.and_then(|addr| extent(addr.0, line.range.len()));
            if let (Some(arena), Some(there)) = (&line.arena, there) {
                behind.entry(arena).or_default().push(piece(line, there));
            }
        }
        let mut lodgers = vec![Lodger { name: self.from.clone(), level: 0, pieces: disjoint(seen) }];
        lodgers.extend(behind.into_iter().map(|(name, pieces)| Lodger {
            name: name.to_owned(),
            level: 1,
            pieces: disjoint(pieces),
        }));
        let (columns, of) = columns(lodgers, |_, names| match names {
            [only] => only.clone(),
            all => format!("{} arenas", all.len()),
        });
        let ribbons = self.view.iter().filter(elsewhere).filter_map(|line| {
            Some(Ribbon {
                left: (*of.get(&self.from)?, line.range.start.0),
                right: (*of.get(line.arena.as_deref()?)?, line.addr?.0),
                bytes: line.range.len(),
                label: line.cost.map(|cost| cost.to_string()),
                bandwidth: None,
                facts: vec![format!("{} {}", line.what, line.range)],
            })
        });
        let ribbons = ribbons.collect();
        let unknown = self.unknown.iter().map(|text| format!("Not known: {text}"));
        (!self.view.is_empty()).then(|| Picture {
            title: format!("As seen from {}", self.from),
            panels: vec![Panel { title: "Addresses".to_owned(), columns, ribbons }],
            notes: unknown.chain(notes(&self.sources)).collect(),
            ..Picture::default()
        })
    }
}

fn piece(line: &ViewLine, range: crate::Extent) -> Piece {
    let attrs = line.attrs.clone().unwrap_or_default();
    let is_ram = is(&line.arena_kind, "ram");
    let kind = match line.kind.as_str() {
        "region" | "alias" => kind_of(&attrs, &line.arena_kind),
        "free" if is_ram => Kind::Memory,
        "free" => return Piece { facts: told(line), ..hole(range) },
        "sealed" => Kind::Reserved,
        "bad" | "ambiguous" | "loop" => Kind::Marked,
        "window" | "table" | "interleave" => Kind::Window,
        _ => Kind::Unknown,
    };
    Piece { range, kind, label: line.what.clone(), facts: told(line) }
}

fn told(line: &ViewLine) -> Vec<String> {
    let there = line.arena.iter().zip(line.addr).map(|(arena, addr)| format!("{arena} at {addr}"));
    let attrs = line.attrs.iter().map(ToString::to_string);
    let cost = line.cost.map(|cost| format!("cost {cost}"));
    there.chain(attrs).chain(line.names.iter().cloned()).chain(cost).filter(|fact| !fact.is_empty()).collect()
}
