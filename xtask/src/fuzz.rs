//! Fuzzing with libFuzzer, on the stable toolchain.

use crate::run::{Result, cargo, check, output, root};
use std::process::Command;

/// What makes the compiler count which branches were taken.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs the fuzz target for so many seconds; what it finds out is kept under `target/fuzz`, for the next run.
pub fn run(seconds: u32) -> Result {
    check(
        "a C++ compiler, for libFuzzer (Debian: apt-get install g++)",
        Command::new("c++").arg("--version"),
    )?;
    let host = output("rustc", Command::new("rustc").arg("-vV"))?;
    let host =
        host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("x86_64-unknown-linux-gnu");
    let target = root().join("target/fuzz");
    let mut build = cargo();
    build
        .env("RUSTFLAGS", COVERAGE)
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host, "--target-dir"])
        .arg(&target);
    check("building the fuzz target", &mut build)?;
    let corpus = target.join("corpus");
    std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
    let mut fuzz = Command::new(target.join(host).join("release/space"));
    fuzz.arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=8000", "-print_final_stats=1", "-verbosity=0"])
        .arg(format!("-artifact_prefix={}/", target.display()))
        .arg(&corpus);
    check("fuzzing the index against a sorted list", &mut fuzz)
}
