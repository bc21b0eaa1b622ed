//! What a change must pass.

use crate::run::{Result, cargo, check};
use crate::{capi, emit, firmware, fuzz, hotplug, iommu, kmod, layers, nostd, picture};

/// Runs all checks, the quick ones first.
pub fn run() -> Result {
    check("format", cargo().args(["fmt", "--all", "--check"]))?;
    let library = crate::run::root().join("kmod/rust");
    check("format of the module's library", cargo().current_dir(library).args(["fmt", "--check"]))?;
    layers::run()?;
    check("clippy", cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    check(
        "clippy without std",
        cargo().args(["clippy", "-p", "pmem-core", "--no-default-features", "--", "-D", "warnings"]),
    )?;
    for features in ["", "std", "model"] {
        check(
            &format!("clippy of pmem-uvm, features [{features}]"),
            cargo()
                .args(["clippy", "-p", "pmem-uvm", "--no-default-features", "--features", features])
                .args(["--", "-D", "warnings"]),
        )?;
    }
    check(
        "clippy without uvm_physseg",
        cargo().args(["clippy", "-p", "pmem-capi", "--no-default-features", "--", "-D", "warnings"]),
    )?;
    check(
        "documentation",
        cargo().env("RUSTDOCFLAGS", "-D warnings").args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]),
    )?;
    check("tests", cargo().args(["test", "--workspace"]))?;
    check("the first command", cargo().args(["run", "--release", "--quiet", "--", "topo"]))?;
    loom()?;
    fuzz::run(20, None)?;
    nostd::run()?;
    capi::run()?;
    firmware::run()?;
    kmod::ci()?;
    hotplug::run(&[], &[], false, 1)?;
    iommu::run(&[])?;
    emit::run()?;
    picture::run()
}

/// Checks publication, the drop queue and registration under every interleaving loom can find.
pub fn loom() -> Result {
    let mut loom = cargo();
    loom.env("RUSTFLAGS", "--cfg loom --check-cfg=cfg(loom)")
        .env("CARGO_TARGET_DIR", crate::run::root().join("target/loom"))
        .env("LOOM_MAX_PREEMPTIONS", "2")
        .args(["test", "--release", "-p", "pmem-core", "--test", "loom", "--features", "serde,test-util"]);
    check("loom", &mut loom)
}
