//! The fewest registers for what is wanted, with proof, and what to write in which order.

use super::MtrrError;
use super::demand::{self, Demand, Unmapped};
use super::given::MtrrState;
use super::show::wish;
use super::strips::{Stretch, Strip, effective, strips, word};
use crate::sources::{Read, Warning};
use crate::units::{Addr, Extent};
use pmem_drivers::mtrr::strategies::{self, Layout};
use pmem_import::DefaultType;
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::{
    DefType, Effective, MemType, PathNode, Piece, Planner, Problem, Refusal, Register, Registers,
    Requirement, Setting, Span, TypeSet, Workspace, Write as Msr,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a plan is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is wanted beside what is there.
    pub wants: Vec<Requirement>,
    /// How many variable registers stay unused.
    pub keep_free: usize,
    /// The default type; the best if none is given.
    pub default: Option<MemType>,
    /// What addresses may become that nothing is known of.
    pub unmapped: Unmapped,
    /// Registers that stay as they are, by number.
    pub pins: Vec<usize>,
}

/// A plan, and all that is said of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// How many registers it takes.
    pub registers: usize,
    /// How many there are.
    pub available: usize,
    /// How many are in use now; null if nothing is known of that.
    pub used_now: Option<usize>,
    /// The default type.
    pub default: String,
    /// By default type: the fewest registers; null if it is not possible.
    pub optimum: BTreeMap<String, Option<u8>>,
    /// What all that is wanted would take.
    pub needed: Option<u8>,
    /// How many are to stay unused.
    pub keep_free: usize,
    /// Numbers of registers that are not in use afterwards.
    pub left: usize,
    /// What to write, on every CPU, in this order.
    pub msrs: Vec<Write>,
    /// What becomes of wishes that do not fit.
    pub demoted: Vec<Demoted>,
    /// The whole space afterwards.
    pub effective: Vec<Stretch>,
    /// The same, with what is wanted and which registers match.
    pub strips: Vec<Strip>,
    /// What our models of others' strategies need for the same.
    pub models: BTreeMap<String, Option<usize>>,
    /// What else can be done.
    pub advice: Vec<String>,
    /// What kernels complain of.
    pub complaints: Vec<Warning>,
    /// Wishes in these complaints, as `--want` takes them.
    pub wishes: Vec<String>,
    /// What was taken for granted.
    pub assumed: Vec<String>,
    /// What to be careful about when it is written.
    pub cautions: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
    /// What of each source was read.
    pub read: Vec<Read>,
}

/// A register to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Write {
    /// The model-specific register.
    pub msr: Addr,
    /// What it is to hold.
    pub value: Addr,
}

/// Addresses that do not become what is wanted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Demoted {
    /// Which.
    #[serde(flatten)]
    pub range: Extent,
    /// What is wanted.
    pub wanted: String,
    /// What they become.
    pub effective: String,
}

impl Plan {
    /// Plans.
    ///
    /// # Errors
    /// Wishes that make no sense, or that no registers can be found for.
    pub fn of(mut given: MtrrState, options: &Options, read: Vec<Read>) -> Result<Self, MtrrError> {
        let have = given.setting.variable().len();
        if options.keep_free > have {
            let text = format!("--keep-free {}: there are only {have} registers", options.keep_free);
            return Err(MtrrError::Usage(text));
        }
        let demand = demand::of(&mut given, &options.wants, options.unmapped)?;
        let planned = plan(&given, &demand, options)?;
        loosened(&mut given, &demand, &planned);
        Ok(report(given, &demand, planned, options, read))
    }

    /// Whether all that is wanted fits.
    pub fn fits(&self) -> bool {
        self.demoted.is_empty()
    }
}

struct Planned {
    /// The answer within the registers there are.
    default: MemType,
    registers: Registers,
    needed: Option<u8>,
    optimum: BTreeMap<String, Option<u8>>,
    setting: Setting,
    writes: Vec<Msr>,
    demoted: Vec<(Span, TypeSet, Effective)>,
    others: Vec<(&'static str, Option<usize>)>,
    /// The default type was not to be changed.
    kept_default: bool,
}

/// Whether the default type must stay: above the addresses that registers and maps name there may be more, and a default reaches them.
fn keeps_default(given: &MtrrState, options: &Options) -> Option<MemType> {
    let guessed =
        given.programmed && !given.width_known && !given.facts.width_of_its_time && options.default.is_none();
    guessed.then(|| given.setting.default_kind()).flatten()
}

fn plan(given: &MtrrState, demand: &Demand, options: &Options) -> Result<Planned, MtrrError> {
    let live = given.setting;
    let width = live.width;
    let kept = keeps_default(given, options);
    let default = options.default.or(kept);
    let present: Vec<Register> = live.variable().iter().filter_map(|v| v.register(width)).collect();
    let pinned = options
        .pins
        .iter()
        .map(|n| {
            let register = live.variable().get(*n).and_then(|v| v.register(width));
            register
                .ok_or_else(|| MtrrError::Usage(format!("--pin {n}: that register holds no block of a type")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let available = if live.cap.wc() { TypeSet::ANY } else { TypeSet::from_bits(TypeSet::ANY.bits() & !2) };
    let problem = Problem {
        elsewhere: TypeSet::ANY,
        tom2: live.tom2(),
        fixed: live.fixed_counts(),
        available,
        present: &present,
        pinned: &pinned,
        ..Problem::new(width, &demand.all)
    };
    let other = |error: &dyn std::fmt::Display| MtrrError::Other(error.to_string());
    let mut room = vec![Piece::default(); 2 * demand.all.len() + 4];
    let planner = Planner::new(problem, &mut room).map_err(|bad| other(&bad))?;
    let optimum = planner.optimum();
    let mut choices = vec![0; planner.choices()];
    let mut path = [PathNode::default(); DEPTH];
    let mut work = Workspace { choices: &mut choices, path: &mut path };
    let have = live.variable().len();
    let limit = have.saturating_sub(options.keep_free);
    let preferred = given.programmed.then(|| live.default_kind()).flatten();
    let needed = default.map_or(optimum.fewest(), |kind| optimum.with(kind));
    let (default, registers) = match planner.plan(default, preferred, &mut work) {
        Ok(plan) if plan.registers.len() <= limit => (plan.default, plan.registers),
        Ok(_) | Err(Refusal::TooMany(_) | Refusal::Impossible) => {
            let mut costs = vec![0; planner.costs(limit)];
            let best = planner.within(limit, default, &mut costs).map_err(|_| {
                let takes = needed.map_or("more registers than there can be".to_owned(), |n| format!("{n} registers"));
                MtrrError::Other(format!(
                    "that takes {takes} of {have}, {} kept free, and with fewer something would be cached that must not be",
                    options.keep_free
                ))
            })?;
            (best.default, best.registers)
        }
        Err(Refusal::Bad(bad)) => return Err(other(&bad)),
    };
    let fixed = live.fixed.satisfying(&demand.wants, available);
    let mut from = live;
    if !given.programmed {
        // Nothing is known of what is there: all registers are written.
        from.def = DefType(0);
    }
    let fixed = if live.fixed_counts() { fixed.map_err(|refusal| other(&refusal))? } else { live.fixed };
    let setting = live
        .with_fixed(fixed)
        .programmed(default, &registers)
        .ok_or_else(|| MtrrError::Other(format!("{} registers do not fit in {have}", registers.len())))?;
    let writes = from.writes(&setting).collect();
    let demoted = demand::unmet(&setting, &demand.all);
    let others = others(&live, demand, needed);
    let optimum = MemType::ALL.iter().map(|kind| (kind.name().to_owned(), optimum.with(*kind))).collect();
    Ok(Planned {
        default,
        registers,
        needed,
        optimum,
        setting,
        writes,
        demoted,
        others,
        kept_default: kept.is_some(),
    })
}

/// What the strategies of others would need for the same: a type for each range, what may be several being one of them.
fn others(live: &Setting, demand: &Demand, needed: Option<u8>) -> Vec<(&'static str, Option<usize>)> {
    let kind = |set: TypeSet, at: u64| {
        let now = live.at(at).kind().filter(|kind| set.has(*kind));
        now.or_else(|| set.iter().next())
    };
    let ranges: Vec<(Span, MemType)> = demand
        .wants
        .iter()
        .filter(|want| want.allowed != TypeSet::ANY)
        .filter_map(|want| Some((want.span, kind(want.allowed, want.span.start)?)))
        .collect();
    let layout = Layout { width: live.width, ranges: &ranges };
    let count = |answer: strategies::Answer| Some(answer.registers.len());
    if needed.is_none() || live.tom2().is_some() {
        return Vec::new();
    }
    vec![
        ("coreboot", count(strategies::coreboot(&layout))),
        ("EDK2, the best of its defaults", count(strategies::edk2_best(&layout))),
        ("EDK2, default UC", count(strategies::edk2(&layout, MemType::Uc, MemType::Uc))),
        ("Linux mtrr_cleanup", strategies::linux(&layout, live.variable().len()).and_then(count)),
    ]
}

/// Says which addresses become cacheable that nothing is known of.
fn loosened(given: &mut MtrrState, demand: &Demand, planned: &Planned) {
    for (span, what) in planned.setting.map() {
        let Effective::Type(kind) = what else { continue };
        if kind == MemType::Uc || span.end <= 1 << 20 {
            continue;
        }
        let mut at = span.start;
        let ends = demand.wants.iter().map(|want| want.span).chain([Span { start: span.end, end: span.end }]);
        for known in ends.filter(|known| known.end > span.start && known.start <= span.end) {
            if at < known.start {
                let was = given.programmed && !given.is_unknown(at) && given.setting.at(at) == what;
                let gap = Extent::from(Span { start: at, end: known.start });
                let how = if was { "stays" } else { "becomes" };
                given.assumed.push(format!("{gap}, of which nothing is known, {how} {kind}"));
            }
            at = at.max(known.end);
        }
    }
}

fn report(given: MtrrState, demand: &Demand, planned: Planned, options: &Options, read: Vec<Read>) -> Plan {
    let have = given.setting.variable().len();
    let (complaints, wishes) = given.complaints();
    let mut advice = Vec::new();
    let wants_wc = options.wants.iter().any(|want| want.allowed == MemType::Wc.into());
    if wants_wc && given.pat_has_wc() {
        advice.push(
            "the kernel's page attribute table has WC: mapping the range with ioremap_wc needs no register"
                .to_owned(),
        );
    }
    let mut cautions = Vec::new();
    if !given.width_known && given.programmed {
        let bits = given.setting.width.bits();
        let kept = if planned.kept_default { ", so the default type stays as it is" } else { "" };
        cautions.push(format!(
            "how wide addresses are is not known (at least {bits} bits){kept}: with --bits N the plan may be better, and the masks are right"
        ));
    }
    if given.programmed && given.facts.default == DefaultType::Unknown && given.facts.cpus.is_empty() {
        cautions.push(
            "the present default type is not known: memory that no register covers may change".to_owned(),
        );
    }
    let left = have.saturating_sub(planned.registers.len());
    Plan {
        registers: planned.registers.len(),
        available: have,
        used_now: given.programmed.then(|| given.setting.variable().iter().filter(|v| v.valid()).count()),
        default: planned.default.name().to_owned(),
        optimum: planned.optimum,
        needed: planned.needed,
        keep_free: options.keep_free,
        left,
        msrs: planned
            .writes
            .iter()
            .map(|Msr { msr, value }| Write { msr: Addr(u64::from(*msr)), value: Addr(*value) })
            .collect(),
        demoted: planned
            .demoted
            .iter()
            .map(|(span, wanted, got)| Demoted {
                range: (*span).into(),
                wanted: wanted.to_string(),
                effective: word(*got),
            })
            .collect(),
        effective: effective(&planned.setting, None),
        strips: strips(&planned.setting, Some(&demand.all), None),
        models: planned.others.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        advice,
        complaints,
        wishes: wishes.iter().map(|(span, kind)| wish(*span, *kind)).collect(),
        assumed: given.assumed,
        cautions,
        warnings: given.warnings,
        read,
    }
}
