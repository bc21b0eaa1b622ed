//! The kernel module: built for kernels, and tried in them under QEMU.

pub mod build;
mod guest;
pub mod kernel;
mod object;
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
