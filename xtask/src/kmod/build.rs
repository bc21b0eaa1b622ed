//! Builds the module: the library with Debian's compiler and the flags of the kernel's own objects, the rest
//! with Kbuild.

use super::kernel::Kernel;
use super::object;
use crate::nostd::{debian_cargo, ensure_sources};
use crate::run::{Result, check, root};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-none";
/// The functions that the C half calls.
const ENTRIES: [&str; 9] = ["start", "request", "span", "dump", "close", "end", "settle", "figures", "stop"];

/// A variant of the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Leaves the kernel's own copy of the MTRRs alone, as newer kernels force it to.
    pub without_mtrr_state: bool,
    /// Has fault injection (`kmod/faults.c`).
    pub faults: bool,
}

impl Variant {
    /// Returns the name of the folder that the variant is built in.
    pub fn folder(self) -> &'static str {
        match (self.without_mtrr_state, self.faults) {
            (false, false) => "build",
            (true, false) => "build-without-mtrr-state",
            (false, true) => "build-faults",
            (true, true) => "build-without-mtrr-state-faults",
        }
    }

    fn arguments(self) -> impl Iterator<Item = &'static str> {
        let arguments =
            [(self.without_mtrr_state, "PMEM_WITHOUT_MTRR_STATE=1"), (self.faults, "PMEM_FAULTS=1")];
        arguments.into_iter().filter(|(is_set, _)| *is_set).map(|(_, argument)| argument)
    }
}

/// The flags that every kernel needs.
const BASE: &str =
    "-C relocation-model=static -C code-model=kernel -Z plt=yes -Z direct-access-external-data=yes";

/// Returns the flags of an object that works in all kernels with retpolines and return thunks. IBT landing pads
/// are always there, because they do no harm to kernels without IBT. Frame pointers and padding are optional.
pub fn packed(frames: bool, padded: bool) -> String {
    let mut flags = format!(
        "{BASE} -Z retpoline -Z retpoline-external-thunk -C jump-tables=no -Z function-return=thunk-extern -Z cf-protection=branch"
    );
    for (is_set, flag) in
        [(frames, " -C force-frame-pointers=yes"), (padded, " -Z patchable-function-entry=16,16")]
    {
        if is_set {
            flags.push_str(flag);
        }
    }
    flags
}

/// Returns the flags that the kernel's own objects are compiled with: no position-independent code, addresses
/// in the top 2 GiB, no red zone (from the target), and every mitigation that is configured.
pub fn flags(kernel: &Kernel) -> String {
    let mut flags = BASE.to_owned();
    let mut add = |names: &[&str], text: &str| {
        if kernel.option(names).is_some() {
            flags.push_str(text);
        }
    };
    add(
        &["RETPOLINE", "MITIGATION_RETPOLINE"],
        " -Z retpoline -Z retpoline-external-thunk -C jump-tables=no",
    );
    add(&["RETHUNK", "MITIGATION_RETHUNK"], " -Z function-return=thunk-extern");
    add(&["X86_KERNEL_IBT"], " -Z cf-protection=branch");
    add(&["FRAME_POINTER"], " -C force-frame-pointers=yes");
    if kernel.option(&["CALL_PADDING"]).is_some()
        && let Some(bytes) = kernel.option(&["FUNCTION_PADDING_BYTES"])
    {
        // Writing to a string cannot fail.
        let _ = write!(flags, " -Z patchable-function-entry={bytes},{bytes}");
    }
    flags
}

/// Builds the library for a kernel, and returns the linked object.
pub fn library(kernel: &Kernel) -> Result<PathBuf> {
    library_with(&flags(kernel))
}

/// Builds the libraries of several kernels side by side: most of the time is linking, which uses one processor.
pub fn libraries(kernels: &[Kernel]) -> Result {
    ensure_sources()?;
    let mut all: Vec<String> = kernels.iter().map(flags).collect();
    all.sort_unstable();
    all.dedup();
    std::thread::scope(|scope| {
        let builds: Vec<_> = all.iter().map(|flags| scope.spawn(|| library_with(flags).map(drop))).collect();
        builds.into_iter().try_for_each(|build| build.join().map_err(|_| "a build was lost".to_owned())?)
    })
}

/// Builds the library, once for each set of flags.
pub fn library_with(flags: &str) -> Result<PathBuf> {
    ensure_sources()?;
    let sum = flags
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let place = root().join("target/kmod").join(format!("library-{sum:016x}"));
    let mut library = debian_cargo();
    library.current_dir(root().join("kmod/rust")).env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &place);
    library.args(["build", "--locked", "--release", "--target", TARGET, "-Zbuild-std=core,alloc"]);
    check("pmem_arena, the library", &mut library)?;
    let object = place.join("library.bin");
    let mut link = Command::new("ld");
    link.args(["-r", "--gc-sections", "-u", "pmem_arena_differ"]);
    for entry in ENTRIES {
        link.args(["-u", &format!("pmem_arena_{entry}")]);
    }
    link.arg("--whole-archive").arg(place.join(TARGET).join("release/libpmem_arena_core.a"));
    check("pmem_arena, the library linked", link.arg("-o").arg(&object))?;
    let mut strip = Command::new("objcopy");
    // Remove the compiler's bitcode sections.
    strip.args(["--strip-debug", "-R", ".llvmbc", "-R", ".llvmcmd"]).arg(&object);
    check("pmem_arena, the library stripped", &mut strip)?;
    Ok(object)
}

/// Copies the module's sources, with the library's object beside them.
pub fn sources(place: &Path, library: &Path) -> Result {
    fs::create_dir_all(place).map_err(|e| format!("{}: {e}", place.display()))?;
    let from = root().join("kmod");
    for entry in fs::read_dir(&from).map_err(|e| e.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".c") || name.ends_with(".h") || name == "Kbuild" {
            copy_changed(&entry.path(), &place.join(name))?;
        }
    }
    copy_changed(library, &place.join("library.bin"))
}

/// Copies a file only if its content changed, because make goes by the time.
fn copy_changed(from: &Path, to: &Path) -> Result {
    let (old, new) = (fs::read(to).ok(), fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?);
    if old.as_ref() == Some(&new) {
        Ok(())
    } else {
        fs::write(to, new).map_err(|e| format!("{}: {e}", to.display()))
    }
}

/// Returns the command that builds targets in a folder with the kernel's own makefiles, on all processors.
pub fn kbuild(kernel: &Kernel, place: &Path) -> Command {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg(format!("-j{processors}")).arg("-C").arg(&kernel.headers);
    make.arg(format!("M={}", place.display()));
    make
}

/// Builds `pmem_arena.ko` for a kernel, checks it, and returns its path.
pub fn build(kernel: &Kernel, lab: &Path, variant: Variant) -> Result<PathBuf> {
    let library = library(kernel)?;
    build_with(kernel, &library, &lab.join(variant.folder()), variant)
}

/// Builds the module with a library that exists already.
pub fn build_with(kernel: &Kernel, library: &Path, place: &Path, variant: Variant) -> Result<PathBuf> {
    sources(place, library)?;
    let mut make = kbuild(kernel, place);
    check(
        &format!("pmem_arena.ko for {}", kernel.release),
        make.arg("-s").args(variant.arguments()).arg("modules"),
    )?;
    let module = place.join("pmem_arena.ko");
    eprintln!("{}", object::examine(kernel, &module)?);
    Ok(module)
}
