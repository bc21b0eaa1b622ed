//! What the model means, by trying: one cell of addresses at a time, every way. It reads what there is (mappings, windows, spans,
//! regions) and shares nothing with the searches.

use pmem_core::{
    AddrRange, Admits, ArenaId, Attrs, LinkId, Mapping, Props, Prot, RegionId, Role, SpanState, State, Way,
    Window,
};
use std::collections::{BTreeMap, BTreeSet};

/// Addresses are looked at in cells of so many bytes; everything begins and ends at one.
pub const CELL: u64 = 256;

/// A place: an arena, and an address of it.
pub type Place = (ArenaId, u64);

/// One hop that an address may take.
#[derive(Clone, Copy, Debug)]
struct Hop {
    link: LinkId,
    way: Way,
    to: Place,
    cost: u32,
    claimed: bool,
    prot: Prot,
}

/// What is at an address.
enum At {
    Own,
    Table(LinkId),
    Interleave,
    Hops(Vec<Hop>),
}

/// What an address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    Nothing,
    /// An arena's own; at what cost and after how many hops, and what may be let through.
    One(Place, u32, u32, BTreeSet<u8>),
    Table(LinkId, Place, u32),
    Interleave(Place, u32),
    Several(BTreeSet<Place>),
    Loop,
}

/// Aliases that are not there yet: what leads where.
pub type Also = BTreeMap<Place, (LinkId, Way, Place)>;

pub struct Brute<'s> {
    pub state: &'s State,
    /// Whether tables and interleaves are left as they are named, as a view does.
    pub names: bool,
    pub also: Also,
}

fn cells(range: AddrRange) -> impl Iterator<Item = u64> {
    (range.start() / CELL..=range.last() / CELL).map(|cell| cell * CELL)
}

impl Brute<'_> {
    fn cost(&self, link: LinkId, way: Way) -> u32 {
        self.state.link(link).unwrap().direction(way).metric.get()
    }

    fn at(&self, (arena, addr): Place) -> At {
        let here = self.state.arena(arena).unwrap();
        let hop =
            |link, way, to, claimed, prot| Hop { link, way, to, cost: self.cost(link, way), claimed, prot };
        // A window may come to open over the arena's own.
        if let Some((link, way, to)) = self.also.get(&(arena, addr)) {
            return At::Hops(vec![hop(*link, *way, *to, true, Prot::RWX)]);
        }
        let own = here.spans().any(|(range, span)| range.contains(addr) && span.state != SpanState::Lent);
        if own {
            return At::Own;
        }
        let alias = here.regions().find_map(|(range, record)| {
            let Role::Alias(alias) = record.role else { return None };
            range.contains(addr).then(|| (alias, alias.to + (addr - range.start()), record.attrs.prot()))
        });
        let (mut claimed, mut yielding) = (Vec::new(), Vec::new());
        let mut is_claimed = false;
        for (link, ends) in self.state.links() {
            for way in [Way::ToRight, Way::ToLeft] {
                if ends.near(way) != arena {
                    continue;
                }
                let far = ends.far(way);
                match &ends.direction(way).mapping {
                    Mapping::Closed => {}
                    Mapping::Identity => yielding.push(hop(link, way, (far, addr), false, Prot::RWX)),
                    Mapping::Windows(windows) => {
                        let now = self.state.windows(link, way);
                        for (window, now) in windows.pieces().iter().zip(now) {
                            let to = (far, addr.wrapping_add(window.offset_of()));
                            if windows.yields() && window.limit().contains(addr) {
                                yielding.push(hop(link, way, to, false, window.prot_of()));
                            } else if !windows.yields() && now.is_some_and(|now| now.contains(addr)) {
                                let narrow = alias.filter(|(a, ..)| (a.link, a.way) == (link, way));
                                let narrow = narrow.map_or(Prot::RWX, |(.., prot)| prot);
                                claimed.push(hop(link, way, to, true, window.prot_of() & narrow));
                                is_claimed = true;
                            }
                        }
                    }
                    Mapping::Interleave(share) => {
                        if share.input().contains(addr) {
                            is_claimed = true;
                            let set = self.state.links().flat_map(|(_, other)| {
                                [Way::ToRight, Way::ToLeft]
                                    .into_iter()
                                    .filter(|way| other.near(*way) == arena)
                                    .filter(|way| match &other.direction(*way).mapping {
                                        Mapping::Interleave(other) => other.input() == share.input(),
                                        _ => false,
                                    })
                                    .collect::<Vec<_>>()
                            });
                            let whole = set.count() == usize::from(share.ways());
                            if whole && self.names && share.ways() > 1 {
                                return At::Interleave;
                            }
                            let chunk = (addr - share.input().start()) / u64::from(share.granularity());
                            if whole && chunk % u64::from(share.ways()) == u64::from(share.position()) {
                                let out = share.output().start()
                                    + chunk / u64::from(share.ways()) * u64::from(share.granularity())
                                    + (addr - share.input().start()) % u64::from(share.granularity());
                                claimed.push(hop(link, way, (far, out), true, Prot::RWX));
                            }
                        }
                    }
                    Mapping::Table(table) => {
                        if table.input().contains(addr)
                            && !table.holes().iter().any(|hole| hole.contains(addr))
                        {
                            is_claimed = true;
                            if self.names {
                                return At::Table(link);
                            }
                            if let Some((_, to, prot)) = alias {
                                claimed.push(hop(link, way, (far, to), true, prot & table.prot_of()));
                            }
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        if is_claimed {
            return At::Hops(claimed);
        }
        if let Some((alias, to, prot)) = alias {
            let ends = self.state.link(alias.link).unwrap();
            let through = yielding.iter().find(|hop| (hop.link, hop.way) == (alias.link, alias.way));
            let through = through.map_or(Prot::empty(), |hop| hop.prot);
            let to = (ends.far(alias.way), to);
            return At::Hops(vec![hop(alias.link, alias.way, to, true, prot & through)]);
        }
        At::Hops(yielding)
    }

    pub fn means(&self, from: Place) -> Meaning {
        // Everything that can be reached, at its least cost; then with the fewest hops.
        let mut best: BTreeMap<Place, (u32, u32)> = BTreeMap::from([(from, (0, 0))]);
        let mut prots: BTreeMap<Place, BTreeSet<u8>> = BTreeMap::from([(from, BTreeSet::from([7]))]);
        let mut again = true;
        while again {
            again = false;
            for (place, (cost, hops)) in best.clone() {
                let At::Hops(next) = self.at(place) else { continue };
                for hop in next {
                    let price = (cost + hop.cost, hops + 1);
                    let had = best.get(&hop.to).copied();
                    let through: BTreeSet<u8> = prots[&place].iter().map(|p| p & hop.prot.bits()).collect();
                    if had.is_none_or(|had| price < had) {
                        best.insert(hop.to, price);
                        prots.insert(hop.to, through);
                        again = true;
                    } else if had == Some(price) {
                        let known = prots.get_mut(&hop.to).unwrap();
                        for prot in through {
                            again |= known.insert(prot);
                        }
                    }
                }
            }
        }
        let goes_round = |start: &Place| {
            let mut at = *start;
            for _ in 0..=best.len() {
                match self.at(at) {
                    At::Hops(hops) if hops.len() == 1 && hops[0].claimed => at = hops[0].to,
                    _ => return false,
                }
            }
            true
        };
        if best.keys().any(goes_round) {
            return Meaning::Loop;
        }
        let ends: Vec<(Place, Meaning)> = best
            .iter()
            .filter_map(|(place, (cost, hops))| match self.at(*place) {
                At::Own => Some((*place, Meaning::One(*place, *cost, *hops, prots[place].clone()))),
                At::Table(link) => Some((*place, Meaning::Table(link, *place, *cost))),
                At::Interleave => Some((*place, Meaning::Interleave(*place, *cost))),
                At::Hops(_) => None,
            })
            .collect();
        match &ends[..] {
            [] => Meaning::Nothing,
            [(_, one)] => one.clone(),
            many => Meaning::Several(many.iter().map(|(place, _)| *place).collect()),
        }
    }

    /// The one place that an address means.
    pub fn place(&self, from: Place) -> Option<Place> {
        match self.means(from) {
            Meaning::One(place, ..) => Some(place),
            _ => None,
        }
    }
}

/// An alias: the interconnect and direction that it goes by, and where it is.
pub type Alias = (RegionId, LinkId, Way, Place);

/// What it takes to make a region visible.
pub struct Mapper<'s> {
    pub state: &'s State,
    pub props: Props,
    /// By region: its aliases through each direction, and where they are.
    pub aliases: BTreeMap<RegionId, Vec<Alias>>,
    /// Whether an address that leads to the same place already, by another way than the one that is being made, will not do.
    pub strict: bool,
}

/// A place that a chain of aliases has got to, from the region back.
#[derive(Clone)]
struct Chain {
    at: Place,
    there: Option<RegionId>,
    len: u64,
    cost: u32,
    hops: u32,
    /// Where in its page the entry of the last table lies.
    within: u64,
    also: Also,
    path: Vec<Place>,
    /// The tables that it has new entries in: one each.
    tables: Vec<(LinkId, Way)>,
}

/// Chains of more hops than this are not tried.
pub const LONGEST: u32 = 5;

impl Mapper<'_> {
    /// The least cost, then the fewest hops, of the chains of aliases that make `range` of `home` visible in `viewer` where `wanted` says,
    /// which is told the address as seen and where in its page the last table's entry lies. No chain passes a place twice.
    pub fn least(
        &self,
        viewer: ArenaId,
        home: ArenaId,
        region: Option<RegionId>,
        range: AddrRange,
        max: u32,
        wanted: &dyn Fn(u64, u64) -> bool,
    ) -> Option<(u32, u32)> {
        let at = (home, range.start());
        let start = Chain {
            at,
            there: region,
            len: range.len(),
            cost: 0,
            hops: 0,
            within: 0,
            also: Also::new(),
            path: vec![at],
            tables: Vec::new(),
        };
        let mut best = None;
        self.extend(viewer, &start, max, wanted, &mut best);
        best
    }

    fn extend(
        &self,
        viewer: ArenaId,
        chain: &Chain,
        max: u32,
        wanted: &dyn Fn(u64, u64) -> bool,
        best: &mut Option<(u32, u32)>,
    ) {
        let Chain { at, there, len, .. } = *chain;
        let is_better = |price: (u32, u32), best: &Option<(u32, u32)>| best.is_none_or(|best| price < best);
        if !is_better((chain.cost, chain.hops), best) || chain.hops > LONGEST {
            return;
        }
        if at.0 == viewer && wanted(at.1, chain.within) {
            *best = Some((chain.cost, chain.hops));
            return;
        }
        for (link, ends) in self.state.links() {
            for way in [Way::ToRight, Way::ToLeft] {
                let (near, direction) = (ends.near(way), ends.direction(way));
                let cost = chain.cost.saturating_add(direction.metric.get());
                if ends.far(way) != at.0 || cost > max || !is_better((cost, chain.hops + 1), best) {
                    continue;
                }
                let known = there.and_then(|there| {
                    self.aliases.get(&there)?.iter().find(|(_, l, w, _)| (*l, *w) == (link, way))
                });
                let mut tables = chain.tables.clone();
                if let Mapping::Table(_) = &direction.mapping {
                    if known.is_none() && tables.contains(&(link, way)) {
                        continue;
                    }
                    tables.extend(known.is_none().then_some((link, way)));
                }
                let mut go = |place: Place, there, also: Also| {
                    let mut path = chain.path.clone();
                    path.push(place);
                    let (hops, tables) = (chain.hops + 1, tables.clone());
                    let within = match &direction.mapping {
                        Mapping::Table(table) => place.1 % table.page(),
                        _ => chain.within,
                    };
                    let next = Chain { at: place, there, len, cost, hops, within, also, path, tables };
                    self.extend(viewer, &next, max, wanted, best);
                };
                if let Some((alias, _, _, place)) = known {
                    if !chain.path.contains(place) {
                        go(*place, Some(*alias), chain.also.clone());
                    }
                    continue;
                }

                let mut starts: BTreeSet<u64> = BTreeSet::new();
                match &direction.mapping {
                    Mapping::Identity => drop(starts.insert(at.1)),
                    Mapping::Windows(windows) => {
                        starts.extend(windows.pieces().iter().map(|w| at.1.wrapping_sub(w.offset_of())));
                    }
                    Mapping::Table(table) => {
                        let offset = at.1 % table.page();
                        starts.extend(cells(table.input()).filter(|s| s % table.page() == offset));
                    }
                    _ => {}
                }
                for start in starts {
                    let place = (near, start);
                    if chain.path.contains(&place) || start.checked_add(len - 1).is_none() {
                        continue;
                    }
                    let range = AddrRange::sized(start, len).unwrap();
                    let fits = (0..direction_pieces(&direction.mapping))
                        .any(|piece| self.fits(link, way, piece, range, at, &chain.also));
                    if fits {
                        let mut also = chain.also.clone();
                        let more = |c: u64| ((near, c), (link, way, (at.0, at.1 + (c - start))));
                        also.extend(cells(range).map(more));
                        go(place, None, also);
                    }
                }
            }
        }
    }

    /// Whether an alias of what is at `to` could lie at `range` by one window of a direction.
    fn fits(&self, link: LinkId, way: Way, piece: usize, range: AddrRange, to: Place, also: &Also) -> bool {
        let ends = self.state.link(link).unwrap();
        let near = ends.near(way);
        let here = self.state.arena(near).unwrap();
        let vacant = |range: AddrRange| here.regions_in(range).next().is_none();
        let taken_also = cells(range).any(|cell| also.contains_key(&(near, cell)));
        if taken_also {
            return false;
        }
        let undecoded = |range: AddrRange| {
            vacant(range) && here.spans_in(range).next().is_none() && here.windows_in(range).next().is_none()
        };
        let means_it = || {
            let then = Brute { state: self.state, names: false, also: also.clone() };
            let now = Brute { state: self.state, names: false, also: Also::new() };
            cells(range).all(|cell| {
                let (here, there) = ((near, cell), (to.0, to.1 + (cell - range.start())));
                let is_new = match (now.means(here), now.means(there)) {
                    (Meaning::One(here, ..), Meaning::One(there, ..)) => here == there,
                    (here, there) => here == Meaning::Nothing && there == Meaning::Nothing,
                };
                (is_new || !self.strict)
                    && then.place(there).is_some()
                    && then.place(here) == then.place(there)
            })
        };
        match &ends.direction(way).mapping {
            Mapping::Identity => undecoded(range) && means_it(),
            Mapping::Windows(windows) => {
                let window = windows.pieces()[piece];
                let moved = range.start().wrapping_add(window.offset_of());
                if !window.limit().covers(range) || moved != to.1 {
                    return false;
                }
                if windows.yields() {
                    return undecoded(range) && means_it();
                }
                window.carries(self.props)
                    && vacant(range)
                    && self.grows(&window, self.state.windows(link, way)[piece], near, range)
            }
            Mapping::Table(table) => {
                let pages = range.rounded(table.page());
                table.input().covers(pages)
                    && !table.holes().iter().any(|hole| hole.overlaps(pages))
                    && vacant(pages)
            }
            _ => false,
        }
    }

    /// Whether a window is, or can come to be, where it covers `range`.
    fn grows(&self, window: &Window, now: Option<AddrRange>, near: ArenaId, range: AddrRange) -> bool {
        let here = self.state.arena(near).unwrap();
        let wanted = range.rounded(window.granule());
        let new = now.map_or(wanted, |now| now.hull(wanted));
        if now.is_some_and(|now| now.covers(range)) {
            return true;
        }
        window.limit().covers(new)
            && cells(new).filter(|cell| now.is_none_or(|now| !now.contains(*cell))).all(|cell| {
                let span = here.span_at(cell).map(|(_, span)| span);
                let prefetch = |attrs: Attrs| attrs.props().contains(Props::PREFETCH);
                here.region_at(cell).is_none()
                    && here.behind(cell).is_empty()
                    && span.is_none_or(|span| {
                        span.state != SpanState::Sealed
                            && (!prefetch(span.attrs) || window.admits() == Admits::Prefetchable)
                    })
            })
    }
}

fn direction_pieces(mapping: &Mapping) -> usize {
    match mapping {
        Mapping::Windows(windows) => windows.pieces().len(),
        _ => 1,
    }
}

/// The places at which `len` bytes with the attributes of a request could lie in an arena, and what they would be.
pub fn places(
    state: &State,
    arena: ArenaId,
    len: u64,
    attrs: impl Fn(Attrs) -> Option<Attrs>,
    limit: u64,
) -> Vec<(AddrRange, Attrs)> {
    let here = state.arena(arena).unwrap();
    let at = |start: u64| {
        let range = AddrRange::sized(start, len).ok()?;
        let first = here.span_at(start)?.1.attrs;
        let wanted = attrs(first)?;
        let fits = cells(range).all(|cell| {
            here.region_at(cell).is_none()
                && here.span_at(cell).is_some_and(|(_, span)| {
                    span.state == SpanState::Open && span.attrs == first && span.admits(wanted)
                })
        });
        fits.then_some((range, wanted))
    };
    (0..limit / CELL).filter_map(|cell| at(cell * CELL)).collect()
}
