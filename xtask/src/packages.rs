//! Makes the packages that are published, builds them as somebody who downloads them would, and checks their
//! dependencies.

use crate::run::{Result, cargo, check, output, root};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The packages; each comes after those that it needs.
pub const PACKAGES: [&str; 14] = [
    "pmem-space",
    "pmem-mtrr",
    "pmem-pci",
    "pmem-iommu",
    "pmem-core",
    "pmem-drivers",
    "pmem-uvm",
    "pmem-capi",
    "pmem-arena-abi",
    "pmem-arena",
    "pmem-import",
    "pmem-report",
    "pmem-script",
    "pmem-cli",
];

/// The files that each package must contain.
const INSIDE: [&str; 4] = ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Makes the packages, and builds them only from their own content.
pub fn run() -> Result {
    let metadata = metadata()?;
    dependencies(&metadata)?;
    let named = PACKAGES.iter().flat_map(|name| ["--package", name]);
    check("packages", cargo().args(["package", "--quiet", "--allow-dirty", "--no-verify"]).args(named))?;
    let version = package(&metadata, PACKAGES[0])?["version"].as_str().unwrap_or_default().to_owned();
    let (made, apart) = (root().join("target/package"), root().join("target/packages"));
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let _ = fs::remove_dir_all(&apart);
    fs::create_dir_all(&apart).map_err(failed(&apart))?;
    for name in PACKAGES {
        let archive = made.join(format!("{name}-{version}.crate"));
        let mut tar = Command::new("tar");
        // Packed files bear a date long past: with it, cargo would take what it built of an earlier package.
        check(&format!("{name}, unpacked"), tar.arg("-xmzf").arg(&archive).arg("-C").arg(&apart))?;
        let folder = apart.join(format!("{name}-{version}"));
        let lacks: Vec<&str> = INSIDE.into_iter().filter(|file| !folder.join(file).is_file()).collect();
        if !lacks.is_empty() {
            return Err(format!("{name}: the package lacks {}", lacks.join(", ")));
        }
        let size = fs::metadata(&archive).map_err(failed(&archive))?.len();
        eprintln!("{name} {version}: {} KiB", size.div_ceil(1024));
    }
    // The unpacked packages form a workspace, and patch the registry, where they are not published yet. It
    // shares the project's target folder, so that dependencies are built only once.
    let members: Vec<String> = PACKAGES.iter().map(|name| format!("\"{name}-{version}\"")).collect();
    let patches: Vec<String> =
        PACKAGES.iter().map(|name| format!("{name} = {{ path = \"{name}-{version}\" }}")).collect();
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{}\n\n[profile.dev.package.\"*\"]\ndebug = false\n\n[profile.dev]\ndebug = \"line-tables-only\"\n",
        members.join(", "),
        patches.join("\n")
    );
    let path = apart.join("Cargo.toml");
    fs::write(&path, manifest).map_err(failed(&path))?;
    let lock = apart.join("Cargo.lock");
    fs::copy(root().join("Cargo.lock"), &lock).map_err(failed(&lock))?;
    let mut build = cargo();
    build.current_dir(&apart).env("CARGO_TARGET_DIR", root().join("target"));
    check("packages, built from what is in them", build.args(["check", "--workspace", "--all-features"]))
}

fn metadata() -> Result<Value> {
    let text = output("cargo metadata", cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

fn all(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().map_or(&[], Vec::as_slice)
}

fn package<'m>(metadata: &'m Value, name: &str) -> Result<&'m Value> {
    all(metadata).iter().find(|package| package["name"] == name).ok_or_else(|| format!("no package {name}"))
}

/// Checks that everything the packages are built with has a licence allowed by `deny.toml`, and needs no newer
/// compiler than the packages promise.
fn dependencies(metadata: &Value) -> Result {
    eprintln!("== licences and compilers of dependencies");
    let path = root().join("deny.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let deny: toml::Value = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let allowed: Vec<&str> = deny["licenses"]["allow"]
        .as_array()
        .map_or(Vec::new(), |all| all.iter().filter_map(toml::Value::as_str).collect());
    let ours = package(metadata, PACKAGES[0])?["rust_version"].as_str().map(numbers).unwrap_or_default();
    let mut wrong = Vec::new();
    let needed = needed(metadata);
    for package in all(metadata).iter().filter(|package| needed.contains(&text_of(&package["id"]))) {
        let name = format!("{} {}", text_of(&package["name"]), text_of(&package["version"]));
        let licence = text_of(&package["license"]);
        let is_allowed = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .is_ok_and(|expression| expression.evaluate(|one| allowed.contains(&one.to_string().as_str())));
        if !is_allowed {
            wrong.push(format!("{name}: {licence:?} is not among the licences of deny.toml"));
        }
        let needs = package["rust_version"].as_str().map(numbers).unwrap_or_default();
        if needs > ours {
            wrong.push(format!("{name} needs Rust {}", text_of(&package["rust_version"])));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn numbers(version: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    numbers.resize(3, 0);
    numbers
}

/// Lists what the published packages are built with. Tests and tools may need what they like.
fn needed(metadata: &Value) -> Vec<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut reached: Vec<&str> = Vec::new();
    let mut next: Vec<&str> = all(metadata)
        .iter()
        .filter(|one| one["source"].is_null() && PACKAGES.contains(&text_of(&one["name"])))
        .map(|one| text_of(&one["id"]))
        .collect();
    while let Some(id) = next.pop() {
        if reached.contains(&id) {
            continue;
        }
        reached.push(id);
        let deps = nodes.iter().find(|node| node["id"] == id).and_then(|node| node["deps"].as_array());
        for dep in deps.into_iter().flatten() {
            let kinds = dep["dep_kinds"].as_array().map_or(&[][..], Vec::as_slice);
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                next.push(text_of(&dep["pkg"]));
            }
        }
    }
    reached.retain(|id| !id.starts_with("path+"));
    reached
}
