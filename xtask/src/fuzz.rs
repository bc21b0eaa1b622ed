//! Fuzzing with libFuzzer, on the stable toolchain.

use crate::run::{Result, cargo, check, output, root};
use std::path::PathBuf;
use std::process::Command;

/// The flags that make the compiler count the branches taken.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The fuzz targets, each with the longest input in bytes.
const TARGETS: [(&str, u32); 6] =
    [("space", 8000), ("text", 30_000), ("files", 30_000), ("tables", 8000), ("acpi", 4000), ("trees", 8000)];

/// Runs every fuzz target, or only one, for `seconds` each. What they find is kept under `target/fuzz` for the
/// next run. The text target also starts from the corpus of real machines, if `PMEM_CORPUS` names it.
pub fn run(seconds: u32, only: Option<&str>) -> Result {
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
    check("building the fuzz targets", &mut build)?;
    let real = std::env::var_os("PMEM_CORPUS").map(PathBuf::from);
    let mut texts: Vec<PathBuf> = Vec::new();
    for folder in ["reports/mtrr", "pci/cases", "iomem", "reports/iomem", "iommu", "iommu/tables", "badram"] {
        texts.extend(real.iter().map(|real| real.join(folder)).filter(|folder| folder.is_dir()));
    }
    let known = || TARGETS.map(|(name, _)| name).join(", ");
    if let Some(name) = only.filter(|name| TARGETS.iter().all(|(target, _)| target != name)) {
        return Err(format!("no fuzz target {name}: there are {}", known()));
    }
    for (name, longest) in TARGETS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let corpus = target.join("corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        let mut fuzz = Command::new(target.join(host).join("release").join(name));
        fuzz.arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={longest}"))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"])
            .arg(format!("-artifact_prefix={}/{name}-", target.display()))
            .arg(&corpus);
        if *name == "text" {
            fuzz.args(&texts);
        }
        check(&format!("fuzzing {name}"), &mut fuzz)?;
    }
    Ok(())
}
