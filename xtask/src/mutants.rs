//! Tests of the tests: every mutation that cargo-mutants knows, one at a time, should make a test fail.

use crate::run::{Result, cargo, output, root};

/// The packages that are mutated, and the packages whose tests should notice.
const PACKAGES: [(&str, &str); 12] = [
    ("pmem-space", "pmem-space"),
    ("pmem-mtrr", "pmem-mtrr"),
    ("pmem-pci", "pmem-pci"),
    ("pmem-iommu", "pmem-iommu"),
    ("pmem-core", "pmem-core"),
    ("pmem-drivers", "pmem-drivers"),
    ("pmem-uvm", "pmem-uvm"),
    ("pmem-import", "pmem-import,pmem-tests,pmem-cli"),
    ("pmem-report", "pmem-report,pmem-cli"),
    ("pmem-script", "pmem-script,pmem-tests"),
    ("pmem-cli", "pmem-cli"),
    ("pmem-capi", "pmem-capi"),
];

/// The number of cases of each property test: an oracle of thousands of cases per mutation would take weeks.
const CASES: &str = "16";

/// Runs one shard, `K/N`, of a package's mutants, or of every package's. Mutants that no test noticed are listed in
/// `target/mutants/PACKAGE/mutants.out/missed.txt`; they do not fail the task, for some change nothing that anyone can
/// observe.
///
/// # Errors
/// A message if cargo-mutants is missing, or the tests fail without any mutation.
pub fn run(package: Option<&str>, shard: &str) -> Result {
    output("cargo-mutants (cargo install cargo-mutants --locked)", cargo().args(["mutants", "--version"]))?;
    if let Some(unknown) = package.filter(|package| PACKAGES.iter().all(|(name, _)| name != package)) {
        let known = PACKAGES.map(|(name, _)| name).join(", ");
        return Err(format!("no package {unknown}: expected one of {known}"));
    }
    for (package, tests) in PACKAGES.iter().filter(|(name, _)| package.is_none_or(|package| package == *name))
    {
        let place = root().join("target/mutants").join(package);
        std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        let mut mutants = cargo();
        mutants
            .env("PROPTEST_CASES", CASES)
            .args(["mutants", "-p", package, "--test-package", tests])
            .args(["--sharding", "round-robin", "--shard", shard, "--output"])
            .arg(&place);
        // Doc tests take longer to build than all the others to run.
        mutants.args(["--", "--lib", "--bins", "--tests"]);
        // 2: some mutants were missed; 3: some timed out, which counts as noticed.
        eprintln!("== mutants of {package}, shard {shard}");
        let status = mutants.status().map_err(|error| format!("cargo mutants: {error}"))?;
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            return Err(format!("mutants of {package}: {status}"));
        }
    }
    Ok(())
}
