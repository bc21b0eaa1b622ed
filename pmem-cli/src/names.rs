//! Sentences about the model in the machine's own names.

use pmem_core::{ArenaId, Hop, OwnedResolution, RegionId, State, Why};
use pmem_import::Machine;

/// Why an address leads nowhere, in a sentence.
pub(crate) fn reason(machine: &Machine, resolution: &OwnedResolution) -> Option<String> {
    match resolution {
        OwnedResolution::Accept { .. } => None,
        OwnedResolution::Fault { arena, addr, why, .. } => Some(fault(machine, *arena, *addr, *why)),
        OwnedResolution::Ambiguous(places) => {
            let all: Vec<String> =
                places.iter().map(|p| format!("{} at {:#x}", machine.arena_name(p.arena), p.addr)).collect();
            Some(format!("accepted by {} places: {}", places.len(), all.join(", ")))
        }
        OwnedResolution::Loop(hops) => {
            let through = hops.last().map_or(String::new(), |hop| machine.link_name(hop.link));
            Some(format!(
                "passed round in a circle, or on for ever: {} hops, the last over {through}",
                hops.len()
            ))
        }
    }
}

fn fault(machine: &Machine, arena: ArenaId, addr: u64, why: Why) -> String {
    let name = machine.arena_name(arena);
    match why {
        Why::NoEntry(link) => format!("{name}: {} has no entry for {addr:#x}", machine.link_name(link)),
        Why::NoArena => format!("{name} is not there"),
        _ => format!("nothing in {name} decodes {addr:#x}{}", nearest(machine.state(), machine, arena, addr)),
    }
}

/// What lies on either side of an address that nothing decodes.
fn nearest(state: &State, machine: &Machine, arena: ArenaId, addr: u64) -> String {
    let Some(here) = state.arena(arena) else { return String::new() };
    let windows = here.windows().map(|(r, legs)| (r, legs.first().map(|leg| machine.link_name(leg.link))));
    let all: Vec<_> = here.spans().map(|(r, _)| (r, None)).chain(windows).collect();
    let below = all.iter().filter(|(r, _)| r.last() < addr).max_by_key(|(r, _)| r.last());
    let above = all.iter().filter(|(r, _)| r.start() > addr).min_by_key(|(r, _)| r.start());
    let what = |(range, link): &(pmem_core::AddrRange, Option<String>)| {
        let link = link.as_ref().map_or(String::new(), |link| format!(" ({link})"));
        format!("{}{link}", crate::show::range(*range))
    };
    match (below, above) {
        (None, None) => "; it decodes nothing at all".to_owned(),
        (Some(below), None) => format!("; nearest is {} below", what(below)),
        (None, Some(above)) => format!("; nearest is {} above", what(above)),
        (Some(below), Some(above)) => format!("; between {} and {}", what(below), what(above)),
    }
}

/// The interconnects crossed, in words.
pub(crate) fn path(machine: &Machine, hops: &[Hop]) -> Vec<String> {
    hops.iter()
        .map(|hop| {
            let (from, over) = (machine.arena_name(hop.from), machine.link_name(hop.link));
            format!("{from} {:#x}, over {over}, cost {}", hop.addr, hop.cost)
        })
        .collect()
}

/// What a place is called: the region, or free space of the arena.
pub(crate) fn place(machine: &Machine, arena: ArenaId, region: Option<RegionId>) -> String {
    region.map_or_else(
        || format!("free space of {}", machine.arena_name(arena)),
        |region| machine.region_name(region),
    )
}
