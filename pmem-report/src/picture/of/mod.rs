//! What is drawn of each report.

mod diff;
mod iommu;
mod lint;
mod memory;
mod mtrr;
mod pci;
mod resolve;
mod topo;
mod view;

use super::{Kind, Panel, Piece};
use crate::attrs::AttrWords;
use crate::sources::Sources;
use crate::units::{Addr, End, Extent};

/// Whether an arena's type contains a word: `ram+cxl` is RAM.
fn is(arena: &str, word: &str) -> bool {
    arena.split('+').any(|one| one == word)
}

/// Returns the style for a region with these attributes in an arena of this type.
fn kind_of(attrs: &AttrWords, arena: &str) -> Kind {
    let has = |list: &[String], word: &str| list.iter().any(|had| had == word);
    if has(&attrs.usage, "broken") {
        Kind::Marked
    } else if has(&attrs.props, "prefetch") || has(&attrs.usage, "framebuf") {
        Kind::Prefetchable
    } else if has(&attrs.usage, "devregs") {
        Kind::Device
    } else if is(arena, "rom") {
        Kind::Firmware
    } else if is(arena, "ram") {
        Kind::Used
    } else {
        Kind::Reserved
    }
}

/// Makes a range from its first and last address (inclusive); `None` if they are out of order.
fn between(start: Addr, last: Addr) -> Option<Extent> {
    (start <= last).then(|| Extent { start, end: End(u128::from(last.0) + 1) })
}

/// Sorts pieces and removes overlaps. The piece that starts first, or came first, keeps the overlap, and its facts
/// mention the other.
fn disjoint(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by_key(|piece| piece.range.start);
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        if let Some(last) = kept.last_mut().filter(|last| last.range.end.0 > u128::from(piece.range.start.0))
        {
            last.facts.push(format!("also {} at {}", piece.label, piece.range));
            let Ok(rest) = u64::try_from(last.range.end.0) else { continue };
            if u128::from(rest) >= piece.range.end.0 {
                continue;
            }
            piece.facts.push(format!("from {rest:#x} on; all of it is {}", piece.range));
            piece.range.start = Addr(rest);
        }
        kept.push(piece);
    }
    kept
}

/// Returns the remarks below a picture: what could not be seen, and what was read.
fn notes(sources: &Sources) -> Vec<String> {
    let unseen = sources.unseen.iter().map(|what| format!("Not seen: {what}"));
    let read = sources.read.iter().take(8).map(|read| format!("Read: {}", read.summary));
    unseen.chain(read).collect()
}

/// Returns the panels that have pieces; `None` if none has.
fn filled(panels: impl IntoIterator<Item = Panel>) -> Option<Vec<Panel>> {
    let has_some = |panel: &Panel| panel.columns.iter().any(|column| !column.pieces.is_empty());
    let panels: Vec<Panel> = panels.into_iter().filter(has_some).collect();
    (!panels.is_empty()).then_some(panels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_lies_over_each_other_is_cut_and_nothing_is_lost(
            ranges in prop::collection::vec((0u64..1000, 1u64..100), 0..30),
        ) {
            let piece = |(start, bytes): &(u64, u64)| Piece {
                range: super::super::extent(*start, *bytes).unwrap(),
                kind: Kind::Memory,
                label: start.to_string(),
                facts: Vec::new(),
            };
            let kept = disjoint(ranges.iter().map(piece).collect());
            for pair in kept.windows(2) {
                prop_assert!(pair[0].range.end.0 <= u128::from(pair[1].range.start.0));
            }
            for at in 0..1100u64 {
                let was = ranges.iter().any(|(start, bytes)| (*start..start + bytes).contains(&at));
                let is = kept.iter().any(|piece| piece.range.start.0 <= at && u128::from(at) < piece.range.end.0);
                prop_assert_eq!(was, is);
            }
        }
    }
}
