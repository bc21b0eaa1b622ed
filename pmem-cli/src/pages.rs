//! Completions and manual pages.

use crate::args::Args;
use crate::{Failure, Output, Status};
use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};
use std::io::Write;
use std::path::Path;

/// The environment variable with which a shell asks for completions.
const ASKED: &str = "PMEM_COMPLETE";

/// Answers a shell that asks for completions. Returns false if none does.
pub fn completes() -> bool {
    CompleteEnv::with_factory(Args::command)
        .var(ASKED)
        .bin("pmem")
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
        .unwrap_or_else(|error| error.exit())
}

/// Prints the lines that register the completions with a shell.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut Output<'_>) -> Result<Status, Failure> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or_else(|| Failure::Usage(format!("{shell}: no completions for it")))?;
    completer.write_registration(ASKED, "pmem", "pmem", "pmem", out)?;
    if shell == clap_complete::Shell::Bash {
        // Readline would split the names of PCI functions at each colon.
        writeln!(out, "COMP_WORDBREAKS=${{COMP_WORDBREAKS//:}}")?;
    }
    Ok(Status::Done)
}

/// Prints the manual with a section for each subcommand, or writes a page for each into a folder.
pub(crate) fn man(folder: Option<&Path>, out: &mut Output<'_>) -> Result<Status, Failure> {
    let mut command = Args::command();
    if let Some(folder) = folder {
        let failed = |error| Failure::file(folder, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(Status::Done);
    }
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let named = sub.clone().bin_name(format!("pmem {}", sub.get_name()));
        writeln!(out, ".SH PMEM {}", sub.get_name().to_uppercase())?;
        let page = clap_mangen::Man::new(named);
        page.render_synopsis_section(out)?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
    }
    Ok(Status::Done)
}
