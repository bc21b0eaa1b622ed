//! `cargo xtask`: the project's own tasks, among them everything that continuous integration runs.

mod api;
mod capi;
mod capture;
mod ci;
mod coverage;
mod emit;
mod firmware;
mod fleet;
mod fuzz;
mod hotplug;
mod install;
mod iommu;
mod kmod;
mod layers;
mod mutants;
mod nostd;
mod packages;
mod picture;
mod run;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the pmem project.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that continuous integration checks.
    Ci {
        /// Only check format, layers and clippy, and run unit tests.
        #[arg(long)]
        quick: bool,
    },
    /// Check that each file imports only from files and crates that it may depend on.
    Layers,
    /// Build the packages that are published from their own content; check the licences and the compiler
    /// versions of dependencies.
    Packages,
    /// Compare the interface of each published library with its list under api.
    Api {
        /// Write the lists instead.
        #[arg(long)]
        write: bool,
    },
    /// Install the command, its manual pages and completions.
    Install {
        /// The folder to install below: bin, share/man, and where shells look for completions.
        #[arg(long, default_value = "/usr/local")]
        prefix: std::path::PathBuf,
    },
    /// Run the commands of docs/fleet.md, with DuckDB from PyPI.
    Fleet,
    /// Build pmem-space and pmem-core for a bare target, without std.
    Nostd,
    /// Check the shared handle with loom.
    Loom,
    /// Fuzz the index against its oracle, and the readers of texts and files, with libFuzzer.
    Fuzz {
        /// The seconds to run each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Only run this target.
        #[arg(long)]
        target: Option<String>,
    },
    /// Mutation testing with cargo-mutants: one shard of one package's mutants, or of every package's.
    Mutants {
        /// The package; all if none is given.
        package: Option<String>,
        /// Which shard, of how many: 0/1 is everything.
        #[arg(long, default_value = "0/40")]
        shard: String,
    },
    /// Report the coverage of each file by the workspace's tests, with cargo-llvm-cov.
    Coverage,
    /// Run the test programs of the C interface under valgrind, and with the compiler's sanitizers.
    Capi,
    /// Build the MTRR planner for firmware for two targets, and try it from C.
    Firmware,
    /// Build the kernel module pmem_arena, or test it in Debian's kernels under QEMU.
    Kmod {
        /// The step to run.
        #[command(subcommand)]
        step: Kmod,
    },
    /// Test PCI hot-plug in Debian's kernels under QEMU: predictions, remedies and refusals.
    Hotplug {
        /// The step to run.
        #[command(subcommand)]
        step: Hotplug,
    },
    /// Test IOMMUs in QEMU under Debian's kernels: the driver programs them, and a device does DMA through
    /// them.
    Iommu {
        /// The step to run.
        #[command(subcommand)]
        step: Iommu,
    },
    /// Draw a machine, and check the page in headless Chromium.
    Picture,
    /// Boot what `pmem emit qemu` prints for two machines, one with CXL; gather, and compare.
    Emit,
    /// Boot a kernel in QEMU with several topologies, and store what `pmem gather` finds under tests/machines.
    Capture {
        /// The topologies to capture; all by default.
        names: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Hotplug {
    /// Boot the kernels side by side, with each machine.
    Test {
        /// The kernels: 6.1, 6.12; both by default.
        series: Vec<String>,
        /// Only run these scenes: ports, cut, hazard, bare, predictor.
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// Run all random machines.
        #[arg(long)]
        long: bool,
        /// The seed of the first random machine.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
}

#[derive(Subcommand)]
enum Iommu {
    /// Boot the kernels side by side, with each IOMMU.
    Test {
        /// The kernels: 6.1, 6.12; both by default.
        series: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Kmod {
    /// Build pmem_arena.ko for the running kernel.
    Build {
        /// Build for another kernel whose headers are installed: its release, or the folder of its headers.
        #[arg(long)]
        kernel: Option<String>,
        /// Build as for kernels from 6.19 on, which do not export their copy of the MTRRs.
        #[arg(long)]
        without_mtrr_state: bool,
        /// Build with fault injection, for tests.
        #[arg(long)]
        faults: bool,
    },
    /// Build for Debian's kernels, boot them side by side, and check what the module does.
    Test {
        /// The kernels: 6.1, 6.12, each also with -rt; by default those that CI tests.
        series: Vec<String>,
        /// Only run these scenes (kmod/test/scenes).
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// The seconds to send random requests.
        #[arg(long)]
        stress: Option<u32>,
        /// The seed of the random requests.
        #[arg(long, default_value_t = 1)]
        seed: u32,
        /// The seconds that a guest may take.
        #[arg(long)]
        patience: Option<u64>,
    },
    /// Send random requests beside everything that can disturb them, on one or more kernels.
    Stress {
        /// The kernels: 6.1, 6.12, each also with -rt.
        #[arg(required = true)]
        series: Vec<String>,
        /// The seconds to run.
        #[arg(long, default_value_t = 240)]
        seconds: u32,
        /// The seed of the random requests.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Inject one-line faults, one at a time, and check that the tests catch each.
    Mutants {
        /// Only inject faults whose description or scene contains this text.
        only: Option<String>,
        /// The number of faults to test at once.
        #[arg(long, default_value_t = 2)]
        workers: usize,
    },
    /// Build a kernel with KASAN, lockdep and kmemleak, and run the tests in it.
    DebugKernel {
        /// Only run these scenes.
        #[arg(long, value_delimiter = ',')]
        scenes: Vec<String>,
        /// The seconds to send random requests.
        #[arg(long, default_value_t = 60)]
        stress: u32,
        /// The seed of the random requests.
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Compile against headers as other kernels have them.
    Headers {
        /// Debian's kernels whose headers are modified: 6.1, 6.12.
        #[arg(required = true)]
        series: Vec<String>,
    },
    /// Build a Debian package with the module's sources for DKMS, and build it as DKMS would.
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
        Task::Mutants { package, shard } => mutants::run(package.as_deref(), &shard),
        Task::Coverage => coverage::run(),
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
