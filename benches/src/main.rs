//! pmem side by side with its peers, in one process: `cargo run --release -p pmem-bench -- arena`.
#![forbid(unsafe_code)]

mod arena;
mod measure;
mod report;
mod subject;
mod workload;

use clap::{Parser, Subcommand};
use report::Line;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Compares pmem with its peers.
#[derive(Parser)]
#[command(name = "pmem-bench", version)]
struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// One arena: fill, churn, windows, look-ups, neighbours, bytes.
    Arena {
        /// Numbers of regions.
        #[arg(long, value_delimiter = ',', default_value = "1e2,1e3,1e4,1e5,1e6")]
        n: Vec<f64>,
        /// Subjects; all without it.
        #[arg(long, value_delimiter = ',')]
        subject: Vec<String>,
        /// Cases: fill, bytes, churn, window, lookup, neighbours; all without it.
        #[arg(long, value_delimiter = ',')]
        case: Vec<String>,
        /// Short turns: for a look, not for figures.
        #[arg(long)]
        quick: bool,
        /// A line of JSON per figure.
        #[arg(long)]
        json: bool,
        /// Plots churn against n into this SVG file.
        #[arg(long)]
        plot: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pmem-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let Suite::Arena { n, subject, case, quick, json, plot } = args.suite;
    let budget = match quick {
        true => arena::Budget { build: Duration::from_secs(2), turn: Duration::from_millis(10) },
        false => arena::Budget { build: Duration::from_secs(20), turn: Duration::from_millis(80) },
    };
    let kinds = arena::kinds(&subject);
    let mut all: Vec<Line> = Vec::new();
    for n in n {
        arena::run(n as usize, &kinds, &case, budget, &mut |lines| {
            if json {
                for line in &lines {
                    let line = serde_json::to_string(line).unwrap_or_default();
                    let _ = writeln!(std::io::stdout(), "{line}");
                }
            }
            all.extend(lines);
        });
    }
    if !json {
        write!(std::io::stdout(), "{}", report::tables(&all))?;
    }
    if let Some(path) = plot {
        let churn: Vec<Line> = all.iter().filter(|line| line.case == "churn").cloned().collect();
        report::plot(&path, "free one, allocate another: ns against regions", &churn)?;
    }
    Ok(())
}
