//! Runs the commands of docs/fleet.md over copies of the project's captures.

use crate::run::{Result, cargo, check, ensure, output, root};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The number of machines.
const MACHINES: usize = 60;

/// Lints and lists copies of the captures in one call each, and queries the output with DuckDB from PyPI.
pub fn run() -> Result {
    check("the command", cargo().args(["build", "--release", "--quiet", "--package", "pmem-cli"]))?;
    let (pmem, place) = (root().join("target/release/pmem"), root().join("target/fleet"));
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let _ = fs::remove_dir_all(place.join("captures"));
    fs::create_dir_all(place.join("captures")).map_err(failed(&place))?;
    let machines = root().join("tests/machines");
    let mut archives = Vec::new();
    for entry in fs::read_dir(&machines).map_err(failed(&machines))? {
        let path = entry.map_err(failed(&machines))?.path();
        archives.extend(path.to_string_lossy().ends_with(".tar.gz").then_some(path));
    }
    archives.sort();
    for (number, archive) in (0..MACHINES).zip(archives.iter().cycle()) {
        let copy = place.join(format!("captures/{number:03}.tar"));
        fs::copy(archive, &copy).map_err(failed(&copy))?;
    }
    let captures = "captures/*.tar";
    // `lint` exits with 1 if it has findings. What matters is that there are lines, the last with the counts.
    let shell = |line: String| {
        let mut shell = Command::new("sh");
        shell.current_dir(&place).arg("-c").arg(line);
        shell
    };
    let pmem = pmem.display();
    check("lint", &mut shell(format!("{pmem} lint --json {captures} > findings.jsonl; test $? -le 1")))?;
    check("topo", &mut shell(format!("{pmem} topo --json --each {captures} > machines.jsonl")))?;
    let tools = place.join("tools");
    let duckdb = tools.join("bin/duckdb");
    if !duckdb.is_file() {
        if output("pip", Command::new("pip").arg("--version")).is_err() {
            ensure(&["python3-pip"])?;
        }
        let mut pip = Command::new("pip");
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action",
            "ignore",
            "--target",
        ]);
        check("DuckDB, from Python's registry", pip.arg(&tools).arg("duckdb-cli"))?;
    }
    let page = root().join("docs/fleet.md");
    let page = fs::read_to_string(&page).map_err(failed(&page))?;
    let queries: Vec<&str> =
        page.split("```sql\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    if queries.len() < 2 {
        return Err("docs/fleet.md has no queries".to_owned());
    }
    let count = "SELECT count(*) FROM read_json('machines.jsonl', format = 'newline_delimited') WHERE machine LIKE 'captures/%'";
    for (query, wanted) in queries.iter().copied().map(|query| (query, None)).chain([(count, Some(MACHINES))])
    {
        let mut ask = Command::new(&duckdb);
        ask.current_dir(&place).env("PYTHONPATH", &tools).args(["-csv", "-noheader", "-c", query]);
        let answer = output("DuckDB", &mut ask).map_err(|why| format!("{why}\n{query}"))?;
        eprintln!("{query}\n{answer}");
        if answer.trim().is_empty() || wanted.is_some_and(|wanted| answer.trim() != wanted.to_string()) {
            return Err(format!("{query}\nanswers {answer:?}"));
        }
    }
    Ok(())
}
