//! The innermost line of a list has the address, and what lies inside RAM is not free: every list of the corpus against a reader that
//! knows nothing but lines and indentation.

use pmem_import::Machine;
use pmem_report::{MemoryReport, Outcome, Resolved};
use std::fs;
use std::path::{Path, PathBuf};

/// A line of a list.
struct Line {
    start: u64,
    last: u64,
    depth: usize,
    name: String,
}

impl Line {
    fn holds(&self, addr: u64) -> bool {
        (self.start..=self.last).contains(&addr)
    }
}

/// The oracle: `  start-last : name`, deeper lines inside of those before them.
fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let depth = line.len() - line.trim_start_matches(' ').len();
        let (range, name) = line.trim().split_once(" : ")?;
        let (start, last) = range.split_once('-')?;
        let number = |digits: &str| u64::from_str_radix(digits.trim(), 16).ok();
        let (start, last) = (number(start)?, number(last)?);
        (start <= last).then(|| Line { start, last, depth, name: name.trim().to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// The deepest line that holds an address; of siblings that overlap, which no sound list has, the narrower.
fn innermost(lines: &[Line], addr: u64) -> Option<&Line> {
    lines
        .iter()
        .filter(|line| line.holds(addr))
        .max_by_key(|line| (line.depth, u64::MAX - (line.last - line.start)))
}

/// Every list of the corpus: its text, and the sources that it is part of.
fn lists() -> Vec<(PathBuf, PathBuf)> {
    let Some(corpus) = pmem_tests::corpus() else { return Vec::new() };
    let mut found = Vec::new();
    let mut folders = vec![corpus];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name == "iomem" || name.contains(".iomem") {
                let whole = path.parent().filter(|parent| parent.ends_with("proc")).and_then(Path::parent);
                found.push((path.clone(), whole.map_or(path.clone(), Path::to_path_buf)));
            }
        }
    }
    found.sort();
    found
}

fn read(source: &Path) -> Machine {
    Machine::open(&[source.to_path_buf()]).unwrap_or_else(|error| panic!("{}: {error}", source.display()))
}

/// Ends of lines, what lies beside them, and addresses spread over all of the list.
fn addresses(lines: &[Line]) -> Vec<u64> {
    let mut out = Vec::new();
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    while out.len() < 200 {
        let line = &lines[random() as usize % lines.len()];
        let inside = random() % (line.last - line.start).max(1);
        out.push(match random() % 6 {
            0 => line.start,
            1 => line.last,
            2 => line.start.saturating_sub(1),
            3 => line.last.saturating_add(1),
            _ => line.start + inside,
        });
    }
    out
}

#[test]
fn resolve_names_the_innermost_line() {
    let lists = lists();
    let mut wrong = Vec::new();
    for (path, source) in &lists {
        let lines = lines(&String::from_utf8_lossy(&fs::read(path).unwrap()));
        if lines.is_empty() {
            continue;
        }
        let machine = read(source);
        for addr in addresses(&lines) {
            let answer = Resolved::new(&machine, machine.system, addr);
            let expected = innermost(&lines, addr);
            let got = answer.names.first().map(String::as_str);
            // A list may have what no bridge or aperture leads to.
            let found =
                answer.result == Outcome::Accept || answer.what.contains("no interconnect leads there");
            // What the user reads says so too; a function's line is called by the function.
            let said = expected.is_none_or(|line| answer.what.contains(&line.name));
            if got != expected.map(|line| line.name.as_str()) || !said || expected.is_some() && !found {
                let expected = expected.map(|line| &line.name);
                wrong.push(format!(
                    "{} {addr:#x}: {expected:?}, got {got:?}, said {:?}",
                    path.display(),
                    answer.what
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong in {} lists:\n{}", wrong.len(), lists.len(), wrong.join("\n"));
}

#[test]
fn free_memory_is_ram_without_what_lies_inside() {
    const PAGE: u64 = 4096;
    let lists = lists();
    for (path, source) in &lists {
        let lines = lines(&String::from_utf8_lossy(&fs::read(path).unwrap()));
        let machine = read(source);
        // By page: which are whole pages of RAM, and not touched by anything that is inside of RAM.
        let is_ram = |line: &Line| line.name.starts_with("System RAM");
        let mut free = 0;
        for (n, ram) in lines.iter().enumerate().filter(|(_, line)| is_ram(line)) {
            let mut inside: Vec<(u64, u64)> = lines[n + 1..]
                .iter()
                .take_while(|line| line.depth > ram.depth)
                .map(|line| (line.start / PAGE, line.last / PAGE + 1))
                .collect();
            inside.sort_unstable();
            let (mut at, end) = (ram.start.div_ceil(PAGE), (ram.last + 1) / PAGE);
            for (from, to) in inside {
                free += from.min(end).saturating_sub(at);
                at = at.max(to);
            }
            free += end.saturating_sub(at);
        }
        let offline: u64 =
            machine.numa.all.iter().flat_map(|node| &node.offline).map(|range| range.len()).sum();
        let shown: u64 = MemoryReport::of(&machine).free_lists.iter().map(|list| list.free_pages).sum();
        assert_eq!((shown, offline), (free, 0), "pages that are free in {}", path.display());
    }
}
