//! Which machine is meant, and how a report is written.

use crate::Failure;
use crate::args::{Args, Color};
use pmem_core::ArenaId;
use pmem_import::{Heard, Machine, MtrrFacts, Sources, parse_addr, read_net};
use pmem_report::picture::{self, Draw, Layout, Picture};
use pmem_report::text::Styles;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The sources that the command line names: behind the command, and by `--root`.
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
            // A word of warning would be lost behind an empty machine.
            if !paths.is_empty() && machine.heard.iter().all(Heard::is_nothing) {
                let names: Vec<String> = machine.heard.iter().map(|heard| heard.source.to_string()).collect();
                let mut text = format!("{}: nothing that pmem reads", names.join(", "));
                machine.findings.iter().for_each(|finding| text += &format!("\n{finding}"));
                return Err(Failure::Other(text));
            }
            Ok(machine)
        }
    }
}

/// Reads the machine and what is known of its memory types.
pub(crate) fn open_with_mtrr(args: &Args, named: &[PathBuf]) -> Result<(Machine, MtrrFacts), Failure> {
    if args.net.is_some() {
        return Err(Failure::Usage("a net says nothing of MTRRs: --net does not go with mtrr".to_owned()));
    }
    Ok(Machine::read_with_mtrr(&mut Sources::open(&paths(args, named))?)?)
}

/// The one tree of files that the command line names.
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

/// The arena that is looked from.
pub(crate) fn viewer(machine: &mut Machine, from: Option<&str>) -> Result<ArenaId, Failure> {
    match from {
        None => Ok(machine.system),
        Some(word) => machine.viewer(word).map_err(Failure::Usage),
    }
}

/// Styles for the output.
pub(crate) fn styles(color: Color) -> Styles {
    let on = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    if on { Styles::colour() } else { Styles::default() }
}

/// Writes a report of which there is no picture: as JSON if that is asked for, else as text.
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

/// Writes a report: the pictures that are asked for, JSON if that is, else text.
pub(crate) fn present<T: Serialize + Draw>(
    args: &Args,
    report: &T,
    out: &mut dyn Write,
    text: impl FnOnce(&T, &Styles, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if args.drawing.is_any() { draw(args, report.picture(), out) } else { write(args, report, out, text) }
}

/// Draws a picture in the ways that are asked for.
pub(crate) fn draw(args: &Args, picture: Option<Picture>, out: &mut dyn Write) -> Result<(), Failure> {
    let drawing = &args.drawing;
    if drawing.svg.is_none() && drawing.html.is_none() && !drawing.map {
        return Ok(());
    }
    let Some(picture) = picture else {
        return Err(Failure::Other("nothing to draw: the report has no address".to_owned()));
    };
    let layout = Layout::of(picture);
    if let Some(file) = &drawing.svg {
        into(file, out, |out| picture::svg(&layout, out))?;
    }
    if let Some(file) = &drawing.html {
        into(file, out, |out| picture::html(&layout, out))?;
    }
    if drawing.map {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        picture::map(&layout, columns.unwrap_or(160), out)?;
    }
    Ok(())
}

/// Writes a file, or standard output for `-`.
pub(crate) fn into(
    file: &Path,
    out: &mut dyn Write,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if file.as_os_str() == "-" {
        return Ok(print(out)?);
    }
    let failed = |error: io::Error| Failure::Other(format!("{}: {error}", file.display()));
    let mut written = io::BufWriter::new(std::fs::File::create(file).map_err(failed)?);
    print(&mut written).and_then(|()| written.flush()).map_err(failed)
}

/// The first and the last address of `START-END`, the end not among them, or `START+SIZE`.
pub(crate) fn range(option: &str, text: &str) -> Result<(u64, u64), Failure> {
    let wrong = || {
        let wanted = "START-END or START+SIZE is wanted, such as 0x4000000000-0x8000000000";
        Failure::Usage(format!("{option} {text}: {wanted}"))
    };
    let parse = |text: &str| parse_addr(text).map_err(Failure::Usage);
    let (start, last) = if let Some((start, size)) = text.split_once('+') {
        let start = parse(start)?;
        (start, parse(size)?.checked_sub(1).and_then(|rest| start.checked_add(rest)))
    } else {
        let (start, end) = text.split_once("..").or_else(|| text.split_once('-')).ok_or_else(wrong)?;
        let end = parse(end)?;
        // What ends in ones is how Linux prints the last address.
        (parse(start)?, if end & 0xfff == 0xfff { Some(end) } else { end.checked_sub(1) })
    };
    last.filter(|last| start <= *last).map(|last| (start, last)).ok_or_else(wrong)
}
