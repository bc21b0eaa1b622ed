//! A kernel in QEMU with the module, the programs that test it, and a script as the first process.

use super::build::kbuild;
use super::kernel::Kernel;
use crate::run::{Result, cargo, check, output, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Kernel modules that the guest loads unless they are built in: `/dev/cpu/*/msr`.
const MODULES: [(&str, &str); 1] = [("kernel/arch/x86/kernel/msr.ko", "msr.ko")];

/// Builds the programs that run in guests; returns the folder they are in. They are the same builds that this machine
/// runs, so that a build that exists is not repeated; [`install`] brings along the libraries that they load.
pub fn programs() -> Result<PathBuf> {
    for package in ["pmem-cli", "pmem-arena", "pmem-iommu-try"] {
        let mut build = cargo();
        // One at a time: together, they would share features, and be built anew.
        build.args(["build", "--release", "--quiet", "-p", package]);
        check(&format!("{package}, for guests"), &mut build)?;
    }
    Ok(root().join("target/release"))
}

/// Copies a program into a guest's tree, stripped, and the shared libraries that it loads to where they are here.
pub fn install(tree: &Path, program: &Path, to: &str) -> Result {
    let place = tree.join(to);
    check(&format!("strip {to}"), Command::new("strip").arg("-o").arg(&place).arg(program))?;
    let listed = output("ldd", Command::new("ldd").arg(program))?;
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = tree.join(library.trim_start_matches('/'));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        }
        fs::copy(library, &to).map_err(|e| format!("{library}: {e}"))?;
    }
    Ok(())
}

/// The contents of a guest.
pub struct Guest<'g> {
    /// The folder for its files.
    pub lab: &'g Path,
    /// The folder of the kernel and its modules.
    pub image: &'g Path,
    /// The modules to test, and the file names they get in the guest.
    pub modules: &'g [(PathBuf, &'g str)],
}

impl Guest<'_> {
    /// Packs busybox, the modules, the programs and the scripts, and returns the file.
    pub fn pack(&self, programs: &Path) -> Result<PathBuf> {
        let tree = self.lab.join("initramfs");
        drop(fs::remove_dir_all(&tree));
        fs::create_dir_all(tree.join("bin")).map_err(|e| e.to_string())?;
        let copy = |from: &Path, to: &str| {
            let to = tree.join(to.trim_start_matches('/'));
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|e| e.to_string())?;
            }
            fs::copy(from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
        };
        copy(Path::new("/bin/busybox"), "bin/busybox")?;
        for name in ["pmem", "pmem-arena-try"] {
            install(&tree, &programs.join(name), &format!("bin/{name}"))?;
        }
        // Debian's own tools read and write the registers, so that the module is not checked with its own code.
        for name in ["rdmsr", "wrmsr"] {
            install(&tree, &Path::new("/usr/sbin").join(name), &format!("bin/{name}"))?;
        }
        for (module, name) in self.modules {
            copy(module, name)?;
        }
        let modules = fs::read_dir(self.image.join("lib/modules")).map_err(|e| e.to_string())?.flatten();
        let modules = modules.map(|e| e.path()).next().ok_or("the kernel has no modules")?;
        for (from, to) in MODULES {
            let packed = modules.join(format!("{from}.xz"));
            if packed.exists() {
                let plain = File::create(tree.join(to)).map_err(|e| e.to_string())?;
                check("xz", Command::new("xz").arg("-dc").arg(&packed).stdout(plain))?;
            } else if modules.join(from).exists() {
                copy(&modules.join(from), to)?;
            }
        }
        let scripts = root().join("kmod/test");
        copy(&scripts.join("init"), "init")?;
        copy(&scripts.join("hotplug"), "hotplug")?;
        copy(&scripts.join("lib.sh"), "lib.sh")?;
        for scene in fs::read_dir(scripts.join("scenes")).map_err(|e| e.to_string())?.flatten() {
            copy(&scene.path(), &format!("scenes/{}", scene.file_name().to_string_lossy()))?;
        }
        check("chmod", Command::new("chmod").arg("755").arg(tree.join("init")).arg(tree.join("hotplug")))?;
        packed(&tree, self.lab.join("initrd"))
    }
}

/// Packs a folder as an initramfs.
pub fn packed(tree: &Path, initrd: PathBuf) -> Result<PathBuf> {
    let pack = format!("find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet > {}", initrd.display());
    check("initramfs", Command::new("sh").current_dir(tree).args(["-c", &pack]))?;
    Ok(initrd)
}

/// Builds the driver that tests bind to devices.
pub fn driver(kernel: &Kernel, lab: &Path) -> Result<PathBuf> {
    let (from, place) = (root().join("kmod/test/driver"), lab.join("driver"));
    fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    for name in ["driver.c", "Kbuild"] {
        fs::copy(from.join(name), place.join(name)).map_err(|e| format!("{name}: {e}"))?;
    }
    check("the tests' driver", kbuild(kernel, &place).args(["-s", "modules"]))?;
    Ok(place.join("driver.ko"))
}

/// One boot.
pub struct Boot<'b> {
    /// The kernel image.
    pub kernel: &'b Path,
    /// Its initramfs.
    pub initrd: &'b Path,
    /// The file for its console output.
    pub console: PathBuf,
    /// Additions to its command line.
    pub append: String,
    /// The time after which it is killed if it has not finished.
    pub patience: Duration,
}

impl Boot<'_> {
    /// Boots, and returns the console output.
    ///
    /// QEMU's emulation of several processors can miss that Linux has patched an instruction. A processor then
    /// takes the temporary breakpoint, either forever or when nobody expects it any more. Only that is retried,
    /// once: the former wherever it happens, the latter only before the guest's first check.
    pub fn run(&self) -> Result<String> {
        let done = self.once();
        let said = fs::read(&self.console).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let is_stuck =
            done.is_err() && said.contains("rcu_preempt detected stalls") && said.contains("exc_int3");
        let is_late = said.contains("Oops: int3") && !said.contains("KMOD-");
        if !is_stuck && !is_late {
            return done;
        }
        eprintln!("{}: a processor took a breakpoint of the kernel's own; once more", self.console.display());
        self.once()
    }

    fn once(&self) -> Result<String> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "4", "-m", "640M"]);
        // A frame buffer of 16 MiB, which no driver in this initramfs claims.
        qemu.args(["-device", "VGA,vgamem_mb=16"]);
        qemu.arg("-serial").arg(format!("file:{}", self.console.display()));
        qemu.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initrd);
        let append = format!("console=ttyS0 quiet loglevel=6 panic=-1 oops=panic {}", self.append);
        qemu.args(["-append", &append]);
        to_end(qemu, &self.console, self.patience)
    }
}

/// Runs a machine to its end, and returns its console output.
pub fn to_end(mut qemu: Command, console: &Path, patience: Duration) -> Result<String> {
    let log = File::create(console.with_extension("log")).map_err(|e| e.to_string())?;
    let mut guest =
        qemu.stdin(Stdio::null()).stderr(log).spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?;
    let started = Instant::now();
    while guest.try_wait().map_err(|e| e.to_string())?.is_none() {
        if started.elapsed() > patience {
            drop(guest.kill());
            drop(guest.wait());
            return Err(format!("no end after {} s; see {}", patience.as_secs(), console.display()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = fs::read(console).map_err(|e| format!("{}: {e}", console.display()))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
