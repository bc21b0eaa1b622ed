//! Assigns arenas to columns. Arenas of one level share a column if they do not overlap.

use super::{Column, Piece};
use std::collections::BTreeMap;

/// An arena that needs a column.
pub(super) struct Lodger {
    /// Its name.
    pub(super) name: String,
    /// The number of interconnects between it and the viewers.
    pub(super) level: usize,
    /// Its pieces.
    pub(super) pieces: Vec<Piece>,
}

/// Returns the title for a column of several arenas: the first and the last name, or the only one.
pub(super) fn first_to_last(names: &[String]) -> String {
    match names {
        [only] => only.clone(),
        [first, .., last] => format!("{first} … {last}"),
        [] => String::new(),
    }
}

/// Builds the columns, and returns the column of each arena that has pieces. `title` makes a column's title from its
/// level and the names in it.
pub(super) fn columns(
    mut lodgers: Vec<Lodger>,
    title: impl Fn(usize, &[String]) -> String,
) -> (Vec<Column>, BTreeMap<String, usize>) {
    lodgers.retain(|lodger| !lodger.pieces.is_empty());
    lodgers.sort_by_key(|lodger| (lodger.level, lodger.pieces.iter().map(|piece| piece.range.start).min()));
    let mut lanes: Vec<(usize, Column, Vec<String>)> = Vec::new();
    let mut of = BTreeMap::new();
    for lodger in lodgers {
        // First fit: an arena takes the first column of its level in which it overlaps nothing.
        let fits = |(level, column, _): &(usize, Column, Vec<String>)| {
            *level == lodger.level && !overlaps(&column.pieces, &lodger.pieces)
        };
        let at = lanes.iter().position(fits).unwrap_or_else(|| {
            lanes.push((lodger.level, Column::default(), Vec::new()));
            lanes.len() - 1
        });
        let (_, column, names) = &mut lanes[at];
        // Arenas arrive in order of address, so sorting is needed only if one lies between another's pieces.
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

/// Whether two lists of pieces overlap. The first must be in order of address.
fn overlaps(ordered: &[Piece], others: &[Piece]) -> bool {
    others.iter().any(|other| {
        let next = ordered.partition_point(|piece| piece.range.end.0 <= u128::from(other.range.start.0));
        ordered.get(next).is_some_and(|piece| u128::from(piece.range.start.0) < other.range.end.0)
    })
}
