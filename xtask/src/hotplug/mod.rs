//! Hot-plugged cards in real kernels under QEMU: what `pmem pci` predicts, fixes and refuses.

mod predictor;
mod random;
mod scenes;
mod session;
mod state;

use crate::kmod::build::Variant;
use crate::kmod::guest;
use crate::kmod::kernel::{Kernel, lab};
use crate::kmod::test::{Ready, Variants, prepare};
use crate::run::Result;
use session::Mode;

const SERIES: [&str; 2] = ["6.1", "6.12"];

/// The number of random machines of each scene: in CI, and with `--long`.
const FEW: u32 = 3;
const MANY: u32 = 20;

/// The checks on one machine.
pub struct Judge {
    name: String,
    passed: usize,
    failed: Vec<String>,
}

impl Judge {
    fn new(name: String) -> Self {
        Self { name, passed: 0, failed: Vec::new() }
    }

    /// Checks that two texts are the same.
    pub fn is(&mut self, what: &str, wanted: &str, has: &str) {
        if wanted == has {
            self.passed += 1;
            eprintln!("HOTPLUG-PASS {}: {what}", self.name);
        } else {
            eprintln!("HOTPLUG-FAIL {}: {what}: expected [{wanted}], got [{has}]", self.name);
            self.failed.push(format!("{}: {what}: expected [{wanted}], got [{has}]", self.name));
        }
    }

    /// Adds a line to the transcript.
    pub fn note(&self, text: &str) {
        text.lines().for_each(|line| eprintln!("HOTPLUG-NOTE {}: {line}", self.name));
    }

    /// Checks that nothing was found.
    pub fn none(&mut self, what: &str, found: &[String]) {
        self.is(what, "", &found.join("; "));
    }
}

type Scene = fn(&Ready, &mut Judge) -> Result;

const SCENES: [(&str, Scene); 3] =
    [("ports", scenes::ports), ("cut", scenes::cut), ("hazard", scenes::hazard)];

type RandomScene = fn(&Ready, &mut Judge, Mode, u32) -> Result;

const RANDOM: [(&str, RandomScene); 2] = [("bare", random::boot), ("predictor", random::play)];

/// Boots each kernel with each machine, the kernels side by side.
pub fn run(series: &[String], only: &[String], long: bool, seed: u32) -> Result {
    let programs = guest::programs()?;
    let chosen: Vec<String> =
        if series.is_empty() { SERIES.map(str::to_owned).to_vec() } else { series.to_vec() };
    let mut ready = Vec::new();
    for series in chosen {
        let kernel = Kernel::debian(&series)?;
        let lab = lab(&series);
        std::fs::create_dir_all(&lab).map_err(|e| e.to_string())?;
        let image = kernel.image(&lab)?;
        // Only the module for users, without those for fault injection.
        let none = Variants::Of(vec![Variant::default().folder().to_owned()]);
        ready.push((series, prepare(&kernel, &lab, &image, &programs, &none)?));
    }
    let machines = if long { MANY } else { FEW };
    let boots: Vec<_> = ready
        .into_iter()
        .map(|(series, ready)| {
            let only = only.to_vec();
            std::thread::spawn(move || all(&series, &ready, &only, machines, seed))
        })
        .collect();
    let (mut passed, mut wrong) = (0, Vec::new());
    for boot in boots {
        match boot.join() {
            Ok((count, failed)) => {
                passed += count;
                wrong.extend(failed);
            }
            Err(_) => wrong.push("a boot was lost".to_owned()),
        }
    }
    eprintln!("hot-plug: {passed} passed, {} failed", wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(format!("hot-plug: {}", wrong.join("\n"))) }
}

/// Runs everything on one kernel: returns how many checks passed, and what failed.
fn all(series: &str, ready: &Ready, only: &[String], machines: u32, seed: u32) -> (usize, Vec<String>) {
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let (mut passed, mut failed) = (0, Vec::new());
    let mut play = |name: String, scene: &dyn Fn(&mut Judge) -> Result| {
        let mut judge = Judge::new(name.clone());
        if let Err(why) = scene(&mut judge) {
            judge.failed.push(format!("{name}: {why}"));
        }
        passed += judge.passed;
        failed.append(&mut judge.failed);
    };
    for (name, scene) in SCENES.iter().filter(|(name, _)| is_wanted(name)) {
        play(format!("{series} {name}"), &|judge| scene(ready, judge));
    }
    for (name, scene) in RANDOM.iter().filter(|(name, _)| is_wanted(name)) {
        for seed in seed..seed + machines {
            for mode in [Mode::Native, Mode::Acpi] {
                // In CI, each machine gets one kind of hot-plug, alternating.
                if machines == FEW && (seed % 2 == 0) != (mode == Mode::Acpi) {
                    continue;
                }
                play(format!("{series} {name} {} {seed}", mode.name()), &|judge| {
                    scene(ready, judge, mode, seed)
                });
            }
        }
    }
    (passed, failed)
}
