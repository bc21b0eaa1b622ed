//! The picture of a comparison: one viewer on the left, the other on the right, the arenas in between.

use super::super::lanes::{Lodger, columns};
use super::super::{Column, Draw, Kind, Panel, Picture, Piece, Ribbon, extent};
use super::{disjoint, notes};
use crate::diff::{Diff, Difference};
use std::collections::BTreeMap;

impl Draw for Diff {
    fn picture(&self) -> Option<Picture> {
        let mut there: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
        for found in &self.differences {
            there.entry(&found.arena).or_default().push(piece(found, found.range));
        }
        let lodgers = there.into_iter().map(|(name, pieces)| Lodger {
            name: name.to_owned(),
            level: 0,
            pieces: disjoint(pieces),
        });
        let (between, of) = columns(lodgers.collect(), |_, names| match names {
            [only] => only.clone(),
            all => format!("{} arenas", all.len()),
        });
        let side = |title: &str, at: fn(&Difference) -> Option<crate::Addr>| {
            let seen = |found: &Difference| Some(piece(found, extent(at(found)?.0, found.range.len())?));
            let pieces = disjoint(self.differences.iter().filter_map(seen).collect());
            Column { title: title.to_owned(), pieces }
        };
        let last = between.len() + 1;
        let mut columns = vec![side(&self.left, |found| found.left)];
        columns.extend(between);
        columns.push(side(&self.right, |found| found.right));
        let ribbon = |from: usize, found: &Difference, seen: Option<crate::Addr>| {
            Some(Ribbon {
                left: (from, seen?.0),
                right: (of.get(&found.arena)? + 1, found.range.start.0),
                bytes: found.range.len(),
                label: None,
                bandwidth: None,
                facts: vec![found.what.clone()],
            })
        };
        let ribbons = self
            .differences
            .iter()
            .flat_map(|found| [ribbon(0, found, found.left), ribbon(last, found, found.right)]);
        let ribbons = ribbons.flatten().collect();
        let unknown = self.unknown.iter().map(|of| format!("Not known: what {of} sees of memory"));
        (!self.differences.is_empty()).then(|| Picture {
            title: format!("What {} and {} do not see alike", self.left, self.right),
            panels: vec![Panel { title: "Addresses".to_owned(), columns, ribbons }],
            notes: unknown.chain(notes(&self.sources)).collect(),
            ..Picture::default()
        })
    }
}

fn piece(found: &Difference, range: crate::Extent) -> Piece {
    let kind = match (found.left, found.right) {
        (Some(_), Some(_)) => Kind::Marked,
        _ => Kind::Window,
    };
    let seen = |of: &str, at: Option<crate::Addr>| match at {
        Some(addr) => format!("{of}: at {addr}"),
        None => format!("{of}: not reached"),
    };
    let facts = vec![
        format!("{} {}", found.arena, found.range),
        seen("left", found.left),
        seen("right", found.right),
    ];
    Piece { range, kind, label: found.what.clone(), facts }
}
