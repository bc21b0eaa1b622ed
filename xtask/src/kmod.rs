//! The kernel module: built for Debian's kernel, and tried in it under QEMU.

use crate::nostd::{debian_cargo, ensure_sources};
use crate::run::{Result, cargo, check, output, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What building and booting takes, of Debian's packages.
const PACKAGES: [&str; 9] = [
    "linux-headers-amd64",
    "gcc",
    "make",
    "qemu-system-x86",
    "busybox-static",
    "cpio",
    "kmod",
    "msr-tools",
    "zstd",
];

const TARGET: &str = "x86_64-unknown-none";
const STATIC: &str = "x86_64-unknown-linux-gnu";

/// As the kernel is compiled: no position-independent code, addresses in the top 2 GiB; indirect calls and returns through the kernel's
/// thunks (RETPOLINE, RETHUNK), a landing place at each target (IBT).
const FLAGS: &str = "-C relocation-model=static -C code-model=kernel -Z plt=yes \
    -Z direct-access-external-data=yes -C embed-bitcode=no \
    -Z retpoline -Z retpoline-external-thunk -Z function-return=thunk-extern -Z cf-protection=branch";

/// A guest that has not finished by then is ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// Kernel modules that the guest loads: `/dev/cpu/*/msr`, and a driver that does nothing.
const MODULES: [(&str, &str); 2] =
    [("kernel/arch/x86/kernel/msr.ko", "msr.ko"), ("kernel/drivers/pci/pci-stub.ko", "pci-stub.ko")];

fn lab() -> PathBuf {
    root().join("target/kmod")
}

/// Builds `pmem_arena.ko` for the kernel whose headers are installed; gives where it is.
///
/// `without_mtrr_state` leaves the kernel's own copy of the registers alone, as newer kernels make it do.
pub fn build(without_mtrr_state: bool) -> Result<PathBuf> {
    ensure_packages()?;
    ensure_sources()?;
    let lab = lab();
    let place = lab.join("build");
    fs::create_dir_all(&place).map_err(|e| format!("{}: {e}", place.display()))?;
    let mut library = debian_cargo();
    library.current_dir(root().join("kmod/rust")).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &lab);
    library.args(["build", "--locked", "--release", "--target", TARGET, "-Zbuild-std=core,alloc"]);
    check("pmem_arena, the library", &mut library)?;
    for name in ["shim.c", "shim.h", "pmem_arena.h", "Kbuild"] {
        let from = root().join("kmod").join(name);
        fs::copy(&from, place.join(name)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    let mut link = Command::new("ld");
    link.current_dir(&place).args(["-r", "--gc-sections"]);
    for entry in ["start", "request", "dump", "close", "resync", "stop"] {
        link.args(["-u", &format!("pmem_arena_{entry}")]);
    }
    link.arg("--whole-archive").arg(lab.join(TARGET).join("release/libpmem_arena_core.a"));
    check("pmem_arena, linked", link.args(["-o", "rust.o_shipped"]))?;
    // Kbuild wants to know how an object was made; a shipped one was not.
    fs::write(place.join(".rust.o.cmd"), "").map_err(|e| e.to_string())?;
    let headers = headers()?;
    let mut make = Command::new("make");
    if without_mtrr_state {
        // As on kernels that do not export it.
        make.arg("KCFLAGS=-DHAS_MTRR_STATE=0");
    }
    make.arg("-s").arg("-C").arg(&headers).arg(format!("M={}", place.display())).arg("modules");
    check("pmem_arena.ko", &mut make)?;
    Ok(place.join("pmem_arena.ko"))
}

/// The folder of the newest installed headers of Debian's kernel.
fn headers() -> Result<PathBuf> {
    let all = fs::read_dir("/usr/src").map_err(|e| format!("/usr/src: {e}"))?.flatten().map(|e| e.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("linux-headers-") && name.ends_with("-amd64")
    };
    all.filter(is_ours).max().ok_or_else(|| format!("no kernel headers: {}", how_to_install()))
}

fn how_to_install() -> String {
    format!("apt-get install --no-install-recommends {}", PACKAGES.join(" "))
}

fn ensure_packages() -> Result {
    let there = |name: &&str| {
        let query = output("dpkg-query", Command::new("dpkg-query").args(["-W", "-f=${Status}", name]));
        query.is_ok_and(|status| status.contains("install ok installed"))
    };
    let missing: Vec<&str> = PACKAGES.iter().filter(|name| !there(name)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    if std::env::var_os("CI").is_none() {
        return Err(format!("this needs {}: {}", missing.join(", "), how_to_install()));
    }
    check("apt-get update", Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends"]).args(&missing);
    check("apt-get install", install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Builds the module, boots Debian's kernel with it, and checks from outside what it does.
pub fn test(without_mtrr_state: bool) -> Result {
    let module = build(without_mtrr_state)?;
    let lab = lab();
    let kernel = kernel(&lab)?;
    let initrd = initramfs(&lab, &module, &kernel)?;
    let said = boot(&lab, &kernel.join("vmlinuz"), &initrd)?;
    for line in said.lines().filter(|line| line.contains("KMOD-") || line.contains("pmem_arena")) {
        eprintln!("{line}");
    }
    let passed = said.lines().filter(|line| line.contains("KMOD-PASS")).count();
    let failed: Vec<&str> = said.lines().filter(|line| line.contains("KMOD-FAIL")).collect();
    for oops in ["Oops", "BUG:", "Kernel panic", "Call Trace"] {
        if let Some(line) = said.lines().find(|line| line.contains(oops)) {
            return Err(format!("the kernel: {line}; see {}", lab.join("console").display()));
        }
    }
    let panics = said.lines().filter(|line| line.contains("pmem_arena: panic at")).count();
    // One is provoked; dmesg is printed once more at the end.
    if panics > 2 {
        return Err(format!("the library panicked; see {}", lab.join("console").display()));
    }
    if !failed.is_empty() || !said.contains("KMOD-END") {
        let what =
            if failed.is_empty() { "it did not come to its end".to_owned() } else { failed.join("\n") };
        return Err(format!("the module: {what}; see {}", lab.join("console").display()));
    }
    eprintln!("kernel module: {passed} passed, 0 failed");
    Ok(())
}

/// Downloads the kernel of the headers, and unpacks it; gives the folder with `vmlinuz` and `lib/modules`.
fn kernel(lab: &Path) -> Result<PathBuf> {
    let headers = headers()?;
    let name =
        headers.file_name().unwrap_or_default().to_string_lossy().replace("linux-headers-", "linux-image-");
    let place = lab.join(&name);
    if place.join("vmlinuz").exists() {
        return Ok(place);
    }
    let packages = lab.join("packages");
    fs::create_dir_all(&packages).map_err(|e| e.to_string())?;
    let mut download = Command::new("apt-get");
    download.current_dir(&packages).args(["-qq", "-o", "APT::Sandbox::User=root", "download", &name]);
    check("apt-get download", &mut download)?;
    let debs = fs::read_dir(&packages).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    let deb = debs.into_iter().find(|path| path.to_string_lossy().contains(&name));
    let deb = deb.ok_or("the kernel's package was not downloaded")?;
    check("dpkg -x", Command::new("dpkg").arg("-x").arg(&deb).arg(&place))?;
    let boot = fs::read_dir(place.join("boot")).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    let image = boot.into_iter().find(|path| path.to_string_lossy().contains("vmlinuz"));
    fs::copy(image.ok_or("the package holds no kernel")?, place.join("vmlinuz"))
        .map_err(|e| e.to_string())?;
    Ok(place)
}

/// Packs busybox, the module, and the programs that try it.
fn initramfs(lab: &Path, module: &Path, kernel: &Path) -> Result<PathBuf> {
    let mut programs = cargo();
    programs.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", lab.join("programs"));
    programs.args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "pmem-cli",
        "-p",
        "pmem-arena",
        "--target",
        STATIC,
    ]);
    check("pmem and pmem-arena-try, static", &mut programs)?;
    let tree = lab.join("initramfs");
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(tree.join("bin")).map_err(|e| e.to_string())?;
    let copy = |from: PathBuf, to: &str| {
        let to = tree.join(to.trim_start_matches('/'));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        }
        fs::copy(&from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
    };
    copy("/bin/busybox".into(), "bin/busybox")?;
    for name in ["pmem", "pmem-arena-try"] {
        copy(lab.join("programs").join(STATIC).join("release").join(name), &format!("bin/{name}"))?;
    }
    // Debian's own tool reads the registers: what is checked by is not what is checked.
    copy("/usr/sbin/rdmsr".into(), "bin/rdmsr")?;
    let libraries = output("ldd", Command::new("ldd").arg("/usr/sbin/rdmsr"))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(library.into(), library)?;
    }
    copy(module.to_owned(), "pmem_arena.ko")?;
    let modules = fs::read_dir(kernel.join("lib/modules")).map_err(|e| e.to_string())?.flatten();
    let modules = modules.map(|e| e.path()).next().ok_or("the kernel has no modules")?;
    for (from, to) in MODULES {
        copy(modules.join(from), to)?;
    }
    let init = root().join("kmod/test/init");
    copy(init, "init")?;
    check("chmod", Command::new("chmod").arg("755").arg(tree.join("init")))?;
    let initrd = lab.join("initrd");
    let pack = format!("find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet > {}", initrd.display());
    check("initramfs", Command::new("sh").current_dir(&tree).args(["-c", &pack]))?;
    Ok(initrd)
}

/// Boots, and gives what the guest said. QEMU's emulation of several processors can miss that Linux has patched an instruction:
/// a processor then takes the breakpoint that stood there meanwhile for ever. That, and nothing else, is tried again, once.
fn boot(lab: &Path, kernel: &Path, initrd: &Path) -> Result<String> {
    let done = boot_once(lab, kernel, initrd);
    let stuck = || {
        let said = fs::read(lab.join("console")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.contains("rcu_preempt detected stalls") && said.contains("exc_int3")
    };
    match done {
        Err(why) if stuck() => {
            eprintln!("{why}: a processor is stuck at a breakpoint of the kernel's own; once more");
            boot_once(lab, kernel, initrd)
        }
        done => done,
    }
}

fn boot_once(lab: &Path, kernel: &Path, initrd: &Path) -> Result<String> {
    let console = lab.join("console");
    eprintln!("== Debian's kernel in QEMU");
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "4", "-m", "512M"]);
    // A frame buffer of 16 MiB, which no driver of this kernel's initramfs takes.
    qemu.args(["-device", "VGA,vgamem_mb=16"]);
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    qemu.args(["-append", "console=ttyS0 quiet loglevel=6 panic=-1 oops=panic"]);
    let log = File::create(lab.join("qemu.log")).map_err(|e| e.to_string())?;
    let mut guest =
        qemu.stdin(Stdio::null()).stderr(log).spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?;
    let started = Instant::now();
    while guest.try_wait().map_err(|e| e.to_string())?.is_none() {
        if started.elapsed() > PATIENCE {
            drop(guest.kill());
            return Err(format!("no end after {} s; see {}", PATIENCE.as_secs(), console.display()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = fs::read(&console).map_err(|e| format!("{}: {e}", console.display()))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
