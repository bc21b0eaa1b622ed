//! Which arenas share a column: those of one level that have no address in common.

use super::{Column, Piece};
use std::collections::BTreeMap;

/// An arena that is to be given a column.
pub(super) struct Lodger {
    /// Its name.
    pub(super) name: String,
    /// How many interconnects from those who look.
    pub(super) level: usize,
    /// What lies in it.
    pub(super) pieces: Vec<Piece>,
}

/// The title of a column of these: the only one, or the first and the last.
pub(super) fn first_to_last(names: &[String]) -> String {
    match names {
        [only] => only.clone(),
        [first, .., last] => format!("{first} … {last}"),
        [] => String::new(),
    }
}

/// Columns, and the column of each arena that has pieces; their titles are made of their levels and of who is in them.
pub(super) fn columns(
    mut lodgers: Vec<Lodger>,
    title: impl Fn(usize, &[String]) -> String,
) -> (Vec<Column>, BTreeMap<String, usize>) {
    lodgers.retain(|lodger| !lodger.pieces.is_empty());
    lodgers.sort_by_key(|lodger| (lodger.level, lodger.pieces.iter().map(|piece| piece.range.start).min()));
    let mut lanes: Vec<(usize, Column, Vec<String>)> = Vec::new();
    let mut of = BTreeMap::new();
    for lodger in lodgers {
        let fits = |(level, column, _): &(usize, Column, Vec<String>)| {
            *level == lodger.level && !overlaps(&column.pieces, &lodger.pieces)
        };
        let at = lanes.iter().position(fits).unwrap_or_else(|| {
            lanes.push((lodger.level, Column::default(), Vec::new()));
            lanes.len() - 1
        });
        let (_, column, names) = &mut lanes[at];
        // Lodgers come in order: only one that lies between pieces of another is not at the end.
        let start = |piece: &Piece| piece.range.start;
        let is_behind = column.pieces.last().map(start) < lodger.pieces.first().map(start);
        column.pieces.extend(lodger.pieces);
        if !is_behind {
            column.pieces.sort_by_key(start);
        }
        names.push(lodger.name.clone());
        of.insert(lodger.name, at);
    }
    let columns =
        lanes.into_iter().map(|(level, column, names)| Column { title: title(level, &names), ..column });
    (columns.collect(), of)
}

/// Whether two lists, of which the first is in order, have an address in common.
fn overlaps(ordered: &[Piece], others: &[Piece]) -> bool {
    others.iter().any(|other| {
        let next = ordered.partition_point(|piece| piece.range.end.0 <= u128::from(other.range.start.0));
        ordered.get(next).is_some_and(|piece| u128::from(piece.range.start.0) < other.range.end.0)
    })
}
