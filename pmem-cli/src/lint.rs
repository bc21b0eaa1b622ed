//! `pmem lint`: where descriptions of a machine contradict each other.

use crate::args::Args;
use crate::source::{draw, styles};
use crate::{Failure, SCHEMA, Status};
use pmem_import::Sources;
use pmem_report::lint::{LintReport, RULES, Severity};
use pmem_report::picture::Draw;
use pmem_report::text;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

pub(crate) fn lint(
    args: &Args,
    explain: Option<&str>,
    together: bool,
    named: &[PathBuf],
    out: &mut dyn Write,
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
    let machines: Vec<Vec<PathBuf>> = if together || sources.is_empty() {
        vec![sources]
    } else {
        sources.into_iter().map(|source| vec![source]).collect()
    };
    let (mut reports, mut failed) = (Vec::new(), Vec::new());
    for paths in &machines {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let machine = if names.is_empty() { "this machine".to_owned() } else { names.join(", ") };
        let report = match Sources::open(paths) {
            Ok(sources) => LintReport::of(&machine, sources),
            // Of many machines one that cannot be read does not hide the others.
            Err(error) if machines.len() > 1 => {
                failed.push(json!({ "machine": machine, "why": error.to_string() }));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if report.is_nothing && !paths.is_empty() {
            failed.push(json!({ "machine": machine, "why": "nothing that pmem reads" }));
            continue;
        }
        if args.json {
            for found in &report.findings {
                writeln!(out, "{}", serde_json::to_string(found)?)?;
            }
        }
        reports.push(report);
    }
    if args.drawing.is_any() {
        let [report] = &reports[..] else {
            return Err(Failure::Usage("a picture is of one machine: name one, or --together".to_owned()));
        };
        draw(args, report.picture(), out)?;
    }
    let count = |severity| reports.iter().map(|report| report.count(severity)).sum::<usize>();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warn));
    if args.json {
        let unchecked: Vec<_> = reports.iter().flat_map(|report| &report.unchecked).collect();
        let read: Vec<_> = reports
            .iter()
            .map(|report| json!({ "machine": report.machine, "sources": report.read }))
            .collect();
        let last = json!({
            "schema": SCHEMA,
            "machines": reports.len(),
            "error": errors,
            "warn": warnings,
            "info": count(Severity::Info),
            "unchecked": unchecked,
            "read": read,
            "failed": failed,
        });
        writeln!(out, "{last}")?;
    } else if !args.drawing.is_any() {
        text::lint(&reports, &styles(args.color), out)?;
    }
    for failure in &failed {
        if let (Some(machine), Some(why)) = (failure["machine"].as_str(), failure["why"].as_str()) {
            let why = format!("{machine}: {why}");
            if reports.is_empty() && failed.len() == 1 {
                return Err(Failure::Other(why));
            }
            if !args.json {
                writeln!(out, "{why}")?;
            }
        }
    }
    Ok(if errors + warnings > 0 || !failed.is_empty() { Status::Failed } else { Status::Done })
}

fn rules(args: &Args, id: &str, out: &mut dyn Write) -> Result<Status, Failure> {
    let only = (!id.eq_ignore_ascii_case("all")).then_some(id);
    if let Some(id) = only.filter(|id| !RULES.iter().any(|rule| rule.id.eq_ignore_ascii_case(id))) {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        return Err(Failure::Usage(format!("{id}: no rule; there are {}", known.join(", "))));
    }
    text::lint_rules(only, &styles(args.color), out)?;
    Ok(Status::Done)
}
