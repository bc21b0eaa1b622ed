//! The parts of the command `pmem`: one module for each subcommand.
#![forbid(unsafe_code)]

mod annotate;
pub mod args;
mod ask;
mod complete;
mod each;
mod file;
mod gather;
mod lint;
mod mtrr;
mod mtrr_apply;
mod mtrr_need;
mod outcome;
mod output;
mod pages;
mod par;
mod pci;
mod pci_windows;
mod progress;
mod script;
mod source;
mod topo;

pub use outcome::{Failure, Status};
pub use output::Output;
pub use pages::completes;

use args::{Args, Command};

/// The version of the JSON format. Every subcommand prints it as `schema`.
pub const SCHEMA: u32 = pmem_report::SCHEMA;

/// Runs a command line, and prints to `out`.
///
/// # Errors
/// [`Failure`] tells what went wrong, and gives the exit status.
pub fn run(args: &Args, out: &mut Output<'_>) -> Result<Status, Failure> {
    let is_graph = args.drawing.dot.is_some() && !matches!(args.command, Command::Topo(_));
    if is_graph || args.drawing.is_any() && !args.command.has_picture() {
        let text = "this command has no such picture: --svg, --html and --map work with topo, view, diff, resolve, lint, ram show, iommu show, mtrr show, mtrr plan, pci tree and pci plan; --dot works with topo only";
        return Err(Failure::Usage(text.to_owned()));
    }
    if args.json && args.drawing.is_any() {
        return Err(Failure::Usage("--json does not go with a picture".to_owned()));
    }
    match &args.command {
        Command::Topo(topo) => topo::topo(args, topo, out),
        Command::View { words, local } => ask::view(args, words, *local, out),
        Command::Resolve { from, words } => ask::resolve(args, from.as_deref(), words, out),
        Command::Diff { left, right, sources } => ask::diff(args, left, right, sources, out),
        Command::Annotate { from, words } => annotate::annotate(args, from.as_deref(), words, out),
        Command::Script { file, check } => script::run_file(args, file, *check, out),
        Command::Mtrr { command } => mtrr::run(args, command, out),
        Command::Pci { command } => pci::run(args, command, out),
        Command::Par { command } => par::par(args, command, out),
        Command::Ram { command } => ask::ram(args, command, out),
        Command::Iommu { command } => ask::iommu(args, command, out),
        Command::Lint { explain, together, sources } => {
            lint::lint(args, explain.as_deref(), *together, sources, out)
        }
        Command::Emit { form, sources } => ask::emit(args, *form, sources, out),
        Command::Gather { out: path } => gather::run(args, path, out),
        Command::Completions { shell } => pages::completions(*shell, out),
        Command::Man { folder } => pages::man(folder.as_deref(), out),
    }
}
