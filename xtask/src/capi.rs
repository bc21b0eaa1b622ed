//! Runs the test programs of the C interface under valgrind.

use crate::run::{Result, cargo, check, ensure, root};
use std::process::Command;

/// The programs under `pmem-capi/tests/c`, each with one argument per run.
const PROGRAMS: [(&str, &[&str]); 3] =
    [("physseg", &["1", "2", "10", "32"]), ("pmem", &[""]), ("page", &[""])];
/// The libraries that a static library written in Rust links against.
const LIBRARIES: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// Builds the static library and the programs. Valgrind then looks for errors and definite leaks.
pub fn run() -> Result {
    ensure_valgrind()?;
    check("the C interface", cargo().args(["build", "--quiet", "-p", "pmem-capi"]))?;
    let here = root().join("pmem-capi");
    let target = root().join("target/capi");
    std::fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    for (name, runs) in PROGRAMS {
        let program = target.join(name);
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-I"]).arg(here.join("include"));
        cc.arg(here.join("tests/c").join(name).with_extension("c")).arg("-o").arg(&program);
        cc.arg(root().join("target/debug/libpmem_capi.a")).args(LIBRARIES);
        check(&format!("cc {name}.c"), &mut cc)?;
        for arg in runs {
            let mut valgrind = Command::new("valgrind");
            valgrind.args([
                "--trace-children=yes",
                "--leak-check=full",
                "--errors-for-leak-kinds=definite",
                "--show-leak-kinds=definite",
                "--error-exitcode=9",
            ]);
            valgrind.arg("--quiet").arg(&program).args(Some(*arg).filter(|arg| !arg.is_empty()));
            check(&format!("valgrind {name} {arg}"), &mut valgrind)?;
        }
    }
    Ok(())
}

fn ensure_valgrind() -> Result {
    ensure(&["valgrind", "libc6-dbg"])
}
