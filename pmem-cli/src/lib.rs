//! What the command `pmem` is made of: one module per subcommand, and the script language.
#![forbid(unsafe_code)]

mod annotate;
pub mod args;
mod diff;
mod gather;
mod json;
mod mtrr;
mod names;
mod outcome;
mod ram;
mod resolve;
pub mod script;
mod show;
mod source;
mod topo;
mod view;

pub use outcome::{Failure, Status};

use args::{Args, Command};
use std::io::Write;

/// The number of the JSON format that every subcommand prints as `schema`.
pub const SCHEMA: u32 = 1;

/// Carries out a command line; what it prints goes to `out`.
///
/// # Errors
/// [`Failure`] says what went wrong, and the exit status.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Status, Failure> {
    match &args.command {
        Command::Topo => topo::run(args, out),
        Command::View { from, local } => view::run(args, from.as_deref(), *local, out),
        Command::Resolve { from, addrs } => resolve::run(args, from.as_deref(), addrs, out),
        Command::Diff { left, right } => diff::run(args, left, right, out),
        Command::Annotate { from } => annotate::run(args, from.as_deref(), &mut std::io::stdin().lock(), out),
        Command::Script { file, check } => script::run_file(args, file, *check, out),
        Command::Mtrr { command } => mtrr::run(args, command, out),
        Command::Ram { command } => ram::run(args, command, out),
        Command::Gather { out: path } => gather::run(args, path, out),
        Command::Completions { shell } => args::completions(*shell, out),
        Command::Man => args::man(out),
    }
}
