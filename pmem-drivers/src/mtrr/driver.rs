//! The driver.

use super::demand::{Demand, Unmapped};
use super::port::Port;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use pmem_core::{AddrRange, ArenaId, Change, Concern, Driver, Fault, Figures, Mismatch, State, Step, Veto};
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::{
    Cap, DefType, Effective, MemType, Optimum, Piece, Planner, Problem, Refusal, Register, Room, Rung,
    Setting, Span, TypeSet, Want, Width,
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
    /// What the firmware left, and what others wrote since.
    baseline: Box<Setting>,
    /// What the processors hold, as far as is known.
    image: Box<Setting>,
    demand: Demand,
    staged: Option<Box<Staged>>,
    /// Where a revert reads to: it takes no memory.
    found: Box<Setting>,
}

/// A change that has been worked out; after install, the way back.
struct Staged {
    from: Box<Setting>,
    to: Box<Setting>,
    baseline: Box<Setting>,
    demand: Demand,
}

impl<P: Port> Mtrr<P> {
    /// A driver for what `view` sees; it takes over when it is registered.
    pub fn new(port: P, view: ArenaId, policy: Policy) -> Self {
        let [baseline, image, found] = [(); 3].map(|()| blank());
        Self { port, view, policy, baseline, image, demand: Demand::default(), staged: None, found }
    }

    /// Plans for a demand, from what the processors hold now.
    fn plan(&self, live: &Setting, baseline: &Setting, demand: &Demand) -> Result<Box<Setting>, Veto> {
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
        for setting in [baseline, live] {
            let mut candidate = Box::new(*setting);
            candidate.fixed = fixed;
            if satisfies(&candidate, &wants) {
                return Ok(candidate);
            }
        }
        let present: Vec<Register> =
            live.variable().iter().filter_map(|variable| variable.register(live.width)).collect();
        let pinned: Vec<Register> = foreign(live, &self.image);
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
        let mut path = vec![Rung::default(); DEPTH];
        let mut room = Room { choices: &mut choices, path: &mut path };
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
    fn short(&self, needed: u8, have: usize, optimum: Optimum, wants: &[Want], baseline: &Setting) -> Veto {
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

fn satisfies(setting: &Setting, wants: &[Want]) -> bool {
    let mut all = true;
    setting.unmet(wants, |_, _, _| all = false);
    all
}

/// The registers of `live` that are not where `image` has them: somebody else wrote them.
fn foreign(live: &Setting, image: &Setting) -> Vec<Register> {
    let pairs = live.variable().iter().zip(image.variable());
    pairs.filter(|(live, image)| live != image).filter_map(|(v, _)| v.register(live.width)).collect()
}

/// What would be without us, where somebody else has turned `image` into `live`: in each register that still holds what we
/// wrote, the baseline; in the others, what they wrote. `None` if the baseline's registers then find no place.
fn merged(baseline: &Setting, image: &Setting, live: &Setting) -> Option<Box<Setting>> {
    let mut out = Box::new(*baseline);
    if live.def != image.def {
        out.def = live.def;
    }
    for (out, (image, live)) in out.fixed.0.iter_mut().zip(image.fixed.0.iter().zip(&live.fixed.0)) {
        if live != image {
            *out = *live;
        }
    }
    let mut displaced = Vec::new();
    for (slot, (image, live)) in
        out.variable_mut().iter_mut().zip(image.variable().iter().zip(live.variable()))
    {
        if live != image {
            // Theirs now. What the firmware had here moves, unless it is just that which they took out.
            if slot.valid() && image != slot {
                displaced.push(*slot);
            }
            *slot = *live;
        }
    }
    for register in displaced {
        let touched = live.variable().iter().zip(image.variable()).map(|(live, image)| live != image);
        let mut free = out.variable_mut().iter_mut().zip(touched).filter(|(v, theirs)| !theirs && !v.valid());
        *free.next()?.0 = register;
    }
    Some(out)
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

impl<P: Port> Driver for Mtrr<P> {
    fn name(&self) -> &str {
        "mtrr"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        self.port.read(&mut self.baseline).map_err(refuse)?;
        if !self.baseline.def.enabled() {
            return Err(Veto::new("MTRRs are switched off, and stay so"));
        }
        self.image.clone_from(&self.baseline);
        let seen = state.sees(self.view);
        self.demand =
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
        let baseline = merged(&self.baseline, &self.image, &live).unwrap_or_else(|| live.clone());
        let mut demand = self.demand.clone();
        for delta in change.deltas() {
            demand.set(delta.range.start()..=delta.range.last(), delta.new.map(|new| new.attrs));
        }
        let to = self.plan(&live, &baseline, &demand)?;
        self.staged = Some(Box::new(Staged { from: live, to, baseline, demand }));
        Ok(Concern::Concerned)
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn install(&mut self) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if staged.from != staged.to {
            self.port.program(&staged.from, &staged.to)?;
        }
        self.image.clone_from(&staged.to);
        core::mem::swap(&mut self.baseline, &mut staged.baseline);
        core::mem::swap(&mut self.demand, &mut staged.demand);
        Ok(())
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        if step == Step::Withdraw {
            self.staged = None;
            return Ok(());
        }
        // The port has put things back if it was it that failed.
        self.port.read(&mut self.found)?;
        if self.found == staged.to && staged.from != staged.to {
            self.port.program(&staged.to, &staged.from)?;
        } else if self.found != staged.from {
            return Err(Fault::new("registers are neither as they were nor as they were to be"));
        }
        if self.image == staged.to {
            core::mem::swap(&mut self.baseline, &mut staged.baseline);
            core::mem::swap(&mut self.demand, &mut staged.demand);
        }
        self.image.clone_from(&staged.from);
        Ok(())
    }

    fn abort(&mut self) {
        self.staged = None;
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.staged = None;
        let mut live = blank();
        self.port.read(&mut live)?;
        let baseline = merged(&self.baseline, &self.image, &live).unwrap_or_else(|| live.clone());
        let mut demand = self.demand.clone();
        demand.set(0..=u64::MAX, None);
        for (range, what) in state.sees(self.view) {
            demand.set(range.start()..=range.last(), Some(what.attrs));
        }
        let to = self
            .plan(&live, &baseline, &demand)
            .map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        if live != to {
            self.port.program(&live, &to)?;
        }
        (self.baseline, self.image, self.demand) = (baseline, to, demand);
        Ok(())
    }

    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        let mismatch = |reason| Mismatch { reason, range: None, wanted_found: None };
        let mut live = blank();
        if let Err(fault) = self.port.read(&mut live) {
            return Err(Mismatch { range: fault.range, ..mismatch(fault.reason) });
        }
        if let Some(write) = live.writes(&self.image).find(|write| write.msr != pmem_mtrr::regs::DEF_TYPE) {
            return Err(Mismatch {
                wanted_found: Some((write.value, live.get(write.msr).unwrap_or(0))),
                ..mismatch("a register does not hold what was written")
            });
        }
        if live.def != self.image.def {
            let DefType(wanted) = self.image.def;
            return Err(Mismatch {
                wanted_found: Some((wanted, live.def.0)),
                ..mismatch("the default type is not what was written")
            });
        }
        let Ok(wants) = self.demand.wants(&self.baseline, self.policy.unmapped) else { return Ok(()) };
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
