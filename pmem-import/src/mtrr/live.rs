//! A machine's own files: `/dev/cpu/*/msr` where they can be read, else `/proc/mtrr`; `/sys/firmware/memmap`, else
//! `/proc/iomem`; `/proc/cpuinfo`.

use super::facts::{Memory, MtrrFacts};
use super::text::memory_kind;
use crate::error::{ImportError, Warning};
use crate::number::hex;
use crate::resource::Resources;
use crate::root::Root;
use pmem_mtrr::{Setting, Span, Width};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

pub(super) fn read(root: &Root, warnings: &mut Vec<Warning>) -> Result<MtrrFacts, ImportError> {
    let mut facts = MtrrFacts::default();
    let mut amd = false;
    if let Some(text) = root.text("proc/cpuinfo", warnings) {
        amd = text.lines().any(|line| line.starts_with("vendor_id") && line.contains("AMD"));
        let sizes: Option<&str> = text.lines().find(|line| line.starts_with("address sizes"));
        facts.add_text(sizes.unwrap_or(""), &root.dir().join("proc/cpuinfo"))?;
    }
    if let Some(text) = root.text("proc/mtrr", warnings) {
        facts.add_text(&text, &root.dir().join("proc/mtrr"))?;
    }
    if let Some(width) = facts.width {
        facts.cpus = registers(root, width, amd);
    }
    facts.memory = firmware_map(root, warnings);
    if let Some(text) = root.text("proc/iomem", warnings) {
        let resources = Resources::parse(&text, "proc/iomem", warnings);
        // The firmware's own map is better than what the kernel made of it.
        let silent = facts.memory.is_empty();
        for resource in &resources.all {
            let span = Span { start: resource.range.start(), end: resource.range.last().saturating_add(1) };
            if resource.name.starts_with("PCI Bus") {
                facts.windows.push(span);
            }
            if resource.depth == 0 && silent {
                facts.memory.push((span, memory_kind(&resource.name)));
            }
        }
        if resources.hidden && facts.memory.is_empty() {
            warnings.push(Warning::new("proc/iomem", "the kernel hides addresses from this user"));
        }
    }
    facts.settle();
    Ok(facts)
}

fn firmware_map(root: &Root, warnings: &mut Vec<Warning>) -> Vec<(Span, Memory)> {
    let mut out = Vec::new();
    for entry in root.names("sys/firmware/memmap") {
        let mut text = |name: &str| root.text(&format!("sys/firmware/memmap/{entry}/{name}"), warnings);
        let (Some(start), Some(last), Some(what)) = (text("start"), text("end"), text("type")) else {
            continue;
        };
        if let (Some(start), Some(last)) = (hex(start.trim()), hex(last.trim()))
            && start <= last
        {
            out.push((Span { start, end: last.saturating_add(1) }, memory_kind(what.trim())));
        }
    }
    out
}

/// Every processor's registers, where the `msr` module shows them; none if it does not.
fn registers(root: &Root, width: Width, amd: bool) -> Vec<Setting> {
    let mut cpus: Vec<u32> = root.names("dev/cpu").iter().filter_map(|name| name.parse().ok()).collect();
    cpus.sort_unstable();
    let read = |cpu: u32| -> Option<Setting> {
        let path: PathBuf = root.dir().join(format!("dev/cpu/{cpu}/msr"));
        let file = File::open(&path).ok()?;
        let msr = |msr: u32| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, u64::from(msr)).ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        Setting::read(width, amd, msr).ok()
    };
    let all: Option<Vec<Setting>> = cpus.into_iter().map(read).collect();
    all.unwrap_or_default()
}
