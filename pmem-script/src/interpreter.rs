//! Carries out commands.

use super::command::{Verb, asked_range};
use super::describe::{describe, show_direction};
use super::drivers::Drivers;
use super::memory::Memory;
use super::names::{Names, name_of};
use super::verbs::carry_out;
use super::words::Words;
use pmem_core::{
    DeadEnd, DriverId, Location, Manager, OwnedResolution, Owner, Placement, Released, Saved, SpanState,
    ViewTarget, Way,
};

/// What a block of collected commands is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collecting {
    Transaction,
    Plan,
}

/// A manager, and the names that a script gives to what it holds.
pub(super) struct Interpreter {
    manager: Manager,
    names: Names,
    drivers: Drivers,
    memory: Memory,
    collecting: Option<(Collecting, Vec<Verb>)>,
}

impl Interpreter {
    pub(super) fn new() -> Self {
        Self {
            manager: Manager::new(),
            names: Names::default(),
            drivers: Drivers::default(),
            memory: Memory::new(),
            collecting: None,
        }
    }

    /// Carries out one line, and returns its output; each line of it ends in a newline.
    pub(super) fn line(&mut self, line: &str) -> Result<String, String> {
        let words = Words::of(line);
        let result = match Verb::parse(&words)? {
            Some(verb) => match &mut self.collecting {
                Some((_, verbs)) => {
                    verbs.push(verb);
                    Ok(String::new())
                }
                None => self.change(vec![verb]),
            },
            None => self.command(&words),
        };
        let mut output: String = self.drivers.told().iter().map(|line| format!("{line}\n")).collect();
        output += &self.memory.told();
        match result {
            Ok(text) => Ok(self.translate(&(output + &text))),
            Err(error) => {
                // Calls traced before the failure are part of its message.
                if output.is_empty() {
                    return Err(self.translate(&error));
                }
                output.push_str(&error);
                let who = if Memory::knows(words.name) { "callbacks" } else { "the drivers" };
                Err(self.translate(&format!("{who} were called:\n{output}")))
            }
        }
    }

    /// Replaces ids in a message by names, including those of aliases that the script never named.
    fn translate(&self, text: &str) -> String {
        let unnamed = self.manager.regions().filter(|(id, _)| name_of(&self.names.regions, *id).is_none());
        let called = unnamed.map(|(id, p)| (id.to_string(), self.names.of_region(self.manager.state(), &p)));
        self.names.translate(text, called.collect())
    }

    /// Carries out all `verbs` as one transaction.
    fn change(&mut self, verbs: Vec<Verb>) -> Result<String, String> {
        if let [Verb::Decref { region }] = &verbs[..] {
            return self.decref(region);
        }
        let mut names = self.names.clone();
        let mut wrong = None;
        let result = self.manager.transaction(|plan| carry_out(plan, &mut names, &verbs, &mut wrong));
        let text = result.map_err(|error| wrong.take().unwrap_or_else(|| error.to_string()));
        if text.is_ok() {
            self.names = names;
        }
        text
    }

    fn decref(&mut self, name: &str) -> Result<String, String> {
        let region = self.names.region(name)?;
        let before = self.drivers.told();
        debug_assert!(before.is_empty());
        Ok(match self.manager.decref(region).map_err(|e| e.to_string())? {
            Released::Held { refs } => format!("{name} has {refs} references\n"),
            Released::Gone => format!("{name} is gone\n"),
            Released::Condemned { by } => format!("{name} is condemned by {by}\n"),
        })
    }

    fn plan(&mut self, verbs: Vec<Verb>) -> Result<String, String> {
        let mut names = self.names.clone();
        let mut wrong = None;
        let result = self.manager.plan(|plan| carry_out(plan, &mut names, &verbs, &mut wrong));
        let (text, edits) = result.map_err(|error| wrong.take().unwrap_or_else(|| error.to_string()))?;
        let listed: String = edits
            .iter()
            .map(|edit| format!("  {}\n", describe(self.manager.state(), &names, edit)))
            .collect();
        Ok(names.translate(&format!("{text}planned:\n{listed}"), Vec::new()))
    }

    fn command(&mut self, words: &Words<'_>) -> Result<String, String> {
        match words.name {
            "begin" | "plan" if self.collecting.is_some() => Err("a transaction is open already".to_owned()),
            "begin" => self.collect(Collecting::Transaction),
            "plan" => self.collect(Collecting::Plan),
            "commit" | "rollback" => {
                let Some((what, verbs)) = self.collecting.take() else {
                    return Err("no transaction is open".to_owned());
                };
                match (words.name, what) {
                    ("rollback", _) => Ok(String::new()),
                    (_, Collecting::Transaction) => self.change(verbs),
                    (_, Collecting::Plan) => self.plan(verbs),
                }
            }
            name if self.collecting.is_some() && (name == "feed" || Memory::knows(name)) => {
                Err(format!("{name} acts at once: use it before begin or plan, or after commit"))
            }
            "feed" => self.feed(words),
            "memory" => {
                let done = self.memory.command(words)?;
                // The memory that the feed driver filled is gone, so the driver goes too.
                if !self.drivers.has("uvm")
                    && let Some(feed) = self.names.drivers.remove("uvm")
                {
                    self.manager.deregister(feed).map_err(|error| error.to_string())?;
                }
                Ok(done)
            }
            name if Memory::knows(name) => self.memory.command(words),
            "driver" | "veto" | "fault" => self.drivers.command(&mut self.manager, &mut self.names, words),
            "deregister" | "resync" | "degrade" | "verify" => self.driver_verb(words),
            "drivers" => Ok(self.list_drivers()),
            "reclaim" => Ok(self.reclaim()),
            "get" => self.get(words),
            "find" => self.find(words),
            "owner" => self.owner(words),
            "resolve" => self.resolve(words),
            "view" => self.view(words),
            "reverse" => self.reverse(words),
            "diff" => self.diff(words),
            "distances" => self.distances(words),
            "dump" => self.dump(words),
            "journal" => Ok(self.journal()),
            "reload" => self.reload(),
            "check" => self.manager.check().map(|()| "sound\n".to_owned()).map_err(|e| e.to_string()),
            other => Err(format!("unknown command {other:?}")),
        }
    }

    fn collect(&mut self, what: Collecting) -> Result<String, String> {
        self.collecting = Some((what, Vec::new()));
        Ok(String::new())
    }

    /// `feed VIEW [node=ARENA:N]…`: takes pages from the model's RAM.
    fn feed(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&["node"])?;
        words.at_most(1)?;
        if self.names.drivers.contains_key("uvm") {
            return Err("feed: there is already a driver \"uvm\": use memory to start over".to_owned());
        }
        let view = self.names.arena(words.word(0, "VIEW")?)?;
        let node = |text: &str| {
            let (arena, node) = text.split_once(':').ok_or_else(|| format!("{text:?} is no ARENA:NODE"))?;
            Ok((self.names.arena(arena)?, node.parse().map_err(|_| format!("{node:?} is no node"))?))
        };
        let nodes: Result<Vec<_>, String> = words.options("node").map(node).collect();
        let id = self.memory.feed(&mut self.manager, view, nodes?)?;
        self.names.drivers.insert("uvm".to_owned(), id);
        Ok(String::new())
    }

    fn driver_verb(&mut self, words: &Words<'_>) -> Result<String, String> {
        let name = words.word(0, "DRIVER")?;
        let id = *self.names.drivers.get(name).ok_or_else(|| format!("no driver {name:?}"))?;
        match words.name {
            "deregister" => {
                self.manager.deregister(id).map_err(|e| e.to_string())?;
                self.drivers.forget(id);
                self.names.drivers.retain(|_, driver| *driver != id);
                Ok(String::new())
            }
            "resync" => self.manager.resync(id).map(|()| String::new()).map_err(|e| e.to_string()),
            "degrade" => self.manager.degrade(id).map(|()| String::new()).map_err(|e| e.to_string()),
            _ => match self.manager.verify(id) {
                Ok(()) => Ok("matches the model\n".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn list_drivers(&self) -> String {
        let line = |(_, name, degraded): (DriverId, &str, bool)| {
            format!("{name}{}\n", if degraded { " degraded" } else { "" })
        };
        self.manager.drivers().map(line).collect()
    }

    fn reclaim(&mut self) -> String {
        let kept = self.manager.reclaim();
        let by = |by: &Option<DriverId>| by.map_or_else(String::new, |by| format!(" by {by}"));
        kept.iter().map(|(region, driver)| format!("{region} is still kept{}\n", by(driver))).collect()
    }

    fn get(&self, words: &Words<'_>) -> Result<String, String> {
        let name = words.word(0, "REGION")?;
        let region = self.names.region(name)?;
        let placement = self.manager.placement(region).map_err(|e| e.to_string())?;
        let refs = self.manager.refs(region).map_err(|e| e.to_string())?;
        Ok(format!("{}\n", self.region_line(name, &placement, refs)))
    }

    fn region_line(&self, name: &str, placement: &Placement, refs: u32) -> String {
        let record = placement.record;
        let seat = match placement.seat {
            Location::At(range) => range.to_string(),
            Location::Parked(len) => format!("parked, {len:#x} bytes,"),
        };
        let alias = record.alias().map_or(String::new(), |alias| {
            let target =
                name_of(&self.names.regions, alias.target).unwrap_or_else(|| alias.target.to_string());
            format!(" -> {target} over {}", self.names.of_link(alias.link))
        });
        let owner = if record.owner == Owner(0) { String::new() } else { format!(" {}", record.owner) };
        let pinned = if record.pin == pmem_core::Pin::Pinned { " pinned" } else { "" };
        let attrs = self.manager.state().effective(&record);
        format!("{name} {seat} {attrs} refs {refs}{alias}{owner}{pinned}")
    }

    fn find(&self, words: &Words<'_>) -> Result<String, String> {
        let (arena, addr) = (self.names.arena(words.word(0, "ARENA")?)?, words.addr(1, "ADDR")?);
        let state = self.manager.state();
        let found = state.arena(arena).and_then(|a| a.region_at(addr));
        Ok(match found {
            Some((range, record)) => {
                let placement = Placement { arena, seat: Location::At(range), record };
                format!("{} {range}\n", self.names.of_region(state, &placement))
            }
            None => "nothing\n".to_owned(),
        })
    }

    fn owner(&self, words: &Words<'_>) -> Result<String, String> {
        let owner = Owner(words.addr(0, "OWNER")?);
        let lines = self.manager.by_owner(owner).filter_map(|id| self.manager.placement(id).ok());
        Ok(lines.map(|p| format!("{}\n", self.names.of_region(self.manager.state(), &p))).collect())
    }

    fn resolve(&self, words: &Words<'_>) -> Result<String, String> {
        let (arena, addr) = (self.names.arena(words.word(0, "ARENA")?)?, words.addr(1, "ADDR")?);
        let names = &self.names;
        let by = |hops: &[pmem_core::Hop]| -> String {
            let all: Vec<String> = hops.iter().map(|hop| names.of_link(hop.link)).collect();
            if all.is_empty() { String::new() } else { format!(" by {}", all.join(", ")) }
        };
        Ok(match self.manager.state().resolve(arena, addr) {
            OwnedResolution::Accept { place, hops } => {
                let region = place.region.and_then(|r| name_of(&names.regions, r));
                let region = region
                    .unwrap_or_else(|| if place.region.is_some() { "a region" } else { "free" }.to_owned());
                let arena = names.of_arena(place.arena);
                format!("accept {arena} {:#x} {region} cost {}{}\n", place.addr, place.cost, by(&hops))
            }
            OwnedResolution::Fault { arena, addr, why, hops } => {
                let why = match why {
                    DeadEnd::NoEntry(link) => format!("no entry in {}", names.of_link(link)),
                    DeadEnd::Incomplete(_) => "interleaved, but not all ways are connected".to_owned(),
                    _ => "no arena claims it".to_owned(),
                };
                format!("fault {} {addr:#x}: {why}{}\n", names.of_arena(arena), by(&hops))
            }
            OwnedResolution::Ambiguous(places) => {
                let all: Vec<String> =
                    places.iter().map(|p| format!("{} {:#x}", names.of_arena(p.arena), p.addr)).collect();
                format!("ambiguous {}\n", all.join(", "))
            }
            OwnedResolution::Loop(hops) => format!("loop of {} hops\n", hops.len()),
        })
    }

    fn view(&self, words: &Words<'_>) -> Result<String, String> {
        let arena = self.names.arena(words.word(0, "ARENA")?)?;
        let (state, names) = (self.manager.state(), &self.names);
        let line = |piece: pmem_core::ViewPiece| {
            let what = match piece.what {
                ViewTarget::Local { arena, start, region, attrs, state: span } => {
                    let region = region.and_then(|r| name_of(&names.regions, r));
                    let free = if span == SpanState::Sealed { "sealed" } else { "free" };
                    format!(
                        "{} {start:#x} {} {attrs}",
                        names.of_arena(arena),
                        region.as_deref().unwrap_or(free)
                    )
                }
                ViewTarget::Table { link, .. } => format!("table of {}", names.of_link(link)),
                ViewTarget::Interleave { links, .. } => {
                    let all: Vec<String> = links.iter().map(|link| names.of_link(*link)).collect();
                    format!("interleave over {}", all.join(", "))
                }
                ViewTarget::Ambiguous(arenas) => {
                    let all: Vec<String> = arenas.iter().map(|arena| names.of_arena(*arena)).collect();
                    format!("ambiguous: {}", all.join(", "))
                }
                ViewTarget::Loop => "loop".to_owned(),
            };
            format!("{} {what} cost {}\n", piece.seen, piece.cost)
        };
        Ok(state.view(arena).into_iter().map(line).collect())
    }

    fn reverse(&self, words: &Words<'_>) -> Result<String, String> {
        let arena = self.names.arena(words.word(0, "ARENA")?)?;
        let images = self.manager.state().reverse(arena, asked_range(words, 1)?);
        let line = |image: &pmem_core::Image| {
            format!(
                "{} sees {:#x} at {} cost {}\n",
                self.names.of_arena(image.viewer),
                image.start,
                image.seen,
                image.cost
            )
        };
        Ok(images.iter().map(line).collect())
    }

    fn diff(&self, words: &Words<'_>) -> Result<String, String> {
        let (left, right) = (words.word(0, "ARENA")?, words.word(1, "ARENA")?);
        let differences = self.manager.state().diff(self.names.arena(left)?, self.names.arena(right)?);
        let at = |addr: Option<u64>| addr.map_or("unseen".to_owned(), |addr| format!("{addr:#x}"));
        let line = |d: &pmem_core::Difference| {
            let arena = self.names.of_arena(d.arena);
            format!("{arena} {}: {left} {}, {right} {}\n", d.range, at(d.left), at(d.right))
        };
        Ok(differences.iter().map(line).collect())
    }

    fn distances(&self, words: &Words<'_>) -> Result<String, String> {
        let arena = self.names.arena(words.word(0, "ARENA")?)?;
        let line = |d: &pmem_core::Distance| {
            format!("{} {} in {} hops\n", self.names.of_arena(d.arena), d.metric, d.hops)
        };
        Ok(self.manager.state().distances(arena).iter().map(line).collect())
    }

    fn dump(&self, words: &Words<'_>) -> Result<String, String> {
        let only = words.word(0, "ARENA").ok().map(|name| self.names.arena(name)).transpose()?;
        let state = self.manager.state();
        let mut out = String::new();
        for (id, info, arena) in state.arenas().filter(|(id, ..)| only.is_none_or(|only| only == *id)) {
            out.push_str(&format!("arena {} {}\n", info.name, info.kind.words()));
            for (range, span) in arena.spans() {
                let state = match span.state {
                    SpanState::Open => "",
                    SpanState::Sealed => " sealed",
                    SpanState::Lent => " lent",
                };
                out.push_str(&format!("  primed {range} {}{state}\n", span.attrs));
            }
            for (range, legs) in arena.windows() {
                let all: Vec<String> = legs.iter().map(|leg| self.names.of_link(leg.link)).collect();
                out.push_str(&format!("  behind {} {range}\n", all.join(", ")));
            }
            let placed = arena.regions().map(|(range, record)| (Location::At(range), record));
            let parked = arena.parked().map(|(len, record)| (Location::Parked(len), record));
            for (seat, record) in placed.chain(parked) {
                let placement = Placement { arena: id, seat, record };
                let name = self.names.of_region(state, &placement);
                let refs = self.manager.refs(record.id).unwrap_or(0);
                out.push_str(&format!("  {}\n", self.region_line(&name, &placement, refs)));
            }
        }
        if only.is_none() {
            for (id, link) in state.links() {
                let (left, right) = (self.names.of_arena(link.left), self.names.of_arena(link.right));
                out.push_str(&format!("interconnect {} {left} - {right}\n", self.names.of_link(id)));
                for way in [Way::ToRight, Way::ToLeft] {
                    out.push_str(&format!("  {way}: {}\n", show_direction(state, id, way)));
                }
            }
        }
        Ok(out)
    }

    fn journal(&self) -> String {
        let mut out = String::new();
        for committed in self.manager.journal().iter() {
            out.push_str(&format!("{}:\n", committed.sequence));
            for edit in &committed.edits {
                out.push_str(&format!("  {}\n", describe(self.manager.state(), &self.names, edit)));
            }
        }
        out
    }

    /// Saves, loads, and continues with what was loaded. Drivers are not part of it.
    fn reload(&mut self) -> Result<String, String> {
        let text = serde_json::to_string(&self.manager.save()).map_err(|e| e.to_string())?;
        let saved: Saved = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let loaded = Manager::load(saved).map_err(|e| e.to_string())?;
        let again = serde_json::to_string(&loaded.save()).map_err(|e| e.to_string())?;
        self.manager = loaded;
        self.drivers.forget_all();
        self.names.drivers.clear();
        if text == again {
            Ok("loaded what was saved\n".to_owned())
        } else {
            Err("the loaded model differs from the saved one".to_owned())
        }
    }
}
