//! `pmem mtrr show`.

use super::{demand, read, strips};
use crate::args::{Args, MtrrSource};
use crate::show::{self, Styles, styled};
use crate::{Failure, SCHEMA, Status, json};
use pmem_mtrr::regs::{phys_base, phys_mask};
use pmem_mtrr::{Effective, Finding, MemType, Setting};
use serde_json::{Value, json};
use std::io::Write;

pub(super) fn run(args: &Args, source: &MtrrSource, out: &mut dyn Write) -> Result<Status, Failure> {
    let mut given = read(args, source)?;
    if !given.programmed {
        return Err(Failure::Other(
            "the sources say nothing of what is programmed: see `pmem mtrr plan`".to_owned(),
        ));
    }
    let setting = given.setting;
    let mut findings: Vec<Finding> = Vec::new();
    setting.check(demand::known(&given).into_iter(), |finding| findings.push(finding));
    for (cpu, other) in (0..).zip(&given.facts.cpus).skip(1) {
        setting.compare(other, cpu, |finding| findings.push(finding));
    }
    if given.facts.memory.is_empty() {
        given.assumed.push("there is no memory map: whether all memory is cached cannot be said".to_owned());
    }
    if args.json {
        writeln!(out, "{:#}", value(&setting, &findings, &given.assumed, &given.warnings))?;
        return Ok(Status::Done);
    }
    let styles = Styles::new(args.color);
    writeln!(
        out,
        "{}",
        styled(
            styles.heading,
            &format!(
                "{} variable registers, {} address bits, default {}, MTRRs {}, fixed ranges {}",
                setting.variable().len(),
                setting.width.bits(),
                setting.default_kind().map_or("invalid", MemType::name),
                if setting.def.enabled() { "on" } else { "off" },
                if setting.def.fixed() { "on" } else { "off" },
            )
        )
    )?;
    let mut table = show::table(&["", "base", "mask", "range", "size", "type"], &[4]);
    for (n, variable) in setting.variable().iter().enumerate().filter(|(_, v)| v.valid()) {
        let block = variable.block(setting.width).map(|block| block.span());
        table.add_row([
            format!("r{n}"),
            format!("{:#x}", variable.base),
            format!("{:#x}", variable.mask),
            block.map_or("several".to_owned(), |span| format!("{:#x}..{:#x}", span.start, span.end)),
            block.map_or(String::new(), |span| show::size(span.len())),
            variable.kind().map_or("invalid", MemType::name).to_owned(),
        ]);
    }
    writeln!(out, "{table}\n")?;
    writeln!(out, "{}", strips::table(&setting, None))?;
    if let Some(end) = setting.tom2() {
        writeln!(out, "\nBelow TOM2, {end:#x}, the default from 4 GiB on is WB.")?;
    }
    if let Some(range) = setting.management() {
        writeln!(out, "\nThe system management range is {range}: uncacheable to all but its own code.")?;
    }
    if !findings.is_empty() {
        writeln!(out, "\n{}", styled(styles.heading, "What is wrong"))?;
    }
    for finding in &findings {
        writeln!(out, "  {}", styled(styles.warning, &finding.to_string()))?;
    }
    notes(&given.assumed, &given.warnings, out)?;
    Ok(Status::Done)
}

/// What was taken for granted, and what is odd about the sources.
pub(super) fn notes(assumed: &[String], warnings: &[String], out: &mut dyn Write) -> Result<(), Failure> {
    if !assumed.is_empty() {
        writeln!(out, "\nAssumed")?;
    }
    for line in assumed {
        writeln!(out, "  {line}")?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

/// The whole space by ranges.
pub(super) fn effective(setting: &Setting) -> Value {
    let piece = |(span, what): (pmem_mtrr::Span, Effective)| json!({ "start": json::addr(span.start), "end": json::addr(span.end), "type": strips::word(what) });
    setting.map().map(piece).collect()
}

fn value(setting: &Setting, findings: &[Finding], assumed: &[String], warnings: &[String]) -> Value {
    let registers: Vec<Value> = setting
        .variable()
        .iter()
        .enumerate()
        .filter(|(_, variable)| variable.valid())
        .map(|(n, variable)| {
            let block = variable.block(setting.width).map(|block| block.span());
            json!({
                "register": n,
                "msrs": [
                    { "msr": json::addr(u64::from(phys_base(n))), "value": json::addr(variable.base) },
                    { "msr": json::addr(u64::from(phys_mask(n))), "value": json::addr(variable.mask) },
                ],
                "start": block.map(|span| json::addr(span.start)),
                "end": block.map(|span| json::addr(span.end)),
                "type": variable.kind().map(MemType::name),
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "bits": setting.width.bits(),
        "available": setting.variable().len(),
        "default": setting.default_kind().map(MemType::name),
        "enabled": setting.def.enabled(),
        "fixed": setting.def.fixed(),
        "tom2": setting.tom2().map(json::addr),
        "registers": registers,
        "effective": effective(setting),
        "findings": findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "assumed": assumed,
        "warnings": warnings,
    })
}
