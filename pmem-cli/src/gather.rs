//! `pmem gather`: captures a machine.

use crate::args::Args;
use crate::source::open_tree;
use crate::{Failure, Output, SCHEMA, Status};
use serde_json::json;
use std::io::Write;
use std::path::Path;

pub(crate) fn run(args: &Args, path: &Path, out: &mut Output<'_>) -> Result<Status, Failure> {
    let gathered = pmem_import::gather(&open_tree(args)?, path)?;
    let warnings: Vec<String> = gathered.findings.iter().map(ToString::to_string).collect();
    if args.json {
        let value = json!({
            "schema": SCHEMA,
            "file": path.display().to_string(),
            "files": gathered.files,
            "links": gathered.links,
            "warnings": warnings,
        });
        writeln!(out, "{value:#}")?;
        return Ok(Status::Done);
    }
    writeln!(out, "{}: {} files, {} links", path.display(), gathered.files, gathered.links)?;
    warnings.iter().try_for_each(|warning| writeln!(out, "  missing: {warning}"))?;
    Ok(Status::Done)
}
