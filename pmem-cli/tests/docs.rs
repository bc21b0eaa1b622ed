//! Every sample in the README and the documents gives what stands below it.
//!
//! A sample is a block ```` ```text ```` or ```` ```console ```` that begins with `$ `: commands as the shell runs them in the project's
//! folder (or one with its `docs` and `tests`), each followed by all that it prints. A line `…` stands for any lines, and one that ends in ` …` for any that begins so.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Sample {
    place: String,
    command: String,
    lines: Vec<String>,
}

fn samples(name: &str, text: &str) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut is_inside = false;
    let mut is_sample = false;
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("```") {
            is_inside = !is_inside && (line == "```text" || line == "```console");
            is_sample = false;
            continue;
        }
        if !is_inside {
            continue;
        }
        let command = line.strip_prefix("$ ");
        match (command, samples.last_mut().filter(|_| is_sample)) {
            (None, Some(sample)) if goes_on => {
                goes_on = line.ends_with('\\');
                let _ = write!(sample.command, " {}", line.trim().trim_end_matches('\\'));
            }
            (Some(command), _) => {
                goes_on = command.ends_with('\\');
                is_sample = true;
                let command = command.trim_end_matches('\\').to_owned();
                samples.push(Sample { place: format!("{name}:{number}"), command, lines: Vec::new() });
            }
            (None, Some(sample)) => sample.lines.push(line.trim_end().to_owned()),
            (None, None) => {}
        }
    }
    samples
}

/// Whether lines are as a sample says.
fn fits(said: &[String], lines: &[&str]) -> bool {
    match (said.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((gap, rest)), _) if gap == "…" => (0..=lines.len()).any(|skip| fits(rest, &lines[skip..])),
        (Some((said, rest)), Some((line, others))) => {
            let is_it = said.strip_suffix(" …").map_or(said == line, |begin| line.starts_with(begin));
            is_it && fits(rest, others)
        }
        _ => false,
    }
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

#[test]
fn samples_print_what_the_documents_say() {
    let root = pmem_tests::here().join("..").canonicalize().unwrap();
    let mut paths = vec![root.join("README.md")];
    documents(&root.join("docs"), &mut paths);
    paths.sort();
    let bin = Path::new(env!("CARGO_BIN_EXE_pmem")).parent().unwrap();
    let mut path = bin.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    // What a sample writes must not come to lie in the project.
    let place = tempfile::tempdir().unwrap();
    for name in ["docs", "tests"] {
        std::os::unix::fs::symlink(root.join(name), place.path().join(name)).unwrap();
    }
    let mut count = 0;
    let mut wrong = String::new();
    for file in paths {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        for sample in samples(&name, &fs::read_to_string(&file).unwrap()) {
            count += 1;
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &sample.command])
                .current_dir(place.path())
                .env("PATH", &path)
                .env_remove("COLUMNS");
            // A system's names of vendors and devices are not in the documents.
            shell.env("PMEM_PCI_IDS", "");
            let output = shell.stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = text.lines().collect();
            if !fits(&sample.lines, &lines) {
                let Sample { place, command, lines } = sample;
                let said = lines.join("\n");
                let _ = writeln!(wrong, "{place}: $ {command}\n--- said\n{said}\n--- printed\n{text}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 12, "{count} samples");
}

#[test]
fn a_sample_that_is_not_so_is_seen() {
    let text = "```console\n$ echo a \\\n  b\na b\n…\nlast …\n$ true\n```\n```text\nno sample\n```\n";
    let found = samples("x", text);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].lines.len()), ("echo a  b", 3));
    assert!(fits(&found[0].lines, &["a b", "1", "2", "last of all"]));
    assert!(fits(&found[0].lines, &["a b", "last one"]));
    assert!(!fits(&found[0].lines, &["a b", "1", "2"]));
    assert!(!fits(&found[0].lines, &["a c", "last one"]));
    assert!(fits(&found[1].lines, &[]) && !fits(&found[1].lines, &["something"]));
}
