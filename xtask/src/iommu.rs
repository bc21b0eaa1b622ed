//! Tests IOMMUs in QEMU under Debian's kernels: the library's own driver programs them, and a device does DMA
//! through them.

use crate::kmod::guest;
use crate::kmod::kernel::{Kernel, lab};
use crate::run::{Result, check, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Two devices that can do DMA, with 64-bit addresses.
const DEVICES: [&str; 4] =
    ["-device", "edu,dma_mask=0xffffffffffffffff", "-device", "edu,dma_mask=0xffffffffffffffff"];

/// The kernel leaves the units alone, and `memmap` reserves memory for tables and data that can be mapped.
const APPEND: &str = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic intel_iommu=off intremap=off amd_iommu=off iomem=relaxed \
                      memmap=16M$0x30000000";

/// The machines: name, unit, and the least number of checks that must pass.
const MACHINES: [(&str, &str, usize); 3] = [
    ("vt-d of 48 bits", "intel-iommu,aw-bits=48", 64),
    ("vt-d of 39 bits", "intel-iommu,aw-bits=39", 64),
    ("amd-vi", "amd-iommu", 33),
];

/// Boots each kernel with each unit, the kernels side by side.
pub fn run(series: &[String]) -> Result {
    let programs = guest::programs()?;
    let chosen: Vec<String> =
        if series.is_empty() { SERIES.map(str::to_owned).to_vec() } else { series.to_vec() };
    let mut ready = Vec::new();
    for series in chosen {
        let kernel = Kernel::debian(&series)?;
        let lab = lab(&series);
        fs::create_dir_all(&lab).map_err(|e| e.to_string())?;
        let image = kernel.image(&lab)?.join("vmlinuz");
        ready.push((series, image, pack(&lab, &programs)?, lab));
    }
    let boots: Vec<_> = ready
        .into_iter()
        .map(|(series, image, initrd, lab)| std::thread::spawn(move || all(&series, &image, &initrd, &lab)))
        .collect();
    let (mut passed, mut wrong) = (0, Vec::new());
    for boot in boots {
        match boot.join() {
            Ok((count, failed)) => {
                passed += count;
                wrong.extend(failed);
            }
            Err(_) => wrong.push("a boot was lost".to_owned()),
        }
    }
    eprintln!("iommu: {passed} passed, {} failed", wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(format!("iommu: {}", wrong.join("\n"))) }
}

/// Packs busybox, the program, and the init script.
fn pack(lab: &Path, programs: &Path) -> Result<PathBuf> {
    let tree = lab.join("iommu");
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(tree.join("bin")).map_err(|e| e.to_string())?;
    let init = root().join("guest/init");
    guest::install(&tree, &programs.join("pmem-iommu-try"), "pmem-iommu-try")?;
    for (from, to) in [(PathBuf::from("/bin/busybox"), "bin/busybox"), (init, "init")] {
        fs::copy(&from, tree.join(to)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    check("chmod", Command::new("chmod").arg("755").arg(tree.join("init")))?;
    guest::packed(&tree, lab.join("initrd-iommu"))
}

/// Runs each machine on one kernel: returns how many checks passed, and what failed.
fn all(series: &str, image: &Path, initrd: &Path, lab: &Path) -> (usize, Vec<String>) {
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, unit, least) in MACHINES {
        let console = lab.join(format!("console-{}", unit.replace([',', '='], "-")));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "1G", "-device", unit]).args(DEVICES);
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-kernel").arg(image).arg("-initrd").arg(initrd).args(["-append", APPEND]);
        let said = guest::to_end(qemu, &console, Duration::from_secs(300)).unwrap_or_else(|why| {
            failed.push(format!("{series} {name}: {why}"));
            String::new()
        });
        let lines = || said.lines().map(str::trim_end).filter(|line| line.contains("IOMMU-"));
        lines().for_each(|line| eprintln!("{series} {name}: {line}"));
        let count = lines().filter(|line| line.starts_with("IOMMU-PASS")).count();
        let bad = lines().filter(|line| line.starts_with("IOMMU-FAIL"));
        failed.extend(bad.map(|line| format!("{series} {name}: {line}")));
        let kernel = ["Oops", "BUG:", "Kernel panic", "Call Trace", "WARNING:"];
        let complaint = said.lines().find(|line| kernel.iter().any(|word| line.contains(word)));
        failed.extend(complaint.map(|line| format!("{series} {name}: the kernel: {line}")));
        if !said.contains("IOMMU-END") || count < least {
            failed.push(format!("{series} {name}: {count} of {least} checks; see {}", console.display()));
        }
        passed += count;
    }
    (passed, failed)
}
