//! What an address means: following it from arena to arena until something accepts it.

use super::arena::SpanState;
use super::record::Leg;
use super::state::State;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::Mapping;
use crate::metric::Metric;
use alloc::vec::Vec;

/// Interconnects that an address may cross: two windows that shift by a page loop only after 2^52.
const HOP_BUDGET: usize = 256;
/// Places that an ambiguous answer lists.
const SET_LIMIT: usize = 64;
/// Names that are remembered with what was found there, so that a mesh is not walked once per path.
const KNOWN_LIMIT: usize = 1024;
/// Translations in one answer: past it the answer is a loop.
const STEP_BUDGET: usize = 1 << 16;
/// Translations after which names are no longer followed again for a lower cost: in a mesh of windows there may be
/// exponentially many paths. The answer is the same; its cost is then that of a path, perhaps not the cheapest.
const COST_PATIENCE: usize = 1 << 12;

/// One interconnect crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The arena left.
    pub from: ArenaId,
    /// The address there.
    pub addr: u64,
    /// The interconnect.
    pub link: LinkId,
    /// The direction.
    pub way: Way,
    /// Its cost.
    pub cost: Metric,
}

/// An address of an arena that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The arena whose own address it is.
    pub arena: ArenaId,
    /// The address there.
    pub addr: u64,
    /// The region there; `None` for primed space that is free.
    pub region: Option<RegionId>,
    /// What it cost to get there.
    pub cost: Metric,
}

/// Why an address leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Nothing in the arena decodes it.
    Undecoded,
    /// It is a table's input, and no entry covers it.
    NoEntry(LinkId),
    /// There is no such arena.
    NoArena,
}

/// What an address resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<'w> {
    /// Exactly one place accepts it.
    Accept {
        /// The place.
        place: Place,
        /// The way there.
        hops: &'w [Hop],
    },
    /// Nothing accepts it.
    Fault {
        /// The arena where it got stuck: the one farthest along.
        arena: ArenaId,
        /// The address there.
        addr: u64,
        /// Why.
        why: Why,
        /// The way there.
        hops: &'w [Hop],
    },
    /// More than one place accepts it.
    Ambiguous(&'w [Place]),
    /// It is passed round in a circle, or on for ever.
    Loop(&'w [Hop]),
}

impl Resolution<'_> {
    /// The one place that accepts it.
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}

/// What resolving needs of memory, set aside once: [`State::resolve_in`] takes none.
#[derive(Clone, Debug)]
pub struct Walk {
    path: Vec<Hop>,
    accepted: Vec<Place>,
    accepted_by: Vec<Hop>,
    fault: Option<(ArenaId, u64, Why)>,
    fault_by: Vec<Hop>,
    looped: bool,
    loop_by: Vec<Hop>,
    known: Vec<Known>,
    steps: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

impl Walk {
    /// Sets the memory aside.
    pub fn new() -> Self {
        Self {
            path: Vec::with_capacity(HOP_BUDGET),
            accepted: Vec::with_capacity(SET_LIMIT),
            accepted_by: Vec::with_capacity(HOP_BUDGET),
            fault: None,
            fault_by: Vec::with_capacity(HOP_BUDGET),
            looped: false,
            loop_by: Vec::with_capacity(HOP_BUDGET),
            known: Vec::with_capacity(KNOWN_LIMIT),
            steps: 0,
        }
    }

    fn clear(&mut self) {
        self.path.clear();
        self.accepted.clear();
        self.accepted_by.clear();
        self.fault = None;
        self.fault_by.clear();
        self.looped = false;
        self.loop_by.clear();
        self.known.clear();
        self.steps = 0;
    }

    fn accept(&mut self, place: Place) {
        match self.accepted.iter().position(|p| (p.arena, p.addr) == (place.arena, place.addr)) {
            Some(known) if self.accepted[known].cost <= place.cost => return,
            Some(known) => self.accepted[known] = place,
            None if self.accepted.len() < SET_LIMIT => self.accepted.push(place),
            None => return,
        }
        if self.accepted.len() == 1 {
            self.accepted_by.clear();
            self.accepted_by.extend_from_slice(&self.path);
        }
    }

    fn fault(&mut self, arena: ArenaId, addr: u64, why: Why) {
        if self.fault.is_none() || self.path.len() > self.fault_by.len() {
            self.fault = Some((arena, addr, why));
            self.fault_by.clear();
            self.fault_by.extend_from_slice(&self.path);
        }
    }

    fn looped(&mut self, hop: Hop) {
        if !self.looped {
            self.looped = true;
            self.loop_by.extend_from_slice(&self.path);
            if self.loop_by.len() < HOP_BUDGET {
                self.loop_by.push(hop);
            }
        }
    }

    fn cost(&self) -> Metric {
        self.path.iter().fold(Metric::ZERO, |sum, hop| sum + hop.cost)
    }
}

/// A name that has been followed, and at what cost it was reached: reached at no lower cost, it has no news.
#[derive(Clone, Copy, Debug)]
struct Known {
    arena: ArenaId,
    addr: u64,
    cost: Metric,
    found: Found,
}

/// What following an address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A place, or a loop.
    Something,
    /// Nothing.
    Nothing,
}

impl State {
    /// Resolves an address as seen from `arena`, into a copy that owns what it says.
    ///
    /// Of several mappings that yield, an address takes every one; it is accepted if one place in all accepts it.
    /// A circle is a loop, unless part of it is only handed on between arenas that may hand it back: there the
    /// address ends where everybody has been asked.
    pub fn resolve(&self, arena: ArenaId, addr: u64) -> OwnedResolution {
        let mut walk = Walk::new();
        match self.resolve_in(&mut walk, arena, addr) {
            Resolution::Accept { place, hops } => OwnedResolution::Accept { place, hops: hops.to_vec() },
            Resolution::Fault { arena, addr, why, hops } => {
                OwnedResolution::Fault { arena, addr, why, hops: hops.to_vec() }
            }
            Resolution::Ambiguous(places) => OwnedResolution::Ambiguous(places.to_vec()),
            Resolution::Loop(hops) => OwnedResolution::Loop(hops.to_vec()),
        }
    }

    /// Resolves an address as seen from `arena`, without taking memory.
    pub fn resolve_in<'w>(&self, walk: &'w mut Walk, arena: ArenaId, addr: u64) -> Resolution<'w> {
        walk.clear();
        self.follow(walk, arena, addr);
        let walk = &*walk;
        match (walk.looped, &walk.accepted[..], walk.fault) {
            (true, ..) => Resolution::Loop(&walk.loop_by),
            (false, [place], _) => Resolution::Accept { place: *place, hops: &walk.accepted_by },
            (false, [], fault) => {
                let (arena, addr, why) = fault.unwrap_or((arena, addr, Why::Undecoded));
                Resolution::Fault { arena, addr, why, hops: &walk.fault_by }
            }
            (false, places, _) => Resolution::Ambiguous(places),
        }
    }

    fn follow(&self, walk: &mut Walk, id: ArenaId, addr: u64) -> Found {
        let Some(arena) = self.arena(id) else {
            walk.fault(id, addr, Why::NoArena);
            return Found::Nothing;
        };
        if let Some((_, span)) = arena.span_at(addr)
            && span.state != SpanState::Lent
        {
            let region = arena.region_at(addr).map(|(_, record)| record.id);
            walk.accept(Place { arena: id, addr, region, cost: walk.cost() });
            return Found::Something;
        }
        let cost = walk.cost();
        let patient = walk.steps < COST_PATIENCE;
        let has_no_news = |k: &&Known| (k.arena, k.addr) == (id, addr) && (k.cost <= cost || !patient);
        if let Some(known) = walk.known.iter().find(has_no_news) {
            return known.found;
        }
        let claimed = arena.behind(addr);
        let mut found = Found::Nothing;
        for leg in if claimed.is_empty() { arena.fallbacks() } else { claimed } {
            if self.cross(walk, id, addr, *leg) == Found::Something {
                found = Found::Something;
            }
        }
        // Where a leg takes it, it got stuck farther along.
        let takes = |leg: &Leg| self.translate(id, addr, *leg).is_some();
        if found == Found::Nothing && !claimed.iter().any(takes) {
            walk.fault(id, addr, Why::Undecoded);
        }
        if walk.known.len() < KNOWN_LIMIT {
            walk.known.push(Known { arena: id, addr, cost, found });
        }
        found
    }

    fn cross(&self, walk: &mut Walk, id: ArenaId, addr: u64, leg: Leg) -> Found {
        let Some(next) = self.translate(id, addr, leg) else {
            if let Some(Mapping::Table(_)) = self.link(leg.link).map(|l| &l.direction(leg.way).mapping) {
                walk.fault(id, addr, Why::NoEntry(leg.link));
            }
            return Found::Nothing;
        };
        let Some(link) = self.link(leg.link) else { return Found::Nothing };
        let hop = Hop { from: id, addr, link: leg.link, way: leg.way, cost: link.direction(leg.way).metric };
        let far = link.far(leg.way);
        walk.steps += 1;
        if let Some(first) = walk.path.iter().position(|hop| (hop.from, hop.addr) == (far, next)) {
            let mutual = |hop: &Hop| self.link(hop.link).is_some_and(|link| link.is_mutual(hop.way));
            if walk.path[first..].iter().chain([&hop]).any(mutual) {
                // Handed on round a mesh of buses: whoever takes it has been asked already.
                return Found::Nothing;
            }
            walk.looped(hop);
            return Found::Something;
        }
        if walk.steps > STEP_BUDGET && walk.accepted.len() > 1 {
            // More than one place is known already: that is the answer, however many more there are.
            return Found::Something;
        }
        if walk.path.len() >= HOP_BUDGET || walk.steps > STEP_BUDGET {
            walk.looped(hop);
            return Found::Something;
        }
        walk.path.push(hop);
        let found = self.follow(walk, far, next);
        walk.path.pop();
        found
    }

    /// Where an address goes by one leg; `None` if the leg does not take it.
    pub(crate) fn translate(&self, arena: ArenaId, addr: u64, leg: Leg) -> Option<u64> {
        match &self.link(leg.link)?.direction(leg.way).mapping {
            Mapping::Closed => None,
            Mapping::Identity => Some(addr),
            Mapping::Windows(w) if w.yields() => w
                .pieces()
                .iter()
                .find(|piece| piece.limit_of().contains(addr))
                .map(|piece| addr.wrapping_add(piece.offset_of())),
            Mapping::Windows(w) => {
                Some(addr.wrapping_add(w.pieces().get(usize::from(leg.piece))?.offset_of()))
            }
            Mapping::Interleave(share) => share.translate(addr),
            Mapping::Table(_) => {
                let (range, record) = self.arena(arena)?.region_at(addr)?;
                let alias = record.alias().filter(|a| (a.link, a.way) == (leg.link, leg.way))?;
                Some(alias.to + (addr - range.start()))
            }
        }
    }
}

/// [`Resolution`], owning what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedResolution {
    /// Exactly one place accepts it.
    Accept {
        /// The place.
        place: Place,
        /// The way there.
        hops: Vec<Hop>,
    },
    /// Nothing accepts it.
    Fault {
        /// The arena where it got stuck.
        arena: ArenaId,
        /// The address there.
        addr: u64,
        /// Why.
        why: Why,
        /// The way there.
        hops: Vec<Hop>,
    },
    /// More than one place accepts it.
    Ambiguous(Vec<Place>),
    /// It is passed round in a circle, or on for ever.
    Loop(Vec<Hop>),
}

impl OwnedResolution {
    /// The one place that accepts it.
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}
