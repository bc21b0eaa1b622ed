//! Checks that the tests can fail: one-line faults in the module's C and Rust code, one at a time, each of
//! which they must catch.
//!
//! The list is `kmod/test/mutants.toml`. Each fault is made in a copy of the project, and must make either the
//! host's tests or scenes in a booted kernel fail.

use crate::run::{Result, check, output, root};
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The list of faults.
#[derive(Deserialize)]
struct List {
    fault: Vec<Fault>,
}

/// A fault in one line.
#[derive(Clone, Deserialize)]
struct Fault {
    about: String,
    file: String,
    old: String,
    new: String,
    /// What must catch it: `host`, scenes of the module's test, or `hotplug:` and a scene of `cargo xtask
    /// hotplug test`.
    by: String,
}

/// The result of testing one fault.
struct Outcome {
    fault: Fault,
    caught: std::result::Result<bool, String>,
}

/// The prefix of scenes of `cargo xtask hotplug test` in the list.
const HOTPLUG: &str = "hotplug:";

/// The packages whose tests run on the host.
const HOST: [&str; 4] = ["pmem-arena-host", "pmem-arena-abi", "pmem-mtrr", "pmem-drivers"];

/// Tests each fault whose name contains `only`, and reports which were caught.
pub fn run(only: Option<&str>, workers: usize) -> Result {
    let file = root().join("kmod/test/mutants.toml");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let list: List = toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let chosen =
        |fault: &Fault| only.is_none_or(|only| fault.about.contains(only) || fault.by.contains(only));
    let faults: Vec<Fault> = list.fault.into_iter().filter(chosen).collect();
    faults.iter().try_for_each(|fault| planted(&root(), fault).map(drop))?;
    sound(&faults)?;
    let queue: Mutex<VecDeque<Fault>> = Mutex::new(faults.into());
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..workers.max(1) {
            let (queue, done, failed) = (&queue, &done, &failed);
            scope.spawn(move || {
                let tree = match copy(worker) {
                    Ok(tree) => tree,
                    Err(why) => return lock(failed).push(why),
                };
                while let Some(fault) = { lock(queue).pop_front() } {
                    let caught = one(&tree, &fault);
                    let word = match &caught {
                        Ok(true) => "caught",
                        Ok(false) => "MISSED",
                        Err(why) => why,
                    };
                    eprintln!("{}: {} ({}): {word}", fault.by, fault.about, fault.file);
                    lock(done).push(Outcome { fault, caught });
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let caught = done.iter().filter(|one| one.caught == Ok(true)).count();
    let missed: Vec<&str> =
        done.iter().filter(|one| one.caught != Ok(true)).map(|one| one.fault.about.as_str()).collect();
    let host = done.iter().filter(|one| one.fault.by == "host").count();
    eprintln!(
        "{caught} of {} faults caught; {host} are for the host's tests, the rest for booted ones",
        done.len()
    );
    if missed.is_empty() { Ok(()) } else { Err(format!("not caught: {}", missed.join("; "))) }
}

/// Checks that everything passes without a fault: otherwise each fault would seem caught.
fn sound(faults: &[Fault]) -> Result {
    let tree = copy(0)?;
    let mut scenes: Vec<&str> = faults.iter().map(|fault| fault.by.as_str()).collect();
    scenes.sort_unstable();
    scenes.dedup();
    let hotplug: Vec<&str> = scenes.iter().filter_map(|scene| scene.strip_prefix(HOTPLUG)).collect();
    let is_booted = |scene: &&&str| **scene != "host" && !scene.starts_with(HOTPLUG);
    let booted_scenes: Vec<&str> = scenes.iter().filter(is_booted).copied().collect();
    let mut failed = Vec::new();
    if scenes.contains(&"host") && on_host(&tree)? {
        failed.push("the host's tests".to_owned());
    }
    if !hotplug.is_empty() && plugged(&tree, &hotplug.join(","))? {
        failed.push(format!("hot-plug of {}", hotplug.join(", ")));
    }
    if !booted_scenes.is_empty() && booted(&tree, &booted_scenes.join(","), 900)? {
        failed.push(format!("scenes {}", booted_scenes.join(", ")));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("without any fault these fail: {}", failed.join(", ")))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies the project's files as they are to a worker's folder, where earlier builds are kept.
fn copy(worker: usize) -> Result<PathBuf> {
    let tree = root().join(format!("target/kmod/mutants/{worker}"));
    fs::create_dir_all(tree.join("target")).map_err(|e| e.to_string())?;
    let mut list = Command::new("git");
    list.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let files = output("git ls-files", &mut list)?;
    for name in files.lines() {
        let (from, to) = (root().join(name), tree.join(name));
        // git also lists files that are deleted but not yet committed.
        let Ok(new) = fs::read(&from) else { continue };
        if fs::read(&to).ok().as_ref() != Some(&new) {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|e| e.to_string())?;
            }
            fs::write(&to, new).map_err(|e| format!("{}: {e}", to.display()))?;
        }
    }
    Ok(tree)
}

/// Returns the text of the file with the fault in it.
fn planted(tree: &Path, fault: &Fault) -> Result<String> {
    let file = tree.join(&fault.file);
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    match text.matches(&fault.old).count() {
        1 => Ok(text.replace(&fault.old, &fault.new)),
        n => Err(format!("{}: {n} places for the fault \"{}\"", file.display(), fault.about)),
    }
}

/// Plants a fault, and returns whether the tests fail because of it.
fn one(tree: &Path, fault: &Fault) -> std::result::Result<bool, String> {
    let file = tree.join(&fault.file);
    let sound = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    fs::write(&file, planted(tree, fault)?).map_err(|e| e.to_string())?;
    let caught = match fault.by.strip_prefix(HOTPLUG) {
        Some(scene) => plugged(tree, scene),
        None if fault.by == "host" => on_host(tree),
        None => booted(tree, &fault.by, 240),
    };
    fs::write(&file, sound).map_err(|e| e.to_string())?;
    caught
}

fn cargo(tree: &Path) -> Command {
    let mut cargo = crate::run::cargo();
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", tree.join("target")).env_remove("PMEM_CORPUS");
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    cargo
}

fn on_host(tree: &Path) -> std::result::Result<bool, String> {
    let test = |more: &[&str]| {
        let mut test = cargo(tree);
        test.args(["test", "--quiet"]).args(HOST.iter().flat_map(|name| ["-p", name])).args(more);
        // A seed that a planted fault produces is worthless.
        test.env("PROPTEST_FAILURE_PERSISTENCE", "off").env("PROPTEST_CASES", "64");
        test.status().map_err(|e| e.to_string())
    };
    if !test(&["--no-run"])?.success() {
        return Err("it does not build".to_owned());
    }
    Ok(!test(&[])?.success())
}

fn booted(tree: &Path, scenes: &str, patience: u32) -> std::result::Result<bool, String> {
    let patience = patience.to_string();
    tried(tree, &["kmod", "test", "6.1", "--scenes", scenes, "--patience", &patience], "xtask: the module: ")
}

fn plugged(tree: &Path, scenes: &str) -> std::result::Result<bool, String> {
    tried(tree, &["hotplug", "test", "6.1", "--scenes", scenes], "xtask: hot-plug: ")
}

/// Returns whether a task fails because of what a guest printed, rather than because it could not be built.
fn tried(tree: &Path, task: &[&str], failed: &str) -> std::result::Result<bool, String> {
    let log = tree.join("target/mutant.log");
    let to = fs::File::create(&log).map_err(|e| e.to_string())?;
    let mut test = cargo(tree);
    test.arg("xtask").args(task).stderr(to);
    let status = test.status().map_err(|e| e.to_string())?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    match status.success() {
        true => Ok(false),
        false if said.contains(failed) => Ok(true),
        false => Err(format!("it does not build or boot: {}", said.lines().last().unwrap_or(""))),
    }
}

/// Checks that every fault of the list can still be planted.
pub fn listed() -> Result {
    let file = root().join("kmod/test/mutants.toml");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let list: List = toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    list.fault.iter().try_for_each(|fault| planted(&root(), fault).map(drop))?;
    check("the module's faults", Command::new("true").arg(list.fault.len().to_string()))
}
