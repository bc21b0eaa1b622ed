//! `cargo xtask`: what continuous integration runs.

mod api;
mod capi;
mod capture;
mod ci;
mod emit;
mod firmware;
mod fleet;
mod fuzz;
mod hotplug;
mod install;
mod iommu;
mod kmod;
mod layers;
mod nostd;
mod packages;
mod picture;
mod run;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own tasks.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that continuous integration checks.
    Ci {
        /// Only format, layers, clippy and unit tests.
        #[arg(long)]
        quick: bool,
    },
    /// Checks that each file imports only from rooms above it in its crate, and from crates to its left.
    Layers,
    /// Makes the packages that are published, and builds them from what is in them; looks at licences and compilers of dependencies.
    Packages,
    /// Holds the interface of each published library against its list under api.
    Api {
        /// Write the lists anew.
        #[arg(long)]
        write: bool,
    },
    /// Installs the command, its manual pages and completions.
    Install {
        /// Below which folder: bin, share/man and where shells look for completions.
        #[arg(long, default_value = "/usr/local")]
        prefix: std::path::PathBuf,
    },
    /// Runs the commands of docs/fleet.md, with DuckDB from Python's registry.
    Fleet,
    /// Builds pmem-space and pmem-core for a bare target, without std.
    Nostd,
    /// Checks the shared handle with loom.
    Loom,
    /// Feeds what libFuzzer makes up to the index and its oracle, and to the readers of texts and of files.
    Fuzz {
        /// For how long each.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only this one.
        #[arg(long)]
        target: Option<String>,
    },
    /// The C interface's programs under valgrind.
    Capi,
    /// The MTRR planner for firmware: builds it for two targets, and tries it from C.
    Firmware,
    /// The kernel module pmem_arena: builds it, or tries it in Debian's kernel under QEMU.
    Kmod {
        /// Which.
        #[command(subcommand)]
        step: Kmod,
    },
    /// Hot-plugged PCI cards in Debian's kernels under QEMU: what is foretold, mended and refused.
    Hotplug {
        /// Which.
        #[command(subcommand)]
        step: Hotplug,
    },
    /// IOMMUs in QEMU under Debian's kernels: the driver programs them, and a device moves data through them.
    Iommu {
        /// Which.
        #[command(subcommand)]
        step: Iommu,
    },
    /// Draws a machine, and looks at the page in headless Chromium.
    Picture,
    /// Boots what `pmem emit qemu` says of two machines, one of them with CXL, gathers, and compares.
    Emit,
    /// Boots a kernel in QEMU with several topologies, and stores what `pmem gather` finds under tests/machines.
    Capture {
        /// Which; all if none is given.
        names: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Hotplug {
    /// Boots the kernels side by side, with each machine.
    Test {
        /// Which: 6.1, 6.12; both if none is given.
        series: Vec<String>,
        /// Only these: ports, cut, hazard, predictor.
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// All machines of the predictor.
        #[arg(long)]
        long: bool,
        /// The first of the predictor's machines.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
}

#[derive(Subcommand)]
enum Iommu {
    /// Boots the kernels side by side, with each unit.
    Test {
        /// Which: 6.1, 6.12; both if none is given.
        series: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Kmod {
    /// Builds pmem_arena.ko for the running kernel.
    Build {
        /// For another kernel, whose headers are installed: its release, or the headers' folder.
        #[arg(long)]
        kernel: Option<String>,
        /// As on kernels from 6.19 on, which do not export their own copy of the registers.
        #[arg(long)]
        without_mtrr_state: bool,
        /// One that can be made to fail, for tests.
        #[arg(long)]
        faults: bool,
    },
    /// Builds it for Debian's kernels, boots them side by side, and checks what it does.
    Test {
        /// Which: 6.1, 6.12, each with -rt; if none is given, what CI tries.
        series: Vec<String>,
        /// Only these scenes (kmod/test/scenes).
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// Seconds of random requests.
        #[arg(long)]
        stress: Option<u32>,
        /// Their seed.
        #[arg(long, default_value_t = 1)]
        seed: u32,
        /// Seconds that a guest may take.
        #[arg(long)]
        patience: Option<u64>,
    },
    /// Random requests beside everything that can disturb them, on one kernel or several.
    Stress {
        /// Which: 6.1, 6.12, each with -rt.
        #[arg(required = true)]
        series: Vec<String>,
        /// For how long.
        #[arg(long, default_value_t = 240)]
        seconds: u32,
        /// Where the random numbers begin.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Makes one-line faults, one at a time, and checks that the tests catch each.
    Mutants {
        /// Only those whose description or scene has this in it.
        only: Option<String>,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
        workers: usize,
    },
    /// Builds a kernel with KASAN, lockdep and kmemleak, and runs the test in it.
    DebugKernel {
        /// Only these scenes.
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// Seconds of random requests.
        #[arg(long, default_value_t = 60)]
        stress: u32,
        /// Their seed.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Compiles it against headers as other kernels have them.
    Headers {
        /// Debian's kernels whose headers are changed: 6.1, 6.12.
        #[arg(required = true)]
        series: Vec<String>,
    },
    /// Makes a Debian package with the module's sources for DKMS, and builds it as DKMS would.
    Package,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Ci { quick } => ci::run(quick),
        Task::Layers => layers::run(),
        Task::Packages => packages::run(),
        Task::Api { write } => api::run(write),
        Task::Install { prefix } => install::run(&prefix),
        Task::Fleet => fleet::run(),
        Task::Nostd => nostd::run(),
        Task::Loom => ci::loom(),
        Task::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
        Task::Capi => capi::run(),
        Task::Firmware => firmware::run(),
        Task::Capture { names } => capture::run(&names),
        Task::Emit => emit::run(),
        Task::Picture => picture::run(),
        Task::Kmod { step } => module(step),
        Task::Iommu { step: Iommu::Test { series } } => iommu::run(&series),
        Task::Hotplug { step: Hotplug::Test { series, scenes, long, seed } } => {
            hotplug::run(&series, &scenes, long, seed)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn module(step: Kmod) -> run::Result {
    match step {
        Kmod::Build { kernel, without_mtrr_state, faults } => {
            let variant = kmod::build::Variant { without_mtrr_state, faults };
            kmod::build(kernel.as_deref(), variant).map(|place| println!("{}", place.display()))
        }
        Kmod::Test { series, scenes, stress, seed, patience } => {
            kmod::test::run(&kmod::test::Trial { series, scenes, stress, seed, patience })
        }
        Kmod::Stress { series, seconds, seed } => {
            let scenes = vec!["stress".to_owned()];
            kmod::test::run(&kmod::test::Trial {
                series,
                scenes,
                stress: Some(seconds),
                seed,
                patience: None,
            })
        }
        Kmod::Mutants { only, workers } => kmod::mutants::run(only.as_deref(), workers),
        Kmod::DebugKernel { scenes, stress, seed } => kmod::debug::run(&scenes, stress, seed),
        Kmod::Headers { series } => series.iter().try_for_each(|series| kmod::headers(series)),
        Kmod::Package => kmod::package::run(),
    }
}
