//! The driver for memory types.

use super::demand::{Demand, Unmapped};
use super::port::{CHANGED, Port};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use pmem_core::{AddrRange, ArenaId, Change, Concern, Driver, Fault, Figures, Mismatch, State, Step, Veto};
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{
    Cap, Difference, Effective, MemType, Optimum, PathNode, Piece, Planner, Problem, Refusal, Register,
    Requirement, Setting, Span, TypeSet, Width, Workspace,
};

/// Options for planning registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The number of variable registers to leave unused.
    pub keep_free: usize,
    /// The default memory type. `None` picks the type that needs the fewest registers.
    pub default: Option<MemType>,
    /// The types allowed for addresses that nothing decodes.
    pub unmapped: Unmapped,
}

/// Programs memory types to follow what one arena, the CPU's view, sees.
///
/// Register it with [`pmem_core::Scope::View`] of that arena.
///
/// # Examples
///
/// A frame buffer becomes write-combining on all processors. The processors here are simulated (feature `fake`):
///
/// ```
/// # use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Props, Prot, Request};
/// # use pmem_core::{Scope, Subscription, Usage};
/// use pmem_drivers::mtrr::{Cap, DefType, FakeCpus, MemType, Mtrr, Policy, Setting, Width};
///
/// # let mut pmem = Manager::new();
/// # let view = pmem.create_arena("cpu", ArenaType::VIEW)?;
/// # let pci = pmem.create_arena("pci", ArenaType::PCI)?;
/// # let bus = AddrRange::new(0xc000_0000, 0x1_0000_0000)?;
/// # pmem.prime(pci, bus, Attrs::new(Usage::DEVREGS, Prot::RW, Props::UNCACHED | Props::PREFETCH)?)?;
/// # pmem.connect(view, pci, Mapping::window(bus, bus.start())?, Metric::new(1))?;
/// // `pmem` has the arenas `view`, the CPU's view, and `pci`, which it sees from 3 to 4 GiB.
/// let mut firmware = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// firmware.def = DefType::new(MemType::Uc, true, true);
/// let cpus = FakeCpus::new(4, firmware);
/// let driver = Mtrr::new(cpus.clone(), view, Policy::default());
/// pmem.register(Box::new(driver), Subscription::new([Scope::View(view)]))?;
///
/// let framebuffer = Request::exactly(AddrRange::new(0xe000_0000, 0xe100_0000)?)
///     .usage(Usage::FRAMEBUF)
///     .prot(Prot::RW)
///     .props(Props::WCOMB | Props::PREFETCH);
/// pmem.alloc(pci, &framebuffer)?;
/// assert!(cpus.settings().iter().all(|cpu| cpu.at(0xe000_0000).kind() == Some(MemType::Wc)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mtrr<P> {
    port: P,
    view: ArenaId,
    policy: Policy,
    belief: Belief,
    staged: Option<Box<Staged>>,
    /// A buffer for [`Driver::revert`], which must not allocate.
    found: Box<Setting>,
}

/// What the driver assumes about the processors and the model.
#[derive(Clone)]
struct Belief {
    /// What the firmware left, updated with what others wrote since. It has the largest possible number of
    /// registers, so that it keeps the firmware's registers even when others have taken their slots.
    baseline: Box<Setting>,
    /// What the processors hold, as far as the driver knows.
    image: Box<Setting>,
    demand: Demand,
    /// The registers that others wrote, one bit for each.
    theirs: u64,
}

/// A change that is planned. After `install` it holds the way back.
struct Staged {
    from: Box<Setting>,
    to: Box<Setting>,
    /// The belief to adopt at `install`. After that, the belief to return to at `revert`.
    belief: Belief,
    installed: bool,
}

impl<P: Port> Mtrr<P> {
    /// Creates a driver for the view `view`. It reads the processors when you register it.
    pub fn new(port: P, view: ArenaId, policy: Policy) -> Self {
        let belief = Belief { baseline: blank(), image: blank(), demand: Demand::default(), theirs: 0 };
        Self { port, view, policy, belief, staged: None, found: blank() }
    }

    /// Plans the setting for `belief`, starting from what the processors hold now.
    fn plan(&self, live: &Setting, belief: &Belief) -> Result<Box<Setting>, Veto> {
        let (baseline, demand) = (&*belief.baseline, &belief.demand);
        let wants = demand
            .wants(baseline, self.policy.unmapped)
            .map_err(|span| veto("one 4 KiB page would need two memory types", span))?;
        let available = types(live);
        let mut fixed = baseline.fixed;
        if live.fixed_counts() {
            fixed = baseline.fixed.satisfying(&wants, available).map_err(|refusal| {
                veto("one entry of a fixed-range MTRR would need two memory types", refusal.span)
            })?;
        }
        // Prefer the firmware's own setting, then the current one, and plan new registers only if neither satisfies
        // the demand.
        let left = fitted(baseline, live);
        for setting in left.as_deref().into_iter().chain([live]) {
            let mut candidate = Box::new(*setting);
            candidate.fixed = fixed;
            if satisfies(&candidate, &wants) {
                return Ok(candidate);
            }
        }
        let present: Vec<Register> =
            live.variable().iter().filter_map(|variable| variable.register(live.width)).collect();
        let pinned = foreign(live, belief.theirs)?;
        let problem = Problem {
            elsewhere: TypeSet::only(MemType::Uc),
            tom2: live.tom2(),
            fixed: live.fixed_counts(),
            available,
            present: &present,
            pinned: &pinned,
            ..Problem::new(live.width, &wants)
        };
        let mut room = vec![Piece::default(); 2 * wants.len() + 4];
        let planner = Planner::new(problem, &mut room).map_err(|_| Veto::new("no types can be planned"))?;
        let mut choices = vec![0; planner.choices()];
        let mut path = vec![PathNode::default(); DEPTH];
        let mut room = Workspace { choices: &mut choices, path: &mut path };
        let registers = live.variable().len();
        let short = |needed: u8, optimum: Optimum| self.short(needed, registers, optimum, &wants, baseline);
        match planner.plan(self.policy.default, live.default_kind(), &mut room) {
            Ok(plan) if plan.registers.len() + self.policy.keep_free > registers => {
                Err(short(plan.registers.len() as u8, plan.optimum))
            }
            Ok(plan) => {
                let mut to = Box::new(*live);
                to.fixed = fixed;
                if !to.program(plan.default, &plan.registers) {
                    return Err(short(plan.registers.len() as u8, plan.optimum));
                }
                Ok(to)
            }
            Err(Refusal::TooMany(needed)) => Err(short(needed, planner.optimum())),
            Err(Refusal::Impossible | Refusal::Bad(_)) => {
                Err(Veto::new("no MTRR setting produces these memory types"))
            }
        }
    }

    /// Builds the refusal for a lack of registers, with the figures that explain it.
    fn short(
        &self,
        needed: u8,
        have: usize,
        optimum: Optimum,
        wants: &[Requirement],
        baseline: &Setting,
    ) -> Veto {
        let with = |kind| optimum.with(kind);
        let figures = Figures::new(
            &["keeps free", "at best with default UC", "WC", "WT", "WP", "WB"],
            [
                u8::try_from(self.policy.keep_free).ok(),
                with(MemType::Uc),
                with(MemType::Wc),
                with(MemType::Wt),
                with(MemType::Wp),
                with(MemType::Wb),
            ],
        );
        let mut first = None;
        baseline.unmet(wants, |span, _, _| first = first.or(Some(span)));
        let veto = Veto::new("too few variable MTRRs").needs(u64::from(needed), have as u64).figures(figures);
        match first.and_then(range) {
            Some(range) => veto.at(range),
            None => veto,
        }
    }
}

fn blank() -> Box<Setting> {
    Box::new(Setting::new(Width::DEFAULT, Cap(0)))
}

/// Returns the memory types that the processors support.
fn types(setting: &Setting) -> TypeSet {
    if setting.cap.wc() {
        TypeSet::ANY
    } else {
        TypeSet::of(&[MemType::Uc, MemType::Wt, MemType::Wp, MemType::Wb])
    }
}

fn satisfies(setting: &Setting, wants: &[Requirement]) -> bool {
    let mut all = true;
    setting.unmet(wants, |_, _, _| all = false);
    all
}

/// Returns the registers that others wrote, which the planner must not move.
fn foreign(live: &Setting, theirs: u64) -> Result<Vec<Register>, Veto> {
    let others = live.variable().iter().enumerate().filter(|(n, v)| theirs >> n & 1 != 0 && v.valid());
    others
        .map(|(_, variable)| variable.register(live.width))
        .collect::<Option<_>>()
        .ok_or(Veto::new("a variable MTRR that somebody else wrote does not describe one aligned block"))
}

/// Returns the baseline in as many registers as the processors have; `None` if it needs more.
fn fitted(baseline: &Setting, live: &Setting) -> Option<Box<Setting>> {
    let count = live.variable().len();
    if baseline.variable().iter().skip(count).any(|variable| variable.valid()) {
        return None;
    }
    let mut out = Box::new(*baseline);
    out.cap = live.cap;
    Some(out)
}

impl Belief {
    /// Records what others wrote, given the registers now. A register that still holds what this driver wrote
    /// belongs to the baseline. Any other belongs to whoever wrote it.
    fn absorb(&mut self, live: &Setting) {
        let Self { baseline, image, theirs, .. } = self;
        if live.def != image.def {
            baseline.def = live.def;
        }
        for (out, (image, live)) in baseline.fixed.0.iter_mut().zip(image.fixed.0.iter().zip(&live.fixed.0)) {
            if live != image {
                *out = *live;
            }
        }
        let mut displaced = Vec::new();
        let both = image.variable().iter().zip(live.variable());
        for (n, (slot, (image, live))) in baseline.variable_mut().iter_mut().zip(both).enumerate() {
            if live != image {
                // The firmware's register in this slot moves to a free one, unless it is the register that was
                // removed.
                if slot.valid() && image != slot {
                    displaced.push(*slot);
                }
                *slot = *live;
                *theirs = *theirs & !(1 << n) | u64::from(live.valid()) << n;
            }
        }
        let taken = *theirs;
        let free = baseline.variable_mut().iter_mut().enumerate();
        let free = free.filter(|(n, variable)| taken >> n & 1 == 0 && !variable.valid());
        for ((_, slot), register) in free.zip(displaced) {
            *slot = register;
        }
        **image = *live;
    }
}

fn range(span: Span) -> Option<AddrRange> {
    AddrRange::inclusive(span.start, span.end.checked_sub(1)?).ok()
}

fn veto(reason: &'static str, span: Span) -> Veto {
    let veto = Veto::new(reason);
    range(span).map_or(veto, |range| veto.at(range))
}

fn refuse(fault: Fault) -> Veto {
    Veto { range: fault.range, ..Veto::new(fault.reason) }
}

impl<P: Port + 'static> Driver for Mtrr<P> {
    fn name(&self) -> &str {
        "mtrr"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        let Belief { baseline, image, demand, theirs } = &mut self.belief;
        self.port.read(image).map_err(refuse)?;
        if !image.def.enabled() {
            return Err(Veto::new("MTRRs are disabled, and this driver does not enable them"));
        }
        baseline.clone_from(image);
        baseline.cap.0 = baseline.cap.0 & !0xff | MAX_VARIABLE as u64;
        *theirs = 0;
        let seen = state.sees(self.view);
        *demand =
            Demand::adopt(seen.into_iter().map(|(range, what)| (range.start()..=range.last(), what.attrs)));
        self.staged = None;
        Ok(())
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.staged = None;
        if change.deltas().is_empty() {
            return Ok(Concern::Indifferent);
        }
        let mut live = blank();
        self.port.read(&mut live).map_err(refuse)?;
        let mut belief = self.belief.clone();
        belief.absorb(&live);
        for delta in change.deltas() {
            belief.demand.set(delta.range.start()..=delta.range.last(), delta.new.map(|new| new.attrs));
        }
        let to = self.plan(&live, &belief)?;
        belief.image.clone_from(&to);
        self.staged = Some(Box::new(Staged { from: live, to, belief, installed: false }));
        Ok(Concern::Concerned)
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn install(&mut self) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if staged.from != staged.to
            && let Err(fault) = self.port.program(&staged.from, &staged.to)
        {
            // Nothing was written. Registers that others changed must not be put back.
            if fault.reason == CHANGED {
                self.staged = None;
            }
            return Err(fault);
        }
        core::mem::swap(&mut self.belief, &mut staged.belief);
        staged.installed = true;
        Ok(())
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if step == Step::Withdraw {
            self.staged = None;
            return Ok(());
        }
        if staged.installed {
            staged.installed = false;
            core::mem::swap(&mut self.belief, &mut staged.belief);
        }
        // If the port failed, it has restored the registers itself.
        self.port.read(&mut self.found)?;
        if self.found.difference(&staged.to).is_none() && staged.from != staged.to {
            self.port.program(&staged.to, &staged.from)?;
        } else if self.found.difference(&staged.from).is_some() {
            return Err(Fault::new("the registers hold neither the old nor the new setting"));
        }
        Ok(())
    }

    fn abort(&mut self) {
        self.staged = None;
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.staged = None;
        let mut live = blank();
        self.port.read(&mut live)?;
        let mut belief = self.belief.clone();
        belief.absorb(&live);
        // Forget what the model asked for, and record its present state.
        belief.demand.set(0..=u64::MAX, None);
        for (range, what) in state.sees(self.view) {
            belief.demand.set(range.start()..=range.last(), Some(what.attrs));
        }
        let to = self
            .plan(&live, &belief)
            .map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        if live != to {
            self.port.program(&live, &to)?;
        }
        belief.image = to;
        self.belief = belief;
        Ok(())
    }

    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        let mismatch = |reason| Mismatch { reason, range: None, wanted_found: None };
        let mut live = blank();
        if let Err(fault) = self.port.read(&mut live) {
            return Err(Mismatch { range: fault.range, ..mismatch(fault.reason) });
        }
        if let Some(Difference { msr, here, there }) = live.difference(&self.belief.image) {
            let reason = match msr {
                pmem_mtrr::regs::DEF_TYPE => "the default type is not what was written",
                _ => "a register does not hold what was written",
            };
            return Err(Mismatch { wanted_found: Some((there, here)), ..mismatch(reason) });
        }
        let Ok(wants) = self.belief.demand.wants(&self.belief.baseline, self.policy.unmapped) else {
            return Ok(());
        };
        let mut first: Option<(Span, Effective)> = None;
        live.unmet(&wants, |span, _, got| first = first.or(Some((span, got))));
        match first {
            Some((span, _)) => {
                Err(Mismatch { range: range(span), ..mismatch("memory is not of the type asked for") })
            }
            None => Ok(()),
        }
    }
}
