//! Builds for a target without an operating system.
//!
//! The installed toolchain has no library for that target, so Debian's compiler builds core and alloc from the
//! sources that it ships.

use crate::run::{Result, check, output, root};
use std::path::Path;
use std::process::Command;

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const TARGET: &str = "x86_64-unknown-none";
/// The crates that must build without std.
const CRATES: [&str; 7] =
    ["pmem-space", "pmem-mtrr", "pmem-pci", "pmem-iommu", "pmem-core", "pmem-drivers", "pmem-uvm"];

/// Builds the crates without std, with and without optional features.
pub fn run() -> Result {
    ensure_sources()?;
    for features in ["", "serde,model"] {
        let mut build = debian_cargo();
        build.args(["build", "--locked", "--lib", "--no-default-features", "--target", TARGET]);
        build.arg("-Zbuild-std=core,alloc");
        for name in CRATES {
            build.args(["-p", name]);
        }
        if !features.is_empty() {
            build.args(["--features", features]);
        }
        check(&format!("{TARGET}, features [{features}]"), &mut build)?;
    }
    Ok(())
}

/// Makes sure that core can be built from source.
pub fn ensure_sources() -> Result {
    if has_sources() { Ok(()) } else { install() }
}

/// Returns Debian's cargo, isolated from the toolchain that runs this.
pub fn debian_cargo() -> Command {
    let mut command = Command::new(CARGO);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        let keep =
            ["CARGO_HOME", "CARGO_TERM_COLOR", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO", "CARGO_BUILD_JOBS"];
        let foreign = text.starts_with("CARGO") || text.starts_with("RUST") || text == "LD_LIBRARY_PATH";
        if foreign && !keep.contains(&text.as_str()) {
            command.env_remove(&name);
        }
    }
    command.current_dir(root());
    // An absolute path, because cargo would pick the other toolchain's compiler from PATH.
    command
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", root().join("target/nostd"));
    command
}

fn has_sources() -> bool {
    let sysroot = output("sysroot", Command::new(RUSTC).args(["--print", "sysroot"]));
    let library =
        |sysroot: String| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").exists();
    Path::new(CARGO).exists() && sysroot.is_ok_and(library)
}

/// Installs the compiler and its sources in CI; elsewhere the error says how to.
fn install() -> Result {
    let packages = PACKAGES.join(" ");
    if std::env::var_os("CI").is_none() {
        return Err(format!(
            "this needs Debian's compiler and its sources: apt-get install --no-install-recommends {packages}"
        ));
    }
    check("apt-get update", Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends"]).args(PACKAGES);
    check("apt-get install", install.env("DEBIAN_FRONTEND", "noninteractive"))
}
