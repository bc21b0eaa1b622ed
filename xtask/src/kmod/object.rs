//! Checks what the kernel will find in a built module: returns and indirect calls to patch, and stack frames.

use super::kernel::Kernel;
use crate::run::Result;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};
use std::fs;
use std::path::Path;

/// The counts of a module.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    returns: usize,
    return_sites: usize,
    indirect: usize,
    indirect_sites: usize,
    frames: usize,
    functions: usize,
}

/// Checks that each return and indirect call of a module, including the library's, is listed if the kernel's
/// configuration patches them, and that its stack can be unwound. Returns a summary.
///
/// # Errors
/// Returns what is missing.
pub fn examine(kernel: &Kernel, module: &Path) -> Result<String> {
    let data = fs::read(module).map_err(|e| format!("{}: {e}", module.display()))?;
    let counts = count(&data).map_err(|e| format!("{}: {e}", module.display()))?;
    let name = module.display();
    let has = |names: &[&str]| kernel.option(names).is_some();
    if has(&["RETHUNK", "MITIGATION_RETHUNK"]) && counts.return_sites != counts.returns {
        return Err(format!(
            "{name}: {} of {} returns are listed (.return_sites)",
            counts.return_sites, counts.returns
        ));
    }
    if has(&["RETPOLINE", "MITIGATION_RETPOLINE"]) && counts.indirect_sites != counts.indirect {
        let Counts { indirect, indirect_sites, .. } = counts;
        return Err(format!(
            "{name}: {indirect_sites} of {indirect} indirect calls are listed (.retpoline_sites)"
        ));
    }
    if has(&["UNWINDER_ORC"]) && counts.frames < counts.functions {
        return Err(format!(
            "{name}: {} frames for {} functions (.orc_unwind_ip)",
            counts.frames, counts.functions
        ));
    }
    let size = data.len();
    let Counts { returns, indirect, frames, functions, .. } = counts;
    Ok(format!(
        "{name}: {size} bytes, {functions} functions; listed are {returns} returns, {indirect} indirect calls, {frames} frames"
    ))
}

fn count(data: &[u8]) -> object::Result<Counts> {
    let file = object::File::parse(data)?;
    let mut counts = Counts::default();
    for section in file.sections() {
        let name = section.name()?;
        let entries = |bytes: u64| (section.size() / bytes) as usize;
        match name {
            ".return_sites" => counts.return_sites += entries(4),
            ".retpoline_sites" => counts.indirect_sites += entries(4),
            ".orc_unwind_ip" => counts.frames += entries(4),
            _ => {}
        }
        // Code that is discarded after loading is patched as well.
        if section.kind() != SectionKind::Text {
            continue;
        }
        for (_, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            match file.symbol_by_index(index)?.name()? {
                "__x86_return_thunk" => counts.returns += 1,
                thunk if thunk.starts_with("__x86_indirect_thunk_") => counts.indirect += 1,
                _ => {}
            }
        }
    }
    let is_function =
        |symbol: &object::Symbol<'_, '_>| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text;
    counts.functions = file.symbols().filter(is_function).count();
    Ok(counts)
}
