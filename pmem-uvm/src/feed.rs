//! A driver over a pmem-core model: what is primed in its RAM is plugged here.

use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::hotplug::{Hotplug, HotplugError, Transition};
use crate::layout::{Layout, Ram, Sight};
use crate::map::FrameMap;
use crate::page::PageState;
use crate::segment::{Plug, Zone};
use crate::settings::Settings;
use crate::uvm::{Unmoved, Uvm};
use alloc::boxed::Box;
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, ArenaType, Change, Concern, Driver, Edit, Fault, Interest, Kinds, Mismatch, Placement, Props,
    Prot, Scope, Seat, State, Step, Subscription, Usage, Veto,
};

/// How a driver gets at memory that others use as well.
pub trait Access: Send {
    /// Calls `run` once, with nobody else at work on either.
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug));
}

/// For who has no other threads that use pages.
#[cfg(feature = "std")]
impl Access for std::sync::Arc<std::sync::Mutex<(Uvm, Hotplug)>> {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        let mut both = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (uvm, hotplug) = &mut *both;
        run(uvm, hotplug);
    }
}

/// Moves a page's content and users: see [`Uvm::capture`].
pub type Mover = Box<dyn FnMut(u64, u64) -> Result<(), Unmoved> + Send>;

/// One range on its way.
struct Going {
    range: FrameRange,
    old: Option<Ram>,
    new: Option<Ram>,
    /// What hot-plug was asked.
    transition: Option<Transition>,
    /// Whether something could not be done with it.
    failed: bool,
}

impl Going {
    /// Whether pages of it were held back, and become something else.
    fn leaves(&self) -> bool {
        self.old.is_some_and(|old| old.state == PageState::Free)
    }

    /// Whether the memory is there before and after, as part of another segment.
    fn changes_segment(&self) -> bool {
        matches!((self.old, self.new), (Some(old), Some(new)) if !old.is_like(&new))
    }

    /// What its pages are to be when all is installed.
    fn target(&self) -> PageState {
        // What becomes part of another segment is out of use until then.
        let stays = self.new.filter(|_| !self.changes_segment());
        stays.map_or(PageState::Offline, |new| new.state)
    }
}

/// A change that was prepared.
struct Staged {
    sights: Vec<Sight>,
    going: Vec<Going>,
}

/// Feeds a [`Uvm`] from a model's RAM: priming plugs, sealing takes offline, unpriming unplugs. Space with a region that has a
/// usage is not available; one that is BROKEN is retired. An arena's free list follows its distance. Whoever listens to
/// memory hot-plug is asked in *prepare*, and told when the change is published. Register it with [`Self::subscription`].
pub struct Feed<A> {
    access: A,
    layout: Layout,
    mover: Mover,
    sights: Vec<Sight>,
    fed: FrameMap<Ram>,
    staged: Option<Staged>,
}

impl<A: Access> Feed<A> {
    /// Feeds memory as `layout` says; nothing that is handed out can be moved.
    pub fn new(access: A, layout: Layout) -> Self {
        Self {
            access,
            layout,
            mover: Box::new(|_, _| Err(Unmoved::Never)),
            sights: Vec::new(),
            fed: FrameMap::new(),
            staged: None,
        }
    }

    /// Says how pages are moved out of the way.
    #[must_use]
    pub fn mover(self, mover: Mover) -> Self {
        Self { mover, ..self }
    }

    /// How it is registered: last to be asked and to install, so that nobody else's fault takes back what others were told.
    pub fn subscription() -> Subscription {
        let kinds = Kinds::REGIONS | Kinds::ATTRS | Kinds::SPANS | Kinds::WINDOWS | Kinds::TOPOLOGY;
        let interest = Interest { kinds, usage: Usage::all(), prot: Prot::empty(), props: Props::empty() };
        Subscription::new([Scope::Everything]).interest(interest).priority(i32::MIN)
    }

    fn with<T>(&self, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> Option<T> {
        let mut run = Some(run);
        let mut result = None;
        self.access.access(&mut |uvm, hotplug| result = run.take().map(|run| run(uvm, hotplug)));
        result
    }

    fn settings(&self) -> Settings {
        self.with(|uvm, _| uvm.settings()).unwrap_or_default()
    }

    /// What changes, by range.
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
                _ => going.push(Going { range, old, new, transition: None, failed: false }),
            }
        }
        going
    }

    /// The windows in which a change may change something; none if it changes nothing that matters.
    fn windows(&self, change: &Change<'_>, settings: Settings) -> Option<Vec<FrameRange>> {
        let mut windows = Vec::new();
        let is_ram = |arena| change.after().info(arena).is_none_or(|info| info.kind.contains(ArenaType::RAM));
        for edit in change.edits() {
            match edit {
                Edit::Region { old, new, .. } => {
                    for Placement { arena, seat, .. } in [old, new].into_iter().flatten() {
                        let Seat::At(range) = seat else { continue };
                        let sights = self.sights.iter().filter(|sight| sight.arena == *arena);
                        let seen = sights.filter_map(|sight| {
                            FrameRange::around(sight.seen_of(*range)?, settings.pageshift())
                        });
                        windows.extend(seen);
                    }
                }
                Edit::Span { arena, .. } if !is_ram(*arena) => {}
                Edit::Count { .. } => {}
                _ => return None,
            }
        }
        windows.sort_unstable_by_key(|window| window.start());
        // What overlaps is one: what one has found, the next must not find again.
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

    fn stage(&mut self, state: &State, windows: Option<Vec<FrameRange>>, settings: Settings) -> Vec<Going> {
        let all = FrameRange::inside(AddrRange::ALL, settings.pageshift());
        let windows = windows.unwrap_or_else(|| all.into_iter().collect());
        let mut going: Vec<Going> = Vec::new();
        for window in windows {
            let Some(bytes) = window.bytes(settings.pageshift()) else { continue };
            let sights = self.staged.as_ref().map_or(&self.sights, |staged| &staged.sights);
            going.extend(self.changes(window, &self.layout.wanted(state, sights, bytes, settings)));
        }
        going
    }

    /// Asks for, or sets aside, what each range needs.
    fn begin(&mut self, going: &mut [Going]) -> Result<(), (FrameRange, HotplugError)> {
        let mut mover = core::mem::replace(&mut self.mover, Box::new(|_, _| Err(Unmoved::Never)));
        let begun = self.with(|uvm, hotplug| {
            for at in 0..going.len() {
                let step = &mut going[at];
                if let Err(error) = begin_one(uvm, hotplug, step, &mut mover) {
                    let range = step.range;
                    cancel(uvm, hotplug, &mut going[..at]);
                    return Err((range, error));
                }
            }
            Ok(())
        });
        self.mover = mover;
        begun.unwrap_or(Err((FrameRange::LAST, HotplugError::InCallback)))
    }

    fn settle(&mut self, staged: Staged) {
        // What failed is as it was, and shows when it is verified.
        for step in staged.going.iter().filter(|step| !step.failed) {
            put(&mut self.fed, step.range, step.new);
        }
        self.sights = staged.sights;
    }

    /// What there is of what is wanted, and of what was fed, as it is now.
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

    /// Makes memory what a state asks for, without asking anybody.
    fn take_over(&mut self, state: &State) -> Result<(), (FrameRange, HotplugError)> {
        let settings = self.settings();
        let sights = self.layout.look(state);
        self.staged = Some(Staged { sights: sights.clone(), going: Vec::new() });
        let going = self.stage(state, None, settings);
        self.staged = None;
        let done = self.with(|uvm, hotplug| {
            for (at, step) in going.iter().enumerate() {
                let plugged = match (step.old, step.new) {
                    (None, Some(new)) => uvm.plug(&plug_of(step.range, &new)).map(|_| ()),
                    _ => Ok(()),
                };
                if let Err(error) = plugged.and_then(|()| make(uvm, step)) {
                    // What came goes again; what only changed is read back when it is tried again.
                    for done in going[..at].iter().filter(|step| step.old.is_none()) {
                        let _ = uvm.unplug(done.range);
                    }
                    return Err((step.range, error.into()));
                }
            }
            going.iter().for_each(|step| hotplug.follow(uvm, step.range));
            Ok(())
        });
        done.unwrap_or(Err((FrameRange::LAST, HotplugError::InCallback)))?;
        self.settle(Staged { sights, going });
        Ok(())
    }
}

/// Makes a range what it is to be; what comes is plugged by now.
fn make(uvm: &mut Uvm, step: &Going) -> Result<(), UvmError> {
    let mut bad = Vec::new();
    if step.old.is_some() && (step.new.is_none() || step.changes_segment()) {
        bad = uvm.retired_in(step.range);
        uvm.unplug(step.range)?;
    }
    let Some(new) = step.new else { return Ok(()) };
    if step.changes_segment() {
        uvm.plug(&plug_of(step.range, &new))?;
    }
    let was_bad = step.old.is_some_and(|old| old.state == PageState::Retired);
    uvm.turn(step.range, new.state, |state| {
        let ours = !matches!(state, PageState::Allocated | PageState::Cached | PageState::Isolated);
        ours && (was_bad || state != PageState::Retired)
    });
    if !was_bad {
        bad.into_iter().for_each(|range| uvm.turn(range, PageState::Retired, |_| true));
    }
    merge(uvm, step.range);
    Ok(())
}

fn plug_of(range: FrameRange, fed: &Ram) -> Plug {
    Plug::new(range).free_list(fed.free_list).node(fed.node).attrs(fed.attrs).offline()
}

/// Makes one segment of what was plugged and of its neighbours that are alike.
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
    let range = step.range;
    if step.old.is_none()
        && let Some(new) = step.new
    {
        uvm.plug(&plug_of(range, &new))?;
    }
    let came = step.old.is_none();
    let free = |ram: Option<Ram>| ram.is_some_and(|ram| ram.state == PageState::Free);
    let node = step.new.or(step.old).map_or(0, |ram| ram.node);
    let begun = if step.old.is_some_and(|old| old.state == PageState::Free) {
        match step.new {
            // It stays memory, but as a region's, as bad, or as part of another segment.
            Some(new) if new.state != PageState::Offline => {
                let passed = |state| matches!(state, PageState::Retired | PageState::Offline);
                uvm.isolate_beside(range, passed, mover).map(|()| None).map_err(Into::into)
            }
            _ => hotplug.begin_offline(uvm, range, node, Zone::Normal, mover).map(Some),
        }
    } else if free(step.new) && step.old.is_none_or(|old| old.state == PageState::Offline) {
        // What a region leaves has been there all the time, and what is sealed has not.
        hotplug.begin_online(uvm, range, node, Zone::Normal).map(Some)
    } else {
        Ok(None)
    };
    match begun {
        Ok(transition) => step.transition = transition,
        Err(error) => {
            if came {
                let _ = uvm.unplug(range);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Does what was begun.
fn publish_one(uvm: &mut Uvm, hotplug: &mut Hotplug, step: &Going) -> Result<(), HotplugError> {
    match &step.transition {
        Some(transition) if step.leaves() => hotplug.commit(uvm, transition)?,
        Some(_) => uvm.set_zone(step.range, Zone::Normal),
        _ if step.leaves() => uvm.turn(step.range, step.target(), |state| state == PageState::Isolated),
        _ => {}
    }
    Ok(make(uvm, step)?)
}

/// Takes back what was begun. Nobody was given a page of what came, so that it goes.
fn cancel(uvm: &mut Uvm, hotplug: &mut Hotplug, going: &mut [Going]) {
    for step in going.iter_mut().rev() {
        match step.transition.take() {
            Some(transition) => hotplug.cancel(uvm, &transition),
            None => uvm.unisolate(step.range),
        }
        if step.old.is_none() {
            let _ = uvm.unplug(step.range);
        }
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
        HotplugError::Uvm(UvmError::Overlap { .. }) => "memory is plugged there already",
        HotplugError::Refused { .. } => "a memory notifier refused",
        HotplugError::Interrupted => "moving pages was called off",
        HotplugError::InCallback => "memory cannot be changed from here",
        _ => "memory cannot be plugged there",
    };
    let at = match error {
        HotplugError::Uvm(UvmError::Page { frame, .. } | UvmError::Unmovable { frame, .. }) => {
            FrameRange::one(*frame)
        }
        _ => None,
    };
    let veto = Veto::new(reason);
    at.unwrap_or(range).bytes(settings.pageshift()).map_or(veto, |bytes| veto.at(bytes))
}

impl<A: Access> Driver for Feed<A> {
    fn name(&self) -> &str {
        "uvm"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        if !self.layout.is_of(state) {
            return Err(Veto::new("nobody sees the memory that is to be fed: there is no such arena"));
        }
        self.layout.settle(state);
        let settings = self.settings();
        self.take_over(state).map_err(|(range, error)| veto(range, &error, settings))
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        let settings = self.settings();
        let windows = self.windows(change, settings);
        let sights = if windows.is_none() { self.layout.look(change.after()) } else { self.sights.clone() };
        self.staged = Some(Staged { sights, going: Vec::new() });
        let mut going = self.stage(change.after(), windows, settings);
        // What goes is held back before what comes is asked about.
        going.sort_by_key(|step| !step.leaves());
        let begun = self.begin(&mut going);
        let nothing = going.is_empty();
        if begun.is_err() || nothing {
            let staged = self.staged.take();
            if let Some(staged) = staged.filter(|_| begun.is_ok()) {
                self.sights = staged.sights;
            }
        } else if let Some(staged) = &mut self.staged {
            staged.going = going;
        }
        begun.map_err(|(range, error)| veto(range, &error, settings))?;
        Ok(if nothing { Concern::Indifferent } else { Concern::Concerned })
    }

    /// What goes has been held back since it was prepared, and comes back untouched if a later driver faults; what comes
    /// must not be handed out before that can no longer be: all else waits for [`Driver::published`].
    fn withdraw(&mut self) -> Result<(), Fault> {
        self.with(|_, _| ()).ok_or(Fault::new("memory cannot be changed from here"))
    }

    fn install(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn published(&mut self) {
        let Some(mut staged) = self.staged.take() else { return };
        self.with(|uvm, hotplug| {
            for step in &mut staged.going {
                step.failed = publish_one(uvm, hotplug, step).is_err();
            }
            for step in &staged.going {
                hotplug.follow(uvm, step.range);
                if let Some(transition) = &step.transition {
                    hotplug.announce(uvm, transition);
                }
            }
        });
        self.settle(staged);
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        if step == Step::Withdraw {
            self.abort();
        }
        Ok(())
    }

    fn abort(&mut self) {
        let Some(mut staged) = self.staged.take() else { return };
        self.with(|uvm, hotplug| cancel(uvm, hotplug, &mut staged.going));
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        let settings = self.settings();
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
