//! `pmem script`: runs scripts.

use crate::args::Args;
use crate::{Failure, Output, SCHEMA, Status, file};
use pmem_script::run;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Runs a script, and prints it with the output of its commands.
pub(crate) fn run_file(
    args: &Args,
    path: &Path,
    check: bool,
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let text = String::from_utf8(file::read(path)?)
        .map_err(|error| Failure::Other(format!("{}: {error}", path.display())))?;
    let run = run(&text);
    if args.json {
        let failures: Vec<_> = run
            .failures
            .iter()
            .map(|(line, text)| json!({ "line": line, "text": text.trim_end() }))
            .collect();
        writeln!(out, "{:#}", json!({ "schema": SCHEMA, "rendered": run.rendered, "failures": failures }))?;
    } else if !check {
        out.write_all(run.rendered.as_bytes())?;
    }
    if run.failures.is_empty() {
        return Ok(Status::Done);
    }
    let all: Vec<String> = run
        .failures
        .iter()
        .map(|(line, text)| format!("{}:{line}: {}", path.display(), text.trim_end()))
        .collect();
    Err(Failure::Other(all.join("\n")))
}
