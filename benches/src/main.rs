//! pmem side by side with its peers, in one process: `cargo run --release -p pmem-bench -- arena`.
#![deny(unsafe_code)]

mod arena;
mod graph;
mod import;
mod iommu;
mod measure;
mod mtrr;
mod pci;
mod report;
mod scale;
mod shared;
mod subject;
mod uvm;
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

/// How much to measure, and how to show it.
#[derive(clap::Args)]
struct How {
    /// Short turns: for a quick look, not for figures.
    #[arg(long)]
    quick: bool,
    /// Print one line of JSON per figure.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Suite {
    /// One arena: fill, churn, windows, look-ups, neighbours, bytes.
    Arena {
        /// The numbers of regions.
        #[arg(long, value_delimiter = ',', default_value = "1e2,1e3,1e4,1e5,1e6")]
        n: Vec<f64>,
        /// The subjects; all by default.
        #[arg(long, value_delimiter = ',')]
        subject: Vec<String>,
        /// The cases: fill, bytes, churn, window, lookup, neighbours; all by default.
        #[arg(long, value_delimiter = ',')]
        case: Vec<String>,
        /// The seconds for building each subject's layout, and again for bringing it to a steady state.
        #[arg(long, default_value = "20")]
        budget: u64,
        #[command(flatten)]
        how: How,
        /// Plot churn against n into this SVG file.
        #[arg(long)]
        plot: Option<PathBuf>,
    },
    /// The shared handle: what publishing adds to a change, and readers beside a writer.
    Shared {
        /// The numbers of regions.
        #[arg(long, value_delimiter = ',', default_value = "1e3,1e5")]
        n: Vec<f64>,
        #[command(flatten)]
        how: How,
    },
    /// A number of operations and nothing else, for an instruction counter: see BENCHMARKING.md.
    Steps {
        /// The number of regions.
        #[arg(long, default_value = "1e3")]
        n: f64,
        /// The subject.
        #[arg(long, default_value = "pmem")]
        subject: String,
        /// The case: churn, window, lookup.
        #[arg(long, default_value = "churn")]
        case: String,
        /// The number of operations.
        #[arg(long, default_value = "1e5")]
        ops: f64,
    },
    /// Between arenas: distances, resolving over several hops, drivers on views.
    Graph {
        /// The numbers of regions.
        #[arg(long, value_delimiter = ',', default_value = "1e3,1e5")]
        n: Vec<f64>,
        #[command(flatten)]
        how: How,
    },
    /// Segments and pages: page frame to page, plugging, single pages and runs of them.
    Uvm {
        #[command(flatten)]
        how: How,
    },
    /// Large sources of one machine: seconds, and how they grow.
    Import {
        #[command(flatten)]
        how: How,
    },
    /// The model at size: trees, meshes, many windows, many nodes; and how each operation grows.
    Scale {
        #[command(flatten)]
        how: How,
    },
    /// PCI bus space: hierarchies placed from scratch, beside our models of what others do.
    Pci {
        /// The number of hierarchies for each fill level.
        #[arg(long, default_value = "1000")]
        hierarchies: usize,
        #[command(flatten)]
        how: How,
    },
    /// IOMMU page tables: mapping and unmapping, beside libraries for processors' page tables; device
    /// addresses.
    Iommu {
        /// The numbers of live mappings.
        #[arg(long, value_delimiter = ',', default_value = "1e2,1e3,1e4,1e5,1e6")]
        n: Vec<f64>,
        /// Only subjects whose names contain this.
        #[arg(long, default_value = "")]
        subject: String,
        #[command(flatten)]
        how: How,
    },
    /// MTRRs: registers and time for layouts like those of PCs.
    Mtrr {
        /// The number of layouts.
        #[arg(long, default_value = "10000")]
        layouts: usize,
        #[command(flatten)]
        how: How,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match huge_pages().and_then(|()| run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pmem-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Restarts the program with an allocator that asks for huge pages, for all subjects alike.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn huge_pages() -> Result<(), Box<dyn std::error::Error>> {
    use std::os::unix::process::CommandExt;
    if std::env::var_os("GLIBC_TUNABLES").is_some() {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    Err(again.args(std::env::args_os().skip(1)).env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1").exec().into())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn huge_pages() -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    match args.suite {
        Suite::Arena { n, subject, case, budget, how: How { quick, json }, plot } => {
            let budget = match quick {
                true => arena::Budget { build: Duration::from_secs(2), turn: Duration::from_millis(10) },
                false => {
                    arena::Budget { build: Duration::from_secs(budget), turn: Duration::from_millis(80) }
                }
            };
            let kinds = arena::kinds(&subject);
            let mut out = Output { json, all: Vec::new() };
            for n in n {
                arena::run(n as usize, &kinds, &case, budget, &mut |lines| out.add(lines));
            }
            if let Some(path) = plot {
                let churn: Vec<Line> = out.all.iter().filter(|line| line.case == "churn").cloned().collect();
                report::plot(&path, "free one, allocate another: ns against regions", &churn)?;
            }
            out.finish()
        }
        Suite::Shared { n, how: How { quick, json } } => {
            let turn = Duration::from_millis(if quick { 20 } else { 150 });
            let mut out = Output { json, all: Vec::new() };
            for n in n.into_iter().map(|n| n as usize) {
                out.add(shared::commits(n, turn));
                out.add(shared::readers(n, 1, 100_000, turn));
                out.add(shared::readers(n, 1, 1_000, turn));
                out.add(shared::readers(n, 2, 1_000, turn));
                out.add(shared::tails(n, turn));
            }
            out.finish()
        }
        Suite::Steps { n, subject, case, ops } => arena::steps(n as usize, &subject, &case, ops as u64),
        Suite::Graph { n, how: How { quick, json } } => {
            let turn = Duration::from_millis(if quick { 10 } else { 80 });
            let mut out = Output { json, all: Vec::new() };
            for arenas in [10, 100, 1000] {
                out.add(graph::distances(arenas, turn));
            }
            for n in n.into_iter().map(|n| n as usize) {
                out.add(graph::resolve(n, turn));
                out.add(graph::observed(n, turn));
            }
            out.finish()
        }
        Suite::Uvm { how: How { quick, json } } => {
            let mut out = Output { json, all: Vec::new() };
            uvm::run(quick, &mut |lines| out.add(lines));
            let ratios = uvm::ratios(&out.all);
            out.finish()?;
            if !json {
                println!("{}", ratios.join("\n"));
            }
            Ok(())
        }
        Suite::Import { how: How { quick, json } } => {
            let mut out = Output { json, all: Vec::new() };
            import::run(quick, &mut |lines| out.add(lines));
            let growth = import::growth(&out.all);
            out.finish()?;
            if !json {
                println!("{}", growth.join("\n"));
            }
            Ok(())
        }
        Suite::Scale { how: How { quick, json } } => {
            let mut out = Output { json, all: Vec::new() };
            let growth = scale::run(quick, &mut |lines| out.add(lines));
            out.finish()?;
            if !json {
                println!("{}", growth.join("\n"));
            }
            Ok(())
        }
        Suite::Pci { hierarchies, how: How { quick, json } } => {
            let mut out = Output { json, all: Vec::new() };
            let count = if quick { hierarchies / 10 } else { hierarchies };
            out.add(pci::from_scratch(count));
            out.add(pci::traces(count));
            out.add(pci::server(count / 10));
            let notes: Vec<String> =
                out.all.iter().map(|l| format!("{}, {}: {}", l.case, l.subject, l.note)).collect();
            out.finish()?;
            if !json {
                println!("{}", notes.join("\n"));
            }
            Ok(())
        }
        Suite::Iommu { n, subject, how: How { quick, json } } => {
            let time = Duration::from_millis(if quick { 3 } else { 60 });
            let sizes: Vec<usize> = n.iter().map(|n| *n as usize).collect();
            let mut out = Output { json, all: Vec::new() };
            out.add(iommu::tables(&sizes, &subject, time));
            out.add(iommu::addresses(&sizes, &subject, time));
            let noted = out.all.iter().filter(|line| !line.note.is_empty() && line.n == sizes[0]);
            let notes: Vec<String> =
                noted.map(|l| format!("{}, {}: {}", l.subject, l.case, l.note)).collect();
            out.finish()?;
            if !json {
                println!("{}", notes.join("\n"));
            }
            Ok(())
        }
        Suite::Mtrr { layouts, how: How { quick, json } } => {
            let mut out = Output { json, all: Vec::new() };
            out.add(mtrr::plans(if quick { layouts / 10 } else { layouts }));
            let notes: Vec<String> = out.all.iter().map(|l| format!("{}: {}", l.subject, l.note)).collect();
            out.finish()?;
            if !json {
                println!("{}", notes.join("\n"));
            }
            Ok(())
        }
    }
}

/// Prints lines as they come in JSON, or tables of all of them at the end.
struct Output {
    json: bool,
    all: Vec<Line>,
}

impl Output {
    fn add(&mut self, lines: Vec<Line>) {
        if self.json {
            for line in &lines {
                let line = serde_json::to_string(line).unwrap_or_default();
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        }
        self.all.extend(lines);
    }

    fn finish(self) -> Result<(), Box<dyn std::error::Error>> {
        if !self.json {
            write!(std::io::stdout(), "{}", report::tables(&self.all))?;
        }
        Ok(())
    }
}
