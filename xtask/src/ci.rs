//! The checks that a change must pass.

use crate::run::{Result, cargo, check, root};
use crate::{api, capi, emit, firmware, fleet, fuzz, hotplug, iommu, kmod, layers, nostd, packages, picture};
use std::process::Command;
use std::time::Instant;

/// A part of the checks: its name, and the function that runs it.
type Part = (&'static str, fn() -> Result);

/// The parts that take minutes on a machine that has built the project before.
const QUICK: [Part; 4] =
    [("format", format), ("layers", layers::run), ("clippy", clippy), ("unit tests", unit_tests)];

/// All parts, the quick ones first.
const ALL: [Part; 19] = [
    ("format", format),
    ("layers", layers::run),
    ("clippy", clippy),
    ("clippy of features", clippy_of_features),
    ("documentation", documentation),
    ("tests", tests),
    ("first command", first_command),
    ("packages", packages::run),
    ("fleet", fleet::run),
    ("interfaces", || api::run(false)),
    ("loom", loom),
    ("fuzz", || fuzz::run(10, None)),
    ("nostd", nostd::run),
    ("capi", capi::run),
    ("firmware", firmware::run),
    ("kmod", kmod::ci),
    ("hotplug", || hotplug::run(&[], &[], false, 1)),
    ("iommu", || iommu::run(&[])),
    ("pictures and emit", || picture::run().and_then(|()| emit::run())),
];

/// Runs the checks, and prints how long each part took.
pub fn run(quick: bool) -> Result {
    let parts: &[Part] = if quick { &QUICK } else { &ALL };
    let mut times = Vec::new();
    let mut result = Ok(());
    for (name, part) in parts {
        let start = Instant::now();
        result = part();
        times.push(format!("{name} {} s", start.elapsed().as_secs()));
        eprintln!("== took: {}", times.join(", "));
        if result.is_err() {
            break;
        }
    }
    result
}

/// Returns a cargo without incremental compilation: checks are built once, so keeping more only takes space.
fn once() -> Command {
    let mut cargo = cargo();
    cargo.env("CARGO_INCREMENTAL", "0");
    cargo
}

fn format() -> Result {
    check("format", cargo().args(["fmt", "--all", "--check"]))?;
    let library = root().join("kmod/rust");
    check("format of the module's library", cargo().current_dir(library).args(["fmt", "--check"]))
}

fn clippy() -> Result {
    check("clippy", once().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Checks crates with few features. In a workspace build, cargo would enable all that other crates ask for.
fn clippy_of_features() -> Result {
    for (package, features) in [
        ("pmem-core", ""),
        ("pmem-uvm", ""),
        ("pmem-uvm", "std"),
        ("pmem-uvm", "model"),
        ("pmem-capi", ""),
        ("pmem-report", ""),
    ] {
        check(
            &format!("clippy of {package}, features [{features}]"),
            once()
                .args(["clippy", "-p", package, "--no-default-features", "--features", features])
                .args(["--", "-D", "warnings"]),
        )?;
    }
    Ok(())
}

fn documentation() -> Result {
    check(
        "documentation",
        once().env("RUSTDOCFLAGS", "-D warnings").args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]),
    )
}

fn unit_tests() -> Result {
    check("unit tests", cargo().args(["test", "--workspace", "--lib", "--bins"]))
}

fn tests() -> Result {
    check("tests", once().args(["test", "--workspace"]))
}

fn first_command() -> Result {
    check("the first command", once().args(["run", "--release", "--quiet", "--", "topo"]))
}

/// Checks publication, the drop queue and registration under every interleaving that loom can find.
pub fn loom() -> Result {
    let mut loom = once();
    loom.env("RUSTFLAGS", "--cfg loom --check-cfg=cfg(loom)")
        .env("CARGO_TARGET_DIR", root().join("target/loom"))
        .env("LOOM_MAX_PREEMPTIONS", "2")
        .args(["test", "--release", "-p", "pmem-core", "--test", "loom", "--features", "serde,test-util"]);
    check("loom", &mut loom)
}
