//! A machine's own files: `/dev/cpu/*/msr` where they can be read, else `/proc/mtrr`; `/sys/firmware/memmap`, else
//! `/proc/iomem`; `/proc/cpuinfo`.

use super::facts::{Memory, MtrrFacts};
use super::text::memory_kind;
use crate::error::{ImportError, Warning};
use crate::number::hex;
use crate::resource::Resources;
use crate::root::Root;
use pmem_drivers::mtrr::DevMsr;
use pmem_mtrr::Span;

pub(super) fn read(root: &Root, warnings: &mut Vec<Warning>) -> Result<MtrrFacts, ImportError> {
    let mut facts = MtrrFacts::default();
    let mut amd = false;
    if let Some(text) = root.text("proc/cpuinfo", warnings) {
        amd = text
            .lines()
            .any(|line| line.starts_with("vendor_id") && (line.contains("AMD") || line.contains("Hygon")));
        let sizes: Option<&str> = text.lines().find(|line| line.starts_with("address sizes"));
        facts.add_text(sizes.unwrap_or(""), &root.dir().join("proc/cpuinfo"))?;
    }
    if let Some(text) = root.text("proc/mtrr", warnings) {
        facts.add_text(&text, &root.dir().join("proc/mtrr"))?;
    }
    if let Some(width) = facts.width {
        // Where the `msr` module is loaded, and shows them to this user.
        let cpus = DevMsr::open(&root.dir().join("dev/cpu"), width, amd);
        facts.cpus = cpus.ok().and_then(|cpus| cpus.settings().ok()).unwrap_or_default();
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
