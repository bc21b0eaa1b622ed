//! Makes a Debian package for DKMS: the module's C code, and the library's object for each set of flags that
//! kernels need.
//!
//! Installing it needs no Rust. Kbuild chooses the object by the kernel's configuration.

use super::build::{library_with, packed, sources};
use super::kernel::{Kernel, lab};
use crate::run::{Result, check, ensure, root};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const NAME: &str = "pmem-arena";

/// The kernels that the packaged sources are built for, as a check.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Makes the package, and builds its content as DKMS would, for each kernel.
pub fn run() -> Result {
    let version = env!("CARGO_PKG_VERSION");
    let lab = lab("package");
    let tree = lab.join("tree");
    drop(fs::remove_dir_all(&tree));
    let place = tree.join(format!("usr/src/{NAME}-{version}"));
    let objects = [(false, false), (false, true), (true, false), (true, true)];
    for (frames, padded) in objects {
        let object = library_with(&packed(frames, padded))?;
        sources(&place, &object)?;
        let words =
            [(frames, "-frames"), (padded, "-padded16")].map(|(is_set, word)| if is_set { word } else { "" });
        let name = format!("library-packed{}.bin", words.concat());
        fs::rename(place.join("library.bin"), place.join(name)).map_err(|e| e.to_string())?;
    }
    let conf = fs::read_to_string(root().join("kmod/dkms.conf")).map_err(|e| e.to_string())?;
    fs::write(place.join("dkms.conf"), conf.replace("@VERSION@", version)).map_err(|e| e.to_string())?;
    let control = format!(
        "Package: {NAME}-dkms\nVersion: {version}\nArchitecture: amd64\nSection: kernel\nPriority: optional\n\
         Depends: dkms\nMaintainer: pmem developers <pmem@localhost>\n\
         Description: memory types by MTRRs, claimed by programs (DKMS)\n \
         The kernel module pmem_arena: programs claim parts of PCI BARs with a memory type, which is programmed in the\n \
         fewest registers, and given back when they end.\n"
    );
    let debian = tree.join("DEBIAN");
    fs::create_dir_all(&debian).map_err(|e| e.to_string())?;
    fs::write(debian.join("control"), control).map_err(|e| e.to_string())?;
    for (script, text) in [
        (
            "postinst",
            format!("#!/bin/sh\nset -e\n[ \"$1\" != configure ] || dkms install {NAME}/{version} || true\n"),
        ),
        ("prerm", format!("#!/bin/sh\nset -e\ndkms remove {NAME}/{version} --all || true\n")),
    ] {
        fs::write(debian.join(script), text).map_err(|e| e.to_string())?;
        check("chmod", Command::new("chmod").arg("755").arg(debian.join(script)))?;
    }
    let package = lab.join(format!("{NAME}-dkms_{version}_amd64.deb"));
    let mut pack = Command::new("dpkg-deb");
    check("the package", pack.args(["--root-owner-group", "--build"]).arg(&tree).arg(&package))?;
    for series in SERIES {
        by_dkms(&Kernel::debian(series)?, &place, &lab.join("dkms"), version)?;
    }
    println!("{}", package.display());
    Ok(())
}

/// Builds the packaged sources with DKMS in a separate tree, and checks the module.
fn by_dkms(kernel: &Kernel, source: &std::path::Path, tree: &PathBuf, version: &str) -> Result {
    ensure(&["dkms"])?;
    drop(fs::remove_dir_all(tree));
    fs::create_dir_all(tree).map_err(|e| e.to_string())?;
    let dkms = |what: &str| {
        let mut dkms = Command::new("dkms");
        dkms.arg(what).arg("--dkmstree").arg(tree);
        dkms
    };
    check("dkms add", dkms("add").arg(source))?;
    let mut build = dkms("build");
    build
        .arg(format!("{NAME}/{version}"))
        .args(["-k", &kernel.release])
        .arg("--kernelsourcedir")
        .arg(&kernel.headers);
    check(&format!("dkms build for {}", kernel.release), &mut build)?;
    let module = tree.join(NAME).join(version).join(&kernel.release).join("x86_64/module");
    let built = fs::read_dir(&module).map_err(|e| format!("{}: {e}", module.display()))?.flatten().next();
    let built = built.ok_or("dkms built no module")?.path();
    let plain = tree.join("pmem_arena.ko");
    if built.extension().is_some_and(|end| end == "xz") {
        let to = fs::File::create(&plain).map_err(|e| e.to_string())?;
        check("xz", Command::new("xz").arg("-dc").arg(&built).stdout(to))?;
    } else {
        fs::copy(&built, &plain).map_err(|e| e.to_string())?;
    }
    eprintln!("{}", super::object::examine(kernel, &plain)?);
    Ok(())
}
