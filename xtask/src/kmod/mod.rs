//! The kernel module: builds it, and tests it in kernels under QEMU.

pub mod build;
pub mod changed;
pub mod debug;
pub mod guest;
pub mod kernel;
pub mod mutants;
mod object;
pub mod package;
pub mod test;

use crate::run::Result;
use build::Variant;
use kernel::{Kernel, lab};
use std::path::PathBuf;

/// Builds the module for the running kernel, or for another one whose headers are installed.
pub fn build(release: Option<&str>, variant: Variant) -> Result<PathBuf> {
    let kernel = release.map_or_else(Kernel::running, Kernel::named)?;
    build::build(&kernel, &lab(&kernel.release), variant)
}

/// Compiles the module against headers with the changes that other kernels have.
pub fn headers(series: &str) -> Result {
    changed::run(&Kernel::debian(series)?, &lab(series))
}

/// Runs the checks of continuous integration.
pub fn ci() -> Result {
    mutants::listed()?;
    test::run(&test::Trial { seed: 1, ..test::Trial::default() })?;
    headers("6.1")?;
    headers("6.12")
}
