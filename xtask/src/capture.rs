//! Makes captures for tests: boots a kernel in QEMU on machines of our own, and stores what `pmem gather` finds
//! there.
//!
//! Nothing is installed: packages are downloaded and unpacked below `target/capture`, because Debian's QEMU
//! conflicts with newer `qemu-utils`. The guest runs a busybox shell and a statically linked `pmem`. The
//! capture comes back over the second serial port, and is verified by its checksum.

use crate::kmod::guest;
use crate::run::{Result, check, output, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The packages to unpack.
const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    "libcapstone4",
    "libfdt1",
    "libpmem1",
    "libdaxctl1",
    "libndctl6",
    "librdmacm1",
    "libibverbs1",
    "libnl-3-200",
    "libnl-route-3-200",
    "libslirp0",
    "libvdeplug2",
    "libexecs0",
    "busybox-static",
    "cpio",
];

/// The time after which a guest that has not finished is killed.
const PATIENCE: Duration = Duration::from_secs(180);

/// The first process of a guest: it gathers, and sends the capture.
pub const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
/pmem gather /out.tar
set -- $(sha256sum /out.tar)
exec 3<>/dev/ttyS1
stty raw -echo -ixon -crtscts clocal 115200 <&3
gzip -9 -c /out.tar >&3
exec 3>&-
echo "CAPTURE-SUM $1"
sync
poweroff -f
"#;

/// A machine: its name, and its QEMU arguments.
type Machine = (&'static str, fn() -> Vec<String>);

const MACHINES: [Machine; 6] = [
    ("qemu-numa2-hmat", numa2),
    ("qemu-numa4-hmat", numa4),
    ("qemu-pcie-switches", switches),
    ("qemu-bare", bare),
    ("qemu-pxb", pxb),
    ("qemu-cxl", cxl),
];

/// Boots each machine, and stores its capture under tests/machines.
pub fn run(names: &[String]) -> Result {
    if let Some(unknown) = names.iter().find(|name| !MACHINES.iter().any(|(known, _)| known == name)) {
        let known: Vec<&str> = MACHINES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no machine {unknown:?}; there are {}", known.join(", ")));
    }
    let lab = root().join("target/capture");
    fs::create_dir_all(&lab).map_err(|e| format!("{}: {e}", lab.display()))?;
    if !lab.join("vmlinuz").exists() {
        unpack(&lab)?;
    }
    let initrd = initramfs(&lab)?;
    for (name, arguments) in
        MACHINES.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name))
    {
        let started = Instant::now();
        boot(&lab, &initrd, name, &arguments())?;
        eprintln!("{name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Downloads the packages, and unpacks them below `lab`.
fn unpack(lab: &Path) -> Result {
    let packages = lab.join("packages");
    fs::create_dir_all(&packages).map_err(|e| e.to_string())?;
    let kernel = kernel_package()?;
    let mut download = Command::new("apt-get");
    download.current_dir(&packages).args(["-qq", "-o", "APT::Sandbox::User=root", "download"]);
    download.args(PACKAGES).arg(&kernel);
    check("apt-get download (after apt-get update; needs Debian's packages)", &mut download)?;
    let debs = fs::read_dir(&packages).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    for deb in debs.filter(|path| path.extension().is_some_and(|e| e == "deb")) {
        check("dpkg -x", Command::new("dpkg").arg("-x").arg(&deb).arg(lab.join("unpacked")))?;
    }
    let boot =
        fs::read_dir(lab.join("unpacked/boot")).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    let image = boot.into_iter().find(|path| path.to_string_lossy().contains("vmlinuz"));
    let image = image.ok_or("the kernel package holds no kernel")?;
    fs::copy(image, lab.join("vmlinuz")).map(drop).map_err(|e| e.to_string())
}

/// Returns the package of Debian's current kernel.
fn kernel_package() -> Result<String> {
    let depends =
        output("apt-cache depends", Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let named = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = named.into_iter().find(|name| name.starts_with("linux-image-"));
    kernel.map(str::to_owned).ok_or_else(|| "no kernel package known: run apt-get update".to_owned())
}

/// Builds `pmem`, and packs it with busybox.
fn initramfs(lab: &Path) -> Result<PathBuf> {
    let pmem = guest::programs()?.join("pmem");
    let tree = lab.join("initramfs");
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(tree.join("bin")).map_err(|e| e.to_string())?;
    let copy = |from: PathBuf, to: &str| {
        fs::copy(&from, tree.join(to)).map(drop).map_err(|e| format!("{}: {e}", from.display()))
    };
    copy(lab.join("unpacked/bin/busybox"), "bin/busybox")?;
    guest::install(&tree, &pmem, "pmem")?;
    fs::write(tree.join("init"), INIT).map_err(|e| e.to_string())?;
    check("chmod", Command::new("chmod").arg("755").arg(tree.join("init")))?;
    let initrd = lab.join("initrd");
    let cpio = lab.join("unpacked/bin/cpio");
    let pack = format!(
        "find . | LC_ALL=C sort | {} -o -H newc -R 0:0 --quiet > {}",
        cpio.display(),
        initrd.display()
    );
    check("initramfs", Command::new("sh").current_dir(&tree).args(["-c", &pack]))?;
    Ok(initrd)
}

fn boot(lab: &Path, initrd: &Path, name: &str, arguments: &[String]) -> Result {
    let (console, sent) = (lab.join("console"), lab.join("sent.gz"));
    let unpacked = lab.join("unpacked");
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| unpacked.join(dir));
    let libraries = libraries.map(|dir| dir.to_string_lossy().into_owned()).join(":");
    let mut qemu = Command::new(unpacked.join("usr/bin/qemu-system-x86_64"));
    qemu.env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null());
    qemu.args([
        "-accel",
        "tcg",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-cpu",
        "max",
    ]);
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-serial").arg(format!("file:{}", sent.display()));
    qemu.arg("-kernel").arg(lab.join("vmlinuz")).arg("-initrd").arg(initrd);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 nokaslr"]).args(arguments);
    let log = File::create(lab.join("qemu.log")).map_err(|e| e.to_string())?;
    let mut guest = qemu.stderr(log).spawn().map_err(|e| format!("qemu: {e}"))?;
    let started = Instant::now();
    loop {
        if guest.try_wait().map_err(|e| e.to_string())?.is_some() {
            break;
        }
        if started.elapsed() > PATIENCE {
            drop(guest.kill());
            return Err(format!("{name}: no end after {} s; see {}", PATIENCE.as_secs(), console.display()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let tar = received(name, &console, &sent, &lab.join("out.tar"))?;
    let stored = root().join("tests/machines");
    fs::create_dir_all(&stored).map_err(|e| e.to_string())?;
    let place = stored.join(format!("{name}.tar.gz"));
    let pack = format!("gzip -9nc {} > {}", tar.display(), place.display());
    check("store", Command::new("sh").args(["-c", &pack]))
}

/// Unpacks what a guest sent to `tar`, if its checksum is the one that the guest printed.
pub fn received(name: &str, console: &Path, sent: &Path, tar: &Path) -> Result<PathBuf> {
    let said = fs::read(console).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let wanted = said.lines().find_map(|line| line.trim().strip_prefix("CAPTURE-SUM ")).map(str::to_owned);
    let wanted =
        wanted.ok_or_else(|| format!("{name}: the guest sent nothing; see {}", console.display()))?;
    let inflate = format!("gzip -dc {} > {}", sent.display(), tar.display());
    check(name, Command::new("sh").args(["-c", &inflate]))?;
    let sum = output("sha256sum", Command::new("sha256sum").arg(tar))?;
    if !sum.starts_with(&wanted) {
        return Err(format!("{name}: what came back is not what was sent: {} for {wanted}", sum.trim()));
    }
    Ok(tar.to_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Returns the QEMU arguments for latency (ns) and bandwidth (MiB/s) between two nodes.
fn measured(from: u32, to: u32, [read, write]: [u32; 2], [in_rate, out_rate]: [u32; 2]) -> Vec<String> {
    let place = format!("hmat-lb,initiator={from},target={to},hierarchy=memory");
    let mut all = Vec::new();
    for (kind, value) in [
        ("read-latency,latency", read.to_string()),
        ("write-latency,latency", write.to_string()),
        ("read-bandwidth,bandwidth", format!("{in_rate}M")),
        ("write-bandwidth,bandwidth", format!("{out_rate}M")),
    ] {
        all.extend(["-numa".to_owned(), format!("{place},data-type={kind}={value}")]);
    }
    all
}

/// Two nodes with CPUs, of different size and speed.
fn numa2() -> Vec<String> {
    let mut all = words(
        "-machine q35,hmat=on -m 1536M -smp 4,sockets=2,cores=2,threads=1
         -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=1024M
         -numa node,nodeid=0,memdev=m0,cpus=0-1,initiator=0 -numa node,nodeid=1,memdev=m1,cpus=2-3,initiator=1
         -numa dist,src=0,dst=1,val=21",
    );
    all.extend(measured(0, 0, [80, 90], [20480, 10240]));
    all.extend(measured(0, 1, [140, 160], [9216, 5120]));
    all.extend(measured(1, 0, [150, 170], [8192, 4096]));
    all.extend(measured(1, 1, [100, 110], [16384, 12288]));
    all
}

/// Three nodes with CPUs and one without; all distances differ.
fn numa4() -> Vec<String> {
    let mut all = words(
        "-machine q35,hmat=on -m 1280M -smp 6,sockets=3,cores=2,threads=1
         -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=256M
         -object memory-backend-ram,id=m2,size=256M -object memory-backend-ram,id=m3,size=256M
         -numa node,nodeid=0,memdev=m0,cpus=0-1,initiator=0 -numa node,nodeid=1,memdev=m1,cpus=2-3,initiator=1
         -numa node,nodeid=2,memdev=m2,cpus=4-5,initiator=2 -numa node,nodeid=3,memdev=m3,initiator=1
         -numa dist,src=0,dst=1,val=16 -numa dist,src=0,dst=2,val=22 -numa dist,src=0,dst=3,val=30
         -numa dist,src=1,dst=2,val=24 -numa dist,src=1,dst=3,val=17 -numa dist,src=2,dst=3,val=31",
    );
    for from in 0..3 {
        for to in 0..4 {
            let (latency, bandwidth) = match to {
                3 if from == 1 => ([200, 260], [7168, 3072]),
                3 => ([300 + 10 * from, 360 + 10 * from], [4096 - 512 * from, 2048 - 512 * from]),
                _ if from == to => {
                    ([80 + 10 * from, 90 + 10 * from], [20480 - 2048 * from, 10240 - 1024 * from])
                }
                _ => (
                    [130 + 10 * from + 5 * to, 150 + 10 * from + 5 * to],
                    [9216 - 1024 * from, 6144 - 1024 * from],
                ),
            };
            all.extend(measured(from, to, latency, bandwidth));
        }
    }
    all
}

/// A tree of switches with empty hot-plug ports, a port with reserved space, and conventional PCI at the end.
fn switches() -> Vec<String> {
    words(
        "-machine q35 -m 1024M -smp 2 -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
         -device pcie-root-port,id=rp0,bus=pcie.0,addr=4.0,multifunction=on,chassis=1,slot=1
         -device pcie-root-port,id=rp1,bus=pcie.0,addr=4.1,chassis=2,slot=2
         -device pcie-root-port,id=rp2,bus=pcie.0,addr=4.2,chassis=3,slot=3
         -device pcie-root-port,id=rp3,bus=pcie.0,addr=4.3,chassis=4,slot=4,hotplug=off
         -device pcie-root-port,id=rp4,bus=pcie.0,addr=5.0,chassis=5,slot=5
         -device pcie-root-port,id=rp5,bus=pcie.0,addr=6.0,chassis=6,slot=6,pref64-reserve=1G,mem-reserve=4M,bus-reserve=2
         -device x3130-upstream,id=up0,bus=rp0
         -device xio3130-downstream,id=dn0,bus=up0,addr=0.0,multifunction=on,chassis=10,slot=10
         -device xio3130-downstream,id=dn1,bus=up0,addr=1.0,chassis=11,slot=11
         -device xio3130-downstream,id=dn2,bus=up0,addr=2.0,chassis=12,slot=12
         -device xio3130-downstream,id=dn3,bus=up0,addr=3.0,chassis=13,slot=13
         -device e1000e,bus=dn0,romfile=
         -drive if=none,id=d0,format=raw,file=null-co:// -device nvme,bus=dn1,drive=d0,serial=none
         -device x3130-upstream,id=up1,bus=dn2
         -device xio3130-downstream,id=dn4,bus=up1,addr=0.0,chassis=14,slot=14
         -device xio3130-downstream,id=dn5,bus=up1,addr=1.0,chassis=15,slot=15
         -device virtio-net-pci,bus=dn4,romfile=
         -object memory-backend-ram,id=shm0,size=64M,share=on -device ivshmem-plain,bus=rp1,memdev=shm0
         -device virtio-net-pci,bus=rp3,addr=0.0,multifunction=on,romfile= -device virtio-rng-pci,bus=rp3,addr=0.1
         -device pcie-pci-bridge,id=pb0,bus=rp4 -device e1000,bus=pb0,addr=1.0,romfile=
         -device pci-bridge,id=pb1,bus=pb0,addr=2.0,chassis_nr=20,shpc=off -device rtl8139,bus=pb1,addr=1.0,romfile=",
    )
}

/// A machine with switches below switches, some of whose ports take no cards. Its firmware assigns no PCI
/// addresses, so the kernel has assigned all of them.
fn bare() -> Vec<String> {
    words(
        "-machine q35 -m 256M -smp 1 -bios qboot.rom
         -device pcie-root-port,id=p3,chassis=11,slot=11,bus=pcie.0,addr=3.0
         -device x3130-upstream,id=u3,bus=p3
         -device xio3130-downstream,id=d12,bus=u3,chassis=12,slot=12,addr=0.0
         -device x3130-upstream,id=v12,bus=d12
         -device xio3130-downstream,id=e13,bus=v12,chassis=13,slot=13,addr=0.0
         -device xio3130-downstream,id=e14,bus=v12,chassis=14,slot=14,addr=1.0
         -device xio3130-downstream,id=d15,bus=u3,chassis=15,slot=15,addr=1.0,hotplug=off
         -device xio3130-downstream,id=d16,bus=u3,chassis=16,slot=16,addr=2.0,hotplug=off
         -device x3130-upstream,id=v16,bus=d16
         -device xio3130-downstream,id=e17,bus=v16,chassis=17,slot=17,addr=0.0
         -device pcie-root-port,id=p4,chassis=18,slot=18,bus=pcie.0,addr=4.0
         -device x3130-upstream,id=u4,bus=p4
         -device xio3130-downstream,id=d19,bus=u4,chassis=19,slot=19,addr=0.0,hotplug=off
         -device xio3130-downstream,id=d20,bus=u4,chassis=20,slot=20,addr=1.0,hotplug=off
         -device x3130-upstream,id=v20,bus=d20
         -device xio3130-downstream,id=e21,bus=v20,chassis=21,slot=21,addr=0.0
         -device pcie-root-port,id=p5,chassis=22,slot=22,bus=pcie.0,addr=5.0
         -device virtio-net-pci,bus=e13,romfile= -device virtio-net-pci,bus=d19,romfile=
         -device pci-testdev,bus=e14,membar=1M -device pci-testdev,bus=d15,membar=32M
         -object memory-backend-ram,id=shm0,size=16M,share=on -device ivshmem-plain,bus=e21,memdev=shm0
         -device e1000e,bus=p5,romfile=",
    )
}

/// Two more host bridges, one on each node.
fn pxb() -> Vec<String> {
    words(
        "-machine q35 -m 1024M -smp 4,sockets=2,cores=2,threads=1
         -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
         -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=512M
         -numa node,nodeid=0,memdev=m0,cpus=0-1 -numa node,nodeid=1,memdev=m1,cpus=2-3 -numa dist,src=0,dst=1,val=20
         -device pxb-pcie,id=pxb0,bus=pcie.0,addr=8.0,bus_nr=64,numa_node=0
         -device pxb-pcie,id=pxb1,bus=pcie.0,addr=9.0,bus_nr=128,numa_node=1
         -device pcie-root-port,id=a0,bus=pxb0,addr=0.0,chassis=1,slot=1
         -device pcie-root-port,id=a1,bus=pxb0,addr=1.0,chassis=2,slot=2
         -device pcie-root-port,id=b0,bus=pxb1,addr=0.0,chassis=3,slot=3
         -device pcie-root-port,id=b1,bus=pxb1,addr=1.0,chassis=4,slot=4
         -device pcie-root-port,id=b2,bus=pxb1,addr=2.0,chassis=5,slot=5
         -device pcie-root-port,id=c0,bus=pcie.0,addr=4.0,chassis=6,slot=6
         -device virtio-net-pci,bus=c0,romfile= -device e1000e,bus=a0,romfile=
         -drive if=none,id=d0,format=raw,file=null-co:// -device nvme,bus=b0,drive=d0,serial=none
         -object memory-backend-ram,id=shm0,size=64M,share=on -device ivshmem-plain,bus=b1,memdev=shm0",
    )
}

/// Two nodes, and two CXL host bridges with a device each: a window for each, and one interleaved over both.
fn cxl() -> Vec<String> {
    words(
        "-machine q35,cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G,cxl-fmw.1.targets.0=cxl.1,cxl-fmw.1.size=4G,cxl-fmw.2.targets.0=cxl.0,cxl-fmw.2.targets.1=cxl.1,cxl-fmw.2.size=8G,cxl-fmw.2.interleave-granularity=8k
         -m 1024M -smp 4,sockets=2,cores=2,threads=1
         -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
         -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=512M
         -numa node,nodeid=0,memdev=m0,cpus=0-1 -numa node,nodeid=1,memdev=m1,cpus=2-3 -numa dist,src=0,dst=1,val=21
         -device pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52 -device pxb-cxl,id=cxl.1,bus=pcie.0,bus_nr=222
         -device cxl-rp,id=r0,bus=cxl.0,addr=0.0,port=0,chassis=1,slot=1
         -device cxl-rp,id=r1,bus=cxl.1,addr=0.0,port=0,chassis=2,slot=2
         -object memory-backend-ram,id=cm0,size=256M,share=on -object memory-backend-ram,id=cl0,size=256M,share=on
         -device cxl-type3,id=c0,bus=r0,memdev=cm0,lsa=cl0
         -object memory-backend-ram,id=cm1,size=256M,share=on -object memory-backend-ram,id=cl1,size=256M,share=on
         -device cxl-type3,id=c1,bus=r1,memdev=cm1,lsa=cl1
         -device pcie-root-port,id=p0,bus=pcie.0,addr=4.0,chassis=3,slot=3 -device e1000e,bus=p0,romfile=",
    )
}
