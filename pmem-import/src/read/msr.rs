//! The MTRRs themselves, if the `msr` module shows them to this user. Works only on the live machine.

use crate::capture::Tree;
use crate::facts::{Facts, SourceSummary};
use pmem_drivers::mtrr::DevMsr;

/// No files: captures cannot hold registers.
pub(super) const FILES: &[&str] = &[];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    let (Some(dir), Some(width)) = (tree.dir(), &facts.mtrr.width) else { return };
    if !tree.is_live() || !tree.has("dev/cpu") {
        return;
    }
    let cpus = DevMsr::open(&dir.join("dev/cpu"), width.value, facts.mtrr.is_amd);
    facts.mtrr.cpus = cpus.ok().and_then(|cpus| cpus.settings().ok()).unwrap_or_default();
    for _ in &facts.mtrr.cpus {
        heard.count("processor's MTRRs");
    }
}
