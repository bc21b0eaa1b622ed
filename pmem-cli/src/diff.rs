//! `pmem diff`.

use crate::args::Args;
use crate::show::{self, Styles};
use crate::source::{open, viewer};
use crate::{Failure, SCHEMA, Status, json, names};
use serde_json::json;
use std::io::Write;

pub(crate) fn run(args: &Args, left: &str, right: &str, out: &mut dyn Write) -> Result<Status, Failure> {
    let machine = open(args)?;
    let (l, r) = (viewer(&machine, Some(left))?, viewer(&machine, Some(right))?);
    let differences = machine.state().diff(l, r);
    if args.json {
        let all = differences.iter().map(|d| {
            json!({
                "arena": machine.arena_name(d.arena),
                "start": json::addr(d.range.start()),
                "end": json::end(d.range),
                "region": d.region.map(|region| machine.region_name(region)),
                "left": d.left.map(json::addr),
                "right": d.right.map(json::addr),
            })
        });
        let all: Vec<_> = all.collect();
        let (left, right) = (machine.arena_name(l), machine.arena_name(r));
        writeln!(out, "{:#}", json!({ "schema": SCHEMA, "left": left, "right": right, "differences": all }))?;
        return Ok(Status::Done);
    }
    let styles = Styles::new(args.color);
    if differences.is_empty() {
        writeln!(out, "{left} and {right} reach the same, at the same addresses.")?;
        return Ok(Status::Done);
    }
    let sections = [
        (format!("Only {left} reaches"), true, false),
        (format!("Only {right} reaches"), false, true),
        ("Both reach, at different addresses".to_owned(), true, true),
    ];
    for (title, in_left, in_right) in sections {
        let of = differences.iter().filter(|d| d.left.is_some() == in_left && d.right.is_some() == in_right);
        let mut table = show::table(&["what", "size", left, right], &[1]);
        let mut any = false;
        for d in of {
            any = true;
            let what = names::place(&machine, d.arena, d.region);
            let at = |addr: Option<u64>| addr.map_or(String::new(), |addr| format!("{addr:#x}"));
            table.add_row([what, show::size(d.range.len()), at(d.left), at(d.right)]);
        }
        if any {
            writeln!(out, "{}", show::styled(styles.heading, &title))?;
            out.write_all(show::lines(&table).as_bytes())?;
        }
    }
    Ok(Status::Done)
}
