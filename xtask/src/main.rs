//! `cargo xtask`: what continuous integration runs.

mod capture;
mod ci;
mod layers;
mod nostd;
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
    Ci,
    /// Checks that each file imports only from rooms above it in its crate, and from crates to its left.
    Layers,
    /// Builds pmem-space and pmem-core for a bare target, without std.
    Nostd,
    /// Checks the shared handle with loom.
    Loom,
    /// Boots a kernel in QEMU with several topologies, and stores what `pmem gather` finds under tests/machines.
    Capture {
        /// Which; all if none is given.
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Ci => ci::run(),
        Task::Layers => layers::run(),
        Task::Nostd => nostd::run(),
        Task::Loom => ci::loom(),
        Task::Capture { names } => capture::run(&names),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
