//! Tests the module in a debug kernel: Debian's source with KASAN, lockdep, kmemleak and frame pointers.

use super::guest;
use super::kernel::{Kernel, lab};
use super::test;
use crate::run::{Result, check, ensure, output, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages for building a kernel, in addition to those for modules.
const PACKAGES: [&str; 7] = ["linux-source-6.1", "flex", "bison", "bc", "libelf-dev", "libssl-dev", "rsync"];
const SOURCE: &str = "/usr/src/linux-source-6.1.tar.xz";

/// Builds the kernel and the module, and runs scenes in it.
pub fn run(scenes: &[String], stress: u32, seed: u32) -> Result {
    ensure(&PACKAGES)?;
    let lab = lab("debug");
    let (kernel, image) = build(&lab)?;
    let programs = guest::programs()?;
    let ready = test::prepare(&kernel, &lab, &image, &programs, &test::Variants::All)?;
    let scenes = if scenes.is_empty() { String::new() } else { format!("scenes={} ", scenes.join(",")) };
    // The sanitizers' checks make the emulated processors many times slower.
    let append = format!("{scenes}stress={stress} seed={seed} rcupdate.rcu_cpu_stall_timeout=120");
    let passed = test::boot(&ready, &append, 7200)?;
    eprintln!("kernel module on the debug kernel: {passed} passed, 0 failed");
    Ok(())
}

/// Builds the kernel once, and returns it with the folder of its image and modules.
fn build(lab: &Path) -> Result<(Kernel, PathBuf)> {
    let (source, place, image) = (lab.join("source"), lab.join("kernel"), lab.join("image"));
    for folder in [&source, &place, &image] {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    if !source.join("Makefile").exists() {
        let mut unpack = Command::new("tar");
        check(
            "the kernel's source",
            unpack.args(["-xf", SOURCE, "--strip-components=1", "-C"]).arg(&source),
        )?;
    }
    let make = || {
        let mut make = Command::new("make");
        make.arg("-s").arg("-C").arg(&source).arg(format!("O={}", place.display()));
        make
    };
    let fragment = root().join("kmod/test/debug.config");
    let wanted = fs::read_to_string(&fragment).map_err(|e| format!("{}: {e}", fragment.display()))?;
    let stamp = place.join("fragment");
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        check("allnoconfig", make().arg("allnoconfig"))?;
        let config = place.join(".config");
        let nothing = fs::read_to_string(&config).map_err(|e| e.to_string())?;
        fs::write(&config, nothing + &wanted).map_err(|e| e.to_string())?;
        check("olddefconfig", make().arg("olddefconfig"))?;
        configured(&config, &wanted)?;
        fs::write(&stamp, &wanted).map_err(|e| e.to_string())?;
    }
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    check("the debug kernel", make().arg(format!("-j{cpus}")).args(["bzImage", "modules"]))?;
    let mut install = make();
    install
        .arg(format!("INSTALL_MOD_PATH={}", image.display()))
        .args(["INSTALL_MOD_STRIP=1", "modules_install"]);
    check("its modules", &mut install)?;
    let built = place.join("arch/x86/boot/bzImage");
    fs::copy(&built, image.join("vmlinuz")).map_err(|e| format!("{}: {e}", built.display()))?;
    let release = output("release", make().arg("kernelrelease"))?.trim().to_owned();
    Ok((Kernel { release, headers: place }, image))
}

/// Checks that the configuration has what was asked for: make silently drops options with missing dependencies.
fn configured(config: &Path, wanted: &str) -> Result {
    let text = fs::read_to_string(config).map_err(|e| e.to_string())?;
    let is_set = |line: &&str| line.ends_with("=y") || line.ends_with("=m");
    let missing: Vec<&str> =
        wanted.lines().filter(is_set).filter(|line| !text.lines().any(|have| have == *line)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("the kernel's configuration lacks {}", missing.join(", ")))
    }
}
