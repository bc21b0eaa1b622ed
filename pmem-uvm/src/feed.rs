//! A pmem-core driver that plugs the RAM primed in a model.

use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::hotplug::{Hotplug, HotplugError, Transition};
use crate::layout::{Layout, Ram, Sight};
use crate::map::FrameMap;
use crate::page::{Page, PageState};
use crate::segment::{Plug, Zone};
use crate::settings::Settings;
use crate::uvm::{MoveError, Uvm};
use alloc::boxed::Box;
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, ArenaType, Change, Concern, Driver, Edit, Fault, Interest, Kinds, Location, Mismatch,
    Placement, Props, Prot, Scope, State, Step, Subscription, Usage, Veto,
};

/// Access for a driver to memory that others use as well.
pub trait Access: Send {
    /// Calls `run` once while nobody else works on either. Does not call it if there is no access, for example from
    /// within a callback.
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug));
}

/// For hosts in which no other thread uses pages at the same time.
#[cfg(feature = "std")]
impl Access for std::sync::Arc<std::sync::Mutex<(Uvm, Hotplug)>> {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        let mut both = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (uvm, hotplug) = &mut *both;
        run(uvm, hotplug);
    }
}

/// A callback that moves a page's contents and users: see [`Uvm::capture`].
pub type Mover = Box<dyn FnMut(u64, u64) -> Result<(), MoveError> + Send>;

/// A range whose state changes.
struct Going {
    range: FrameRange,
    /// What the model had for it, as it was fed.
    old: Option<Ram>,
    new: Option<Ram>,
    /// Whether the memory is in use now, no matter who brought it online; `None` if it is not plugged.
    used: Option<bool>,
    /// Its zone, which does not change.
    zone: Zone,
    /// The hot-plug transition that was begun for it.
    transition: Option<Transition>,
    /// Whether anything was begun for it.
    begun: bool,
    /// Whether publishing it failed.
    failed: bool,
}

impl Going {
    /// Whether its pages are in use and become something else, so that they have to be held back.
    fn leaves(&self) -> bool {
        let stays = !self.changes_segment() && self.wants(PageState::Free);
        self.used == Some(true) && !stays
    }

    /// Whether it has to be plugged.
    fn comes(&self) -> bool {
        self.used.is_none() && self.new.is_some()
    }

    /// Whether it stays offline because somebody took it offline, not the model by sealing it.
    fn stays_offline(&self) -> bool {
        self.used == Some(false) && self.old.is_some_and(|old| old.state != PageState::Offline)
    }

    fn wants(&self, state: PageState) -> bool {
        self.new.is_some_and(|new| new.state == state)
    }

    /// Whether the memory is there before and after, but as part of another segment.
    fn changes_segment(&self) -> bool {
        self.used.is_some() && matches!((self.old, self.new), (Some(old), Some(new)) if !old.is_like(&new))
    }

    /// The state its pages must have once everything is installed.
    fn target(&self) -> PageState {
        // Memory that moves to another segment is out of use until then.
        let stays = self.new.filter(|_| !self.changes_segment());
        stays.map_or(PageState::Offline, |new| new.state)
    }
}

/// A change that was prepared.
struct Staged {
    sights: Vec<Sight>,
    going: Vec<Going>,
    /// Whether the change settled the free lists, so that aborting it must unsettle them.
    settled: bool,
}

/// A driver that feeds a [`Uvm`] from a model's RAM.
///
/// Priming space plugs it, sealing takes it offline, and unpriming unplugs it. A region with a usage makes its pages
/// unavailable; a region that is BROKEN retires them. The free list of an arena follows its distance. Memory hot-plug
/// callbacks are asked during *prepare* and notified when the change is published. Register the driver with
/// [`Self::subscription`].
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric};
/// use pmem_uvm::{Feed, Layout, SharedUvm, Uvm};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("cpu", ArenaType::VIEW)?;
/// let dimm = pmem.create_arena("dimm", ArenaType::RAM)?;
/// let window = Mapping::window(AddrRange::new(0x8000_0000, 0x9000_0000)?, 0)?;
/// pmem.connect(cpu, dimm, window, Metric::new(1))?;
///
/// let memory = SharedUvm::new(Uvm::default(), 0x800)?;
/// let feed = Feed::new(memory.clone(), Layout::new(cpu));
/// pmem.register(Box::new(feed), Feed::<SharedUvm>::subscription())?;
/// pmem.prime(dimm, AddrRange::new(0, 0x100_0000)?, Attrs::ram())?;
/// assert_eq!(memory.uvmexp().free, 0x1000);
/// assert!(memory.snapshot().find(0x8_0000).is_some(), "where the CPU sees it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Feed<A> {
    access: A,
    layout: Layout,
    mover: Mover,
    sights: Vec<Sight>,
    fed: FrameMap<Ram>,
    staged: Option<Staged>,
}

impl<A: Access> Feed<A> {
    /// Makes a driver that feeds memory as `layout` describes. Without a [`mover`](Self::mover), pages that are
    /// handed out cannot be moved.
    pub fn new(access: A, layout: Layout) -> Self {
        Self {
            access,
            layout,
            mover: Box::new(|_, _| Err(MoveError::Never)),
            sights: Vec::new(),
            fed: FrameMap::new(),
            staged: None,
        }
    }

    /// Sets the callback that moves pages out of the way.
    #[must_use]
    pub fn mover(self, mover: Mover) -> Self {
        Self { mover, ..self }
    }

    /// Returns the subscription to register the driver with. It has the lowest priority: the driver is asked last and
    /// installs last, so no other driver's failure takes back what callbacks were told.
    #[must_use]
    pub fn subscription() -> Subscription {
        let kinds = Kinds::REGIONS | Kinds::ATTRS | Kinds::SPANS | Kinds::WINDOWS | Kinds::TOPOLOGY;
        let interest = Interest {
            kinds,
            usage: Usage::all(),
            prot: Prot::empty(),
            props: Props::empty(),
            places: false,
        };
        Subscription::new([Scope::Everything]).interest(interest).priority(i32::MIN)
    }

    fn with<T>(&self, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> Option<T> {
        enter(&self.access, run)
    }

    fn settings(&self) -> Settings {
        self.with(|uvm, _| uvm.settings()).unwrap_or_default()
    }

    /// Returns what changes in a window, by range.
    fn changes(&self, window: FrameRange, wanted: &[(FrameRange, Ram)]) -> Vec<Going> {
        let old: Vec<(FrameRange, Ram)> =
            self.fed.overlapping(window).map(|(range, fed)| (range, *fed)).collect();
        let mut cuts: Vec<u64> = old.iter().chain(wanted).flat_map(|(r, _)| [r.start(), r.end()]).collect();
        cuts.retain(|cut| (window.start()..=window.end()).contains(cut));
        cuts.extend([window.start(), window.end()]);
        cuts.sort_unstable();
        cuts.dedup();
        let at = |list: &[(FrameRange, Ram)], frame: u64| {
            let (range, fed) = list.get(list.partition_point(|(range, _)| range.end() <= frame))?;
            range.contains(frame).then_some(*fed)
        };
        let mut going: Vec<Going> = Vec::new();
        for pair in cuts.windows(2) {
            let Some(range) = FrameRange::between(pair[0], pair[1]) else { continue };
            let (old, new) = (at(&old, range.start()), at(wanted, range.start()));
            if old == new {
                continue;
            }
            match going.last_mut() {
                Some(last) if last.range.end() == range.start() && (last.old, last.new) == (old, new) => {
                    last.range = FrameRange::between(last.range.start(), range.end()).unwrap_or(range);
                }
                _ => {
                    let (used, zone) = (None, Zone::Normal);
                    going.push(Going {
                        range,
                        old,
                        new,
                        used,
                        zone,
                        transition: None,
                        begun: false,
                        failed: false,
                    });
                }
            }
        }
        going
    }

    /// Returns the windows in which a change may matter; none if it does not matter at all, and `None` if it may
    /// matter anywhere.
    fn windows(&self, change: &Change<'_>, settings: Settings) -> Option<Vec<FrameRange>> {
        let mut windows = Vec::new();
        let is_ram = |arena| change.after().info(arena).is_none_or(|info| info.kind.contains(ArenaType::RAM));
        for edit in change.edits() {
            match edit {
                Edit::Region { old, new, .. } => {
                    for Placement { arena, seat, .. } in [old, new].into_iter().flatten() {
                        let Location::At(range) = seat else { continue };
                        let sights = self.sights.iter().filter(|sight| sight.arena == *arena);
                        let seen = sights.filter_map(|sight| {
                            FrameRange::around(sight.seen_of(*range)?, settings.pageshift())
                        });
                        windows.extend(seen);
                    }
                }
                Edit::Span { arena, .. } if !is_ram(*arena) => {}
                Edit::Count { .. } | Edit::Effective { .. } => {}
                _ => return None,
            }
        }
        windows.sort_unstable_by_key(|window| window.start());
        // Join windows that overlap, so that no range is found twice.
        let mut joined: Vec<FrameRange> = Vec::new();
        for window in windows {
            match joined.last_mut() {
                Some(last) if window.start() <= last.end() => {
                    *last = FrameRange::between(last.start(), last.end().max(window.end())).unwrap_or(*last);
                }
                _ => joined.push(window),
            }
        }
        Some(joined)
    }

    /// Returns what changes in the windows, or anywhere if `windows` is `None`, given the stretches of RAM that are
    /// seen.
    fn stage(
        &self,
        state: &State,
        sights: &[Sight],
        windows: Option<Vec<FrameRange>>,
        settings: Settings,
    ) -> Vec<Going> {
        let all = FrameRange::inside(AddrRange::ALL, settings.pageshift());
        let windows = windows.unwrap_or_else(|| all.into_iter().collect());
        let mut going: Vec<Going> = Vec::new();
        for window in windows {
            let Some(bytes) = window.bytes(settings.pageshift()) else { continue };
            going.extend(self.changes(window, &self.layout.wanted(state, sights, bytes, settings)));
        }
        going
    }

    /// Begins all ranges: asks the callbacks and sets aside pages. A range is split where the memory in it differs.
    fn begin(&mut self, going: Vec<Going>) -> Result<(), (FrameRange, HotplugError)> {
        let Some(first) = going.first().map(|step| step.range) else { return Ok(()) };
        // Each step is recorded as soon as it begins. If a callback panics, `abort` takes back the rest.
        let Self { access, mover, staged: Some(staged), .. } = self else { return Ok(()) };
        let begun = enter(access, |uvm, hotplug| {
            uvm.check_kept().map_err(|error| (first, error.into()))?;
            let one =
                |uvm: &mut Uvm, hotplug: &mut Hotplug, step: &mut Going| begin_one(uvm, hotplug, step, mover);
            begin_all(uvm, hotplug, going, &mut staged.going, one)
        });
        begun.unwrap_or(Err((first, HotplugError::InCallback)))
    }

    /// Drops a change that does not happen.
    fn unsettle(&mut self) -> Option<Staged> {
        let staged = self.staged.take()?;
        if staged.settled {
            self.layout.unsettle();
        }
        Some(staged)
    }

    fn settle(&mut self, staged: Staged) {
        // A step that failed left memory as it was, which verifying will show.
        for step in staged.going.iter().filter(|step| !step.failed) {
            put(&mut self.fed, step.range, step.new);
        }
        self.sights = staged.sights;
    }

    /// Reads back what is plugged now of the memory that is wanted and of the memory that was fed.
    fn read_back(&self, wanted: &[(FrameRange, Ram)]) -> FrameMap<Ram> {
        let mut found = FrameMap::new();
        let fed = self.fed.iter().map(|(range, ram)| (range, *ram));
        self.with(|uvm, _| {
            for (range, ram) in fed.chain(wanted.iter().copied()) {
                for (run, segment, state) in uvm.runs_by_state(range) {
                    let (attrs, free_list, node) = (segment.attrs(), segment.free_list(), segment.node());
                    put(&mut found, run, Some(Ram { arena: ram.arena, attrs, free_list, node, state }));
                }
            }
        });
        found
    }

    /// Makes memory match a state without asking any callback.
    fn take_over(&mut self, state: &State) -> Result<(), (FrameRange, HotplugError)> {
        let settings = self.settings();
        let sights = self.layout.look(state);
        let going = self.stage(state, &sights, None, settings);
        let Some(first) = going.first().map(|step| step.range) else {
            self.sights = sights;
            return Ok(());
        };
        let done = self.with(|uvm, hotplug| {
            uvm.check_kept().map_err(|error| (first, error.into()))?;
            let mut parts = Vec::new();
            begin_all(uvm, hotplug, going, &mut parts, |uvm, hotplug, step| {
                hold_one(uvm, hotplug, step, &mut |_, _| Err(MoveError::Never))
            })?;
            let failed = publish_all(uvm, hotplug, &mut parts);
            Ok((parts, failed))
        });
        let (going, failed) = done.unwrap_or(Err((first, HotplugError::InCallback)))?;
        self.settle(Staged { sights, going, settled: false });
        failed.map_or(Ok(()), Err)
    }
}

/// Calls `run` once with the memory; `None` if there is no access.
fn enter<A: Access, T>(access: &A, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> Option<T> {
    let mut run = Some(run);
    let mut result = None;
    access.access(&mut |uvm, hotplug| result = run.take().map(|run| run(uvm, hotplug)));
    result
}

/// Splits a range where the memory in it differs: in use or not, in which zone, or not plugged.
fn split(uvm: &Uvm, hotplug: &Hotplug, step: Going, parts: &mut Vec<Going>) {
    let Going { range, old, new, .. } = step;
    let mut add = |range: FrameRange, used, zone| {
        parts.push(Going { range, old, new, used, zone, transition: None, begun: false, failed: false });
    };
    // Memory that is plugged into a block takes over the zone of that block.
    let absent = |range: Option<FrameRange>, add: &mut dyn FnMut(FrameRange, Option<bool>, Zone)| {
        let zones = range.map_or(Vec::new(), |range| hotplug.zones(range));
        zones.into_iter().for_each(|(range, zone)| add(range, None, zone));
    };
    let mut from = range.start();
    // If the range was never fed, nothing in it is ours. Should somebody else have plugged it, plugging reports that.
    let runs = if old.is_some() { uvm.runs_by_use(range) } else { Vec::new() };
    for (run, used, zone) in runs {
        absent(FrameRange::between(from, run.start()), &mut add);
        add(run, Some(used), zone);
        from = run.end();
    }
    absent(FrameRange::between(from, range.end()), &mut add);
}

/// Begins all steps with `one`, or none of them.
fn begin_all(
    uvm: &mut Uvm,
    hotplug: &mut Hotplug,
    going: Vec<Going>,
    parts: &mut Vec<Going>,
    mut one: impl FnMut(&mut Uvm, &mut Hotplug, &mut Going) -> Result<(), HotplugError>,
) -> Result<(), (FrameRange, HotplugError)> {
    going.into_iter().for_each(|step| split(uvm, hotplug, step, parts));
    // Hold back everything that leaves before asking about what comes.
    parts.sort_by_key(|step| !step.leaves());
    for at in 0..parts.len() {
        let step = &mut parts[at];
        step.begun = true;
        if let Err(error) = one(uvm, hotplug, step) {
            // `one` has taken back its own part already.
            step.begun = false;
            let range = step.range;
            cancel(uvm, hotplug, parts);
            return Err((range, error));
        }
    }
    Ok(())
}

/// Publishes everything that was begun and notifies whoever was asked. Returns the first failure.
fn publish_all(
    uvm: &mut Uvm,
    hotplug: &mut Hotplug,
    going: &mut [Going],
) -> Option<(FrameRange, HotplugError)> {
    let mut failed = None;
    for step in &mut *going {
        if let Err(error) = publish_one(uvm, hotplug, step) {
            step.failed = true;
            failed.get_or_insert((step.range, error));
        }
    }
    for step in &mut *going {
        hotplug.follow(uvm, step.range);
        match &step.transition {
            Some(transition) if step.failed => hotplug.cancel(uvm, transition),
            Some(transition) => hotplug.announce(uvm, transition),
            None => {}
        }
    }
    failed
}

/// Gives a range its final state. Memory that comes is plugged already.
fn make(uvm: &mut Uvm, step: &Going) -> Result<(), UvmError> {
    let range = step.range;
    let was_bad = step.old.is_some_and(|old| old.state == PageState::Retired);
    let keeps = |state| match state {
        PageState::Retired => !was_bad,
        PageState::Offline => step.stays_offline() && !step.wants(PageState::Retired),
        _ => false,
    };
    let mut kept = Vec::new();
    if step.used.is_some() && (step.new.is_none() || step.changes_segment()) {
        for state in [PageState::Retired, PageState::Offline].into_iter().filter(|state| keeps(*state)) {
            kept.extend(uvm.runs_of(range, state).into_iter().map(|run| (run, state)));
        }
        uvm.unplug(range)?;
    }
    let Some(new) = step.new else { return Ok(()) };
    if step.changes_segment() {
        uvm.plug(&plug_of(range, &new))?;
    } else if step.used == Some(true) && !step.leaves() {
        // Somebody brought it online already.
        return Ok(());
    }
    uvm.set_zone(range, step.zone);
    uvm.turn(range, new.state, |state| match state {
        PageState::Allocated | PageState::Cached | PageState::Isolated => false,
        state => step.changes_segment() || !keeps(state),
    });
    kept.into_iter().for_each(|(run, state)| uvm.turn(run, state, |_| true));
    merge(uvm, range);
    Ok(())
}

fn plug_of(range: FrameRange, fed: &Ram) -> Plug {
    Plug::new(range).free_list(fed.free_list).node(fed.node).attrs(fed.attrs).offline()
}

/// Merges the segment at a range with neighbours that are like it.
fn merge(uvm: &mut Uvm, range: FrameRange) {
    if let Some(id) = uvm.find(range.start()).map(|(segment, _)| segment.id()) {
        uvm.merge(id);
    }
}

fn begin_one(
    uvm: &mut Uvm,
    hotplug: &mut Hotplug,
    step: &mut Going,
    mover: &mut Mover,
) -> Result<(), HotplugError> {
    let (range, zone) = (step.range, step.zone);
    let node = step.old.or(step.new).map_or(0, |ram| ram.node);
    check_may_leave(uvm, step)?;
    // Callbacks are not asked about memory that stays, even if it becomes a region's, bad, or part of another
    // segment.
    if step.leaves() && (step.new.is_none() || step.wants(PageState::Offline)) {
        step.transition = Some(hotplug.begin_offline(uvm, range, node, zone, mover)?);
        return Ok(());
    }
    hold_one(uvm, hotplug, step, mover)?;
    // Memory that a region leaves was there all the time; memory that was sealed was not.
    let was_there = step.used.is_some() && step.old.is_some_and(|old| old.state != PageState::Offline);
    if step.used != Some(true) && step.wants(PageState::Free) && !was_there {
        let node = step.new.map_or(0, |ram| ram.node);
        let begun = hotplug.begin_online(uvm, range, node, zone);
        step.transition = Some(begun.inspect_err(|_| let_go(uvm, step))?);
    }
    Ok(())
}

/// Checks that no part of what leaves belongs to an area that is lent.
fn check_may_leave(uvm: &Uvm, step: &Going) -> Result<(), HotplugError> {
    if step.leaves() { Ok(uvm.check_not_lent(step.range)?) } else { Ok(()) }
}

/// Plugs what comes and holds back what becomes something else, without asking any callback.
fn hold_one(
    uvm: &mut Uvm,
    hotplug: &Hotplug,
    step: &Going,
    mover: &mut dyn FnMut(u64, u64) -> Result<(), MoveError>,
) -> Result<(), HotplugError> {
    check_may_leave(uvm, step)?;
    if let Some(new) = step.new.filter(|_| step.comes()) {
        uvm.plug_beside(&plug_of(step.range, &new), hotplug.bytes_for(step.range))?;
    }
    if step.leaves() {
        let passed = |page: Page<'_>| matches!(page.state(), PageState::Retired | PageState::Offline);
        uvm.isolate_beside(step.range, passed, mover)?;
    }
    Ok(())
}

/// Takes back what [`hold_one`] did. Nobody was given a page of what came, so it can be unplugged.
fn let_go(uvm: &mut Uvm, step: &Going) {
    if step.leaves() {
        uvm.unisolate(step.range);
    }
    if step.comes() {
        let _ = uvm.unplug(step.range);
    }
}

/// Carries out what was begun.
fn publish_one(uvm: &mut Uvm, hotplug: &mut Hotplug, step: &Going) -> Result<(), HotplugError> {
    match &step.transition {
        Some(transition) if step.leaves() => hotplug.commit(uvm, transition)?,
        None if step.leaves() => uvm.turn(step.range, step.target(), |state| state == PageState::Isolated),
        _ => {}
    }
    Ok(make(uvm, step)?)
}

/// Takes back what was begun.
fn cancel(uvm: &mut Uvm, hotplug: &mut Hotplug, going: &mut [Going]) {
    for step in going.iter_mut().rev().filter(|step| step.begun) {
        step.begun = false;
        if let Some(transition) = step.transition.take() {
            hotplug.cancel(uvm, &transition);
        }
        let_go(uvm, step);
    }
}

fn put(map: &mut FrameMap<Ram>, range: FrameRange, new: Option<Ram>) {
    let lowest = |map: &FrameMap<Ram>| map.overlapping(range).next().map(|(entry, fed)| (entry, *fed));
    while let Some((entry, fed)) = lowest(map) {
        map.remove(entry.start());
        for rest in entry.minus(range).into_iter().flatten() {
            map.insert(rest, fed);
        }
    }
    if let Some(new) = new {
        map.insert(range, new);
    }
}

fn veto(range: FrameRange, error: &HotplugError, settings: Settings) -> Veto {
    let reason = match error {
        HotplugError::Uvm(UvmError::Page { .. } | UvmError::Unmovable { .. }) => "pages are busy",
        HotplugError::Uvm(UvmError::Lent { .. }) => "pages are set aside and lent",
        HotplugError::Uvm(UvmError::Storage { .. }) => "no memory for its pages",
        HotplugError::Uvm(UvmError::Overlap { .. }) => "memory is plugged there already",
        HotplugError::Refused { .. } => "a memory notifier refused",
        HotplugError::Interrupted => "moving pages was interrupted",
        HotplugError::InCallback => "memory cannot be changed from here",
        _ => "memory cannot be plugged there",
    };
    let at = match error {
        HotplugError::Uvm(UvmError::Page { frame, .. } | UvmError::Unmovable { frame, .. }) => {
            FrameRange::one(*frame)
        }
        HotplugError::Uvm(UvmError::Lent { area, .. }) => Some(*area),
        _ => None,
    };
    let veto = Veto::new(reason);
    at.unwrap_or(range).bytes(settings.pageshift()).map_or(veto, |bytes| veto.at(bytes))
}

impl<A: Access + 'static> Driver for Feed<A> {
    fn name(&self) -> &str {
        "uvm"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        if !self.layout.is_of(state) {
            return Err(Veto::new(
                "the layout's viewer arena does not exist, so nobody sees the memory to feed",
            ));
        }
        self.layout.settle(state);
        let settings = self.settings();
        self.take_over(state).map_err(|(range, error)| veto(range, &error, settings))
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        let settings = self.settings();
        let windows = self.windows(change, settings);
        let sights = if windows.is_none() { self.layout.look(change.after()) } else { self.sights.clone() };
        // The first memory that is seen decides which free lists there are.
        let settled = windows.is_none() && self.layout.settle(change.after());
        let going = self.stage(change.after(), &sights, windows, settings);
        self.staged = Some(Staged { sights, going: Vec::new(), settled });
        match self.begin(going) {
            Ok(()) if self.staged.as_ref().is_none_or(|staged| staged.going.is_empty()) => {
                if let Some(staged) = self.staged.take() {
                    self.sights = staged.sights;
                }
                Ok(Concern::Indifferent)
            }
            Ok(()) => Ok(Concern::Concerned),
            Err((range, error)) => {
                self.unsettle();
                Err(veto(range, &error, settings))
            }
        }
    }

    /// What leaves has been held back since it was prepared, and returns unchanged if a later driver fails. What
    /// comes must not be handed out before failure is impossible. So everything else waits for [`Driver::published`].
    fn withdraw(&mut self) -> Result<(), Fault> {
        self.with(|_, _| ()).ok_or(Fault::new("memory cannot be changed from here"))
    }

    fn install(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn published(&mut self) {
        let Some(mut staged) = self.staged.take() else { return };
        // Without access to memory now, nothing changes. What was fed then differs from the model, and verifying
        // reports it.
        if self.with(|uvm, hotplug| publish_all(uvm, hotplug, &mut staged.going)).is_some() {
            self.settle(staged);
        }
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        if step == Step::Withdraw {
            self.abort();
        }
        Ok(())
    }

    fn abort(&mut self) {
        if let Some(mut staged) = self.unsettle() {
            self.with(|uvm, hotplug| cancel(uvm, hotplug, &mut staged.going));
        }
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        let settings = self.settings();
        // Nobody else will let go of what is still held back.
        self.with(|uvm, hotplug| {
            hotplug.recover(uvm);
            let fed: Vec<FrameRange> = self.fed.iter().map(|(range, _)| range).collect();
            fed.into_iter().for_each(|range| uvm.unisolate(range));
        });
        self.fed = self.read_back(&self.layout.frames(state, settings));
        let fault = |range: FrameRange| {
            let fault = Fault::new("pages are busy");
            range.bytes(settings.pageshift()).map_or(fault, |bytes| fault.at(bytes))
        };
        self.take_over(state).map_err(|(range, _)| fault(range))
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let settings = self.settings();
        let wanted = self.layout.frames(state, settings);
        let found = self.read_back(&wanted);
        let mut wrong = found.iter().map(|(range, _)| range).chain(wanted.iter().map(|(range, _)| *range));
        let agrees = |range: &FrameRange| {
            let at = |list: &[(FrameRange, Ram)], frame: u64| {
                let (range, ram) = list.get(list.partition_point(|(range, _)| range.end() <= frame))?;
                range.contains(frame).then_some(*ram)
            };
            range.frames().all(|frame| {
                let (is, is_to_be) = (found.get(frame).map(|(_, ram)| *ram), at(&wanted, frame));
                is == is_to_be || matches!((is, is_to_be), (Some(is), Some(to_be)) if is.is_bad_like(&to_be))
            })
        };
        match wrong.find(|range| !agrees(range)) {
            None => Ok(()),
            Some(range) => {
                let reason = "pages are not as the model has them";
                Err(Mismatch { reason, range: range.bytes(settings.pageshift()), wanted_found: None })
            }
        }
    }
}
