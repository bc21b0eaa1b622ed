//! Finds the fewest registers for the types you want, with proof, and the order in which to write them.

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
use serde::Serialize;
use std::collections::BTreeMap;

/// What a plan must fulfil.
#[derive(Clone, Debug)]
pub struct Options {
    /// The types wanted, in addition to what is there.
    pub wants: Vec<Requirement>,
    /// The number of variable registers to leave unused.
    pub keep_free: usize,
    /// The default type; `None` lets the planner choose the best.
    pub default: Option<MemType>,
    /// What may become of addresses about which nothing is known.
    pub unmapped: Unmapped,
    /// The numbers of registers that must stay as they are.
    pub pins: Vec<usize>,
}

/// A plan for the MTRRs, with everything that goes with it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The number of variable registers that the plan uses.
    pub registers: usize,
    /// The number of variable registers that the processor has.
    pub available: usize,
    /// The number of variable registers in use now; null if not known.
    pub used_now: Option<usize>,
    /// The planned default type.
    pub default: String,
    /// For each default type: the fewest variable registers that fulfil everything; null if impossible.
    pub optimum: BTreeMap<String, Option<u8>>,
    /// The number of registers that it takes to fulfil everything; null if impossible.
    pub needed: Option<u8>,
    /// The number of registers that must stay unused.
    pub keep_free: usize,
    /// The number of registers that are unused under the plan, including those that must be.
    pub left: usize,
    /// The register writes, in order. They must be made on every CPU.
    pub msrs: Vec<Write>,
    /// Ranges that do not get a wanted type, because the registers do not suffice.
    pub demoted: Vec<Demoted>,
    /// The memory type of every address under the plan.
    pub effective: Vec<Stretch>,
    /// The same in more detail: what is wanted, which registers match, and the resulting type.
    pub strips: Vec<Strip>,
    /// The number of registers that other firmware's and kernels' strategies would use, by our models of them; null if
    /// they fail.
    pub models: BTreeMap<String, Option<usize>>,
    /// What else can be done.
    pub advice: Vec<String>,
    /// What kernels complain about.
    pub complaints: Vec<Warning>,
    /// Type changes that those complaints ask for, in the form of `--want`.
    pub wishes: Vec<String>,
    /// Assumptions that were made.
    pub assumed: Vec<String>,
    /// What to be careful about when writing the registers.
    pub cautions: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
    /// What was read of each source.
    pub read: Vec<Read>,
}

/// A register write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Write {
    /// The number of the model-specific register.
    pub msr: Addr,
    /// The value to write.
    pub value: Addr,
}

/// A range that does not get a wanted type.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Demoted {
    /// The range.
    #[serde(flatten)]
    pub range: Extent,
    /// The types wanted.
    pub wanted: String,
    /// The type that it gets instead.
    pub effective: String,
}

impl Plan {
    /// Makes a plan.
    ///
    /// # Errors
    /// Returns [`MtrrError::Usage`] for wishes that make no sense, and [`MtrrError::Other`] if no set of registers
    /// comes acceptably close.
    ///
    /// # Examples
    ///
    /// RAM takes one register, and the framebuffer needs a second one for write combining:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::mtrr::{MtrrState, Options, Overrides, Plan, Unmapped, parse_want};
    ///
    /// let mut mtrr: &[u8] = b"reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n";
    /// let mut sources = Sources::default();
    /// sources.add_stream("mtrr", &mut mtrr)?;
    /// let (_, facts) = Machine::read_with_mtrr(&mut sources)?;
    /// let state = MtrrState::new(facts, Overrides { bits: Some(36), ..Overrides::default() })?;
    /// let options = Options {
    ///     wants: vec![parse_want("0xd0000000..0xe0000000=WC")?],
    ///     keep_free: 0,
    ///     default: None,
    ///     unmapped: Unmapped::Uc,
    ///     pins: Vec::new(),
    /// };
    /// let plan = Plan::of(state, &options, Vec::new())?;
    ///
    /// assert!(plan.fits());
    /// assert_eq!((plan.registers, plan.default.as_str()), (2, "UC"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Whether every wish is fulfilled.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.demoted.is_empty()
    }
}

struct Planned {
    /// The default type that goes with the registers.
    default: MemType,
    registers: Registers,
    needed: Option<u8>,
    optimum: BTreeMap<String, Option<u8>>,
    setting: Setting,
    writes: Vec<Msr>,
    demoted: Vec<(Span, TypeSet, Effective)>,
    others: Vec<(&'static str, Option<usize>)>,
    /// Whether the default type had to stay as it is.
    kept_default: bool,
}

/// Returns the default type if it must stay. If the address width is only a lower bound, there may be more above it,
/// and the default type reaches that as well.
fn keeps_default(given: &MtrrState, options: &Options) -> Option<MemType> {
    let guessed =
        given.programmed && !given.width_known && !given.facts.width_of_its_time && options.default.is_none();
    guessed.then(|| given.setting.default_kind()).flatten()
}

/// Finds the fewest registers. If there are not enough, finds the best use of those there are.
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
        // Nothing is known about what the registers hold, so write all of them.
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

/// Counts the registers that other strategies would use. They take one type per range, so a wish that permits several
/// is narrowed to the present one, or to the first.
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

/// Records which addresses become cacheable although nothing is known about them.
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

/// Turns a plan into a report.
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
