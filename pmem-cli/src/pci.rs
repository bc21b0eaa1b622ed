//! `pmem pci`: PCI bus space.

use crate::args::{Args, PciCommand, PciWish};
use crate::pci_windows;
use crate::source::{open, open_texts, present, range, read, write};
use crate::{Failure, Output, Status, file};
use pmem_import::{Address, Machine, decode, parse_size};
use pmem_pci::linux::Rules;
use pmem_pci::plan::{Verdict, plan};
use pmem_pci::tree::{Avoid, Space};
use pmem_pci::{Budget, BusRange};
use pmem_report::pci::{
    GoalError, HotplugEvent, Kernel, PciDoctor, PciHierarchy, PciLint, PciPrediction, PciReplay,
    PlacementGoal, PlacementPlan, PlacementRequest, card, suggestions,
};
use pmem_report::{Read, Warning, text};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest time that a search may take.
const PATIENCE: Duration = Duration::from_secs(20);
const STEPS: u64 = 50_000_000;

impl From<GoalError> for Failure {
    fn from(error: GoalError) -> Self {
        match error {
            GoalError::Usage(text) => Self::Usage(text),
            GoalError::Unknown(text) => Self::Other(text),
        }
    }
}

pub(crate) fn run(args: &Args, command: &PciCommand, out: &mut Output<'_>) -> Result<Status, Failure> {
    match command {
        PciCommand::Tree { sources } => {
            let machine = open_pci(args, sources)?;
            let (read, warnings) = said(&machine);
            present(args, &PciHierarchy::of(&machine.pci, read, warnings), out, text::pci_tree)?;
            Ok(Status::Done)
        }
        PciCommand::Lint { sources } => {
            let machine = open_pci(args, sources)?;
            let (read, warnings) = said(&machine);
            let report = PciLint::of(&machine.pci, read, warnings);
            write(args, &report, out, text::pci_lint)?;
            Ok(if report.wrong.is_empty() { Status::Done } else { Status::Failed })
        }
        PciCommand::Replay { trace, kernels } => {
            let mut sources = open_texts(args, std::slice::from_ref(trace))?;
            // Events come from the trace alone, even if --root names further sources.
            let text =
                sources.texts.last().map_or_else(Default::default, |text| decode(&text.bytes).into_owned());
            let lines = (1..).zip(text.lines());
            let events = lines.filter_map(|(n, line)| Some((n, line.trim().strip_prefix("do: ")?)));
            let deeds: Vec<HotplugEvent> = events
                .map(|(n, line)| {
                    deed(line).map_err(|failure| match failure {
                        Failure::Usage(why) => Failure::Usage(format!("{}:{n}: {why}", trace.display())),
                        other => other,
                    })
                })
                .collect::<Result<_, _>>()?;
            if deeds.is_empty() {
                let text = format!("{}: no line begins with \"do: \"", trace.display());
                return Err(Failure::Usage(text));
            }
            let kernels: Vec<Kernel> = kernels
                .iter()
                .map(|version| match Rules::parse(version) {
                    Some(rules) => Ok(Kernel { version: version.clone(), rules }),
                    None => Err(Failure::Usage(format!(
                        "--kernel {version}: not a version; expected a form such as 6.12"
                    ))),
                })
                .collect::<Result<_, _>>()?;
            let machine = with_pci(read(&mut sources)?)?;
            let (read, warnings) = said(&machine);
            let mut budget = Budget::steps(STEPS);
            let report = PciReplay::of(&machine.pci, &kernels, &deeds, read, warnings, &mut budget)?;
            write(args, &report, out, text::pci_replay)?;
            Ok(Status::Done)
        }
        PciCommand::Windows { changes } => pci_windows::run(args, changes, out),
        PciCommand::Doctor { sources, kernel, avoid, write: folder } => {
            let avoid = avoid.iter().map(|text| range("--avoid", text)).collect::<Result<Vec<_>, _>>()?;
            let mut machine = open_pci(args, sources)?;
            machine.pci.tree.avoid.extend(avoid.into_iter().map(|(first, last)| Avoid {
                space: Space::Memory,
                span: BusRange { first, last },
                strict: false,
            }));
            let kernel = kernel_rules(kernel.as_deref(), &machine)?;
            let kernel = kernel.map(|(version, rules)| Kernel { version, rules });
            let (read, warnings) = said(&machine);
            let begun = Instant::now();
            let stop = || begun.elapsed() > PATIENCE;
            let mut budget = Budget::until(STEPS, &stop);
            out.say(|| "looking for places".to_owned());
            let report = PciDoctor::of(&machine.pci, kernel.as_ref(), read, warnings, &mut budget);
            write(args, &report, out, text::pci_doctor)?;
            if let Some(folder) = folder {
                let written = write_scripts(folder, &report)?;
                if !args.json {
                    writeln!(out, "Written: {}", written.join(", "))?;
                }
            }
            Ok(match report.verdict.as_str() {
                "nothing-wrong" | "can-be-fixed" => Status::Done,
                "no" => Status::No,
                _ => Status::NotProven,
            })
        }
        PciCommand::Predict { sources, kernel, deeds } => {
            let deeds: Vec<HotplugEvent> = deeds.iter().map(|text| deed(text)).collect::<Result<_, _>>()?;
            let machine = open_pci(args, sources)?;
            let Some((version, rules)) = kernel_rules(kernel.as_deref(), &machine)? else {
                let text = "the sources do not name the kernel version; add an option such as --kernel 6.12";
                return Err(Failure::Usage(text.to_owned()));
            };
            let (read, warnings) = said(&machine);
            let report = PciPrediction::of(&machine.pci, &version, &rules, &deeds, read, warnings)?;
            write(args, &report, out, text::pci_predict)?;
            Ok(Status::Done)
        }
        PciCommand::Plan { sources, wish, at, kernel, avoid, pin, quiesce, keep } => {
            let ask = PlacementRequest {
                wishes: wishes(args, wish, at.as_deref())?,
                avoid: avoid.iter().map(|text| range("--avoid", text)).collect::<Result<_, _>>()?,
                pinned: pin.iter().map(|text| address("--pin", text)).collect::<Result<_, _>>()?,
                quiesced: quiesce.iter().map(|text| address("--quiesce", text)).collect::<Result<_, _>>()?,
                kept: keep.iter().map(|text| kept(args, text)).collect::<Result<_, _>>()?,
            };
            let machine = open_pci(args, sources)?;
            let goal = ask.goal(&machine.pci)?;
            let event = ask.event(&goal);
            let begun = Instant::now();
            let stop = || begun.elapsed() > PATIENCE;
            out.say(|| "looking for places".to_owned());
            let verdict = plan(&goal, &mut Budget::until(STEPS, &stop));
            let (read, warnings) = said(&machine);
            let mut report = PlacementPlan::of(&machine.pci, &goal, &verdict, read, warnings);
            if !matches!(verdict, Verdict::Fits(_)) {
                report.suggestions = suggestions(&machine.pci, &ask, &mut Budget::until(STEPS, &stop));
            }
            let goal = ask.without_kept().goal(&machine.pci)?;
            let linux = kernel_rules(kernel.as_deref(), &machine)?.zip(event);
            if let Some(((version, rules), event)) = linux {
                report = report.with_linux(&machine.pci, &goal, &version, &rules, event);
            }
            present(args, &report, out, text::pci_plan)?;
            // What the report says, which also weighs what the sources leave out.
            Ok(match report.verdict.as_str() {
                "no" => Status::No,
                "not-proven" => Status::NotProven,
                _ => Status::Done,
            })
        }
    }
}

/// Reads sources that contain PCI functions.
fn open_pci(args: &Args, sources: &[PathBuf]) -> Result<Machine, Failure> {
    with_pci(open(args, sources)?)
}

fn with_pci(machine: Machine) -> Result<Machine, Failure> {
    if machine.pci.tree.functions.is_empty() {
        let text = "the sources show no PCI function; add a kernel log, lspci -vv or /proc/iomem";
        return Err(Failure::Other(text.to_owned()));
    }
    Ok(machine)
}

/// Writes the scripts and the report into a folder, and creates the folder if necessary. Returns the files' names.
fn write_scripts(folder: &Path, report: &PciDoctor) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
    let mut text = Vec::new();
    text::pci_doctor(report, &text::Styles::default(), &mut text)?;
    let files = [
        ("report.txt", Some(text)),
        ("fix.sh", report.fix.clone().map(String::into_bytes)),
        ("undo.sh", report.undo.clone().map(String::into_bytes)),
    ];
    let mut written = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).map_err(|error| Failure::file(&path, error))?;
            written.push(path.display().to_string());
        }
    }
    Ok(written)
}

/// Returns the Linux version that is meant, and its rules; `None` if nothing names one.
fn kernel_rules(option: Option<&str>, machine: &Machine) -> Result<Option<(String, Rules)>, Failure> {
    // A log tells more than a version: also what its kernel has backported.
    if let Some(path) = option.filter(|text| Rules::parse(text).is_none() && Path::new(text).is_file()) {
        let log = file::read(Path::new(path))?;
        let log = String::from_utf8_lossy(&log);
        let said =
            log.lines().rev().find_map(|line| line.split_once("Linux version ")?.1.split_whitespace().next());
        return match said.zip(Rules::of_log(&log)) {
            Some((version, rules)) => Ok(Some((version.to_owned(), rules))),
            None => Err(Failure::Usage(format!("--kernel {path}: no line of it says \"Linux version\""))),
        };
    }
    let version = option.or(machine.kernel.as_deref());
    let rules = version.and_then(Rules::parse);
    match (option, rules) {
        (Some(text), None) => {
            Err(Failure::Usage(format!("--kernel {text}: neither a version, such as 6.12, nor a log")))
        }
        _ => Ok(version.map(str::to_owned).zip(rules)),
    }
}

/// Parses an event.
fn deed(text: &str) -> Result<HotplugEvent, Failure> {
    let wrong = || {
        let forms = "rescan, rescan 0000:04, boot, reassign, realloc, plug mem64p:1G at 0000:02:01.0, plug-acpi (the same form), unplug BDF, resize BDF:bar1=32G";
        Failure::Usage(format!("--do: unknown event {text:?}; expected one of: {forms}"))
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["rescan"] => Ok(HotplugEvent::Rescan),
        ["boot"] => Ok(HotplugEvent::Boot),
        ["reassign"] => Ok(HotplugEvent::Reassign),
        ["realloc"] => Ok(HotplugEvent::Realloc),
        ["rescan", bus] => {
            let (segment, bus) = self::bus(bus).ok_or_else(wrong)?;
            Ok(HotplugEvent::RescanBus { segment, bus })
        }
        [plug @ ("plug" | "plug-acpi"), card, "at", port] => {
            let (card, at) = ((*card).to_owned(), address("--do plug", port)?);
            Ok(HotplugEvent::Plug { card, at, acpi: *plug == "plug-acpi" })
        }
        ["unplug", port] => Ok(HotplugEvent::Unplug(address("--do unplug", port)?)),
        ["resize", what] => match resize_of(what) {
            Some((function, bar, size)) => Ok(HotplugEvent::Resize { function, bar, size }),
            None => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// Parses `0000:04:00.0:bar1=32G`.
fn resize_of(text: &str) -> Option<(Address, u8, u64)> {
    let (what, size) = text.split_once('=')?;
    let (function, bar) = what.rsplit_once(':')?;
    let bar = bar.strip_prefix("bar").unwrap_or(bar).parse().ok().filter(|n| *n < 6)?;
    Some((function.parse().ok()?, bar, parse_size(size)?))
}

/// Returns what was read, and what is odd in it.
fn said(machine: &Machine) -> (Vec<Read>, Vec<Warning>) {
    (machine.heard.iter().map(Read::from).collect(), machine.findings.iter().map(Warning::from).collect())
}

fn address(option: &str, text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|_| {
        Failure::Usage(format!("{option} {text}: not a PCI function; expected a form such as 0000:04:00.0"))
    })
}

/// Makes the goal for a card below a port or on a bus.
fn addition(option: &str, card: String, at: &str) -> Result<PlacementGoal, Failure> {
    Ok(match bus(at) {
        Some(bus) => PlacementGoal::AddOnBus { card, bus },
        None => PlacementGoal::Add { card, at: address(option, at)? },
    })
}

/// Parses `0000:00:1c.4=mem64p:32G`.
fn kept(args: &Args, text: &str) -> Result<PlacementGoal, Failure> {
    let wrong = || Failure::Usage(format!("--keep {text}: expected a form such as 0000:00:1c.4=mem64p:32G"));
    let (port, card) = text.split_once('=').ok_or_else(wrong)?;
    addition("--keep", spec(args, card)?, port)
}

/// Parses a bus such as `0000:04`.
fn bus(text: &str) -> Option<(u32, u8)> {
    let (segment, bus) = text.split_once(':').filter(|(_, bus)| bus.len() == 2)?;
    Some((u32::from_str_radix(segment, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
}

/// Returns what a card decodes: as written on the command line, from a file, or from a card in another machine
/// (`BDF@DUMP`).
fn spec(args: &Args, text: &str) -> Result<String, Failure> {
    if let Some((function, dump)) = text.split_once('@') {
        let function = address("--add", function)?;
        let machine = open_pci(args, &[PathBuf::from(dump)])?;
        return Ok(card(&machine.pci, function)?);
    }
    let path = Path::new(text);
    if text.contains(':') || !path.is_file() {
        return Ok(text.to_owned());
    }
    let written = file::read(path)?;
    let written = String::from_utf8_lossy(&written);
    let lines = written.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    Ok(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(","))
}

fn wishes(args: &Args, wish: &PciWish, at: Option<&str>) -> Result<Vec<PlacementGoal>, Failure> {
    let mut out = Vec::new();
    if let (Some(card), Some(at)) = (&wish.add, at) {
        out.push(addition("--at", spec(args, card)?, at)?);
    }
    for text in &wish.resize {
        let wrong =
            || Failure::Usage(format!("--resize {text}: expected a form such as 0000:04:00.0:bar1=32G"));
        let (function, bar, size) = resize_of(text).ok_or_else(wrong)?;
        out.push(PlacementGoal::Resize { function, bar, size });
    }
    for text in &wish.vfs {
        let wrong = || Failure::Usage(format!("--vfs {text}: expected a form such as 0000:04:00.0=8"));
        let (function, count) = text.split_once('=').ok_or_else(wrong)?;
        let count = count.parse().ok().filter(|n| (1..=0xffff).contains(n)).ok_or_else(wrong)?;
        out.push(PlacementGoal::Vfs { function: address("--vfs", function)?, count });
    }
    if wish.all_failed {
        out.push(PlacementGoal::AllFailed);
    }
    Ok(out)
}
