//! Phrases model facts in the names that the machine's sources use.

use pmem_core::{ArenaId, DeadEnd, OwnedResolution, PrimedSpan, RegionId, SpanState, State};
use pmem_import::Machine;

/// Explains in a sentence why an address leads nowhere; `None` if something decodes it.
pub(crate) fn reason(machine: &Machine, resolution: &OwnedResolution) -> Option<String> {
    match resolution {
        OwnedResolution::Accept { .. } => None,
        OwnedResolution::Fault { arena, addr, why, .. } => Some(fault(machine, *arena, *addr, *why)),
        OwnedResolution::Ambiguous(places) => {
            let all: Vec<String> =
                places.iter().map(|p| format!("{} at {:#x}", machine.arena_name(p.arena), p.addr)).collect();
            Some(format!("claimed by {} places: {}", places.len(), all.join(", ")))
        }
        OwnedResolution::Loop(hops) => {
            let through = hops.last().map_or(String::new(), |hop| machine.link_name(hop.link));
            Some(format!(
                "routing loop: no arena claims the address after {} hops, the last over {through}",
                hops.len()
            ))
        }
    }
}

fn fault(machine: &Machine, arena: ArenaId, addr: u64, why: DeadEnd) -> String {
    let name = machine.arena_name(arena);
    match why {
        DeadEnd::NoEntry(link) => format!("{name}: {} has no entry for {addr:#x}", machine.link_name(link)),
        DeadEnd::Incomplete(link) => format!(
            "{name}: {addr:#x} is interleaved, but not all ways are connected; {} is one",
            machine.link_name(link)
        ),
        DeadEnd::NoArena => format!("{name} is not there"),
        _ => format!("nothing in {name} decodes {addr:#x}{}", nearest(machine.state(), machine, arena, addr)),
    }
}

/// Names what lies on either side of an address that nothing decodes.
fn nearest(state: &State, machine: &Machine, arena: ArenaId, addr: u64) -> String {
    let Some(here) = state.arena(arena) else { return String::new() };
    let windows = here.windows().map(|(r, legs)| (r, legs.first().map(|leg| leg.link)));
    let all = here.spans().map(|(r, _)| (r, None)).chain(windows);
    let (mut below, mut above) = (None, None);
    for (range, link) in all {
        if range.last() < addr
            && below.is_none_or(|(b, _): (pmem_core::AddrRange, _)| b.last() < range.last())
        {
            below = Some((range, link));
        }
        if range.start() > addr
            && above.is_none_or(|(a, _): (pmem_core::AddrRange, _)| a.start() > range.start())
        {
            above = Some((range, link));
        }
    }
    let what = |(range, link): (pmem_core::AddrRange, Option<pmem_core::LinkId>)| {
        let link = link.map_or(String::new(), |link| format!(" ({})", machine.link_name(link)));
        format!("{}{link}", crate::Extent::from(range))
    };
    match (below, above) {
        (None, None) => "; it decodes nothing at all".to_owned(),
        (Some(below), None) => format!("; nearest is {} below", what(below)),
        (None, Some(above)) => format!("; nearest is {} above", what(above)),
        (Some(below), Some(above)) => format!("; between {} and {}", what(below), what(above)),
    }
}

/// Returns what a place is called: its region, or the kind of vacant space it is.
pub(crate) fn place(machine: &Machine, (arena, addr): (ArenaId, u64), region: Option<RegionId>) -> String {
    region.map_or_else(|| vacant(machine, arena, addr), |region| machine.region_name(region))
}

/// Returns what space without a region is called. On a bus it is space that no BAR or window claims.
pub(crate) fn vacant(machine: &Machine, arena: ArenaId, addr: u64) -> String {
    let name = machine.arena_name(arena);
    let of_bus = machine.buses.values().any(|bus| bus.memory == arena || bus.io == arena);
    match Vacancy::at(machine, arena, addr) {
        Vacancy::Free if of_bus => format!("unassigned space of {name}"),
        vacancy => format!("{} space of {name}", vacancy.word()),
    }
}

/// Whether space without a region can be allocated, or what prevents it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vacancy {
    Free,
    BadRam,
    Sealed,
    /// Sealed memory of a machine: Linux has it, but does not use it.
    Offline,
}

impl Vacancy {
    pub(crate) fn of(span: PrimedSpan) -> Self {
        match span.state {
            SpanState::Sealed => Self::Sealed,
            _ if span.is_broken() => Self::BadRam,
            _ => Self::Free,
        }
    }

    pub(crate) fn at(machine: &Machine, arena: ArenaId, addr: u64) -> Self {
        let span = machine.state().arena(arena).and_then(|arena| arena.span_at(addr));
        match span.map_or(Self::Free, |(_, span)| Self::of(span)) {
            Self::Sealed if machine.memory.contains_key(&arena) => Self::Offline,
            vacancy => vacancy,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::BadRam => "bad",
            Self::Sealed => "sealed",
            Self::Offline => "offline",
        }
    }
}
