//! The picture of resolved addresses: the path of each from arena to arena.

use super::super::{Column, Draw, Kind, Panel, Picture, Piece, Ribbon, extent};
use super::{disjoint, filled, notes};
use crate::resolve::{Resolve, Resolved};

/// The part of an address's surroundings that is drawn: its page.
const PAGE: u64 = 4096;

impl Draw for Resolve {
    fn picture(&self) -> Option<Picture> {
        let panels = filled(self.results.iter().map(panel))?;
        Some(Picture {
            title: "What these addresses mean".to_owned(),
            panels,
            notes: notes(&self.sources),
            ..Picture::default()
        })
    }
}

fn panel(answer: &Resolved) -> Panel {
    // The arenas on the path, with the address in each.
    let mut stops: Vec<(String, u64)> =
        answer.hops.iter().map(|hop| (hop.from.clone(), hop.addr.0)).collect();
    if let (Some(arena), Some(addr)) = (&answer.arena, answer.addr) {
        stops.push((arena.clone(), addr.0));
    }
    if stops.is_empty() {
        stops.push((answer.from.clone(), answer.asked.0));
    }
    let is_found = answer.result.is_found();
    let last = stops.len() - 1;
    let column = |(i, (arena, addr)): (usize, &(String, u64))| {
        let (kind, label) = match (i == last, is_found) {
            (true, true) => (Kind::Used, answer.what.clone()),
            (true, false) => (Kind::Marked, answer.what.clone()),
            _ => (Kind::Window, answer.hops[i].interconnect.clone()),
        };
        let piece = extent(addr & !(PAGE - 1), PAGE).map(|range| Piece {
            range,
            kind,
            label,
            facts: vec![format!("{addr:#x} of {arena}")],
        });
        Column { title: arena.clone(), pieces: disjoint(piece.into_iter().collect()) }
    };
    let ribbons = answer.hops.iter().enumerate().take(last).map(|(i, hop)| Ribbon {
        left: (i, stops[i].1 & !(PAGE - 1)),
        right: (i + 1, stops[i + 1].1 & !(PAGE - 1)),
        bytes: PAGE,
        label: hop.cost.map(|cost| cost.to_string()),
        bandwidth: None,
        facts: vec![hop.interconnect.clone()],
    });
    Panel {
        title: format!("{} from {}: {}", answer.asked, answer.from, answer.what),
        columns: stops.iter().enumerate().map(column).collect(),
        ribbons: ribbons.collect(),
    }
}
