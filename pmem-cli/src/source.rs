//! Which machine is meant, and how a report is written.

use crate::args::{Args, Color};
use crate::{Failure, file};
use pmem_core::ArenaId;
use pmem_import::{Machine, MtrrFacts, SourceSummary, Sources, parse_range, read_net};
use pmem_report::picture::{self, Draw, Layout, Picture};
use pmem_report::text::Styles;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Returns all sources that the command line names, those of `--root` first.
fn paths(args: &Args, named: &[PathBuf]) -> Vec<PathBuf> {
    args.root.iter().chain(named).cloned().collect()
}

/// Reads the machine, capture or net that the command line names.
pub(crate) fn open(args: &Args, named: &[PathBuf]) -> Result<Machine, Failure> {
    match &args.net {
        Some(_) if !named.is_empty() => {
            Err(Failure::Usage("a net is a source of its own: --net does not go with others".to_owned()))
        }
        Some(net) => Ok(read_net(net)?),
        None => {
            let paths = paths(args, named);
            let machine = Machine::open(&paths)?;
            if paths.is_empty() { Ok(machine) } else { something(machine) }
        }
    }
}

/// Opens the sources that the command line names, for commands that search their texts themselves.
pub(crate) fn open_texts(args: &Args, named: &[PathBuf]) -> Result<Sources, Failure> {
    if args.net.is_some() {
        return Err(Failure::Usage("a net has no text: --net does not go with this".to_owned()));
    }
    Ok(Sources::open(&paths(args, named))?)
}

/// Reads the machine that open sources describe.
pub(crate) fn read(sources: &mut Sources) -> Result<Machine, Failure> {
    something(Machine::read(sources)?)
}

/// Passes a machine on if anything was read of it. Otherwise it fails, because an empty report would hide the reason.
pub(crate) fn something(machine: Machine) -> Result<Machine, Failure> {
    if !machine.heard.iter().all(SourceSummary::is_nothing) {
        return Ok(machine);
    }
    let names: Vec<String> = machine.heard.iter().map(|heard| heard.source.to_string()).collect();
    let mut text = format!("{}: nothing that pmem reads", names.join(", "));
    machine.findings.iter().for_each(|finding| text += &format!("\n{finding}"));
    Err(Failure::Other(text))
}

/// Reads the machine and its memory types.
pub(crate) fn open_with_mtrr(args: &Args, named: &[PathBuf]) -> Result<(Machine, MtrrFacts), Failure> {
    if args.net.is_some() {
        return Err(Failure::Usage("a net says nothing of MTRRs: --net does not go with mtrr".to_owned()));
    }
    Ok(Machine::read_with_mtrr(&mut Sources::open(&paths(args, named))?)?)
}

/// Opens the single tree of files that the command line names.
pub(crate) fn open_tree(args: &Args) -> Result<pmem_import::Tree, Failure> {
    if args.net.is_some() {
        let text = "a net is no machine to capture: --net does not go with gather";
        return Err(Failure::Usage(text.to_owned()));
    }
    let mut sources = Sources::open(&args.root)?;
    match (sources.trees.pop(), sources.trees.is_empty()) {
        (Some(tree), true) => Ok(tree),
        _ => Err(Failure::Usage(
            "gather captures one machine: this one, or a folder or archive by --root".to_owned(),
        )),
    }
}

/// Returns the arena of a viewer; the system bus if none is named.
pub(crate) fn viewer(machine: &mut Machine, from: Option<&str>) -> Result<ArenaId, Failure> {
    match from {
        None => Ok(machine.system),
        Some(word) => machine.viewer(word).map_err(Failure::Usage),
    }
}

/// Returns the styles for the output.
pub(crate) fn styles(color: Color) -> Styles {
    let on = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    };
    if on { Styles::colour() } else { Styles::default() }
}

/// Writes a report that cannot be drawn, as JSON or as text.
pub(crate) fn write<T: Serialize>(
    args: &Args,
    report: &T,
    out: &mut dyn Write,
    text: impl FnOnce(&T, &Styles, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if args.json {
        writeln!(out, "{:#}", pmem_report::json(report))?;
        Ok(())
    } else {
        Ok(text(report, &styles(args.color), out)?)
    }
}

/// Writes a report: as pictures, as JSON, or as text.
pub(crate) fn present<T: Serialize + Draw>(
    args: &Args,
    report: &T,
    out: &mut dyn Write,
    text: impl FnOnce(&T, &Styles, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if args.drawing.is_any() { draw(args, report.picture(), out) } else { write(args, report, out, text) }
}

/// Draws a picture in the requested formats.
pub(crate) fn draw(args: &Args, picture: Option<Picture>, out: &mut dyn Write) -> Result<(), Failure> {
    let drawing = &args.drawing;
    if drawing.svg.is_none() && drawing.html.is_none() && !drawing.map {
        return Ok(());
    }
    let Some(picture) = picture else {
        return Err(Failure::Other("nothing to draw: the report has no address".to_owned()));
    };
    let layout = Layout::of(picture);
    if let Some(path) = &drawing.svg {
        file::write(path, out, |out| picture::svg(&layout, out))?;
    }
    if let Some(path) = &drawing.html {
        file::write(path, out, |out| picture::html(&layout, out))?;
    }
    if drawing.map {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        picture::map(&layout, columns.unwrap_or(160), out)?;
    }
    Ok(())
}

/// Parses an option's range, and returns its first and last address, both inclusive.
pub(crate) fn range(option: &str, text: &str) -> Result<(u64, u64), Failure> {
    parse_range(text).map_err(|why| Failure::Usage(format!("{option} {text}: {why}")))
}
