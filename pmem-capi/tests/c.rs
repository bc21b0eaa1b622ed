//! The C programs under `tests/c`, compiled against the headers and linked with the library, shared and static.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a static library of Rust needs beside it.
const STATIC: [&str; 5] = ["-lpthread", "-ldl", "-lm", "-lrt", "-lutil"];
const FLAGS: [&str; 7] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-D_GNU_SOURCE"];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that Cargo puts this crate's libraries in, next to this test.
fn libraries() -> PathBuf {
    let exe = std::env::current_exe().expect("the path of the running test");
    exe.parent().expect("its folder").to_owned()
}

/// The newest file of that folder that begins and ends so: a hash may stand between.
fn library(suffix: &str) -> PathBuf {
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libpmem_capi") && name.ends_with(suffix)
    };
    let files = libraries().read_dir().expect("the folder").flatten().map(|entry| entry.path()).filter(is_it);
    files
        .max_by_key(|path| path.metadata().and_then(|m| m.modified()).expect("a time"))
        .unwrap_or_else(|| panic!("no libpmem_capi*{suffix} in {}", libraries().display()))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Compiles a program, and returns where it is.
fn compile(dir: &Path, name: &str, linked: &str) -> PathBuf {
    let program = dir.join(format!("{name}{linked}"));
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(FLAGS).arg("-I").arg(here().join("include"));
    cc.arg(here().join("tests/c").join(format!("{name}.c"))).arg("-o").arg(&program);
    cc.arg(library(linked));
    if linked == ".so" {
        cc.arg(format!("-Wl,-rpath,{}", libraries().display())).arg("-lpthread");
    } else {
        cc.args(STATIC);
    }
    let done = run(&mut cc);
    assert!(done.status.success(), "{cc:?}\n{}", String::from_utf8_lossy(&done.stderr));
    program
}

fn passes(name: &str, args: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    for linked in [".so", ".a"] {
        let program = compile(dir.path(), name, linked);
        let runs = if args.is_empty() { vec![""] } else { args.to_vec() };
        for arg in runs {
            let done = run(Command::new(&program).args(Some(arg).filter(|arg| !arg.is_empty())));
            let said = String::from_utf8_lossy(&done.stdout);
            println!("{name} {arg} ({linked}): {}", said.trim_end());
            assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

#[test]
fn physseg_at_each_vm_physseg_max() {
    passes("physseg", &["1", "2", "10", "32"]);
}

#[test]
fn the_proposals_functions() {
    passes("pmem", &[]);
}

#[test]
fn pages_and_hotplug() {
    passes("page", &[]);
}

/// The headers are C++ as well, whichever comes first.
#[test]
fn headers_stand_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    for header in ["pmem.h", "uvm_physseg.h", "uvm_page.h", "memory_hotplug.h"] {
        for (compiler, flags) in [("cc", ["-std=c99", "-xc"]), ("c++", ["-std=c++11", "-xc++"])] {
            let source = dir.path().join("alone.c");
            std::fs::write(&source, format!("#include <{header}>\n")).expect("a file");
            let mut cc = Command::new(compiler);
            cc.args(flags).args(["-Wall", "-Wextra", "-Werror", "-Wno-unused", "-fsyntax-only", "-I"]);
            cc.arg(here().join("include")).arg(&source);
            // Without a C++ compiler there is nothing to say about C++.
            let Ok(done) = cc.output() else { continue };
            assert!(done.status.success(), "{cc:?}\n{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
