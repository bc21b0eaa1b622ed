//! Runs the test programs of the C interface under valgrind, and with the compiler's sanitizers.

use crate::run::{Result, cargo, check, ensure, root};
use std::process::Command;

/// The programs under `pmem-capi/tests/c`, each with one argument per run.
const PROGRAMS: [(&str, &[&str]); 3] =
    [("physseg", &["1", "2", "10", "32"]), ("pmem", &[""]), ("page", &[""])];
/// The libraries that a static library written in Rust links against.
const LIBRARIES: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// Any finding ends the program.
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Builds the static library and the programs. Valgrind then looks for errors and definite leaks. Built once more with
/// sanitizers, the programs themselves and what the library returns to them are checked for accesses out of bounds, use
/// after free, undefined behaviour and leaks.
pub fn run() -> Result {
    ensure_valgrind()?;
    check("the C interface", cargo().args(["build", "--quiet", "-p", "pmem-capi"]))?;
    let here = root().join("pmem-capi");
    let target = root().join("target/capi");
    std::fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    let build = |name: &str, suffix: &str, flags: &[&str]| {
        let program = target.join(format!("{name}{suffix}"));
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1"]).args(flags).arg("-I").arg(here.join("include"));
        cc.arg(here.join("tests/c").join(name).with_extension("c")).arg("-o").arg(&program);
        cc.arg(root().join("target/debug/libpmem_capi.a")).args(LIBRARIES);
        check(&format!("cc {name}{suffix}"), &mut cc).map(|()| program)
    };
    for (name, runs) in PROGRAMS {
        let plain = build(name, "", &[])?;
        let sanitized = build(name, "-sanitized", &SANITIZERS)?;
        for arg in runs {
            let arguments = Some(*arg).filter(|arg| !arg.is_empty());
            let mut valgrind = Command::new("valgrind");
            valgrind.args([
                "--trace-children=yes",
                "--leak-check=full",
                "--errors-for-leak-kinds=definite",
                "--show-leak-kinds=definite",
                "--error-exitcode=9",
            ]);
            valgrind.arg("--quiet").arg(&plain).args(arguments);
            check(&format!("valgrind {name} {arg}"), &mut valgrind)?;
            let mut sanitized = Command::new(&sanitized);
            // The programs also ask for more memory than there can be, which is ENOMEM.
            sanitized.env("ASAN_OPTIONS", "allocator_may_return_null=1").args(arguments);
            check(&format!("sanitizers {name} {arg}"), &mut sanitized)?;
        }
    }
    Ok(())
}

fn ensure_valgrind() -> Result {
    ensure(&["valgrind", "libc6-dbg"])
}
