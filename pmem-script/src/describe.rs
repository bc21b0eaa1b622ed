//! Describes directions and edits in words.

use super::names::{Names, name_of};
use pmem_core::{AddrRange, Edit, LinkId, Location, Mapping, Placement, State, Way};

/// Describes one direction of an interconnect in one line.
pub(super) fn show_direction(state: &State, id: LinkId, way: Way) -> String {
    let Some(link) = state.link(id) else { return String::new() };
    let direction = link.direction(way);
    let what = match &direction.mapping {
        Mapping::Closed => return "closed".to_owned(),
        Mapping::Identity => "identity".to_owned(),
        Mapping::Windows(windows) if windows.yields() => "yielding windows".to_owned(),
        Mapping::Windows(_) => {
            let show = |w: &Option<AddrRange>| w.map_or("closed".to_owned(), |w| w.to_string());
            let all: Vec<String> = state.windows(id, way).iter().map(show).collect();
            format!("windows {}", all.join(", "))
        }
        Mapping::Interleave(share) => {
            format!(
                "interleave {} {} of {} by {}",
                share.input(),
                share.position(),
                share.ways(),
                share.granularity()
            )
        }
        Mapping::Table(table) => {
            let holes = table.holes().iter().map(|hole| format!(" without {hole}"));
            format!("table {} by {:#x}{}", table.input(), table.page(), holes.collect::<String>())
        }
        _ => "unknown".to_owned(),
    };
    format!("{what} cost {}", direction.metric)
}

/// Describes an edit in one line.
pub(super) fn describe(state: &State, names: &Names, edit: &Edit) -> String {
    let change = |old: String, new: String| format!("{old} -> {new}");
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    match edit {
        Edit::Arena { arena, old, new } => {
            let info = |i: &Option<pmem_core::ArenaInfo>| or(i.as_ref().map(|i| i.name.clone()), "none");
            format!("arena {}: {}", names.of_arena(*arena), change(info(old), info(new)))
        }
        Edit::Link { link, old, new } => {
            let there = |there: bool| (if there { "connected" } else { "none" }).to_owned();
            format!(
                "interconnect {}: {}",
                names.of_link(*link),
                change(there(old.is_some()), there(new.is_some()))
            )
        }
        Edit::Span { arena, range, old, new } => {
            let span = |s: &Option<pmem_core::PrimedSpan>| {
                or(s.map(|s| format!("{:?}", s.state).to_lowercase()), "unprimed")
            };
            format!("space {} {range}: {}", names.of_arena(*arena), change(span(old), span(new)))
        }
        Edit::Window { link, way, piece, old, new } => {
            let window = |w: &Option<AddrRange>| or(w.map(|w| w.to_string()), "closed");
            format!("window {piece} of {} {way}: {}", names.of_link(*link), change(window(old), window(new)))
        }
        Edit::Region { old, new, .. } => {
            // A planned region has its name in the old placement, a committed one in the new: try both.
            let called = |p: &Option<Placement>| p.map(|p| (p.record.id, names.of_region(state, &p)));
            let known = [new, old].into_iter().filter_map(called).find(|(id, name)| *name != id.to_string());
            let name = known.or(called(new)).or(called(old)).map_or(String::new(), |(_, name)| name);
            let place = |p: &Option<Placement>| {
                or(
                    p.map(|p| {
                        let seat = match p.seat {
                            Location::At(range) => range.to_string(),
                            Location::Parked(_) => "parked".to_owned(),
                        };
                        let attrs = p
                            .record
                            .alias()
                            .map_or(format!(" {}", p.record.attrs), |a| format!(" to {:#x}", a.to));
                        format!("{} {seat}{attrs}", names.of_arena(p.arena))
                    }),
                    "none",
                )
            };
            format!("{name}: {}", change(place(old), place(new)))
        }
        Edit::Effective { placement, old, new } => {
            format!("effective attributes of {}: {old} -> {new}", names.of_region(state, placement))
        }
        Edit::Count { region, old, new } => {
            format!(
                "references of {}: {old} -> {new}",
                or(name_of(&names.regions, *region), &region.to_string())
            )
        }
        _ => format!("{edit:?}"),
    }
}
