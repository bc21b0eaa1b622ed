//! Tests the module in a booted kernel.

use super::build::{self, Variant};
use super::guest::{self, Boot, Guest};
use super::kernel::{Kernel, lab};
use crate::run::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What CI runs: all scenes on two kernels, and random requests on one with sleeping locks.
const SERIES: [(&str, &str); 3] = [("6.1", ""), ("6.12", ""), ("6.12-rt", "scenes=stress stress=60")];

/// The modules that a guest gets: the one for users, the one as newer kernels restrict it, and both with fault
/// injection.
const VARIANTS: [(Variant, &str); 4] = [
    (Variant { without_mtrr_state: false, faults: false }, "pmem_arena.ko"),
    (Variant { without_mtrr_state: true, faults: false }, "pmem_arena_without_mtrr_state.ko"),
    (Variant { without_mtrr_state: false, faults: true }, "pmem_arena_faults.ko"),
    (Variant { without_mtrr_state: true, faults: true }, "pmem_arena_without_mtrr_state_faults.ko"),
];

/// The variants to build.
pub enum Variants {
    /// All variants.
    All,
    /// The variants that these scenes load.
    Of(Vec<String>),
}

impl Variants {
    fn has(&self, variant: Variant) -> bool {
        let Self::Of(scenes) = self else { return true };
        let any = |names: &[&str]| {
            scenes.is_empty() || names.iter().any(|name| scenes.iter().any(|scene| scene == name))
        };
        (!variant.faults || any(&["death", "faults"]))
            && (!variant.without_mtrr_state || any(&["processors", "sleep", "faults"]))
    }
}

/// The options of a test.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Debian's kernels, by series; those of CI if empty.
    pub series: Vec<String>,
    /// The scenes; all if empty.
    pub scenes: Vec<String>,
    /// The duration of the random requests, in seconds.
    pub stress: Option<u32>,
    /// The seed of the random requests.
    pub seed: u32,
    /// The time that a guest may take, in seconds.
    pub patience: Option<u64>,
}

/// A kernel that is ready to boot.
pub struct Ready {
    pub lab: PathBuf,
    pub vmlinuz: PathBuf,
    pub initrd: PathBuf,
}

/// Builds everything for one kernel.
pub fn prepare(
    kernel: &Kernel,
    lab: &Path,
    image: &Path,
    programs: &Path,
    which: &Variants,
) -> Result<Ready> {
    let mut modules = Vec::new();
    for (variant, name) in VARIANTS.into_iter().filter(|(variant, _)| which.has(*variant)) {
        modules.push((build::build(kernel, lab, variant)?, name));
    }
    modules.push((guest::driver(kernel, lab)?, "driver.ko"));
    let initrd = Guest { lab, image, modules: &modules }.pack(programs)?;
    Ok(Ready { lab: lab.to_owned(), vmlinuz: image.join("vmlinuz"), initrd })
}

/// Boots a kernel, judges its output, and returns how many checks passed.
pub fn boot(ready: &Ready, append: &str, patience: u64) -> Result<usize> {
    let console = ready.lab.join("console");
    let boot = Boot {
        kernel: &ready.vmlinuz,
        initrd: &ready.initrd,
        console: console.clone(),
        append: append.to_owned(),
        patience: Duration::from_secs(patience),
    };
    let said = boot.run()?;
    let lines = || said.lines().map(str::trim_end);
    let all: Vec<&str> =
        lines().filter(|line| line.contains("KMOD-") || line.contains("stress of seed")).collect();
    eprintln!("{}", all.join("\n"));
    judge(&said).map_err(|why| format!("{why}; see {}", console.display()))
}

/// Returns what is wrong with a guest's output, or else how many checks passed.
fn judge(said: &str) -> Result<usize> {
    for bad in ["Oops", "BUG:", "Kernel panic", "Call Trace", "WARNING:", "unreferenced object"] {
        if let Some(line) = said.lines().find(|line| line.contains(bad)) {
            return Err(format!("the kernel: {line}"));
        }
    }
    let count = |word: &str| said.lines().filter(|line| line.contains(word)).count();
    if !said.contains("KMOD-END") {
        return Err("it did not come to its end".to_owned());
    }
    // The tests provoke one, and dmesg prints it once more at the end.
    if count("pmem_arena: panic at") > 2 {
        return Err("the library panicked".to_owned());
    }
    let failed: Vec<&str> = said.lines().filter(|line| line.contains("KMOD-FAIL")).collect();
    if failed.is_empty() { Ok(count("KMOD-PASS")) } else { Err(failed.join("\n")) }
}

/// Builds the module for each kernel, boots them side by side, and checks what it does.
pub fn run(trial: &Trial) -> Result {
    let programs = guest::programs()?;
    let chosen: Vec<(String, String)> = if trial.series.is_empty() {
        SERIES.map(|(series, append)| (series.to_owned(), append.to_owned())).to_vec()
    } else {
        trial.series.iter().map(|series| (series.clone(), String::new())).collect()
    };
    let kernels = chosen.iter().map(|(series, _)| Kernel::debian(series)).collect::<Result<Vec<Kernel>>>()?;
    build::libraries(&kernels)?;
    let mut ready = Vec::new();
    for ((series, append), kernel) in chosen.into_iter().zip(kernels) {
        let lab = lab(&series);
        std::fs::create_dir_all(&lab).map_err(|e| e.to_string())?;
        let image = kernel.image(&lab)?;
        let mut append = append;
        if !trial.scenes.is_empty() {
            append += &format!(" scenes={}", trial.scenes.join(","));
        }
        if let Some(seconds) = trial.stress {
            append += &format!(" stress={seconds}");
        }
        append += &format!(" seed={}", trial.seed);
        let stress_alone = append.starts_with("scenes=stress");
        let scenes = if stress_alone { vec!["stress".to_owned()] } else { trial.scenes.clone() };
        ready.push((series, prepare(&kernel, &lab, &image, &programs, &Variants::Of(scenes))?, append));
    }
    let patience = trial.patience.unwrap_or(1500 + 2 * u64::from(trial.stress.unwrap_or(60)));
    let boots: Vec<_> = ready
        .into_iter()
        .map(|(series, ready, append)| std::thread::spawn(move || (boot(&ready, &append, patience), series)))
        .collect();
    let mut wrong = Vec::new();
    let mut passed = 0;
    for boot in boots {
        match boot.join() {
            Ok((Ok(count), series)) => {
                eprintln!("kernel module on {series}: {count} checks passed");
                passed += count;
            }
            Ok((Err(why), series)) => wrong.push(format!("{series}: {why}")),
            Err(_) => wrong.push("a boot was lost".to_owned()),
        }
    }
    if wrong.is_empty() {
        eprintln!("kernel module: {passed} passed, 0 failed");
        Ok(())
    } else {
        Err(format!("the module: {}", wrong.join("\n")))
    }
}
