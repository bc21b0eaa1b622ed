//! `pmem mtrr plan`.

use super::demand::{self, Demand, parse_want};
use super::{Given, read, show as shown, strips};
use crate::args::{Args, MtrrSource, PlanOptions};
use crate::show::{Styles, styled};
use crate::{Failure, SCHEMA, Status, json};
use pmem_drivers::mtrr::strategies::{self, Layout};
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::{
    DefType, Effective, MemType, Optimum, Piece, Planner, Problem, Refusal, Register, Registers, Room, Rung,
    Setting, Span, TypeSet, Write as Msr,
};
use serde_json::{Value, json};
use std::io::Write;

/// A plan, and all that is said of it.
struct Planned {
    /// The answer within the registers there are.
    default: MemType,
    registers: Registers,
    /// What all that is wanted would take.
    needed: Option<u8>,
    optimum: Optimum,
    setting: Setting,
    writes: Vec<Msr>,
    demoted: Vec<(Span, TypeSet, Effective)>,
    others: Vec<(&'static str, Option<usize>)>,
}

pub(super) fn run(
    args: &Args,
    source: &MtrrSource,
    options: &PlanOptions,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let asked = options.wants.iter().map(|text| parse_want(text)).collect::<Result<Vec<_>, _>>()?;
    let default = match &options.default {
        Some(name) => Some(MemType::from_name(name).ok_or_else(|| {
            Failure::Usage(format!("--default {name}: no memory type: UC, WC, WT, WP or WB"))
        })?),
        None => None,
    };
    let mut given = read(args, source)?;
    let demand = demand::of(&mut given, &asked, options.unmapped)?;
    let planned = plan(&given, &demand, default, options)?;
    loosened(&mut given, &demand, &planned);
    if args.json {
        writeln!(out, "{:#}", value(&given, &planned, options))?;
    } else {
        print(args, &given, &demand, &planned, options, out)?;
    }
    Ok(if planned.demoted.is_empty() { Status::Done } else { Status::No })
}

/// Says which addresses become cacheable that nothing is known of.
fn loosened(given: &mut Given, demand: &Demand, planned: &Planned) {
    for (span, what) in planned.setting.map() {
        let Effective::Type(kind) = what else { continue };
        if kind == MemType::Uc || span.end <= 1 << 20 {
            continue;
        }
        let mut at = span.start;
        let ends = demand.wants.iter().map(|want| want.span).chain([Span { start: span.end, end: span.end }]);
        for known in ends.filter(|known| known.end > span.start && known.start <= span.end) {
            if at < known.start {
                let was = given.programmed && given.setting.at(at) == what;
                let gap = Span { start: at, end: known.start };
                let how = if was { "stays" } else { "becomes" };
                given.assumed.push(format!("{gap}, of which nothing is known, {how} {kind}"));
            }
            at = at.max(known.end);
        }
    }
}

fn plan(
    given: &Given,
    demand: &Demand,
    default: Option<MemType>,
    options: &PlanOptions,
) -> Result<Planned, Failure> {
    let live = given.setting;
    let width = live.width;
    let present: Vec<Register> = live.variable().iter().filter_map(|v| v.register(width)).collect();
    let pinned = options
        .pins
        .iter()
        .map(|n| {
            let register = live.variable().get(*n).and_then(|v| v.register(width));
            register
                .ok_or_else(|| Failure::Usage(format!("--pin {n}: that register holds no block of a type")))
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
    let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let mut room = vec![Piece::default(); 2 * demand.all.len() + 4];
    let planner = Planner::new(problem, &mut room).map_err(|bad| other(&bad))?;
    let optimum = planner.optimum();
    let mut choices = vec![0; planner.choices()];
    let mut path = [Rung::default(); DEPTH];
    let mut work = Room { choices: &mut choices, path: &mut path };
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
                Failure::Other(format!(
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
        .ok_or_else(|| Failure::Other(format!("{} registers do not fit in {have}", registers.len())))?;
    let writes = from.writes(&setting).collect();
    let demoted = demand::unmet(&setting, &demand.all);
    let others = others(&live, demand, needed);
    Ok(Planned { default, registers, needed, optimum, setting, writes, demoted, others })
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

fn print(
    args: &Args,
    given: &Given,
    demand: &Demand,
    planned: &Planned,
    options: &PlanOptions,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let styles = Styles::new(args.color);
    let have = given.setting.variable().len();
    let used = given.setting.variable().iter().filter(|v| v.valid()).count();
    let now = if given.programmed { format!(" ({used} now)") } else { String::new() };
    let heading =
        format!("{} of {have} registers{now}, default {}", planned.registers.len(), planned.default);
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    writeln!(out, "{}\n", strips::table(&planned.setting, Some(&demand.all)))?;
    let each: Vec<String> = MemType::ALL
        .iter()
        .map(|kind| {
            let count = planned.optimum.with(*kind).map_or("not possible".to_owned(), |n| n.to_string());
            format!("default {kind} {count}")
        })
        .collect();
    writeln!(out, "No setting does with fewer: {}", each.join(", "))?;
    if !planned.others.is_empty() {
        writeln!(out, "What others need, who leave addresses that nothing is known of to chance:")?;
    }
    for (name, count) in &planned.others {
        let count = count.map_or("finds none".to_owned(), |count| count.to_string());
        writeln!(out, "  our model of {name}: {count}")?;
    }
    if let Some(needed) = planned.needed.filter(|_| !planned.demoted.is_empty()) {
        let free = options.keep_free;
        let lost = planned.demoted.iter().map(|(span, ..)| span.len()).sum();
        writeln!(
            out,
            "\n{}",
            styled(
                styles.warning,
                &format!(
                    "It does not fit: needs {needed} of {have}, keeps {free} free. This is the least loss, {}:",
                    crate::show::size(lost)
                )
            )
        )?;
        for (span, wanted, got) in &planned.demoted {
            writeln!(out, "  {span}: {wanted} becomes {}", strips::word(*got))?;
        }
    }
    writeln!(out, "\n{}", styled(styles.heading, "To be written, on every CPU, in this order"))?;
    for Msr { msr, value } in &planned.writes {
        writeln!(out, "  wrmsr {msr:#x} {value:#x}")?;
    }
    if planned.writes.is_empty() {
        writeln!(out, "  nothing")?;
    }
    shown::notes(&given.assumed, &given.warnings, out)
}

fn value(given: &Given, planned: &Planned, options: &PlanOptions) -> Value {
    let optimum: serde_json::Map<String, Value> = MemType::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), json!(planned.optimum.with(*kind))))
        .collect();
    let others: serde_json::Map<String, Value> =
        planned.others.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    json!({
        "schema": SCHEMA,
        "registers": planned.registers.len(),
        "default": planned.default.name(),
        "optimum": optimum,
        "msrs": planned.writes.iter().map(|Msr { msr, value }| {
            json!({ "msr": json::addr(u64::from(*msr)), "value": json::addr(*value) })
        }).collect::<Vec<_>>(),
        "demoted": planned.demoted.iter().map(|(span, wanted, got)| json!({
            "start": json::addr(span.start), "end": json::addr(span.end),
            "wanted": wanted.to_string(), "effective": strips::word(*got),
        })).collect::<Vec<_>>(),
        "effective": shown::effective(&planned.setting),
        "assumed": given.assumed,
        "needed": planned.needed,
        "available": given.setting.variable().len(),
        "keep_free": options.keep_free,
        "models": others,
        "warnings": given.warnings,
    })
}
