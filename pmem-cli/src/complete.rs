//! Shell completion: devices, nodes and arenas of the machine that the command line names so far.

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use pmem_import::Machine;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Completes a viewer: `cpu`, a node, an arena, a PCI function, an emulator's address space.
pub(crate) fn viewer() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offered(current, viewers))
}

/// Completes a viewer or a source.
pub(crate) fn viewer_or_path() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| or_path(current, viewers))
}

/// Completes a PCI function.
pub(crate) fn function() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offered(current, functions))
}

/// Completes a PCI function or a source.
pub(crate) fn function_or_path() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| or_path(current, functions))
}

/// Completes a function's BAR, such as `0000:3b:00.0:bar2`, or a source.
pub(crate) fn register_or_path() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| or_path(current, registers))
}

fn or_path(current: &OsStr, names: fn(&Machine) -> Vec<String>) -> Vec<CompletionCandidate> {
    let mut all = offered(current, names);
    all.extend(PathCompleter::any().stdio().complete(current));
    all
}

/// Returns the names that start with the current word; none if the machine cannot be read.
fn offered(current: &OsStr, names: fn(&Machine) -> Vec<String>) -> Vec<CompletionCandidate> {
    // The shell passes the command line after `--`. Every word of it that names an existing file is taken as a source,
    // except the current one.
    let words = std::env::args_os().skip_while(|word| word != "--").skip(2);
    let words = words.filter(|word| word != current);
    let sources: Vec<PathBuf> = words.map(PathBuf::from).filter(|path| path.exists()).collect();
    let Ok(machine) = Machine::open(&sources) else { return Vec::new() };
    let Some(current) = current.to_str() else { return Vec::new() };
    // Bash inserts candidates verbatim, so a blank needs a backslash.
    let is_bash = std::env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some();
    let names = names(&machine).into_iter().map(|name| if is_bash { name.replace(' ', "\\ ") } else { name });
    names.filter(|name| name.starts_with(current)).map(CompletionCandidate::new).collect()
}

fn functions(machine: &Machine) -> Vec<String> {
    let all = machine.functions.iter().filter_map(|function| function.address);
    all.map(|address| address.to_string()).collect()
}

fn registers(machine: &Machine) -> Vec<String> {
    let all =
        machine.bars.iter().flat_map(|(function, bars)| bars.iter().map(move |(kind, _)| (function, kind)));
    all.map(|(function, kind)| format!("{function}:{}", kind.to_string().replace(' ', "").to_lowercase()))
        .collect()
}

fn viewers(machine: &Machine) -> Vec<String> {
    // The arenas include the views of the nodes.
    let arenas = machine.state().arenas().map(|(_, info, _)| info.name.clone());
    let spaces = machine.spaces.iter().flat_map(|spaces| spaces.names.iter().map(|(name, _)| name.clone()));
    ["cpu".to_owned()].into_iter().chain(functions(machine)).chain(arenas).chain(spaces).collect()
}
