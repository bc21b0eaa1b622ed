//! The order of rooms: crates from left to right, and in each crate its modules from top to bottom.
//!
//! A file may name modules that stand above its own room, and crates to the left of its own. What is read is `use`
//! and paths: `crate::`, `super::` and the names of our crates.

use crate::run::{Result, root};
use std::fs;
use std::path::{Path, PathBuf};

/// Our crates, left to right, and the rooms of each from top to bottom. Files that are not listed (`lib.rs`, `main.rs`)
/// are tables of contents, and may name anything.
const HOUSE: [(&str, &[&str]); 8] = [
    ("pmem-space", &["range", "fit|entry", "tree", "space"]),
    ("pmem-mtrr", &["block|kind", "regs", "setting|effective|check|plan"]),
    (
        "pmem-core",
        // The contract of drivers reads the model, and errors name what it says; only the manager calls drivers.
        &[
            "attrs", "firmware", "metric", "id", "mapping", "model", "driver", "error", "protocol", "plan",
            "manager", "save", "shared",
        ],
    ),
    ("pmem-drivers", &["mtrr"]),
    (
        "pmem-uvm",
        &[
            "frame",
            "map|free|page",
            "segment",
            "error",
            "settings",
            "counters",
            "snapshot|request",
            "cache|layout",
            "uvm",
            "early|hotplug",
            "feed",
            "shared",
        ],
    ),
    ("pmem-capi", &["failure|host", "memory", "physseg|pmem|page", "hotplug", "sample"]),
    (
        "pmem-import",
        &["error", "number", "root", "resource", "node", "pci|mtrr", "build|machine|net", "gather"],
    ),
    (
        "pmem-cli",
        &[
            "outcome|args",
            "source",
            "show",
            "names",
            "json",
            "topo|view|resolve|diff|annotate|gather|script|mtrr|ram",
        ],
    ),
];

/// Checks every source file of our crates.
pub fn run() -> Result {
    eprintln!("== layers");
    let mut wrong = Vec::new();
    for (place, (name, rooms)) in HOUSE.iter().enumerate() {
        let src = root().join(name).join("src");
        for file in sources(&src)? {
            let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let inner = file.strip_prefix(&src).map_err(|e| e.to_string())?;
            let room = room_of(rooms, inner)?;
            for (line, text) in (1..).zip(text.lines()) {
                let code = text.split("//").next().unwrap_or("");
                for broken in broken(place, room, rooms, code) {
                    wrong.push(format!(
                        "{}:{line}: {broken}",
                        Path::new(name).join("src").join(inner).display()
                    ));
                }
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("the order of rooms is broken:\n{}", wrong.join("\n")))
    }
}

/// The rooms that a line names but may not.
fn broken(place: usize, room: Option<usize>, rooms: &[&str], code: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (name, _) in &HOUSE[place + 1..] {
        if code.contains(&format!("{}::", name.replace('-', "_"))) {
            out.push(format!("{name} stands to the right of {}", HOUSE[place].0));
        }
    }
    let Some(room) = room else { return out };
    for named in code.split("crate::").skip(1) {
        let named: String = named.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        if let Some(other) = position(rooms, &named)
            && other > room
        {
            out.push(format!("{} names {named}, which stands below it", rooms[room]));
        }
    }
    out
}

/// The room of a file; none for a table of contents.
fn room_of(rooms: &[&str], inner: &Path) -> Result<Option<usize>> {
    let first =
        inner.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let name = first.trim_end_matches(".rs");
    if name == "lib" || name == "main" {
        return Ok(None);
    }
    position(rooms, name)
        .map(Some)
        .ok_or_else(|| format!("{}: no room for it in the house plan (xtask/src/layers.rs)", inner.display()))
}

fn position(rooms: &[&str], name: &str) -> Option<usize> {
    rooms.iter().position(|room| room.split('|').any(|one| one == name))
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_to_the_right_is_refused() {
        assert_eq!(broken(0, None, HOUSE[0].1, "use pmem_core::Manager;").len(), 1);
        assert!(broken(2, None, HOUSE[2].1, "use pmem_space::AddrRange;").is_empty());
    }

    #[test]
    fn a_room_below_is_refused() {
        let (place, rooms) = (2, HOUSE[2].1);
        let model = position(rooms, "model");
        assert_eq!(broken(place, model, rooms, "use crate::plan::Plan;").len(), 1);
        assert!(broken(place, model, rooms, "use crate::id::ArenaId;").is_empty());
        assert!(broken(place, position(rooms, "plan"), rooms, "use crate::model::State;").is_empty());
    }
}
