//! `pmem lint`: finds contradictions between descriptions of a machine.

use crate::args::Args;
use crate::each::in_order;
use crate::source::{draw, styles};
use crate::{Failure, Output, Status, file};
use pmem_import::Sources;
use pmem_report::lint::{LintReport, LintSummary, RULES, Severity};
use pmem_report::picture::Draw;
use pmem_report::text;
use std::io::Write;
use std::path::PathBuf;

pub(crate) fn lint(
    args: &Args,
    explain: Option<&str>,
    together: bool,
    named: &[PathBuf],
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    if let Some(id) = explain {
        return rules(args, id, out);
    }
    if args.net.is_some() {
        return Err(Failure::Usage(
            "a net is no machine with sources: --net does not go with lint".to_owned(),
        ));
    }
    let sources: Vec<PathBuf> = args.root.iter().chain(named).cloned().collect();
    file::standard_once(&sources)?;
    let machines: Vec<Vec<PathBuf>> = if together || sources.is_empty() {
        vec![sources]
    } else {
        sources.into_iter().map(|source| vec![source]).collect()
    };
    if args.drawing.is_any() {
        let [paths] = &machines[..] else {
            return Err(Failure::Usage("a picture is of one machine: name one, or --together".to_owned()));
        };
        let report = look(paths)?;
        draw(args, report.picture(), out)?;
        return Ok(status(&report));
    }
    let styles = styles(args.color);
    if let [paths] = &machines[..]
        && !args.json
    {
        let report = look(paths)?;
        text::lint(&report, &styles, out)?;
        return Ok(status(&report));
    }
    let (mut sum, mut checked) = (LintSummary::default(), 0);
    in_order(
        &machines,
        |paths| look(paths).map_err(|failure| (name(paths), failure.to_string())),
        |looked| {
            match &looked {
                Ok(report) if args.json => {
                    for found in &report.findings {
                        writeln!(out, "{}", serde_json::to_string(found)?)?;
                    }
                }
                Ok(report) => text::lint_of_several(report, &styles, out)?,
                Err((_, why)) if !args.json => writeln!(out, "{why}")?,
                Err(_) => {}
            }
            match looked {
                Ok(report) => sum.add(report),
                // A machine that cannot be read must not hide the others.
                Err((machine, why)) => sum.fail(machine, why),
            }
            checked += 1;
            out.say(|| format!("checked {checked} of {} machines", machines.len()));
            Ok::<_, Failure>(())
        },
    )?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&sum)?)?;
    }
    if machines.len() == 1
        && let Some(failed) = sum.failed.pop()
    {
        return Err(Failure::Other(failed.why));
    }
    Ok(if sum.is_wrong() { Status::Failed } else { Status::Done })
}

/// Returns what a machine is called.
fn name(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if names.is_empty() { "this machine".to_owned() } else { names.join(", ") }
}

fn look(paths: &[PathBuf]) -> Result<LintReport, Failure> {
    let machine = name(paths);
    let report = LintReport::of(&machine, Sources::open(paths)?);
    if report.is_nothing && !paths.is_empty() {
        return Err(Failure::Other(format!("{machine}: nothing that pmem reads")));
    }
    Ok(report)
}

fn status(report: &LintReport) -> Status {
    let is_wrong = report.count(Severity::Error) + report.count(Severity::Warn) > 0;
    if is_wrong || report.damage.is_some() { Status::Failed } else { Status::Done }
}

fn rules(args: &Args, id: &str, out: &mut Output<'_>) -> Result<Status, Failure> {
    let only = (!id.eq_ignore_ascii_case("all")).then_some(id);
    if let Some(id) = only.filter(|id| !RULES.iter().any(|rule| rule.id.eq_ignore_ascii_case(id))) {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        return Err(Failure::Usage(format!("{id}: no rule; there are {}", known.join(", "))));
    }
    text::lint_rules(only, &styles(args.color), out)?;
    Ok(Status::Done)
}
