//! What people posted, and what is right for each: `tests/reports.txt` lists command, expected lines, and what must not be said.
//!
//! `$ pmem …` is run in the corpus (`PMEM_CORPUS`), with `< FILE` as its standard input; `status N` is its exit status, 0 if it is not
//! given. Each line below is to be found in the output, in this order, blanks folded; a line that begins with `!` nowhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

struct Case {
    line: usize,
    command: String,
    status: i32,
    lines: Vec<String>,
    not: Vec<String>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (line, raw) in (1..).zip(text.lines()) {
        let words = fold(raw);
        if let Some(command) = raw.strip_prefix("$ pmem ") {
            let command = command.to_owned();
            cases.push(Case { line, command, status: 0, lines: Vec::new(), not: Vec::new() });
        } else if let Some(case) = cases.last_mut().filter(|_| !words.is_empty() && !words.starts_with('#')) {
            match (words.strip_prefix("status "), words.strip_prefix("! ")) {
                (Some(status), _) => case.status = status.parse().unwrap(),
                (_, Some(not)) => case.not.push(not.to_owned()),
                _ => case.lines.push(words),
            }
        }
    }
    cases
}

/// Blanks in a row are one.
fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is wrong with the output of a case, if anything is.
fn check(corpus: &Path, case: &Case) -> Result<(), String> {
    let (command, input) = case.command.split_once(" < ").unwrap_or((&case.command, ""));
    let mut pmem = Command::new(env!("CARGO_BIN_EXE_pmem"));
    pmem.args(command.split_whitespace()).current_dir(corpus);
    let stdin =
        if input.is_empty() { Stdio::null() } else { fs::File::open(corpus.join(input)).unwrap().into() };
    let output = pmem.stdin(stdin).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let shown: Vec<String> = out.lines().map(fold).collect();
    let wrong =
        |what: String| Err(format!("tests/reports.txt:{}: pmem {}: {what}\n{out}", case.line, case.command));
    if output.status.code() != Some(case.status) {
        return wrong(format!("status {:?}, not {}", output.status.code(), case.status));
    }
    // What annotate passes on is somebody else's text.
    if let Some(line) = out.lines().find(|line| line.ends_with(' ')).filter(|_| !command.contains("annotate"))
    {
        return wrong(format!("blanks at the end of {line:?}"));
    }
    let mut at = 0;
    for line in &case.lines {
        match shown[at..].iter().position(|shown| shown.contains(line.as_str())) {
            Some(found) => at += found,
            None => return wrong(format!("no line {line:?} (behind those before it)")),
        }
    }
    match case.not.iter().find(|not| shown.iter().any(|shown| shown.contains(not.as_str()))) {
        Some(not) => wrong(format!("says {not:?}")),
        None => Ok(()),
    }
}

#[test]
fn every_report_gives_what_is_right_for_it() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let table = pmem_tests::here().join("reports.txt");
    let cases = cases(&fs::read_to_string(table).unwrap());
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(&corpus, case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Each report is in the table: one that is added and not listed shows.
#[test]
fn every_report_of_the_corpus_is_listed() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let table = fs::read_to_string(pmem_tests::here().join("reports.txt")).unwrap();
    for folder in ["mtrr", "mtrr/min", "topology", "iomem"] {
        for entry in fs::read_dir(corpus.join("reports").join(folder)).unwrap() {
            let name = format!("reports/{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
            assert!(
                table.contains(&name) || name.ends_with("mtrr/min"),
                "{name} is not in tests/reports.txt"
            );
        }
    }
}
