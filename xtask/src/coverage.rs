//! Coverage by tests, with LLVM's instrumentation.

use crate::run::{Result, cargo, check, ensure, output};
use std::process::Command;

/// Prints how many lines, functions and regions of each file the workspace's tests run.
///
/// # Errors
/// A message if cargo-llvm-cov or LLVM's tools of the compiler's version are missing, or a test fails.
pub fn run() -> Result {
    output(
        "cargo-llvm-cov (cargo install cargo-llvm-cov --locked)",
        cargo().args(["llvm-cov", "--version"]),
    )?;
    let version = output("rustc", Command::new("rustc").arg("-vV"))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or_default();
    let major = llvm.split('.').next().unwrap_or_default();
    ensure(&[&format!("llvm-{major}")])?;
    let mut coverage = cargo();
    coverage
        .env("LLVM_COV", format!("/usr/bin/llvm-cov-{major}"))
        .env("LLVM_PROFDATA", format!("/usr/bin/llvm-profdata-{major}"))
        .args(["llvm-cov", "--workspace", "--summary-only"])
        .args(["--ignore-filename-regex", "(^|/)(tests|benches|examples|xtask|guest|kmod)/"]);
    check("coverage", &mut coverage)
}
