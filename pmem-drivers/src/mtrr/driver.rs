//! The driver.

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

/// How the driver plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How many variable registers stay unused.
    pub keep_free: usize,
    /// The default type; the best if none is given.
    pub default: Option<MemType>,
    /// What addresses may be that nothing decodes.
    pub unmapped: Unmapped,
}

/// Programs memory types to follow what an arena, the CPU's view, sees.
///
/// Register it with [`pmem_core::Scope::View`] of that arena.
pub struct Mtrr<P> {
    port: P,
    view: ArenaId,
    policy: Policy,
    belief: Belief,
    staged: Option<Box<Staged>>,
    /// Where a revert reads to: it takes no memory.
    found: Box<Setting>,
}

/// What the driver goes by.
#[derive(Clone)]
struct Belief {
    /// What the firmware left, and what others wrote since. It has as many registers as there can be: what others have driven out
    /// of its place still counts.
    baseline: Box<Setting>,
    /// What the processors hold, as far as is known.
    image: Box<Setting>,
    demand: Demand,
    /// Which registers others wrote: one bit each.
    theirs: u64,
}

/// A change that has been worked out; after install, the way back.
struct Staged {
    from: Box<Setting>,
    to: Box<Setting>,
    /// What to go by once it is installed; then, what to go by if that is taken back.
    belief: Belief,
    installed: bool,
}

impl<P: Port> Mtrr<P> {
    /// A driver for what `view` sees; it takes over when it is registered.
    pub fn new(port: P, view: ArenaId, policy: Policy) -> Self {
        let belief = Belief { baseline: blank(), image: blank(), demand: Demand::default(), theirs: 0 };
        Self { port, view, policy, belief, staged: None, found: blank() }
    }

    /// Plans for a demand, from what the processors hold now.
    fn plan(&self, live: &Setting, belief: &Belief) -> Result<Box<Setting>, Veto> {
        let (baseline, demand) = (&*belief.baseline, &belief.demand);
        let wants = demand
            .wants(baseline, self.policy.unmapped)
            .map_err(|span| veto("a page is wanted to be of two types", span))?;
        let available = types(live);
        let mut fixed = baseline.fixed;
        if live.fixed_counts() {
            fixed = baseline
                .fixed
                .satisfying(&wants, available)
                .map_err(|refusal| veto("one fixed range is wanted to be of two types", refusal.span))?;
        }
        // Back to what the firmware left, if that does; else as it is, if that does.
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
            Err(Refusal::Impossible | Refusal::Bad(_)) => Err(Veto::new("no registers make these types")),
        }
    }

    /// The refusal, with every number that it takes to understand it.
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

/// The types that processors know.
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

/// The registers that others wrote: they stay where they are.
fn foreign(live: &Setting, theirs: u64) -> Result<Vec<Register>, Veto> {
    let others = live.variable().iter().enumerate().filter(|(n, v)| theirs >> n & 1 != 0 && v.valid());
    others
        .map(|(_, variable)| variable.register(live.width))
        .collect::<Option<_>>()
        .ok_or(Veto::new("a register that somebody else wrote is no block of a type"))
}

/// The baseline in as many registers as the processors have; `None` if they do not suffice.
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
    /// Takes note of what somebody else wrote, who has turned the image into `live`: a register that still holds what we wrote is the
    /// baseline's, any other is theirs.
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
                // What the firmware had here moves, unless it is just that which they took out.
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
            return Err(Veto::new("MTRRs are switched off, and stay so"));
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
            // Nothing was written then, and what others wrote is no failure to put things back.
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
        // The port has put things back if it was it that failed.
        self.port.read(&mut self.found)?;
        if self.found.difference(&staged.to).is_none() && staged.from != staged.to {
            self.port.program(&staged.to, &staged.from)?;
        } else if self.found.difference(&staged.from).is_some() {
            return Err(Fault::new("registers are neither as they were nor as they were to be"));
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
