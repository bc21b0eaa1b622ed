//! Pictures of bus space: a column for each depth of the hierarchy; for a plan, what moves where.

use super::super::lanes::{Lodger, columns, first_to_last};
use super::super::{Draw, Kind, Panel, Picture, Piece, hole};
use super::{between, disjoint, filled};
use crate::pci::{PciHierarchy, PciNode, PlacementPlan};
use crate::units::Addr;

impl Draw for PciHierarchy {
    fn picture(&self) -> Option<Picture> {
        let panels = [("Memory addresses", false), ("I/O ports", true)];
        let panels = filled(panels.into_iter().map(|(title, is_io)| panel(&self.nodes, title, is_io)))?;
        Some(Picture { title: "PCI bus space".to_owned(), panels, ..Picture::default() })
    }
}

fn panel(nodes: &[PciNode], title: &str, is_io: bool) -> Panel {
    let lodgers = nodes.iter().map(|node| {
        let windows =
            node.windows.iter().filter(|window| (window.kind == "io") == is_io).filter_map(|window| {
                let range = window.range.as_ref()?;
                let free = format!("free: {}", window.free);
                Some(Piece {
                    range: between(range.start, range.end)?,
                    kind: Kind::Window,
                    label: format!("{} {}", node.name, window.kind),
                    facts: vec![free],
                })
            });
        Lodger { name: node.name.clone(), level: 2 * node.depth, pieces: disjoint(windows.collect()) }
    });
    let registers = nodes.iter().map(|node| {
        let bars = node.bars.iter().filter(|bar| (bar.kind == "io") == is_io).filter_map(|bar| {
            let range = bar.range.as_ref()?;
            Some(Piece {
                range: between(range.start, range.end)?,
                kind: if bar.kind.ends_with('p') { Kind::Prefetchable } else { Kind::Device },
                label: format!("{} {}", node.name, bar.bar),
                facts: vec![format!("{}, {}", bar.kind, node.mobility)],
            })
        });
        Lodger {
            name: format!("{} BARs", node.name),
            level: 2 * node.depth + 1,
            pieces: disjoint(bars.collect()),
        }
    });
    let rooms = nodes.iter().map(|node| {
        let largest =
            node.windows.iter().filter(|window| (window.kind == "io") == is_io).filter_map(|window| {
                let range = window.largest.as_ref()?;
                Some(Piece { facts: vec![node.name.clone()], ..hole(between(range.start, range.end)?) })
            });
        Lodger {
            name: format!("{} room", node.name),
            level: 2 * node.depth + 1,
            pieces: disjoint(largest.collect()),
        }
    });
    let all: Vec<Lodger> = lodgers.chain(registers).chain(rooms).collect();
    let (columns, _) = columns(all, |_, names| first_to_last(names));
    Panel { title: title.to_owned(), columns, ribbons: Vec::new() }
}

impl Draw for PlacementPlan {
    fn picture(&self) -> Option<Picture> {
        let panels = [("Memory addresses", false), ("I/O ports", true)];
        let panels = filled(panels.into_iter().map(|(title, is_io)| planned(self, title, is_io)))?;
        let title = format!("Placement: {}", self.verdict);
        Some(Picture { title, panels, notes: self.assumed.clone(), ..Picture::default() })
    }
}

/// Builds a panel with the windows before and after, what is placed, and what occupies the room that is lacking.
fn planned(plan: &PlacementPlan, title: &str, is_io: bool) -> Panel {
    let changes = || plan.windows.iter().filter(|change| (change.kind == "io") == is_io);
    let window = |name: &str, range: Option<&crate::pci::Range>, level: usize| {
        let range = range.and_then(|range| between(range.start, range.end))?;
        let piece = Piece { range, kind: Kind::Window, label: name.to_owned(), facts: Vec::new() };
        Some(Lodger { name: format!("{name} {level}"), level, pieces: vec![piece] })
    };
    let name = |change: &crate::pci::WindowChange| format!("{} {}", change.bridge, change.kind);
    let before = changes().filter_map(|change| window(&name(change), change.old.as_ref(), 0));
    let after = changes().filter_map(|change| window(&name(change), change.new.as_ref(), 1));
    let is_port = |end: Addr| between(Addr(0), end).is_some_and(|range| range.end.0 <= 0x1_0000);
    let placed = plan.placements.iter().filter(|found| is_port(found.end) == is_io).filter_map(|found| {
        let label = format!("{} {}", found.function, found.bar);
        let piece = Piece {
            range: between(found.start, found.end)?,
            kind: Kind::Marked,
            label: label.clone(),
            facts: vec!["is placed here".to_owned()],
        };
        Some(Lodger { name: label, level: 2, pieces: vec![piece] })
    });
    let refused = plan.why.iter().flat_map(|why| &why.slots).filter(|slot| is_port(slot.end) == is_io);
    let refused = refused.filter_map(|slot| {
        let label = format!("held by {}", slot.blockers.join(", "));
        let range = between(slot.start, slot.end)?;
        let piece = Piece { range, kind: Kind::Reserved, label, facts: Vec::new() };
        Some(Lodger { name: format!("{range}"), level: 3, pieces: vec![piece] })
    });
    let all: Vec<Lodger> = before.chain(after).chain(placed).chain(refused).collect();
    let titles = ["windows before", "windows after", "placed", "no room: held"];
    let (columns, _) = columns(all, |level, _| titles[level].to_owned());
    Panel { title: title.to_owned(), columns, ribbons: Vec::new() }
}
