//! `pmem topo`: the machine at a glance.

use crate::args::{Args, TopoArgs};
use crate::each::in_order;
use crate::source::{draw, open, styles, write};
use crate::{Failure, Output, Status, file};
use pmem_import::PciIds;
use pmem_report::picture::{self, Draw};
use pmem_report::text::{self, Detail};
use pmem_report::{Topo, json};
use std::io::Write;
use std::path::PathBuf;

pub(crate) fn topo(args: &Args, topo: &TopoArgs, out: &mut Output<'_>) -> Result<Status, Failure> {
    let detail = match (topo.all, topo.verbose) {
        (true, _) => Detail::All,
        (_, true) => Detail::Bars,
        _ => Detail::Screen,
    };
    if topo.each {
        return each(args, &topo.sources, detail, out);
    }
    let machine = open(args, &topo.sources)?;
    let report = Topo::of(&machine, &PciIds::of_system());
    if args.drawing.is_any() {
        if let Some(path) = &args.drawing.dot {
            file::write(path, out, |out| picture::dot(&report, out))?;
        }
        draw(args, report.picture(), out)?;
        return Ok(Status::Done);
    }
    write(args, &report, out, |report, styles, out| text::topo(report, detail, styles, out))?;
    Ok(Status::Done)
}

/// Treats each source as a machine: a line of JSON, or a text under its name.
fn each(args: &Args, sources: &[PathBuf], detail: Detail, out: &mut Output<'_>) -> Result<Status, Failure> {
    if args.drawing.is_any() || args.net.is_some() {
        return Err(Failure::Usage("--each goes with neither pictures nor --net".to_owned()));
    }
    let ids = PciIds::of_system();
    let sources: Vec<PathBuf> = args.root.iter().chain(sources).cloned().collect();
    file::standard_once(&sources)?;
    let styles = styles(args.color);
    let (mut done, mut failed) = (0, 0);
    let read = |source: &PathBuf| {
        let report = pmem_import::Machine::open(std::slice::from_ref(source))
            .map_err(Failure::from)
            .and_then(crate::source::something)
            .map(|machine| Topo::of(&machine, &ids));
        (source.display().to_string(), report)
    };
    in_order(&sources, read, |(name, report)| {
        match report {
            Ok(report) if args.json => {
                let mut line = json(&report);
                line["machine"] = name.into();
                writeln!(out, "{line}")?;
            }
            Ok(report) => {
                writeln!(out, "==> {name} <==")?;
                text::topo(&report, detail, &styles, out)?;
                writeln!(out)?;
            }
            Err(failure) => {
                failed += 1;
                let why = failure.to_string();
                if args.json {
                    let line = serde_json::json!({ "schema": crate::SCHEMA, "machine": name, "failed": why });
                    writeln!(out, "{line}")?;
                } else {
                    writeln!(out, "{why}\n")?;
                }
            }
        }
        done += 1;
        out.say(|| format!("read {done} of {} machines", sources.len()));
        Ok::<_, Failure>(())
    })?;
    Ok(if failed > 0 { Status::Failed } else { Status::Done })
}
