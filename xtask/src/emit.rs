//! Round trips: boots what `pmem emit qemu` prints for a machine, gathers, and emits again. Nothing may differ.

use crate::capture;
use crate::kmod::guest;
use crate::kmod::kernel::{Kernel, lab};
use crate::run::{Result, check, output, root};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The machines that make the round trip.
const MACHINES: [&str; 2] = ["qemu-pxb", "qemu-cxl"];
const SERIES: &str = "6.12";

/// Emits, boots and compares each machine.
pub fn run() -> Result {
    let kernel = Kernel::debian(SERIES)?;
    let lab = lab(SERIES);
    fs::create_dir_all(&lab).map_err(|e| e.to_string())?;
    let image = kernel.image(&lab)?.join("vmlinuz");
    let pmem = guest::programs()?.join("pmem");
    let initrd = pack(&lab, &pmem)?;
    let mut wrong = Vec::new();
    for name in MACHINES {
        let before = root().join(format!("tests/machines/{name}.tar.gz"));
        let options = emitted(&pmem, &before)?;
        let after = boot(name, &lab, &image, &initrd, &options)?;
        let again = emitted(&pmem, &after)?;
        let options = differences("option", &options, &again);
        let functions = differences("function", &functions(&pmem, &before)?, &functions(&pmem, &after)?);
        let count = options.len() + functions.len();
        eprintln!("{name}: {} options, {count} differences", again.len());
        wrong.extend(options.into_iter().chain(functions).map(|line| format!("{name}: {line}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Returns the options of the emitted command line, without comments.
fn emitted(pmem: &Path, source: &Path) -> Result<Vec<String>> {
    let said = output("emit qemu", Command::new(pmem).args(["emit", "qemu"]).arg(source))?;
    let lines = said.lines().filter(|line| !line.starts_with('#')).skip(1);
    Ok(lines.map(|line| line.trim().trim_end_matches(" \\").to_owned()).collect())
}

/// Lists functions with what they are, the buses below them, and what they decode. For a stand-in, only the
/// size of its memory counts.
fn functions(pmem: &Path, source: &Path) -> Result<Vec<String>> {
    let said = output("topo", Command::new(pmem).args(["--json", "topo"]).arg(source))?;
    let report: Value = serde_json::from_str(&said).map_err(|e| format!("topo: {e}"))?;
    let empty = Vec::new();
    let list = |value: &Value, key: &str| value[key].as_array().unwrap_or(&empty).clone();
    let shown = |function: &Value| {
        let is_bridge = !function["below"].is_null();
        let stands_in = matches!(function["vendor"].as_str(), Some("0x1af4" | "0x1b36"))
            && matches!(function["device"].as_str(), Some("0x1110" | "0x0005"));
        let memory =
            list(function, "bars").into_iter().filter(|bar| bar["io"] == false && bar["name"] != "ROM");
        let sizes: Vec<Value> =
            memory.map(|bar| json!([bar["name"], bar["bytes"], bar["prefetchable"]])).collect();
        let largest = list(function, "bars").iter().filter_map(|bar| bar["bytes"].as_u64()).max();
        let what = match (is_bridge, stands_in) {
            (true, _) => json!([function["class"], function["below"]]),
            (_, true) => json!(largest),
            _ => json!([function["class"], function["vendor"], function["device"], sizes]),
        };
        format!("{} {} {what}", function["address"], function["node"])
    };
    Ok(list(&report, "functions").iter().map(shown).collect())
}

/// Lists what one list has more often than the other.
fn differences(what: &str, before: &[String], after: &[String]) -> Vec<String> {
    let count = |list: &[String], line: &String| list.iter().filter(|one| *one == line).count();
    let more = |list: &[String], other: &[String], word: &str| -> Vec<String> {
        let mut lines: Vec<&String> =
            list.iter().filter(|line| count(list, line) > count(other, line)).collect();
        lines.dedup();
        lines.into_iter().map(|line| format!("{what} {word}: {line}")).collect()
    };
    [more(before, after, "lost"), more(after, before, "new")].concat()
}

/// Packs busybox, the program, and the script that gathers.
fn pack(lab: &Path, pmem: &Path) -> Result<PathBuf> {
    let tree = lab.join("emit");
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(tree.join("bin")).map_err(|e| e.to_string())?;
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, tree.join("bin/busybox")).map_err(|e| format!("{}: {e}", busybox.display()))?;
    guest::install(&tree, pmem, "pmem")?;
    fs::write(tree.join("init"), capture::INIT).map_err(|e| e.to_string())?;
    check("chmod", Command::new("chmod").arg("755").arg(tree.join("init")))?;
    guest::packed(&tree, lab.join("initrd-emit"))
}

/// Boots a machine with these options, and returns what it gathers.
fn boot(name: &str, lab: &Path, image: &Path, initrd: &Path, options: &[String]) -> Result<PathBuf> {
    let (console, sent) = (lab.join(format!("console-emit-{name}")), lab.join(format!("sent-{name}.gz")));
    let mut qemu = Command::new("qemu-system-x86_64");
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
    qemu.args(options.iter().flat_map(|option| option.split_whitespace()));
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-serial").arg(format!("file:{}", sent.display()));
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(initrd);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 nokaslr"]);
    guest::to_end(qemu, &console, Duration::from_secs(300))?;
    capture::received(name, &console, &sent, &lab.join(format!("{name}.tar")))
}
