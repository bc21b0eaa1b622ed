//! Scripts.

use crate::args::Args;
use crate::{Failure, SCHEMA, Status};
use pmem_script::run;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

/// `pmem script`.
pub(crate) fn run_file(
    args: &Args,
    file: &Path,
    check: bool,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("{}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = fs::read_to_string(file).map_err(failed)?;
    }
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
        .map(|(line, text)| format!("{}:{line}: {}", file.display(), text.trim_end()))
        .collect();
    Err(Failure::Other(all.join("\n")))
}
