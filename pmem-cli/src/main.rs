//! The command `pmem`.

use clap::Parser;
use pmem_cli::args::Args;
use pmem_cli::{Failure, Output, run};
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    if pmem_cli::completes() {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = run(&args, &mut Output::new(&mut out));
    let result = result.and_then(|status| out.flush().map(|()| status).map_err(Failure::Output));
    match result {
        Ok(status) => status.into(),
        // The reader, such as `head`, has read enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            drop(out.flush());
            drop(writeln!(std::io::stderr(), "pmem: {failure}"));
            failure.status().into()
        }
    }
}
