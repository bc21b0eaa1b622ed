//! Kernels that the module is built for: their headers, configurations and images.

use crate::run::{Result, check, ensure, output, root};
use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages for building and booting, besides headers.
const PACKAGES: [&str; 8] =
    ["gcc", "make", "qemu-system-x86", "busybox-static", "cpio", "kmod", "msr-tools", "xz-utils"];

/// A kernel, known by the headers that modules for it are built with.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The release, as `uname -r` prints it.
    pub release: String,
    /// The folder with its Kbuild makefile.
    pub headers: PathBuf,
}

/// Returns the folder for everything that is built for a kernel: `build`, `initramfs`, `linux-image-...`.
pub fn lab(series: &str) -> PathBuf {
    let all = root().join("target/kmod");
    if series == "6.1" { all } else { all.join(series) }
}

impl Kernel {
    /// Returns the running kernel.
    pub fn running() -> Result<Self> {
        let release = output("uname", Command::new("uname").arg("-r"))?;
        Self::named(release.trim()).map_err(|why| {
            let others = installed().join(", ");
            format!("{why}; installed are headers of: {others} (choose one by --kernel)")
        })
    }

    /// Returns a kernel whose headers are installed, by its release or by the folder of its headers.
    pub fn named(release: &str) -> Result<Self> {
        let folders = [
            PathBuf::from(release),
            Path::new("/usr/src").join(format!("linux-headers-{release}")),
            Path::new("/lib/modules").join(release).join("build"),
        ];
        let found = folders.into_iter().find(|folder| folder.join("Module.symvers").exists());
        let headers = found.ok_or_else(|| {
            format!("no headers of kernel {release}: apt-get install linux-headers-{release}, or your distribution's")
        })?;
        let generated =
            fs::read_to_string(headers.join("include/generated/utsrelease.h")).unwrap_or_default();
        let release = generated.split('"').nth(1).unwrap_or(release).to_owned();
        Ok(Self { release, headers })
    }

    /// Returns Debian's newest kernel of a series, such as 6.1, 6.12 or 6.1-rt. CI installs its headers;
    /// elsewhere the error says how to.
    pub fn debian(series: &str) -> Result<Self> {
        ensure(&PACKAGES)?;
        let (version, flavour) = match series.strip_suffix("-rt") {
            Some(version) => (version, "-rt-amd64"),
            None => (series, "-amd64"),
        };
        let mut newest = newest(version, flavour)?;
        if newest.is_none() && std::env::var_os("CI").is_some() {
            check("apt-get update", Command::new("apt-get").args(["-qq", "update"]))?;
            newest = self::newest(version, flavour)?;
        }
        let newest =
            newest.ok_or_else(|| format!("no kernel {series} in the configured archives: apt-get update"))?;
        ensure(&[newest.as_str()])?;
        Self::named(newest.trim_start_matches("linux-headers-"))
    }

    /// Returns the value of the first of these options that the configuration sets.
    pub fn option(&self, names: &[&str]) -> Option<String> {
        let text = fs::read_to_string(self.headers.join("include/config/auto.conf")).unwrap_or_default();
        let value = |name: &&str| {
            let start = format!("CONFIG_{name}=");
            text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        names.iter().find_map(value)
    }

    /// Downloads and unpacks Debian's image, and returns the folder with `vmlinuz` and `lib/modules`.
    pub fn image(&self, lab: &Path) -> Result<PathBuf> {
        let name = format!("linux-image-{}", self.release);
        let place = lab.join(&name);
        if place.join("vmlinuz").exists() {
            return Ok(place);
        }
        let packages = lab.join("packages");
        fs::create_dir_all(&packages).map_err(|e| e.to_string())?;
        let name =
            image_package(&self.release).ok_or_else(|| format!("no {name} in the configured archives"))?;
        let mut download = Command::new("apt-get");
        download.current_dir(&packages).args(["-qq", "-o", "APT::Sandbox::User=root", "download", &name]);
        check("apt-get download", &mut download)?;
        let debs = fs::read_dir(&packages).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
        let is_it = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.split('_').next() == Some(&name)
        };
        let deb = debs.into_iter().find(is_it).ok_or("the kernel's package was not downloaded")?;
        check("dpkg -x", Command::new("dpkg").arg("-x").arg(&deb).arg(&place))?;
        let boot = fs::read_dir(place.join("boot")).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
        let image = boot.into_iter().find(|path| path.to_string_lossy().contains("vmlinuz"));
        fs::copy(image.ok_or("the package holds no kernel")?, place.join("vmlinuz"))
            .map_err(|e| e.to_string())?;
        Ok(place)
    }
}

/// Returns the newest headers of a version and flavour that have an image: headers can be published earlier.
fn newest(version: &str, flavour: &str) -> Result<Option<String>> {
    let prefix = format!("linux-headers-{version}.");
    let archive = output("apt-cache", Command::new("apt-cache").args(["pkgnames", &prefix]))?;
    let there = installed().into_iter().map(|release| format!("linux-headers-{release}"));
    let is_ours = |name: &String| {
        let Some(rest) = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(flavour)) else {
            return false;
        };
        // Skip other flavours, and packages that do not belong to a kernel.
        !rest.contains("-cloud") && !rest.contains("-rt") && rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut all: Vec<String> = archive.lines().map(str::to_owned).chain(there).filter(is_ours).collect();
    all.sort_by(|a, b| by_number(b, a));
    Ok(all.into_iter().find(|name| image_package(name.trim_start_matches("linux-headers-")).is_some()))
}

/// Returns the package of a kernel's image in the archives: the signed one if there is one.
fn image_package(release: &str) -> Option<String> {
    let names = [format!("linux-image-{release}"), format!("linux-image-{release}-unsigned")];
    names.into_iter().find(|name| {
        let policy =
            output("apt-cache", Command::new("apt-cache").args(["policy", name])).unwrap_or_default();
        policy.lines().any(|line| line.trim_start().starts_with("Candidate:") && !line.contains("(none)"))
    })
}

/// Lists the releases whose headers are installed, newest last.
pub fn installed() -> Vec<String> {
    let all = fs::read_dir("/usr/src").map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let with_kbuild = all.into_iter().filter(|entry| entry.path().join("Module.symvers").exists());
    let name =
        |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_prefix("linux-headers-")?.to_owned());
    let mut names: Vec<String> = with_kbuild.filter_map(name).collect();
    names.sort_by(|a, b| by_number(a, b));
    names
}

/// Compares names with numbers in them by value: 6.1.0-9 before 6.1.0-56.
fn by_number(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<(u64, String)> = Vec::new();
        for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            parts.push((digits.parse().unwrap_or(0), part[digits.len()..].to_owned()));
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_not_the_last_by_spelling() {
        let mut all = [
            "6.1.0-56-amd64",
            "6.1.0-9-amd64",
            "6.12.9+deb12-amd64",
            "6.1.0-100-amd64",
            "6.12.117+deb12-amd64",
        ];
        all.sort_by(|a, b| by_number(a, b));
        assert_eq!(
            all,
            [
                "6.1.0-9-amd64",
                "6.1.0-56-amd64",
                "6.1.0-100-amd64",
                "6.12.9+deb12-amd64",
                "6.12.117+deb12-amd64"
            ]
        );
    }
}
