//! Commands on pages: segments, page lists, memory hot-plug. They count in page frame numbers.

use super::words::Words;
use pmem_core::{ArenaId, DriverId, Manager};
use pmem_import::parse_addr;
use pmem_uvm::{
    Access, Answer, AutoOnline, Event, Feed, FrameRange, Hotplug, Layout, MemoryAction, MoveError,
    NodeAction, NotifierKey, PageList, PageListRequest, PageOwner, PageRequest, PgaFlags, Plug, Reserves,
    Settings, Strategy, Uvm, Zone,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The pages and blocks, shared with the driver that feeds them.
#[derive(Clone)]
struct Shared(Arc<Mutex<(Uvm, Hotplug)>>);

impl Access for Shared {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        self.0.access(run);
    }
}

impl Shared {
    fn with<T>(&self, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> T {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (uvm, hotplug) = &mut *both;
        run(uvm, hotplug)
    }
}

/// The memory that a script's commands act on.
pub(super) struct Memory {
    shared: Shared,
    pages: BTreeMap<String, u64>,
    lists: BTreeMap<String, PageList>,
    /// The lines that callbacks have traced.
    told: Arc<Mutex<Vec<String>>>,
    /// The names of callbacks, in the order of their keys, which begin at 1.
    listeners: Vec<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Migrates pages if allowed to, and records which page went where.
struct Mover {
    moves: bool,
    moved: Vec<(u64, u64)>,
}

impl Mover {
    fn new(moves: bool) -> Self {
        Self { moves, moved: Vec::new() }
    }

    fn call(&mut self) -> impl FnMut(u64, u64) -> Result<(), MoveError> + '_ {
        |from, to| {
            if !self.moves {
                return Err(MoveError::Never);
            }
            self.moved.push((from, to));
            Ok(())
        }
    }
}

impl Memory {
    /// Creates memory with pages of 4 KiB in blocks of 512 pages.
    pub(super) fn new() -> Self {
        // A block size must be a power of two, which 512 is.
        Self::with(Settings::default(), 512).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn with(settings: Settings, block: u64) -> Result<Self, String> {
        let uvm = Uvm::new(settings);
        let hotplug = Hotplug::new(block, &uvm).map_err(text)?;
        Ok(Self {
            shared: Shared(Arc::new(Mutex::new((uvm, hotplug)))),
            pages: BTreeMap::new(),
            lists: BTreeMap::new(),
            told: Arc::default(),
            listeners: Vec::new(),
        })
    }

    /// Returns `true` if the command is one of this module's.
    pub(super) fn knows(name: &str) -> bool {
        ["memory", "plug", "unplug", "online", "offline", "auto-online", "pages", "pglist", "listen"]
            .contains(&name)
    }

    /// Takes the lines that callbacks have traced since the last command.
    pub(super) fn told(&mut self) -> String {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.drain(..).map(|line| line + "\n").collect()
    }

    /// Carries out a command.
    pub(super) fn command(&mut self, words: &Words<'_>) -> Result<String, String> {
        let done = self.carry_out(words);
        done.map_err(|error| {
            let keys = (1..).zip(&self.listeners).map(|(key, name)| (NotifierKey(key).to_string(), name));
            keys.fold(error, |error, (key, name)| error.replace(&format!("{key} "), &format!("{name} ")))
        })
    }

    fn carry_out(&mut self, words: &Words<'_>) -> Result<String, String> {
        match words.name {
            "memory" => self.memory(words),
            "plug" => self.plug(words),
            "unplug" => self.change(words, &["remove"], |uvm, hotplug, range, words, _| {
                if words.flag("remove", 2) {
                    return hotplug.remove(uvm, range).map_err(text);
                }
                uvm.unplug(range).map_err(text)?;
                hotplug.follow(uvm, range);
                Ok(())
            }),
            "online" => self.change(words, &["movable"], |uvm, hotplug, range, words, _| {
                let zone = if words.flag("movable", 2) { Zone::Movable } else { Zone::Normal };
                hotplug.online(uvm, range, zone).map_err(text)
            }),
            "offline" => self.change(words, &["move", "remove"], |uvm, hotplug, range, words, mover| {
                if words.flag("remove", 2) {
                    return hotplug.offline_and_remove(uvm, range, &mut mover.call()).map_err(text);
                }
                hotplug.offline(uvm, range, &mut mover.call()).map_err(text)
            }),
            "auto-online" => self.auto_online(words),
            "pages" => self.pages(words),
            "pglist" => self.pglist(words),
            _ => self.listen(words),
        }
    }

    /// `memory [pagesize=N] [colours=N] [lists=N] [block=PAGES]`: starts over with empty memory.
    fn memory(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&["pagesize", "colours", "lists", "block"])?;
        words.at_most(0)?;
        let mut settings = Settings::default();
        if let Some(bytes) = words.number("pagesize")? {
            settings = settings.pagesize(bytes).map_err(text)?;
        }
        if let Some(colours) = small(words, "colours")? {
            settings = settings.colours(colours).map_err(text)?;
        }
        if let Some(lists) = small(words, "lists")? {
            settings = settings.free_lists(lists).map_err(text)?;
        }
        *self = Self::with(settings, words.number("block")?.unwrap_or(512))?;
        Ok(String::new())
    }

    /// Registers a driver that feeds pages from the model's RAM, as seen from `view`.
    pub(super) fn feed(
        &self,
        manager: &mut Manager,
        view: ArenaId,
        nodes: Vec<(ArenaId, u32)>,
    ) -> Result<DriverId, String> {
        let layout =
            nodes.into_iter().fold(Layout::new(view), |layout, (arena, node)| layout.node(arena, node));
        let feed = Box::new(Feed::new(self.shared.clone(), layout));
        manager.register(feed, Feed::<Shared>::subscription()).map_err(text)
    }

    fn plug(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&["avail", "list", "node"])?;
        let flags = ["add", "merge", "zeroed"].map(|flag| words.flag(flag, 2));
        words.at_most(2 + flags.iter().filter(|on| **on).count())?;
        let range = frames(words)?;
        let mut plug = Plug::new(range);
        if let Some(avail) = words.option("avail") {
            plug = plug.avail(Some(dashed(words, "avail", avail)?));
        }
        plug = plug
            .free_list(small(words, "list")?.unwrap_or_default())
            .node(small(words, "node")?.unwrap_or_default());
        plug = if flags[1] { plug.merging() } else { plug };
        plug = if flags[2] { plug.zeroed() } else { plug };
        self.shared.with(|uvm, hotplug| {
            if flags[0] {
                let added = hotplug.add(uvm, &plug).map_err(text)?;
                return Ok(added.refused.map_or(String::new(), |why| format!("stays offline: {why}\n")));
            }
            let segment = uvm.plug(&plug).map_err(text)?;
            hotplug.follow(uvm, range);
            Ok(uvm.segment(segment).map(|s| format!("{}\n", s.range())).unwrap_or_default())
        })
    }

    /// `auto-online never|normal|movable|PERCENT`: sets what happens to blocks when they are added.
    fn auto_online(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&[])?;
        words.at_most(1)?;
        let policy = match words.word(0, "POLICY")? {
            "never" => AutoOnline::Never,
            "normal" => AutoOnline::As(Zone::Normal),
            "movable" => AutoOnline::As(Zone::Movable),
            percent => AutoOnline::Ratio(
                percent
                    .parse()
                    .map_err(|_| format!("{percent:?} is none of never, normal, movable, PERCENT"))?,
            ),
        };
        self.shared.with(|_, hotplug| hotplug.set_auto_online(policy));
        Ok(String::new())
    }

    fn change(
        &mut self,
        words: &Words<'_>,
        flags: &[&str],
        run: impl FnOnce(&mut Uvm, &mut Hotplug, FrameRange, &Words<'_>, &mut Mover) -> Result<(), String>,
    ) -> Result<String, String> {
        words.only(&[])?;
        words.at_most(2 + flags.iter().filter(|flag| words.flag(flag, 2)).count())?;
        let range = frames(words)?;
        let mut mover = Mover::new(words.flag("move", 2));
        let done = self.shared.with(|uvm, hotplug| run(uvm, hotplug, range, words, &mut mover));
        self.follow(mover, done)
    }

    /// Updates the names of pages that were migrated.
    fn follow(&mut self, mover: Mover, done: Result<(), String>) -> Result<String, String> {
        let mut out = String::new();
        for (from, to) in mover.moved {
            for (name, page) in self.pages.iter_mut().filter(|(_, page)| **page == from) {
                *page = to;
                out += &format!("{name} moves to {to:#x}\n");
            }
        }
        done.map(|()| out)
    }

    /// `pages` shows all; `pages WHAT ...` acts on pages.
    fn pages(&mut self, words: &Words<'_>) -> Result<String, String> {
        let Ok(what) = words.word(0, "WHAT") else { return Ok(self.show()) };
        match what {
            "alloc" => self.alloc(words),
            "free" | "wire" | "unwire" | "loan" | "unloan" => {
                words.only(&[])?;
                words.at_most(2)?;
                let name = words.word(1, "PAGE")?;
                let page = *self.pages.get(name).ok_or_else(|| format!("no page {name:?}"))?;
                let done = self.shared.with(|uvm, _| match what {
                    "free" => uvm.pagefree(page),
                    "wire" => uvm.pagewire(page),
                    "unwire" => uvm.pageunwire(page),
                    "loan" => uvm.pageloan(page),
                    _ => uvm.pageunloan(page),
                });
                done.map_err(text)?;
                if what == "free" {
                    self.pages.remove(name);
                }
                Ok(String::new())
            }
            "retire" | "reserve" | "capture" => {
                words.only(&[])?;
                let moves = words.flag("move", 3);
                words.at_most(3 + usize::from(moves))?;
                let range = frames_at(words, 1)?;
                let mut mover = Mover::new(moves);
                let done = self.shared.with(|uvm, _| match what {
                    "retire" if moves => uvm.retire_moving(range, &mut mover.call()),
                    "retire" => uvm.retire(range),
                    "reserve" => uvm.reserve(range),
                    _ => uvm.capture(range, &mut mover.call()),
                });
                self.follow(mover, done.map_err(text))
            }
            "keep" => {
                words.only(&["pagedaemon", "kernel", "freemin", "freetarg"])?;
                words.at_most(1)?;
                let number = |key| words.number(key).map(Option::unwrap_or_default);
                let reserves = Reserves {
                    pagedaemon: number("pagedaemon")?,
                    kernel: number("kernel")?,
                    freemin: number("freemin")?,
                    freetarg: number("freetarg")?,
                };
                self.shared.with(|uvm, _| uvm.set_reserves(reserves));
                Ok(String::new())
            }
            other => Err(format!(
                "pages: unknown action {other:?}; expected alloc, free, wire, unwire, loan, unloan, retire, reserve, capture or keep"
            )),
        }
    }

    fn alloc(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&["strategy", "node", "colour", "owner"])?;
        let flags = ["zero", "reserve"].map(|flag| words.flag(flag, 2));
        words.at_most(2 + flags.iter().filter(|on| **on).count())?;
        let name = words.word(1, "NAME")?;
        if self.pages.contains_key(name) {
            return Err(format!("there is a page {name:?} already"));
        }
        let mut wanted = PgaFlags::empty();
        wanted.set(PgaFlags::ZERO, flags[0]);
        wanted.set(PgaFlags::USERESERVE, flags[1]);
        let mut request = PageRequest::new()
            .flags(wanted)
            .node(small(words, "node")?.unwrap_or_default())
            .strategy(strategy(words)?);
        if let Some(colour) = small(words, "colour")? {
            request = request.colour(colour);
        }
        if let Some(key) = words.number("owner")? {
            request = request.owner(PageOwner::Object { key, offset: 0 });
        }
        let page = self.shared.with(|uvm, _| uvm.pagealloc(&request)).map_err(text)?;
        self.pages.insert(name.to_owned(), page);
        Ok(format!("{name} = {page:#x}\n"))
    }

    /// Lists segments, blocks, and counters that are not zero.
    fn show(&self) -> String {
        self.shared.with(|uvm, hotplug| {
            let mut out = String::new();
            for segment in uvm.segments() {
                let (list, node) = (segment.free_list(), segment.node());
                out += &format!("segment {} list {list} node {node}\n", segment.range());
            }
            for (at, block) in hotplug.blocks() {
                out += &format!("block {at} node {} {}\n", block.node, block.state);
            }
            for node in uvm.nodes() {
                if let Some(run) = uvm.longest_run(node) {
                    out += &format!("node {node} longest free run {run}\n");
                }
            }
            let counters: Vec<String> = uvm
                .uvmexp()
                .counters()
                .filter(|(_, value)| *value > 0)
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            if !counters.is_empty() {
                out += &(counters.join(" ") + "\n");
            }
            out
        })
    }

    /// `pglist NAME COUNT [window=] [align=] [boundary=] [runs=]` allocates a page list; `pglist free NAME
    /// [START COUNT]` frees it, or a part of it.
    fn pglist(&mut self, words: &Words<'_>) -> Result<String, String> {
        if words.word(0, "NAME")? == "free" {
            return self.pglist_free(words);
        }
        words.only(&["window", "align", "boundary", "runs"])?;
        words.at_most(2)?;
        let name = words.word(0, "NAME")?;
        if self.lists.contains_key(name) {
            return Err(format!("there is a list {name:?} already"));
        }
        let mut request = PageListRequest::new(words.count_at(1, "COUNT")?).map_err(text)?;
        if let Some(window) = words.option("window") {
            request = request.window(dashed(words, "window", window)?);
        }
        if let Some(align) = words.number("align")? {
            request = request.align(align).map_err(text)?;
        }
        if let Some(boundary) = words.number("boundary")? {
            request = request.boundary(boundary).map_err(text)?;
        }
        if let Some(runs) = words.number("runs")? {
            request = request.runs(runs).map_err(text)?;
        }
        self.shared.with(|uvm, _| {
            let list = uvm.pglistalloc(&request).map_err(text)?;
            let runs: Vec<String> = uvm.runs(&list).map(|run| run.to_string()).collect();
            self.lists.insert(name.to_owned(), list);
            Ok(format!("{name} = {}\n", runs.join(" ")))
        })
    }

    fn pglist_free(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&[])?;
        let name = words.word(1, "NAME")?;
        if words.count() > 2 {
            words.at_most(4)?;
            let list = self.lists.get_mut(name).ok_or_else(|| format!("no list {name:?}"))?;
            let part =
                FrameRange::new(words.count_at(2, "START")?, words.count_at(3, "COUNT")?).map_err(text)?;
            return self
                .shared
                .with(|uvm, _| uvm.pglistfree_part(list, part))
                .map(|()| String::new())
                .map_err(text);
        }
        let list = self.lists.remove(name).ok_or_else(|| format!("no list {name:?}"))?;
        self.shared.with(|uvm, _| uvm.pglistfree(list));
        Ok(String::new())
    }

    /// `listen NAME [priority=N] [bad=EVENT] [stop=EVENT]`: registers a callback that traces events, and
    /// answers BAD or STOP to one of them.
    fn listen(&mut self, words: &Words<'_>) -> Result<String, String> {
        words.only(&["priority", "bad", "stop"])?;
        words.at_most(1)?;
        let name = words.word(0, "NAME")?.to_owned();
        let priority = words.option("priority").map_or(Ok(0), |text| {
            text.parse().map_err(|_| format!("listen: priority {text:?} is not a number"))
        })?;
        let mut answers: Vec<(String, Answer)> = Vec::new();
        for (key, answer) in [("bad", Answer::Bad), ("stop", Answer::Stop)] {
            let Some(event) = words.option(key) else { continue };
            let all = events();
            if !all.contains(&event.to_owned()) {
                return Err(format!("listen: no event {event:?}; there are {}", all.join(", ")));
            }
            answers.push((event.to_owned(), answer));
        }
        self.listeners.push(name.clone());
        let key = NotifierKey(self.listeners.len() as u64);
        let callback = || {
            let (told, name, answers) = (self.told.clone(), name.clone(), answers.clone());
            Box::new(move |_: &mut Uvm, event: &Event| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name}: {event}"));
                let is = |wanted: &String| name_of(event) == *wanted;
                answers.iter().find(|(wanted, _)| is(wanted)).map_or(Answer::Ok, |(_, answer)| *answer)
            })
        };
        self.shared.with(|_, hotplug| {
            hotplug.register_memory(key, priority, callback()).map_err(text)?;
            hotplug.register_node(key, priority, callback()).map_err(text)
        })?;
        Ok(String::new())
    }
}

/// Returns the name of an event without its arguments.
fn name_of(event: &Event) -> String {
    event.to_string().split(' ').next().unwrap_or_default().to_owned()
}

/// Lists the names of all events.
fn events() -> Vec<String> {
    let memory = MemoryAction::ALL.map(|action| {
        // The range does not matter, but it must not be empty.
        let range = FrameRange::new(0, 1).unwrap_or_else(|error| unreachable!("{error}"));
        Event::Memory { action, range, status_change_nid_normal: None, status_change_nid: None }
    });
    let nodes = NodeAction::ALL.map(|action| Event::Node { action, nid: 0 });
    memory.iter().chain(&nodes).map(name_of).collect()
}

/// Parses `START END` in page frames.
fn frames(words: &Words<'_>) -> Result<FrameRange, String> {
    frames_at(words, 0)
}

fn frames_at(words: &Words<'_>, index: usize) -> Result<FrameRange, String> {
    between(words.count_at(index, "START")?, words.count_at(index + 1, "END")?)
}

/// Parses `START-END` or `START..END` in page frames.
fn dashed(words: &Words<'_>, key: &str, text: &str) -> Result<FrameRange, String> {
    let ends = text.split_once("..").or_else(|| text.split_once('-'));
    let ends = ends.and_then(|(start, end)| parse_addr(start).ok().zip(parse_addr(end).ok()));
    let (start, end) = ends.ok_or_else(|| format!("{}: {key} {text:?} is no START-END", words.name))?;
    between(start, end)
}

fn between(start: u64, end: u64) -> Result<FrameRange, String> {
    if end <= start {
        return Err(format!("{start:#x}..{end:#x} is empty or reversed"));
    }
    FrameRange::new(start, end - start).map_err(text)
}

fn small<T: TryFrom<u64>>(words: &Words<'_>, key: &str) -> Result<Option<T>, String> {
    let number = words.number(key)?.map(T::try_from).transpose();
    number.map_err(|_| format!("{}: {key} is too large", words.name))
}

/// Parses `normal`, `numa`, `only:LIST` or `fallback:LIST`.
fn strategy(words: &Words<'_>) -> Result<Strategy, String> {
    let Some(word) = words.option("strategy") else { return Ok(Strategy::Normal) };
    let list = |text: &str| {
        let number = parse_addr(text).ok().and_then(|number| u8::try_from(number).ok());
        number.ok_or_else(|| format!("strategy: {text:?} is no free list"))
    };
    match word.split_once(':') {
        None if word == "normal" => Ok(Strategy::Normal),
        None if word == "numa" => Ok(Strategy::Numa),
        Some(("only", text)) => list(text).map(Strategy::Only),
        Some(("fallback", text)) => list(text).map(Strategy::Fallback),
        _ => Err(format!("{word:?} is no strategy: normal, numa, only:LIST or fallback:LIST")),
    }
}
