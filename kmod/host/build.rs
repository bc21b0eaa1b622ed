//! Compiles the module's pure C.

fn main() {
    let sources = ["../forwards.c", "../registers.c", "../rendezvous.c", "sizes.c"];
    for name in sources.iter().chain(&[
        "../forwards.h",
        "../pmem_arena.h",
        "../registers.h",
        "../rendezvous.h",
        "../platform.h",
        "../library.h",
        "platform.h",
    ]) {
        println!("cargo::rerun-if-changed={name}");
    }
    cc::Build::new().files(sources).include("..").warnings_into_errors(true).compile("pmem_arena_pure");
}
