//! Builds the planner for firmware for two targets, tries it from C, and measures its size.

use crate::nostd::{debian_cargo, ensure_sources};
use crate::run::{Result, check, output, root};
use std::process::Command;

/// A 64-bit target that a C program on this machine can link, and a 32-bit one.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "i686-unknown-linux-gnu"];

/// Builds the planner, checks that no path leads to a panic, and runs the C program.
pub fn run() -> Result {
    ensure_sources()?;
    let target = root().join("target/firmware");
    for name in TARGETS {
        let mut build = debian_cargo();
        build.current_dir(root().join("firmware")).env("CARGO_TARGET_DIR", &target);
        build.env("RUSTFLAGS", "-C embed-bitcode=no");
        build.args([
            "build",
            "--locked",
            "--release",
            "--features",
            "prove",
            "--target",
            name,
            "-Zbuild-std=core",
        ]);
        check(&format!("the planner for firmware, {name}"), &mut build)?;
        let library = target.join(name).join("release/libpmem_mtrr.a");
        let whole = target.join(name).join("pmem_mtrr.elf");
        let emulation = if name.starts_with("i686") { "elf_i386" } else { "elf_x86_64" };
        // Link into a program that has nothing else, so that everything it calls must be in the library. The
        // panic handler calls a function that exists nowhere, so linking fails if it is reachable.
        let mut link = Command::new("ld");
        link.args(["-m", emulation, "--gc-sections", "-e", "pmem_mtrr_plan", "-u", "pmem_mtrr_work"]);
        link.args(MEMORY.map(|name| format!("--defsym={name}=0")));
        check("nothing is called, and nothing panics", link.arg(&library).arg("-o").arg(&whole))?;
        let size = output("size", Command::new("size").arg(&whole))?;
        eprintln!("{name}:\n{}", size.trim_end());
    }
    let program = target.join("test");
    let mut compile = Command::new("cc");
    compile
        .args(["-std=c11", "-O1", "-Wl,--gc-sections", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root().join("firmware"));
    compile.arg(root().join("firmware/test.c"));
    compile.arg(target.join(TARGETS[0]).join("release/libpmem_mtrr.a")).arg("-o").arg(&program);
    check("the C program", &mut compile)?;
    check("the planner from C", &mut Command::new(&program))
}

/// What every C environment provides.
const MEMORY: [&str; 5] = ["memcpy", "memset", "memmove", "memcmp", "bcmp"];
