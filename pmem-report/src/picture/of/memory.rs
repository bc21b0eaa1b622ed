//! The picture of memory by pages: segments, the largest free run of each node, memory blocks.

use super::super::{Column, Draw, Kind, Panel, Picture, Piece};
use super::{disjoint, filled, notes};
use crate::memory::MemoryReport;
use crate::units::{Extent, size};

impl Draw for MemoryReport {
    fn picture(&self) -> Option<Picture> {
        let node = |node: Option<u32>| node.map_or("no node".to_owned(), |id| format!("node {id}"));
        let segments = self.segments.iter().filter_map(|segment| {
            let states = segment.by_state.iter().map(|(state, pages)| format!("{pages} pages {state}"));
            let facts = [segment.arena.clone(), format!("free list {}", segment.free_list)];
            Some(Piece {
                range: segment.range.bytes?,
                kind: Kind::Memory,
                label: format!("{}, {}", node(segment.node), segment.kind),
                facts: facts.into_iter().chain(states).collect(),
            })
        });
        let runs = self.nodes.iter().filter_map(|found| {
            let range = found.largest_free_run?.bytes?;
            let label = format!("{}: largest free run {}", node(found.node), size(range.len()));
            Some(Piece { range, kind: Kind::Free, label, facts: Vec::new() })
        });
        let block = |what: &'static str, kind| {
            move |range: &Extent| Piece { range: *range, kind, label: what.to_owned(), facts: Vec::new() }
        };
        let blocks = self.nodes.iter().flat_map(|found| {
            let online = found.online_blocks.iter().map(block("online", Kind::Memory));
            online.chain(found.offline_blocks.iter().map(block("offline", Kind::Reserved)))
        });
        let apart = self.apart.iter().flat_map(|found| {
            found.ranges.iter().map(|range| Piece {
                range: *range,
                kind: Kind::Reserved,
                label: format!("{}, {}", found.arena, found.kind),
                facts: vec!["not the page allocator's".to_owned()],
            })
        });
        let column =
            |title: &str, pieces: Vec<Piece>| Column { title: title.to_owned(), pieces: disjoint(pieces) };
        let columns = [
            column("segments", segments.collect()),
            column("largest free runs", runs.collect()),
            column("blocks", blocks.collect()),
            column("apart", apart.collect()),
        ];
        let columns = columns.into_iter().filter(|column| !column.pieces.is_empty()).collect();
        let panels = filled([Panel { title: "Memory addresses".to_owned(), columns, ribbons: Vec::new() }])?;
        Some(Picture {
            title: "Memory by pages".to_owned(),
            panels,
            notes: notes(&self.sources),
            ..Picture::default()
        })
    }
}
